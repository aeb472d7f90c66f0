package bridge

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/bridge/supervisor"
	"github.com/meter2mqtt/meter2mqtt/bridge/web"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// put writes a file, with its folders.
func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantLog wants a line of the log that has all the words.
func wantLog(t *testing.T, g *gateway, words ...string) {
	t.Helper()
	for line := range strings.Lines(g.log.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return
		}
	}
	t.Errorf("no line of the log has %q", words)
}

func TestTheUsualStateFolderIsWhereTheSystemSaysSo(t *testing.T) {
	for name, c := range map[string]struct{ service, app, user, home, want string }{
		"a service":                   {"/var/lib/private/meter2mqtt", "token", "/xdg", "/home/ann", "/var/lib/private/meter2mqtt"},
		"the app":                     {"", "token", "/xdg", "/home/ann", "/data"},
		"a user with a place for it":  {"", "", "/xdg", "/home/ann", "/xdg/meter2mqtt"},
		"a place that is no path":     {"", "", "xdg", "/home/ann", "/home/ann/.local/state/meter2mqtt"},
		"a user":                      {"", "", "", "/home/ann", "/home/ann/.local/state/meter2mqtt"},
		"nobody that lives somewhere": {"", "", "", "", "/var/lib/meter2mqtt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("STATE_DIRECTORY", c.service)
			t.Setenv(supervisor.TokenVariable, c.app)
			t.Setenv("XDG_STATE_HOME", c.user)
			t.Setenv("HOME", c.home)
			if got := StateDir(""); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if got := StateDir("/mine"); got != "/mine" {
				t.Errorf("configured: got %s", got)
			}
		})
	}
}

// Readings matter more than what is remembered.
func TestAStateThatCannotBeHadIsToldAndDoneWithout(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	put(t, g.stateDir(), "a file where the folder should be")
	g.configure(b, p1Meter("main", m.port(), ""))
	g.start()
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	b.Publish("meter2mqtt/bridge/request/record", "main", false)
	b.UntilIs("meter2mqtt/bridge/response/record", `{"ok":false,"error":"there is no state.dir to write to"}`)
	g.stop()
	wantLog(t, g, "nothing is remembered over a restart", `"level":"warn"`, "state.dir")
}

func TestAJournalThatCannotBeOpenedEndsTheGatewayWithARemedy(t *testing.T) {
	g := newGateway(t)
	put(t, filepath.Join(g.stateDir(), "journal"), "a file where a folder should be")
	g.configure(brokertest.New(t), p1Meter("main", "tcp://127.0.0.1:1", ""))
	b := g.idle()
	if err := b.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "state.dir: ") || !strings.Contains(drivers.Hint(err), "written to") {
		t.Errorf("got %v, hint %q", err, drivers.Hint(err))
	}
}

func TestWhatIsDamagedInTheStateIsPutAsideAndTold(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	t.Setenv(supervisor.TokenVariable, "")
	files := []string{"memory.json", "commands.json", "statistics.json"}
	for _, name := range files {
		put(t, filepath.Join(g.stateDir(), name), "torn by a power cut")
	}
	g.configure(b, "[homeassistant]\nurl = \"ws://127.0.0.1:1/api/websocket\"\ntoken = \"canary\"\n"+p1Meter("main", m.port(), ""))
	g.start()
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	g.stop()
	for _, name := range files {
		kept, err := os.ReadFile(filepath.Join(g.stateDir(), name+".damaged"))
		if err != nil || string(kept) != "torn by a power cut" {
			t.Errorf("%s is kept as %q, %v", name, kept, err)
		}
		wantLog(t, g, `"level":"error"`, name+" was damaged; it is kept as")
	}
	if strings.Contains(g.log.String(), "canary") {
		t.Error("the token is in the log")
	}
}

