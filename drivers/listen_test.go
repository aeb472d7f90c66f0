package drivers

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipeLine is a Line over one end of a net.Pipe.
type pipeLine struct{ net.Conn }

func (pipeLine) SetMode(Mode) error          { return nil }
func (pipeLine) Discard() error              { return nil }
func (pipeLine) Flush(context.Context) error { return nil }
func (pipeLine) String() string              { return "tcp://meter:1" }

// toyDecoder reads telegrams of any letters up to a '!'. Silence completes one
// that begins with '=', and loses any other.
type toyDecoder struct {
	buf  string
	gaps int
	gap  bool
	fail error
}

func (d *toyDecoder) Feed(p []byte) { d.buf += string(p) }

func (d *toyDecoder) Gap() {
	d.gaps++
	d.gap = true
}

func (d *toyDecoder) Next(r *Reading) error {
	if d.fail != nil {
		return d.fail
	}
	telegram, rest, ok := strings.Cut(d.buf, "!")
	if !ok && (!d.gap || d.buf == "") {
		d.gap = false
		return ErrMore
	}
	d.buf = rest
	if !ok && telegram[0] != '=' {
		return &FrameError{Field: "telegram", Length: len(telegram), Err: ErrShort}
	}
	r.Reset()
	r.Meter.ID = telegram
	return nil
}

// heard is what a Listener did.
type heard struct {
	readings []string
	received []time.Duration
	lost     int
	bytes    string
	gaps     int
	err      error
	took     time.Duration
}

// listen runs l in a bubble, while far is what the meter does.
func listen(ctx context.Context, t *testing.T, l *Listener, far func(net.Conn)) heard {
	t.Helper()
	return listenOn(ctx, t, l, func(p pipeLine) Line { return p }, far)
}

// listenOn does so on a line that is made of one end of a pipe.
func listenOn(ctx context.Context, t *testing.T, l *Listener, line func(pipeLine) Line, far func(net.Conn)) heard {
	t.Helper()
	near, end := net.Pipe()
	defer near.Close()
	defer end.Close()
	began := time.Now()
	var h heard
	d := &toyDecoder{}
	if l.Decoder == nil {
		l.Decoder = d
	}
	l.Line = line(pipeLine{near})
	l.Lost = func(*FrameError) { h.lost++ }
	l.Bytes = func(p []byte) { h.bytes += string(p) }
	if l.Reading == nil {
		l.Reading = func(r *Reading) error {
			h.readings = append(h.readings, r.Meter.ID)
			h.received = append(h.received, r.Received.Sub(began))
			return nil
		}
	}
	go far(end)
	h.err = l.Run(ctx)
	h.took, h.gaps = time.Since(began), d.gaps
	return h
}

func say(c net.Conn, text string) { _, _ = io.WriteString(c, text) }

func silent(net.Conn) {}

func TestListenerPassesBytesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := listen(t.Context(), t, &Listener{Quiet: time.Minute}, func(c net.Conn) {
			for _, piece := range []string{"a", "b!c", "d!", "e!f!"} {
				say(c, piece)
				time.Sleep(time.Second)
			}
			c.Close()
		})
		if diff := cmp.Diff([]string{"ab", "cd", "e", "f"}, h.readings); diff != "" {
			t.Errorf("readings (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{1e9, 2e9, 3e9, 3e9}, h.received); diff != "" {
			t.Errorf("arrivals (-want +got):\n%s", diff)
		}
		if h.bytes != "ab!cd!e!f!" || !errors.Is(h.err, io.EOF) {
			t.Errorf("bytes %q, error %v", h.bytes, h.err)
		}
	})
}

func TestListenerIsWokenByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		h := listen(ctx, t, &Listener{}, silent)
		if h.err != nil || h.took != 5*time.Second {
			t.Errorf("error %v after %s", h.err, h.took)
		}
	})
}

func TestListenerDoesNotStartOnAnEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h := listen(ctx, t, &Listener{Quiet: time.Minute}, silent)
		if h.err != nil || h.took != 0 {
			t.Errorf("error %v after %s", h.err, h.took)
		}
	})
}

// Whoever has the line after a cancelled Listener sets a deadline of its own: a
// late wake-up must not overwrite it.
func TestListenerLeavesNoDeadlineBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		line := &slowDeadline{pipeLine: pipeLine{near}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l := &Listener{Line: line, Decoder: &toyDecoder{}, Quiet: time.Second + time.Millisecond}
		_ = l.Run(ctx)
		set := line.set
		time.Sleep(time.Hour)
		if line.set != set {
			t.Error("a deadline was set after Run had returned")
		}
	})
}

