package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	// maxFavours is how many commands in a row go before a meter that is due: a
	// flood of good ones must not keep the others of the line waiting for ever.
	maxFavours = 4
	// maxErrands is how often a value is tried to be read that nobody asked for.
	maxErrands = 3
)

// next waits for what is to be done: a command before a meter that is due, a meter
// before an errand. Both nil: a search waits, ctx ended, or the line failed.
func (l *line) next(ctx context.Context) (*command, *asked, error) {
	for ctx.Err() == nil {
		if c, a := l.ready(); c != nil || a != nil || l.searches.waits() {
			return c, a, nil
		}
		if err := l.wait(ctx, l.nextAsked()); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, nil
}

// ready is what is to be done now; both nil: nothing.
func (l *line) ready() (*command, *asked) {
	a := l.nextAsked()
	due := a != nil && !time.Now().Before(a.due)
	if !due || l.favours < maxFavours {
		if c := l.queue.take(); c != nil {
			l.favours++
			return c, nil
		}
	}
	if due {
		l.favours = 0
		return nil, a
	}
	return l.errand(), nil
}

// rest waits for a command or until the meter is due; nil: none ever is.
func (l *line) rest(ctx context.Context, a *asked) {
	var due <-chan time.Time
	if a != nil {
		t := time.NewTimer(time.Until(a.due))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
	case <-due:
	case <-l.queue.filled:
	case <-l.searches.filled:
	}
}

// errand is a Parameter that is still to be read of a meter that answers: of the one
// that holds what the line's meters share, first.
func (l *line) errand() *command {
	c := l.holder.errand()
	for i := 0; c == nil && i < len(l.asked); i++ {
		c = l.asked[i].errand()
	}
	return c
}

// errand is nil if there is none, as of a meter that there is not.
func (a *asked) errand() *command {
	if a == nil || a.session == nil || len(a.unread) == 0 {
		return nil
	}
	name := a.unread[0]
	a.unread = a.unread[1:]
	return &command{meter: a.meter, name: name, errand: true}
}

// carryOut does what a command says and answers it. Its error may be one of the
// line.
func (l *line) carryOut(ctx context.Context, open drivers.Line, c *command) error {
	a := l.asked[slices.IndexFunc(l.asked, func(a *asked) bool { return a.meter == c.meter })]
	o := l.transact(ctx, open, a, c)
	told := o
	if ctx.Err() != nil && errors.Is(o.err, context.Canceled) {
		told.err = closed(o.err)
	}
	c.meter.finish(c, told)
	l.repeatErrand(a, c, o.err)
	switch {
	case errors.Is(o.err, drivers.ErrAuth):
		a.barred = true // the session stays: it knows that it must not try again
	case breaksSession(o.err):
		if !a.lasts() {
			l.leave(ctx, a)
		}
		return o.err
	}
	return nil
}

// repeatErrand puts an errand back that failed and was not refused.
func (l *line) repeatErrand(a *asked, c *command, err error) {
	switch {
	case !c.errand || err == nil:
	case isCertain(err) || a.errands >= maxErrands:
		a.meter.log.Debug().Err(err).Str("parameter", c.name).Msg("parameter cannot be read")
	default:
		a.errands++
		a.unread = append(a.unread, c.name)
	}
}

// breaksSession says whether the session is begun anew after an error. What was
// found out before anything was sent, or by comparing, is not its fault.
func breaksSession(err error) bool {
	if err == nil {
		return false
	}
	for _, ours := range []error{drivers.ErrValue, errors.ErrUnsupported, errDiffers, errLocked, errNote} {
		if errors.Is(err, ours) {
			return false
		}
	}
	return true
}

// transact has the meter's session read or write a Parameter. Once the note that a
// write is about to be sent is on the disk, nothing sends it again.
func (l *line) transact(ctx context.Context, open drivers.Line, a *asked, c *command) outcome {
	if a.locked || a.barred {
		return outcome{err: fmt.Errorf("%w: %w", drivers.ErrUnsent, errLocked)}
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	if err := l.dial(ctx, open, a); err != nil {
		return outcome{err: fmt.Errorf("%w: %w", drivers.ErrUnsent, err)}
	}
	if !c.write {
		return getParameter(ctx, a.session, c.name)
	}
	return setParameter(ctx, a.session, c.name, c.arg, a.meter.config.Timezone, func() error {
		if err := a.meter.ledger.sending(c.entry); err != nil {
			return fmt.Errorf("%w: %w", errNote, err)
		}
		return nil
	})
}

// dial begins a session with the meter, if there is none.
func (l *line) dial(ctx context.Context, open drivers.Line, a *asked) error {
	if a.session != nil {
		return nil
	}
	c := a.meter.config
	session, err := c.Driver.Dial(ctx, open, c.Options, a.zones)
	if err != nil {
		return err
	}
	a.session = session
	l.attach(a)
	a.meter.described(session.Describe())
	if !a.described {
		a.described = true
		a.unread = a.meter.worthReading()
	}
	return nil
}

// shutQueue refuses what still waits when the line goes.
func (l *line) shutQueue() {
	for _, c := range l.queue.shut() {
		c.meter.refuseCommand(c, errOffline)
	}
	l.dismissPollers()
	if job := l.searches.take(); job != nil {
		job.end(errOffline)
	}
}
