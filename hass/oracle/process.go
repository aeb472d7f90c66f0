package oracle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a program that the tests started, its output kept.
type child struct {
	guard  *guard
	cmd    *exec.Cmd
	output *output
	ended  chan struct{} // closed when it is gone
	err    error         // of Wait, once ended is closed
}

// spawn starts cmd under the guard. What it writes to standard error goes to
// out, and to standard output too unless cmd says where.
func spawn(g *guard, cmd *exec.Cmd, out *output) (*child, error) {
	cmd.Stderr = out
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.WaitDelay = 5 * time.Second // for output that its own children hold open
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := g.watch(cmd.Process); err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	c := &child{guard: g, cmd: cmd, output: out, ended: make(chan struct{})}
	go c.wait()
	return c, nil
}

func (c *child) wait() {
	defer close(c.ended)
	c.err = errors.Join(c.cmd.Wait(), c.guard.forget(c.cmd.Process))
}

// gone says whether it has ended.
func (c *child) gone() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// stop asks it to end and returns what it ended with; one that does not end
// within limit is killed, which is an error.
func (c *child) stop(sig os.Signal, limit time.Duration) error {
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.ended:
		return c.err
	case <-time.After(limit):
	}
	err := c.cmd.Process.Kill()
	<-c.ended
	return errors.Join(fmt.Errorf("still there %v after %v", limit, sig), err)
}

// kill ends it at once, without a chance to clean up.
func (c *child) kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself
	<-c.ended
}

// output keeps what processes write, for reading while they run.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps p.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String is all that was written so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// tail is the last n lines.
func (o *output) tail(n int) string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
