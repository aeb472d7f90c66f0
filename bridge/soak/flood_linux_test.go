package soak

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// Lines that always have something to say keep the process busy, and a line that was
// interrupted waits longer for its turn than a meter may pause in a telegram. No
// telegram is taken for cut, and no line for dead, because of that.
func TestMoreIsSaidThanCanBeRead(t *testing.T) {
	c := newCrowd(t, 300)
	end := time.Now().Add(length(t, 2*time.Second, 20*time.Second))
	p := c.listener(t)
	c.connect(t)
	var work sync.WaitGroup
	for i := range c.lines {
		work.Go(func() {
			for time.Now().Before(end) {
				if err := c.say(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	c.hangUp()
	until(t, func() string { return missing(p.output, "good ") })
	want := fmt.Sprintf("good %d", c.said())
	if got := p.output.tail(1); got != want {
		t.Fatalf("sent: %s, came: %s; %d frames or lines were lost:\n%s", want, got, strings.Count(p.output.String(), "tcp://"), p.output.lines("tcp://"))
	}
	t.Logf("%d telegrams on %d lines, none lost", c.said(), len(c.lines))
}
