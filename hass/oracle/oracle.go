package oracle

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// switchedOn is the environment variable that asks for these tests: long for those
// that wait for Home Assistant's own rows, 1 for the others.
const (
	switchedOn = "HA_TESTS"
	long       = "long"
)

// Oracle is a broker and a Home Assistant, lent to one test at a time.
type Oracle struct {
	Broker *Broker
	ha     *homeAssistant
	guard  *guard
	binary func() (string, error) // builds the gateway, once, and says where it is
}

// shared is the one Oracle of a package's tests, booted by the first that asks.
var shared struct {
	sync.Mutex // held by the test that uses it

	booted bool
	oracle *Oracle
	err    error
}

// Enabled says whether the tests against Home Assistant are asked for: by
// HA_TESTS=1, or HA_TESTS=long.
func Enabled() bool {
	on := os.Getenv(switchedOn)
	return on != "" && on != "0"
}

// Main runs a package's tests and then ends what they shared.
func Main(m *testing.M) {
	code := m.Run()
	if o := shared.oracle; o != nil {
		if err := o.guard.end(); err != nil {
			fmt.Fprintln(os.Stderr, "oracle:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// Start lends the Oracle to the test until it ends; the first call boots it. At
// the end of the test everything retained is cleared, and the test fails if Home
// Assistant has logged a complaint. A test is skipped unless HA_TESTS is 1;
// if it is, whatever is missing fails it.
func Start(t *testing.T) *Oracle {
	t.Helper()
	if !Enabled() || os.Getenv(switchedOn) == long {
		t.Skipf("needs a real Home Assistant: set %s=1 (make ha)", switchedOn)
	}
	return lend(t)
}

// startLong is Start for a test that waits for Home Assistant's own rows, minutes
// each. It is skipped unless HA_TESTS is long.
func startLong(t *testing.T) *Oracle {
	t.Helper()
	if os.Getenv(switchedOn) != long {
		t.Skipf("takes a quarter of an hour with a real Home Assistant: set %s=%s (make ha-long)", switchedOn, long)
	}
	return lend(t)
}

func lend(t *testing.T) *Oracle {
	t.Helper()
	shared.Lock()
	t.Cleanup(shared.Unlock)
	if !shared.booted {
		shared.booted = true
		shared.oracle, shared.err = boot()
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	o := shared.oracle
	t.Cleanup(func() { o.finish(t) })
	return o
}

// boot starts broker and Home Assistant.
func boot() (*Oracle, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	scripts := filepath.Join(root, "..", "shared", "ha")
	if _, err := os.Stat(filepath.Join(scripts, "start.sh")); err != nil {
		return nil, fmt.Errorf("the scripts that start Home Assistant are not beside the repository: %w", err)
	}
	g, err := newGuard(filepath.Join(scripts, "stop.sh"))
	if err != nil {
		return nil, err
	}
	o, err := bootUnder(g, root, scripts)
	if err != nil {
		return nil, errors.Join(err, g.end())
	}
	return o, nil
}

func bootUnder(g *guard, root, scripts string) (*Oracle, error) {
	b, err := newBroker(g)
	if err != nil {
		return nil, err
	}
	ha, err := newHomeAssistant(g, scripts, b)
	if err != nil {
		return nil, err
	}
	binary := sync.OnceValues(func() (string, error) { return build(root, g.dir) })
	return &Oracle{Broker: b, ha: ha, guard: g, binary: binary}, nil
}

// moduleRoot is the folder of go.mod: tests run in the folder of their package.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output() //nolint:noctx // ends at once
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// build makes the gateway from the tree as it stands, the way it is shipped.
func build(root, dir string) (string, error) {
	binary := filepath.Join(dir, "meter2mqtt")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, ".") //nolint:noctx // go test's own limit ends it
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// RestartHomeAssistant stops it and starts it again on the same configuration,
// and fails the test if it complained until then or while it shut down.
func (o *Oracle) RestartHomeAssistant(t *testing.T) {
	t.Helper()
	o.StopHomeAssistant(t)
	o.StartHomeAssistant(t)
}

// StopHomeAssistant takes it away until StartHomeAssistant.
func (o *Oracle) StopHomeAssistant(t *testing.T) {
	t.Helper()
	if err := o.ha.stop(); err != nil {
		t.Fatal(err)
	}
	for _, c := range o.logged(t) {
		t.Errorf("home assistant complains: %s", c)
	}
}

// StartHomeAssistant brings it back after StopHomeAssistant.
func (o *Oracle) StartHomeAssistant(t *testing.T) {
	t.Helper()
	if err := o.ha.start(); err != nil {
		t.Fatal(err)
	}
}

// NoComplaint waits until Home Assistant has taken all that was published so
// far, and fails the test if it logged a warning or an error that a publisher
// can cause.
func (o *Oracle) NoComplaint(t *testing.T) {
	t.Helper()
	for _, c := range o.complaints(t) {
		t.Errorf("home assistant complains: %s", c)
	}
}

// complaints are those since the last look, all that was published taken.
func (o *Oracle) complaints(t *testing.T) []complaint {
	t.Helper()
	if err := o.ha.settle(); err != nil {
		t.Fatal(err)
	}
	return o.logged(t)
}

// logged are the complaints since the last look, in the log as it stands.
func (o *Oracle) logged(t *testing.T) []complaint {
	t.Helper()
	list, err := o.ha.complaints()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (o *Oracle) snapshot() (*snapshot, error) {
	var s snapshot
	return &s, o.ha.ask(&s, "dump")
}

// finish looks for complaints and leaves an empty house to the next test.
func (o *Oracle) finish(t *testing.T) {
	t.Helper()
	if t.Failed() {
		t.Logf("the broker's log:\n%s", o.Broker.log.tail(20))
	}
	o.NoComplaint(t)
	o.clear(t)
}

// clear takes back all that is retained: first what announces devices, so that
// they leave Home Assistant before their topics fall silent.
func (o *Oracle) clear(t *testing.T) {
	t.Helper()
	s, err := o.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range s.deviceIDs() {
		o.Broker.Publish(t, deviceTopic(id), "", true)
	}
	o.Until(t, func() error {
		s, err := o.snapshot()
		if err != nil {
			return err
		}
		if left := s.deviceIDs(); len(left) > 0 {
			return fmt.Errorf("home assistant still has %s", strings.Join(left, ", "))
		}
		return nil
	})
	for _, topic := range o.retained(t) {
		o.Broker.Publish(t, topic, "", true)
	}
	o.complaints(t) // about the clearing: nobody's business
	o.Broker.stopped = false
}

// deviceIDs are the devices that were announced by MQTT, the marker apart.
func (s *snapshot) deviceIDs() []string {
	var ids []string
	for _, d := range s.Devices {
		for _, id := range d.Identifiers {
			if len(id) == 2 && id[0] == "mqtt" && id[1] != markerDevice {
				ids = append(ids, id[1])
			}
		}
	}
	return slices.Compact(ids)
}

// retained are the topics that the broker keeps, Home Assistant's and the
// marker's apart.
func (o *Oracle) retained(t *testing.T) []string {
	t.Helper()
	var topics []string
	for _, m := range o.Broker.Retained(t, "#") {
		if m.Topic != markerTopic && m.Topic != deviceTopic(markerDevice) {
			topics = append(topics, m.Topic)
		}
	}
	return topics
}
