package hass

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

func TestDescribe(t *testing.T) {
	for name, tc := range map[string]struct {
		code string
		kind drivers.Kind
		unit obis.Unit
		want Sensor
	}{
		"an energy import feeds the energy dashboard": {
			"1-0:1.8.0", drivers.Number, "kWh",
			Sensor{Component: "sensor", DeviceClass: "energy", StateClass: "total_increasing", Unit: "kWh", Enabled: true, Numeric: true},
		},
		"a net counter may fall": {
			"1-0:16.8.0", drivers.Number, "kWh",
			Sensor{Component: "sensor", DeviceClass: "energy", StateClass: "total", Unit: "kWh", Enabled: true, Numeric: true},
		},
		"an energy of last month is no total": {
			"1-0:1.8.0*1", drivers.Number, "kWh",
			Sensor{Component: "sensor", DeviceClass: "energy", Unit: "kWh", Enabled: true, Numeric: true},
		},
		"an energy of an interval has no state class": {
			"1-0:1.29.0", drivers.Number, "kWh",
			Sensor{Component: "sensor", DeviceClass: "energy", Unit: "kWh", Numeric: true},
		},
		"apparent energy has no device class": {
			"1-0:9.8.0", drivers.Number, "kVAh",
			Sensor{Component: "sensor", StateClass: "total_increasing", Unit: "kVAh", Enabled: true, Numeric: true},
		},
		"a month's peak is measured": {
			"1-0:1.6.0", drivers.Number, "W",
			Sensor{Component: "sensor", DeviceClass: "power", StateClass: "measurement", Unit: "W", Enabled: true, Numeric: true},
		},
		"a power factor has no unit": {
			"1-0:13.7.0", drivers.Number, "",
			Sensor{Component: "sensor", DeviceClass: "power_factor", StateClass: "measurement", Enabled: true, Numeric: true},
		},
		"an angle has a mean of its own": {
			"1-0:81.7.1", drivers.Number, "°",
			Sensor{Component: "sensor", StateClass: "measurement_angle", Unit: "°", Numeric: true},
		},
		"an angle without unit is measured": {
			"1-0:81.7.1", drivers.Number, "",
			Sensor{Component: "sensor", StateClass: "measurement", Numeric: true},
		},
		"a counter of failures is diagnostic": {
			"0-0:96.7.21", drivers.Number, "",
			Sensor{Component: "sensor", StateClass: "total_increasing", Category: "diagnostic", Enabled: true, Numeric: true},
		},
		"a limit is a fact": {
			"0-0:17.0.0", drivers.Number, "W",
			Sensor{Component: "sensor", DeviceClass: "power", Unit: "W", Category: "diagnostic", Enabled: true, Numeric: true},
		},
		"heat in GJ is energy": {
			"6-0:1.0.0", drivers.Number, "GJ",
			Sensor{Component: "sensor", DeviceClass: "energy", StateClass: "total_increasing", Unit: "GJ", Enabled: true, Numeric: true},
		},
		"the carrier of heat is a volume": {
			"6-0:2.0.0", drivers.Number, "m³",
			Sensor{Component: "sensor", DeviceClass: "volume", StateClass: "total_increasing", Unit: "m³", Enabled: true, Numeric: true},
		},
		"gas is gas": {
			"7-0:3.0.0", drivers.Number, "m³",
			Sensor{Component: "sensor", DeviceClass: "gas", StateClass: "total_increasing", Unit: "m³", Enabled: true, Numeric: true},
		},
		"gas in gallons is a volume": {
			"7-0:3.0.0", drivers.Number, "gal",
			Sensor{Component: "sensor", DeviceClass: "volume", StateClass: "total_increasing", Unit: "gal", Enabled: true, Numeric: true},
		},
		"water is water": {
			"8-0:1.0.0", drivers.Number, "m³",
			Sensor{Component: "sensor", DeviceClass: "water", StateClass: "total_increasing", Unit: "m³", Enabled: true, Numeric: true},
		},
		"a flow a day has no device class": {
			"8-0:2.0.0", drivers.Number, "m³/d",
			Sensor{Component: "sensor", StateClass: "measurement", Unit: "m³/d", Enabled: true, Numeric: true},
		},
		"a power in GJ/h has no device class": {
			"6-0:8.0.0", drivers.Number, "GJ/h",
			Sensor{Component: "sensor", StateClass: "measurement", Unit: "GJ/h", Enabled: true, Numeric: true},
		},
		"a difference is no temperature": {
			"6-0:12.0.0", drivers.Number, "K",
			Sensor{Component: "sensor", DeviceClass: "temperature_delta", StateClass: "measurement", Unit: "K", Enabled: true, Numeric: true},
		},
		"allocator units start anew each year": {
			"4-0:1.0.0", drivers.Number, "H.C.A.",
			Sensor{Component: "sensor", StateClass: "total_increasing", Unit: "H.C.A.", Enabled: true, Numeric: true},
		},
		"a message is text": {
			"0-0:96.13.0", drivers.Text, "",
			Sensor{Component: "sensor", Enabled: true},
		},
		"text in a counter's place is text": {
			"1-0:1.8.0", drivers.Text, "kWh",
			Sensor{Component: "sensor", Enabled: true},
		},
		"a clock is text as long as it has no offset": {
			"0-0:1.0.0", drivers.Moment, "",
			Sensor{Component: "sensor", Category: "diagnostic"},
		},
		"a switch is a binary sensor": {
			"0-0:96.3.10", drivers.Bool, "",
			Sensor{Component: "binary_sensor", Category: "diagnostic", Enabled: true},
		},
		"an unknown power is measured": {
			"1-0:200.7.0", drivers.Number, "W",
			Sensor{Component: "sensor", DeviceClass: "power", StateClass: "measurement", Unit: "W", Enabled: true, Numeric: true},
		},
		"an unknown energy is never taken for a total": {
			"1-0:200.8.0", drivers.Number, "kWh",
			Sensor{Component: "sensor", DeviceClass: "energy", Unit: "kWh", Enabled: true, Numeric: true},
		},
		"an unknown duration says nothing of its nature": {
			"1-0:200.8.0", drivers.Number, "h",
			Sensor{Component: "sensor", DeviceClass: "duration", Unit: "h", Enabled: true, Numeric: true},
		},
		"an unknown unit is shown as sent": {
			"1-0:200.8.0", drivers.Number, "furlong",
			Sensor{Component: "sensor", Unit: "furlong", Enabled: true, Numeric: true},
		},
		"a number that nobody can name is diagnostic": {
			"1-0:200.8.0", drivers.Number, "",
			Sensor{Component: "sensor", Category: "diagnostic"},
		},
		"an unknown switch is diagnostic, but shown": {
			"1-0:200.8.0", drivers.Bool, "",
			Sensor{Component: "binary_sensor", Category: "diagnostic", Enabled: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Describe(Quantity{Entry: obis.Lookup(obis.MustParse(tc.code)), Kind: tc.kind, Unit: tc.unit})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestAZonedClockIsATimestamp(t *testing.T) {
	got := Describe(Quantity{Entry: obis.Lookup(obis.MustParse("0-0:1.0.0")), Kind: drivers.Moment, Zoned: true})
	want := Sensor{Component: "sensor", DeviceClass: "timestamp", Category: "diagnostic"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// vocabulary is what Home Assistant itself says it accepts.
type vocabulary struct {
	Sensor struct {
		DeviceClasses map[string]struct {
			Units        []*obis.Unit `json:"units"`
			StateClasses []string     `json:"state_classes"`
		} `json:"device_classes"`
		StateClasses    []string               `json:"state_classes"`
		StateClassUnits map[string][]obis.Unit `json:"state_class_units"`
	}
}

func readVocabulary(t *testing.T) vocabulary {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "shared", "ha", "vocabulary.json"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: CI needs it", err)
		}
		t.Skipf("not here: %v", err)
	}
	var v vocabulary
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v vocabulary) units(class string) []obis.Unit {
	var units []obis.Unit
	for _, u := range v.Sensor.DeviceClasses[class].Units {
		if u == nil {
			units = append(units, "")
			continue
		}
		units = append(units, *u)
	}
	return units
}

func TestClassesAreHomeAssistants(t *testing.T) {
	v := readVocabulary(t)
	for name, c := range classes {
		theirs, ok := v.Sensor.DeviceClasses[name]
		if !ok {
			t.Errorf("Home Assistant has no device class %s", name)
			continue
		}
		states := slices.Clone(theirs.StateClasses)
		slices.Sort(states)
		if diff := cmp.Diff(states, c.states); diff != "" {
			t.Errorf("state classes of %s, -theirs +ours\n%s", name, diff)
		}
		for _, u := range c.units {
			if !slices.Contains(v.units(name), u) {
				t.Errorf("%s does not take %q", name, u)
			}
		}
		for _, u := range published(t) {
			if slices.Contains(v.units(name), u) && !slices.Contains(c.units, u) {
				t.Errorf("%s takes %q, and the table lacks it", name, u)
			}
		}
	}
	for _, e := range []string{"enum", "timestamp"} {
		if _, ok := v.Sensor.DeviceClasses[e]; !ok {
			t.Errorf("Home Assistant has no device class %s", e)
		}
	}
}

// published are all units that a value can have: those to which the shared list
// leads, and those it leaves as sent.
func published(t *testing.T) []obis.Unit {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "shared", "units.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Canonical map[obis.Unit]any
		AsSent    []obis.Unit `json:"as_sent"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	units := list.AsSent
	for u := range list.Canonical {
		units = append(units, u)
	}
	return units
}

// TestNothingThatIsDescribedIsRefused tries every dimension, nature and kind in
// every unit.
func TestNothingThatIsDescribedIsRefused(t *testing.T) {
	v := readVocabulary(t)
	units := append(published(t), "", "°", "furlong")
	for _, unit := range units {
		for dimension := obis.NoDimension; dimension <= obis.Battery; dimension++ {
			for nature := obis.Fact; nature <= obis.Balance; nature++ {
				for kind := drivers.Number; kind <= drivers.Moment; kind++ {
					for _, name := range []string{"", "something"} {
						e := obis.Entry{Name: name, Dimension: dimension, Nature: nature}
						if name == "" {
							e = obis.Entry{}
						}
						v.accept(t, Describe(Quantity{Entry: e, Kind: kind, Unit: unit, Zoned: true}))
					}
				}
			}
		}
	}
}

// accept applies Home Assistant's rules for a sensor.
func (v vocabulary) accept(t *testing.T, s Sensor) {
	t.Helper()
	if s.Component == "binary_sensor" {
		if s.Unit != "" || s.StateClass != "" || s.DeviceClass != "" {
			t.Errorf("%+v: a binary sensor with a class", s)
		}
		return
	}
	if !s.Numeric && (s.Unit != "" || s.StateClass != "") {
		t.Errorf("%+v: a text with unit or state class", s)
	}
	if s.StateClass != "" && !slices.Contains(v.Sensor.StateClasses, s.StateClass) {
		t.Errorf("%+v: no such state class", s)
	}
	if needs, ok := v.Sensor.StateClassUnits[s.StateClass]; ok && !slices.Contains(needs, s.Unit) {
		t.Errorf("%+v: a unit that the state class does not take", s)
	}
	class, ok := v.Sensor.DeviceClasses[s.DeviceClass]
	switch {
	case s.DeviceClass == "" || s.DeviceClass == "timestamp":
	case !ok:
		t.Errorf("%+v: no such device class", s)
	case !slices.Contains(v.units(s.DeviceClass), s.Unit):
		t.Errorf("%+v: a unit that the device class does not take", s)
	case s.StateClass != "" && !slices.Contains(class.StateClasses, s.StateClass):
		t.Errorf("%+v: a state class that the device class does not take", s)
	}
}

func TestTotalsFitTheEnergyDashboard(t *testing.T) {
	for code, want := range map[string]string{
		"1-0:1.8.0": "energy", "1-0:2.8.2": "energy", "6-0:1.0.0": "energy",
		"7-0:3.0.0": "gas", "7-0:3.1.0": "gas", "8-0:1.0.0": "water", "9-0:1.0.0": "water",
	} {
		e := obis.Lookup(obis.MustParse(code))
		s := Describe(Quantity{Entry: e, Kind: drivers.Number, Unit: e.Unit})
		if s.DeviceClass != want || s.StateClass != totalIncreasing || !s.Enabled || s.Category != "" {
			t.Errorf("%s: %+v", code, s)
		}
	}
}
