package bridge

import (
	"testing"
	"time"
)

func TestTheJournalGoesOnAsSoonAsHalfOfItHasLanded(t *testing.T) {
	d := drain{more: make(chan struct{}, 1)}
	d.mayGo(start) // a new connection belongs to the present at first
	now := start.Add(drainAfter)
	sent := 0
	for d.mayGo(now) {
		sent++
	}
	if sent != drainAhead {
		t.Fatalf("%d entries on their way, want %d", sent, drainAhead)
	}
	for i := range drainAhead / 2 {
		if len(d.more) > 0 {
			t.Fatalf("told to go on after %d", i)
		}
		d.landed()
	}
	if len(d.more) != 1 || !d.mayGo(now.Add(time.Millisecond)) {
		t.Error("nothing says that there is room again")
	}
}
