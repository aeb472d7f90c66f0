package soak

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
)

func TestMain(m *testing.M) {
	for variable, child := range map[string]func(string) error{"SOAK_LISTEN": listenToMany, "SOAK_RELAY": relay} {
		if argument := os.Getenv(variable); argument != "" {
			if err := child(argument); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			return
		}
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come: far longer than it
// should take, for the machine may be busy.
const patience = 2 * time.Minute

// length is short or long, as SOAK says; without SOAK the test is skipped.
func length[T any](t *testing.T, short, long T) T {
	t.Helper()
	switch os.Getenv("SOAK") {
	case "":
		t.Skip("a long test: make soak-short, or make soak")
	case "short":
		return short
	}
	return long
}

// until waits for a condition; check says what is still missing, or "".
func until(tb testing.TB, check func() (missing string)) {
	tb.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := check()
		if missing == "" {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			tb.Fatalf("waited %s: %s", patience, missing)
		}
	}
}

// pass lets time pass: for what is measured by the clock, such as a broker that
// is away for a minute.
func pass(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

// broker is a Mosquitto on loopback that keeps nothing over a restart.
type broker struct {
	*process
	address string // host:port
	config  string
}

func newBroker(tb testing.TB) *broker {
	tb.Helper()
	b := &broker{address: porttest.Address(tb), config: filepath.Join(tb.TempDir(), "mosquitto.conf")}
	// The subscriber's own limits are none of the gateway's business: the broker
	// hands on whatever it takes.
	_, port, _ := net.SplitHostPort(b.address)
	text := fmt.Sprintf(`listener %s 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 0
max_queued_messages 0
user root
log_dest stderr
log_type error
log_type warning
log_type information
`, port)
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	b.start(tb)
	return b
}

// start starts it, also again, and waits until it takes connections.
func (b *broker) start(tb testing.TB) {
	tb.Helper()
	b.process = spawn(tb, &output{}, mosquitto(tb), "-c", b.config)
	until(tb, func() string {
		if b.gone() {
			tb.Fatalf("mosquitto ended: %v\n%s", b.err, b.output)
		}
		return missing(b.output, " running") // its word once it listens
	})
}

// mosquitto finds the program, also where Debian puts what only root runs.
func mosquitto(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		tb.Fatal("mosquitto is not installed")
	}
	tb.Skip("mosquitto is not installed (Debian: apt-get install mosquitto)")
	return ""
}

// binary is the gateway, built once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	// The tests' own binary lies in a folder that the go command removes.
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), "meter2mqtt")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/meter2mqtt/meter2mqtt")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// gateway is `meter2mqtt run` with a configuration of its own.
type gateway struct {
	*process
	config string
	state  string // folder
	out    *output
}

// base is the gateway's base topic.
const base = "soak"

// newGateway writes a configuration and starts the gateway: meters are [[meter]]
// tables.
func newGateway(tb testing.TB, brokerAddress, meters string) *gateway {
	tb.Helper()
	dir := tb.TempDir()
	g := &gateway{config: filepath.Join(dir, "config.toml"), state: filepath.Join(dir, "state"), out: &output{}}
	text := fmt.Sprintf("[mqtt]\nurl = %q\nbase = %q\nclient_id = \"soak\"\n[state]\ndir = %q\n[log]\nformat = \"json\"\n%s",
		"mqtt://"+brokerAddress, base, g.state, meters)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	g.start(tb)
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the gateway's log ends with:\n%s", g.out.tail(30))
		}
	})
	return g
}

// start starts it, also again with the same state.
func (g *gateway) start(tb testing.TB) {
	tb.Helper()
	path, err := binary()
	if err != nil {
		tb.Fatal(err)
	}
	g.process = spawn(tb, g.out, path, "run", "-c", g.config)
}

// drained waits until the journal has nothing left on disk: what is on its way
// to history has got there. However much that is, the oldest file must go in
// time.
func (g *gateway) drained(tb testing.TB) {
	tb.Helper()
	for oldest := g.oldest(tb); oldest != ""; {
		before := oldest
		until(tb, func() string {
			if oldest = g.oldest(tb); oldest == before {
				return "the journal still has " + oldest
			}
			return ""
		})
	}
}

// oldest is the first file of the journal, "" if it is empty.
func (g *gateway) oldest(tb testing.TB) string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(g.state, "journal", "*.m2mj"))
	if err != nil {
		tb.Fatal(err)
	}
	if len(files) == 0 {
		return ""
	}
	return slices.Min(files)
}

// meterTable is the [[meter]] table of a numbered meter, with limits that let it
// speak far faster than a real one.
func meterTable(name, address string, extra ...string) string {
	return fmt.Sprintf("[[meter]]\nname = %q\ndriver = \"p1\"\nport = %q\nmax_power = \"100MW\"\nmax_flow = \"20000m³/h\"\n%s\n",
		name, "tcp://"+address, strings.Join(extra, "\n"))
}
