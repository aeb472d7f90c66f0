package oracle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Message is one that a subscriber received.
type Message struct {
	Topic   string
	Payload string
	QoS     int
	Retain  int // 1: the broker had kept it
}

// Subscription is a mosquitto_sub: a foreign client that sees what any
// subscriber sees. It connects again by itself when the broker comes back.
type Subscription struct {
	child *child
	fence string // a topic of its own

	mu      sync.Mutex
	partial []byte // a line that has not ended yet
	all     []Message
	fenced  bool // a message to the fence came back
}

// fences are the topics by which a Subscription learns that it stands.
const fences = "oracle/fence"

// Subscribe starts a mosquitto_sub on the topic filters and returns when the
// broker has granted them. It ends with the test.
func (b *Broker) Subscribe(t *testing.T, filters ...string) *Subscription {
	t.Helper()
	s, err := b.subscribe(filters)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.child.kill)
	return s
}

func (b *Broker) subscribe(filters []string) (*Subscription, error) {
	bin, err := tool("mosquitto_sub")
	if err != nil {
		return nil, err
	}
	s := &Subscription{fence: fmt.Sprintf("%s/%d", fences, b.fences.Add(1))}
	args := []string{"-p", strconv.Itoa(b.port), "-q", "1", "-F", "%j", "-t", s.fence}
	for _, f := range filters {
		args = append(args, "-t", f)
	}
	cmd := exec.Command(bin, args...) //nolint:noctx // ended by kill
	cmd.Stdout = s
	if s.child, err = spawn(b.guard, cmd, b.log); err != nil {
		return nil, fmt.Errorf("mosquitto_sub: %w", err)
	}
	return s, until(10*time.Second, func() error { return s.reachedBy(b) })
}

// reachedBy publishes to the fence and says whether one of these messages has
// come back: then the subscription stands, and all that the broker had kept for
// it has come before.
func (s *Subscription) reachedBy(b *Broker) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fenced {
		return nil
	}
	return cmp.Or(b.publish(s.fence, "", false), errors.New("mosquitto_sub: subscription not granted yet"))
}

// Write takes mosquitto_sub's output, a JSON object a line.
func (s *Subscription) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partial = append(s.partial, p...)
	for {
		end := bytes.IndexByte(s.partial, '\n')
		if end < 0 {
			return len(p), nil
		}
		s.take(s.partial[:end])
		s.partial = s.partial[end+1:]
	}
}

func (s *Subscription) take(line []byte) {
	var m Message
	switch err := json.Unmarshal(line, &m); {
	case err != nil:
		m = Message{Topic: "mosquitto_sub says", Payload: string(line)}
		s.all = append(s.all, m)
	case m.Topic == s.fence:
		s.fenced = true
	case !strings.HasPrefix(m.Topic, fences):
		s.all = append(s.all, m)
	}
}

// Messages are all that came so far, oldest first.
func (s *Subscription) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.all...)
}

// Last is the newest message on a topic.
func (s *Subscription) Last(topic string) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range slices.Backward(s.all) {
		if m.Topic == topic {
			return m, true
		}
	}
	return Message{}, false
}

// Forget drops what came so far, so that a test sees only what comes next.
func (s *Subscription) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = nil
}

// Retained are the messages that the broker keeps on the topic filters.
func (b *Broker) Retained(t *testing.T, filters ...string) []Message {
	t.Helper()
	s, err := b.subscribe(filters)
	if err != nil {
		t.Fatal(err)
	}
	s.child.kill()
	return slices.DeleteFunc(s.Messages(), func(m Message) bool { return m.Retain == 0 })
}

// Saw says that no message on topic had this payload, or nil if one had.
func (s *Subscription) Saw(topic, payload string) error {
	for _, m := range s.Messages() {
		if m.Topic == topic && m.Payload == payload {
			return nil
		}
	}
	return fmt.Errorf("no message %q on %s", payload, topic)
}
