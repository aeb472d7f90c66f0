package obis

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnitsAreTheSharedList(t *testing.T) {
	raw, err := os.ReadFile(shared(t, "units.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Canonical map[Unit]map[string]int8
		AsSent    []Unit `json:"as_sent"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	want := map[string]unitOf{}
	for unit, spellings := range list.Canonical {
		for s, shift := range spellings {
			want[s] = unitOf{unit, shift}
		}
	}
	if diff := cmp.Diff(want, canonical, cmp.AllowUnexported(unitOf{})); diff != "" {
		t.Errorf("-list +table\n%s", diff)
	}
	if diff := cmp.Diff(list.AsSent, asSent); diff != "" {
		t.Errorf("-list +table\n%s", diff)
	}
}

func TestParseUnitFindsSpellings(t *testing.T) {
	for _, tc := range []struct {
		text  string
		unit  Unit
		shift int
		known bool
	}{
		{"kWh", "kWh", 0, true},
		{"Wh", "kWh", -3, true},
		{"KWH", "kWh", 0, true},
		{"kVArh", "kvarh", 0, true},
		{"kVAr", "var", 3, true},
		{"m3", "m³", 0, true},
		{"M3", "m³", 0, true},
		{"mW", "W", -3, true},
		{"MW", "W", 6, true},
		{"Mw", "", 0, false},  // milli or mega
		{"MV", "V", -3, true}, // just one spelling fits
		{"w", "W", 0, true},
		{"v", "V", 0, true},
		{"a", "A", 0, true},
		{"c", "", 0, false},
		{"K", "K", 0, true},
		{"k", "", 0, false},
		{"j", "", 0, false},
		{"GJ", "GJ", 0, true},
		{"gj", "GJ", 0, true},
		{"kJ", "MJ", -3, true},
		{"hPa", "bar", -3, true},
		{"°C", "°C", 0, true},
		{"H.C.A.", "H.C.A.", 0, true},
		{"GAL", "gal", 0, true},
		{"month", "month", 0, true},
		{"", "", 0, false},
		{"furlongs per fortnight", "", 0, false},
		{"kWx", "", 0, false},
	} {
		unit, shift, known := ParseUnit(tc.text)
		if unit != tc.unit || shift != tc.shift || known != tc.known {
			t.Errorf("%q: %q, %d, %v, want %q, %d, %v", tc.text, unit, shift, known, tc.unit, tc.shift, tc.known)
		}
		b, bs, bk := ParseUnit([]byte(tc.text))
		if b != unit || bs != shift || bk != known {
			t.Errorf("%q as bytes: %q, %d, %v", tc.text, b, bs, bk)
		}
	}
}

func TestParseUnitAllocatesNothing(t *testing.T) {
	spellings := [][]byte{[]byte("kWh"), []byte("KVARH"), []byte("gal"), []byte("unknown")}
	if n := testing.AllocsPerRun(100, func() {
		for _, s := range spellings {
			ParseUnit(s)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
