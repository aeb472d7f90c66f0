package bridge

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
	"github.com/meter2mqtt/meter2mqtt/drivers/iec62056"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// nights are the moments at which the clocks of Amsterdam change in 2026.
var nights = map[string]time.Time{
	"spring": time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC),
	"autumn": time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC),
}

// aNight is how long a night is looked at: from six hours before the change to six
// hours after it.
const aNight = 12 * time.Hour

// evening waits, in a bubble, until a night of the clock begins.
func evening(change time.Time) (began time.Time) {
	began = change.Add(-aNight / 2)
	time.Sleep(time.Until(began))
	return began
}

// counting is a meter whose hours are kept.
func counting(t *testing.T, d drivers.Driver, c drivers.Config, every time.Duration) *meter {
	t.Helper()
	j, err := journal.Open("", 0, time.Now(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	link := mqttlink.New(mqttlink.Options{})
	return &meter{
		config: config.Meter{Name: "main", Driver: d, Options: c, Every: every, Backfill: true},
		link:   link, journal: j, acked: j.Acked, devices: &devices{link: link}, registers: &registers{},
		guard: plausible.New(plausible.Defaults), log: zerolog.Nop(), topics: topicsOf("t", "main"),
	}
}

// localClock says that the meters' clocks show the time of Amsterdam.
func localClock(t *testing.T) func(*meter) drivers.Zones {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	return func(*meter) drivers.Zones { return drivers.Zones{Meter: zone, Host: time.UTC} }
}

// pollWhile asks a meter for a while.
func pollWhile(t *testing.T, m *meter, line drivers.Line, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := newLine([]*meter{m}, localClock(t), nil).poll(ctx, line); err != nil {
		t.Fatal(err)
	}
}

// onTheHour is what a register was at the full hours, by what was read then: within a
// few seconds, in which it counts nothing that it shows.
func onTheHour(log *statistics.Log) map[time.Time]drivers.Decimal {
	shown := map[time.Time]drivers.Decimal{}
	for _, h := range log.Hours {
		if h.FirstAt.Sub(h.Start) < 10*time.Second {
			shown[h.Start] = h.First
		}
		if h.LastAt.Equal(h.End()) {
			shown[h.End()] = h.Last
		}
	}
	return shown
}

// joins closes a hole in what Home Assistant has, as if it had seen the register at
// the full hours before and after it: each hour gets what the meter counted, and the
// row behind goes on without a jump.
func joins(t *testing.T, hole statistics.Hole, shown map[time.Time]drivers.Decimal, log *statistics.Log) {
	t.Helper()
	const base = 1000
	row := func(end time.Time) statistics.Row {
		state, known := shown[end]
		if !known {
			t.Fatalf("nobody knows what the meter showed at %s", end)
		}
		return statistics.Row{Start: end.Add(-time.Hour), State: state.Float64(), Sum: state.Float64() - base}
	}
	before, last := hole.From.Truncate(time.Hour), hole.To.Truncate(time.Hour)
	own := []statistics.Row{row(before), row(last.Add(time.Hour)), row(last.Add(2 * time.Hour))}
	plan, err := statistics.Close(hole, statistics.Register{Digits: 3}, own, nil, log.Hours)
	if err != nil || !plan.Joined || plan.Shift.Sign() != 0 {
		t.Fatalf("the plan is %+v, %v", plan, err)
	}
	want := int(last.Sub(before) / time.Hour)
	if len(plan.Import) != want {
		t.Errorf("%d hours are written, want %d", len(plan.Import), want)
	}
	for i, e := range plan.Import {
		end := before.Add(time.Duration(i+1) * time.Hour)
		sum, err := shown[end].Sub(drivers.NewDecimal(base, 0))
		if err != nil || !e.Start.Add(time.Hour).Equal(end) || e.State.Cmp(shown[end]) != 0 || e.Sum.Cmp(sum) != 0 {
			t.Errorf("the hour that ends at %s: %+v, the meter showed %s", end, e, shown[end])
		}
	}
}

// One gateway reads a meter with a local clock all night, each full hour. Another was
// away, and has the night from the meter's own log: both know the same of each hour.
func TestTheLogOfANightOfTheClockIsWhatTheMeterShowed(t *testing.T) {
	profile := iec62056.Driver.NewConfig().(*iec62056.Config)
	profile.Password, profile.Profiles = drivers.NewSecret(sim.ExamplePassword), []string{"P.02"}
	for name, c := range map[string]struct {
		driver drivers.Driver
		config drivers.Config
		key    string
	}{
		"load profile": {iec62056.Driver, profile, "1-0:1.8.0"},
		"archive":      {iec62056.LIS200, iec62056.LIS200.NewConfig(), "7-0:3.0.0"},
	} {
		for season, change := range nights {
			t.Run(name+" in "+season, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					began := evening(change)
					line := simulated(t, c.driver.Name)
					there := counting(t, c.driver, c.config, time.Hour)
					pollWhile(t, there, line, aNight+time.Minute)

					gone := statistics.Hole{From: began.Add(80 * time.Minute), To: began.Add(aNight + time.Minute)}
					away := counting(t, c.driver, c.config, time.Minute)
					away.seen = gone.From
					pollWhile(t, away, line, 10*time.Minute)
					if len(away.gaps) != 0 {
						t.Fatalf("left open: %v", away.gaps)
					}
					log := away.registers.Logs[c.key]
					if log == nil {
						t.Fatal("nothing is known of the register")
					}
					gone.To = began.Add(aNight - 90*time.Minute) // so that there are hours behind it
					joins(t, gone, onTheHour(there.registers.Logs[c.key]), log)
				})
			})
		}
	}
}

