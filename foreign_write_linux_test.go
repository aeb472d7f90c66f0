package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
)

// foreignBus starts a bus of one slave that this code did not come from, and says
// where it is and where its log.
func foreignBus(t *testing.T, more string) (port, log string) {
	t.Helper()
	script := filepath.Join("..", "shared", "peers", "mbus_slave.py")
	python, err := exec.LookPath("python3")
	if _, statErr := os.Stat(script); err != nil || statErr != nil {
		err = errors.Join(err, statErr)
		if os.Getenv("CI") == "true" {
			t.Fatalf("no simulated bus: %v", err)
		}
		t.Skipf("no simulated bus: %v", err)
	}
	dir := t.TempDir()
	file, log := filepath.Join(dir, "bus.json"), filepath.Join(dir, "log")
	slave := `{"slaves": [{"name": "heat", "primary": 1, "telegrams": ["mbus-kamstrup-multical-601"]` + more + `}]}`
	if err := os.WriteFile(file, []byte(slave), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, script, file, "--listen", "tcp://127.0.0.1:0", "--log", log, "--for", "300")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // t.Context has ended it
	var at struct{ Listening string }
	if line, err := bufio.NewReader(out).ReadBytes('\n'); err != nil || json.Unmarshal(line, &at) != nil {
		t.Fatalf("the simulated bus says %q, %v", line, err)
	}
	return at.Listening, log
}

// written are the writes that the foreign slave noted, of one kind.
func written(t *testing.T, log, kind string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		var entry struct{ Write map[string]any }
		if strings.HasSuffix(l, "\n") && json.Unmarshal([]byte(l), &entry) == nil && entry.Write[kind] != nil {
			all = append(all, fmt.Sprint(entry.Write[kind]))
		}
	}
	return all
}

// running is the program at work on a broker.
type running struct {
	t      *testing.T
	broker *brokertest.Broker
	file   string
	cmd    *exec.Cmd
}

// run starts the gateway with one meter called heat, which is online when it
// returns.
func run(t *testing.T, meter string) *running {
	t.Helper()
	r := &running{t: t, broker: brokertest.New(t)}
	r.broker.Start()
	t.Cleanup(r.broker.Stop)
	dir := t.TempDir()
	r.file = filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("[mqtt]\nurl = %q\n[state]\ndir = %q\n[[meter]]\nname = \"heat\"\n%s", r.broker.URL(), filepath.Join(dir, "state"), meter)
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	r.start()
	return r
}

func (r *running) start() {
	r.t.Helper()
	r.cmd = exec.Command("meter2mqtt", "run", "-c", r.file) //nolint:noctx // killed by the test, whatever its context
	r.cmd.Stderr = os.Stderr
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.broker.UntilIs("meter2mqtt/heat/availability", "online")
}

// kill ends it as a power cut does.
func (r *running) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// tell publishes a command and gives its result.
func (r *running) tell(topic, payload string) map[string]any {
	r.t.Helper()
	before := len(r.broker.Seen("meter2mqtt/heat/result"))
	r.broker.Publish("meter2mqtt/heat/"+topic, payload, false)
	return r.result(before)
}

// result is the result behind so many.
func (r *running) result(before int) (got map[string]any) {
	r.t.Helper()
	r.broker.Until("result", func(brokertest.Message) bool { return len(r.broker.Seen("meter2mqtt/heat/result")) > before })
	text := r.broker.Seen("meter2mqtt/heat/result")[before].Payload
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		r.t.Fatalf("%s: %v", text, err)
	}
	return got
}

// bySecondary reads the slave by its number, so that it is found whatever its
// primary address is.
func bySecondary(port, more string) string {
	return fmt.Sprintf("driver = \"mbus\"\nport = %q\nsecondary = \"068558172D2C0804\"\ntimezone = \"Europe/Copenhagen\"\nevery = \"1h\"\n%s\n", port, more)
}

