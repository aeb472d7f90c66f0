package mqttlink

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// session is one connection's loop.
type session struct {
	link   *Link
	client paho.Client
	turn   uint64          // of the outbox; another one's messages are not ours
	filled <-chan struct{} // the outbox may have something
	quit   chan struct{}   // closed when it is given up
	flight flight
	busy   atomic.Int64 // since when the client is called, in Unix nanoseconds; 0: it is not
}

// giveUp ends the session: nothing that happens to it counts any more.
func (s *session) giveUp() { close(s.quit) }

func (s *session) isOver() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// stuck is how long the call into the client has taken that is under way.
func (s *session) stuck() time.Duration {
	since := s.busy.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.Unix(0, since))
}

func (s *session) run(ctx context.Context) error {
	timer := time.NewTimer(ackTimeout)
	defer timer.Stop()
	for ctx.Err() == nil && !s.isOver() {
		if err := s.flight.land(); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		if s.flight.hasRoom() {
			if m, ok := s.link.outbox.take(s.turn); ok {
				s.publish(m)
				continue
			}
		}
		timer.Reset(s.flight.patience())
		select {
		case <-ctx.Done():
		case <-s.quit:
		case <-s.filled:
		case <-s.flight.landing():
		case <-timer.C:
			if s.flight.overdue() {
				return fmt.Errorf("broker acknowledges nothing: %w", errNoAnswer)
			}
		}
	}
	return nil
}

func (s *session) publish(m Message) {
	s.busy.Store(time.Now().UnixNano())
	token := s.client.Publish(m.Topic, 1, m.Retain, m.Payload)
	s.busy.Store(0)
	s.flight.add(token, m)
}

// flight is what was sent and is not acknowledged, oldest first.
type flight struct{ sent []sent }

type sent struct {
	token  paho.Token
	acked  func(uint64)
	number uint64
	at     time.Time
}

func (f *flight) add(t paho.Token, m Message) {
	f.sent = append(f.sent, sent{t, m.Acked, m.Number, time.Now()})
}

func (f *flight) hasRoom() bool { return len(f.sent) < maxInFlight }

// land forgets what was acknowledged, in order.
func (f *flight) land() error {
	n := 0
	for ; n < len(f.sent) && f.sent[n].isDone(); n++ {
		if err := f.sent[n].token.Error(); err != nil {
			return err
		}
		if f.sent[n].acked != nil {
			f.sent[n].acked(f.sent[n].number)
		}
	}
	if n > 0 {
		rest := copy(f.sent, f.sent[n:])
		clear(f.sent[rest:])
		f.sent = f.sent[:rest]
	}
	return nil
}

func (s *sent) isDone() bool {
	select {
	case <-s.token.Done():
		return true
	default:
		return false
	}
}

// landing is closed when the oldest is acknowledged; with none it is never.
func (f *flight) landing() <-chan struct{} {
	if len(f.sent) == 0 {
		return nil
	}
	return f.sent[0].token.Done()
}

// patience is how long the broker may still owe the oldest acknowledgement.
func (f *flight) patience() time.Duration {
	if len(f.sent) == 0 {
		return ackTimeout
	}
	return max(time.Until(f.sent[0].at.Add(ackTimeout)), time.Millisecond)
}

func (f *flight) overdue() bool {
	return len(f.sent) > 0 && time.Since(f.sent[0].at) >= ackTimeout
}
