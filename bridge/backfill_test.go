package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// keeping is a driver whose meters keep a row an hour.
type keeping struct {
	asking
	spans []string // FROM-TO of each request for the log, in hours since the bubble began
	fail  error
	once  bool // the line takes one exchange, and ends
}

func (k *keeping) driver() drivers.Driver {
	d := k.asking.driver()
	dial := d.Dial
	d.Dial = func(ctx context.Context, line drivers.Line, c drivers.Config, z drivers.Zones) (drivers.Session, error) {
		s, err := dial(ctx, line, c, z)
		return &keepingSession{Session: s, keeping: k}, err
	}
	return d
}

type keepingSession struct {
	drivers.Session
	*keeping

	used bool
}

func (s *keepingSession) Read(ctx context.Context, codes []obis.Code, r *drivers.Reading) error {
	if s.once && s.used {
		return io.EOF
	}
	s.used = true
	return s.Session.Read(ctx, codes, r)
}

func (s *keepingSession) History(_ context.Context, from, to time.Time, each func(*drivers.Reading) error) error {
	s.spans = append(s.spans, fmt.Sprintf("%.0f-%.0f", from.Sub(bubbleStart).Hours(), to.Sub(bubbleStart).Hours()))
	if s.once && s.used {
		return io.EOF
	}
	s.used = true
	if s.fail != nil {
		return s.fail
	}
	for at := from.Truncate(time.Hour).Add(time.Hour); !at.After(to); at = at.Add(time.Hour) {
		r := drivers.Reading{Time: drivers.Stamp{Wall: at, Zoned: true}, Values: []drivers.Value{{
			Code: obis.MustParse("8-0:1.0.0"), Name: "volume", Unit: "m³", Flags: drivers.Logged,
			Number: drivers.NewDecimal(1000+int64(at.Sub(bubbleStart).Hours()), -3),
		}}}
		if err := each(&r); err != nil {
			return err
		}
	}
	return nil
}

// fill polls a meter that was last seen some hours before the bubble began, and
// gives it afterwards.
func fill(t *testing.T, k *keeping, absent, d time.Duration, backfill bool) *meter {
	t.Helper()
	j, err := journal.Open("", 0, time.Now(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	link := mqttlink.New(mqttlink.Options{})
	k.total = 1000
	m := &meter{
		config: config.Meter{Name: "main", Driver: k.driver(), Options: name("main"), Backfill: backfill},
		link:   link, journal: j, acked: j.Acked, devices: &devices{link: link}, registers: &registers{},
		guard: plausible.New(plausible.Defaults), log: zerolog.Nop(), topics: topicsOf("t", "main"),
		seen: time.Now().Add(-absent),
	}
	l := newLine([]*meter{m}, zonesOf, nil)
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for err := l.poll(ctx, pipeLine{client}); err != nil; err = l.poll(ctx, pipeLine{client}) {
		if !k.once || !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	return m
}

func TestAGapIsFilledFromTheMetersOwnLogPieceByPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeping{}
		m := fill(t, k, 60*time.Hour, 10*time.Minute, true)
		if diff := cmp.Diff([]string{"-60--36", "-36--12", "-12-0"}, k.spans); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
		if len(m.gaps) != 0 {
			t.Errorf("left: %v", m.gaps)
		}
		log := m.registers.Logs["8-0:1.0.0"]
		if log == nil || len(log.Hours) < 60 {
			t.Fatalf("the statistics know of %v", log)
		}
		for i, h := range log.Hours[:60] {
			if want := drivers.NewDecimal(1000-59+int64(i), -3); h.Last.Cmp(want) != 0 {
				t.Errorf("hour %s ends at %s, want %s", h.Start, h.Last, want)
			}
		}
		if len(m.registers.Holes) != 1 || !m.registers.Holes[0].From.Equal(bubbleStart.Add(-60*time.Hour)) {
			t.Errorf("holes %v", m.registers.Holes)
		}
	})
}

