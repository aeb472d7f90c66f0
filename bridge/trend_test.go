package bridge

import (
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

func shownValue(code string, number int64, unit obis.Unit) *drivers.Value {
	return &drivers.Value{Code: obis.MustParse(code), Number: drivers.NewDecimal(number, 0), Unit: unit}
}

// A minute without a value is a gap, and the newest three hours are kept.
func TestATrendHasGapsWhereNothingWasKnown(t *testing.T) {
	var p picture
	var tr trend
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	p.renew("1-0:1.7.0", shownValue("1-0:1.7.0", 0, "W"), false, start)
	for minute := range 4 {
		p.renew("1-0:1.7.0", shownValue("1-0:1.7.0", int64(100+minute), "W"), false, at(minute))
		tr.note(at(minute), &p)
		tr.note(at(minute).Add(30*time.Second), &p) // the same minute
	}
	p.renew("1-0:1.7.0", shownValue("1-0:1.7.0", 200, "W"), false, at(6))
	tr.note(at(6), &p)
	s := tr.shown(&p, "electricity")
	want := []float64{100, 101, 102, 103, -1, -1, 200}
	if s == nil || len(s.Points) != len(want) || s.Label != "Power import" || s.Unit != "W" {
		t.Fatalf("got %+v", s)
	}
	for i, w := range want {
		if got := s.Points[i]; w < 0 && got != nil || w >= 0 && (got == nil || *got != w) {
			t.Errorf("point %d: got %v, want %v", i, got, w)
		}
	}
	for minute := 7; minute < 1000; minute++ {
		p.renew("1-0:1.7.0", shownValue("1-0:1.7.0", int64(minute), "W"), false, at(minute))
		tr.note(at(minute), &p)
	}
	if s = tr.shown(&p, "electricity"); len(s.Points) != trendPoints || *s.Points[0] != 1000-trendPoints {
		t.Errorf("%d points from %v", len(s.Points), *s.Points[0])
	}
}

// What was shown is written out after the meter's lock is given back, while the
// meter goes on noting.
func TestAShownTrendStaysAsItWas(t *testing.T) {
	var p picture
	var tr trend
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	p.renew("1-0:1.7.0", shownValue("1-0:1.7.0", 100, "W"), false, start)
	tr.note(start, &p)
	s := tr.shown(&p, "electricity")
	later := start.Add(trendPoints * trendEvery) // takes the same place in the ring
	p.renew("1-0:1.7.0", shownValue("1-0:1.7.0", 200, "W"), false, later)
	tr.note(later, &p)
	if got := *s.Points[len(s.Points)-1]; got != 100 {
		t.Errorf("the point shown as 100 became %v", got)
	}
}

func TestATrendShowsWhatTellsMost(t *testing.T) {
	for _, c := range []struct {
		units map[string]obis.Unit
		want  string
	}{
		{map[string]obis.Unit{"8-0:1.0.0": "m³"}, "8-0:1.0.0"},
		{map[string]obis.Unit{"6-0:1.0.0": "kWh", "6-0:8.0.0": "W"}, "6-0:8.0.0"},
		{map[string]obis.Unit{"1-0:1.8.0": "kWh", "1-0:32.7.0": "V", "1-0:16.7.0": "W"}, "1-0:16.7.0"},
		{map[string]obis.Unit{"0-0:96.1.0": ""}, ""},
	} {
		var p picture
		for code, unit := range c.units {
			p.renew(code, shownValue(code, 1, unit), false, time.Now())
		}
		var tr trend
		if tr.note(time.Now(), &p); tr.key != c.want {
			t.Errorf("%v: got %q, want %q", c.units, tr.key, c.want)
		}
	}
}
