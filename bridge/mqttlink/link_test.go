package mqttlink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func options(b *brokertest.Broker) Options {
	return Options{
		URL: b.URL(), ClientID: "test", Log: zerolog.Nop(),
		Will: Message{Topic: "t/availability", Payload: []byte("offline"), Retain: true},
	}
}

func TestALinkPublishesWhatOnConnectSays(t *testing.T) {
	b := brokertest.New(t)
	b.Start()
	defer b.Stop()
	l := New(options(b))
	l.OnConnect(func() { l.Publish(Message{Topic: "t/availability", Payload: []byte("online"), Retain: true}) })
	end := run(t, l, func() []Message {
		return []Message{{Topic: "t/availability", Payload: []byte("goodbye"), Retain: true}}
	})
	b.UntilIs("t/availability", "online")
	end()
	b.UntilIs("t/availability", "goodbye")
}

func TestAMessageIsToldAcknowledgedOnceTheBrokerHasIt(t *testing.T) {
	b := brokertest.New(t)
	b.Start()
	defer b.Stop()
	l := New(options(b))
	acked := make(chan uint64, 1)
	l.OnConnect(func() {
		l.Publish(Message{Topic: "t/a", Payload: []byte("1"), Number: 7, Acked: func(n uint64) { acked <- n }})
	})
	run(t, l, nothing)
	b.UntilIs("t/a", "1")
	if n := <-acked; n != 7 {
		t.Errorf("told of %d", n)
	}
}

func TestALinkSurvivesABrokerThatComesLateAndGoes(t *testing.T) {
	b := brokertest.New(t)
	l := New(options(b))
	n := 0
	l.OnConnect(func() { n++; l.Publish(Message{Topic: "t/n", Payload: fmt.Append(nil, n)}) })
	run(t, l, nothing)
	for i := 1; i <= 3; i++ {
		b.Start()
		b.UntilIs("t/n", fmt.Sprint(i))
		b.Stop()
	}
}

func TestALinkSubscribesAgainAfterEachConnection(t *testing.T) {
	b := brokertest.New(t)
	b.Start()
	l := New(options(b))
	heard := make(chan Received, 10)
	l.Subscribe("ask/#", func(r Received) { heard <- r })
	l.OnConnect(func() { l.Publish(Message{Topic: "t/up", Payload: []byte("1")}) })
	run(t, l, nothing)
	for range 2 {
		b.UntilIs("t/up", "1")
		b.Publish("ask/me", "now", false)
		if r := <-heard; r.Topic != "ask/me" || string(r.Payload) != "now" || r.Retained {
			t.Errorf("heard %+v", r)
		}
		b.Stop()
		b.Forget()
		b.Start()
	}
	b.UntilIs("t/up", "1")
	b.Stop()
}

// The broker sends what is retained before it has acknowledged the subscription.
func TestARetainedMessageIsAnsweredToo(t *testing.T) {
	b := brokertest.New(t)
	b.Start()
	defer b.Stop()
	b.Publish("ask/me", "now", true)
	for range 20 {
		l := New(options(b))
		l.Subscribe("ask/#", func(r Received) {
			if !l.Publish(Message{Topic: "t/answer", Payload: r.Payload}) {
				t.Error("an answer was dropped")
			}
		})
		end := run(t, l, nothing)
		b.UntilIs("t/answer", "now")
		end()
		b.Forget()
	}
}

func TestALinkIsCutWhilePublishingAndNeverHangs(t *testing.T) {
	b := brokertest.New(t)
	b.Start()
	defer b.Stop()
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
		b.Forget()
		waitFor(t, func() bool { return len(b.Seen("t/state")) > 20 })
		b.Cut()
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

// A user who may publish and not subscribe: what is published comes, and what will
// not be heard is told.
func TestASubscriptionThatTheBrokerRefusesIsToldAndDoneWithout(t *testing.T) {
	b := brokertest.New(t)
	b.Unread = "ask/#"
	b.Start()
	defer b.Stop()
	o := options(b)
	var log brokertest.Log
	o.Log = zerolog.New(&log)
	l := New(o)
	heard := make(chan Received, 10)
	l.Subscribe("ask/#", func(r Received) { t.Errorf("heard %+v", r) })
	l.Subscribe("tell/#", func(r Received) { heard <- r })
	l.OnConnect(func() { l.Publish(Message{Topic: "t/up", Payload: []byte("1")}) })
	run(t, l, nothing)
	b.UntilIs("t/up", "1")
	b.Publish("ask/me", "now", false)
	b.Publish("tell/me", "now", false)
	if r := <-heard; r.Topic != "tell/me" {
		t.Errorf("heard %+v", r)
	}
	if got := log.String(); strings.Count(got, `"level":"warn"`) != 1 || !strings.Contains(got, "subscribe to ask/#: the broker does not grant it") || !strings.Contains(got, "access list") {
		t.Errorf("logged %s", got)
	}
	line, err := l.OpenTopic(t.Context(), "ask/raw")
	if err == nil {
		_ = line.Close()
	}
	if !errors.Is(err, errNotGranted) || drivers.Hint(err) == "" {
		t.Errorf("a line of a topic that may not be read: %v", err)
	}
}

// More filters than a broker takes in one packet, one of them twice.
func TestEachOfManySubscriptionsIsHeard(t *testing.T) {
	b := brokertest.New(t)
	b.Start()
	defer b.Stop()
	l := New(options(b))
	heard := make(chan string, 2*maxFilters)
	topics := []string{"ask/0"}
	for i := range 2*maxFilters + 1 {
		topics = append(topics, fmt.Sprintf("ask/%d", i))
	}
	for _, topic := range topics {
		l.Subscribe(topic, func(r Received) { heard <- topic + " " + r.Topic })
	}
	l.OnConnect(func() { l.Publish(Message{Topic: "t/up", Payload: []byte("1")}) })
	run(t, l, nothing)
	b.UntilIs("t/up", "1")
	for _, topic := range topics[1:] {
		b.Publish(topic, "now", false)
		if got := <-heard; got != topic+" "+topic {
			t.Errorf("of %s came %s", topic, got)
		}
	}
}

func TestARefusedLoginSaysWhatToDo(t *testing.T) {
	b := brokertest.New(t)
	b.Login.Username, b.Login.Password = "a", "b"
	b.Start()
	defer b.Stop()
	var log brokertest.Log
	o := options(b)
	o.Log = zerolog.New(&log)
	o.Username, o.Password = "a", func() string { return canary.MQTTPassword }
	run(t, New(o), nothing)
	waitFor(t, func() bool { return strings.Contains(log.String(), "check mqtt.username") })
	if strings.Contains(log.String(), canary.MQTTPassword) {
		t.Error("the password is in the log")
	}
}

func TestAnAbsentBrokerIsToldOnce(t *testing.T) {
	b := brokertest.New(t)
	b.Start()
	b.Stop()
	var log brokertest.Log
	o := options(b)
	o.Log = zerolog.New(&log).Level(zerolog.DebugLevel)
	run(t, New(o), nothing)
	waitFor(t, func() bool { return strings.Count(log.String(), "still away") >= 2 })
	told := map[string]bool{}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, `"warn"`) && told[line] {
			t.Errorf("told twice:\n%s", log.String())
		}
		told[line] = true
	}
	if !strings.Contains(log.String(), "nothing listens there") {
		t.Errorf("no remedy in\n%s", log.String())
	}
}
