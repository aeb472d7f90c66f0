package bridge

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxWaiting commands may wait for a line; more are refused.
	maxWaiting = 16
	// patience is how long a command may wait for its line, longer than a piece of a
	// meter's log takes: what was wanted then may not be wanted any more.
	patience = 3 * time.Minute
	// commandTime bounds one command on the line, sign-on and reading back
	// included.
	commandTime = 5 * time.Minute
)

// queue holds the commands that wait for a line. It is shut while the line is not
// open: what cannot be done now is refused rather than done some day.
type queue struct {
	mu      sync.Mutex
	isOpen  bool
	waiting []*command
	filled  chan struct{} // holds a token when something was put in
}

func newQueue() *queue { return &queue{filled: make(chan struct{}, 1)} }

// put adds a command, or says why not. Once its patience is over it is taken out
// and late is called.
func (q *queue) put(c *command, late func()) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case !q.isOpen:
		return errOffline
	case len(q.waiting) >= maxWaiting:
		return errBusy
	}
	c.timer = time.AfterFunc(patience, func() {
		if q.drop(c) {
			late()
		}
	})
	q.waiting = append(q.waiting, c)
	select {
	case q.filled <- struct{}{}:
	default:
	}
	return nil
}

// drop takes a command out; false: it was taken already.
func (q *queue) drop(c *command) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, c)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// take is the oldest command, or nil.
func (q *queue) take() *command {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil
	}
	c := q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	c.timer.Stop()
	return c
}

func (q *queue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.isOpen = true
}

// shut lets nothing in any more and gives what still waits.
func (q *queue) shut() []*command {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.isOpen = false
	left := q.waiting
	q.waiting = nil
	for _, c := range left {
		c.timer.Stop()
	}
	return left
}

// nudge has whoever waits for the queue look again; false: the line is not open.
func (q *queue) nudge() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.isOpen {
		return false
	}
	select {
	case q.filled <- struct{}{}:
	default:
	}
	return true
}
