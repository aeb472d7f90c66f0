package bridge

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

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
}

func (k *keeping) driver() drivers.Driver {
	d := k.asking.driver()
	dial := d.Dial
	d.Dial = func(ctx context.Context, line drivers.Line, c drivers.Config, z drivers.Zones) (drivers.Session, error) {
		s, err := dial(ctx, line, c, z)
		return &keepingSession{s, k}, err
	}
	return d
}

type keepingSession struct {
	drivers.Session
	*keeping
}

func (s *keepingSession) History(_ context.Context, from, to time.Time, each func(*drivers.Reading) error) error {
	s.spans = append(s.spans, fmt.Sprintf("%.0f-%.0f", from.Sub(bubbleStart).Hours(), to.Sub(bubbleStart).Hours()))
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
	if err := l.poll(ctx, pipeLine{client}); err != nil {
		t.Fatal(err)
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
