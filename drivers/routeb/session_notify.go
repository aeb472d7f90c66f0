package routeb

import (
	"context"
	"errors"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Notify gives what the meter announces, and keeps the session with it alive
// between two readings: it is renewed before it ends and joined again when it was
// lost.
func (s *session) Notify(ctx context.Context, each func(*drivers.Reading) error) error {
	defer drivers.WakeOnEnd(ctx, s.line)()
	for ctx.Err() == nil {
		if err := s.deliver(each); err != nil {
			return err
		}
		err := s.keep(ctx)
		if err == nil || mild(err) {
			_, err = s.next(ctx, s.nextChore(time.Now()))
		}
		if err != nil && !mild(err) && ctx.Err() == nil {
			return err
		}
	}
	return s.deliver(each)
}

// deliver gives what has come unasked.
func (s *session) deliver(each func(*drivers.Reading) error) error {
	for len(s.unasked) > 0 {
		r := s.unasked[0]
		s.unasked = s.unasked[1:]
		s.meter.heard, s.meter.announce = time.Now(), true
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// idle is how long Notify waits when nothing is to be done.
const idle = time.Minute

// nextChore is when there is something to do without being asked.
func (s *session) nextChore(now time.Time) time.Time {
	next := now.Add(idle)
	for _, t := range [...]time.Time{s.link.renewAt, s.link.reauthBy, s.link.endBy, s.link.nextTry} {
		if !t.IsZero() && t.Before(next) && t.After(now) {
			next = t
		}
	}
	if s.link.limited && s.link.askLimit.Before(next) {
		next = s.link.askLimit
	}
	return next
}

// keep does what is due for the session. Before the first reading there is none.
func (s *session) keep(ctx context.Context) error {
	if s.module == nil || s.state == stateStarting {
		return nil
	}
	now := time.Now()
	if !s.link.joined {
		return s.ensure(ctx)
	}
	if err := s.askLimit(ctx, now); err != nil {
		return err
	}
	if err := s.pay(ctx); err != nil {
		return err
	}
	silent := s.meter.announce && now.Sub(s.meter.heard) > s.timing.silence
	if silent || !s.link.renewAt.IsZero() && !now.Before(s.link.renewAt) {
		s.meter.heard = now
		s.link.suspect, s.link.renewed = true, false
		return s.ensure(ctx)
	}
	return nil
}

// askLimit asks whether the transmit-time limit still holds: the word that it is
// lifted may have been lost.
func (s *session) askLimit(ctx context.Context, now time.Time) error {
	if !s.link.limited || now.Before(s.link.askLimit) {
		return nil
	}
	s.link.askLimit = now.Add(s.timing.limit)
	limited, err := s.module.restricted(ctx)
	if err == nil {
		s.link.limited = limited
		s.showLink()
	}
	if errors.Is(err, drivers.ErrRefused) {
		return nil
	}
	return err
}
