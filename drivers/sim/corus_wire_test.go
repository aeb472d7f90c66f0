package sim

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/corus"
)

// overheard is a line that remembers what was sent to the device. Some of it does not
// arrive.
type overheard struct {
	drivers.Line
	sent  [][]byte
	lose  func(message []byte) bool // nil: nothing
	spoil func(said []byte)         // what arrives; nil: nothing
}

func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.Line.Read(p)
	if o.spoil != nil {
		o.spoil(p[:n])
	}
	return n, err
}

func (o *overheard) Write(p []byte) (int, error) {
	o.sent = append(o.sent, bytes.Clone(p))
	if o.lose != nil && o.lose(p) {
		return len(p), nil
	}
	return o.Line.Write(p)
}

// wakeUps are how often the device was called.
func (o *overheard) wakeUps() (n int) {
	for _, message := range o.sent {
		if len(message) > 1 && message[0] == 0 {
			n++
		}
	}
	return n
}

// queries are the commands for databases.
func (o *overheard) queries() (all []corus.Query) {
	for _, message := range o.sent {
		if len(message) < 6 || message[0] != 0x01 || message[1] != 0xBE {
			continue
		}
		if q, ok := corus.ParseQuery(message[3 : len(message)-3]); ok {
			all = append(all, q)
		}
	}
	return all
}

// listenedTo is a session with a converter on a line that is overheard.
func listenedTo(t *testing.T, o Options, set func(*corus.Config)) (drivers.Session, *overheard) {
	t.Helper()
	line := &overheard{}
	c := corus.Driver.NewConfig().(*corus.Config)
	return dialConverter(t, o, &frayed{left: 1 << 30}, c, set, line), line
}

// lastDays reads the logs of some days and gives the rows' times.
func lastDays(t *testing.T, s drivers.Session, days int) (rows []time.Time, err error) {
	t.Helper()
	err = s.(drivers.Historian).History(t.Context(), bubbleNow().AddDate(0, 0, -days), bubbleNow(), func(r *drivers.Reading) error {
		rows = append(rows, r.Time.Wall)
		return nil
	})
	return rows, err
}

// A frame is missing in the middle: what follows is asked for by date, or by the bit
// that has the device continue.
func TestABrokenTransferIsContinuedAsConfigured(t *testing.T) {
	for _, c := range []struct {
		resume           string
		count, continues bool
	}{
		{"date", true, false},
		{"date", false, false},
		{"continue", true, true},
		{"continue", false, true},
	} {
		t.Run(c.resume, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, line := listenedTo(t, Options{Faults: []string{"gap=5"}}, func(own *corus.Config) { own.Resume, own.Count = c.resume, c.count })
				rows, err := lastDays(t, s, 5)
				if err != nil || len(rows) != 121 && len(rows) != 120 || !slices.IsSortedFunc(rows, time.Time.Compare) {
					t.Errorf("%d rows, %v", len(rows), err)
				}
				queries := line.queries()
				if len(queries) < 2 {
					t.Fatalf("the database was asked for %d times", len(queries))
				}
				for i, q := range queries {
					if q.Count != c.count || q.Continue != (c.continues && i > 0) {
						t.Errorf("query %d: count %t, continue %t", i, q.Count, q.Continue)
					}
					if i > 0 && q.Newest.After(queries[i-1].Newest) {
						t.Errorf("query %d goes on from %s, the one before from %s", i, q.Newest, queries[i-1].Newest)
					}
				}
			})
		})
	}
}

func TestTheMaskSaysWhichFieldsAreSent(t *testing.T) {
	for _, c := range []struct {
		database       string
		whole, reduced uint32
	}{
		{"interval", 0xFFFFFFF9, 0x000893F1},
		{"hourly", 0xFFFFFFF9, 0x000893F1},
		{"daily", 0xFFFFFFF9, 0x00F00211},
		{"monthly", 0xFFFFFFF9, 0x00F00211},
		{"event", 0x00000019, 0x00000019},
		{"parameter", 0x00000319, 0x00000319},
		{"certification", 0x00000319, 0x00000319},
	} {
		for fields, want := range map[string]uint32{"all": c.whole, "reduced": c.reduced} {
			t.Run(c.database+" "+fields, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, line := listenedTo(t, Options{}, func(own *corus.Config) { own.Databases, own.Fields = []string{c.database}, fields })
					_, _ = lastDays(t, s, 1) // the simulated device refuses some, and has no layout for others
					queries := line.queries()
					if len(queries) == 0 || queries[0].Mask != want || queries[0].Database.String() != c.database {
						t.Errorf("asked for %+v, want mask %#x", queries, want)
					}
				})
			})
		}
	}
}

