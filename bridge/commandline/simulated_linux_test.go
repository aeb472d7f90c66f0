package commandline

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// simulated starts a simulated meter and says what to write for its port.
func simulated(t *testing.T, listen string, args ...string) (port string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "meter2mqtt", append([]string{"simulate", "--listen", listen}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // t.Context has ended it
	var at struct{ Listening, PTY string }
	if line, err := bufio.NewReader(out).ReadBytes('\n'); err != nil || json.Unmarshal(line, &at) != nil {
		t.Fatalf("the simulated meter says %q, %v", line, err)
	}
	return at.Listening + at.PTY
}

// tableOf are the lines of a [[meter]] table behind its name.
func tableOf(driver, port string, settings []drivers.Setting) string {
	text := fmt.Sprintf("driver = %q\nport = %q\n", driver, port)
	for _, s := range settings {
		text += fmt.Sprintf("%s = %q\n", s.Key, s.Value)
	}
	return text
}

// alone is the model of a driver that is read without an address.
func alone(driver string) string {
	models := sim.Models(driver)
	if i := slices.IndexFunc(models, func(m sim.Model) bool { return m.Shown }); i >= 0 {
		return models[i].Name
	}
	return ""
}

// Whatever meter is asked: read prints what it says, and no broker is there.
func TestReadAsksAMeterOfEachDriverWithoutABroker(t *testing.T) {
	for _, d := range all.Drivers {
		if d.Push() {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			meter, err := sim.New(d.Name, sim.Options{Model: alone(d.Name)})
			if err != nil {
				t.Fatal(err)
			}
			port := simulated(t, "tcp://127.0.0.1:0", "--driver", d.Name, "--model", alone(d.Name))
			table := tableOf(d.Name, port, meter.Keys)
			whole := program(t, table, "read", "main")
			r := readingOf(t, whole)
			if r.Driver != d.Name || len(r.Values) < 3 {
				t.Fatalf("got %+v of %+v", r, whole)
			}
			i := slices.IndexFunc(r.Values, func(v readValue) bool { return strings.HasPrefix(v.OBIS, "1-") || v.Unit == "m³" || v.Unit == "kWh" })
			if i < 0 {
				t.Fatalf("nothing to ask for: %s", whole.out)
			}
			one := readingOf(t, program(t, table, "read", "main", r.Values[i].OBIS))
			if !slices.ContainsFunc(one.Values, func(v readValue) bool { return v.OBIS == r.Values[i].OBIS }) {
				t.Errorf("asked for %s: got %+v", r.Values[i].OBIS, one)
			}
			missing := program(t, table, "read", "main", "--timeout", "5s", r.Values[i].OBIS, "1-0:99.9.9")
			if missing.code != 1 || !strings.Contains(missing.out, r.Values[i].OBIS) || !strings.Contains(missing.err, "1-0:99.9.9") {
				t.Errorf("asked for what it does not have too: %+v", missing)
			}
		})
	}
}

type readValue struct{ OBIS, Unit string }

// printed is a reading as it is printed.
type printed struct {
	Driver string
	Meter  struct{ ID string }
	Values []readValue
}

// readingOf is the first reading that a command printed.
func readingOf(t *testing.T, r ran) (p printed) {
	t.Helper()
	line, _, _ := strings.Cut(r.out, "\n")
	if err := json.Unmarshal([]byte(line), &p); r.code != 0 || err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return p
}

// radioNumbers are the meters that the simulated receiver hears; the first one
// encrypts.
var radioNumbers = []string{"30000100", "30000101", "30000202"}

