package oracle

import (
	"fmt"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// noonInWinter is when the simulated meters of these tests begin.
var noonInWinter = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// shownAs makes rows of one meter.
type shownAs struct{ id, device string }

// anyNumber is a state that depends on when it is looked at.
const anyNumber = `/^[0-9]+(\.[0-9]+)?$/`

func (s shownAs) level(key, name, state, class, unit string) Row {
	return Row{
		UniqueID: s.id + "_" + key, Device: s.device, Name: name, State: state,
		DeviceClass: class, StateClass: "measurement", Unit: unit,
	}
}

func (s shownAs) total(key, name, class, unit string) Row {
	r := s.level(key, name, anyNumber, class, unit)
	r.StateClass = "total_increasing"
	return r
}

// onRequest are quantities that a person may switch on.
func (s shownAs) onRequest(category string, keys ...string) (rows []Row) {
	for _, key := range keys {
		rows = append(rows, Row{UniqueID: s.id + "_" + key, Device: s.device, Category: category, Disabled: true})
	}
	return rows
}

// status is what every meter tells of itself, 0 if all is well.
func (s shownAs) status() Row {
	return Row{UniqueID: s.id + "_status", Device: s.device, Name: "Status", State: "0", Category: "diagnostic"}
}

func (s shownAs) heat() []Row {
	return append([]Row{
		s.total("6_0_1_0_0", "Heat energy", "energy", "kWh"),
		s.total("6_0_2_0_0", "Volume", "volume", "m³"),
		s.level("6_0_8_0_0", "Power", anyNumber, "power", "W"),
		s.level("6_0_9_0_0", "Flow rate", anyNumber, "volume_flow_rate", "m³/h"),
		s.level("6_0_10_0_0", "Flow temperature", "62.0", "temperature", "°C"),
		s.level("6_0_11_0_0", "Return temperature", "41.0", "temperature", "°C"),
		s.level("6_0_12_0_0", "Temperature difference", "21.0", "temperature_delta", "K"),
		s.status(),
	}, s.onRequest("diagnostic", "0_0_1_0_0")...)
}

func (s shownAs) coldWater() []Row {
	return append([]Row{
		s.total("8_0_1_0_0", "Water volume", "water", "m³"),
		s.level("8_0_2_0_0", "Flow rate", anyNumber, "volume_flow_rate", "m³/h"),
		s.status(),
	}, append(s.onRequest("diagnostic", "0_0_1_0_0", "date_s1"), s.onRequest("", "8_0_1_2_0")...)...)
}

func (s shownAs) hotWater() []Row {
	return append([]Row{
		s.total("9_0_1_0_0", "Warm water volume", "water", "m³"),
		s.level("9_0_2_0_0", "Flow rate", anyNumber, "volume_flow_rate", "m³/h"),
		s.level("9_0_3_0_0", "Flow temperature", "54.5", "temperature", "°C"),
		s.status(),
	}, append(s.onRequest("diagnostic", "0_0_1_0_0", "date_s1"), s.onRequest("", "9_0_1_2_0")...)...)
}

func (s shownAs) gas() []Row {
	return append([]Row{s.total("7_0_3_0_0", "Gas volume", "gas", "m³"), s.status()}, s.onRequest("diagnostic", "0_0_1_0_0")...)
}

func (s shownAs) electricity() []Row {
	rows := []Row{
		s.total("1_0_1_8_0", "Energy import", "energy", "kWh"),
		s.level("1_0_1_7_0", "Power import", anyNumber, "power", "W"),
		s.status(),
	}
	for i, c := range [...]int{31, 51, 71} {
		rows = append(rows,
			s.level(fmt.Sprintf("1_0_%d_7_0", c), fmt.Sprintf("Current L%d", i+1), anyNumber, "current", "A"),
			s.level(fmt.Sprintf("1_0_%d_7_0", c+1), fmt.Sprintf("Voltage L%d", i+1), fmt.Sprintf("230.%d", i+1), "voltage", "V"))
	}
	return rows
}

const wiredMeter = `
[[meter]]
name = %q
label = %q
driver = "mbus"
port = %q
every = "2s"
`

// Heat, cold and hot water, gas and electricity, each alone on its line.
func TestWiredMBusMetersOfEachMediumAreShown(t *testing.T) {
	o := Start(t)
	config, rows := p1Config, []Row(nil)
	for _, m := range []struct {
		model, name, label string
		rows               func(shownAs) []Row
	}{
		{"heat", "heat", "Heat", func(s shownAs) []Row {
			return append(s.heat(), append(s.onRequest("", "6_0_1_2_0", "6_0_2_2_0"), s.onRequest("diagnostic", "date_s1")...)...)
		}},
		{"cold-water", "cold", "Cold water", shownAs.coldWater},
		{"hot-water", "hot", "Hot water", shownAs.hotWater},
		{"gas", "gas", "Gas", shownAs.gas},
		{"electricity", "mains", "Mains", shownAs.electricity},
	} {
		config += fmt.Sprintf(wiredMeter, m.name, m.label, simulate(t, "mbus", sim.Options{Model: m.model}, noonInWinter))
		id := "meter2mqtt_" + m.name
		rows = append(append(rows, m.rows(shownAs{id, m.label})...), Diagnostics(id, m.label, true)...)
	}
	gateway := o.Run(t, config)
	o.Until(t, gateway.Running)
	o.Expect(t, rows)
	o.RestartHomeAssistant(t)
	o.Expect(t, rows)
	o.NoComplaint(t)
}

const radioMeters = `
[[meter]]
name = "radio_heat"
label = "Radio heat"
driver = "wmbus"
port = %[1]q
id = "30000100"
key = %[2]q
[[meter]]
name = "radio_cold"
label = "Radio cold water"
driver = "wmbus"
port = %[1]q
id = "30000101"
[[meter]]
name = "radio_hot"
label = "Radio hot water"
driver = "wmbus"
port = %[1]q
id = "30000202"
`

// Three meters share a receiver; one of them encrypts. Of its telegrams some are
// damaged, which nobody sees but the log.
func TestRadioMetersOnOneReceiverAreShown(t *testing.T) {
	o := Start(t)
	port := simulate(t, "wmbus", sim.Options{Period: 3 * time.Second, Faults: []string{"cut=5"}}, noonInWinter)
	gateway := o.Run(t, p1Config+fmt.Sprintf(radioMeters, port, sim.ExampleRadioKey))
	var rows []Row
	for _, m := range []struct {
		name, label string
		rows        func(shownAs) []Row
	}{
		{"radio_heat", "Radio heat", shownAs.heat},
		{"radio_cold", "Radio cold water", shownAs.coldWater},
		{"radio_hot", "Radio hot water", shownAs.hotWater},
	} {
		id := "meter2mqtt_" + m.name
		rows = append(append(rows, m.rows(shownAs{id, m.label})...), Diagnostics(id, m.label, false)...)
	}
	o.Until(t, gateway.Running)
	o.Expect(t, rows)
	o.NoComplaint(t)
}
