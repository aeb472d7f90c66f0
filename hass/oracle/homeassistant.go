package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
)

// homeAssistant is a real Home Assistant with an mqtt entry for our broker.
type homeAssistant struct {
	scripts string // the folder of start.sh, stop.sh and haq.py
	dir     string // its configuration
	port    int
	broker  *Broker
	told    int // complaints of this run that a test has been told already
	barrier int // how many barriers were asked for
}

// newHomeAssistant boots one on a free port.
func newHomeAssistant(g *guard, scripts string, b *Broker) (*homeAssistant, error) {
	port, _, err := porttest.Hold() // until the tests end
	if err != nil {
		return nil, err
	}
	h := &homeAssistant{scripts: scripts, dir: filepath.Join(g.dir, "homeassistant"), port: port, broker: b}
	return h, h.start()
}

// api is the address of its WebSocket API.
func (h *homeAssistant) api() string {
	return "ws://127.0.0.1:" + strconv.Itoa(h.port) + "/api/websocket"
}

func (h *homeAssistant) start() error {
	h.told = 0 // start.sh begins a new log
	return h.script("start.sh", strconv.Itoa(h.broker.port), strconv.Itoa(h.port), h.dir)
}

func (h *homeAssistant) stop() error { return h.script("stop.sh", h.dir) }

// script runs one of the oracle's scripts. Its output goes to a file, for what
// start.sh leaves running holds it open.
func (h *homeAssistant) script(name string, args ...string) error {
	out, err := os.CreateTemp(filepath.Dir(h.dir), name)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", append([]string{filepath.Join(h.scripts, name)}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name()) // what it said only helps to explain
		return fmt.Errorf("home assistant: %s: %w\n%s", name, err, text)
	}
	return nil
}

// ask runs haq.py and decodes its answer into v, unless v is nil.
func (h *homeAssistant) ask(v any, args ...string) error {
	out, err := h.query(args...)
	if err != nil || v == nil {
		return err
	}
	return json.Unmarshal(out, v)
}

// query runs haq.py and returns what it printed, also when it failed.
func (h *homeAssistant) query(args ...string) ([]byte, error) {
	haq := filepath.Join(h.scripts, "haq.py")
	cmd, cancel, err := command("python3", append([]string{haq, "--dir", h.dir}, args...)...)
	if err != nil {
		return nil, err
	}
	defer cancel()
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("home assistant: haq.py %s: %w\n%s", args[0], err, out)
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w%s", err, e.Stderr)
	}
	return out, err
}

// complaint is a log record at or above WARNING.
type complaint struct {
	Time, Level, Logger, Message string
}

func (c complaint) String() string {
	return strings.Join([]string{c.Level, c.Logger, c.Message}, " ")
}

// complaints are those of this run that no test was told of yet: each test
// answers for its own. It reads the log alone, so it also works when Home
// Assistant has been stopped.
func (h *homeAssistant) complaints() ([]complaint, error) {
	out, err := h.query("check") // exits 1 when there are any
	var all []complaint
	if json.Unmarshal(out, &all) != nil {
		return nil, err
	}
	fresh := all[min(h.told, len(all)):]
	h.told = len(all)
	return slices.DeleteFunc(fresh, func(c complaint) bool { return h.aboutOutage(c) || c.aboutVolume() }), nil
}

// outage is what Home Assistant's client says when its broker goes away.
var outage = regexp.MustCompile(`^(Error returned from MQTT server: |Failed to connect to MQTT server|` +
	`Unable to connect to the MQTT broker|No ACK from MQTT server)`)

// aboutOutage says whether c is about the broker that the test itself took away:
// no publisher can cause it.
func (h *homeAssistant) aboutOutage(c complaint) bool {
	return h.broker.stopped && c.Logger == "homeassistant.components.mqtt.client" && outage.MatchString(c.Message)
}

// aboutVolume says whether c only counts what was logged: each entity that is
// added, changed or removed is a line to Home Assistant, and a test does in
// seconds what takes a home months.
func (c complaint) aboutVolume() bool {
	return c.Logger == "homeassistant.util.logging" && strings.Contains(c.Message, "logging too frequently")
}

// The marker is a sensor of the harness: what was published before its new state
// has reached Home Assistant when the state shows.
const (
	markerDevice = "oracle_marker"
	markerEntity = "sensor.oracle_marker_number"
	markerTopic  = "oracle/marker"
	markerConfig = `{"device":{"identifiers":["oracle_marker"],"name":"Oracle marker"},"origin":{"name":"oracle"},` +
		`"components":{"number":{"platform":"sensor","unique_id":"oracle_marker_number","name":"Number","state_topic":"` + markerTopic + `"}}}`
)

// settle returns when Home Assistant has taken all that was published so far
// and has written all that it had to say about it.
func (h *homeAssistant) settle() error {
	h.barrier++
	mark := strconv.Itoa(h.barrier)
	if err := h.broker.publish(deviceTopic(markerDevice), markerConfig, true); err != nil {
		return err
	}
	if err := h.broker.publish(markerTopic, mark, true); err != nil {
		return err
	}
	if err := h.ask(nil, "until", fmt.Sprintf(`{%q: %q}`, markerEntity, mark), "--timeout", "25"); err != nil {
		return err
	}
	return h.flushLog(mark)
}

// flushLog returns when a line of ours, written last, has reached the log.
func (h *homeAssistant) flushLog(mark string) error {
	line := "oracle barrier " + mark + " of " + strconv.Itoa(os.Getpid())
	data := fmt.Sprintf(`{"message": %q, "level": "warning", "logger": "oracle"}`, line)
	if err := h.ask(nil, "call", "system_log.write", data); err != nil {
		return err
	}
	return until(10*time.Second, func() error {
		text, err := os.ReadFile(filepath.Join(h.dir, "home-assistant.log"))
		if err == nil && !strings.Contains(string(text), line) {
			err = errors.New("home assistant: its log has not been written yet")
		}
		return err
	})
}

func deviceTopic(id string) string { return "homeassistant/device/" + id + "/config" }

// token is the one of the user that provisioning has made, an administrator.
func (h *homeAssistant) token(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(h.dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}