// radioTables are their tables: the first without a name.
func radioTables(t *testing.T, port string) string {
	t.Helper()
	meter, err := sim.New("wmbus", sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := tableOf("wmbus", port, meter.Keys)
	for i, keys := range meter.Others {
		text += fmt.Sprintf("[[meter]]\nname = \"other%d\"\n", i+1) + tableOf("wmbus", port, keys)
	}
	return text
}

// telegramsOf are lines of a receiver, one of each meter.
func telegramsOf(t *testing.T, port string) (lines []string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(port, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for in := bufio.NewReader(conn); len(lines) < len(radioNumbers); {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// numbersOf are the meters of all readings that were printed, in order, each once.
func numbersOf(t *testing.T, out string) (numbers []string) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var p printed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if len(p.Values) < 3 {
			t.Errorf("got %+v", p)
		}
		numbers = append(numbers, p.Meter.ID)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

func TestRadioTelegramsDecodeAsHexAndAsBytes(t *testing.T) {
	lines := telegramsOf(t, simulated(t, "tcp://127.0.0.1:0", "--driver", "wmbus", "--period", "300ms"))
	var raw []byte
	for _, l := range lines {
		b, err := hex.DecodeString(l)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, b...)
	}
	for name, input := range map[string]string{"hex": strings.Join(lines, "\n") + "\n", "bytes": string(raw)} {
		file := filepath.Join(t.TempDir(), "telegrams")
		if err := os.WriteFile(file, []byte(input), 0o600); err != nil {
			t.Fatal(err)
		}
		keyed := invoke(t, nil, "decode", "--driver", "wmbus", "--key", sim.ExampleRadioKey, "--set", "id=30000100", file)
		if got := numbersOf(t, keyed.out); keyed.code != 0 || !slices.Equal(got, radioNumbers[:1]) {
			t.Errorf("%s, with a key: %v, %+v", name, got, keyed)
		}
		open := invoke(t, nil, "decode", "--driver", "wmbus", file)
		if got := numbersOf(t, open.out); open.code != 1 || !slices.Equal(got, radioNumbers[1:]) || !strings.Contains(open.err, "set the meter's key") {
			t.Errorf("%s, without one: %v, %+v", name, got, open)
		}
	}
}

func TestRadioMetersAreReadFromTheirReceiver(t *testing.T) {
	for name, listen := range map[string]string{"tcp": "tcp://127.0.0.1:0", "serial": "pty:" + filepath.Join(t.TempDir(), "receiver")} {
		tables := radioTables(t, simulated(t, listen, "--driver", "wmbus", "--period", "300ms"))
		for i, meter := range []string{"main", "other1", "other2"} {
			got := program(t, tables, "read", meter)
			if p := readingOf(t, got); p.Meter.ID != radioNumbers[i] || len(p.Values) < 3 {
				t.Errorf("%s: %s: %+v", name, meter, got)
			}
		}
	}
}

func TestRadioTelegramsOfATopicReachTheirMeters(t *testing.T) {
	lines := telegramsOf(t, simulated(t, "tcp://127.0.0.1:0", "--driver", "wmbus", "--period", "300ms"))
	broker := brokertest.New(t)
	broker.Start()
	t.Cleanup(broker.Stop)
	dir := t.TempDir()
	file := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("[mqtt]\nurl = %q\n[state]\ndir = %q\n[[meter]]\nname = \"main\"\n", broker.URL(), filepath.Join(dir, "state"))
	if err := os.WriteFile(file, []byte(text+radioTables(t, "mqtt:radio/telegrams")), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "meter2mqtt", "run", "-c", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // t.Context has ended it
	broker.UntilIs("meter2mqtt/bridge/availability", "online")
	for i, meter := range []string{"main", "other1", "other2"} {
		broker.Until(meter, func(brokertest.Message) bool {
			for _, l := range lines {
				broker.Publish("radio/telegrams", l, false)
			}
			return slices.ContainsFunc(broker.Seen("meter2mqtt/"+meter+"/info"), func(m brokertest.Message) bool { return strings.Contains(m.Payload, radioNumbers[i]) }) &&
				len(broker.Seen("meter2mqtt/"+meter+"/state")) > 0
		})
	}
}