// listenTo feeds a meter with what a simulated one says for a while.
func listenTo(t *testing.T, m *meter, o sim.Options, d time.Duration) {
	t.Helper()
	s, err := sim.New(m.config.Driver.Name, o)
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := m.config.Driver.NewDecoder(m.config.Options, localClock(t)(m))
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var speaking sync.WaitGroup
	defer speaking.Wait()
	speaking.Go(func() {
		defer far.Close()
		if err := s.Serve(ctx, far); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
	defer near.Close()
	buf := make([]byte, 4096)
	for {
		n, err := near.Read(buf)
		if err != nil {
			return
		}
		for decoder.Feed(buf[:n]); ; {
			var r drivers.Reading
			if err := decoder.Next(&r); err != nil {
				break
			}
			r.Received = time.Now()
			m.accept(&r)
		}
	}
}

// A meter that speaks unasked, with a local clock: its totals are in the hour that
// they belong to all night, also where its clock does not tell which hour it is.
func TestTheHoursOfANightOfTheClockOfAMeterThatSpeaks(t *testing.T) {
	for name, c := range map[string]struct {
		driver drivers.Driver
		model  string
		after  time.Duration // the hour its telegrams begin
		key    string
	}{
		"P1":            {p1.Driver, "", 0, "1-0:1.8.1"},
		"gas behind P1": {p1.Driver, "", 7 * time.Second, "0-1:24.2.1"},
		// Clocks with summer time and without.
		"hourly list":           {hdlc.Driver, "landis-gyr", 7 * time.Second, "1-0:1.8.0"},
		"hourly list, Aidon":    {hdlc.Driver, "aidon", 7 * time.Second, "1-0:1.8.0"},
		"hourly list, Kamstrup": {hdlc.Driver, "kamstrup", 7 * time.Second, "1-1:1.8.0"},
	} {
		for season, change := range nights {
			t.Run(name+" in "+season, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					began := evening(change)
					time.Sleep(c.after)
					m := counting(t, c.driver, c.driver.NewConfig(), 0)
					listenTo(t, m, sim.Options{Model: c.model, Period: time.Minute}, aNight+time.Minute)
					log := m.registers.Logs[c.key]
					if log == nil {
						t.Fatalf("nothing is known of the register: %v", m.registers.Logs)
					}
					eachHour(t, log, began)
				})
			})
		}
	}
}

// eachHour wants the end of each hour of a night, and rising registers.
func eachHour(t *testing.T, log *statistics.Log, began time.Time) {
	t.Helper()
	ends := map[time.Time]drivers.Decimal{}
	for _, h := range log.Hours {
		if h.LastAt.Equal(h.End()) {
			ends[h.End()] = h.Last
		}
		if h.Extra.Sign() != 0 || h.Last.Cmp(h.First) < 0 {
			t.Errorf("the hour of %s goes from %s to %s", h.Start, h.First, h.Last)
		}
	}
	for end := began.Add(time.Hour); !end.After(began.Add(aNight)); end = end.Add(time.Hour) {
		last, known := ends[end]
		if before, knew := ends[end.Add(-time.Hour)]; !known || knew && last.Cmp(before) < 0 {
			t.Errorf("the hour that ends at %s: %s, known: %t", end, last, known)
		}
	}
}
