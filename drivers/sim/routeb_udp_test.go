package sim

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/routeb"
)

// aRouteBNode is a line to a simulated meter over UDP.
func aRouteBNode(t *testing.T, o Options) drivers.Line {
	t.Helper()
	o.Model = "udp"
	m, err := New("routeb", o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Listen(ctx, "udp://127.0.0.1:0")
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, m.Serve) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, l.Close()); err != nil {
			t.Error(err)
		}
	})
	return openRouteB(t, l.Addr())
}

// overUDP is a session without id and password.
func overUDP(t *testing.T, line drivers.Line, change func(*routeb.Config)) drivers.Session {
	t.Helper()
	c := routeb.Driver.NewConfig().(*routeb.Config)
	c.RequestGap, c.AnswerWait, c.TotalsEvery, c.Tries = 0, time.Second, 0, 10
	if change != nil {
		change(c)
	}
	s, err := routeb.Driver.Dial(t.Context(), line, c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestARouteBMeterIsReadOverUDPWithEveryFault(t *testing.T) {
	for _, fault := range []string{"", "silence=3", "twice=1"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			o := Options{Clock: atNoon}
			if fault != "" {
				o.Faults = []string{fault}
			}
			readThrice(t, overUDP(t, aRouteBNode(t, o), nil))
		})
	}
}

func TestAMeterOverUDPThatIsNotThereIsGivenUp(t *testing.T) {
	t.Parallel()
	line := aRouteBNode(t, Options{Faults: []string{"silence=1"}})
	s := overUDP(t, line, func(c *routeb.Config) { c.AnswerWait, c.Tries = 100*time.Millisecond, 2 })
	var r drivers.Reading
	if err := s.Read(t.Context(), nil, &r); !errors.Is(err, drivers.ErrTimeout) {
		t.Errorf("got %v", err)
	}
}

func TestAnnouncementsAreHeardOverUDP(t *testing.T) {
	t.Parallel()
	s := overUDP(t, aRouteBNode(t, Options{Clock: atNoon, Period: 100 * time.Millisecond}), nil)
	var r drivers.Reading
	if err := s.Read(t.Context(), nil, &r); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	told := 0
	err := s.(drivers.Notifier).Notify(ctx, func(r *drivers.Reading) error {
		if told++; told == 3 {
			cancel()
		}
		if r.Check != drivers.CheckRelayed || len(r.Values) == 0 {
			t.Errorf("%v vouches for %v", r.Check, r.Values)
		}
		return nil
	})
	if err != nil || told < 3 {
		t.Errorf("%d announcements, %v", told, err)
	}
}

// Each way of setting changes what the meter has, and reads it back.
func TestSettingsAreWrittenWithEachService(t *testing.T) {
	for _, with := range []string{"setc", "seti", "setget"} {
		t.Run(with, func(t *testing.T) {
			t.Parallel()
			s := overUDP(t, aRouteBNode(t, Options{Clock: atNoon}), func(c *routeb.Config) { c.SetWith, c.AnswerWait = with, 500*time.Millisecond })
			commander := s.(drivers.Commander)
			var r drivers.Reading
			if err := s.Read(t.Context(), nil, &r); err != nil {
				t.Fatal(err)
			}
			japan := time.FixedZone("", 9*3600)
			clock := drivers.Stamp{Wall: time.Date(2026, 2, 3, 4, 5, 0, 0, japan), Zoned: true}
			for _, v := range []drivers.Value{
				{Name: "location", Kind: drivers.Text, Text: "kitchen 2"},
				{Name: "history_day", Kind: drivers.Number, Number: drivers.NewDecimal(3, 0)},
				{Name: "clock", Kind: drivers.Moment, Moment: clock},
			} {
				p := drivers.Parameter{Quantity: drivers.Quantity{Name: v.Name}}
				back, err := commander.Set(t.Context(), p, v)
				if err != nil || back.Text != v.Text || back.Number.Cmp(v.Number) != 0 || !back.Moment.Wall.Equal(v.Moment.Wall) {
					t.Errorf("%s: %+v, %v", v.Name, back, err)
				}
				if again, err := commander.Get(t.Context(), p); err != nil || again.Text != v.Text || again.Number.Cmp(v.Number) != 0 || !again.Moment.Wall.Equal(v.Moment.Wall) {
					t.Errorf("%s: read again %+v, %v", v.Name, again, err)
				}
			}
			_, err := commander.Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "operation"}}, drivers.Value{Kind: drivers.Bool})
			if !errors.Is(err, drivers.ErrRefused) {
				t.Errorf("what the meter refuses: %v", err)
			}
		})
	}
}
