package sim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/corus"
	"github.com/meter2mqtt/meter2mqtt/drivers/iec62056"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/routeb"
)

var errPulled = errors.New("the cable was pulled")

// cable is a line to which something happens at one of its operations: it fails from
// then on, or if meanwhile is given, that is called once. With spoil only reads count,
// and it is what the meter sent that changes.
type cable struct {
	drivers.Line
	at        int // the operation, counted from 1; 0: none
	meanwhile func()
	spoil     func([]byte) int // how much of it is left

	mu   sync.Mutex
	done int
}

// happened says whether the operation has come.
func (c *cable) happened() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at > 0 && c.done >= c.at
}

func (c *cable) operate(read bool) error {
	if c.spoil != nil && !read {
		return nil
	}
	c.mu.Lock()
	c.done++
	now, later := c.done == c.at, c.at > 0 && c.done >= c.at
	c.mu.Unlock()
	switch {
	case later && c.meanwhile == nil && c.spoil == nil:
		return errPulled
	case now && c.meanwhile != nil:
		c.meanwhile()
	}
	return nil
}

func (c *cable) Read(p []byte) (int, error) {
	if err := c.operate(true); err != nil {
		return 0, err
	}
	n, err := c.Line.Read(p)
	if c.spoil != nil && c.done == c.at && n > 0 {
		n = c.spoil(p[:n])
	}
	return n, err
}

func (c *cable) Write(p []byte) (int, error) {
	if err := c.operate(false); err != nil {
		return 0, err
	}
	return c.Line.Write(p)
}

// SetReadDeadline fails only where somebody means to wait: taking a deadline back is
// not an operation.
func (c *cable) SetReadDeadline(t time.Time) error {
	if t.After(time.Now()) {
		if err := c.operate(false); err != nil {
			return err
		}
	}
	return c.Line.SetReadDeadline(t)
}

func (c *cable) SetMode(m drivers.Mode) error {
	if err := c.operate(false); err != nil {
		return err
	}
	return c.Line.SetMode(m)
}

func (c *cable) Discard() error {
	if err := c.operate(false); err != nil {
		return err
	}
	return c.Line.Discard()
}

func (c *cable) Flush(ctx context.Context) error {
	if err := c.operate(false); err != nil {
		return err
	}
	return c.Line.Flush(ctx)
}

// conversation is a meter, and how it is asked.
type conversation struct {
	name   string
	driver drivers.Driver
	build  func(Options) (*Simulator, error)
	o      Options
	config func(*testing.T, drivers.Config)
	calls  []call
}

// call is something that is asked of a session.
type call struct {
	name string
	do   func(context.Context, drivers.Session) error
}

var (
	callRead = call{"read", func(ctx context.Context, s drivers.Session) error {
		var r drivers.Reading
		return s.Read(ctx, nil, &r)
	}}
	callParameters = call{"parameters", getAndSetAll}
	callHistory    = call{"history", func(ctx context.Context, s drivers.Session) error {
		now := time.Now()
		return s.(drivers.Historian).History(ctx, now.Add(-3*time.Hour), now.Add(time.Hour), func(*drivers.Reading) error { return nil })
	}}
	callNotify = call{"notify", func(ctx context.Context, s drivers.Session) error {
		ctx, cancel := context.WithTimeout(ctx, 40*time.Minute)
		defer cancel()
		err := s.(drivers.Notifier).Notify(ctx, func(*drivers.Reading) error { return nil })
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return err
	}}
	callClose = call{"close", func(ctx context.Context, s drivers.Session) error { return s.Close(ctx) }}
)

