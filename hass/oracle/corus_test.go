package oracle

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// stationLayouts describes what the simulated gas volume converter has.
const stationLayouts = `
[[map]]
firmware = "FL_sim01"
[[map.parameter]]
id = 48
name = "index_unconverted"
type = "index"
unit = "m³"
obis = "7-0:3.0.0"
[[map.parameter]]
id = 49
name = "index_converted"
type = "index"
unit = "m³"
obis = "7-0:3.2.0"
[[map.parameter]]
id = 40
name = "pressure"
type = "float2"
unit = "bar"
obis = "7-0:42.0.0"
[[map.parameter]]
id = 41
name = "temperature"
type = "float1"
unit = "°C"
obis = "7-0:41.0.0"
[[map.parameter]]
id = 30
name = "base_pressure"
type = "float"
unit = "bar"
writable = true
min = 0.9
max = 1.1
[[map.parameter]]
id = 82
name = "site"
type = "string"
writable = true
`

const stationMeter = `
[[meter]]
name = "station"
label = "Station"
driver = "corus"
port = %q
timezone = "Europe/Amsterdam"
every = "3s"
layouts = %q
write = ["base_pressure", "site", "clock"]
`

// A gas volume converter: gas as the energy dashboard takes it, and parameters that a
// control changes and that are read back.
func TestAGasConverterIsShownAndWritten(t *testing.T) {
	o := Start(t)
	layouts := filepath.Join(t.TempDir(), "layouts.toml")
	if err := os.WriteFile(layouts, []byte(stationLayouts), 0o600); err != nil {
		t.Fatal(err)
	}
	port := simulate(t, "corus", sim.Options{Seed: 9}, time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))
	gateway := o.Run(t, p1Config+fmt.Sprintf(stationMeter, port, layouts))
	sub := o.Broker.Subscribe(t, "meter2mqtt/station/#")
	o.Until(t, gateway.Running)

	const id = "meter2mqtt_station_"
	for _, want := range []Row{
		{UniqueID: id + "7_0_3_0_0", Device: "Station", Name: "Gas volume", DeviceClass: "gas", StateClass: "total_increasing", Unit: "m³"},
		{UniqueID: id + "7_0_3_2_0", Device: "Station", Name: "Gas volume converted", DeviceClass: "volume", StateClass: "total_increasing", Unit: "m³"},
		{UniqueID: id + "7_0_42_0_0", Device: "Station", Name: "Gas pressure", DeviceClass: "pressure", StateClass: "measurement", Unit: "bar"},
		{UniqueID: id + "7_0_41_0_0", Device: "Station", Name: "Gas temperature", DeviceClass: "temperature", StateClass: "measurement", Unit: "°C"},
	} {
		want.State = `/^[0-9]+(\.[0-9]+)?$/`
		o.Until(t, func() error {
			s, err := o.snapshot()
			if err != nil {
				return err
			}
			e, ok := s.entity(want.UniqueID)
			if !ok {
				return fmt.Errorf("there is no entity %s", want.UniqueID)
			}
			if d := s.compare(want, e); len(d) > 0 {
				return fmt.Errorf("%s: %q", want.UniqueID, d)
			}
			return nil
		})
	}

	o.untilState(t, id+"parameter_base_pressure", "1.01325")
	o.call(t, "number.set_value", id+"parameter_base_pressure", `, "value": 1.05`)
	o.untilState(t, id+"parameter_base_pressure", "1.05")
	o.call(t, "text.set_value", id+"parameter_site", `, "value": "NORTH"`)
	o.untilState(t, id+"parameter_site", "NORTH")
	o.call(t, "button.press", id+"parameter_clock", "")
	o.Until(t, func() error { return sub.told("write_ok", "clock") })
	o.NoComplaint(t)
}
