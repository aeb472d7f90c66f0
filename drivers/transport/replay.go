package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// replayLine plays a recording. What was received comes at the recorded pace.
// What was sent is waited for: as many bytes have to be written before it goes
// on, so that a session gets its answers after its questions, and one that asks
// too little gets none.
type replayLine struct {
	port Port
	file *os.File

	mu       sync.Mutex
	entries  *entries
	next     *Entry        // what is to come first; nil: not read yet
	err      error         // why nothing comes any more
	began    time.Time     // when the recording's time 0 was; zero: not yet
	at       time.Duration // the recording's time of the entry before
	written  int           // bytes written beyond what was waited for
	deadline time.Time
	wake     chan struct{} // closed when a waiting read must look again
}

func openReplay(port Port) (drivers.Line, error) {
	file, err := os.Open(port.Path)
	if err != nil {
		return nil, refusal(port, err, "is the path right, also seen from the working directory?", "make the file readable for this user")
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		file.Close()
		return nil, drivers.WithHint(fmt.Errorf("%s: is a directory", port), "name a file that `meter2mqtt record` made")
	}
	return &replayLine{port: port, file: file, entries: newEntries(file), wake: make(chan struct{})}, nil
}

// Read gives what was recorded once its time has come, and io.EOF at the end.
func (l *replayLine) Read(p []byte) (int, error) {
	for {
		n, wait, err := l.take(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		wait.sleep()
	}
}

// pause is what a read waits for: time, if limited, or being woken.
type pause struct {
	limited bool
	time    time.Duration
	wake    <-chan struct{}
}

func (p pause) sleep() {
	if !p.limited {
		<-p.wake
		return
	}
	t := time.NewTimer(p.time)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.wake:
	}
}

// until shortens the pause to d.
func (p *pause) until(d time.Duration) {
	if !p.limited || d < p.time {
		p.limited, p.time = true, d
	}
}

// take copies what has come, or tells how long to wait for it.
func (l *replayLine) take(p []byte) (int, pause, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := pause{wake: l.wake}
	if errors.Is(l.err, os.ErrClosed) {
		return 0, wait, l.err
	}
	if !l.deadline.IsZero() {
		left := time.Until(l.deadline)
		if left <= 0 {
			return 0, wait, fmt.Errorf("%s: %w", l.port, os.ErrDeadlineExceeded)
		}
		wait.until(left)
	}
	due, known := l.due()
	switch {
	case l.err != nil:
		return 0, wait, l.err
	case !known:
		return 0, wait, nil
	case due > 0:
		wait.until(due)
		return 0, wait, nil
	}
	n := copy(p, l.next.Data)
	l.drop(n)
	return n, wait, nil
}

// due is how long it takes until l.next, which was received, comes. Not known:
// something has to be written first, or l.err says that nothing comes.
func (l *replayLine) due() (time.Duration, bool) {
	if l.began.IsZero() {
		l.began = time.Now()
	}
	for l.load() {
		if l.next.Dir == Received {
			return time.Until(l.began.Add(l.paced(l.next.At))), true
		}
		if l.written < len(l.next.Data) {
			return 0, false
		}
		// The answer takes its recorded time from when it was asked for.
		l.written -= len(l.next.Data)
		l.began = time.Now().Add(-l.paced(l.next.At))
		l.next = nil
	}
	return 0, false
}

// load sees to it that l.next is there. Recordings that were joined begin their
// time anew: what goes back comes at once, and the rest at its pace.
func (l *replayLine) load() bool {
	if l.next != nil || l.err != nil {
		return l.err == nil
	}
	for {
		e, err := l.entries.next()
		if err != nil {
			l.err = l.ended(err)
			return false
		}
		if len(e.Data) == 0 || l.port.Meter != "" && e.Meter != l.port.Meter {
			continue
		}
		if e.At < l.at {
			l.began = l.began.Add(l.paced(l.at) - l.paced(e.At))
		}
		l.at, l.next = e.At, &e
		return true
	}
}

func (l *replayLine) ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("%s: %w", l.port, err)
}

// paced is a time of the recording at the speed of the replay.
func (l *replayLine) paced(at time.Duration) time.Duration {
	if l.port.Speed == 0 {
		return 0
	}
	return time.Duration(min(float64(at)/l.port.Speed, float64(maxAt)))
}

// drop takes n bytes off the next entry.
func (l *replayLine) drop(n int) {
	l.next.Data = l.next.Data[n:]
	if len(l.next.Data) == 0 {
		l.next = nil
	}
}

// awake has a waiting read look again.
func (l *replayLine) awake() {
	close(l.wake)
	l.wake = make(chan struct{})
}

// Write counts towards what the recording sent.
func (l *replayLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.err, os.ErrClosed) {
		return 0, l.err
	}
	l.written += len(p)
	l.awake()
	return len(p), nil
}

// SetReadDeadline also wakes a read that is under way.
func (l *replayLine) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	l.awake()
	return nil
}

// SetMode changes nothing: what was recorded came through the right mode.
func (l *replayLine) SetMode(drivers.Mode) error { return nil }

// Discard drops what has come by now.
func (l *replayLine) Discard() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		due, known := l.due()
		if !known || due > 0 {
			return nil
		}
		l.drop(len(l.next.Data))
	}
}

// Flush has nothing to wait for.
func (l *replayLine) Flush(ctx context.Context) error { return ctx.Err() }

// Close also wakes whoever reads.
func (l *replayLine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.err, os.ErrClosed) {
		return l.err
	}
	l.err = fmt.Errorf("%s: %w", l.port, os.ErrClosed)
	l.awake()
	return l.file.Close()
}

// String is the port as configured.
func (l *replayLine) String() string { return l.port.String() }
