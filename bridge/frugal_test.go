package bridge

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// forced is how often the runtime was told to collect.
func forced() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumForcedGC
}

// litter leaves memory idle that the runtime keeps.
func litter() {
	b := make([]byte, 64<<20)
	for i := range b {
		b[i] = 1
	}
	runtime.KeepAlive(b)
	runtime.GC() // it is dead from here on
}

func TestIdleMemoryIsGivenBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // nobody else collects or gives back
	var thrift thrift
	for _, step := range []struct {
		what       string
		sinceStart time.Duration
		litter     bool
		want       uint32
	}{
		{"while it starts", 9 * time.Second, true, 0},
		{"once it has started", 10 * time.Second, false, 1},
		{"a minute later, with nothing idle", 71 * time.Second, false, 0},
		{"soon after", 80 * time.Second, true, 0},
		{"another minute later", 132 * time.Second, false, 1},
	} {
		if step.litter {
			litter()
		}
		before := forced()
		thrift.tick(start.Add(step.sinceStart), step.sinceStart)
		if got := forced() - before; got != step.want {
			t.Errorf("%s: given back %d times, want %d", step.what, got, step.want)
		}
	}
}