// Behind a gateway that hangs up when a conversation ends there is no line left for the
// log once a reading has come: the log gets one of its own.
func TestAGapIsFilledOverALineThatTakesOneExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeping{once: true}
		m := fill(t, k, 60*time.Hour, 10*time.Minute-time.Second, true)
		if diff := cmp.Diff([]string{"-60--36", "-60--36", "-36--12", "-36--12", "-12-0", "-12-0"}, k.spans); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
		if len(m.gaps) != 0 || len(k.asked) != 11 { // a first total is asked for once more
			t.Errorf("left: %v; read at %v", m.gaps, k.asked)
		}
	})
}

func TestAShortAbsenceIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeping{}
		if m := fill(t, k, 8*time.Minute, 5*time.Minute, true); len(k.spans) != 0 || len(m.registers.Holes) != 0 {
			t.Errorf("asked for %v, holes %v", k.spans, m.registers.Holes)
		}
	})
}

func TestWithoutBackfillNoLogIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeping{}
		if m := fill(t, k, 5*time.Hour, 5*time.Minute, false); len(k.spans) != 0 || len(m.registers.Holes) != 1 {
			t.Errorf("asked for %v, holes %v", k.spans, m.registers.Holes)
		}
	})
}

func TestALogThatCannotBeReadIsTriedSeldomAndGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeping{fail: drivers.ErrRefused}
		m := fill(t, k, 5*time.Hour, 24*time.Hour, true)
		if len(k.spans) != fillTries || len(m.gaps) != 0 {
			t.Errorf("asked for %v, left %v", k.spans, m.gaps)
		}
		if len(k.asked) < 24*60-10 {
			t.Errorf("read %d times in a day", len(k.asked))
		}
	})
}

func TestWhatIsNotFilledYetOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeping{}
		m := fill(t, k, 60*time.Hour, 7*time.Second, true)
		again := &meter{config: m.config, guard: plausible.New(plausible.Defaults)}
		again.recall(m.memory())
		want := []statistics.Hole{{From: bubbleStart.Add(-36 * time.Hour), To: bubbleStart}}
		if !slices.EqualFunc(want, again.gaps, func(a, b statistics.Hole) bool { return a.From.Equal(b.From) && a.To.Equal(b.To) }) {
			t.Errorf("left: %v, want %v", again.gaps, want)
		}
	})
}

func TestHolesThatMeetBecomeOne(t *testing.T) {
	at := func(minute int) time.Time { return bubbleStart.Add(time.Duration(minute) * time.Minute) }
	hole := func(from, to int) statistics.Hole { return statistics.Hole{From: at(from), To: at(to)} }
	var holes []statistics.Hole
	for _, h := range []statistics.Hole{hole(0, 10), hole(300, 310), hole(20, 25), hole(302, 305), hole(100, 100)} {
		holes = withHole(holes, h)
	}
	if diff := cmp.Diff([]statistics.Hole{hole(0, 25), hole(100, 100), hole(300, 310)}, holes); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for i := range 3 * maxHoles {
		holes = withHole(holes, hole(1000*i, 1000*i+1))
	}
	if len(holes) != maxHoles {
		t.Errorf("%d holes are kept", len(holes))
	}
}

// A row is kept only where the meter can have shown it.
func TestARowThatCannotBeTheMetersIsNotKept(t *testing.T) {
	_, m := lateMeter(t, &fakeHome{}) // which shows 112 kWh at noon
	at := lateNoon.Add(-6 * 24 * time.Hour)
	for name, c := range map[string]struct {
		v    drivers.Value
		kept bool
	}{
		"below what it shows":       {drivers.Value{Number: drivers.NewDecimal(50, 0)}, true},
		"above what it shows":       {drivers.Value{Number: drivers.NewDecimal(113, 0)}, false},
		"the meter doubts it":       {drivers.Value{Number: drivers.NewDecimal(50, 0), Flags: drivers.MeterError}, false},
		"beyond the meter's digits": {drivers.Value{Number: drivers.NewDecimal(50, 0), Flags: drivers.Overflow}, false},
		"no number":                 {drivers.Value{Kind: drivers.Text, Text: "50"}, false},
	} {
		before := len(m.registers.Logs["1-0:1.8.0"].Hours)
		at = at.Add(time.Hour)
		m.keepLogged("1-0:1.8.0", &c.v, at)
		if kept := len(m.registers.Logs["1-0:1.8.0"].Hours) > before; kept != c.kept {
			t.Errorf("%s: kept %t", name, kept)
		}
	}
	m.keepLogged("1-0:9.9.9", &drivers.Value{Number: drivers.NewDecimal(1, 0)}, at)
	if log := m.registers.Logs["1-0:9.9.9"]; log != nil {
		t.Errorf("a register that the meter does not show: %v", log)
	}
}

