package oracle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// guard ends what the tests started when they are gone, however they went: it
// is a process of its own that waits for the end of its standard input, which
// comes when the test process closes it or dies.
type guard struct {
	dir   string // everything the tests write; removed at the end
	input io.Closer
	cmd   *exec.Cmd
}

// guardScript stops Home Assistant, kills the processes that are noted in
// $1/pids, one file a process, and removes $1. $2 stops Home Assistant.
const guardScript = `
cat >/dev/null
[ ! -f "$1/homeassistant/pid" ] || sh "$2" "$1/homeassistant"
for f in "$1"/pids/*; do
    [ ! -f "$f" ] || kill -9 "$(cat "$f")"
done
rm -rf "$1"
`

// newGuard makes the folder and starts its guard, in a session of its own, so
// that an interrupt at the terminal does not end it before its time.
func newGuard(stopHA string) (*guard, error) {
	dir, err := os.MkdirTemp("", "meter2mqtt-oracle-")
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "pids"), 0o700); err != nil {
		return nil, err
	}
	cmd := exec.Command("sh", "-c", guardScript, "sh", dir, stopHA) //nolint:noctx // it must outlive every context
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	return &guard{dir: dir, input: input, cmd: cmd}, nil
}

// end has everything ended and waits for it.
func (g *guard) end() error {
	return errors.Join(g.input.Close(), g.cmd.Wait())
}

// watch notes a process that must not outlive the tests.
func (g *guard) watch(p *os.Process) error {
	return os.WriteFile(g.note(p), []byte(strconv.Itoa(p.Pid)), 0o600)
}

// forget is for a process that has ended: its number may soon be another's.
func (g *guard) forget(p *os.Process) error { return os.Remove(g.note(p)) }

func (g *guard) note(p *os.Process) string {
	return filepath.Join(g.dir, "pids", strconv.Itoa(p.Pid))
}