// A device that has forgotten the conversation answers no command: it is sent once
// more, and then after a new wake-up.
func TestAConversationIsBegunAnewAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, line := listenedTo(t, Options{}, nil)
		checkConverter(t, s)
		before, unheard := line.wakeUps(), 0
		line.lose = func(message []byte) bool {
			lost := len(message) > 2 && message[1] == 0xBF && unheard < 2
			if lost {
				unheard++
			}
			return lost
		}
		checkConverter(t, s)
		if unheard != 2 || line.wakeUps() != before+2 {
			t.Errorf("%d commands were lost and the device was woken %d times", unheard, line.wakeUps()-before)
		}
	})
}

// What the device is told of time is its own wall clock: limits of a log, and the clock.
func TestTimesAreThoseOfTheDevicesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line, c := &overheard{}, corus.Driver.NewConfig().(*corus.Config)
		s := dialConverterIn(t, amsterdam(), Options{}, &frayed{left: 1 << 30}, c, nil, line)
		from, to := time.Date(2026, 3, 10, 11, 0, 0, 0, time.UTC), time.Date(2026, 3, 11, 11, 0, 0, 0, time.UTC)
		var rows []time.Time
		err := s.(drivers.Historian).History(t.Context(), from, to, func(r *drivers.Reading) error {
			rows = append(rows, r.Time.Wall)
			return nil
		})
		if err != nil || len(rows) != 25 || !rows[0].Equal(from) || !rows[24].Equal(to) {
			t.Errorf("%d rows, %v, %v", len(rows), rows, err)
		}
		// One hour more on each side, and one hour ahead of UTC.
		want := []string{"2026-03-10T11:00:00", "2026-03-11T13:00:01"}
		q := line.queries()[0]
		const wall = "2006-01-02T15:04:05"
		if diff := cmp.Diff(want, []string{q.Oldest.Format(wall), q.Newest.Format(wall)}); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
		at := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
		back, err := s.(drivers.Commander).Set(t.Context(), named("clock"), drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: at, Zoned: true}})
		if late := back.Moment.Wall.Sub(at); err != nil || !back.Moment.Zoned || late < 0 || late > time.Minute {
			t.Errorf("the clock shows %s, %v", back.Moment, err)
		}
		sent, err := corus.AppendDate(nil, time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(line.sent, func(b []byte) bool { return len(b) > 2 && b[1] == 0xFF && bytes.Contains(b, sent) }) {
			t.Error("the clock was not set to noon, which ten o'clock UTC is in summer")
		}
	})
}

// The password is a fixed text, so its check alone tells that the line is right.
func TestADamagedPasswordIsNotTaken(t *testing.T) {
	for _, c := range []struct {
		name  string
		times int
		err   error
	}{{"once", 1, nil}, {"always", 1000, drivers.ErrChecksum}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, line := listenedTo(t, Options{}, nil)
				left := c.times
				line.spoil = func(said []byte) {
					if at := bytes.Index(said, []byte("PASS")); at >= 0 && left > 0 {
						said[at+3] ^= 1
						left--
					}
				}
				var r drivers.Reading
				if err := s.Read(t.Context(), nil, &r); !errors.Is(err, c.err) || (len(r.Values) == 0) != (c.err != nil) {
					t.Errorf("%d values, %v", len(r.Values), err)
				}
				if tried := min(c.times+1, 3); line.wakeUps() != tried {
					t.Errorf("the device was woken %d times, want %d", line.wakeUps(), tried)
				}
			})
		})
	}
}

// A device that does not know the one option select is given the other one, the next
// time at once.
func TestTheOtherOptionSelectIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, line := listenedTo(t, Options{}, nil)
		line.lose = func(message []byte) bool { return string(message) == "\x06076\r\n" }
		checkConverter(t, s)
		before := line.wakeUps()
		checkConverter(t, s)
		if line.wakeUps() != before+1 {
			t.Errorf("the device was woken %d times for the second reading", line.wakeUps()-before)
		}
		var selected []string
		for _, message := range line.sent {
			if len(message) == 6 && message[0] == 0x06 {
				selected = append(selected, string(message[1:4]))
			}
		}
		if want := []string{"076", "077", "077"}; !slices.Equal(selected, want) {
			t.Errorf("selected %q, want %q", selected, want)
		}
	})
}
