package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

var start = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// number is a value as a decoder makes it.
func number(t *testing.T, code, digits string, unit obis.Unit) drivers.Value {
	t.Helper()
	n, err := drivers.ParseDecimal(digits)
	if err != nil {
		t.Fatal(err)
	}
	return drivers.Value{Code: obis.MustParse(code), Number: n, Unit: unit}
}

func TestAPictureHoldsTheLastValueOfEveryKey(t *testing.T) {
	var p picture
	energy, power := number(t, "1-0:1.8.0", "1234.500", "kWh"), number(t, "1-0:1.7.0", "250", "W")
	if !p.renew("1-0:1.8.0", &energy, false, start) || !p.renew("1-0:1.7.0", &power, false, start) {
		t.Error("a new quantity is to be announced")
	}
	power = number(t, "1-0:1.7.0", "251", "W")
	if p.renew("1-0:1.7.0", &power, false, start.Add(time.Second)) {
		t.Error("a known quantity was announced again")
	}
	p.time = drivers.Stamp{Wall: start.In(time.FixedZone("", 3600)), Zoned: true}
	p.received = start.Add(time.Second + 250*time.Millisecond)
	want := `{"time":"2026-01-31T13:00:00+01:00","received":"2026-01-31T12:00:01.250Z",` +
		`"1-0:1.8.0":1234.500,"1-0:1.7.0":251}`
	if diff := cmp.Diff(want, string(p.appendJSON(nil))); diff != "" {
		t.Error(diff)
	}
}

func TestAQuantityIsAnnouncedAgainWhenItShowsMore(t *testing.T) {
	var p picture
	for _, step := range []struct {
		digits   string
		unit     obis.Unit
		announce bool
		decimals int
	}{
		{"1.5", "kWh", true, 1},
		{"1.50", "kWh", true, 2},
		{"2", "kWh", false, 2},
		{"2.00", "MJ", true, 2},
	} {
		v := number(t, "1-0:1.8.0", step.digits, step.unit)
		if got := p.renew("k", &v, false, start); got != step.announce {
			t.Errorf("%s %s: announced %t", step.digits, step.unit, got)
		}
		if got := p.quantities()[0].Digits; got != step.decimals {
			t.Errorf("%s: %d decimals, want %d", step.digits, got, step.decimals)
		}
	}
}

func TestAKeyThatStaysAwayBecomesNull(t *testing.T) {
	var p picture
	fast, slow := number(t, "1-0:1.7.0", "1", "W"), number(t, "1-0:1.8.0", "2", "kWh")
	now := start
	for ; now.Before(start.Add(2 * time.Hour)); now = now.Add(10 * time.Second) {
		p.renew("fast", &fast, false, now)
		if now.Sub(start)%time.Hour == 0 {
			p.renew("slow", &slow, false, now)
		}
		if p.age(now, 0) {
			t.Fatalf("%s: a key went stale between its turns", now.Sub(start))
		}
	}
	now = now.Add(3 * time.Minute) // the fast one is gone
	if !p.age(now, 0) {
		t.Error("the fast key is not stale")
	}
	if diff := cmp.Diff(map[string]any{"fast": nil, "slow": 2.0, "received": "0001-01-01T00:00:00.000Z"}, decoded(t, &p)); diff != "" {
		t.Error(diff)
	}
	if p.age(now, 0) {
		t.Error("told twice")
	}
	p.renew("fast", &fast, false, now)
	if got := decoded(t, &p)["fast"]; got != 1.0 {
		t.Errorf("after its return: %v", got)
	}
}

func decoded(t *testing.T, p *picture) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(p.appendJSON(nil), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMeterThatInventsKeysIsBounded(t *testing.T) {
	var p picture
	v := number(t, "1-0:1.7.0", "1", "W")
	for i := range maxEntries + 10 {
		p.renew(fmt.Sprint(i), &v, false, start)
	}
	if len(p.entries) != maxEntries || !p.full {
		t.Errorf("%d entries, full %t", len(p.entries), p.full)
	}
}

func TestPace(t *testing.T) {
	var p pace
	if p.late(start, 3, time.Second, time.Second) {
		t.Error("late before anything came")
	}
	p.saw(start)
	if p.late(start.Add(time.Minute), 3, 0, 2*time.Minute) || !p.late(start.Add(3*time.Minute), 3, 0, 2*time.Minute) {
		t.Error("with one sighting, the limit for the unknown counts")
	}
	for i := range 20 {
		p.saw(start.Add(time.Duration(i) * 10 * time.Second))
	}
	last := p.last
	if p.interval != 10*time.Second {
		t.Errorf("interval %s", p.interval)
	}
	if p.late(last.Add(29*time.Second), 3, 0, 0) || !p.late(last.Add(31*time.Second), 3, 0, 0) {
		t.Error("three intervals are the limit")
	}
	if p.late(last.Add(time.Minute), 3, 2*time.Minute, 0) {
		t.Error("the floor holds")
	}
	p.saw(last.Add(30 * time.Second)) // left two out
	if p.interval != 30*time.Second {
		t.Errorf("a longer interval counts at once: %s", p.interval)
	}
}

// A total in doubt is asked for again after seconds: that is no pace of the meter.
func TestAMeterThatIsAskedSeldomStaysOnline(t *testing.T) {
	asked := drivers.Driver{Dial: func(context.Context, drivers.Line, drivers.Config, drivers.Zones) (drivers.Session, error) {
		return nil, errors.ErrUnsupported
	}}
	hourly := asked
	hourly.Every = time.Hour
	for name, c := range map[string]struct {
		driver drivers.Driver
		every  time.Duration
		seen   []time.Duration
		until  time.Duration
	}{
		"asked each five minutes":     {asked, 5 * time.Minute, []time.Duration{0, 5 * time.Second}, 20 * time.Minute},
		"asked as its driver says":    {hourly, 0, []time.Duration{0, 5 * time.Second}, 4 * time.Hour},
		"asked once so far":           {hourly, 0, []time.Duration{0}, 4 * time.Hour},
		"asked once a day":            {asked, 24 * time.Hour, []time.Duration{0, 5 * time.Second}, 96 * time.Hour},
		"speaks by itself":            {drivers.Driver{}, 0, []time.Duration{0, 5 * time.Second}, 20 * time.Second},
		"speaks, and is thinned":      {drivers.Driver{}, time.Hour, []time.Duration{0, 5 * time.Second}, 20 * time.Second},
		"spoke by itself once so far": {drivers.Driver{}, 0, []time.Duration{0}, 3 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			m := &meter{config: config.Meter{Driver: c.driver, Every: c.every}, line: transport.LineOpen}
			energy := number(t, "6-0:1.0.0", "1", "kWh")
			last := start
			for _, after := range c.seen {
				last = start.Add(after)
				m.pace.saw(last)
				m.picture.renew("6-0:1.0.0", &energy, false, last)
			}
			if m.silent(last.Add(c.until)) {
				t.Errorf("offline before %s", c.until)
			}
			if !m.silent(last.Add(c.until + time.Second)) {
				t.Errorf("online after %s", c.until)
			}
			if c.driver.Push() {
				return
			}
			if m.picture.age(last.Add(c.until), m.usual()) {
				t.Errorf("its values are null before %s", c.until)
			}
			if m.retained() != (m.usual() > slow) {
				t.Errorf("retained %t at %s", m.retained(), m.usual())
			}
		})
	}
}

