package soak

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// pace compresses time: twenty telegrams a second.
const pace = 50 * time.Millisecond

// grown is how many kB more the gateway may hold after an ordeal: the garbage
// collector's breath, no more.
const grown = 8 << 10

// world is a meter, a gateway, a broker, and a subscriber that books.
type world struct {
	meter   *meter
	broker  *broker
	proxy   *proxy
	gateway *gateway
	ledger  *ledger
}

func newWorld(t *testing.T, pace time.Duration) *world {
	t.Helper()
	w := &world{broker: newBroker(t), meter: newMeter(t, pace)}
	w.proxy = newProxy(t, w.broker.address)
	w.ledger = newLedger(t, w.broker)
	w.gateway = newGateway(t, w.proxy.address, meterTable("main", w.meter.address()))
	w.ledger.reach(w.meter)
	w.ledger.online()
	return w
}

// flat fails the test if the gateway has grown since before.
func (w *world) flat(t *testing.T, before usage) {
	t.Helper()
	now := w.gateway.usage(t)
	t.Logf("the gateway before: %v; now: %v", before, now)
	if now.anonymous > before.anonymous+grown {
		t.Errorf("the gateway's memory grew from %d to %d kB", before.anonymous, now.anonymous)
	}
}

// sameDescriptors waits until the gateway has no more descriptors than before.
func (w *world) sameDescriptors(t *testing.T, before usage) {
	t.Helper()
	until(t, func() string {
		if now := w.gateway.usage(t).descriptors; now > before.descriptors {
			return fmt.Sprintf("the gateway has %d descriptors, had %d", now, before.descriptors)
		}
		return ""
	})
}

func TestBrokerIsKilled(t *testing.T) {
	t.Parallel()
	away := length(t, 5*time.Second, time.Minute)
	pace := length(t, pace, time.Second)
	w := newWorld(t, pace)
	before := w.gateway.usage(t)

	w.proxy.refuse()
	w.broker.kill()
	pass(away)
	w.flat(t, before)
	w.broker.start(t)
	w.ledger.connect(w.broker)
	w.proxy.open(t)

	w.ledger.reach(w.meter)
	w.ledger.online()
	w.meter.pause(true)
	w.gateway.drained(t)
	w.ledger.settled(w.meter, nothing)
	w.ledger.verdict()
	w.flat(t, before)
	w.sameDescriptors(t, before)
	t.Logf("broker away for %s: %d telegrams sent, none lost; %v", away, w.meter.count(), w.ledger)
	w.gateway.stop(t)
}

// What may be missing after kill -9: while the broker is there, what it had not
// acknowledged; while it is away, what may not have reached the process yet.
const (
	unacknowledged = 2 * time.Second
	unread         = 250 * time.Millisecond
)

// killing is one kill -9.
type killing struct {
	at     time.Time
	client int // the meter's connection that died with it
	bound  time.Duration
}

// excuses says whether a telegram may have died with the gateway.
func (k killing) excuses(s sending) bool {
	return s.client == k.client && !s.at.Before(k.at.Add(-k.bound))
}

func TestGatewayIsKilled(t *testing.T) {
	t.Parallel()
	kills := length(t, 8, 200)
	const seed = 20260203
	random := rand.New(rand.NewPCG(seed, 4))
	w := newWorld(t, pace)

	var killed []killing
	var away time.Time // since when; zero: the broker is there
	for range kills {
		switch turn := random.IntN(2); {
		case turn == 0 && away.IsZero():
			w.proxy.refuse()
			away = time.Now()
		case turn == 1 && !away.IsZero():
			w.proxy.open(t)
			away = time.Time{}
		}
		pass(time.Duration(random.Int64N(int64(1500 * time.Millisecond))))
		bound := unacknowledged
		if !away.IsZero() && time.Since(away) > unread {
			bound = unread // it has heard that the broker went
		}
		clients := w.meter.clientsSoFar()
		killed = append(killed, killing{time.Now(), clients, bound})
		w.gateway.kill()
		w.gateway.start(t)
		until(t, func() string {
			if w.meter.clientsSoFar() == clients {
				return "the gateway does not come back to its meter"
			}
			return ""
		})
	}
	if !away.IsZero() {
		w.proxy.open(t)
	}
	w.ledger.reach(w.meter)
	w.ledger.online()
	w.meter.pause(true)

	sent, _ := w.meter.log()
	excused := func(n int64) bool {
		for _, k := range killed {
			if k.excuses(sent[n]) {
				return true
			}
		}
		return false
	}
	w.gateway.drained(t)
	w.ledger.settled(w.meter, excused)
	w.ledger.verdict()
	t.Logf("%d kills: %s; %v", kills, lossByKill(killed, sent, w.ledger.missing(int64(len(sent)))), w.ledger)
	w.gateway.stop(t)
}

