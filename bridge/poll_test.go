package bridge

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// asking is a driver whose meters answer as a test says.
type asking struct {
	mu    sync.Mutex
	asked []string // NAME@SECONDS
	took  time.Duration
	err   map[string]error
	total int64
	open  int // sessions
	dials int
	rest  int // that sessions want
}

// name stands for a driver's own configuration.
type name string

func (name) Validate() error { return nil }

func (a *asking) driver() drivers.Driver {
	return drivers.Driver{
		Name: "asked", Every: time.Minute,
		Dial: func(_ context.Context, _ drivers.Line, c drivers.Config, _ drivers.Zones) (drivers.Session, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.open++
			a.dials++
			return &askedSession{a, string(c.(name))}, nil
		},
	}
}

type askedSession struct {
	*asking
	name string
}

func (s *askedSession) Describe() (drivers.Identity, []drivers.Quantity, []drivers.Parameter) {
	return drivers.Identity{Driver: "asked", ID: s.name}, nil, nil
}

func (s *askedSession) Read(ctx context.Context, _ []obis.Code, r *drivers.Reading) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, fmt.Sprintf("%s@%.0f", s.name, time.Since(bubbleStart).Seconds()))
	time.Sleep(s.took) // of the bubble's clock: the meter's own time
	if err := s.err[s.name]; err != nil {
		return err
	}
	r.Check = drivers.CheckSum8
	r.Values = append(r.Values, drivers.Value{
		Code: obis.MustParse("8-0:1.0.0"), Name: "volume", Unit: "m³", Number: drivers.NewDecimal(s.total, -3),
	})
	return ctx.Err()
}

func (s *askedSession) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	return nil
}

func (s *askedSession) Rest() int { return max(s.rest, 1) }

// bubbleStart is midnight at which every synctest bubble begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// pollFor runs a line of meters for a while, within a bubble.
func pollFor(t *testing.T, a *asking, d time.Duration, names ...string) []string {
	t.Helper()
	j, err := journal.Open("", 0, time.Now(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	link := mqttlink.New(mqttlink.Options{})
	var meters []*meter
	for _, n := range names {
		meters = append(meters, &meter{
			config: config.Meter{Name: n, Driver: a.driver(), Options: name(n)},
			link:   link, journal: j, acked: j.Acked, devices: &devices{link: link},
			guard: plausible.New(plausible.Defaults), log: zerolog.Nop(), topics: topicsOf("t", n),
		})
	}
	l := newLine(meters, zonesOf, nil)
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := l.poll(ctx, pipeLine{client}); err != nil {
		t.Fatal(err)
	}
	if a.open != 0 {
		t.Errorf("%d sessions were left open", a.open)
	}
	return a.asked
}

// pipeLine is a line that leads nowhere.
type pipeLine struct{ net.Conn }

func (pipeLine) SetMode(drivers.Mode) error  { return errors.ErrUnsupported }
func (pipeLine) Discard() error              { return nil }
func (pipeLine) Flush(context.Context) error { return nil }
func (pipeLine) String() string              { return "pipe" }

func wantAsked(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("asked %v\nwant  %v", got, want)
	}
}

func TestMetersOfALineTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{took: 10 * time.Second, total: 5}
		// The first two rounds are closer together: an 8-bit sum's first total is
		// asked for again.
		wantAsked(t, pollFor(t, a, 135*time.Second, "a", "b"), "a@0", "b@10", "a@20", "b@30", "a@60", "b@70", "a@120", "b@130")
	})
}

func TestADeadMeterIsAskedOnceARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{took: 3 * time.Second, total: 5, err: map[string]error{"dead": drivers.ErrTimeout}}
		wantAsked(t, pollFor(t, a, 130*time.Second, "dead", "good"), "dead@0", "good@3", "good@11", "dead@60", "good@63", "dead@120", "good@123")
	})
}

func TestAMeterThatWantsRestIsAskedHalfAsOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{total: 5, rest: 2}
		wantAsked(t, pollFor(t, a, 5*time.Minute, "a"), "a@0", "a@5", "a@120", "a@240")
	})
}

func TestASilentMeterKeepsItsSession(t *testing.T) {
	for _, c := range []struct {
		err   error
		dials int
	}{{drivers.ErrTimeout, 1}, {drivers.ErrChecksum, 3}} {
		synctest.Test(t, func(t *testing.T) {
			a := &asking{err: map[string]error{"a": c.err}}
			wantAsked(t, pollFor(t, a, 130*time.Second, "a"), "a@0", "a@60", "a@120")
			if a.dials != c.dials {
				t.Errorf("%v: %d sessions were begun, want %d", c.err, a.dials, c.dials)
			}
		})
	}
}

func TestARefusedPasswordIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{err: map[string]error{"locked": fmt.Errorf("sign-on: %w", drivers.ErrAuth)}}
		wantAsked(t, pollFor(t, a, time.Hour, "locked"), "locked@0")
	})
}

func TestATotalInDoubtIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{total: 5}
		got := pollFor(t, a, 59*time.Second, "a")
		wantAsked(t, got, "a@0", "a@5")
	})
}

func TestWhatIsTheLinesFaultAndWhatTheMeters(t *testing.T) {
	for _, c := range []struct {
		err  error
		line bool
	}{
		{nil, false},
		{fmt.Errorf("a: %w", drivers.ErrTimeout), false},
		{&drivers.FrameError{Err: drivers.ErrChecksum}, false},
		{context.DeadlineExceeded, false},
		{net.ErrClosed, true},
		{errors.New("input/output error"), true},
	} {
		if got := lineFailed(c.err); got != c.line {
			t.Errorf("%v: got %t", c.err, got)
		}
	}
}
