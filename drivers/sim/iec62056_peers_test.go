package sim

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
)

// iecClient drives a foreign reader of IEC 62056-21.
var iecClient = peertest.Script{Name: "iec62056_client.py", Modules: []string{"iec62056_21", "serial", "attr"}}

// iecAnswer is what the client prints.
type iecAnswer struct {
	OK      bool
	Error   string
	Data    []struct{ Address, Value, Unit string }
	Archive []struct{ Time, Address, Value string }
}

func TestTheForeignClientReadsTheOpticalMeter(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(Options) (*Simulator, error)
		args  string
		check func(iecAnswer) bool
	}{
		{"readout", newIEC, "--readout", func(a iecAnswer) bool { return len(a.Data) > 15 && a.Data[0].Address == "F.F" }},
		{"register", newIEC, "--read 1.8.0 --additional=", func(a iecAnswer) bool { return len(a.Data) == 1 && a.Data[0].Unit == "kWh" }},
		{"write", newIEC, "--write C.3.9=2 --read C.3.9", func(a iecAnswer) bool { return len(a.Data) == 1 && a.Data[0].Value == "2" }},
		{"value of LIS-200", newLIS200, "--lis200 --read 2:300.0", func(a iecAnswer) bool { return len(a.Data) == 1 && a.Data[0].Unit == "m3" }},
		{"lock of LIS-200", newLIS200, "--lis200 --write 4:171.0=00000000 3:190.0=5 --read 3:190.0", func(a iecAnswer) bool { return len(a.Data) == 1 && a.Data[0].Value == "5" }},
		{"archive of LIS-200", newLIS200, "--lis200 --archive 3 --rows 24", func(a iecAnswer) bool { return len(a.Archive) == 8*240 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.make(Options{}.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			l, err := Listen(ctx, "tcp://127.0.0.1:0")
			if err != nil {
				cancel()
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- l.Serve(ctx, m.Serve) }()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			args := append([]string{"--tcp", strings.TrimPrefix(l.Addr(), "tcp://"), "--password", ExamplePassword}, strings.Fields(c.args)...)
			out, err := iecClient.Run(t, args...)
			var a iecAnswer
			if errJSON := json.Unmarshal(out, &a); errJSON != nil || err != nil || !a.OK || !c.check(a) {
				t.Errorf("%v %v: %.600s", err, errJSON, out)
			}
		})
	}
}
