package mbus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipeLine is a line over net.Pipe. As a serial one, its Flush returns when the
// bytes have left at its speed.
type pipeLine struct {
	net.Conn
	name string
	baud int

	mu     sync.Mutex
	queued int // bytes written since the last Flush
	modes  []drivers.Mode
}

func (l *pipeLine) Write(p []byte) (int, error) {
	l.queued += len(p)
	return l.Conn.Write(p)
}

func (l *pipeLine) SetMode(m drivers.Mode) error {
	if strings.HasPrefix(l.name, "tcp:") {
		return errors.ErrUnsupported
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.modes = append(l.modes, m)
	return nil
}

func (l *pipeLine) Discard() error {
	_ = l.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := io.Copy(io.Discard, l.Conn); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("discard: %w", err)
	}
	return nil
}

func (l *pipeLine) Flush(ctx context.Context) error {
	if l.baud > 0 {
		time.Sleep(time.Duration(l.queued) * 11 * time.Second / time.Duration(l.baud))
	}
	l.queued = 0
	return ctx.Err()
}

func (l *pipeLine) String() string { return l.name }

const serialPort = "serial:///dev/ttyUSB0?baud=2400&mode=8E1"

// speaker is one side of a line.
type speaker interface {
	Serve(ctx context.Context, line io.ReadWriter) error
}

// bubble is a test with a serial line to a simulated bus, by a clock of its own.
type bubble struct {
	*testing.T
	line *pipeLine
}

func inBubble(t *testing.T, bus speaker, test func(bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := bus.Serve(ctx, theirs); err != nil && !errors.Is(err, io.EOF) { // a test may hang up
				t.Error(err)
			}
		})
		defer serving.Wait()
		defer theirs.Close()
		defer ours.Close()
		defer cancel()
		test(bubble{t, &pipeLine{Conn: ours, name: serialPort, baud: 2400}})
	})
}

