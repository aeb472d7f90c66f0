package statistics

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

func TestAReadingOnTheHourIsTheEndOfTheOneBefore(t *testing.T) {
	for want, of := range map[time.Time]time.Time{
		at(10, 0): at(11, 0), at(9, 0): at(10, 0), at(11, 0): at(11, 0).Add(time.Nanosecond),
	} {
		if got := HourOf(of); !got.Equal(want) {
			t.Errorf("%s: got %s, want %s", of, got, want)
		}
	}
}

// The same readings give the same log, in whatever order and however often.
func TestALogDoesNotMindOrderOrRepetition(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		r := grow(rnd, 5)
		want := logOf(r, 0, 299)
		var l Log
		for range 2 {
			for _, m := range rnd.Perm(300) {
				l.Add(at(0, m), dec(r.shows[m]))
			}
		}
		if diff := cmp.Diff(want, l.Hours); diff != "" {
			t.Fatalf("seed %d: -want +got\n%s", seed, diff)
		}
	}
}

func TestALogKnowsWhatAnHourUsedOverAnExchange(t *testing.T) {
	var l Log
	for i, v := range []int64{50_000_000, 50_000_300, 12_000, 12_500} {
		l.Add(at(10, 10+10*i), dec(v))
	}
	used, err := l.Hours[0].Used()
	if err != nil || used.Cmp(dec(800)) != 0 {
		t.Errorf("got %s, %v, want 0.800", used, err)
	}
}

func TestALogIsBounded(t *testing.T) {
	var l Log
	for i := range 2 * MaxHours {
		l.Add(at(i, 30), dec(int64(i)))
	}
	if n := len(l.Hours); n != MaxHours || !l.Hours[n-1].Start.Equal(at(2*MaxHours-1, 0)) {
		t.Errorf("%d hours, the last %s", n, l.Hours[n-1].Start)
	}
}

// A day of a load profile with both clocks: 25 hours in autumn, 23 in spring, and
// each hour in a row of its own.
func TestTheNightsOfTheClock(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		day  time.Time
		want int
	}{
		"autumn": {time.Date(2026, 10, 25, 0, 0, 0, 0, zone), 25},
		"spring": {time.Date(2026, 3, 29, 0, 0, 0, 0, zone), 23},
	} {
		t.Run(name, func(t *testing.T) {
			var l Log
			total := int64(0)
			for q := c.day.Add(15 * time.Minute); !q.After(c.day.AddDate(0, 0, 1)); q = q.Add(15 * time.Minute) {
				total += 250
				l.Add(q, dec(total))
			}
			if len(l.Hours) != c.want {
				t.Fatalf("%d hours, want %d", len(l.Hours), c.want)
			}
			for i, h := range l.Hours {
				if h.Last.Cmp(dec(int64(i+1)*1000)) != 0 {
					t.Errorf("hour %s ends at %s", h.Start, h.Last)
				}
			}
		})
	}
}

func TestStep(t *testing.T) {
	for name, c := range map[string]struct {
		from, to int64
		falls    bool
		want     int64
	}{
		"a rise":                {1_000, 1_250, false, 250},
		"nothing":               {1_000, 1_000, false, 0},
		"another meter":         {50_000_000, 12_000, false, 0},
		"the end of its digits": {99_999_500, 300, false, 800},
		"a balance that falls":  {1_000, 400, true, -600},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Step(dec(c.from), dec(c.to), c.falls); err != nil || got.Cmp(dec(c.want)) != 0 {
				t.Errorf("got %s, %v, want %s", got, err, dec(c.want))
			}
		})
	}
}

// Home Assistant counts an exchange wrong in one of two ways; both are put right,
// once.
func TestAnExchangeBeforeItsEyesIsPutRight(t *testing.T) {
	for name, fresh := range map[string]float64{"a new meter": 12, "a used one": 30_000, "one nearly as far": 49_000} {
		t.Run(name, func(t *testing.T) {
			h := &home{}
			h.compile(at(0, 0), 50_000)
			h.compile(at(0, 5), 50_001, 50_001.5)
			h.compile(at(0, 10), 50_002, fresh, fresh+0.25)
			x := Exchange{At: at(0, 12), Old: dec(50_002_000), New: rounded(fresh, 3)}
			r := Register{Digits: 3}
			shift, from, found, err := x.Follow(r, h.short)
			if err != nil || !found || !from.Equal(at(0, 10)) || shift.Sign() == 0 {
				t.Fatalf("shift %s from %s, %t, %v", shift, from, found, err)
			}
			h.shift(shift, from)
			if got := rounded(h.short[2].Sum, 3); got.Cmp(dec(2_250)) != 0 {
				t.Errorf("the sum is %s", got)
			}
			if again, _, found, err := x.Follow(r, h.short); err != nil || !found || again.Sign() != 0 {
				t.Errorf("a second look shifts %s, %t, %v", again, found, err)
			}
		})
	}
}

