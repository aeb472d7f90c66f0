package bridge

import (
	"os"
	"runtime"
	"runtime/debug"
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
