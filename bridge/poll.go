package bridge

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

const (
	// usualEvery is how often a meter is asked that nobody has said it of.
	usualEvery = time.Minute
	// askAgain is when a meter is asked once more whose total waits for a second
	// telegram's word.
	askAgain = 5 * time.Second
	// longestAsk bounds one exchange, whatever its driver thinks of time: a meter
	// that never ends must not keep the others of its line waiting for ever.
	longestAsk = 10 * time.Minute
	// leaveTime is how long taking leave of a meter may take.
	leaveTime = 5 * time.Second
)

// asked is a meter that is read by asking, on a line that it may share.
type asked struct {
	meter   *meter
	zones   drivers.Zones
	session drivers.Session // nil: none is open
	turn    time.Time       // its next one by its interval
	due     time.Time       // when it is asked: at its turn, or before
	silent  bool            // it was told that it does not answer
	locked  bool            // it refused our password: it is not asked again

	acquainted bool // a session that lasts was described again after its first reading

	barred    bool     // a command's password was refused: no other is carried out
	described bool     // a session has told its Parameters
	unread    []string // Parameters whose value is read when there is time
	errands   int      // how often that was tried in vain

	pollers []chan<- error // they wait for its next reading
	filling filling
}

// every is the time between two readings.
func (a *asked) every() time.Duration {
	every := a.meter.usual()
	if s, can := a.session.(drivers.Sparing); can {
		every *= time.Duration(s.Rest())
	}
	return every
}

// poll asks the meters of an open line in turns until the line fails: whose turn
// came first is asked first, so that a slow or dead one costs each of the others
// one turn at most.
func (l *line) poll(ctx context.Context, open drivers.Line) error {
	defer l.takeLeave(ctx)
	open = heardLine{open, &l.flight}
	l.queue.open()
	defer l.shutQueue()
	for {
		if job := l.searches.take(); job != nil {
			if err := l.search(ctx, open, job); lineFailed(err) {
				return err
			}
		}
		c, a, err := l.next(ctx)
		if err == nil {
			err = l.turn(ctx, open, c, a)
		}
		if ctx.Err() != nil {
			return nil
		}
		if lineFailed(err) {
			return err
		}
		if _, speaker := l.speaker(); speaker == nil {
			l.flight.rest()
		}
	}
}

