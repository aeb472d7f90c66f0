package mqttlink

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func texts(ms []Message) []string {
	var out []string
	for _, m := range ms {
		out = append(out, m.Topic+"="+string(m.Payload))
	}
	return out
}

func state(topic, payload string) Message { return Message{Topic: topic, Payload: []byte(payload)} }

func event(topic, payload string) Message {
	return Message{Topic: topic, Payload: []byte(payload), Keep: true}
}

func TestTheNewestStateTakesThePlaceOfTheWaitingOne(t *testing.T) {
	o := newOutbox()
	o.open()
	for _, m := range []Message{
		state("a", "1"), state("b", "1"), event("e", "1"), state("a", "2"), event("e", "2"), state("a", "3"),
	} {
		if !o.put(m) {
			t.Fatal("refused")
		}
	}
	want := []string{"a=3", "b=1", "e=1", "e=2"}
	if diff := cmp.Diff(want, texts(o.drain())); diff != "" {
		t.Error(diff)
	}
}

func TestAStateThatWasTakenIsNotReplaced(t *testing.T) {
	o := newOutbox()
	turn, _ := o.open()
	for i := range 500 { // far enough to compact the queue several times
		o.put(state("a", fmt.Sprint(i)))
		o.put(state("b", fmt.Sprint(i)))
		m, ok := o.take(turn)
		if !ok || string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("%d: got %s, %t", i, m.Payload, ok)
		}
		if m.Topic == "a" && i%2 == 1 {
			continue
		}
		if m, ok := o.take(turn); !ok || string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("%d: got %s, %t", i, m.Payload, ok)
		}
	}
}

func TestAClosedOutboxTakesNothing(t *testing.T) {
	o := newOutbox()
	if o.put(state("a", "1")) {
		t.Error("taken before it was open")
	}
	o.open()
	o.put(state("a", "1"))
	o.close()
	if o.put(state("a", "2")) {
		t.Error("taken after it was closed")
	}
	stale, _ := o.open()
	stale--
	o.put(state("a", "3"))
	if _, ok := o.take(stale); ok {
		t.Error("a connection that is over took a message")
	}
	if got := texts(o.drain()); len(got) != 1 || got[0] != "a=3" {
		t.Errorf("got %v", got)
	}
	if got := o.drain(); len(got) != 0 {
		t.Errorf("kept from before: %v", texts(got))
	}
}

func TestEventsAreBoundedTheOldestGoFirst(t *testing.T) {
	o := newOutbox()
	o.open()
	o.put(state("a", "1"))
	for i := range maxKept + 3 {
		o.put(event("e", fmt.Sprint(i)))
	}
	got := o.drain()
	if len(got) != maxKept+1 || got[0].Topic != "a" || string(got[1].Payload) != "3" {
		t.Errorf("%d messages, from %s=%s", len(got), got[1].Topic, got[1].Payload)
	}
	if o.dropped != 3 {
		t.Errorf("%d counted as dropped", o.dropped)
	}
}

func TestWhatIsAwaitedIsNotDropped(t *testing.T) {
	o := newOutbox()
	o.open()
	awaited := event("history", "1")
	awaited.Acked = func(uint64) {}
	o.put(awaited)
	for i := range 2 * maxKept {
		o.put(event("e", fmt.Sprint(i)))
	}
	got := o.drain()
	if len(got) != maxKept || got[0].Topic != "history" {
		t.Errorf("%d messages, the first is %s=%s", len(got), got[0].Topic, got[0].Payload)
	}
}

func TestASteadyStreamThroughTheOutboxAllocatesNothing(t *testing.T) {
	o := newOutbox()
	turn, _ := o.open()
	m := state("a", "1")
	run := func() {
		o.put(m)
		o.take(turn)
	}
	for range 200 {
		run()
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
