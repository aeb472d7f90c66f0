package mqttlink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
)

const (
	// maxQueued messages of a topic wait for their meter; more are dropped, the
	// newest first, for a decoder is faster than any meter.
	maxQueued = 64
	// maxMessage is longer than any telegram in hexadecimal digits.
	maxMessage = 64 << 10
)

// OpenTopic is a line on which the messages of a topic arrive, each a telegram in
// bytes or in hexadecimal digits. After each the line falls silent, so that it
// ends what its telegram began. Retained messages are old news and left out. While
// the broker is away the line is silent.
func (l *Link) OpenTopic(ctx context.Context, topic string) (drivers.Line, error) {
	t := &topicLine{link: l, topic: topic, messages: make(chan []byte, maxQueued), closed: make(chan struct{}), moved: make(chan struct{}, 1)}
	s := subscription{filter: topic, handle: t.take, line: t}
	l.mu.Lock()
	l.subs = append(l.subs, s)
	client := l.client
	l.mu.Unlock()
	if client == nil {
		return t, nil
	}
	answer := l.ask(client, s)
	err := await(ctx, answer, connectTimeout)
	if err == nil {
		err = s.granted(answer)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", t, err), t.Close())
	}
	return t, nil
}

// topicLine is a drivers.Line. It has one reader.
type topicLine struct {
	link     *Link
	topic    string
	messages chan []byte
	closed   chan struct{}
	rest     []byte // of the message under way
	ended    bool   // a message did: a silence is due

	mu       sync.Mutex
	deadline time.Time
	moved    chan struct{} // holds a token when the deadline was moved
	shut     bool
}

// take runs on the client's goroutine.
func (t *topicLine) take(r Received) {
	if r.Retained || len(r.Payload) == 0 || len(r.Payload) > maxMessage {
		return
	}
	select {
	case t.messages <- slices.Clone(r.Payload):
	default:
	}
}

// Read gives the bytes of one message, and a silence behind it.
func (t *topicLine) Read(p []byte) (int, error) {
	if len(t.rest) == 0 && t.ended {
		t.ended = false
		return 0, drivers.ErrSilence
	}
	if len(t.rest) == 0 {
		message, err := t.next()
		if err != nil {
			return 0, err
		}
		t.rest = capture.Telegram(message)
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	t.ended = len(t.rest) == 0
	return n, nil
}

// next waits for a message.
func (t *topicLine) next() ([]byte, error) {
	for {
		if m, err := t.nextUntil(t.readDeadline()); m != nil || err != nil {
			return m, err
		}
	}
}

// nextUntil waits for a message until the deadline is over or moved.
func (t *topicLine) nextUntil(deadline time.Time) ([]byte, error) {
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-t.closed:
		return nil, fmt.Errorf("%s: %w", t, os.ErrClosed)
	case m := <-t.messages:
		return m, nil
	case <-late:
		return nil, os.ErrDeadlineExceeded
	case <-t.moved:
		return nil, nil
	}
}

func (t *topicLine) readDeadline() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.deadline
}

// SetReadDeadline moves the deadline, also of a Read that waits.
func (t *topicLine) SetReadDeadline(d time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline = d
	select {
	case t.moved <- struct{}{}:
	default:
	}
	return nil
}

// Close ends the subscription.
func (t *topicLine) Close() error {
	t.mu.Lock()
	shut := t.shut
	t.shut = true
	t.mu.Unlock()
	if shut {
		return os.ErrClosed
	}
	close(t.closed)
	if client := t.link.drop(t); client != nil {
		client.Unsubscribe(t.topic) // whether it is heard changes nothing: no one listens any more
	}
	return nil
}

// Write is refused: nothing is ever sent to such a meter.
func (t *topicLine) Write([]byte) (int, error) {
	return 0, fmt.Errorf("%s: write: %w", t, errors.ErrUnsupported)
}

// SetMode is refused: a topic has no speed.
func (t *topicLine) SetMode(drivers.Mode) error { return errors.ErrUnsupported }

// Discard drops what waits.
func (t *topicLine) Discard() error {
	for t.rest, t.ended = nil, false; ; {
		select {
		case <-t.messages:
		default:
			return nil
		}
	}
}

// Flush has nothing to wait for.
func (t *topicLine) Flush(context.Context) error { return nil }

func (t *topicLine) String() string { return "mqtt:" + t.topic }
