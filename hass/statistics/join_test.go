package statistics

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

var day = time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)

func at(hour, minute int) time.Time {
	return day.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
}

func dec(thousandths int64) drivers.Decimal { return drivers.NewDecimal(thousandths, -3) }

// register is a meter: what it shows at each minute, in thousandths, and what was
// consumed until then.
type register struct {
	shows, used []int64
}

// grow is a register that counts for some hours and is exchanged at some minutes.
func grow(rnd *rand.Rand, hours int, exchanged ...int) register {
	r := register{}
	shows, used := int64(50_000_000), int64(0)
	for minute := range hours*60 + 1 {
		step := int64(rnd.IntN(40))
		if len(exchanged) > 0 && exchanged[0] == minute {
			exchanged = exchanged[1:]
			shows, step = int64(rnd.IntN(30_000_000)), 0
		}
		shows, used = shows+step, used+step
		r.shows, r.used = append(r.shows, shows), append(r.used, used)
	}
	return r
}

// live are Home Assistant's rows of it, where blind says which minutes it did not
// see.
func live(r register, blind func(minute int) bool) *home {
	h := &home{}
	for m := 0; m+5 < len(r.shows); m += 5 {
		var seen []float64
		for i := m; i < m+5; i++ {
			if !blind(i) {
				seen = append(seen, float64(r.shows[i])/1000)
			}
		}
		h.compile(at(0, m), seen...)
	}
	return h
}

func logOf(r register, from, to int) []Hour {
	var l Log
	for m := from; m <= to; m++ {
		l.Add(at(0, m), dec(r.shows[m]))
	}
	return l.Hours
}

// Whatever the hole, afterwards each hour has consumed what the meter counted, the
// rows behind it go on without a jump, and a second run has nothing to do.
func TestAHoleIsClosedExactly(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := grow(rnd, 12)
		from, to := 70+rnd.IntN(120), 250+rnd.IntN(300)
		h := live(r, func(m int) bool { return m > from && m < to })
		closeUp(t, h, Hole{at(0, from), at(0, to)}, logOf(r, from, to))
		compareHours(t, seed, h, r)
	}
}

// A meter that is exchanged while nobody looks has consumed what both counted.
func TestAnExchangeInTheHoleIsNoConsumption(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		r := grow(rnd, 12, 200+rnd.IntN(100))
		h := live(r, func(m int) bool { return m > 130 && m < 400 })
		closeUp(t, h, Hole{at(0, 130), at(0, 400)}, logOf(r, 130, 400))
		compareHours(t, seed, h, r)
	}
}

// A meter that is exchanged just behind the hole, in the first row that Home
// Assistant makes of it again, or before.
func TestAnExchangeBehindTheHoleIsNoConsumption(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		r := grow(rnd, 12, 381+rnd.IntN(4))
		h := live(r, func(m int) bool { return m > 130 && m < 380 })
		closeUp(t, h, Hole{at(0, 130), at(0, 380)}, logOf(r, 130, 719))
		compareHours(t, seed, h, r)
	}
}

func closeUp(t *testing.T, h *home, hole Hole, log []Hour) {
	t.Helper()
	r := Register{Digits: 3}
	for try := range 3 {
		p, err := Close(hole, r, h.hourly, h.behind(hole.To), log)
		if err != nil {
			t.Fatal(err)
		}
		if !p.Joined {
			t.Fatal("the hole was not closed")
		}
		if !p.Writes() {
			return
		}
		if try == 2 {
			t.Fatalf("a repeated run still changes something: %+v", p)
		}
		h.carryOut(p)
	}
}

// compareHours holds Home Assistant's hours against the meter's, one to the next.
// The last reading that Home Assistant sees of an hour is a minute before its end.
func compareHours(t *testing.T, seed uint64, h *home, r register) {
	t.Helper()
	tolerance := dec(2 * 40) // the minute at either end
	for i := 1; i < len(h.hourly); i++ {
		a, b := h.hourly[i-1], h.hourly[i]
		if b.Start.Sub(a.Start) != time.Hour {
			t.Errorf("seed %d: no row between %s and %s", seed, a.Start, b.Start)
		}
		m := int(b.Start.Sub(day) / time.Minute)
		want := dec(r.used[m+60] - r.used[m])
		got := rounded(b.Sum-a.Sum, 3)
		if d, err := got.Sub(want); err != nil || d.Cmp(tolerance) > 0 || d.Cmp(dec(-80)) < 0 {
			t.Errorf("seed %d: hour %s has %s, the meter counted %s", seed, b.Start, got, want)
		}
		whole, err := rounded(b.Sum, 3).Sub(dec(r.used[m+59] - r.used[0]))
		if err != nil || whole.Cmp(dec(40)) > 0 || whole.Sign() < 0 {
			t.Errorf("seed %d: the sum at %s is off by %s", seed, b.Start, whole)
		}
	}
}

