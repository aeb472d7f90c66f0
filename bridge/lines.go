package bridge

import (
	"context"
	"sync"
)

// lines are the goroutines that read meters, by the meter's name. One can be
// stopped while the others go on.
type lines struct {
	ctx context.Context //nolint:containedctx // of Run, which waits for all that begins under it

	mu      sync.Mutex
	running map[string]*running
}

type running struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin sets what ends all of them.
func (l *lines) begin(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx, l.running = ctx, map[string]*running{}
}

// start runs read until the line is stopped.
func (l *lines) start(name string, read func(context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithCancel(l.ctx)
	r := &running{cancel, make(chan struct{})}
	l.running[name] = r
	go func() {
		defer close(r.done)
		defer cancel()
		read(ctx)
	}()
}

// stop ends a line and waits until its port is free.
func (l *lines) stop(name string) {
	l.mu.Lock()
	r := l.running[name]
	delete(l.running, name)
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
