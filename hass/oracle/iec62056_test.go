package oracle

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// simulate puts a simulated meter on a pseudo-terminal. Its clock goes on from a
// moment, so that it gives the same values each time.
func simulate(t *testing.T, driver string, o sim.Options, start time.Time) (port string) {
	t.Helper()
	began := time.Now()
	o.Clock = func() time.Time { return start.Add(time.Since(began)) }
	meter, err := sim.New(driver, o)
	if err != nil {
		t.Fatal(err)
	}
	port = filepath.Join(t.TempDir(), "meter")
	listener, err := sim.Listen(t.Context(), "pty:"+port)
	if err != nil {
		t.Fatal(err)
	}
	ctx, unplug := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := listener.Serve(ctx, meter.Serve); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		unplug()
		done.Wait()
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	})
	return port
}

const opticalMeters = `
[[meter]]
name = "feeder"
label = "Feeder"
driver = "iec62056-21"
port = %q
timezone = "Europe/Amsterdam"
every = "2s"
[[meter]]
name = "corrector"
label = "Corrector"
driver = "lis200"
port = %q
timezone = "Europe/Amsterdam"
every = "2s"
`

// opticalRows are the entities of the two, as people should see them.
func opticalRows() []Row {
	const number = `/^-?[0-9]+(\.[0-9]+)?$/`
	row := func(device, key, name, class, state, unit string) Row {
		return Row{
			UniqueID: "meter2mqtt_" + key, Device: device, Name: name, State: number,
			DeviceClass: class, StateClass: state, Unit: unit,
		}
	}
	feeder := func(key, name, class, state, unit string) Row {
		return row("Feeder", "feeder_"+key, name, class, state, unit)
	}
	corrector := func(key, name, class, state, unit string) Row {
		return row("Corrector", "corrector_"+key, name, class, state, unit)
	}
	rows := []Row{
		feeder("1_0_1_8_0", "Energy import", "energy", "total_increasing", "kWh"),
		feeder("1_0_1_8_1", "Energy import tariff 1", "energy", "total_increasing", "kWh"),
		feeder("1_0_1_8_2", "Energy import tariff 2", "energy", "total_increasing", "kWh"),
		feeder("1_0_2_8_0", "Energy export", "energy", "total_increasing", "kWh"),
		feeder("1_0_1_6_0", "Power import maximum", "power", "measurement", "W"),
		feeder("1_0_16_7_0", "Power net", "power", "measurement", "W"),
		feeder("1_0_14_7_0", "Frequency", "frequency", "measurement", "Hz"),
		corrector("7_0_13_2_0", "Converter volume converted", "volume", "total_increasing", "m³"),
		corrector("7_0_3_0_0", "Gas volume", "gas", "total_increasing", "m³"),
		corrector("7_0_42_0_0", "Gas pressure", "pressure", "measurement", "bar"),
		corrector("7_0_41_0_0", "Gas temperature", "temperature", "measurement", "°C"),
	}
	for phase, c := range [...]int{31, 51, 71} {
		rows = append(rows,
			feeder(fmt.Sprintf("1_0_%d_7_0", c), fmt.Sprintf("Current L%d", phase+1), "current", "measurement", "A"),
			feeder(fmt.Sprintf("1_0_%d_7_0", c+1), fmt.Sprintf("Voltage L%d", phase+1), "voltage", "measurement", "V"))
	}
	fact := func(key, name, state string) Row {
		return Row{UniqueID: "meter2mqtt_feeder_" + key, Device: "Feeder", Name: name, State: state, Category: "diagnostic"}
	}
	rows = append(rows, fact("0_0_97_97_0", "Error flags", "00000000"), fact("1_0_0_2_0", "Firmware version", "V1.0"))
	for _, rare := range []string{
		"feeder_0_0_96_1_0", "feeder_0_0_96_3_9", "feeder_1_0_0_0_0", "feeder_1_0_0_9_1", "feeder_1_0_0_9_2",
		"corrector_0_0_1_0_0", "corrector_0_0_96_1_0", "corrector_0_0_96_1_10",
	} {
		rows = append(rows, Row{UniqueID: "meter2mqtt_" + rare, Category: "diagnostic", Disabled: true})
	}
	for name, device := range map[string]string{"feeder": "Feeder", "corrector": "Corrector"} {
		rows = append(rows, Diagnostics("meter2mqtt_"+name, device, true)...)
	}
	return rows
}

// Meters that are asked: totals, tariffs and the demand, gas as the energy
// dashboard takes it.
func TestOpticalMetersAreShown(t *testing.T) {
	o := Start(t)
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	gateway := o.Run(t, p1Config+fmt.Sprintf(opticalMeters,
		simulate(t, "iec62056-21", sim.Options{}, start), simulate(t, "lis200", sim.Options{}, start)))
	rows := opticalRows()
	o.Until(t, gateway.Running)
	o.Expect(t, rows)
	o.RestartHomeAssistant(t)
	o.Expect(t, rows)
	o.NoComplaint(t)
}
