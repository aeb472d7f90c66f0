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
	// In Unix nanoseconds, for who watches; 0: neither is the case.
	busy atomic.Int64 // since when the client is called
	owed atomic.Int64 // since when the broker owes the oldest acknowledgement
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

// check says whether the client hangs, or the broker acknowledges nothing.
func (s *session) check() error {
	if stuck := since(&s.busy); stuck > hangTimeout {
		return fmt.Errorf("client hangs since %s: %w", stuck.Round(time.Second), errNoAnswer)
	}
	if since(&s.owed) >= ackTimeout {
		return fmt.Errorf("broker acknowledges nothing: %w", errNoAnswer)
	}
	return nil
}

func since(at *atomic.Int64) time.Duration {
	start := at.Load()
	if start == 0 {
		return 0
	}
	return time.Since(time.Unix(0, start))
}

func (s *session) run(ctx context.Context) error {
	for ctx.Err() == nil && !s.isOver() {
		if err := s.flight.land(); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		s.owed.Store(s.flight.oldest())
		if s.flight.hasRoom() {
			if m, ok := s.link.outbox.take(s.turn); ok {
				s.publish(m)
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-s.quit:
		case <-s.filled:
		case <-s.flight.landing():
		}
	}
	if !s.isOver() {
		s.flight.landLast()
	}
	return nil
}

func (s *session) publish(m Message) {
	now := time.Now().UnixNano()
	s.busy.Store(now)
	token := s.client.Publish(m.Topic, 1, m.Retain, m.Payload)
	s.busy.Store(0)
	s.flight.sent = append(s.flight.sent, sent{token, m.Acked, m.Number, now})
}

// flight is what was sent and is not acknowledged, oldest first.
type flight struct{ sent []sent }

type sent struct {
	token  paho.Token
	acked  func(uint64)
	number uint64
	at     int64 // Unix nanoseconds
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

// landLast waits a moment for what is still owed when the program ends: what the
// broker has and nobody noted would never be taken back.
func (f *flight) landLast() {
	limit := time.NewTimer(leaveTimeout)
	defer limit.Stop()
	for len(f.sent) > 0 {
		select {
		case <-f.landing():
			if f.land() != nil {
				return
			}
		case <-limit.C:
			return
		}
	}
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

// oldest is when the oldest was sent, in Unix nanoseconds; 0: there is none.
func (f *flight) oldest() int64 {
	if len(f.sent) == 0 {
		return 0
	}
	return f.sent[0].at
}
