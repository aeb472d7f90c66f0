package bridge

import (
	"context"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
)

const (
	// drainAhead is how much of the journal may be sent and not acknowledged:
	// enough to fill the link, and what a lost connection makes us send again.
	drainAhead = 64
	drainEvery = 100 * time.Millisecond
	// drainAfter is how long a new connection belongs to the present: states go
	// first, the past follows.
	drainAfter = time.Second
)

// drain counts what of the journal is on its way to the broker.
type drain struct {
	more chan struct{} // holds a token when half of it has landed

	mu      sync.Mutex
	ahead   int
	session int       // counts connections: what an old one owed is void
	from    time.Time // when this one may begin
}

// reset forgets a connection.
func (d *drain) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ahead, d.from = 0, time.Time{}
	d.session++
}

// mayGo says whether one more may be sent.
func (d *drain) mayGo(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.from.IsZero() {
		d.from = now.Add(drainAfter)
	}
	if now.Before(d.from) || d.ahead >= drainAhead {
		return false
	}
	d.ahead++
	return true
}

// landed notes that one has arrived.
func (d *drain) landed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ahead = max(0, d.ahead-1)
	if d.ahead != drainAhead/2 {
		return
	}
	select {
	case d.more <- struct{}{}:
	default:
	}
}

// keepDraining moves the journal to the broker, in order and as fast as that
// acknowledges, and keeps its books.
func (b *Bridge) keepDraining(ctx context.Context) {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	landed := func(uint64) { // in order, as they were sent
		b.journal.Drained()
		b.drain.landed()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			b.draining.beat(now.Sub(b.started))
			b.journal.Tick(now)
			b.drainWhatMayGo(now, landed)
		case <-b.drain.more:
			b.drainWhatMayGo(time.Now(), landed)
		}
	}
}

func (b *Bridge) drainWhatMayGo(now time.Time, landed func(uint64)) {
	for b.link.Connected() {
		if !b.drainOne(now, landed) {
			return
		}
	}
}

// drainOne sends the oldest entry as history. false: there is none, or enough is
// on its way.
func (b *Bridge) drainOne(now time.Time, landed func(uint64)) bool {
	if !b.drain.mayGo(now) {
		return false
	}
	e, ok := b.journal.Next()
	if !ok {
		b.drain.landed()
		return false
	}
	b.keepLate(e)
	b.link.Publish(mqttlink.Message{
		Topic: topicsOf(b.config.MQTT.Base, e.Meter).history, Payload: historyOf(e),
		Keep: true, Acked: landed, Number: e.Number,
	})
	return true
}

// historyOf is an entry's state, marked as one of the past.
func historyOf(e journal.Entry) []byte {
	const mark = `{"source":"journal",`
	b := make([]byte, 0, len(e.Payload)+len(mark))
	b = append(b, mark...)
	return append(b, e.Payload[1:]...)
}