func TestTariffSums(t *testing.T) {
	low, normal := number(t, "1-0:1.8.1", "1000.001", "kWh"), number(t, "1-0:1.8.2", "2000.002", "kWh")
	third := number(t, "1-0:1.8.3", "1", "kWh")
	export := number(t, "1-0:2.8.1", "7", "kWh")
	total := number(t, "1-0:1.8.0", "3000.003", "kWh")
	other := number(t, "1-0:1.8.2", "1", "MJ")
	for _, c := range []struct {
		name     string
		readings [][]drivers.Value
		want     []string // of the last reading
	}{
		{"the sum of two tariffs", [][]drivers.Value{{low, normal}}, []string{"1-0:1.8.0=3000.003 kWh"}},
		{"each direction has its own", [][]drivers.Value{{low, export}}, []string{"1-0:1.8.0=1000.001 kWh", "1-0:2.8.0=7 kWh"}},
		{"a meter that sends the total needs none", [][]drivers.Value{{total, low, normal}}, nil},
		{"nor once it has sent it", [][]drivers.Value{{total}, {low, normal}}, nil},
		{"a telegram that lacks a register gives no sum", [][]drivers.Value{{low, normal}, {low}}, nil},
		{"a register that appears later joins in", [][]drivers.Value{{low}, {low, third}}, []string{"1-0:1.8.0=1001.001 kWh"}},
		{"units that differ give no sum", [][]drivers.Value{{low, other}}, nil},
		{"the same register twice counts once", [][]drivers.Value{{low, low}}, []string{"1-0:1.8.0=1000.001 kWh"}},
		{"nothing from nothing", [][]drivers.Value{{}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var (
				s   tariffSums
				got []string
			)
			for _, values := range c.readings {
				got = nil
				for _, v := range s.derive(append([]drivers.Value(nil), values...))[len(values):] {
					got = append(got, v.Code.String()+"="+v.Number.String()+" "+string(v.Unit))
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFactorsMultiplyExactly(t *testing.T) {
	f, err := newFactors(drivers.NewDecimal(40, 0), drivers.NewDecimal(15, -1))
	if err != nil {
		t.Fatal(err)
	}
	gas := number(t, "0-1:24.2.1", "5", "m³")
	gas.Channel = 1
	values := f.apply([]drivers.Value{
		number(t, "1-0:1.8.0", "1.001", "kWh"),
		number(t, "1-0:1.7.0", "2", "W"),
		number(t, "1-0:31.7.0", "3", "A"),
		number(t, "1-0:32.7.0", "230.1", "V"),
		number(t, "1-0:14.7.0", "50.00", "Hz"),
		gas,
		number(t, "1-0:1.8.1", "99999999999999999999999999999999999999", "kWh"),
	})
	var got []string
	for _, v := range values {
		got = append(got, v.Number.String())
	}
	want := []string{"60.0600", "120.0", "120", "345.15", "50.00", "5"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTopicLevel(t *testing.T) {
	for in, want := range map[string]string{
		"1-0:1.8.0": "1-0:1.8.0", "1-0:99.97.0#2": "1-0:99.97.0_n2", "a/b+c": "a_b_c",
	} {
		if got := topicLevel(in); got != want {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

// HAN ports: the hourly list, which some meters send twice within seconds.
func TestAnHourlyListThatIsSentTwiceKeepsItsKeys(t *testing.T) {
	var p picture
	energy := number(t, "1-0:1.8.0", "1234.500", "kWh")
	for hour := range 5 {
		at := start.Add(time.Duration(hour) * time.Hour)
		for _, seconds := range []int{0, 10} {
			p.renew("k", &energy, false, at.Add(time.Duration(seconds)*time.Second))
		}
		if p.age(at.Add(59*time.Minute), 0) {
			t.Errorf("null in hour %d", hour)
		}
	}
	if !p.age(start.Add(12*time.Hour), 0) {
		t.Error("not null after seven silent hours")
	}
}