func TestAStateThatTakesNothingMoreIsTold(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, "[homeassistant]\nurl = \"ws://127.0.0.1:1/api/websocket\"\ntoken = \"x\"\n"+p1Meter("main", m.port(), ""))
	g.start()
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	if err := os.RemoveAll(g.stateDir()); err != nil { // as good as a full disk, also for root
		t.Fatal(err)
	}
	g.stop()
	wantLog(t, g, "what was learned cannot be saved", "is the disk full")
	wantLog(t, g, "hours that wait for Home Assistant's statistics cannot be saved", "is the disk full")
}

func TestADoorThatCannotBeOpenedIsToldAndReadingsGoOn(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	put(t, filepath.Join(g.stateDir(), "meter2mqtt.sock", "x"), "")
	g.configure(b, fmt.Sprintf("[http]\nlisten = %q\nusername = \"ann\"\npassword = \"canary\"\n", taken.Addr())+p1Meter("main", m.port(), ""))
	g.start()
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	g.stop()
	wantLog(t, g, "are not served here", taken.Addr().String(), "is the port taken by another program?")
	wantLog(t, g, "the health command cannot ask this gateway")
	if strings.Contains(g.log.String(), "canary") {
		t.Error("the password is in the log")
	}
}

// The app's own door is for the Supervisor's proxy and its own container.
func TestTheAppServesItsPageToTheSupervisor(t *testing.T) {
	b, g := brokertest.New(t), newGateway(t)
	g.configure(b, p1Meter("main", "tcp://127.0.0.1:1", ""))
	gateway := g.idle()
	gateway.config.HTTP.Ingress, gateway.state = "127.0.0.1:0", &state{}
	doors := gateway.doors(t.Context())
	if len(doors) != 1 || doors[0].Guard == nil {
		t.Fatalf("%d doors", len(doors))
	}
	_ = doors[0].Listener.Close()
	guarded := doors[0].Guard(http.NotFoundHandler())
	for from, want := range map[string]int{"172.30.32.2:4711": http.StatusNotFound, "172.30.33.9:4711": http.StatusForbidden} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		if guarded.ServeHTTP(w, r); w.Code != want {
			t.Errorf("from %s: code %d, want %d", from, w.Code, want)
		}
	}
}

func TestTheSupervisorIsAskedForItsBrokerAtEachConnection(t *testing.T) {
	var answer string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
	defer s.Close()
	find := supervisorsBroker(supervisor.Client{Token: drivers.NewSecret("x"), Address: s.URL})
	for _, password := range []string{"first", "second"} {
		answer = `{"result":"ok","data":{"host":"core-mosquitto","port":8883,"ssl":true,"username":"addons","password":"` + password + `"}}`
		a, err := find(t.Context())
		if err != nil || a.URL != "mqtts://core-mosquitto:8883" || a.Username != "addons" || a.Password() != password {
			t.Errorf("got %s as %s, %v", a.URL, a.Username, err)
		}
	}
	answer = `{"result":"error","message":"Service not enabled"}`
	if _, err := find(t.Context()); err == nil || !strings.Contains(drivers.Hint(err), "Mosquitto broker app") {
		t.Errorf("without a broker: %v", err)
	}
	if o := linkOptions(config.Config{}, Options{}, nil); o.Find == nil || o.URL != "" {
		t.Error("without an address nobody is asked for one")
	}
}

// What was announced of a meter goes with it, also while the gateway did not run.
func TestAMeterThatWasTakenOutIsTakenOutOfTheBroker(t *testing.T) {
	b, m, g := atWork(t)
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	const device = "homeassistant/device/meter2mqtt_main/config"
	b.Until("discovery", func(m brokertest.Message) bool { return m.Topic == device && m.Payload != "" })
	g.stop()
	g.configure(b, p1Meter("other", m.port(), ""))
	g.start()
	for _, topic := range []string{device, "meter2mqtt/main/state", "meter2mqtt/main/availability", "meter2mqtt/main/diagnostic"} {
		b.Until(topic+" emptied", func(m brokertest.Message) bool { return m.Topic == topic && m.Payload == "" && m.Retain })
	}
}

