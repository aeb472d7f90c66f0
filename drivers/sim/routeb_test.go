package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/routeb"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// routeBClient drives momonga, which this code did not come from; it lies beside
// the repository.
var routeBClient = peertest.Script{Name: "routeb_client.py", Modules: []string{"momonga", "serial"}}

// aRouteBStick serves a simulated module on a pseudo-terminal.
func aRouteBStick(t *testing.T, o Options) (path string) {
	t.Helper()
	m, err := New("routeb", o)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "stick")
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Listen(ctx, "pty:"+path)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, m.Serve) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return path
}

// aRouteBPipe is a line to a simulated module within a bubble, where its delays and
// our waits take no time.
func aRouteBPipe(t *testing.T, o Options) drivers.Line {
	t.Helper()
	m, err := New("routeb", o)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := m.Serve(ctx, far); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		near.Close()
		far.Close()
		ended.Wait()
	})
	return &optic{Conn: near}
}

func openRouteB(t *testing.T, path string) drivers.Line {
	t.Helper()
	p, err := transport.ParsePort(path, routeb.Driver.Mode)
	if err != nil {
		t.Fatal(err)
	}
	line, err := transport.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	return line
}

func aRouteBSession(t *testing.T, line drivers.Line) drivers.Session {
	t.Helper()
	c := routeb.Driver.NewConfig().(*routeb.Config)
	c.ID, c.Password = drivers.NewSecret(ExampleRouteBID), drivers.NewSecret(ExampleRouteBPassword)
	c.TotalsEvery = 0
	s, err := routeb.Driver.Dial(t.Context(), line, c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var routeBNoon = time.Date(2026, 1, 15, 12, 34, 0, 0, routeBZone)

func atNoon() time.Time { return routeBNoon }

// readThrice reads three times, and takes leave.
func readThrice(t *testing.T, s drivers.Session) {
	t.Helper()
	var r drivers.Reading
	for range 3 {
		if err := s.Read(t.Context(), nil, &r); err != nil {
			t.Fatal(err)
		}
	}
	watts, in, out := routeBFlow(routeBNoon)
	want := map[string]string{
		"1-0:1.8.0":  drivers.NewDecimal(in/100, -1).String(),
		"1-0:2.8.0":  drivers.NewDecimal(out/100, -1).String(),
		"1-0:16.7.0": drivers.NewDecimal(watts, 0).String(),
	}
	for i := range r.Values {
		key := r.Values[i].Code.String()
		if w, ok := want[key]; ok && r.Values[i].Number.String() != w {
			t.Errorf("%s is %s, want %s", key, r.Values[i].Number, w)
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("missing %v", want)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// sticks are the models that are modules.
func sticks() (list []Model) {
	for _, m := range routeBModels {
		if m.Name != "udp" {
			list = append(list, m)
		}
	}
	return list
}

func TestEveryRouteBModelIsReadWithEveryFault(t *testing.T) {
	for _, model := range sticks() {
		for _, fault := range append([]Fault{{}}, routeBFaults...) {
			t.Run(model.Name+" "+fault.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := Options{Model: model.Name, Clock: atNoon}
					if fault.Name != "" {
						o.Faults = []string{fault.Name + "=2"}
					}
					readThrice(t, aRouteBSession(t, aRouteBPipe(t, o)))
				})
			})
		}
	}
}

// A meter asked twice a minute, each request for ten seconds of air: after half an
// hour it wants rest, and an hour after that it does not.
func TestASessionWantsRestWhileAirTimeIsScarce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := aRouteBSession(t, aRouteBPipe(t, Options{Clock: atNoon, Faults: []string{"costly=1"}}))
		rested, reads := s.(drivers.Sparing), 0
		var r drivers.Reading
		for ; rested.Rest() == 1 && reads < 100; reads++ {
			if err := s.Read(t.Context(), nil, &r); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
		}
		if rested.Rest() != 2 || reads < 25 || reads > 32 {
			t.Errorf("after %d readings it wants %d times the rest", reads, rested.Rest())
		}
		time.Sleep(time.Hour)
		for range 2 {
			if err := s.Read(t.Context(), nil, &r); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if rested.Rest() != 1 {
			t.Error("it wants rest an hour later")
		}
	})
}

// The meter says that a session lasts a day: it is renewed after four fifths of each,
// while the reader only listens.
func TestASessionIsRenewedBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var renewed []time.Duration
		joins := 0
		line := &overheard{Line: aRouteBPipe(t, Options{Clock: atNoon})}
		line.lose = func(command []byte) bool {
			switch {
			case bytes.HasPrefix(command, []byte("SKREJOIN")):
				renewed = append(renewed, time.Since(began))
			case bytes.HasPrefix(command, []byte("SKJOIN")):
				joins++
			}
			return false
		}
		s := aRouteBSession(t, line)
		var r drivers.Reading
		if err := s.Read(t.Context(), nil, &r); err != nil {
			t.Fatal(err)
		}
		joined := time.Since(began)
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Hour)
		defer cancel()
		notified := 0
		if err := s.(drivers.Notifier).Notify(ctx, func(*drivers.Reading) error { notified++; return nil }); err != nil {
			t.Error(err)
		}
		const life = routeBLife * time.Second
		if len(renewed) != 3 || joins != 1 || notified < 100 {
			t.Fatalf("renewed after %v, joined %d times, %d notifications", renewed, joins, notified)
		}
		last := joined
		for _, at := range renewed {
			if passed := at - last; passed < life*7/10 || passed > life*8/10+time.Minute {
				t.Errorf("renewed after %s of a session of %s", passed, life)
			}
			last = at
		}
		if err := s.Read(t.Context(), nil, &r); err != nil || joins != 1 {
			t.Errorf("joined %d times, %v", joins, err)
		}
	})
}

