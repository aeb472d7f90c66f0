package commandline

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// canaries are the secrets of a house, each in its place.
var canaries = map[string]string{
	"mqtt.password": canary.MQTTPassword, "homeassistant.token": canary.HomeToken, "http.password": canary.PagePassword,
	"p1.key": canary.Key(1), "p1.auth_key": canary.Key(2), "wrong.key": canary.Key(3), "wrong.auth_key": canary.TextKey,
	"hdlc.key": canary.Key(4), "hdlc.auth_key": canary.Key(5), "wmbus.key": canary.Key(6), "iec.password": canary.MeterPassword,
	"routeb.id": canary.Key(7), "routeb.password": canary.RouteBPassword,
}

// simulatedOn is a simulated meter on a TCP port of its own.
func simulatedOn(t *testing.T, driver string, o sim.Options) (port string, meter *sim.Simulator) {
	t.Helper()
	meter, err := sim.New(driver, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l, err := sim.Listen(ctx, "tcp://127.0.0.1:0")
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = l.Serve(ctx, meter.Serve); _ = l.Close() })
	t.Cleanup(func() { cancel(); serving.Wait() })
	return l.Addr(), meter
}

// secretMeters are the tables of meters that have secrets: of some they fit, of
// others they do not.
func secretMeters(t *testing.T) string {
	t.Helper()
	fast := 200 * time.Millisecond
	with := func(name string, faults ...string) sim.Options {
		return sim.Options{
			Period: fast, Faults: faults,
			Key: drivers.NewSecret(canaries[name+".key"]), AuthKey: drivers.NewSecret(canaries[name+".auth_key"]),
		}
	}
	var text strings.Builder
	add := func(name, driver, port string, keys ...string) {
		fmt.Fprintf(&text, "[[meter]]\nname = %q\ndriver = %q\nport = %q\n", name, driver, port)
		for i := 0; i < len(keys); i += 2 {
			fmt.Fprintf(&text, "%s = %q\n", keys[i], keys[i+1])
		}
	}
	port, _ := simulatedOn(t, "p1", with("p1", "bad-crc=3", "cut=4"))
	add("mains", "p1", port, "key", canaries["p1.key"], "auth_key", canaries["p1.auth_key"])
	port, _ = simulatedOn(t, "p1", with("p1"))
	add("other", "p1", port, "key", canaries["wrong.key"], "auth_key", canaries["wrong.auth_key"])
	austria := with("hdlc", "bad-check=3")
	austria.Model = "austria"
	port, _ = simulatedOn(t, "hdlc", austria)
	add("han", "hdlc", port, "key", canaries["hdlc.key"], "auth_key", canaries["hdlc.auth_key"])
	port, radio := simulatedOn(t, "wmbus", sim.Options{Period: fast, Faults: []string{"bad-check=3"}, Key: drivers.NewSecret(canaries["wmbus.key"])})
	keys := []string{}
	for _, k := range radio.Keys {
		keys = append(keys, k.Key, k.Value)
	}
	add("radio", "wmbus", port, keys...)
	port, _ = simulatedOn(t, "iec62056-21", sim.Options{})
	add("feeder", "iec62056-21", port, "password", canaries["iec.password"], "every", "1s")
	text.WriteString("write = [\"clock\"]\n")
	port, _ = simulatedOn(t, "routeb", sim.Options{})
	add("house", "routeb", port, "id", canaries["routeb.id"], "password", canaries["routeb.password"])
	return text.String()
}

// distrustfulHome is a Home Assistant that takes no token.
func distrustfulHome(t *testing.T) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		var login map[string]string
		_ = wsjson.Write(r.Context(), ws, map[string]string{"type": "auth_required", "ha_version": "2026.11.0"})
		_ = wsjson.Read(r.Context(), ws, &login)
		_ = wsjson.Write(r.Context(), ws, map[string]string{"type": "auth_invalid"})
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http") + "/api/websocket"
}

// produced is everything that the program has produced, by where it was found.
type produced map[string][]byte

// run notes what a command says.
func (p produced) run(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "meter2mqtt", args...).CombinedOutput()
	if len(out) == 0 {
		t.Errorf("meter2mqtt %s said nothing: %v", args, err)
	}
	p["meter2mqtt "+strings.Join(args, " ")] = out
}

// get notes what the page's server says, and what it says to who has no password.
func (p produced) get(t *testing.T, address, path string) {
	t.Helper()
	for _, password := range []string{canaries["http.password"], "another"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Close = true // each on a connection of its own
		request.SetBasicAuth("someone", password)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		_ = response.Header.Write(&b)
		limit := int64(1 << 20)
		if path == "/live" {
			limit = 4 << 10 // a stream: its first events
		}
		_, _ = io.Copy(&b, io.LimitReader(response.Body, limit))
		_ = response.Body.Close()
		cancel()
		if want := map[bool]int{true: 200, false: 401}[password == canaries["http.password"]]; response.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, response.StatusCode, want)
		}
		p[fmt.Sprintf("%s to %d", path, response.StatusCode)] = b.Bytes()
	}
}