func TestDiscoveryThatIsSwitchedOffTakesOutWhatWasAnnounced(t *testing.T) {
	b, m, g := atWork(t)
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	const device = "homeassistant/device/meter2mqtt_main/config"
	b.Until("discovery", func(m brokertest.Message) bool { return m.Topic == device && m.Payload != "" })
	g.stop()
	m.hangUp()
	g.configure(b, "[homeassistant]\ndiscovery = false\n"+p1Meter("main", m.port(), ""))
	g.start()
	b.Until("the device emptied", func(m brokertest.Message) bool { return m.Topic == device && m.Payload == "" && m.Retain })
	before := len(b.Seen(""))
	m.say(telegram("1-0:1.8.0(000001.001*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.001")
	for _, seen := range b.Seen("")[before:] {
		if strings.HasPrefix(seen.Topic, "homeassistant/") && seen.Payload != "" {
			t.Errorf("announced: %s", seen.Topic)
		}
	}
}

func TestThePageIsRefusedWhatThereIsNot(t *testing.T) {
	g := newGateway(t)
	g.configure(brokertest.New(t), p1Meter("main", "tcp://127.0.0.1:1", ""))
	b := g.idle()
	if _, known := b.Frames("nobody"); known {
		t.Error("frames of nobody")
	}
	if _, err := b.Command(t.Context(), web.Command{Meter: "no\x00body", Parameter: "limit", Value: "1"}); err == nil || strings.Contains(err.Error(), "\x00") {
		t.Errorf("a command for nobody: %v", err)
	}
	if err := b.setLogLevel(order{Value: "debug"}); err == nil {
		t.Error("the log level changed where nobody can change it")
	}
	if err := b.reload(t.Context()); err == nil || !strings.Contains(err.Error(), "no configuration file") {
		t.Errorf("reloaded from nowhere: %v", err)
	}
}

func TestAGatewayThatHangsTellsThatAlone(t *testing.T) {
	g := newGateway(t)
	g.configure(brokertest.New(t), p1Meter("main", "tcp://127.0.0.1:1", ""))
	b := g.idle()
	b.started = time.Now().Add(-time.Hour)
	b.draining.beat(time.Hour)
	b.meters[0].mu.Lock() // what hangs holds it
	defer b.meters[0].mu.Unlock()
	for what, g := range map[string]status.Gateway{"health": b.Status(), "the page": b.Live().Gateway} {
		if g.Healthy() || !strings.HasPrefix(g.Problem, "housekeeping stands still since 1h") || len(g.Meters) != 0 {
			t.Errorf("%s: %+v", what, g)
		}
	}
}

func TestACheckOnlineAsksEachPortOnceAndLeavesTopicsToTheBroker(t *testing.T) {
	port, heard := silentMeter(t)
	told := checkedOnline(t, "[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n"+
		strings.Replace(p1Meter("one", port, ""), "\"p1\"", "\"mbus\"", 1)+"address = \"1\"\n"+
		strings.Replace(p1Meter("two", port, ""), "\"p1\"", "\"mbus\"", 1)+"address = \"2\"\n"+
		p1Meter("topic", "mqtt:meters/raw", ""))
	var what []string
	for _, o := range told {
		if name, isPort := strings.CutPrefix(o.What, "port "); isPort {
			what = append(what, name)
			if o.Err != nil {
				t.Errorf("%s: %v", o.What, o.Err)
			}
		}
	}
	if len(what) != 2 || !strings.HasSuffix(what[0], "of meter one") || !strings.HasSuffix(what[1], "of meter topic") {
		t.Errorf("looked at %q", what)
	}
	if said := heard(); len(said) != 0 {
		t.Errorf("sent to the meter: %x", said)
	}
}
