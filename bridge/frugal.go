package bridge

import (
	"os"
	"runtime"
	"runtime/debug"
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

// settledAfter is how long after something was learned the gateway has settled.
const settledAfter = 10 * time.Second

// thrift gives memory back that is not needed any more.
//
// # Decision: by hand, once all is known
//
// To start and to learn of meters takes several times what is needed then:
// configuration, announcements, the memory that is saved. The runtime keeps as much
// for long, since next to nothing is allocated that would make it look. So it is
// told, a while after something was learned last; each save counts as that.
type thrift struct{ given time.Time }

// tick gives memory back if the gateway has settled. That takes a millisecond or two
// with a few meters, half a second of CPU with ten thousand.
func (t *thrift) tick(now, learned time.Time) {
	if !learned.After(t.given) || now.Sub(learned) < settledAfter {
		return
	}
	t.given = now
	runtime.GC() // each halves a stack at most, and announcements are deep
	debug.FreeOSMemory()
}
