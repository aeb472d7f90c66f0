package bridge

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Frugal sets the Go runtime up for a gateway: tiny tasks, each handed on by the
// one before, and long rests between. What GOMAXPROCS and GOGC say, stands.
//
// # Decision: one processor
//
// With two, each hand-over wakes the other processor's thread, which finds the work
// taken and sleeps again: a third of the CPU of a telegram on its way to the broker.
// One is enough for tens of thousands of telegrams a second. What blocks in the
// kernel, a slow disk, does not hold up the rest: the runtime lends its processor on.
//
// # Decision: collect at half
//
// Next to nothing is allocated in the steady state, so what a start leaves behind
// stays for long; half as much may gather before it is collected.
func Frugal() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// settledAfter is when the start is over: lines are open, meters announced.
const settledAfter = 10 * time.Second

// thrift gives memory back that is not needed any more.
//
// # Decision: by hand, once the start is over
//
// A start takes several times what is needed then: configuration, announcements,
// the memory that is saved. The runtime keeps as much for long, since next to
// nothing is allocated that would make it look. So it is told once, and later when
// more lies idle than is in use.
type thrift struct {
	settled bool
	looked  time.Time
}

// tick looks once a minute. Collecting takes a millisecond for a few meters, a
// third of a second for ten thousand.
func (t *thrift) tick(now time.Time, sinceStart time.Duration) {
	switch {
	case !t.settled && sinceStart >= settledAfter:
		t.settled = true
	case t.settled && now.Sub(t.looked) >= time.Minute:
		if t.looked = now; !wasteful() {
			return
		}
	default:
		return
	}
	t.looked = now
	debug.FreeOSMemory()
}

// wasteful says whether more memory lies idle than is in use.
func wasteful() bool {
	m := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(m)
	return m[0].Value.Uint64() > m[1].Value.Uint64()
}
