package mqttlink

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testBroker is a broker that can be stopped and started on its port.
type testBroker struct {
	t       *testing.T
	address string
	auth    *auth.Ledger
	server  *mqtt.Server

	mu   sync.Mutex
	seen []packets.Packet
	more chan struct{}
}

func newTestBroker(t *testing.T) *testBroker {
	t.Helper()
	b := &testBroker{
		t: t, address: "127.0.0.1:0", more: make(chan struct{}, 1),
		auth: &auth.Ledger{Auth: auth.AuthRules{{Allow: true}}},
	}
	return b
}

func (b *testBroker) start() {
	b.t.Helper()
	listener, err := net.Listen("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.address = listener.Addr().String()
	b.server = mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	b.must(b.server.AddHook(new(auth.Hook), &auth.Options{Ledger: b.auth}))
	b.must(b.server.Subscribe("#", 1, func(_ *mqtt.Client, _ packets.Subscription, p packets.Packet) {
		b.mu.Lock()
		b.seen = append(b.seen, p)
		b.mu.Unlock()
		select {
		case b.more <- struct{}{}:
		default:
		}
	}))
	b.must(b.server.AddListener(listeners.NewNet("t", listener)))
	b.must(b.server.Serve())
}

func (b *testBroker) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *testBroker) stop() { b.must(b.server.Close()) }

// until waits for a message.
func (b *testBroker) until(topic, payload string) {
	b.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		b.mu.Lock()
		for _, p := range b.seen {
			if p.TopicName == topic && string(p.Payload) == payload {
				b.mu.Unlock()
				return
			}
		}
		b.mu.Unlock()
		select {
		case <-b.more:
		case <-limit:
			b.t.Fatalf("no %s=%s", topic, payload)
		}
	}
}

func (b *testBroker) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = nil
}

// run starts a link and returns how to end it.
func run(t *testing.T, l *Link, last func() []Message) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, last) }()
	var once sync.Once
	end = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(end)
	return end
}

func nothing() []Message { return nil }

func options(b *testBroker) Options {
	return Options{
		URL: "mqtt://" + b.address, ClientID: "test", Log: zerolog.Nop(),
		Will: Message{Topic: "t/availability", Payload: []byte("offline"), Retain: true},
	}
}

func TestALinkPublishesWhatOnConnectSays(t *testing.T) {
	b := newTestBroker(t)
	b.start()
	defer b.stop()
	l := New(options(b))
	l.OnConnect(func() { l.Publish(Message{Topic: "t/availability", Payload: []byte("online"), Retain: true}) })
	end := run(t, l, func() []Message {
		return []Message{{Topic: "t/availability", Payload: []byte("goodbye"), Retain: true}}
	})
	b.until("t/availability", "online")
	end()
	b.until("t/availability", "goodbye")
}

func TestAMessageIsToldAcknowledgedOnceTheBrokerHasIt(t *testing.T) {
	b := newTestBroker(t)
	b.start()
	defer b.stop()
	l := New(options(b))
	acked := make(chan uint64, 1)
	l.OnConnect(func() {
		l.Publish(Message{Topic: "t/a", Payload: []byte("1"), Number: 7, Acked: func(n uint64) { acked <- n }})
	})
	run(t, l, nothing)
	b.until("t/a", "1")
	if n := <-acked; n != 7 {
		t.Errorf("told of %d", n)
	}
}

func TestALinkSurvivesABrokerThatComesLateAndGoes(t *testing.T) {
	b := newTestBroker(t)
	b.start() // to learn a free port
	b.stop()
	l := New(options(b))
	n := 0
	l.OnConnect(func() { n++; l.Publish(Message{Topic: "t/n", Payload: fmt.Append(nil, n)}) })
	run(t, l, nothing)
	for i := 1; i <= 3; i++ {
		b.start()
		b.until("t/n", fmt.Sprint(i))
		b.stop()
	}
}

func TestALinkSubscribesAgainAfterEachConnection(t *testing.T) {
	b := newTestBroker(t)
	b.start()
	l := New(options(b))
	heard := make(chan Received, 10)
	l.Subscribe("ask/#", func(r Received) { heard <- r })
	l.OnConnect(func() { l.Publish(Message{Topic: "t/up", Payload: []byte("1")}) })
	run(t, l, nothing)
	for range 2 {
		b.until("t/up", "1")
		b.must(b.server.Publish("ask/me", []byte("now"), false, 1))
		if r := <-heard; r.Topic != "ask/me" || string(r.Payload) != "now" || r.Retained {
			t.Errorf("heard %+v", r)
		}
		b.stop()
		b.forget()
		b.start()
	}
	b.until("t/up", "1")
	b.stop()
}

func TestALinkIsCutWhilePublishingAndNeverHangs(t *testing.T) {
	b := newTestBroker(t)
	b.start()
	defer b.stop()
	l := New(options(b))
	l.OnConnect(func() {})
	run(t, l, nothing)
	stop := make(chan struct{})
	var producer sync.WaitGroup
	producer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				l.Publish(Message{Topic: "t/state", Payload: fmt.Append(nil, i)})
			}
		}
	})
	for range 10 {
		b.forget()
		waitFor(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.seen) > 20 })
		for _, c := range b.server.Clients.GetAll() {
			if !c.Net.Inline {
				c.Stop(io.EOF)
			}
		}
	}
	close(stop)
	producer.Wait()
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(limit) {
			t.Fatal("condition not reached")
		}
		time.Sleep(time.Millisecond) // the condition is another goroutine's
	}
}

func TestARefusedLoginSaysWhatToDo(t *testing.T) {
	b := newTestBroker(t)
	b.auth = &auth.Ledger{Auth: auth.AuthRules{{Username: "a", Password: "b", Allow: true}}}
	b.start()
	defer b.stop()
	var log syncBuffer
	o := options(b)
	o.Log = zerolog.New(&log)
	o.Username, o.Password = "a", func() string { return "hunter2" }
	run(t, New(o), nothing)
	waitFor(t, func() bool { return strings.Contains(log.String(), "check mqtt.username") })
	if strings.Contains(log.String(), "hunter2") {
		t.Error("the password is in the log")
	}
}

func TestAnAbsentBrokerIsToldOnce(t *testing.T) {
	b := newTestBroker(t)
	b.start()
	b.stop()
	var log syncBuffer
	o := options(b)
	o.Log = zerolog.New(&log).Level(zerolog.DebugLevel)
	run(t, New(o), nothing)
	waitFor(t, func() bool { return strings.Count(log.String(), "still away") >= 2 })
	if n := strings.Count(log.String(), `"warn"`); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
	if !strings.Contains(log.String(), "nothing listens there") {
		t.Errorf("no remedy in\n%s", log.String())
	}
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
