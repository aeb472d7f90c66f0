package drivers

import (
	"context"
	"time"
)

// past is a deadline that wakes a blocked read.
var past = time.Unix(1, 0)

// WakeOnEnd wakes the read of a line that is under way when ctx ends. Whoever is done
// with the line calls release, which leaves it without a deadline: whoever has it
// next must not find this one on it later.
func WakeOnEnd(ctx context.Context, line Line) (release func()) {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = line.SetReadDeadline(past)
	})
	return func() {
		if !stop() {
			<-woken
		}
		_ = line.SetReadDeadline(time.Time{})
	}
}
