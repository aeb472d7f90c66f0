//go:build !race

package iec62056

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// The race detector allocates on its own account, hence the build tag.
func TestSteadyStreamAllocatesNothing(t *testing.T) {
	damaged := bytes.Clone(houseBlock)
	damaged[20] ^= 1
	shifted := bytes.Clone(house)
	withParity(shifted)
	streams := map[string][]byte{
		"good readouts":     house,
		"without ident":     houseBlock,
		"refused":           damaged,
		"in turns":          append(append(bytes.Clone(damaged), house...), plain...),
		"with parity":       shifted,
		"without BCC":       append(bytes.Clone(plain), 0),
		"cut":               house[:60],
		"a load profile":    AppendBlock(nil, []byte("P.01(1220823161500)(00)(15)(1)(1.5)(kW)\r\n(0.1)\r\n(0.2)\r\n"), false),
		"a refusal":         AppendBlock(nil, []byte("(ER01)"), false),
		"noise":             []byte("\x00\xff/abc\n!12\r\n"),
		"layouts in turns":  append(AppendReadout(nil, []DataSet{{Address: "1.8.0", Value: "1", Unit: "kWh"}}), AppendReadout(nil, []DataSet{{Address: "0.2.0", Value: "V1"}})...),
		"unnamed data sets": AppendReadout(nil, []DataSet{{Address: "9:123.0", Value: "1", Unit: "furlong"}, {Address: "XX", Value: "text"}}),
	}
	if b, err := os.ReadFile(peersInput); err == nil {
		streams["the benchmark's"] = b
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, stream := range streams {
		t.Run(name, func(t *testing.T) {
			d, err := newDecoder(iecName, newConfig(), drivers.Zones{Meter: zone})
			if err != nil {
				t.Fatal(err)
			}
			var r drivers.Reading
			once := func() {
				d.Feed(stream)
				if name == "cut" || name == "noise" {
					d.Gap()
				}
				var err error
				for !errors.Is(err, drivers.ErrMore) {
					err = d.Next(&r)
				}
			}
			once()
			once()
			if n := testing.AllocsPerRun(200, once); n != 0 {
				t.Errorf("%v allocations a message", n)
			}
		})
	}
}