// turn does one thing, a reading when there is room for it among all lines.
func (l *line) turn(ctx context.Context, open drivers.Line, c *command, a *asked) (err error) {
	if a != nil {
		leave, err := l.crowd.enter(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		defer leave()
	}
	transport.Apart(func() { err = l.serve(ctx, open, c, a) })
	return err
}

// serve does one thing: a command, or else the reading of a meter. Its error may be
// one of the line.
func (l *line) serve(ctx context.Context, open drivers.Line, c *command, a *asked) error {
	var err error
	switch {
	case c != nil:
		err = l.carryOut(ctx, open, c)
	case a != nil && a.filling.first:
		return l.fillFirst(ctx, open, a)
	case a != nil:
		err = l.ask(ctx, open, a)
		a.polled(err)
	}
	if a == nil || ctx.Err() != nil || lineFailed(err) {
		return err
	}
	l.plan(ctx, a, err)
	if err != nil {
		return nil //nolint:nilerr // plan has told it, and it is not the line's
	}
	return l.fillGap(ctx, a)
}

// nextAsked is the meter whose turn comes first; nil if none is asked any more.
func (l *line) nextAsked() *asked {
	var first *asked
	for _, a := range l.asked {
		if waiting := a.meter.takePollers(); waiting != nil {
			a.pollers, a.due = append(a.pollers, waiting...), time.Now()
		}
		if a.locked {
			a.polled(drivers.WithHint(drivers.ErrAuth, a.hint()))
		}
		if !a.locked && (first == nil || a.due.Before(first.due)) {
			first = a
		}
	}
	return first
}

// sleepUntil waits for a moment; false: ctx ended.
func sleepUntil(ctx context.Context, due time.Time) bool {
	t := time.NewTimer(time.Until(due))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// readings are for those that are being asked: of thousands few are at a time.
var readings = sync.Pool{New: func() any { return new(drivers.Reading) }}

// ask reads one meter, with a new session if there is none.
func (l *line) ask(ctx context.Context, open drivers.Line, a *asked) error {
	ctx, cancel := context.WithTimeout(ctx, longestAsk)
	defer cancel()
	began := time.Now()
	a.meter.asks(a.silent)
	if err := l.dial(ctx, open, a); err != nil {
		return err
	}
	r := readings.Get().(*drivers.Reading)
	defer readings.Put(r)
	r.Reset()
	if err := a.session.Read(ctx, nil, r); err != nil {
		return err
	}
	r.Received = time.Now()
	a.meter.setRoundTrip(r.Received.Sub(began))
	l.supervisor.Healthy()
	l.accept(a.meter, r)
	if a.lasts() && !a.acquainted {
		a.acquainted = true
		a.meter.described(a.session.Describe()) // it knows more than before the first exchange
	}
	return nil
}

// lineFailed says whether an error is the line's rather than the meter's.
func lineFailed(err error) bool {
	if err == nil {
		return false
	}
	for _, mine := range []error{
		drivers.ErrTimeout, drivers.ErrRefused, drivers.ErrAuth, drivers.ErrChecksum,
		drivers.ErrShort, drivers.ErrLong, drivers.ErrSyntax, drivers.ErrValue, context.DeadlineExceeded,
	} {
		if errors.Is(err, mine) {
			return errors.Is(err, io.EOF)
		}
	}
	return true
}

// plan says when the meter is asked next. After a failure the session is begun
// anew, a round later; one whose meter was only silent goes on, and with it what
// it knows of the meter.
func (l *line) plan(ctx context.Context, a *asked, err error) {
	now := time.Now()
	if every := a.every(); !now.Before(a.turn) {
		a.turn = a.turn.Add(every)
		if a.turn.Before(now) {
			a.turn = now.Add(every) // turns that were missed are not made up for
		}
	}
	a.due = a.turn
	if err == nil {
		if a.silent {
			a.silent = false
			a.meter.log.Info().Msg("the meter answers again")
		}
		if again := now.Add(askAgain); a.meter.doubts() && again.Before(a.due) {
			a.due = again
		}
		return
	}
	if !errors.Is(err, drivers.ErrTimeout) && !a.lasts() {
		l.leave(ctx, a)
	}
	a.meter.fail(err, now)
	a.locked = errors.Is(err, drivers.ErrAuth)
	if a.silent && !a.locked {
		return
	}
	a.silent = true
	a.meter.log.Warn().Err(err).Str("hint", cmp.Or(drivers.Hint(err), a.hint())).Msg("the meter cannot be read")
}

// hint is what to look at when a meter does not answer.
func (a *asked) hint() string {
	if a.locked {
		return "it is not asked again until the configuration is reloaded, for meters lock after wrong passwords"
	}
	return a.meter.config.Driver.Hint
}

// leave ends a meter's session, also when ctx has ended.
func (l *line) leave(ctx context.Context, a *asked) {
	if a.session == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if err := a.session.Close(ctx); err != nil {
		a.meter.log.Debug().Err(err).Msg("session not ended in good order")
	}
	a.closed()
	if l.holder == a {
		l.holder = nil
	}
}

func (l *line) takeLeave(ctx context.Context) {
	for _, a := range l.asked {
		l.leave(ctx, a)
	}
}

// described notes what a session promises: quantities are known before their
// first value, Parameters from now on.
func (m *meter) described(id drivers.Identity, quantities []drivers.Quantity, parameters []drivers.Parameter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.identity = merge(m.identity, id)
	for _, q := range quantities {
		if !m.excluded(q.Key) {
			m.picture.expect(q)
		}
	}
	if m.knowParameters(parameters) {
		m.announce(time.Now())
	}
	m.tellUnknown()
}

func (m *meter) setQueue(q *queue) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = q
}

func (m *meter) setRoundTrip(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roundTrip = d
}

// doubts says whether a total waits for a second telegram's word.
func (m *meter) doubts() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doubtful
}

// fail counts an answer that was of no use.
func (m *meter) fail(err error, now time.Time) {
	if lost, ok := errors.AsType[*drivers.FrameError](err); ok {
		m.refuse(lost, now)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.countRefused(err)
}
