package oracle

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stopLimit is how long the gateway may take to end when it is asked to.
const stopLimit = 15 * time.Second

// Process is a gateway at work: `meter2mqtt run -c CONFIG`.
type Process struct {
	oracle *Oracle
	config string // the file
	state  string // the folder
	stderr *output
	child  *child
}

// Run starts the gateway with a configuration, in which $BROKER stands for the
// broker's URL, $STATE for a folder of this test's own, $API and $TOKEN_FILE for
// Home Assistant's WebSocket API. It is stopped at the
// end of the test at the latest, and the test fails if it does not end with
// exit code 0.
func (o *Oracle) Run(t *testing.T, config string) *Process {
	t.Helper()
	dir := t.TempDir()
	p := &Process{
		oracle: o, config: filepath.Join(dir, "config.toml"), state: filepath.Join(dir, "state"), stderr: &output{},
	}
	p.Configure(t, config)
	p.Start(t)
	t.Cleanup(func() { p.finish(t) })
	return p
}

// Configure writes another configuration, for the next Start or Reload.
func (p *Process) Configure(t *testing.T, config string) {
	t.Helper()
	text := os.Expand(config, func(name string) string {
		switch name {
		case "BROKER":
			return p.oracle.Broker.URL()
		case "STATE":
			return p.state
		case "API":
			return p.oracle.ha.api()
		case "TOKEN_FILE":
			return filepath.Join(p.oracle.ha.dir, "token")
		}
		t.Fatalf("the configuration names $%s: only $BROKER, $STATE, $API and $TOKEN_FILE are known", name)
		return ""
	})
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Reload lets it read its configuration again while it runs.
func (p *Process) Reload(t *testing.T) {
	t.Helper()
	if err := p.child.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// Start starts it again after Stop or Kill, with the same configuration and the
// same state.
func (p *Process) Start(t *testing.T) {
	t.Helper()
	binary, err := p.oracle.binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "run", "-c", p.config) //nolint:noctx // ended by Stop
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "METER2MQTT_") })
	c, err := spawn(p.oracle.guard, cmd, p.stderr)
	if err != nil {
		t.Fatal(err)
	}
	p.child = c
}

// Stop asks it to end, as systemd and Docker do, and fails the test unless it
// ends by itself with exit code 0.
func (p *Process) Stop(t *testing.T) {
	t.Helper()
	if err := p.child.stop(syscall.SIGTERM, stopLimit); err != nil {
		t.Errorf("the gateway did not end well: %v\n%s", err, p.stderr.tail(40))
	}
}

// Kill ends it as a power cut would.
func (p *Process) Kill(t *testing.T) {
	t.Helper()
	if p.child.gone() {
		t.Errorf("the gateway had ended by itself: %v\n%s", p.child.err, p.stderr.tail(40))
	}
	p.child.kill()
}

// Restart is Stop and Start.
func (p *Process) Restart(t *testing.T) {
	t.Helper()
	p.Stop(t)
	p.Start(t)
}

// Stderr is all that it has logged so far, over all its starts.
func (p *Process) Stderr() string { return p.stderr.String() }

// Running says why the gateway does not run, or nil: for conditions that would
// otherwise be waited for in vain.
func (p *Process) Running() error {
	if p.child.gone() {
		return fatal(errors.Join(errors.New("the gateway ended: "+p.stderr.tail(40)), p.child.err))
	}
	return nil
}

// finish stops it at the end of a test, and shows its log if the test failed.
func (p *Process) finish(t *testing.T) {
	t.Helper()
	switch err := p.child.err; {
	case !p.child.gone():
		p.Stop(t)
	case err != nil && !killed(err):
		t.Errorf("the gateway had ended by itself: %v", err)
	}
	if t.Failed() {
		t.Logf("the gateway's log:\n%s", p.stderr.tail(80))
	}
}

// killed says whether a process ended by our own Kill.
func killed(err error) bool {
	e, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	ws, ok := e.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}
