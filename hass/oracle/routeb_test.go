package oracle

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/discovery"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

const routeBHouse = `
[[meter]]
name = "house"
label = "House"
driver = "routeb"
port = %q
id = %q
password = %q
every = "2s"
request_gap = "0s"
totals_every = "2s"
retry_wait = "1s"
`

// routeBRows are the entities of such a meter at noon, as people should see them.
func routeBRows(session string) []Row {
	id := func(key string) string { return "meter2mqtt_house_" + key }
	total := func(key, name string) Row {
		return Row{
			UniqueID: id(key), Device: "House", Name: name, State: "/^[0-9]+\\.[0-9]$/",
			DeviceClass: "energy", StateClass: "total_increasing", Unit: "kWh",
		}
	}
	level := func(key, name, state, class, unit string) Row {
		return Row{
			UniqueID: id(key), Device: "House", Name: name, State: state,
			DeviceClass: class, StateClass: "measurement", Unit: unit,
		}
	}
	rows := []Row{
		total("1_0_1_8_0", "Energy import"),
		total("1_0_2_8_0", "Energy export"),
		level("1_0_16_7_0", "Power net", "-820", "power", "W"),
		level("1_0_1_7_0", "Power import", "0", "power", "W"),
		level("1_0_2_7_0", "Power export", "820", "power", "W"),
		level("1_0_31_7_0", "Current L1", "-0.4", "current", "A"),
		level("1_0_71_7_0", "Current L3", "-0.3", "current", "A"),
		{
			UniqueID: id("diagnostic_session"), Device: "House", Name: "Session", State: session,
			DeviceClass: "enum", Category: "diagnostic",
		},
	}
	for _, channel := range []string{"1", "2"} {
		rows = append(rows,
			total("1_"+channel+"_1_8_0", "Energy import channel "+channel),
			total("1_"+channel+"_2_8_0", "Energy export channel "+channel))
	}
	for _, key := range []string{
		"0_0_1_0_0", "0_0_96_12_5", "0_0_96_1_0", "0_0_96_1_1", "0_0_96_1_2", "0_0_96_1_3", "0_0_96_1_4", "1_0_0_4_4",
	} {
		rows = append(rows, Row{UniqueID: id(key), Category: "diagnostic", Disabled: true})
	}
	rows = append(rows,
		Row{UniqueID: id("0_0_96_5_0"), Device: "House", Name: "Status", State: "on", Category: "diagnostic"},
		Row{UniqueID: id("0_0_97_97_0"), Device: "House", Name: "Error flags", State: "off", Category: "diagnostic"})
	return append(rows, Diagnostics("meter2mqtt_house", "House", true)...)
}

// A meter of Japan: power both ways, currents, energies, and the state of its
// session, which is seen to go and to come back.
func TestRouteBMeterIsShownWithItsSession(t *testing.T) {
	o := Start(t)
	noon := time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC) // 12:00 in Japan
	states := o.Broker.Subscribe(t, "meter2mqtt/house/diagnostic")
	port := simulate(t, "routeb", sim.Options{Faults: []string{"ended=15"}}, noon)
	gateway := o.Run(t, p1Config+fmt.Sprintf(routeBHouse, port, sim.ExampleRouteBID, sim.ExampleRouteBPassword))
	o.Until(t, gateway.Running)
	o.Expect(t, routeBRows("joined"))
	o.Until(t, func() error { return errors.Join(gateway.Running(), wentAndCame(states.Messages())) })
	o.Expect(t, routeBRows("joined"))
	o.NoComplaint(t)
	for _, secret := range []string{sim.ExampleRouteBID, sim.ExampleRouteBPassword} {
		if strings.Contains(gateway.Stderr(), secret) {
			t.Error("the log shows a secret")
		}
		for _, m := range states.Messages() {
			if strings.Contains(string(m.Payload), secret) {
				t.Errorf("a topic shows a secret: %s", m.Payload)
			}
		}
	}
}

// wentAndCame says whether the session was joined, left that state and came back,
// in states that Home Assistant knows.
func wentAndCame(messages []Message) error {
	want := []string{"joined", "joining", "joined"}
	for _, m := range messages {
		if len(want) > 0 && strings.Contains(string(m.Payload), fmt.Sprintf("%q:%q", "session", want[0])) {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("not seen yet: %v of %v", want, discovery.SessionStates)
	}
	return nil
}
