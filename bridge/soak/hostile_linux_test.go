package soak

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// attacks are what a program on the same broker can throw at the gateway.
var attacks = []struct {
	name  string
	pace  time.Duration
	topic string
	body  []byte
}{
	{"a request", 200 * time.Microsecond, base + "/bridge/request/x", []byte("{}")},
	{"home assistant's birth", 200 * time.Microsecond, "homeassistant/status", []byte("online")},
	{"a request of 1 MB", 200 * time.Millisecond, base + "/bridge/request/reload", bytes.Repeat([]byte("["), 1<<20)},
	{"a status of 1 MB", 200 * time.Millisecond, "homeassistant/status", make([]byte, 1<<20)},
	{"a request that is no text", time.Millisecond, base + "/bridge/request/reload", []byte("\xff\xfe{\"id\":\"\xc3\x28\"}\x00")},
	{"a status that is no text", time.Millisecond, "homeassistant/status", []byte("\xff\x00\xc0\xaf")},
}

// flooded is how many kB more the gateway may hold after a flood with payloads
// of 1 MB: some of them, not all.
const flooded = 48 << 10

func TestHostileBroker(t *testing.T) {
	t.Parallel()
	lasts := length(t, 5*time.Second, time.Minute)
	w := newWorld(t, pace)
	before := w.gateway.usage(t)

	stop := make(chan struct{})
	var working sync.WaitGroup
	var thrown atomic.Int64
	for _, a := range attacks {
		client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + w.broker.address).SetClientID(a.name).SetAutoReconnect(false))
		wait(t, client.Connect())
		working.Go(func() {
			defer client.Disconnect(100)
			tick := time.NewTicker(a.pace)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					client.Publish(a.topic, 0, false, a.body)
					thrown.Add(1)
				}
			}
		})
	}
	start := time.Now()
	most := before
	slowest := time.Duration(0)
	for time.Since(start) < lasts {
		asked := time.Now()
		w.ledger.reach(w.meter) // readings go on
		slowest = max(slowest, time.Since(asked))
		if now := w.gateway.usage(t); now.anonymous > most.anonymous {
			most = now
		}
	}
	rate := float64(thrown.Load()) / time.Since(start).Seconds()
	close(stop)
	working.Wait()

	w.ledger.reach(w.meter)
	w.ledger.online()
	w.meter.pause(true)
	w.gateway.drained(t)
	w.ledger.settled(w.meter, nothing)
	w.ledger.verdict()
	if most.anonymous > before.anonymous+flooded {
		t.Errorf("the gateway's memory grew from %d to %d kB", before.anonymous, most.anonymous)
	}
	w.answers(t)
	t.Logf("%.0f hostile messages a second for %s: %d telegrams, none lost; the state was at most %s behind two telegrams; the gateway before: %v; at most: %v; %v",
		rate, lasts, w.meter.count(), slowest.Round(time.Millisecond), before, most, w.ledger)
	w.gateway.stop(t)
}

// answers waits for the answer to a request: nobody's flood keeps it away.
func (w *world) answers(t *testing.T) {
	t.Helper()
	const request, answer = base + "/bridge/request/hello", base + "/bridge/response/hello"
	until(t, func() string {
		wait(t, w.ledger.client.Publish(request, 1, false, `{"id":7}`))
		if got := w.ledger.topic(answer); !bytes.Contains([]byte(got), []byte(`"id":7`)) {
			return fmt.Sprintf("%s is %q", answer, got)
		}
		return ""
	})
}
