package soak

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// ledger is a subscriber that books each telegram it hears of.
type ledger struct {
	tb     testing.TB
	client paho.Client

	mu       sync.Mutex
	states   map[int64]int // telegram → how often it was the state
	history  map[int64]int
	last     int64 // the newest state
	lastPast int64 // the newest history
	disorder int   // history that is new and older than what came before it
	mistakes []string
	retained map[string]string // what is retained, by topic
	events   map[string]int    // by type
	messages int
}

func newLedger(tb testing.TB, b *broker) *ledger {
	tb.Helper()
	l := &ledger{
		tb: tb, states: map[int64]int{}, history: map[int64]int{}, last: -1, lastPast: -1,
		retained: map[string]string{}, events: map[string]int{},
	}
	l.connect(b)
	tb.Cleanup(l.disconnect)
	return l
}

// connect subscribes, also again to a broker that was away.
func (l *ledger) connect(b *broker) {
	l.tb.Helper()
	o := paho.NewClientOptions().AddBroker("tcp://" + b.address).SetClientID("ledger").
		SetAutoReconnect(false).SetKeepAlive(0).SetOrderMatters(true)
	l.client = paho.NewClient(o)
	wait(l.tb, l.client.Connect())
	hear := func(_ paho.Client, m paho.Message) { l.book(m) }
	wait(l.tb, l.client.SubscribeMultiple(map[string]byte{
		meterTopic("+"): 1, base + "/bridge/availability": 1, base + "/bridge/response/hello": 1,
	}, hear))
}

func (l *ledger) disconnect() { l.client.Disconnect(100) }

func wait(tb testing.TB, t paho.Token) {
	tb.Helper()
	if !t.WaitTimeout(patience) || t.Error() != nil {
		tb.Fatal("subscriber: ", t.Error())
	}
}

// meterTopic is a topic of the meter that the ledger books.
func meterTopic(name string) string { return base + "/main/" + name }

func (l *ledger) book(m paho.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages++
	switch m.Topic() {
	case meterTopic("state"):
		if n, ok := l.check(m); ok {
			l.states[n]++
			l.last = n
		}
	case meterTopic("history"):
		n, ok := l.check(m)
		if !ok {
			return
		}
		if l.history[n] == 0 && n < l.lastPast {
			l.disorder++
		}
		l.history[n]++
		l.lastPast = max(n, l.lastPast)
	case meterTopic("event"):
		var e struct {
			Type string `json:"event_type"`
		}
		_ = json.Unmarshal(m.Payload(), &e)
		l.events[e.Type]++
	default:
		l.retained[m.Topic()] = string(m.Payload())
	}
}

// check holds a state against the telegram whose number it carries.
func (l *ledger) check(m paho.Message) (number int64, ok bool) {
	var state map[string]json.RawMessage
	if err := json.Unmarshal(m.Payload(), &state); err != nil {
		l.mistake("%s: no JSON: %v", m.Topic(), err)
		return 0, false
	}
	n, err := numberOf(string(state[numbered]))
	if err != nil {
		l.mistake("%s without its numbered total: %.300s", m.Topic(), m.Payload())
		return 0, false
	}
	for _, t := range totals {
		l.compare(m, n, t.key, string(state[t.key]), truth(t.key, n))
	}
	for key := range derived {
		l.compare(m, n, key, string(state[key]), truth(key, n))
	}
	l.compare(m, n, "1-0:1.7.0", string(state["1-0:1.7.0"]), fmt.Sprint(power(n)))
	return n, true
}

func (l *ledger) compare(m paho.Message, n int64, key, got, want string) {
	if got != want {
		l.mistake("%s of telegram %d: %s is %q, want %q", m.Topic(), n, key, got, want)
	}
}

func (l *ledger) mistake(format string, args ...any) {
	if len(l.mistakes) < 20 {
		l.mistakes = append(l.mistakes, fmt.Sprintf(format, args...))
	}
}

// newest is the telegram of the newest state.
func (l *ledger) newest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *ledger) topic(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.retained[name]
}

// missing are the telegrams below end of which nothing was heard.
func (l *ledger) missing(end int64) []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var none []int64
	for n := range end {
		if l.states[n]+l.history[n] == 0 {
			none = append(none, n)
		}
	}
	return none
}

// settled waits until the newest telegram is the state and at most lost ones are
// still missing, or no more come.
func (l *ledger) settled(m *meter, excused func(n int64) bool) {
	l.tb.Helper()
	end := m.count()
	until(l.tb, func() string {
		if l.newest() < end-1 {
			return fmt.Sprintf("the state is that of telegram %d, sent were %d", l.newest(), end)
		}
		for _, n := range l.missing(end) {
			if !excused(n) {
				return fmt.Sprintf("telegram %d of %d was never heard of", n, end)
			}
		}
		return ""
	})
}

// nothing is excused.
func nothing(int64) bool { return false }

// verdict fails the test on any wrong value, and on history out of order.
func (l *ledger) verdict() {
	l.tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.mistakes {
		l.tb.Error(m)
	}
	if l.disorder > 0 {
		l.tb.Errorf("history came out of order %d times", l.disorder)
	}
	if n := l.events["exchanged"] + l.events["held_back"]; n > 0 {
		l.tb.Errorf("%d totals of a sound meter were doubted", n)
	}
}

// String sums up.
func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	twice := 0
	for n, times := range l.history {
		if times+l.states[n] > 1 {
			twice++
		}
	}
	return fmt.Sprintf("%d telegrams as state, %d as history (%d of them heard twice)", len(l.states), len(l.history), twice)
}

// online waits until the gateway and its meter are there again.
func (l *ledger) online() {
	l.tb.Helper()
	until(l.tb, func() string {
		for _, topic := range []string{base + "/bridge/availability", meterTopic("availability")} {
			if got := l.topic(topic); got != "online" {
				return fmt.Sprintf("%s is %q", topic, got)
			}
		}
		return ""
	})
}

// reach waits until telegrams have come to the subscriber after now.
func (l *ledger) reach(m *meter) {
	l.tb.Helper()
	end := m.count() + 2
	until(l.tb, func() string {
		if l.newest() < end {
			return fmt.Sprintf("the state is that of telegram %d, want %d", l.newest(), end)
		}
		return ""
	})
}
