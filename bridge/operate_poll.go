package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pollTime is how long a request to poll waits for its answer: as long as a command
// may. The reading comes all the same.
const pollTime = patience

// poll has the meters read at once that are asked, and calls answer when they were.
// Of one that only speaks, what it said last is published again.
func (b *Bridge) poll(ctx context.Context, o order, answer func(error)) {
	meters, err := o.meters(b.everyMeter())
	if err != nil {
		answer(err)
		return
	}
	select {
	case b.polls <- struct{}{}:
	default:
		answer(errBusy)
		return
	}
	readings := make([]<-chan error, len(meters))
	for i, m := range meters {
		readings[i] = m.pollNow()
	}
	b.polling.Go(func() {
		defer func() { <-b.polls }()
		ctx, cancel := context.WithTimeout(ctx, pollTime)
		defer cancel()
		var errs []error
		for i, m := range meters {
			if err := awaitReading(ctx, readings[i]); err != nil {
				errs = append(errs, fmt.Errorf("meter %s: %w", m.config.Name, err))
			}
		}
		answer(errors.Join(errs...))
	})
}

func awaitReading(ctx context.Context, reading <-chan error) error {
	select {
	case err := <-reading:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-reading:
		return err
	default:
		return fmt.Errorf("not read yet: %w", ctx.Err())
	}
}

// pollNow has the meter read, and gives how that went once it is known.
func (m *meter) pollNow() <-chan error {
	m.mu.Lock()
	defer m.mu.Unlock()
	done := make(chan error, 1)
	switch {
	case m.config.Driver.Push():
		m.publishState(time.Now())
		done <- nil
	case m.queue == nil || !m.queue.nudge():
		done <- errOffline
	default:
		m.pollers = append(m.pollers, done)
	}
	return done
}

// takePollers says who waits for the meter, and forgets them.
func (m *meter) takePollers() []chan<- error {
	m.mu.Lock()
	defer m.mu.Unlock()
	waiting := m.pollers
	m.pollers = nil
	return waiting
}

// polled tells who waited how the reading went.
func (a *asked) polled(err error) {
	for _, done := range a.pollers {
		done <- err
	}
	a.pollers = nil
}

// dismissPollers tells who waits for a line that is closed.
func (l *line) dismissPollers() {
	for _, a := range l.asked {
		a.pollers = append(a.pollers, a.meter.takePollers()...)
		a.polled(errOffline)
	}
}
