package soak

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that a test started. The kernel ends it when the tests
// die, however they die.
type process struct {
	name   string
	cmd    *exec.Cmd
	output *output
	ended  chan struct{} // closed when it is gone
	err    error         // of Wait, once ended is closed
}

// spawn starts a program that ends with the test at the latest.
func spawn(tb testing.TB, out *output, name string, args ...string) *process {
	tb.Helper()
	p := &process{name: filepath.Base(name), cmd: exec.Command(name, args...), output: out, ended: make(chan struct{})} //nolint:noctx // it ends with the test
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	tb.Cleanup(p.kill)
	return p
}

// signal sends a signal, if the process is still there.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill is kill -9, and waits for the end.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	p.signal(syscall.SIGCONT)
	<-p.ended
}

func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// stop asks it to end; it must do so by itself with exit code 0.
func (p *process) stop(tb testing.TB) {
	tb.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.kill()
		tb.Fatalf("%s does not end", p.name)
	}
	if p.err != nil {
		tb.Fatalf("%s: %v", p.name, p.err)
	}
}

// goroutines ends a Go program with SIGQUIT and counts the goroutines that it
// had, by what started them; the runtime's own are left out.
func (p *process) goroutines(tb testing.TB) map[string]int {
	tb.Helper()
	before := len(p.output.String())
	p.signal(syscall.SIGQUIT)
	<-p.ended
	if _, ok := errors.AsType[*exec.ExitError](p.err); !ok {
		tb.Fatalf("%s on SIGQUIT: %v", p.name, p.err)
	}
	count := map[string]int{}
	for line := range strings.Lines(p.output.String()[before:]) {
		starter, ok := strings.CutPrefix(line, "created by ")
		starter, _, _ = strings.Cut(strings.TrimSpace(starter), " in goroutine")
		if ok && !strings.HasPrefix(starter, "runtime") {
			count[starter]++
		}
	}
	return count
}

// usage is what a process takes.
type usage struct {
	resident, anonymous int // kB
	descriptors         int
	threads             int
	cpu                 time.Duration
}

func (u usage) String() string {
	return fmt.Sprintf("%d kB resident, %d kB anonymous, %d descriptors, %d threads", u.resident, u.anonymous, u.descriptors, u.threads)
}

// usage looks into /proc.
func (p *process) usage(tb testing.TB) usage {
	tb.Helper()
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		tb.Fatalf("%s is gone: %v\n%s", p.name, err, p.output.tail(40))
	}
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		tb.Fatal(err)
	}
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		tb.Fatal(err)
	}
	return usage{
		resident: statusField(status, "VmRSS:"), anonymous: statusField(status, "RssAnon:"),
		threads: statusField(status, "Threads:"), descriptors: len(files), cpu: cpuOf(stat),
	}
}

func statusField(status []byte, name string) int {
	_, rest, _ := bytes.Cut(status, []byte(name))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(string(fields[0])) // the kernel's numbers are numbers
	return n
}

// cpuOf is the time that a process has run, of /proc/PID/stat: fields 14 and 15,
// in hundredths of a second on every Linux.
func cpuOf(stat []byte) time.Duration {
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	fields := strings.Fields(string(rest))
	sum := 0
	for _, f := range fields[11:13] {
		n, _ := strconv.Atoi(f)
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// output keeps what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

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

// lines are the first few with a word.
func (o *output) lines(word string) string {
	var few []string
	for line := range strings.Lines(o.String()) {
		if strings.Contains(line, word) && len(few) < 20 {
			few = append(few, line)
		}
	}
	return strings.Join(few, "")
}