// getAndSetAll reads each parameter, and sets it to what it is. What the meter does
// not have or take is no error.
func getAndSetAll(ctx context.Context, s drivers.Session) error {
	_, _, parameters := s.Describe()
	for _, p := range parameters {
		v, err := s.(drivers.Commander).Get(ctx, p)
		if err == nil && p.Access&drivers.Writable != 0 {
			_, err = s.(drivers.Commander).Set(ctx, p, v)
		}
		if err != nil && !errors.Is(err, drivers.ErrRefused) && !errors.Is(err, drivers.ErrValue) {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

func optics(set func(*iec62056.Config)) func(*testing.T, drivers.Config) {
	return func(_ *testing.T, c drivers.Config) { set(c.(*iec62056.Config)) }
}

func conversations() []conversation {
	iec := func(name, model string, set func(*iec62056.Config), calls ...call) conversation {
		return conversation{name, iec62056.Driver, newIEC, Options{Model: model}, optics(set), calls}
	}
	converter := func(set func(*corus.Config)) func(*testing.T, drivers.Config) {
		return func(t *testing.T, c drivers.Config) {
			t.Helper()
			own := c.(*corus.Config)
			own.Layouts = corusLayoutFile(t)
			set(own)
		}
	}
	bus := func(set func(*mbus.Config)) func(*testing.T, drivers.Config) {
		return func(_ *testing.T, c drivers.Config) { set(c.(*mbus.Config)) }
	}
	module := func(_ *testing.T, c drivers.Config) {
		own := c.(*routeb.Config)
		own.ID, own.Password = drivers.NewSecret(ExampleRouteBID), drivers.NewSecret(ExampleRouteBPassword)
		own.TotalsEvery = 0
	}
	return []conversation{
		iec("optical readout", "mode-c", func(c *iec62056.Config) { c.Wake, c.SwitchWait = "normal", 100*time.Millisecond }, callRead),
		iec("optical readout without a change of speed", "mode-a", func(*iec62056.Config) {}, callRead),
		iec("optical meter that pushes", "mode-d", func(c *iec62056.Config) { c.Mode = "D" }, callRead),
		iec("optical registers", "mode-c", func(c *iec62056.Config) {
			c.Read, c.Password, c.AddParity = []string{"1.8.0", "32.7.0"}, drivers.NewSecret(ExamplePassword), true
		}, callRead),
		iec("optical parameters", "mode-c", func(c *iec62056.Config) {
			c.Password, c.Registers = drivers.NewSecret(ExamplePassword), []string{"total 1.8.0 number kWh read-only", "mark C.3.9 number 0..9 C", "serial 0.0.0 text read-only", "flag C.3.9 bool", "reset_counter 0.1.0 number read-only"}
		}, callParameters),
		iec("optical logs", "mode-c", func(c *iec62056.Config) {
			c.Profiles, c.Block = []string{"P.01", "P.98"}, drivers.NewDecimal(4, 0)
		}, callHistory),
		{"lis200", iec62056.LIS200, newLIS200, Options{}, optics(func(c *iec62056.Config) { c.Password = drivers.NewSecret(ExamplePassword) }), []call{callRead, callParameters, callHistory}},
		{"corus", corus.Driver, newCorus, Options{}, converter(func(c *corus.Config) { c.Hold = true }), []call{callRead, callParameters, callHistory, callClose}},
		{"corus in detail", corus.Driver, newCorus, Options{}, converter(func(c *corus.Config) {
			c.Baud, c.FastBaud, c.Databases = 9600, 19200, []string{"hourly", "event", "parameter"}
		}), []call{callRead, callHistory}},
		{"mbus", mbus.Driver, newMBus, Options{}, bus(func(c *mbus.Config) {
			c.Address, c.Wake, c.Reset, c.Readout, c.Alarm = "1", time.Second, "50", []string{"all"}, true
		}), []call{callRead, callParameters}},
		{"mbus by secondary address", mbus.Driver, newMBus, Options{}, bus(func(c *mbus.Config) { c.Secondary = "30000100" }), []call{callRead}},
		{"bp35c2", routeb.Driver, newRouteB, Options{Model: "bp35c2"}, module, []call{callRead, callParameters, callHistory, callNotify, callClose}},
		{"bp35a1", routeb.Driver, newRouteB, Options{Model: "bp35a1"}, module, []call{callRead, callClose}},
		{"j11", routeb.Driver, newRouteB, Options{Model: "j11"}, module, []call{callRead, callParameters, callNotify, callClose}},
	}
}

// begin dials the meter of a conversation over a cable, within a bubble.
func (c conversation) begin(ctx context.Context, t *testing.T, line *cable) drivers.Session {
	t.Helper()
	o := c.o
	o.Clock = bubbleNow
	m, err := c.build(o)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	serve, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var serving sync.WaitGroup
	serving.Go(func() { _ = m.Serve(serve, far) }) // that the line ends is what is tested
	t.Cleanup(func() {
		cancel()
		_ = near.Close()
		_ = far.Close()
		serving.Wait()
	})
	line.Line = &optic{Conn: near}
	return c.dial(ctx, t, line)
}

// dial begins a session.
func (c conversation) dial(ctx context.Context, t *testing.T, line *cable) drivers.Session {
	t.Helper()
	config := c.driver.NewConfig()
	c.config(t, config)
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := c.driver.Dial(ctx, line, config, drivers.Zones{Meter: amsterdam()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run makes the calls one after the other until something has happened to the cable,
// and tells what that call gave.
func (c conversation) run(ctx context.Context, t *testing.T, line *cable) (name string, err error) {
	t.Helper()
	s := c.begin(ctx, t, line)
	for _, call := range c.calls {
		err = call.do(ctx, s)
		if line.happened() && err == nil && ctx.Err() == nil {
			return call.name + " and read", callRead.do(ctx, s) // all was there, and leave was being taken
		}
		if line.happened() {
			return call.name, err
		}
		if err != nil {
			t.Fatalf("%s over a whole cable: %v", call.name, err)
		}
	}
	return "", nil
}

// operations is how many a conversation makes of an undisturbed line.
func (c conversation) operations(t *testing.T, spoil func([]byte) int) (n int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		line := cable{spoil: spoil}
		_, _ = c.run(t.Context(), t, &line)
		n = line.done
	})
	return n
}

// moments are operations out of n: all of the first hundred, and fifty of the
// others, which are rows like those before.
func moments(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for at := 0; at < n; {
			if !yield(at) {
				return
			}
			if at++; at > 100 {
				at += max(1, n/50) - 1
			}
		}
	}
}

func TestACablePulledAtAnyMomentIsToldByTheCallThatMetIt(t *testing.T) {
	for _, c := range conversations() {
		t.Run(c.name, func(t *testing.T) {
			n := c.operations(t, nil)
			for at := range moments(n) {
				synctest.Test(t, func(t *testing.T) {
					line := cable{at: 1 + at}
					name, err := c.run(t.Context(), t, &line)
					if !errors.Is(err, errPulled) {
						t.Errorf("pulled at operation %d of %d: %s gives %v", 1+at, n, name, err)
					}
				})
			}
		})
	}
}

func TestWhateverASessionDoesItEndsWhenItsContextDoes(t *testing.T) {
	for _, c := range conversations() {
		t.Run(c.name, func(t *testing.T) {
			n := c.operations(t, nil)
			for at := range moments(n) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					var ended time.Time
					line := cable{at: 1 + at, meanwhile: func() {
						ended = time.Now()
						cancel()
					}}
					name, err := c.run(ctx, t, &line)
					if took := time.Since(ended); took > 15*time.Second {
						t.Errorf("%s goes on for %s", name, took)
					}
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("cancelled at operation %d of %d: %s gives %v", 1+at, n, name, err)
					}
				})
			}
		})
	}
}