// slowDeadline takes its time to wake a read.
type slowDeadline struct {
	pipeLine
	set int
}

func (l *slowDeadline) SetReadDeadline(t time.Time) error {
	if t.Equal(past) {
		time.Sleep(time.Minute)
		l.set++
	}
	return l.pipeLine.SetReadDeadline(t)
}

func TestListenerTellsTheDecoderOfAGapOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		h := listen(ctx, t, &Listener{Gap: time.Second, Quiet: time.Hour}, func(c net.Conn) {
			say(c, "cut")
			time.Sleep(10 * time.Second)
			say(c, "=whole")
			time.Sleep(10 * time.Second)
			say(c, "a")
			time.Sleep(999 * time.Millisecond)
			say(c, "b!")
		})
		if diff := cmp.Diff([]string{"=whole", "ab"}, h.readings); diff != "" {
			t.Errorf("readings (-want +got):\n%s", diff)
		}
		// What the gap completed had arrived before the gap.
		if diff := cmp.Diff([]time.Duration{10e9, 20e9 + 999e6}, h.received); diff != "" {
			t.Errorf("arrivals (-want +got):\n%s", diff)
		}
		if h.gaps != 3 || h.lost != 1 {
			t.Errorf("%d gaps, want 3, one after each burst; %d telegrams lost, want 1", h.gaps, h.lost)
		}
	})
}

// stalledLine is a line of a process that stands still for long, once before it
// waits, or each time while it does: then the deadline is over and bytes are there.
type stalledLine struct {
	pipeLine
	before, after time.Duration
	silence       error // what a read fails with whose deadline is over; nil: its own
	reads         int
}

func (l *stalledLine) Read(p []byte) (int, error) {
	if l.reads++; l.reads == 2 {
		time.Sleep(l.before)
	}
	n, err := l.pipeLine.Read(p)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	time.Sleep(l.after)
	if l.silence != nil {
		err = l.silence
	}
	return n, err
}

func TestListenerTakesItsOwnStandstillForNoGap(t *testing.T) {
	inTwo := func(c net.Conn) {
		say(c, "a")
		time.Sleep(3 * time.Second)
		say(c, "b!")
	}
	cut := func(c net.Conn) {
		say(c, "cut")
		time.Sleep(30 * time.Second)
		say(c, "b!")
	}
	for name, c := range map[string]struct {
		line       stalledLine
		far        func(net.Conn)
		want       []string
		gaps, lost int
	}{
		"the rest came while it waited":  {stalledLine{after: 5 * time.Second}, inTwo, []string{"ab"}, 1, 0},
		"the rest came before it waited": {stalledLine{before: 5 * time.Second}, inTwo, []string{"ab"}, 1, 0},
		"nothing came":                   {stalledLine{after: 5 * time.Second}, cut, []string{"b"}, 2, 1},
		"it was merely woken late": {stalledLine{after: Stall}, func(c net.Conn) {
			say(c, "cut")
			time.Sleep(1500 * time.Millisecond)
			say(c, "b!")
		}, []string{"b"}, 2, 1},
		"the line itself tells of silence": {stalledLine{after: 5 * time.Second, silence: ErrSilence}, inTwo, []string{"b"}, 2, 1},
		"it stands still again and again": {stalledLine{after: 5 * time.Second}, func(c net.Conn) {
			for _, piece := range []string{"a", "b", "c", "!"} {
				say(c, piece)
				time.Sleep(3 * time.Second)
			}
		}, []string{"abc"}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				h := listenOn(ctx, t, &Listener{Gap: time.Second, Quiet: time.Hour}, func(p pipeLine) Line {
					c.line.pipeLine = p
					return &c.line
				}, c.far)
				if diff := cmp.Diff(c.want, h.readings); diff != "" {
					t.Errorf("readings (-want +got):\n%s", diff)
				}
				if h.gaps != c.gaps || h.lost != c.lost || h.err != nil {
					t.Errorf("%d gaps, want %d; %d lost, want %d; error %v", h.gaps, c.gaps, h.lost, c.lost, h.err)
				}
			})
		})
	}
}

