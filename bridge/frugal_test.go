package bridge

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// given is how much memory the system has back.
func given() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapReleased
}

func TestMemoryIsGivenBackOnceTheGatewayHasSettled(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // nobody else collects or gives back
	const size = 64 << 20
	var thrift thrift
	for _, step := range []struct {
		what         string
		now, learned time.Duration
		want         bool
	}{
		{"just started", time.Second, 0, false},
		{"settled", 10 * time.Second, 0, true},
		{"nothing new since", time.Hour, 0, false},
		{"something new", 2*time.Hour + time.Second, 2 * time.Hour, false},
		{"settled again", 2*time.Hour + settledAfter, 2 * time.Hour, true},
	} {
		litter := make([]byte, size)
		for i := range litter {
			litter[i] = 1
		}
		runtime.KeepAlive(litter)
		before := given()
		thrift.tick(start.Add(step.now), start.Add(step.learned))
		if got := given() > before+size/2; got != step.want {
			t.Errorf("%s: given back is %t", step.what, got)
		}
	}
}
