package commandline

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// stateOf says whether a message is a meter's state with a value.
func stateOf(meter, value string) func(brokertest.Message) bool {
	return func(m brokertest.Message) bool {
		return m.Topic == "meter2mqtt/"+meter+"/state" && strings.Contains(m.Payload, value)
	}
}

// Each of the two is read again after the other was, for as long as the gateway runs.
func TestTheProgramReadsTwoMetersThroughOneStick(t *testing.T) {
	for _, model := range []string{"bp35c2-two", "j11-two"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			port := simulated(t, "pty:"+filepath.Join(t.TempDir(), "stick"), "--driver", "routeb", "--model", model)
			broker := brokertest.New(t)
			broker.Start()
			t.Cleanup(broker.Stop)
			first := strings.NewReplacer(stickID, sim.ExampleRouteBID, stickPassword, sim.ExampleRouteBPassword).Replace(quickStick(port, `every = "1s"`))
			second := strings.NewReplacer(stickID, sim.ExampleRouteBID2, stickPassword, sim.ExampleRouteBPassword2).Replace(quickStick(port, `every = "1s"`))
			_, log := gateway(t, t.TempDir(), broker, first+"[[meter]]\nname = \"annex\"\n"+second)
			defer func() {
				if t.Failed() {
					t.Log(log)
				}
			}()
			for turn := range 3 {
				broker.Until(fmt.Sprintf("first meter, turn %d", turn), stateOf("main", `SIM0RouteB01`))
				broker.Until(fmt.Sprintf("second meter, turn %d", turn), stateOf("annex", `SIM0RouteB02`))
				broker.Forget()
			}
		})
	}
}

// A foreign stick reaches one meter at a time; here it moves to another house and back.
// Whichever meter it reaches is read, and the stick is not left joined to it while the
// other is looked for.
func TestTheProgramSharesAForeignStick(t *testing.T) {
	t.Parallel()
	const otherID, otherPassword = "FFEEDDCCBBAA99887766554433221100", "BA9876543210"
	s := foreignStick(t, skStick, "", "--scan-time", "0.05", "--join-time", "0.1")
	broker := brokertest.New(t)
	broker.Start()
	t.Cleanup(broker.Stop)
	main := quickStick(s.At, "every = \"1s\"\n")
	annex := strings.NewReplacer(stickID, otherID, stickPassword, otherPassword).Replace(main)
	_, log := gateway(t, t.TempDir(), broker, main+"[[meter]]\nname = \"annex\"\n"+annex)
	defer func() {
		if t.Failed() {
			t.Log(log)
		}
	}()
	move := func(id, password, serial, channel string) {
		for key, value := range map[string]string{"rbid": id, "pwd": password, "channel": channel} {
			s.Say(fmt.Sprintf(`{"do":"meter","key":%q,"value":%q}`, key, value))
		}
		s.Say(fmt.Sprintf(`{"do":"set","epc":"8D","edt":"%x"}`, serial))
		broker.Forget()
	}
	for range 3 {
		broker.Until("the first house, beside one that is not there", stateOf("main", `"1-0:1.8.0":12345.6`))
		broker.Forget()
	}
	for range 2 {
		move(otherID, otherPassword, "S24X00005678", "2F")
		broker.Until("the second house", stateOf("annex", `S24X00005678`))
		move(stickID, stickPassword, "S24X00001234", "2B")
		broker.Until("the first house again", stateOf("main", `S24X00001234`))
	}
	if seen := s.stats(t); seen.Events["27"] < 2 || seen.Flash != 0 || seen.Lost != 0 {
		t.Errorf("%+v: want each session ended before the stick went to the other", seen)
	}
}

// No id, no password and no stick: the meter's address alone.
func TestTheProgramReadsAMeterOverUDP(t *testing.T) {
	t.Parallel()
	port := simulated(t, "udp://127.0.0.1:0", "--driver", "routeb", "--model", "udp", "--fault", "silence=7", "--period", "200ms")
	table := fmt.Sprintf("driver = \"routeb\"\nport = %q\nrequest_gap = \"0s\"\nanswer_wait = \"1s\"\ntries = 10\n", port)
	got := readingOf(t, program(t, table, "read", "main"))
	if got.Driver != "routeb" || got.Meter.ID != "SIM0RouteB01" || len(got.Values) < 5 {
		t.Errorf("read %+v", got)
	}
	broker := brokertest.New(t)
	broker.Start()
	t.Cleanup(broker.Stop)
	_, log := gateway(t, t.TempDir(), broker, table+"every = \"1h\"\n")
	defer func() {
		if t.Failed() {
			t.Log(log)
		}
	}()
	// Between two readings only announcements bring half-hours.
	for range 2 {
		broker.Until("an announcement", stateOf("main", `"1-1:1.8.0":`))
		broker.Forget()
	}
	if text := log.String(); strings.Contains(text, `"session":`) {
		t.Errorf("a session is told of: %s", text)
	}
}

func TestOnlyMetersOfDatagramsHaveAUDPPort(t *testing.T) {
	got := program(t, "driver = \"p1\"\nport = \"udp://127.0.0.1\"\n", "check")
	if got.code == 0 || !strings.Contains(got.err+got.out, "do not speak in datagrams") {
		t.Errorf("%+v", got)
	}
}