// files notes every file of a folder.
func (p produced) files(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		p[path] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// search says where a secret is, in any form that text, recordings and requests
// have for it.
func (p produced) search(t *testing.T) {
	t.Helper()
	for name, secret := range canaries {
		plain := hex.EncodeToString([]byte(secret))
		forms := []string{secret, plain, hex.EncodeToString([]byte(plain)), base64.StdEncoding.EncodeToString([]byte(secret))}
		if raw, err := hex.DecodeString(secret); err == nil {
			forms = append(forms, string(raw), hex.EncodeToString([]byte(strings.ToLower(secret))))
		}
		for where, b := range p {
			for _, form := range forms {
				if bytes.Contains(bytes.ToLower(b), bytes.ToLower([]byte(form))) {
					t.Errorf("%s is in %s as %q", name, where, form)
				}
			}
		}
	}
}

// listenLine is where the log tells which port the page got.
var listenLine = regexp.MustCompile(`"listen":"(127\.0\.0\.1:\d+)"`)

func TestNoSecretOfTheConfigurationIsInAnythingThatIsProduced(t *testing.T) {
	broker := brokertest.New(t)
	broker.Login.Username, broker.Login.Password = "gateway", canaries["mqtt.password"]
	broker.Start()
	t.Cleanup(broker.Stop)
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	text := fmt.Sprintf(`[mqtt]
url = %q
username = "gateway"
password = %q
[homeassistant]
url = %q
token = %q
[state]
dir = %q
[http]
listen = "127.0.0.1:0"
username = "someone"
password = %q
[log]
level = "trace"
format = "json"
%s`, broker.URL(), canaries["mqtt.password"], distrustfulHome(t), canaries["homeassistant.token"], state, canaries["http.password"], secretMeters(t))
	good, broken := filepath.Join(dir, "config.toml"), filepath.Join(dir, "broken.toml")
	for file, text := range map[string]string{good: text, broken: brokenly(text)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	var log heard
	gateway := exec.CommandContext(t.Context(), "meter2mqtt", "run", "-c", good)
	gateway.Stdout, gateway.Stderr = &log, &log
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	ended := sync.OnceFunc(func() {
		_ = gateway.Process.Signal(syscall.SIGINT)
		_ = gateway.Wait()
	})
	t.Cleanup(func() {
		ended()
		if t.Failed() || gateway.ProcessState.ExitCode() != 0 {
			t.Errorf("%s:\n%s", gateway.ProcessState, log.String())
		}
	})
	names := []string{"mains", "other", "han", "radio", "feeder", "house"}
	broker.UntilIs("meter2mqtt/bridge/availability", "online")
	for _, name := range names {
		broker.Publish("meter2mqtt/bridge/request/record", `{"meter":"`+name+`"}`, false)
	}
	for _, name := range []string{"mains", "han", "radio"} {
		broker.Until(name, func(m brokertest.Message) bool { return m.Topic == "meter2mqtt/"+name+"/state" })
	}
	broker.Publish("meter2mqtt/feeder/set/clock", "now", false)
	broker.Until("the result", func(m brokertest.Message) bool { return m.Topic == "meter2mqtt/feeder/result" })

	all := produced{}
	address := listenLine.FindStringSubmatch(log.String())
	if address == nil {
		t.Fatalf("the log does not tell where the page is:\n%s", log.String())
	}
	for _, refusing := range []string{"mains", "other", "han"} {
		untilReported(t, good, dir, refusing)
	}
	for _, path := range []string{"/", "/live", "/report", "/metrics", "/healthz"} {
		all.get(t, address[1], path)
	}
	for _, name := range names {
		all.get(t, address[1], "/frames?meter="+name)
	}
	all.run(t, "report", "-c", good, filepath.Join(dir, "report.jsonl"))
	all.run(t, "health", "-c", good)
	all.run(t, "check", "-c", good)
	all.run(t, "check", "-c", broken)
	ended()
	all.run(t, "check", "--online", "-c", good)
	all["the log"] = []byte(log.String())
	for i, m := range broker.Seen("") {
		all[fmt.Sprintf("message %d on %s", i, m.Topic)] = []byte(m.Topic + " " + m.Payload)
	}
	if err := os.Remove(good); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	all.files(t, dir)
	holdsRecordings(t, all, names)
	for where, b := range all {
		canary.Keep(t, filepath.Base(where), b)
	}
	all.search(t)
}

// brokenly is a configuration with a mistake in each place of a secret: what is
// wrong must be told without it.
func brokenly(text string) string {
	for _, secret := range canaries {
		text = strings.ReplaceAll(text, `"`+secret+`"`, `"`+secret+`-too-long-for-its-place"`)
	}
	text = strings.ReplaceAll(text, "\npassword = ", "\npasword = ")
	return strings.Replace(text, "\ntoken = ", "\ntoken = 5 + ", 1) + "\nkey = "
}

// untilReported waits until a report holds a refused frame of a meter.
func untilReported(t *testing.T, config, dir, name string) {
	t.Helper()
	file := filepath.Join(dir, "early.jsonl")
	for limit := time.Now().Add(30 * time.Second); ; {
		if out, err := exec.CommandContext(t.Context(), "meter2mqtt", "report", "-c", config, file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(`"meter":"`+name+`"`)) {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("no frame of %s was refused:\n%s", name, b)
		}
	}
}

// holdsRecordings says that the line of each meter was recorded, with something
// on it.
func holdsRecordings(t *testing.T, all produced, names []string) {
	t.Helper()
	for _, name := range names {
		lines := 0
		for path, b := range all {
			if !strings.Contains(path, filepath.Join("recordings", name+"-")) {
				continue
			}
			for line := range bytes.Lines(b) {
				if json.Valid(line) {
					lines++
				}
			}
		}
		if lines == 0 {
			t.Errorf("nothing of %s was recorded", name)
		}
	}
}
