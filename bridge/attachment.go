package bridge

import (
	"context"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// sessionClosed is the state of a session that has ended with its line.
const sessionClosed = "closed"

// attach gives a session that lasts what an earlier one has learned, listens to its
// states, and lets it claim what it shares with the line's other meters.
func (l *line) attach(a *asked) {
	lasting, ok := a.session.(drivers.Attacher)
	if !ok {
		return
	}
	m := a.meter
	m.mu.Lock()
	memory := m.attachment
	m.mu.Unlock()
	given := drivers.Attachment{Memory: memory, Keep: m.keep, State: m.setSession}
	if len(l.asked) > 1 {
		given.Claim = func(ctx context.Context) error { return l.claim(ctx, a) }
	}
	lasting.Attach(given)
}

// claim has the session yield that holds what a line has only one of, for another one.
// What the meter said meanwhile is not lost. Its error is one of the line.
func (l *line) claim(ctx context.Context, a *asked) error {
	before := l.holder
	l.holder = a
	if before == nil || before == a {
		return nil
	}
	yielder, ok := before.session.(drivers.Yielder)
	if !ok {
		return nil
	}
	l.hearOut(ctx, before)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	err := yielder.Yield(ctx)
	if err != nil {
		before.meter.log.Debug().Err(err).Msg("session not ended in good order")
	}
	if lineFailed(err) {
		return err
	}
	return nil
}

// hearOut takes what a session has heard unasked and not told yet.
func (l *line) hearOut(ctx context.Context, a *asked) {
	speaker, ok := a.session.(drivers.Notifier)
	if !ok {
		return
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := speaker.Notify(ended, l.announced(a)); err != nil {
		a.meter.log.Debug().Err(err).Msg("announcements of the meter were lost")
	}
}

// announced takes a reading that a meter announced.
func (l *line) announced(a *asked) func(*drivers.Reading) error {
	return func(r *drivers.Reading) error {
		l.supervisor.Healthy()
		l.accept(a.meter, r)
		return nil
	}
}

// keep remembers what a session has learned.
func (m *meter) keep(memory string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.attachment != memory {
		m.attachment, m.learned = memory, true
	}
}

// setSession publishes a session's state. The first one makes an entity of it.
func (m *meter) setSession(state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := m.session == ""
	if m.session == state || first && state == sessionClosed {
		return // one that has no states does not get this one
	}
	m.session = state
	now := time.Now()
	if first {
		m.announce(now)
	}
	m.publishDiagnostic(now)
	m.log.Info().Str("session", state).Msg("session with the meter")
}

// lasts says whether a meter's session heals by itself.
func (a *asked) lasts() bool {
	_, lasts := a.session.(drivers.Attacher)
	return lasts
}

// closed notes that a session is no more.
func (a *asked) closed() {
	if a.lasts() {
		a.meter.setSession(sessionClosed)
	}
	a.session = nil
}

// wait waits for a command or until the meter is due. Meanwhile a meter is heard that
// speaks unasked, if it has the line for itself or holds what the others share: what it
// says is a reading like any other. Its error is one that ends the line.
func (l *line) wait(ctx context.Context, due *asked) error {
	a, speaker := l.speaker()
	if speaker == nil {
		l.rest(ctx, due)
		return nil
	}
	listening, stop := context.WithCancel(ctx)
	defer stop()
	rested := make(chan struct{})
	go func() {
		defer close(rested)
		defer stop()
		l.rest(listening, due)
	}()
	err := speaker.Notify(listening, l.announced(a))
	if lineFailed(err) && listening.Err() == nil {
		stop()
		<-rested
		return err
	}
	<-rested
	return nil
}

// speaker is the meter whose session can be heard, if it speaks unasked: the line's
// only one, or the one that holds what the line's meters share.
func (l *line) speaker() (*asked, drivers.Notifier) {
	a := l.holder
	if len(l.asked) == 1 {
		a = l.asked[0]
	}
	if a == nil {
		return nil, nil
	}
	n, _ := a.session.(drivers.Notifier)
	return a, n
}