func TestListenerTakesNoLineForDeadWhileItStoodStillItself(t *testing.T) {
	for name, line := range map[string]stalledLine{
		"before it waited": {before: time.Minute},
		"again and again":  {after: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := listenOn(t.Context(), t, &Listener{Quiet: 30 * time.Second}, func(p pipeLine) Line {
					line.pipeLine = p
					return &line
				}, func(c net.Conn) {
					say(c, "a!")
					time.Sleep(20 * time.Second)
					say(c, "b!")
				})
				if diff := cmp.Diff([]string{"a", "b"}, h.readings); diff != "" {
					t.Errorf("readings (-want +got):\n%s", diff)
				}
				if !errors.Is(h.err, ErrTimeout) || h.took != 90*time.Second {
					t.Errorf("error %v after %s, want that nothing came for 30 s, after 90 s", h.err, h.took)
				}
			})
		})
	}
}

// idleDecoder is a toyDecoder that says when nothing is begun.
type idleDecoder struct{ toyDecoder }

func (d *idleDecoder) Next(r *Reading) error {
	err := d.toyDecoder.Next(r)
	if errors.Is(err, ErrMore) && d.buf == "" {
		return ErrIdle
	}
	return err
}

func TestListenerWaitsForNoGapWhereNothingIsBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		d := &idleDecoder{}
		h := listen(ctx, t, &Listener{Decoder: d, Gap: time.Second, Quiet: time.Minute}, func(c net.Conn) {
			for range 50 {
				say(c, "a!")
				time.Sleep(10 * time.Second)
			}
			say(c, "cut")
			time.Sleep(10 * time.Second)
			say(c, "b!")
		})
		if len(h.readings) != 51 || h.lost != 1 || d.gaps != 1 {
			t.Errorf("%d readings, %d lost, %d gaps; want 51, 1 and 1", len(h.readings), h.lost, d.gaps)
		}
		if !errors.Is(h.err, ErrTimeout) || h.took != 10*51*time.Second+time.Minute {
			t.Errorf("error %v after %s", h.err, h.took)
		}
	})
}

func TestListenerTakesAQuietLineForDead(t *testing.T) {
	for name, gap := range map[string]time.Duration{"without a gap": 0, "with a gap": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := listen(t.Context(), t, &Listener{Gap: gap, Quiet: 30 * time.Second}, func(c net.Conn) {
					time.Sleep(20 * time.Second)
					say(c, "a!")
				})
				if !errors.Is(h.err, ErrTimeout) || !strings.Contains(h.err.Error(), "tcp://meter:1: ") {
					t.Errorf("error %v", h.err)
				}
				if h.took != 50*time.Second || len(h.readings) != 1 {
					t.Errorf("given up after %s, %d readings", h.took, len(h.readings))
				}
			})
		})
	}
}

func TestListenerWithoutQuietWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := listen(t.Context(), t, &Listener{Gap: time.Second}, func(c net.Conn) {
			time.Sleep(1000 * time.Hour)
			say(c, "a!")
			time.Sleep(time.Minute) // a pipe that closes too early refuses the deadline
			c.Close()
		})
		if !errors.Is(h.err, io.EOF) || len(h.readings) != 1 {
			t.Errorf("error %v, readings %q", h.err, h.readings)
		}
	})
}

func TestListenerLetsTheDecoderFinishAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := listen(t.Context(), t, &Listener{Quiet: time.Hour}, func(c net.Conn) {
			say(c, "a!=last")
			time.Sleep(time.Minute)
			c.Close()
		})
		if diff := cmp.Diff([]string{"a", "=last"}, h.readings); diff != "" {
			t.Errorf("readings (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{0, 0}, h.received); diff != "" {
			t.Errorf("arrivals (-want +got):\n%s", diff)
		}
		if !errors.Is(h.err, io.EOF) || h.gaps != 1 {
			t.Errorf("error %v, %d gaps", h.err, h.gaps)
		}
	})
}

func TestListenerEndsWithTheError(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		l    Listener
		far  func(net.Conn)
		want error
	}{
		"of whoever takes the readings": {Listener{Reading: func(*Reading) error { return failed }}, func(c net.Conn) { say(c, "a!") }, failed},
		"of a decoder that is broken":   {Listener{Decoder: &toyDecoder{fail: failed}}, func(c net.Conn) { say(c, "a!") }, failed},
		"of the line":                   {Listener{}, func(c net.Conn) { time.Sleep(time.Second); c.Close() }, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if h := listen(t.Context(), t, &c.l, c.far); !errors.Is(h.err, c.want) || errors.Is(h.err, os.ErrDeadlineExceeded) {
					t.Errorf("error %v, want %v", h.err, c.want)
				}
			})
		})
	}
}