// typed are the errors that say what went wrong with a meter.
var typed = []error{
	drivers.ErrTimeout, drivers.ErrRefused, drivers.ErrChecksum, drivers.ErrShort, drivers.ErrLong, drivers.ErrSyntax, drivers.ErrAuth, drivers.ErrValue,
}

// Whatever one answer suffers on its way, the call copes or says what was wrong, and
// the meter can be read afterwards: by the same session after a time-out, by a new one
// after anything else.
func TestADamagedAnswerCostsItselfOnly(t *testing.T) {
	damages := map[string]func([]byte) int{
		"a bit":        func(p []byte) int { p[len(p)/2] ^= 0x10; return len(p) },
		"the last bit": func(p []byte) int { p[len(p)-1] ^= 0x01; return len(p) },
		"its end":      func(p []byte) int { return len(p) - 1 },
		"all":          func([]byte) int { return 0 },
	}
	for _, c := range conversations() {
		for name, spoil := range damages {
			t.Run(c.name+" loses "+name, func(t *testing.T) {
				n := c.operations(t, spoil)
				for at := range moments(n) {
					synctest.Test(t, func(t *testing.T) { c.copes(t, &cable{at: 1 + at, spoil: spoil}) })
				}
			})
		}
	}
}

func (c conversation) copes(t *testing.T, line *cable) {
	t.Helper()
	s := c.begin(t.Context(), t, line)
	var failed error
	for _, call := range c.calls {
		if failed = call.do(t.Context(), s); failed != nil {
			break
		}
	}
	if failed != nil && drivers.Hint(failed) == "" && !slices.ContainsFunc(typed, func(e error) bool { return errors.Is(failed, e) }) {
		t.Errorf("damaged at read %d: an error without type and remedy: %v", line.at, failed)
	}
	if failed != nil && !errors.Is(failed, drivers.ErrTimeout) {
		s = c.dial(t.Context(), t, line)
	}
	var err error
	for range 3 {
		time.Sleep(2 * time.Minute)
		if err = callRead.do(t.Context(), s); err == nil {
			return
		}
	}
	t.Errorf("damaged at read %d, which gave %v: then %v", line.at, failed, err)
}
