// Package peertest starts the programs that this code did not come from: simulated
// meters and readers by other people, which lie beside the repository in
// ../shared/peers and are written in Python. Only tests import it.
//
// A test whose program is not there is skipped, and fails in CI.
package peertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Script is one of those programs.
type Script struct {
	Name    string   // its file in ../shared/peers
	Modules []string // the Python packages that it needs
	Env     []string // KEY=VALUE, beside the environment of the test
}

// Peer is a program at work. It ends with the test.
type Peer struct {
	// At is where its meter is: HOST:PORT, or the path of a terminal.
	At string

	t     *testing.T
	in    io.Writer
	says  string // the file of what it prints
	read  int    // the lines of it that were waited for
	cmd   *exec.Cmd
	ended chan struct{}
}

// Start starts a program that serves a meter. It returns when that listens, which
// the program says in its first line as {"listening": …} or {"pty": …}.
func (s Script) Start(t *testing.T, args ...string) *Peer {
	t.Helper()
	p := &Peer{t: t, says: filepath.Join(t.TempDir(), "says"), cmd: s.command(t, args), ended: make(chan struct{})}
	out, err := os.Create(p.says)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = out, os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() { <-p.ended; _ = out.Close() }) // t.Context has killed it
	var at struct{ Listening, PTY string }
	if line := p.Next(); json.Unmarshal([]byte(line), &at) != nil {
		t.Fatalf("%s says %q", s.Name, line)
	}
	at.Listening = strings.TrimPrefix(at.Listening, "tcp://")
	p.At = strings.TrimPrefix(at.Listening, "pty:") + at.PTY
	return p
}

// Run runs a program to its end, and gives what it printed. What it complained of
// is in the error.
func (s Script) Run(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	out, err := s.command(t, args).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %.600s", err, exit.Stderr)
	}
	return out, err
}

// Path is where the program is; without it the test ends here.
func (s Script) Path(t *testing.T) string {
	t.Helper()
	path, err := beside(s.Name)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err == nil {
		err = s.runs()
	}
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("%s is not here: %v", s.Name, err)
	case err != nil:
		t.Skipf("%s is not here: %v", s.Name, err)
	}
	return path
}

// beside is where a file of ../shared/peers is, from the module's root.
func beside(name string) (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, errRoot := os.Stat(filepath.Join(dir, "go.mod")); errRoot == nil {
			return filepath.Join(filepath.Dir(dir), "shared", "peers", name), nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// tried are the imports that were tried, for they take a while.
var tried struct {
	sync.Mutex

	imports map[string]error
}

// python is the interpreter.
const python = "python3"

// runs tells whether it is there and has the packages.
func (s Script) runs() error {
	tried.Lock()
	defer tried.Unlock()
	program := "import " + strings.Join(append([]string{"sys"}, s.Modules...), ", ")
	err, known := tried.imports[program]
	if known {
		return err
	}
	out, err := exec.Command(python, "-c", program).CombinedOutput() //nolint:noctx // the answer is for all tests
	if err != nil {
		err = fmt.Errorf("%w %s", err, out)
	}
	if tried.imports == nil {
		tried.imports = map[string]error{}
	}
	tried.imports[program] = err
	return err
}

func (s Script) command(t *testing.T, args []string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, append([]string{s.Path(t)}, args...)...)
	cmd.Env = append(os.Environ(), s.Env...)
	return cmd
}

// Lines are the whole lines that the program has printed so far.
func (p *Peer) Lines() (lines []string) {
	p.t.Helper()
	text, err := os.ReadFile(p.says)
	if err != nil {
		p.t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if whole, ended := strings.CutSuffix(l, "\n"); ended {
			lines = append(lines, whole)
		}
	}
	return lines
}

// Next waits for the next line that the program prints.
func (p *Peer) Next() string {
	p.t.Helper()
	for ended := false; ; {
		if lines := p.Lines(); len(lines) > p.read {
			p.read++
			return lines[p.read-1]
		}
		if ended {
			p.t.Fatalf("%s ended: %v", p.cmd.Args, p.cmd.ProcessState)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-p.ended:
			ended = true
		}
	}
}

// Say writes a line to the program.
func (p *Peer) Say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// End asks the program to end, and waits until it has.
func (p *Peer) End() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	<-p.ended
}
