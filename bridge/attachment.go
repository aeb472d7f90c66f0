package bridge

import (
	"context"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// sessionClosed is the state of a session that has ended with its line.
const sessionClosed = "closed"

// attach gives a session that lasts what an earlier one has learned, and listens
// to its states.
func (m *meter) attach(session drivers.Session) {
	lasting, ok := session.(drivers.Attacher)
	if !ok {
		return
	}
	m.mu.Lock()
	memory := m.attachment
	m.mu.Unlock()
	lasting.Attach(drivers.Attachment{Memory: memory, Keep: m.keep, State: m.setSession})
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
	if m.session == state {
		return
	}
	first := m.session == ""
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

// wait waits for a command or until the meter is due. Meanwhile the meter of a line
// of its own is heard, if it speaks unasked: what it says is a reading like any
// other. Its error is one that ends the line.
func (l *line) wait(ctx context.Context, due *asked) error {
	speaker := l.speaker()
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
	a := l.asked[0]
	err := speaker.Notify(listening, func(r *drivers.Reading) error {
		l.supervisor.Healthy()
		l.accept(a.meter, r)
		return nil
	})
	if lineFailed(err) && listening.Err() == nil {
		stop()
		<-rested
		return err
	}
	<-rested
	return nil
}

// speaker is the session of the line's only meter, if that one speaks unasked.
func (l *line) speaker() drivers.Notifier {
	if len(l.asked) != 1 {
		return nil
	}
	n, _ := l.asked[0].session.(drivers.Notifier)
	return n
}
