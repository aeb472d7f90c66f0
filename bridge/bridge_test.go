package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpMeter is a meter behind a TCP converter that says what the test wants.
type tcpMeter struct {
	t        *testing.T
	listener net.Listener
	clients  chan net.Conn
	conn     net.Conn
}

func newTCPMeter(t *testing.T) *tcpMeter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &tcpMeter{t: t, listener: listener, clients: make(chan net.Conn, 10)}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				close(m.clients)
				return
			}
			m.clients <- c
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
		for c := range m.clients {
			_ = c.Close()
		}
		m.hangUp()
	})
	return m
}

func (m *tcpMeter) port() string { return "tcp://" + m.listener.Addr().String() }

// say sends telegrams, once the gateway is on the line.
func (m *tcpMeter) say(telegrams ...string) {
	m.t.Helper()
	if m.conn == nil {
		select {
		case m.conn = <-m.clients:
		case <-time.After(20 * time.Second):
			m.t.Fatal("the gateway did not call the meter")
		}
	}
	for _, telegram := range telegrams {
		if _, err := m.conn.Write([]byte(telegram)); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *tcpMeter) hangUp() {
	if m.conn != nil {
		_ = m.conn.Close()
		m.conn = nil
	}
}

// telegram is a P1 telegram with its CRC.
func telegram(lines ...string) string {
	text := "/ABC5METER\r\n\r\n" + strings.Join(lines, "\r\n") + "\r\n!"
	return fmt.Sprintf("%s%04X\r\n", text, wire.ARC.Update(0, []byte(text)))
}

// gateway is a bridge at work.
type gateway struct {
	t      *testing.T
	dir    string
	log    brokertest.Log
	broker *brokertest.Broker
	cancel context.CancelFunc
	done   chan error
	hangup chan os.Signal
	level  chan zerolog.Level // as chosen while it runs
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir(), hangup: make(chan os.Signal, 1), level: make(chan zerolog.Level, 1)}
	t.Cleanup(func() {
		g.stop()
		canary.Keep(t, "log", []byte(g.log.String()))
		if t.Failed() {
			t.Log(g.log.String())
		}
	})
	canary.KeepFolder(t, g.stateDir())
	return g
}

