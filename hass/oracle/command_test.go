package oracle

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// call calls an action of Home Assistant on the entity with a unique id, as its
// pages do. more is JSON behind the entity: `, "value": 5`.
func (o *Oracle) call(t *testing.T, action, uniqueID, more string) {
	t.Helper()
	s, err := o.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	e, ok := s.entity(uniqueID)
	if !ok {
		t.Fatalf("there is no entity %s", uniqueID)
	}
	if err := o.ha.ask(nil, "call", action, fmt.Sprintf(`{"entity_id": %q%s}`, e.EntityID, more)); err != nil {
		t.Fatal(err)
	}
}

// untilState waits until an entity shows a state, or one that fits a regular
// expression between slashes.
func (o *Oracle) untilState(t *testing.T, uniqueID, want string) {
	t.Helper()
	o.Until(t, func() error {
		s, err := o.snapshot()
		if err != nil {
			return err
		}
		e, _ := s.entity(uniqueID)
		if got := s.state(e).State; !matches(want, got) {
			return fmt.Errorf("%s shows %q, want %q", uniqueID, got, want)
		}
		return nil
	})
}

// untilGone waits until an entity is no more.
func (o *Oracle) untilGone(t *testing.T, uniqueID string) {
	t.Helper()
	o.Until(t, func() error {
		s, err := o.snapshot()
		if err != nil {
			return err
		}
		if e, ok := s.entity(uniqueID); ok {
			return fmt.Errorf("%s is still there", e.EntityID)
		}
		return nil
	})
}

// told says that no event of a type told of a parameter, or nil if one did.
func (s *Subscription) told(event, parameter string) error {
	begin := fmt.Sprintf(`{"event_type":%q,"parameter":%q`, event, parameter)
	for _, m := range s.Messages() {
		if strings.HasPrefix(m.Payload, begin) {
			return nil
		}
	}
	return fmt.Errorf("no event %s", begin)
}

const controlledMeter = `
[[meter]]
name = "feeder"
label = "Feeder"
driver = "iec62056-21"
port = %q
password = "00000000"
timezone = "Europe/Amsterdam"
every = "3s"
registers = ["limit C.3.9 number A 0..100", "tariff C.3.9 text 1|2|3", "relay C.3.9 bool", "note C.3.9 text"]
write = [%s]
`

// One register of the meter is a number, a select, a switch and a text at once: each
// changes the meter and shows what the meter has then.
func TestControlsChangeAMeterAndShowWhatItHas(t *testing.T) {
	o := Start(t)
	port := simulate(t, "iec62056-21", sim.Options{}, time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))
	const id = "meter2mqtt_feeder_parameter_"
	gateway := o.Run(t, p1Config+fmt.Sprintf(controlledMeter, port, `"limit", "tariff", "relay", "note", "clock"`))
	sub := o.Broker.Subscribe(t, "meter2mqtt/feeder/#")
	o.untilState(t, id+"limit", "0")
	o.untilState(t, id+"relay", "off")

	for _, c := range []struct{ name, action, more, state string }{
		{"limit", "number.set_value", `, "value": 16`, "16"},
		{"tariff", "select.select_option", `, "option": "3"`, "3"},
		{"relay", "switch.turn_on", "", "on"},
		{"note", "text.set_value", `, "value": "12"`, "12"},
	} {
		o.call(t, c.action, id+c.name, c.more)
		o.untilState(t, id+c.name, c.state)
	}
	o.call(t, "button.press", id+"clock", "")
	o.Until(t, func() error { return sub.told("write_ok", "clock") })

	t.Log("a refused write: the control shows what the meter has")
	sub.Forget()
	o.call(t, "text.set_value", id+"note", `, "value": "no number"`)
	o.Until(t, func() error { return sub.told("write_failed", "note") })
	o.untilState(t, id+"note", "12")
	o.NoComplaint(t)

	t.Log("what leaves the configuration leaves Home Assistant")
	sub.Forget()
	gateway.Configure(t, p1Config+fmt.Sprintf(controlledMeter, port, `"limit"`))
	gateway.Reload(t)
	// Home Assistant keeps orders from a meter that is away.
	o.Until(t, func() error { return sub.Saw("meter2mqtt/feeder/availability", "online") })
	for _, name := range []string{"tariff", "relay", "note", "clock"} {
		o.untilGone(t, id+name)
	}
	o.Until(t, func() error { return o.nothingRetained(t, "meter2mqtt/feeder/parameter/note") })
	o.untilState(t, id+"limit", "12")
	o.call(t, "number.set_value", id+"limit", `, "value": 25`)
	o.untilState(t, id+"limit", "25")
	o.NoComplaint(t)
}

const slaveMeter = `
[[meter]]
name = "heat"
label = "Heat"
driver = "mbus"
port = %q
secondary = "068558172D2C0804"
every = "3s"
timezone = "Europe/Copenhagen"
write = ["address", "baud_rate", "reset", "readout"]
`

// A slave of foreign make on a pseudo-terminal, whose speed it looks at: its log
// shows what Home Assistant's controls did to it.
func TestControlsChangeAForeignSlave(t *testing.T) {
	o := Start(t)
	line, log := foreignSlave(t)
	gateway := o.Run(t, p1Config+fmt.Sprintf(slaveMeter, line+"?baud=2400&mode=8N1"))
	const id = "meter2mqtt_heat_parameter_"
	o.untilState(t, id+"address", "1")
	o.untilState(t, id+"baud_rate", "2400")

	o.call(t, "number.set_value", id+"address", `, "value": 77`)
	o.untilState(t, id+"address", "77")
	o.call(t, "select.select_option", id+"baud_rate", `, "option": "9600"`)
	o.untilState(t, id+"baud_rate", "9600")
	o.call(t, "text.set_value", id+"readout", `, "value": "all"`)
	o.call(t, "button.press", id+"reset", "")
	o.Until(t, func() error {
		if err := gateway.Running(); err != nil {
			return err
		}
		text, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		for _, want := range []string{`"set_primary": 77`, `"baud": 9600`, `"global_readout": true`, `"master": "68030368[57]3..50`} {
			if !regexp.MustCompile(want).Match(text) {
				return fmt.Errorf("the slave has not noted %s", want)
			}
		}
		if n := strings.Count(string(text), `"set_primary"`); n != 1 {
			return fmt.Errorf("its address was set %d times", n)
		}
		return nil
	})
	o.NoComplaint(t)
}

// foreignSlave starts the bus that lies beside the repository, with one slave.
func foreignSlave(t *testing.T) (path, log string) {
	t.Helper()
	dir := t.TempDir()
	file, log, path := filepath.Join(dir, "bus.json"), filepath.Join(dir, "log"), filepath.Join(dir, "line")
	const slaves = `{"enforce_baud": true, "slaves": [{"name": "heat", "primary": 1, "telegrams": ["mbus-kamstrup-multical-601"]}]}`
	if err := os.WriteFile(file, []byte(slaves), 0o600); err != nil {
		t.Fatal(err)
	}
	peer := peertest.Script{Name: "mbus_slave.py"}
	peer.Start(t, file, "--listen", "pty:"+path, "--log", log, "--for", "300")
	return path, log
}
