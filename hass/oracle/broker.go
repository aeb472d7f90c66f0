package oracle

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
)

// Broker is a Mosquitto on loopback. It keeps nothing over a restart, not even
// retained messages: who needs them must say them again.
type Broker struct {
	port    int
	stopped bool // in this test, by Stop
	guard   *guard
	child   *child
	log     *output
	fences  atomic.Int64 // subscriptions so far: each has a fence of its own
}

// newBroker starts Mosquitto on a free port.
func newBroker(g *guard) (*Broker, error) {
	port, _, err := porttest.Hold() // until the tests end
	if err != nil {
		return nil, err
	}
	b := &Broker{port: port, guard: g, log: &output{}}
	return b, b.start()
}

// URL is the broker's address as the configuration takes it.
func (b *Broker) URL() string { return "mqtt://" + b.Address() }

// Address is host:port.
func (b *Broker) Address() string { return "127.0.0.1:" + strconv.Itoa(b.port) }

// Start starts the broker again after Stop, on the same port.
func (b *Broker) Start(t *testing.T) {
	t.Helper()
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
}

// Stop takes the broker away: all connections break.
func (b *Broker) Stop(t *testing.T) {
	t.Helper()
	b.stopped = true
	if err := b.child.stop(syscall.SIGTERM, 10*time.Second); err != nil {
		t.Fatalf("mosquitto: %v", err)
	}
}

func (b *Broker) start() error {
	conf := filepath.Join(b.guard.dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\nlog_dest stderr\n", b.port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	bin, err := tool("mosquitto")
	if err != nil {
		return err
	}
	b.child, err = spawn(b.guard, exec.Command(bin, "-c", conf), b.log) //nolint:noctx // the test's own broker
	if err != nil {
		return fmt.Errorf("mosquitto: %w", err)
	}
	return until(10*time.Second, b.accepts)
}

// accepts says why the broker takes no connection yet, or nil.
func (b *Broker) accepts() error {
	if b.child.gone() {
		return fatal(fmt.Errorf("mosquitto ended: %w\n%s", b.child.err, b.log.tail(10)))
	}
	c, err := net.Dial("tcp", b.Address()) //nolint:noctx // loopback answers at once
	if err != nil {
		return err
	}
	return c.Close()
}

// Publish sends one message by mosquitto_pub, QoS 1, and waits until the broker
// has it.
func (b *Broker) Publish(t *testing.T, topic, payload string, retain bool) {
	t.Helper()
	if err := b.publish(topic, payload, retain); err != nil {
		t.Fatal(err)
	}
}

func (b *Broker) publish(topic, payload string, retain bool) error {
	args := []string{"-p", strconv.Itoa(b.port), "-q", "1", "-t", topic}
	if payload == "" {
		args = append(args, "-n")
	} else {
		args = append(args, "-s") // from standard input, whatever it begins with
	}
	if retain {
		args = append(args, "-r")
	}
	cmd, cancel, err := command("mosquitto_pub", args...)
	if err != nil {
		return err
	}
	defer cancel()
	cmd.Stdin = strings.NewReader(payload)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mosquitto_pub %s: %w: %s", topic, err, out)
	}
	return nil
}

// command is a short-lived helper program, killed after half a minute.
func command(name string, args ...string) (*exec.Cmd, context.CancelFunc, error) {
	bin, err := tool(name)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	return exec.CommandContext(ctx, bin, args...), cancel, nil
}

// tool finds a program, also where Debian puts what only root runs.
func tool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(filepath.Join("/usr/sbin", name))
	if err != nil {
		return "", fmt.Errorf("%s is not installed (Debian: apt-get install mosquitto mosquitto-clients python3)", name)
	}
	return path, nil
}