// A meter that has told its half-hours and does not any more, without a word of the
// module: after forty minutes the session is taken for lost, and renewed.
func TestASessionWithoutAWordIsTakenForLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var renewed []time.Duration
		line := &overheard{Line: aRouteBPipe(t, Options{Clock: atNoon})}
		line.lose = func(command []byte) bool {
			if bytes.HasPrefix(command, []byte("SKREJOIN")) {
				renewed = append(renewed, time.Since(began))
			}
			return false
		}
		s := aRouteBSession(t, line)
		var r drivers.Reading
		if err := s.Read(t.Context(), nil, &r); err != nil {
			t.Fatal(err)
		}
		notify := func(d time.Duration) (told int) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if err := s.(drivers.Notifier).Notify(ctx, func(*drivers.Reading) error { told++; return nil }); err != nil {
				t.Error(err)
			}
			return told
		}
		if told := notify(2 * time.Hour); told < 3 || len(renewed) > 0 {
			t.Errorf("%d notifications in two hours, renewed after %v", told, renewed)
		}
		line.spoil = func(said []byte) { // the meter is out of reach
			if bytes.HasPrefix(said, []byte("ERXUDP")) {
				for i := range said {
					said[i] = '\n'
				}
			}
		}
		if told := notify(time.Hour); told > 0 || len(renewed) == 0 || renewed[0] > 2*time.Hour+42*time.Minute {
			t.Errorf("%d notifications, renewed after %v", told, renewed)
		}
		line.spoil = nil
		if told := notify(time.Hour); told == 0 {
			t.Error("it does not come back")
		}
	})
}

// Three tries and the patience of the usual configuration.
func TestAnAnswerThatDoesNotComeIsGivenUpInSeconds(t *testing.T) {
	for _, model := range sticks() {
		t.Run(model.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := aRouteBSession(t, aRouteBPipe(t, Options{Model: model.Name, Clock: atNoon, Faults: []string{"silence=1"}}))
				var r drivers.Reading
				for try := range 3 {
					began := time.Now()
					err := s.Read(t.Context(), nil, &r)
					if took := time.Since(began); !errors.Is(err, drivers.ErrTimeout) || took > time.Minute {
						t.Errorf("try %d: after %s %v", try, took, err)
					}
				}
			})
		})
	}
}

func TestEveryRouteBModelIsReadOnATerminal(t *testing.T) {
	for _, model := range sticks() {
		t.Run(model.Name, func(t *testing.T) {
			t.Parallel()
			s := aRouteBSession(t, openRouteB(t, aRouteBStick(t, Options{Model: model.Name, Clock: atNoon})))
			var r drivers.Reading
			if err := s.Read(t.Context(), nil, &r); err != nil || len(r.Values) == 0 {
				t.Fatal(r.Values, err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheRouteBMeterKeepsItsPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := aRouteBSession(t, aRouteBPipe(t, Options{Clock: atNoon}))
		rows := 0
		last := drivers.Decimal{}
		err := s.(drivers.Historian).History(t.Context(), routeBNoon.AddDate(0, 0, -99), routeBNoon, func(r *drivers.Reading) error {
			rows++
			if r.Values[0].Number.Cmp(last) < 0 {
				t.Errorf("at %s it falls from %s to %s", r.Time, last, r.Values[0].Number)
			}
			last = r.Values[0].Number
			return nil
		})
		if want := 98*48 + 22 + 26; err != nil || rows != want { // from 13:00 of the first day to 12:30
			t.Errorf("%d rows, want %d, %v", rows, want, err)
		}
	})
}

// momonga runs the foreign client and gives what it prints.
func momonga(t *testing.T, args ...string) (answer struct {
	Open     struct{ Error, Message string }
	Readings map[string]struct {
		Value json.RawMessage
		Error string
	}
	Sets map[string]struct {
		Set struct{ Error string }
	}
	Notifications []struct{ Value json.RawMessage }
},
) {
	t.Helper()
	out, err := routeBClient.Run(t, append([]string{"--rbid", ExampleRouteBID, "--pwd", ExampleRouteBPassword}, args...)...)
	if errJSON := json.Unmarshal(out, &answer); errJSON != nil || err != nil {
		t.Fatalf("%v %v: %.600s", err, errJSON, out)
	}
	return answer
}

func TestMomongaReadsTheSimulatedModule(t *testing.T) {
	for _, c := range []struct{ name, model, args string }{
		{"in turns", "bp35c2", "--sets --notify 1 --notify-timeout 5"},
		{"asynchronously", "bp35c2", "--async"},
		{"first generation", "bp35a1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := aRouteBStick(t, Options{Model: c.model, Period: 4 * time.Second})
			got := momonga(t, append([]string{path}, strings.Fields(c.args)...)...)
			if got.Open.Error != "" || len(got.Readings) != 30 {
				t.Fatalf("%+v", got)
			}
			for name, r := range got.Readings {
				newer := strings.Contains(name, "_3") || strings.Contains(name, "one_minute") || name == "route_b_id"
				if wanted := c.model != "bp35a1" || !newer; wanted == (r.Error != "") {
					t.Errorf("%s: %s %s", name, r.Error, r.Value)
				}
			}
			for name, s := range got.Sets {
				if s.Set.Error != "" {
					t.Errorf("%s: %s", name, s.Set.Error)
				}
			}
			if strings.Contains(c.args, "notify") && (len(got.Notifications) != 1 || string(got.Notifications[0].Value) == "null") {
				t.Errorf("notifications %+v", got.Notifications)
			}
		})
	}
}