func TestAnExchangeWaitsUntilItIsCompiled(t *testing.T) {
	x := Exchange{At: at(0, 12), Old: dec(50_002_000), New: dec(12_000)}
	if _, _, found, err := x.Follow(Register{Digits: 3}, []Row{{at(0, 0), 50_000, 0}, {at(0, 5), 50_001, 1}}); found || err != nil {
		t.Errorf("found %t, %v", found, err)
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{
		"2025.11.0": {2025, 11}, "2026.11.0b3": {2026, 11}, "2027.1.0.dev20261101": {2027, 1}, "2026.4": {2026, 4},
	} {
		if got, err := ParseVersion(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"2025.10.4", "2024.12.0", "", "x.y", "2026"} {
		if _, err := ParseVersion(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestAnImportFitsTheVersion(t *testing.T) {
	m := Metadata{ID: "sensor.mains_import", Source: "recorder", HasSum: true, UnitClass: new("energy"), Unit: new("kWh")}
	rows := []Entry{{at(2, 0), drivers.NewDecimal(1_234_567, -3), drivers.NewDecimal(500, -3)}}
	for v, want := range map[Version]string{
		{2025, 11}: `{"metadata":{"statistic_id":"sensor.mains_import","source":"recorder","name":null,"has_sum":true,"mean_type":0,"has_mean":false,"unit_class":"energy","unit_of_measurement":"kWh"},` +
			`"stats":[{"start":"2026-03-28T02:00:00Z","state":1234.567,"sum":0.500}]}`,
		{2026, 11}: `{"metadata":{"statistic_id":"sensor.mains_import","source":"recorder","name":null,"has_sum":true,"mean_type":0,"unit_class":"energy","unit_of_measurement":"kWh"},` +
			`"stats":[{"start":"2026-03-28T02:00:00Z","state":1234.567,"sum":0.500}]}`,
	} {
		got, err := json.Marshal(NewImport(v, m, rows))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%v: -want +got\n%s", v, diff)
		}
	}
}

func TestPower(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     int
		ok       bool
	}{
		{"kWh", "kWh", 0, true},
		{"kWh", "MWh", -3, true},
		{"GJ", "MJ", 3, true},
		{"m³", "L", 3, true},
		{"GJ", "kWh", 0, false},
		{"kVAh", "kVAh", 0, true},
		{"gal", "m³", 0, false},
	} {
		n, ok := Power(obis.Unit(c.from), obis.Unit(c.to))
		if n != c.want || ok != c.ok {
			t.Errorf("%s → %s: %d, %t", c.from, c.to, n, ok)
		}
	}
}

// What a register is said to have been fits, if it lies between what was read before
// and after.
func TestAValueFitsBetweenItsNeighbours(t *testing.T) {
	var l Log
	for m, v := range map[int]int64{10: 100, 50: 110, 190: 150, 200: 160} {
		l.Add(at(0, m), dec(v))
	}
	for _, c := range []struct {
		minute int
		value  int64
		want   bool
	}{
		{5, 100, true},
		{5, 101, false},
		{30, 105, true},
		{30, 111, false},
		{30, 99, false},
		{50, 110, true},
		{120, 110, true},
		{120, 109, false},
		{120, 150, true},
		{120, 151, false},
		{195, 155, true},
		{300, 160, true},
		{300, 159, false},
	} {
		if got := l.Fits(at(0, c.minute), dec(c.value)); got != c.want {
			t.Errorf("minute %d, %d: fits %v", c.minute, c.value, got)
		}
	}
	if empty := (&Log{}); !empty.Fits(at(0, 0), dec(1)) {
		t.Error("nothing is known, and it does not fit")
	}
}
