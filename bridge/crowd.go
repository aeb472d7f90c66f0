package bridge

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// maxAsked is how many lines ask their meters at the same time: what an exchange
	// takes of memory, and of the network, thousands do not take together.
	maxAsked = 128
	// hogTime is how long an exchange counts among them. A meter that hangs holds up
	// none of the others for longer.
	hogTime = 10 * time.Second
)

// crowd are the lines that want to ask their meters; nil: they need not wait for one
// another.
type crowd struct{ room *semaphore.Weighted }

func newCrowd(most int64) *crowd { return &crowd{semaphore.NewWeighted(most)} }

// enter waits for its turn; who came first has it first. leave gives the room back.
// The error is that of ctx.
func (c *crowd) enter(ctx context.Context) (leave func(), err error) {
	if c == nil {
		return func() {}, nil
	}
	if err := c.room.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	once := sync.OnceFunc(func() { c.room.Release(1) })
	hog := time.AfterFunc(hogTime, once)
	return func() {
		hog.Stop()
		once()
	}, nil
}