// lossByKill tells how much time's telegrams the worst kill cost, by whether the
// broker was there.
func lossByKill(killed []killing, sent []sending, missing []int64) string {
	worst := map[time.Duration]time.Duration{}
	lost := map[time.Duration]int{}
	kills := map[time.Duration]int{}
	for _, k := range killed {
		kills[k.bound]++
		for _, n := range missing {
			s := sent[n]
			if s.client != k.client || s.at.After(k.at) {
				continue
			}
			lost[k.bound]++
			worst[k.bound] = max(worst[k.bound], k.at.Sub(s.at))
		}
	}
	return fmt.Sprintf("with the broker there %d kills, %d telegrams lost, the oldest %s before its kill; with it away %d kills, %d lost, the oldest %s",
		kills[unacknowledged], lost[unacknowledged], worst[unacknowledged].Round(time.Millisecond),
		kills[unread], lost[unread], worst[unread].Round(time.Millisecond))
}

func TestConnectionIsCut(t *testing.T) {
	t.Parallel()
	cuts := length(t, 20, 500)
	const seed = 20260201
	random := rand.New(rand.NewPCG(seed, 4))
	w := newWorld(t, pace/2)
	before := w.gateway.usage(t)

	for done := 0; done < cuts; {
		until(t, func() string {
			if w.proxy.connections() == 0 {
				return "the gateway does not come back to the broker"
			}
			return ""
		})
		pass(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
		if random.IntN(4) == 0 {
			w.proxy.stall(true)
			pass(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
			if random.IntN(2) == 0 {
				w.proxy.stall(false)
				pass(time.Duration(random.Int64N(int64(20 * time.Millisecond))))
			}
		}
		done += w.proxy.cut()
		w.proxy.stall(false)
	}
	w.ledger.reach(w.meter)
	w.ledger.online()
	w.meter.pause(true)
	w.gateway.drained(t)
	w.ledger.settled(w.meter, nothing)
	w.ledger.verdict()
	w.flat(t, before)
	w.sameDescriptors(t, before)
	after := w.gateway.goroutines(t)
	w.gateway.start(t)
	w.meter.pause(false)
	w.ledger.reach(w.meter)
	fresh := w.gateway.goroutines(t)
	for starter, n := range after {
		if n > fresh[starter] {
			t.Errorf("after %d cuts %d goroutines were started by %s, in a fresh gateway %d", cuts, n, starter, fresh[starter])
		}
	}
	t.Logf("%d cuts: %d telegrams sent, none lost; %v; goroutines were started by %d functions, in a fresh gateway by %d",
		cuts, w.meter.count(), w.ledger, len(after), len(fresh))
}

func TestBrokerStalls(t *testing.T) {
	t.Parallel()
	stall := length(t, 5*time.Second, time.Minute)
	w := newWorld(t, pace)
	before := w.gateway.usage(t)

	w.broker.signal(syscall.SIGSTOP)
	pass(stall)
	w.flat(t, before)
	w.broker.signal(syscall.SIGCONT)

	w.ledger.reach(w.meter)
	w.ledger.online()
	w.meter.pause(true)
	w.gateway.drained(t)
	w.ledger.settled(w.meter, nothing)
	w.ledger.verdict()
	_, slowest := w.meter.log()
	if slowest > time.Second {
		t.Errorf("the meter's line waited for %s", slowest)
	}
	w.flat(t, before)
	t.Logf("broker stalled for %s: %d telegrams sent, none lost, the slowest taken from the line in %s; %v",
		stall, w.meter.count(), slowest.Round(time.Microsecond), w.ledger)
	w.gateway.stop(t)
}
