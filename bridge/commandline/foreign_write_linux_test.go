package commandline

import (
	"context"
	"encoding/json"
	"errors"
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

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
)

// foreignBus starts a bus of one slave that this code did not come from, and says
// where it is and where its log.
func foreignBus(t *testing.T, more string) (port, log string) {
	t.Helper()
	dir := t.TempDir()
	file, log := filepath.Join(dir, "bus.json"), filepath.Join(dir, "log")
	slave := `{"slaves": [{"name": "heat", "primary": 1, "telegrams": ["mbus-kamstrup-multical-601"]` + more + `}]}`
	if err := os.WriteFile(file, []byte(slave), 0o600); err != nil {
		t.Fatal(err)
	}
	p := foreignSlaves.Start(t, file, "--listen", "tcp://127.0.0.1:0", "--log", log, "--for", "300")
	return "tcp://" + p.At, log
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

// relay stands between the program and a converter, and loses what it is told to.
type relay struct {
	at    string // where the program finds the converter
	close func() // as a plug that is pulled

	mu   sync.Mutex
	lose func(fromMaster bool, b []byte) bool // nil: nothing
	loud bool                                 // something was lost
}

// relayTo stands before a converter at tcp://HOST:PORT.
func relayTo(t *testing.T, port string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &relay{at: "tcp://" + listener.Addr().String()}
	var done sync.WaitGroup
	r.close = sync.OnceFunc(func() {
		cancel()
		_ = listener.Close()
		done.Wait()
	})
	t.Cleanup(r.close)
	done.Go(func() {
		for {
			master, err := listener.Accept()
			if err != nil {
				return
			}
			slaves, err := net.Dial("tcp", strings.TrimPrefix(port, "tcp://"))
			if err != nil {
				_ = master.Close()
				continue
			}
			context.AfterFunc(ctx, func() { _ = errors.Join(master.Close(), slaves.Close()) })
			done.Go(func() { r.pass(slaves, master, true) })
			done.Go(func() { r.pass(master, slaves, false) })
		}
	})
	return r
}

// pass hands on what one side says, until it ends; then it ends the other.
func (r *relay) pass(to, from net.Conn, fromMaster bool) {
	defer func() { _ = to.Close() }()
	b := make([]byte, 1024)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if r.loses(fromMaster, b[:n]) {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (r *relay) loses(fromMaster bool, b []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost := r.lose != nil && r.lose(fromMaster, b)
	r.loud = r.loud || lost
	return lost
}

// losing sets what is lost from now on, and says whether anything was until now.
func (r *relay) losing(what func(fromMaster bool, b []byte) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.loud
	r.lose, r.loud = what, false
	return before
}

// isWrite says whether a frame is a SND_UD with data.
func isWrite(b []byte) bool { return len(b) > 7 && b[0] == 0x68 && b[6] == 0x51 }

// What a line loses decides what can be known about a write: nothing was sent, or
// it is open what became of it. It reaches the slave once at most: by the same id it
// is sent again only where nothing was sent.
func TestAWriteOverALineThatLosesThings(t *testing.T) {
	written9 := []string{"9"}
	for name, c := range map[string]struct {
		lose func() func(fromMaster bool, b []byte) bool
		ok   any
		says string
		did  []string // what the slave noted
		now  float64
	}{
		"no E5": {func() func(bool, []byte) bool {
			wrote := false
			return func(fromMaster bool, b []byte) bool {
				wrote = wrote || fromMaster && isWrite(b)
				return wrote && !fromMaster
			}
		}, nil, "nothing tells", written9, 9},
		"no read-back": {func() func(bool, []byte) bool {
			wrote, confirmed := false, false
			return func(fromMaster bool, b []byte) bool {
				wrote = wrote || fromMaster && isWrite(b)
				lost := confirmed
				confirmed = confirmed || wrote && !fromMaster
				return lost
			}
		}, nil, "nothing tells", written9, 9},
		"the write itself": {func() func(bool, []byte) bool {
			return func(fromMaster bool, b []byte) bool { return fromMaster && isWrite(b) }
		}, nil, "nothing tells", nil, 1},
		"time-out": {func() func(bool, []byte) bool {
			return func(bool, []byte) bool { return true }
		}, false, "not sent", written9, 9}, // by the command that came again
	} {
		t.Run(name, func(t *testing.T) {
			port, log := foreignBus(t, "")
			between := relayTo(t, port)
			r := run(t, bySecondary(between.at, "timeout = \"200ms\"\npause = \"100ms\"\nwrite = [\"address\"]"))
			r.broker.UntilIs("meter2mqtt/heat/parameter/address", "1")
			between.losing(c.lose())
			const command = `{"value":9,"id":"once"}`
			got := r.tell("set/address", command)
			if text, _ := got["error"].(string); got["ok"] != c.ok || got["id"] != "once" || !strings.Contains(text, c.says) {
				t.Errorf("got %v, want ok %v and %q", got, c.ok, c.says)
			}
			if !between.losing(nil) {
				t.Error("nothing was lost")
			}
			again := r.tell("set/address", command)
			if c.ok == nil && !cmp.Equal(got, again) || c.ok == false && again["ok"] != true {
				t.Errorf("the same id again: got %v, then %v", got, again)
			}
			if got := written(t, log, "set_primary"); !slices.Equal(got, c.did) {
				t.Errorf("the slave was written to %v, want %v", got, c.did)
			}
			if got := r.tell("get/address", ""); got["value"] != c.now {
				t.Errorf("its address is %v now, want %v", got, c.now)
			}
		})
	}
}

func TestWhatMayNotBeWrittenReachesNoForeignSlave(t *testing.T) {
	port, log := foreignBus(t, "")
	between := relayTo(t, port)
	r := run(t, bySecondary(between.at, `write = ["address"]`))
	r.broker.UntilIs("meter2mqtt/heat/parameter/address", "1")
	refused := func(name, says string, got map[string]any) {
		t.Helper()
		if text, _ := got["error"].(string); got["ok"] != false || !strings.Contains(text, says) {
			t.Errorf("%s: got %v, want %q", name, got, says)
		}
	}
	refused("not allowed", "may not be written", r.tell("set/reset", "PRESS"))
	refused("wrong type", "not a decimal number", r.tell("set/address", "five"))
	refused("out of range", "takes 0 to 250", r.tell("set/address", "251"))
	before := len(r.broker.Seen("meter2mqtt/heat/result"))
	r.broker.Publish("meter2mqtt/heat/set/address", "9", true)
	// To whoever is there already the broker hands it on as a fresh one.
	if got := r.result(before); got["ok"] != true {
		t.Errorf("at once: got %v", got)
	}
	r.broker.Cut()
	refused("retained", "retained", r.result(before+1))
	r.broker.Publish("meter2mqtt/heat/set/address", "", true)
	refused("empty", "got none", r.result(before+2))

	between.close()
	r.broker.Until("a line that is down", func(m brokertest.Message) bool {
		return m.Topic == "meter2mqtt/heat/diagnostic" && !strings.Contains(m.Payload, `"line":"open"`)
	})
	refused("offline", "not open", r.tell("set/address", "10"))
	if got := written(t, log, "set_primary"); !slices.Equal(got, []string{"9"}) {
		t.Errorf("the slave was written to %v", got)
	}
	for _, kind := range []string{"application_reset", "set_clock", "select_for_readout"} {
		if got := written(t, log, kind); len(got) != 0 {
			t.Errorf("%s: the slave noted %v", kind, got)
		}
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

// noted are the writes that a foreign meter of ours says it has made.
func noted(t *testing.T, peer *peertest.Peer) (all []string) {
	t.Helper()
	for _, l := range peer.Lines()[1:] {
		var e struct {
			Write struct {
				Address string
				Values  []string
				ID      int
				Value   string
			}
		}
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		if w := e.Write; w.Address != "" {
			all = append(all, w.Address+"="+strings.Join(w.Values, ","))
		} else {
			all = append(all, fmt.Sprintf("p%d=%s", w.ID, w.Value))
		}
	}
	return all
}

// What is ordered by MQTT is in the foreign meter's memory afterwards and shows as
// the parameter's value; what is refused has not touched it.
func TestAWriteByMQTTReachesAForeignMeter(t *testing.T) {
	optical := func(args, keys string) func(*testing.T) (string, *peertest.Peer) {
		return func(t *testing.T) (string, *peertest.Peer) {
			t.Helper()
			peer := foreignOptical.Start(t, strings.Fields("--run-for 300 --tcp 0 "+args)...)
			return fmt.Sprintf("port = \"tcp://%s\"\ntimezone = \"Europe/Berlin\"\npassword = \"00000000\"\nevery = \"1h\"\n%s", peer.At, keys), peer
		}
	}
	converter := func(t *testing.T) (string, *peertest.Peer) {
		t.Helper()
		keys, truth := foreignCorus(t)
		return keys + "hold = true\nevery = \"1h\"\nwrite = [\"p20\", \"p25\", \"p82\"]\n", truth.peer
	}
	type order struct {
		topic, payload string
		value          string // how the value that the result has begins; empty: it is refused
	}
	for name, c := range map[string]struct {
		start  func(*testing.T) (keys string, peer *peertest.Peer)
		orders []order
		noted  []string // how they begin
	}{
		"iec62056-21": {
			optical("", "driver = \"iec62056-21\"\nwrite = [\"clock\", \"switch\", \"total\"]\n"+
				"registers = [\"switch C.3.9 number 0..3\", \"total 1.8.0 number kWh 0..9999\", \"other C.4.1 number 0..9\"]\n"),
			[]order{
				{"set/switch", "2", "2"},
				// And what the sign-on took.
				{"set/clock", "2026-07-01T12:00:12+02:00", "2026-07-01T12:"},
				// The meter protects it.
				{"set/total", "5", ""},
				{"set/switch", "4", ""},
				{"set/switch", "on", ""},
				{"set/other", "1", ""}, // not allowed
				{"set/nothing", "1", ""},
				{"get/nothing", "", ""},
			},
			[]string{"C.3.9=2", "0.9.2=260701", "0.9.1=120"},
		},
		"lis200": {
			optical("--lis200", "driver = \"lis200\"\nwrite = [\"clock\", \"note\"]\nregisters = [\"note 3:190.0 number 0..9\", \"other 3:191.0 number 0..9\"]\n"),
			[]order{
				{"set/note", "7", "7"},
				{"set/clock", "2026-07-01T12:00:12+02:00", "2026-07-01T12:"},
				{"set/note", "10", ""},
				{"set/note", "x", ""},
				{"set/other", "1", ""},
			},
			[]string{"3:190.0=7", "1:400.0=2026-07-01,12:"},
		},
		"corus": {
			converter,
			[]order{
				{"set/p25", "16.12", "16.12"},
				{"set/p82", "NORTH", "NORTH"},
				{"set/p20", "255", ""},
				{"set/p20", "x", ""},
				{"set/p29", "1", ""}, // not allowed
				{"set/clock", "now", ""},
			},
			[]string{"p25=16.12", "p82=NORTH"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, peer := c.start(t)
			r := run(t, keys)
			for i, o := range c.orders {
				got, done := r.tell(o.topic, fmt.Sprintf(`{"value":%s,"id":"n%d"}`, quoted(o.payload), i)), o.value != ""
				_, parameter, _ := strings.Cut(o.topic, "/")
				if got["id"] != fmt.Sprintf("n%d", i) || got["parameter"] != parameter || got["ok"] != done {
					t.Errorf("%s %s: got %v", o.topic, o.payload, got)
				}
				if text, _ := got["error"].(string); (text == "") != done || strings.Contains(text, "00000000") {
					t.Errorf("%s %s: error %q", o.topic, o.payload, text)
				}
				if value, told := got["value"]; told != done || done && !strings.HasPrefix(fmt.Sprint(value), o.value) {
					t.Errorf("%s %s: value %v", o.topic, o.payload, value)
				} else if done {
					r.broker.UntilIs("meter2mqtt/heat/parameter/"+parameter, fmt.Sprint(value))
				}
			}
			got := noted(t, peer)
			if !slices.EqualFunc(got, c.noted, strings.HasPrefix) {
				t.Errorf("the meter noted %q, want %q", got, c.noted)
			}
		})
	}
}

// quoted is a value as JSON: a number as it is.
func quoted(value string) string {
	if json.Valid([]byte(value)) {
		return value
	}
	text, _ := json.Marshal(value) //nolint:errchkjson // text
	return string(text)
}
