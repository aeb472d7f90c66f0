package bridge

import (
	"context"
	"sync"
)

// lines are the goroutines that read meters, one a port. One can be stopped while
// the others go on.
type lines struct {
	mu      sync.Mutex
	running map[string]*running
}

type running struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// start runs read until the line is stopped or ctx ends.
func (l *lines) start(ctx context.Context, key string, read func(context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	r := &running{cancel, make(chan struct{})}
	if l.running == nil {
		l.running = map[string]*running{}
	}
	l.running[key] = r
	go func() {
		defer close(r.done)
		defer cancel()
		read(ctx)
	}()
}

// stop ends a line and waits until its port is free.
func (l *lines) stop(key string) {
	l.mu.Lock()
	r := l.running[key]
	delete(l.running, key)
	l.mu.Unlock()
	if r == nil {
		return
	}
	r.cancel()
	<-r.done
}

// wait waits until all have ended.
func (l *lines) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.running {
		<-r.done
	}
}