// busOf is a simulated bus with faults.
func busOf(t *testing.T, slaves []sim.MBusSlave, faults ...string) speaker {
	t.Helper()
	b, err := sim.NewMBus(sim.Options{Seed: 1, Faults: faults}, slaves...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// heldLine stands still once in the middle of an answer, as a busy machine does: then
// the deadline is over, and the rest is there.
type heldLine struct {
	*pipeLine
	stands time.Duration
	heard  int
	stood  bool
}

func (l *heldLine) Read(p []byte) (int, error) {
	if l.heard > 20 && !l.stood {
		l.stood = true
		time.Sleep(l.stands)
		return 0, os.ErrDeadlineExceeded
	}
	n, err := l.pipeLine.Read(p)
	l.heard += n
	return n, err
}

func TestAnAnswerIsWholeThoughTheProcessStoodStill(t *testing.T) {
	inBubble(t, building(t), func(b bubble) {
		c := address("1")
		c.Retries = 0
		if _, err := readOnce(b, &heldLine{pipeLine: b.line, stands: time.Second}, c); err != nil {
			t.Error(err)
		}
		if _, err := readOnce(b, &heldLine{pipeLine: b.line, stands: drivers.Stall / 2}, c); err == nil {
			t.Error("a pause in an answer was taken for none")
		}
	})
}

// building is the simulated bus of eight meters.
func building(t *testing.T, faults ...string) speaker {
	t.Helper()
	return busOf(t, sim.MBusBuilding(1), faults...)
}

// configured is the default configuration with changes.
func configured(change func(*mbus.Config)) *mbus.Config {
	c := mbus.Driver.NewConfig().(*mbus.Config)
	change(c)
	return c
}

func address(a string) *mbus.Config {
	return configured(func(c *mbus.Config) { c.Address = drivers.Address(a) })
}

func secondary(a string) *mbus.Config {
	return configured(func(c *mbus.Config) { c.Secondary = a })
}

// readOnce dials, reads once and takes leave.
func readOnce(t testing.TB, line drivers.Line, c *mbus.Config, want ...obis.Code) (*drivers.Reading, error) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := mbus.Driver.Dial(t.Context(), line, c, drivers.Zones{Meter: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	var r drivers.Reading
	err = s.Read(t.Context(), want, &r)
	if closed := s.Close(t.Context()); closed != nil {
		t.Error(closed)
	}
	return &r, err
}

// has says whether a reading has a value of that name.
func has(r *drivers.Reading, name string) bool {
	for i := range r.Values {
		if r.Values[i].Name == name {
			return true
		}
	}
	return false
}

func TestEachMeterOfABuildingIsReadWhole(t *testing.T) {
	inBubble(t, building(t), func(t bubble) {
		for _, c := range []struct {
			config *mbus.Config
			id     string
			medium string
			values int
		}{
			{address("1"), "30000100", "heat", 12},
			{address("2"), "30000101", "cold_water", 6},
			{address("3"), "30000202", "warm_water", 7},
			{address("4"), "47110815", "gas", 3},
			{address("5"), "78563412", "electricity", 9},
			{address("6"), "30000104", "cold_water", 6},
			{secondary("30000100"), "30000100", "heat", 12},
			{secondary("4711FFFF"), "47110815", "gas", 3},
			{secondary("30000202A511" + "4006"), "30000202", "warm_water", 7},
			{configured(func(c *mbus.Config) { c.Secondary, c.Fabrication = "55555555", "00000002" }), "55555555", "cold_water", 7},
		} {
			r, err := readOnce(t, t.line, c.config)
			if err != nil {
				t.Errorf("%s: %v", c.id, err)
				continue
			}
			if r.Meter.ID != c.id || r.Meter.Medium != c.medium || len(r.Values) != c.values || r.Check != drivers.CheckSum8 {
				t.Errorf("%s: meter %+v, values %q", c.id, r.Meter, keys(r))
			}
		}
	})
}

// Each fault comes with every second or third answer; a meter is read none the
// less, or not at all, but never wrong.
func TestFaultsCostRetriesAndNeverANumber(t *testing.T) {
	for _, c := range []struct {
		fault string
		good  int // at least, of 20
	}{
		{"silence=3", 18},
		{"bad-check=3", 18},
		{"cut=3", 18},
		{"noise=1", 20},
		{"busy=5", 18},
		{"foreign=3", 18},
		{"echo", 20},
		{"babble", 20},
	} {
		t.Run(c.fault, func(t *testing.T) {
			var want []string
			inBubble(t, building(t), func(t bubble) {
				r, err := readOnce(t, t.line, address("5"))
				if err != nil {
					t.Fatal(err)
				}
				want = keys(r)
			})
			inBubble(t, building(t, c.fault), func(t bubble) {
				good := 0
				for range 20 {
					r, err := readOnce(t, t.line, address("5"))
					if err != nil {
						continue
					}
					good++
					if diff := cmp.Diff(want, keys(r)); diff != "" || r.Meter.ID != "78563412" {
						t.Errorf("%+v: %s", r.Meter, diff)
					}
				}
				if good < c.good {
					t.Errorf("%d of 20 readouts were good, want %d", good, c.good)
				}
			})
		})
	}
}

func keys(r *drivers.Reading) (all []string) {
	for i := range r.Values {
		all = append(all, r.Values[i].Name)
	}
	return all
}

func TestWhoDoesNotAnswerIsTold(t *testing.T) {
	inBubble(t, building(t), func(t bubble) {
		for _, c := range []struct {
			name   string
			port   string
			config *mbus.Config
		}{
			{"primary", serialPort, address("99")},
			{"secondary", serialPort, secondary("99999999")},
			{"over TCP", "tcp://converter:10001", address("99")},
			{"secondary over TCP", "tcp://converter:10001", secondary("99999999")},
		} {
			t.line.name = c.port
			began := time.Now()
			_, err := readOnce(t, t.line, c.config)
			if !errors.Is(err, drivers.ErrTimeout) || drivers.Hint(err) == "" {
				t.Errorf("%s: %v", c.name, err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s: a dead meter cost %s", c.name, took)
			}
		}
	})
}

func TestACollisionIsNeverAReading(t *testing.T) {
	inBubble(t, building(t), func(t bubble) {
		for _, c := range []*mbus.Config{address(""), secondary("FFFFFFFF"), secondary("55555555"), secondary("300001FF")} {
			r, err := readOnce(t, t.line, c)
			if err == nil {
				t.Errorf("%+v gave %+v", c, r)
			} else if drivers.Hint(err) == "" {
				t.Errorf("%v has no hint", err)
			}
		}
	})
}

func TestOnlyWhatIsWantedIsGiven(t *testing.T) {
	volume := obis.Code{8, 0, 1, 0, 0, obis.Now}
	inBubble(t, building(t), func(t bubble) {
		r, err := readOnce(t, t.line, address("2"), volume)
		if err != nil || len(r.Values) != 1 || r.Values[0].Code != volume {
			t.Errorf("%+v, %v", r.Values, err)
		}
	})
}

func TestTheEndOfTheContextEndsAReadout(t *testing.T) {
	inBubble(t, building(t), func(t bubble) {
		for _, after := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			s, err := mbus.Driver.Dial(ctx, t.line, address("5"), drivers.Zones{})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err = s.Read(ctx, nil, new(drivers.Reading))
			cancel()
			if late := time.Since(began) - after; !errors.Is(err, context.DeadlineExceeded) || late > 50*time.Millisecond {
				t.Errorf("after %s: %v, %s late", after, err, late)
			}
			time.Sleep(2 * time.Second)
		}
	})
}

func TestAMeterMayBeSwitchedToItsSpeedAndBack(t *testing.T) {
	inBubble(t, building(t), func(t bubble) {
		if _, err := readOnce(t, t.line, configured(func(c *mbus.Config) { c.Address, c.Baud = "5", 9600 })); err != nil {
			t.Error(err)
		}
		if _, err := readOnce(t, t.line, address("5")); err != nil {
			t.Error(err)
		}
		even := func(baud int) drivers.Mode {
			return drivers.Mode{Baud: baud, Bits: 8, Parity: drivers.EvenParity, Stop: 1}
		}
		if diff := cmp.Diff([]drivers.Mode{even(9600), even(2400)}, t.line.modes); diff != "" {
			t.Error(diff)
		}
	})
}