func TestAWriteByMQTTReachesAForeignSlave(t *testing.T) {
	port, log := foreignBus(t, "")
	r := run(t, bySecondary(port, `write = ["address", "clock", "readout", "reset"]`))
	r.broker.UntilIs("meter2mqtt/heat/parameter/address", "1")
	if got := r.tell("set/address", `{"value":9,"id":"x1"}`); got["ok"] != true || got["value"] != 9.0 || got["id"] != "x1" || got["parameter"] != "address" {
		t.Errorf("got %v", got)
	}
	r.broker.UntilIs("meter2mqtt/heat/parameter/address", "9")
	if got := r.tell("set/reset", "PRESS"); got["ok"] != true {
		t.Errorf("got %v", got)
	}
	if got := r.tell("set/readout", "13,06"); got["ok"] != true {
		t.Errorf("got %v", got)
	}
	// Its telegrams are always the same: it takes the clock and shows the old one.
	if got := r.tell("set/clock", "now"); got["ok"] != false || !strings.Contains(got["error"].(string), "shows another value") {
		t.Errorf("got %v", got)
	}
	for topic, payload := range map[string]string{
		"set/address": "251", "set/baud_rate": "9600", "set/reset": "", "set/clock": "tomorrow", "set/readout": "GG", "get/reset": "",
	} {
		if got := r.tell(topic, payload); got["ok"] != false || got["error"] == "" {
			t.Errorf("%s %s: got %v", topic, payload, got)
		}
	}
	for kind, want := range map[string][]string{"set_primary": {"9"}, "select_for_readout": {"08130806"}} {
		if got := written(t, log, kind); !slices.Equal(got, want) {
			t.Errorf("%s: the slave noted %v, want %v", kind, got, want)
		}
	}
	if n := len(written(t, log, "set_clock")); n != 1 {
		t.Errorf("the clock was set %d times", n)
	}
}

// The program is killed when the slave has the write and has not confirmed it.
func TestAWriteThatAKillInterruptedIsUnknownAndNotRepeated(t *testing.T) {
	port, log := foreignBus(t, `, "delay_ms": 700`)
	r := run(t, bySecondary(port, "timeout = \"3s\"\nwrite = [\"address\"]"))
	r.broker.UntilIs("meter2mqtt/heat/parameter/address", "1")
	const command = `{"value":9,"id":"once"}`
	r.broker.Publish("meter2mqtt/heat/set/address", command, false)
	for len(written(t, log, "set_primary")) == 0 {
		select {
		case <-t.Context().Done():
			t.Fatal("the slave was never written to")
		case <-time.After(5 * time.Millisecond):
		}
	}
	r.kill()
	if n := len(r.broker.Seen("meter2mqtt/heat/result")); n != 0 {
		t.Fatalf("%d results before the kill", n)
	}
	r.broker.Forget()
	r.start()
	if got := r.result(0); got["ok"] != nil || got["id"] != "once" || got["parameter"] != "address" {
		t.Errorf("after the kill: got %v", got)
	}
	if got := r.tell("set/address", command); got["ok"] != nil || got["id"] != "once" {
		t.Errorf("the same again: got %v", got)
	}
	if got := r.tell("get/address", ""); got["value"] != 9.0 {
		t.Errorf("asked how it came out: got %v", got)
	}
	if got := written(t, log, "set_primary"); !slices.Equal(got, []string{"9"}) {
		t.Errorf("the slave was written to %v", got)
	}
}

func TestTheProgramWritesAForeignSlave(t *testing.T) {
	port, log := foreignBus(t, "")
	keys := bySecondary(port, `write = ["address"]`)
	if got := program(t, keys, "write", "main", "address", "7"); got.code != 0 || got.out != "{\"parameter\":\"address\",\"ok\":true,\"value\":7}\n" {
		t.Errorf("exit code %d: %s%s", got.code, got.out, got.err)
	}
	if got := program(t, keys, "read", "main", "address"); got.code != 0 || !strings.Contains(got.out, `"name":"address","value":7`) {
		t.Errorf("exit code %d: %s%s", got.code, got.out, got.err)
	}
	for name, args := range map[string][]string{"not allowed": {"clock", "now"}, "out of range": {"address", "300"}, "no number": {"address", "x"}} {
		got := program(t, keys, "write", append([]string{"main"}, args...)...)
		if got.code != 1 || !strings.Contains(got.out, `"ok":false,"error":`) || !strings.Contains(got.err, "error:") {
			t.Errorf("%s: exit code %d: %s%s", name, got.code, got.out, got.err)
		}
	}
	if got := written(t, log, "set_primary"); !slices.Equal(got, []string{"7"}) {
		t.Errorf("the slave was written to %v", got)
	}
}