// A stamp without a zone names two moments once a year.
func TestARowWhoseTimeNobodyKnowsIsLeftOut(t *testing.T) {
	_, m := lateMeter(t, &fakeHome{})
	gap := statistics.Hole{From: lateNoon.Add(-48 * time.Hour), To: lateNoon}
	holes := len(m.registers.Holes)
	r := drivers.Reading{Time: drivers.Stamp{Wall: lateNoon.Add(-24 * time.Hour)}}
	if at := m.acceptHistory(&r, gap); !at.IsZero() || len(m.registers.Holes) != holes {
		t.Errorf("written at %s, holes %v", at, m.registers.Holes)
	}
	r.Time.Zoned = true
	if at := m.acceptHistory(&r, gap); !at.Equal(r.Time.Wall) {
		t.Errorf("written at %s", at)
	}
}

// A gap that has become another one while its rows came is not filled by them.
func TestAGapIsFilledUpToWhatCame(t *testing.T) {
	_, m := lateMeter(t, &fakeHome{})
	hour := func(h int) time.Time { return lateNoon.Add(time.Duration(h) * time.Hour) }
	gap := statistics.Hole{From: hour(-9), To: hour(-3)}
	m.gaps = []statistics.Hole{gap, {From: hour(-2), To: hour(-1)}}
	for _, c := range []struct {
		gap  statistics.Hole
		upTo time.Time
		want []statistics.Hole
	}{
		{statistics.Hole{From: hour(-8), To: hour(-3)}, hour(-3), []statistics.Hole{gap, {From: hour(-2), To: hour(-1)}}},
		{gap, hour(-5), []statistics.Hole{{From: hour(-5), To: hour(-3)}, {From: hour(-2), To: hour(-1)}}},
		{statistics.Hole{From: hour(-5), To: hour(-3)}, hour(-3), []statistics.Hole{{From: hour(-2), To: hour(-1)}}},
		{statistics.Hole{From: hour(-2), To: hour(-1)}, hour(0), []statistics.Hole{}},
		{statistics.Hole{From: hour(-2), To: hour(-1)}, hour(0), []statistics.Hole{}},
	} {
		m.fillGap(c.gap, c.upTo)
		if diff := cmp.Diff(c.want, m.gaps, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("filled from %s to %s: -want +got\n%s", c.gap.From, c.upTo, diff)
		}
	}
}

// It is told when a clock goes wrong and when it is right again, not in between.
func TestAClockThatIsOffIsToldOnceAndWhenItIsRightAgain(t *testing.T) {
	m := lonely(t)
	var log brokertest.Log
	m.log = zerolog.New(&log)
	told := func(off time.Duration, zoned bool) string {
		before := len(log.String())
		m.watchClock(&drivers.Reading{Received: lateNoon, Time: drivers.Stamp{Wall: lateNoon.Add(off), Zoned: zoned}})
		return log.String()[before:]
	}
	for _, c := range []struct {
		off   time.Duration
		zoned bool
		want  string
	}{
		{10 * time.Hour, false, ""},
		{-time.Minute, true, ""},
		{-6 * time.Minute, true, "clock is off"},
		{7 * time.Minute, true, ""},
		{-270 * time.Second, true, ""}, // neither off anew nor right
		{time.Minute, true, "clock is right again"},
		{time.Second, true, ""},
		{5 * time.Minute, true, "clock is off"},
	} {
		if got := told(c.off, c.zoned); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("off by %s: told %q, want %q", c.off, got, c.want)
		}
	}
}
