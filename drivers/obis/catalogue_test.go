package obis

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLookupNamesWhatMetersSend(t *testing.T) {
	for _, tc := range []struct {
		code string
		want Entry
	}{
		{"1-0:1.8.0", Entry{Name: "energy_import", Label: "Energy import", Dimension: Energy, Unit: "kWh", Nature: Total}},
		{"1-0:1.8.1", Entry{Name: "energy_import_tariff_1", Label: "Energy import tariff 1", Dimension: Energy, Unit: "kWh", Nature: Total, Tariff: 1}},
		{"1-0:2.8.63", Entry{Name: "energy_export_tariff_63", Label: "Energy export tariff 63", Dimension: Energy, Unit: "kWh", Nature: Total, Tariff: 63}},
		{"1-1:1.8.0", Entry{Name: "energy_import", Label: "Energy import", Dimension: Energy, Unit: "kWh", Nature: Total}},
		{"1-0:16.8.0", Entry{Name: "energy_net", Label: "Energy net", Dimension: Energy, Unit: "kWh", Nature: Balance}},
		{"1-0:16.7.0", Entry{Name: "power_net", Label: "Power net", Dimension: Power, Unit: "W", Nature: Momentary}},
		{"1-0:1.8.0*12", Entry{Name: "energy_import", Label: "Energy import", Dimension: Energy, Unit: "kWh", Nature: Fact}},
		{"1-0:1.7.0", Entry{Name: "power_import", Label: "Power import", Dimension: Power, Unit: "W", Nature: Momentary}},
		{"1-0:1.7.255", Entry{Name: "power_import", Label: "Power import", Dimension: Power, Unit: "W", Nature: Momentary}},
		{"1-0:21.7.0", Entry{Name: "power_import_l1", Label: "Power import L1", Dimension: Power, Unit: "W", Nature: Momentary, Phase: 1}},
		{"1-0:76.7.0", Entry{Name: "power_net_l3", Label: "Power net L3", Dimension: Power, Unit: "W", Nature: Momentary, Phase: 3}},
		{"1-0:43.7.0", Entry{Name: "reactive_power_import_l2", Label: "Reactive power import L2", Dimension: ReactivePower, Unit: "var", Nature: Momentary, Phase: 2, Rare: true}},
		{"1-0:1.4.0", Entry{Name: "power_import_average", Label: "Power import average", Dimension: Power, Unit: "W", Nature: Momentary}},
		{"1-0:1.6.0", Entry{Name: "power_import_maximum", Label: "Power import maximum", Dimension: Power, Unit: "W", Nature: Periodic}},
		{"1-0:31.4.0", Entry{Name: "current_limit_l1", Label: "Current limit L1", Dimension: Current, Unit: "A", Phase: 1, Diagnostic: true}},
		{"1-0:52.7.0", Entry{Name: "voltage_l2", Label: "Voltage L2", Dimension: Voltage, Unit: "V", Nature: Momentary, Phase: 2}},
		{"1-0:32.24.0", Entry{Name: "voltage_average_3_l1", Label: "Voltage average 3 L1", Dimension: Voltage, Unit: "V", Nature: Momentary, Phase: 1}},
		{"1-0:72.36.0", Entry{Name: "voltage_swells_l3", Label: "Voltage swells L3", Dimension: Count, Nature: Total, Phase: 3, Diagnostic: true, Rare: true}},
		{"0-0:32.32.0", Entry{Name: "voltage_sags_l1", Label: "Voltage sags L1", Dimension: Count, Nature: Total, Phase: 1, Diagnostic: true, Rare: true}},
		{"1-0:14.7.0", Entry{Name: "frequency", Label: "Frequency", Dimension: Frequency, Unit: "Hz", Nature: Momentary}},
		{"1-0:33.7.0", Entry{Name: "power_factor_l1", Label: "Power factor L1", Dimension: PowerFactor, Nature: Momentary, Phase: 1}},
		{"1-0:81.7.15", Entry{Name: "phase_angle_u2_i2", Label: "Phase angle U2 to I2", Dimension: PhaseAngle, Unit: "°", Nature: Momentary, Rare: true}},
		{"0-0:17.0.0", Entry{Name: "power_limit", Label: "Power limit", Dimension: Power, Unit: "W", Diagnostic: true}},
		{"0-0:1.0.0", Entry{Name: "clock", Label: "Clock", Dimension: Clock, Diagnostic: true, Rare: true}},
		{"0-0:96.13.0", Entry{Name: "message", Label: "Message"}},
		{"0-0:96.14.0", Entry{Name: "active_tariff", Label: "Active tariff"}},
		{"0-0:96.7.21", Entry{Name: "power_failures", Label: "Power failures", Dimension: Count, Nature: Total, Diagnostic: true}},
		{"0-0:96.7.7", Entry{Name: "long_power_failures_l2", Label: "Long power failures L2", Dimension: Count, Nature: Total, Phase: 2, Diagnostic: true, Rare: true}},
		{"1-0:99.97.0", Entry{Name: "power_failure_log", Label: "Power failure log", Diagnostic: true, Rare: true}},
		{"1-3:0.2.8", Entry{Name: "version", Label: "Version", Diagnostic: true}},
		{"0-1:24.2.1", Entry{Name: "reading", Label: "Meter reading", Nature: Total}},
		{"0-1:24.2.3", Entry{Name: "reading_uncorrected", Label: "Meter reading uncorrected", Nature: Total}},
		{"6-0:1.0.0", Entry{Name: "energy", Label: "Heat energy", Dimension: Energy, Unit: "kWh", Nature: Total}},
		{"5-0:1.0.0", Entry{Name: "energy", Label: "Cooling energy", Dimension: Energy, Unit: "kWh", Nature: Total}},
		{"6-0:2.0.0", Entry{Name: "volume", Label: "Volume", Dimension: Volume, Unit: "m³", Nature: Total}},
		{"6-0:1.2.0", Entry{Name: "energy_due_date", Label: "Heat energy on due date", Dimension: Energy, Unit: "kWh", Rare: true}},
		{"6-0:12.0.0", Entry{Name: "temperature_difference", Label: "Temperature difference", Dimension: TemperatureDifference, Unit: "K", Nature: Momentary}},
		{"8-0:1.0.2", Entry{Name: "volume_tariff_2", Label: "Water volume tariff 2", Dimension: WaterVolume, Unit: "m³", Nature: Total, Tariff: 2}},
		{"9-0:1.0.0", Entry{Name: "volume", Label: "Warm water volume", Dimension: WaterVolume, Unit: "m³", Nature: Total}},
		{"4-0:1.0.0", Entry{Name: "hca_units", Label: "Heating units", Dimension: HeatUnits, Nature: Periodic}},
		{"7-0:3.0.0", Entry{Name: "volume", Label: "Gas volume", Dimension: GasVolume, Unit: "m³", Nature: Total}},
		{"7-0:3.2.0", Entry{Name: "volume_converted", Label: "Gas volume converted", Dimension: Volume, Unit: "m³", Nature: Total}},
		{"7-0:43.0.0", Entry{Name: "volume_flow", Label: "Gas flow", Dimension: Flow, Unit: "m³/h", Nature: Momentary}},
		{"0-0:128.20.0", Entry{}},
		{"1-0:32.7.3", Entry{}},  // the third harmonic is not the voltage
		{"1-0:1.7.1", Entry{}},   // nor is a power of a tariff the power
		{"1-0:1.8.200", Entry{}}, // beyond the tariffs of the standard
		{"12-0:96.1.0", Entry{}}, // no such medium
		{"1-0:200.8.0", Entry{}}, // manufacturer's own
		{"1-0:11.8.0", Entry{}},  // ampere-hours
		{"6-0:10.0.1", Entry{}},  // a temperature has no tariff
		{"7-0:3.0.9", Entry{Name: "volume_tariff_9", Label: "Gas volume tariff 9", Dimension: GasVolume, Unit: "m³", Nature: Total, Tariff: 9}},
	} {
		t.Run(tc.code, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Lookup(MustParse(tc.code))); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestEveryNameIsUniqueWithinItsMedium(t *testing.T) {
	type named struct {
		a    spot
		name string
	}
	by := map[named]spot{}
	for s, e := range catalogue {
		a := s >> 24
		if other, twice := by[named{a, e.Name}]; twice {
			t.Errorf("%s names %08x and %08x", e.Name, uint32(other), uint32(s))
		}
		by[named{a, e.Name}] = s
		// The general codes stand beside those of each medium.
		if other, twice := by[named{0, e.Name}]; a != 0 && twice && e.Name != "operating_time" {
			t.Errorf("%s names %08x and the general %08x", e.Name, uint32(s), uint32(other))
		}
	}
}

func TestEveryEntryIsComplete(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	label := regexp.MustCompile(`^[A-Z][A-Za-z0-9 -]*$`)
	for s, e := range catalogue {
		if !name.MatchString(e.Name) || !label.MatchString(e.Label) || strings.HasSuffix(e.Label, " ") {
			t.Errorf("%08x: name %q, label %q", uint32(s), e.Name, e.Label)
		}
		if e.Unit != "" && e.Unit != "°" {
			if u, shift, known := ParseUnit(e.Unit); !known || shift != 0 || u != e.Unit {
				t.Errorf("%s: unit %q is not canonical", e.Name, e.Unit)
			}
		}
		if (e.Nature == Total || e.Nature == Balance) && e.Dimension == NoDimension && s>>16&255 != 24 {
			t.Errorf("%s: a total of nothing", e.Name)
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	codes := []Code{
		New(1, 0, 1, 8, 1), New(1, 0, 21, 7, 0), New(0, 0, 96, 13, 0), New(0, 1, 24, 2, 1),
		New(6, 0, 1, 0, 0), New(1, 0, 99, 97, 0), New(1, 0, 1, 7, 255),
		{0, 0, 128, 0, 0, 255},
	}
	var e Entry
	if n := testing.AllocsPerRun(100, func() {
		for _, c := range codes {
			e = Lookup(c)
		}
	}); n != 0 {
		t.Errorf("%v allocations, last entry %v", n, e)
	}
}

func TestLookupMediumTellsWhatAMeterBehindAnotherCounts(t *testing.T) {
	reading := New(0, 1, 24, 2, 1)
	for _, tc := range []struct {
		code   Code
		medium string
		unit   Unit
		label  string
		of     Dimension
	}{
		{reading, MediumGas, "m³", "Gas", GasVolume},
		{reading, MediumWater, "m³", "Water", WaterVolume},
		{reading, MediumWarmWater, "m³", "Warm water", WaterVolume},
		{reading, MediumHeat, "GJ", "Heat", Energy},
		{reading, MediumHeat, "m³", "Heat", Volume},
		{reading, MediumElectricity, "kWh", "Electricity", Energy},
		{reading, MediumGas, "kWh", "Gas", Energy},
		{reading, "", "m³", "Meter reading", Volume},
		{reading, MediumUnknown, "", "Meter reading", NoDimension},
		{New(0, 2, 24, 2, 3), MediumGas, "m³", "Gas uncorrected", GasVolume},
		{New(1, 0, 1, 8, 0), MediumGas, "kWh", "Energy import", Energy},
	} {
		e := LookupMedium(tc.code, tc.medium, tc.unit)
		if e.Label != tc.label || e.Dimension != tc.of || !e.IsTotal() {
			t.Errorf("%s of %q in %q: %+v", tc.code, tc.medium, tc.unit, e)
		}
		if want := Lookup(tc.code).Name; e.Name != want {
			t.Errorf("%s: the name %q depends on the medium", tc.code, e.Name)
		}
	}
	if e := LookupMedium(New(0, 1, 24, 2, 9), MediumGas, "m³"); e.Known() {
		t.Errorf("0-1:24.2.9 is not in the catalogue, got %+v", e)
	}
}

func TestNamedKnowsWhatHasNoCode(t *testing.T) {
	if e := Named("volume", MediumGas); e.Dimension != GasVolume || !e.IsTotal() {
		t.Errorf("volume of gas: %+v", e)
	}
	if e := Named("volume", MediumHeat); e.Dimension != Volume {
		t.Errorf("volume of heat: %+v", e)
	}
	if e := Named("flow_temperature", MediumHeat); e.Dimension != Temperature || e.Nature != Momentary {
		t.Errorf("flow temperature: %+v", e)
	}
	if e := Named("no such thing", MediumHeat); e.Known() {
		t.Errorf("no such thing: %+v", e)
	}
	for name, e := range named {
		if name != e.Name {
			t.Errorf("%s stands under %s", e.Name, name)
		}
	}
}

func TestMediaHaveNames(t *testing.T) {
	for b, want := range map[byte]string{2: "electricity", 3: "gas", 4: "heat", 0x0C: "heat", 0x0A: "cooling", 8: "hca", 0x15: "hot_water", 0x3F: ""} {
		if got := MediumName(b); got != want {
			t.Errorf("medium %#02x is %q, want %q", b, got, want)
		}
	}
	all := map[string]bool{}
	for _, name := range mediumNames {
		all[name] = true
	}
	for medium := range mediumLabels {
		if !all[medium] {
			t.Errorf("%q has a label and no device type", medium)
		}
	}
}

// strangers are codes of the corpus that are meant to have no entry.
var strangers = map[string]string{
	"0-0:94.98.31*255": "of one country",
	"0-0:94.98.32*255": "of one country",
	"0-0:94.98.33*255": "of one country",
	"0-0:128.20.0*255": "manufacturer's own",
	"0-0:96.72.1*255":  "manufacturer's own",
	"0-0:96.72.2*255":  "manufacturer's own",
	"1-0:0.9.129*255":  "manufacturer's own",
	"1-0:96.50.0":      "manufacturer's own: service data of German meters",
}

func TestEveryCodeOfTheCorpusIsKnown(t *testing.T) {
	seen := 0
	for _, file := range corpusFiles(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range codeInJSON.FindAllSubmatch(raw, -1) {
			text := string(m[1])
			c, err := Parse(text)
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(file), err)
				continue
			}
			seen++
			_, all := strangers[New(c.A(), c.B(), c.C(), c.D(), c.E()).String()]
			if _, one := strangers[text]; one || all {
				continue
			}
			if !Lookup(c).Known() {
				t.Errorf("%s: %s has no entry", filepath.Base(file), text)
			}
		}
	}
	if seen < 1000 {
		t.Errorf("only %d codes seen: the corpus is not what it was", seen)
	}
}

var codeInJSON = regexp.MustCompile(`"obis": *"([^"]+)"`)

func corpusFiles(t *testing.T) []string {
	t.Helper()
	root := shared(t, "corpus")
	var files []string
	for _, folder := range []string{"p1", "hdlc", "iec62056-21"} {
		found, err := filepath.Glob(filepath.Join(root, folder, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

// shared is the path of what lies beside the repository. Without it the test is
// skipped, but not in CI.
func shared(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: CI needs it", err)
		}
		t.Skipf("not here: %v", err)
	}
	return path
}

func TestTheTableOfMBusCodesIsKept(t *testing.T) {
	raw, err := os.ReadFile(shared(t, "spec/mbus-obis.json"))
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Media map[string]struct{ A byte } `json:"medium_to_A"`
		Rows  []struct {
			A        json.RawMessage
			C        *byte
			Code     string
			Full     string
			Quantity string
		}
	}
	if err := json.Unmarshal(raw, &table); err != nil {
		t.Fatal(err)
	}
	for _, row := range table.Rows {
		var media []byte
		var list []int
		if json.Unmarshal(row.A, &list) == nil {
			for _, a := range list {
				media = append(media, byte(a))
			}
		}
		var codes []Code
		for _, a := range media {
			switch {
			case row.C != nil:
				codes = append(codes, New(a, 0, *row.C, 0, 0))
			case row.Code != "":
				c, ok := Scan(row.Code, Defaults{A: a})
				if !ok {
					t.Fatalf("%s is no code", row.Code)
				}
				codes = append(codes, c)
			}
		}
		if row.Full != "" {
			codes = append(codes, MustParse(row.Full))
		}
		for _, c := range codes {
			if !Lookup(c).Known() {
				t.Errorf("%s of %s has no entry", c, row.Quantity)
			}
			named := Named(row.Quantity, "")
			if e := Lookup(c); c.A() != 0 && c.A() != 1 && c.A() != 7 && named.Known() && e.Name != named.Name {
				t.Errorf("%s is %s with a code and %s without", c, e.Name, named.Name)
			}
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	c := New(1, 0, 1, 8, 1)
	for b.Loop() {
		if !Lookup(c).Known() {
			b.Fatal("unknown")
		}
	}
}

func BenchmarkNewCatalogue(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if len(newCatalogue()) == 0 {
			b.Fatal("empty")
		}
	}
}