// configure writes the configuration; $BROKER and $STATE are filled in.
func (g *gateway) configure(b *brokertest.Broker, meters string) {
	g.t.Helper()
	g.broker = b
	text := fmt.Sprintf("[mqtt]\nurl = %q\n[state]\ndir = %q\n%s", b.URL(), g.stateDir(), meters)
	if err := os.WriteFile(g.file(), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) stateDir() string { return filepath.Join(g.dir, "state") }

func (g *gateway) file() string { return filepath.Join(g.dir, "config.toml") }

func (g *gateway) load() (config.Config, error) { return config.Load(g.file(), nil, "") }

func (g *gateway) start() {
	g.t.Helper()
	c, err := g.load()
	if err != nil {
		g.t.Fatal(err)
	}
	b, err := New(c, Options{
		Version: "test", Log: zerolog.New(&g.log).Level(zerolog.DebugLevel), Reload: g.load, Hangup: g.hangup,
		SetLogLevel: func(l zerolog.Level) { g.level <- l },
	})
	if err != nil {
		g.t.Fatal(err)
	}
	if g.done != nil {
		g.broker.UntilAlone()
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel, g.done = cancel, make(chan error, 1)
	go func() { g.done <- b.Run(ctx) }()
}

func (g *gateway) stop() {
	g.t.Helper()
	if g.cancel == nil {
		return
	}
	g.cancel()
	g.cancel = nil
	if err := <-g.done; err != nil {
		g.t.Errorf("the gateway ended with %v", err)
	}
}

// idle is a bridge of the configuration that does not run.
func (g *gateway) idle() *Bridge {
	g.t.Helper()
	c, err := g.load()
	if err != nil {
		g.t.Fatal(err)
	}
	b, err := New(c, Options{Log: zerolog.Nop()})
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// atWork is a gateway that reads one meter, called main, and has its broker.
func atWork(t *testing.T) (*brokertest.Broker, *tcpMeter, *gateway) {
	t.Helper()
	b := brokertest.New(t)
	b.Start()
	t.Cleanup(b.Stop)
	m, g := newTCPMeter(t), newGateway(t)
	g.configure(b, p1Meter("main", m.port(), ""))
	g.start()
	return b, m, g
}

func p1Meter(name, port, more string) string {
	return fmt.Sprintf("[[meter]]\nname = %q\ndriver = \"p1\"\nport = %q\n%s\n", name, port, more)
}

// field is one key of a JSON payload, as it stands there.
func field(payload, key string) string {
	var m map[string]json.RawMessage
	if json.Unmarshal([]byte(payload), &m) != nil {
		return ""
	}
	return string(m[key])
}

// untilField waits for a payload on a topic whose key reads so.
func untilField(b *brokertest.Broker, topic, key, want string) brokertest.Message {
	return b.Until(topic+" "+key+"="+want, func(m brokertest.Message) bool {
		return m.Topic == topic && field(m.Payload, key) == want
	})
}

func TestATelegramBecomesAState(t *testing.T) {
	b, m, g := atWork(t)
	b.UntilIs("meter2mqtt/bridge/availability", "online")
	b.UntilIs("meter2mqtt/main/availability", "offline")
	m.say(telegram("0-0:96.1.1(4B31)", "1-0:1.8.1(000100.100*kWh)", "1-0:1.8.2(000200.200*kWh)", "1-0:1.7.0(00.193*kW)"))
	state := untilField(b, "meter2mqtt/main/state", "1-0:1.8.1", "100.100")
	if state.Retain {
		t.Error("the state of a fast meter is retained")
	}
	for key, want := range map[string]string{
		"1-0:1.8.2": "200.200", "1-0:1.8.0": "300.300", "1-0:1.7.0": "193", "0-0:96.1.1": `"K1"`,
	} {
		if got := field(state.Payload, key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	b.UntilIs("meter2mqtt/main/availability", "online")
	info := b.Until("info", func(m brokertest.Message) bool { return m.Topic == "meter2mqtt/main/info" && m.Retain })
	if !strings.Contains(info.Payload, `"key":"1-0:1.8.0","obis":"1-0:1.8.0","name":"energy_import","kind":"number","unit":"kWh","digits":3,"derived":true`) {
		t.Errorf("the derived total is not told in %s", info.Payload)
	}
	b.Until("discovery", func(m brokertest.Message) bool {
		return m.Topic == "homeassistant/device/meter2mqtt_main/config" && m.Retain
	})
	untilField(b, "meter2mqtt/main/diagnostic", "line", `"open"`)
	g.stop()
	b.UntilIs("meter2mqtt/bridge/availability", "offline")
}

func TestADamagedTelegramIsCountedAndNotPublished(t *testing.T) {
	b, m, _ := atWork(t)
	good := telegram("1-0:1.8.0(000100.100*kWh)")
	m.say(strings.Replace(good, "100.100", "100.101", 1), good)
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "100.100")
	m.hangUp() // which publishes the counts
	untilField(b, "meter2mqtt/main/diagnostic", "refused", "1")
	for _, s := range b.Seen("meter2mqtt/main/state") {
		if strings.Contains(s.Payload, "100.101") {
			t.Errorf("published: %s", s.Payload)
		}
	}
}

func TestAWrongTotalIsHeldBackAndTold(t *testing.T) {
	b, m, _ := atWork(t)
	m.say(telegram("1-0:1.8.0(005686.900*kWh)", "1-0:1.7.0(00.100*kW)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.7.0", "100")
	m.say(telegram("1-0:1.8.0(000000.000*kWh)", "1-0:1.7.0(00.200*kW)"))
	state := untilField(b, "meter2mqtt/main/state", "1-0:1.7.0", "200")
	if got := field(state.Payload, "1-0:1.8.0"); got != "5686.900" {
		t.Errorf("the total is %s", got)
	}
	event := untilField(b, "meter2mqtt/main/event", "event_type", `"held_back"`)
	if field(event.Payload, "reason") != `"fell"` || field(event.Payload, "last") != "5686.900" {
		t.Errorf("got %s", event.Payload)
	}
	// A meter that was exchanged, and does not begin at 0.
	m.say(telegram("1-0:1.8.0(000012.300*kWh)"), telegram("1-0:1.8.0(000012.300*kWh)"))
	event = untilField(b, "meter2mqtt/main/event", "event_type", `"exchanged"`)
	if field(event.Payload, "old") != "5686.900" || field(event.Payload, "correction") != "-12.300" {
		t.Errorf("got %s", event.Payload)
	}
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "12.300")
}

func TestWhatCameWhileTheBrokerWasAwayBecomesHistory(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	g.configure(b, p1Meter("main", m.port(), ""))
	g.start()
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	b.Stop()
	const missed = 200 // more than are on their way at a time
	for i := 1; i <= missed; i++ {
		m.say(telegram(fmt.Sprintf("1-0:1.8.0(000001.%03d*kWh)", i)))
	}
	untilLog(t, g, "telegram received", missed+1)
	g.stop() // and what waits must survive a restart
	b.Forget()
	m.hangUp()
	g.start()
	b.Start()
	defer b.Stop()
	m.say(telegram("1-0:1.8.0(000001.201*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.201")
	untilField(b, "meter2mqtt/main/history", "1-0:1.8.0", "1.200")
	var got []string
	for _, h := range b.Seen("meter2mqtt/main/history") {
		if field(h.Payload, "source") != `"journal"` || h.Retain {
			t.Errorf("got %+v", h)
		}
		got = append(got, field(h.Payload, "1-0:1.8.0"))
	}
	for i := 1; i <= missed; i++ {
		if want := fmt.Sprintf("1.%03d", i); len(got) < missed || got[len(got)-missed+i-1] != want {
			t.Fatalf("history is %v", got)
		}
	}
}

// untilLog waits until the log says something so many times.
func untilLog(t *testing.T, g *gateway, what string, times int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for strings.Count(g.log.String(), what) < times {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the log does not say %d times %q", times, what)
		}
	}
}

func TestWithinAGapTheNewestOfEveryKeyWins(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, p1Meter("main", m.port(), "every = \"2s\""))
	g.start()
	m.say(telegram("1-0:1.8.0(000001.000*kWh)", "1-0:1.7.0(00.001*kW)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.7.0", "1")
	m.say(telegram("1-0:1.8.0(000001.001*kWh)"), telegram("1-0:1.7.0(00.002*kW)"), telegram("1-0:1.7.0(00.003*kW)"))
	state := untilField(b, "meter2mqtt/main/state", "1-0:1.7.0", "3")
	if got := field(state.Payload, "1-0:1.8.0"); got != "1.001" {
		t.Errorf("the total of the gap is %s", got)
	}
	for _, s := range b.Seen("meter2mqtt/main/state") {
		if field(s.Payload, "1-0:1.7.0") == "2" {
			t.Error("published within the gap")
		}
	}
}

func TestValuesAreAlsoPublishedAsPlainText(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, p1Meter("main", m.port(), ""))
	text, err := os.ReadFile(g.file())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.file(), bytes.Replace(text, []byte("[mqtt]\n"), []byte("[mqtt]\nvalues = true\nbase = \"home/meters\"\n"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	g.start()
	m.say(telegram("1-0:1.8.0(000001.500*kWh)", "0-0:96.13.0(48656C6C6F)"))
	b.UntilIs("home/meters/main/value/1-0:1.8.0", "1.500")
	b.UntilIs("home/meters/main/value/0-0:96.13.0", "Hello")
}

func TestHomeAssistantsBirthIsAnsweredWithEverything(t *testing.T) {
	b, m, _ := atWork(t)
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	b.Forget()
	b.Publish("homeassistant/status", "online", false)
	b.Until("discovery", func(m brokertest.Message) bool { return m.Topic == "homeassistant/device/meter2mqtt_bridge/config" })
	b.Until("discovery", func(m brokertest.Message) bool { return m.Topic == "homeassistant/device/meter2mqtt_main/config" })
	b.UntilIs("meter2mqtt/main/availability", "online")
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
}

func TestAChangedConfigurationLeavesOtherMetersAlone(t *testing.T) {
	b, stays, goes, g := brokertest.New(t), newTCPMeter(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, p1Meter("stays", stays.port(), "")+p1Meter("goes", goes.port(), ""))
	g.start()
	stays.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	goes.say(telegram("1-0:1.8.0(000002.000*kWh)"))
	untilField(b, "meter2mqtt/stays/state", "1-0:1.8.0", "1.000")
	untilField(b, "meter2mqtt/goes/state", "1-0:1.8.0", "2.000")
	b.Forget()
	g.configure(b, p1Meter("stays", stays.port(), ""))
	b.Publish("meter2mqtt/bridge/request/reload", `{"id":7}`, false)
	b.UntilIs("meter2mqtt/bridge/response/reload", `{"id":7,"ok":true}`)
	b.UntilIs("homeassistant/device/meter2mqtt_goes/config", "")
	b.UntilIs("meter2mqtt/goes/availability", "")
	stays.say(telegram("1-0:1.8.0(000001.001*kWh)")) // on the same connection
	untilField(b, "meter2mqtt/stays/state", "1-0:1.8.0", "1.001")

	g.configure(b, "[log]\nlevel = \"warn\"\n"+p1Meter("stays", stays.port(), ""))
	g.hangup <- nil
	untilLog(t, g, "configuration not taken over", 1)
	b.Publish("meter2mqtt/bridge/request/frobnicate", `nonsense`, false)
	untilField(b, "meter2mqtt/bridge/response/frobnicate", "ok", "false")
}

func TestAFloodOfReloadsIsAnsweredAndNotDone(t *testing.T) {
	reads := 0
	b := &Bridge{options: Options{Log: zerolog.Nop(), Reload: func() (config.Config, error) {
		reads++
		return config.Config{}, errors.New("no file")
	}}}
	for range 100 {
		if err := b.reloadAsAsked(t.Context()); err == nil {
			t.Fatal("no error")
		}
	}
	if reads != 1 {
		t.Errorf("the configuration was read %d times, want once", reads)
	}
}

func TestALineThatComesBackIsReadAgain(t *testing.T) {
	b, m, _ := atWork(t)
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	m.hangUp()
	m.say(telegram("1-0:1.8.0(000001.001*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.001")
}

func TestTwoGatewaysDoNotShareAState(t *testing.T) {
	b, g := brokertest.New(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, p1Meter("main", "tcp://127.0.0.1:1", ""))
	g.start()
	untilLog(t, g, "gateway started", 1)
	if err := g.idle().Run(context.Background()); err == nil || !strings.Contains(err.Error(), "another gateway") {
		t.Errorf("got %v", err)
	}
}

func TestAChannelThatNoMeterIsBehindIsNotPublished(t *testing.T) {
	b, m, _ := atWork(t)
	m.say(telegram("1-0:1.7.0(00.193*kW)",
		"0-1:24.1.0(003)", "0-1:96.1.0()", "0-1:24.2.1(700101010000W)(00000000)",
		"0-2:24.1.0(003)", "0-2:96.1.0(4731)", "0-2:24.2.1(260131230000W)(00246.138*m3)"))
	state := untilField(b, "meter2mqtt/main/state", "0-2:24.2.1", "246.138")
	if strings.Contains(state.Payload, "0-1:") {
		t.Errorf("got %s", state.Payload)
	}
	b.Until("discovery", func(m brokertest.Message) bool {
		return m.Topic == "homeassistant/device/meter2mqtt_main_ch2/config"
	})
	for _, s := range b.Seen("") {
		if strings.Contains(s.Topic, "main_ch1") {
			t.Errorf("announced: %s", s.Topic)
		}
	}
}
