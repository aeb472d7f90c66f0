package commandline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
)

// eightSlaves are the awkward ones of the foreign M-Bus line's example, as each way
// finds them: two share the number 12345678, two the primary address 0, one has no
// secondary address, one speaks after noise, one loses and breaks its answers.
var eightSlaves = map[string][]string{
	"--secondary": {
		`secondary = "00011788AE4C060D"`, `secondary = "02205100824D0204"`, `secondary = "04990254C5140006"`, `secondary = "068558172D2C0804"`,
		`secondary = "1234567824400107"`, `secondary = "12345678A31DE602"`, `secondary = "7856341242040202"`,
	},
	"--primary": {`address = "1"`, `address = "2"`, `address = "3"`, `address = "5"`, `address = "6"`, `address = "7"`},
}

// swift are keys for a line on loopback: its slowest meter takes 150 ms.
var swift = []string{"timeout=200ms", "pause=100ms", "retries=3"}

// heard is what a process has written so far.
type heard struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}

// invoke runs the program; it is stopped with SIGINT when until says so, as by
// Ctrl-C.
func invoke(t *testing.T, until func(said string) bool, args ...string) ran {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "meter2mqtt", args...)
	var out, stderr heard
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // the exit code tells
	}()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-done:
			canary.Keep(t, "said", []byte(out.String()+stderr.String()))
			return ran{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
		case <-look.C:
			if until != nil && until(out.String()+stderr.String()) {
				until = nil
				_ = cmd.Process.Signal(syscall.SIGINT)
			}
		}
	}
}

// search scans a foreign line to its end, stopped once on the way.
func search(t *testing.T, at, way string) (tables string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "scan.json")
	args := []string{"scan", "--driver", "mbus", "--port", at, way, "--resume", file, "--baud", "38400"}
	for _, s := range swift {
		args = append(args, "--set", s)
	}
	first := invoke(t, func(said string) bool { return strings.Count(said, "[[meter]]") >= 3 }, args...)
	if first.code != 0 || !strings.Contains(first.err, "to go on: meter2mqtt scan --resume "+file) {
		t.Errorf("stopped: %+v", first)
	}
	second := invoke(t, nil, "scan", "--resume", file)
	if second.code != 0 {
		t.Errorf("resumed: %+v", second)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file of a whole search was left behind")
	}
	return first.out + second.out
}

// addresses are the lines with addresses, each once, in order.
func addresses(tables string) []string {
	all := regexp.MustCompile(`(?m)^(address|secondary) = .*$`).FindAllString(tables, -1)
	slices.Sort(all)
	return slices.Compact(all)
}

func TestTheProgramFindsAForeignBus(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes, most of them silence")
	}
	for way, want := range eightSlaves {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			at := eightOf(t)
			tables := search(t, at, way)
			if diff := cmp.Diff(want, addresses(tables)); diff != "" {
				t.Error(diff)
			}
			if shared := strings.Contains(tables, "# address 0: several meters share the primary address 0"); shared != (way == "--primary") {
				t.Errorf("address 0: %s", tables)
			}
		})
	}
}

// eightOf is the foreign line's example.
func eightOf(t *testing.T) (at string) {
	t.Helper()
	example := strings.TrimSuffix(foreignSlaves.Path(t), ".py") + ".example.json"
	return "tcp://" + foreignSlaves.Start(t, example, "--listen", "tcp://127.0.0.1:0", "--for", "600").At
}

// eightMeters are a configuration of all that the foreign line has.
func eightMeters(at, broker, state string) string {
	text := fmt.Sprintf("[mqtt]\nurl = %q\n[state]\ndir = %q\n", broker, state)
	for i, key := range append(slices.Clone(eightSlaves["--secondary"]), `address = "7"`) {
		text += fmt.Sprintf("[[meter]]\nname = \"m%d\"\ndriver = \"mbus\"\nport = %q\nevery = \"2s\"\n%s\n", i, at, key)
		text += "timeout = \"200ms\"\npause = \"100ms\"\nretries = 3\n"
	}
	return text
}

// eightNumbers are the numbers of its meters, in the same order.
var eightNumbers = []string{"00011788", "02205100", "04990254", "06855817", "12345678", "12345678", "78563412", "12345678"}

func TestTheProgramReadsAForeignBus(t *testing.T) {
	t.Parallel()
	at := eightOf(t)
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(eightMeters(at, "mqtt://127.0.0.1:1", t.TempDir())), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, id := range eightNumbers {
		r := invoke(t, nil, "read", "-c", file, fmt.Sprintf("m%d", i))
		var reading struct {
			Meter  struct{ ID string }
			Values []any
		}
		if err := json.Unmarshal([]byte(r.out), &reading); r.code != 0 || err != nil {
			t.Errorf("m%d: %+v, %v", i, r, err)
		}
		if reading.Meter.ID != id || len(reading.Values) < 3 {
			t.Errorf("m%d: meter %s, %d values", i, reading.Meter.ID, len(reading.Values))
		}
	}
}

func TestTheProgramRunsAForeignBus(t *testing.T) {
	t.Parallel()
	at := eightOf(t)
	broker := brokertest.New(t)
	broker.Start()
	t.Cleanup(broker.Stop)
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(eightMeters(at, broker.URL(), t.TempDir())), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "meter2mqtt", "run", "-c", file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i, id := range eightNumbers {
		base := fmt.Sprintf("meter2mqtt/m%d/", i)
		broker.Until(base+"info names "+id, func(m brokertest.Message) bool {
			return m.Topic == base+"info" && strings.Contains(m.Payload, id)
		})
		broker.Until(base+"state with a number", func(m brokertest.Message) bool {
			return m.Topic == base+"state" && regexp.MustCompile(`":-?[0-9]`).MatchString(m.Payload)
		})
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, stderr.String())
	}
}