func TestClose(t *testing.T) {
	// 100, 101, … kWh at the end of hour 0, 1, …; the sum began at 100.
	own := func(hours ...int) (rows []Row) {
		for _, h := range hours {
			rows = append(rows, Row{at(h, 0), 100 + float64(h), float64(h)})
		}
		return rows
	}
	log := func(hours ...int) (log []Hour) {
		for _, h := range hours {
			log = append(log, Hour{
				Start: at(h, 0), FirstAt: at(h, 15), LastAt: at(h+1, 0), First: dec(99_250 + int64(h)*1000), Last: dec(100_000 + int64(h)*1000),
			})
		}
		return log
	}
	entry := func(h int) Entry { return Entry{at(h, 0), dec(100_000 + int64(h)*1000), dec(int64(h) * 1000)} }
	hole := Hole{at(2, 20), at(4, 0)} // the ends of hours 2 and 3
	for name, c := range map[string]struct {
		own, behind []Row
		log         []Hour
		want        Plan
	}{
		"hours between two of Home Assistant's own": {
			own: own(0, 1, 4, 5), log: log(2, 3), want: Plan{Import: []Entry{entry(2), entry(3)}, Joined: true},
		},
		"no row behind the hole yet": {
			own: own(0, 1), log: log(2, 3), want: Plan{Import: []Entry{entry(2), entry(3)}},
		},
		"a five-minute row behind it": {
			own: own(0, 1), behind: []Row{{at(4, 40), 104.7, 4.7}}, log: log(2, 3), want: Plan{Import: []Entry{entry(2), entry(3)}, Joined: true},
		},
		"only hours whose end nobody saw": {
			own: own(0, 1, 4, 5), log: log(1, 2, 3, 4), want: Plan{Import: []Entry{entry(2), entry(3)}, Joined: true},
		},
		"rows that stand already": {
			own: own(0, 1, 2, 3, 4), log: log(2, 3), want: Plan{Joined: true},
		},
		"rows that show what was seen last": {
			own: []Row{{at(1, 0), 101, 1}, {at(2, 0), 101.3, 1.3}, {at(3, 0), 101.3, 1.3}, {at(4, 0), 104, 4}},
			log: log(2, 3), want: Plan{Import: []Entry{entry(2), entry(3)}, Joined: true},
		},
		"such a row of an hour that nothing is known of": {
			own: []Row{{at(1, 0), 101, 1}, {at(3, 0), 101.3, 1.3}, {at(4, 0), 104, 4}},
			log: log(2), want: Plan{Import: []Entry{entry(2), {at(3, 0), dec(102_000), dec(2_000)}}, Joined: true},
		},
		"nothing of Home Assistant's before": {
			own: own(4, 5), log: log(2, 3), want: Plan{Import: []Entry{entry(2), entry(3)}, Joined: true},
		},
		"nothing of Home Assistant's at all": {log: log(2, 3), want: Plan{}},
		"nothing known":                      {own: own(0, 1, 4), want: Plan{Joined: true}},
		"a sum that Home Assistant counted wrong behind": {
			own: []Row{{at(1, 0), 101, 1}, {at(4, 0), 104, 9004}}, log: log(2, 3),
			want: Plan{Import: []Entry{entry(2), entry(3)}, Joined: true, ShiftFrom: at(4, 0), Shift: dec(-9_000_000)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Close(hole, Register{Digits: 3}, c.own, c.behind, c.log)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b drivers.Decimal) bool { return a.Cmp(b) == 0 })); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// enormous has as many digits as a number can have, so that nothing can be added.
func enormous(t *testing.T, sign string) drivers.Decimal {
	t.Helper()
	d, err := drivers.ParseDecimal(sign + strings.Repeat("9", drivers.MaxDigits))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A plan is exact or there is none: a register that says what no number can hold
// is an error, wherever on the way that shows.
func TestWhatCannotBeHeldExactlyIsNotWritten(t *testing.T) {
	most, least := enormous(t, ""), enormous(t, "-")
	hour := func(h int, first, last, extra drivers.Decimal) Hour {
		return Hour{Start: at(h, 0), FirstAt: at(h, 15), LastAt: at(h+1, 0), First: first, Last: last, Extra: extra}
	}
	var zero drivers.Decimal
	before, behind := Row{at(1, 0), 101, 1}, Row{at(4, 0), 104, 4}
	for name, c := range map[string]struct {
		own []Row
		log []Hour
	}{
		"within an hour":                 {[]Row{before, behind}, []Hour{hour(2, least, most, zero)}},
		"over an exchange in an hour":    {[]Row{before, behind}, []Hour{hour(2, dec(1000), dec(2000), most), hour(3, dec(2000), dec(3000), most)}},
		"from the row before":            {[]Row{{at(1, 0), -5, 1}, behind}, []Hour{hour(2, most, most, zero)}},
		"between two hours":              {[]Row{before, behind}, []Hour{hour(2, least, least, zero), hour(3, most, most, zero)}},
		"up to the row behind":           {[]Row{before, behind}, []Hour{hour(2, least, least, zero)}},
		"where nothing was known before": {[]Row{behind}, []Hour{hour(2, least, least, zero)}},
		"behind a meter's exchange":      {[]Row{before, {at(5, 0), 104, 4}}, []Hour{hour(2, dec(200_000), dec(200_000), zero), hour(4, dec(1000), dec(2000), most), hour(5, dec(2000), dec(2000), most)}},
	} {
		for _, falls := range []bool{false, true} {
			p, err := Close(Hole{at(2, 20), at(4, 0)}, Register{Digits: 3, Falls: falls}, c.own, nil, c.log)
			if err == nil && falls {
				continue // a balance may fall as far as it likes
			}
			if !errors.Is(err, drivers.ErrDigits) {
				t.Errorf("%s: got %+v, %v", name, p, err)
			}
		}
	}
}
