package bridge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// settable is a meter whose Parameters can be written: what is written is kept,
// and each write is logged, as the meter's side of the line sees it.
type settable struct {
	mu     sync.Mutex
	values map[string]drivers.Value
	writes []string // NAME=VALUE
	reads  []string
	dial   error
	mute   error                           // of every reading
	fails  error                           // of every write, which is logged all the same
	keeps  bool                            // it takes a write and changes nothing
	during func(ctx context.Context) error // while a write is under way; nil: nothing
	said   chan struct{}                   // a token a write
}

func newSettable() *settable {
	return &settable{said: make(chan struct{}, 1000), values: map[string]drivers.Value{
		"limit": {Name: "limit", Number: drivers.NewDecimal(3, 0)},
		"mode":  {Name: "mode", Kind: drivers.Text, Text: "eco"},
		"relay": {Name: "relay", Kind: drivers.Bool},
		"pin":   {Name: "pin", Kind: drivers.Text, Text: "0000"},
		"clock": {Name: "clock", Kind: drivers.Moment, Moment: drivers.Stamp{Wall: time.Now(), Zoned: true}},
	}}
}

func (m *settable) parameters() []drivers.Parameter {
	both := drivers.Readable | drivers.Writable
	mode, pin := named("mode", drivers.Text, both), named("pin", drivers.Text, both)
	mode.Options = []string{"eco", "full"}
	pin.Secret = true
	return []drivers.Parameter{
		limited(10), mode, pin, named("relay", drivers.Bool, both), named("clock", drivers.Moment, both),
		named("reset", drivers.Text, drivers.Pressable), named("serial", drivers.Text, drivers.Readable),
	}
}

// keyless is the configuration of a driver that has no keys.
type keyless struct{}

func (*keyless) Validate() error { return nil }

func (m *settable) driver() drivers.Driver {
	return drivers.Driver{
		Name: "settable", Every: time.Hour,
		NewConfig: func() drivers.Config { return &keyless{} },
		Dial: func(context.Context, drivers.Line, drivers.Config, drivers.Zones) (drivers.Session, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return &settableSession{m}, m.dial
		},
	}
}

type settableSession struct{ *settable }

func (s *settableSession) Describe() (drivers.Identity, []drivers.Quantity, []drivers.Parameter) {
	return drivers.Identity{Driver: "settable", ID: "1"}, nil, s.parameters()
}

func (s *settableSession) Read(_ context.Context, _ []obis.Code, r *drivers.Reading) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mute != nil {
		return s.mute
	}
	r.Check = drivers.CheckCRC16
	r.Values = append(r.Values, drivers.Value{Code: obis.MustParse("8-0:1.0.0"), Name: "volume", Unit: "m³", Number: drivers.NewDecimal(5, 0)})
	return nil
}

func (s *settableSession) Close(context.Context) error { return nil }

func (s *settableSession) Get(_ context.Context, p drivers.Parameter) (drivers.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, p.Name)
	return s.values[p.Name], nil
}

func (s *settableSession) Set(ctx context.Context, p drivers.Parameter, v drivers.Value) (drivers.Value, error) {
	s.mu.Lock()
	s.writes = append(s.writes, p.Name+"="+plain(&v))
	fails, during := s.fails, s.during
	if fails == nil && !s.keeps {
		s.values[p.Name] = v
	}
	back := s.values[p.Name]
	s.mu.Unlock()
	s.said <- struct{}{}
	if during != nil {
		if err := during(ctx); err != nil {
			return drivers.Value{}, err
		}
	}
	return back, fails
}

func (m *settable) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *settable) wrote() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.writes)
}

// house is a gateway with one settable meter and a broker.
type house struct {
	*gateway

	broker *brokertest.Broker
	meter  *settable
	config config.Config
}

// newHouse is not started. write is what its meter may be told.
func newHouse(t *testing.T, write ...string) *house {
	t.Helper()
	h := &house{gateway: newGateway(t), broker: brokertest.New(t), meter: newSettable()}
	h.broker.Start()
	t.Cleanup(h.broker.Stop)
	port, err := transport.ParsePort(newTCPMeter(t).port(), drivers.Mode{})
	if err != nil {
		t.Fatal(err)
	}
	one := drivers.NewDecimal(1, 0)
	h.config = config.Config{
		MQTT:          config.MQTT{URL: h.broker.URL(), Base: "meter2mqtt", ClientID: "test"},
		HomeAssistant: config.HomeAssistant{Discovery: true, Prefix: "homeassistant", StatusTopic: "homeassistant/status"},
		State:         config.State{Dir: config.Path(filepath.Join(h.dir, "state")), Max: 64e6},
		Meters: []config.Meter{{
			Name: "main", Driver: h.meter.driver(), Port: port, Factor: one, VoltageFactor: one,
			MaxPower: config.Power{Decimal: drivers.NewDecimal(100, 3)}, MaxFlow: config.Flow{Decimal: drivers.NewDecimal(20, 0)},
			Write: write, Options: &keyless{},
		}},
	}
	return h
}

// start begins it; it is ready once the meter has been read.
func (h *house) start() {
	h.t.Helper()
	b, err := New(h.config, Options{Version: "test", Log: zerolog.New(&h.log).Level(zerolog.DebugLevel)})
	if err != nil {
		h.t.Fatal(err)
	}
	h.broker.UntilAlone()
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.done = cancel, make(chan error, 1)
	go func() { h.done <- b.Run(ctx) }()
	h.broker.UntilIs("meter2mqtt/main/availability", "online")
}

// tell publishes a command and gives its result.
func (h *house) tell(topic, payload string) brokertest.Message {
	h.t.Helper()
	before := len(h.broker.Seen("meter2mqtt/main/result"))
	h.broker.Publish("meter2mqtt/main/"+topic, payload, false)
	return h.result(before)
}

// result is the result behind so many.
func (h *house) result(before int) brokertest.Message {
	h.t.Helper()
	h.broker.Until("result", func(brokertest.Message) bool { return len(h.broker.Seen("meter2mqtt/main/result")) > before })
	return h.broker.Seen("meter2mqtt/main/result")[before]
}

func (h *house) wantResult(got brokertest.Message, ok, says string) {
	h.t.Helper()
	if field(got.Payload, "ok") != ok || !strings.Contains(got.Payload, says) || got.Retain {
		h.t.Errorf("got %+v, want ok %s and %q", got, ok, says)
	}
}

func (h *house) wantWrites(want ...string) {
	h.t.Helper()
	if got := h.meter.wrote(); !slices.Equal(got, want) {
		h.t.Errorf("the meter was told %v, want %v", got, want)
	}
}

func TestAWriteReachesTheMeterAndIsReadBack(t *testing.T) {
	h := newHouse(t, "limit", "mode", "relay", "clock", "reset")
	h.start()
	for topic, text := range map[string]string{"limit": "3", "mode": "eco", "relay": "false"} { // what the config allows, at the start
		if m := h.broker.UntilIs("meter2mqtt/main/parameter/"+topic, text); !m.Retain {
			t.Errorf("%s is not retained", topic)
		}
	}
	h.broker.Until("info", func(m brokertest.Message) bool {
		return m.Topic == "meter2mqtt/main/info" && strings.Contains(m.Payload,
			`"parameters":[{"name":"limit","kind":"number","unit":"kW","min":0,"max":10,"readable":true,"writable":true,"allowed":true},`)
	})
	for _, c := range []struct{ name, payload, value, shown string }{
		{"limit", "5.5", "5.5", "5.5"},
		{"limit", `{"value":"6","id":"a"}`, "6", "6"},
		{"mode", "full", `"full"`, "full"},
		{"relay", "ON", "true", "true"},
	} {
		h.broker.Forget()
		r := h.tell("set/"+c.name, c.payload)
		if field(r.Payload, "ok") != "true" || field(r.Payload, "value") != c.value || field(r.Payload, "parameter") != `"`+c.name+`"` {
			t.Errorf("%s %s: got %s", c.name, c.payload, r.Payload)
		}
		h.broker.UntilIs("meter2mqtt/main/parameter/"+c.name, c.shown)
		untilField(h.broker, "meter2mqtt/main/event", "event_type", `"write_ok"`)
	}
	h.wantResult(h.tell("set/clock", "now"), "true", `"value":"20`)
	r := h.tell("set/reset", "PRESS")
	if h.wantResult(r, "true", "reset"); field(r.Payload, "value") != "" {
		t.Errorf("an action has a value: %s", r.Payload)
	}
	h.wantResult(h.tell("get/limit", ""), "true", `"value":6`)
	h.wantResult(h.tell("get/serial", `{"id":9}`), "true", `"id":9`) // reading needs no leave
	if log := h.log.String(); strings.Count(log, `"message":"write"`) != 6 || !strings.Contains(log, `"by":"mqtt","parameter":"limit","outcome":"done","id":"a","value":"6"`) {
		t.Errorf("the log does not tell each write once:\n%s", log)
	}
}

func TestEachRefusalIsToldAndReachesNoMeter(t *testing.T) {
	h := newHouse(t, "limit", "mode", "pin", "serial")
	h.start()
	h.broker.UntilIs("meter2mqtt/main/parameter/limit", "3")
	for name, c := range map[string]struct{ topic, payload, says string }{
		"not allowed":      {"set/relay", "true", "may not be written"},
		"not there":        {"set/nonsense", "1", "may not be written"},
		"read only":        {"set/serial", "1", "can only be read"},
		"of another type":  {"set/limit", "five", "not a decimal number"},
		"out of range":     {"set/limit", "11", "takes 0 to 10 kW"},
		"no option":        {"set/mode", "turbo", "one of eco, full"},
		"empty":            {"set/limit", "", "got none"},
		"no known payload": {"set/limit", `{"value":5,"now":1}`, "unknown key"},
		"below a topic":    {"set/limit/x", "5", "may not be written"},
		"an action's get":  {"get/reset", "", "cannot be read"},
		"a secret's get":   {"get/pin", "", "secret"},
		"an unknown's get": {"get/nothing", "", "there are limit, mode"},
	} {
		t.Run(name, func(*testing.T) {
			h.broker.Forget()
			h.wantResult(h.tell(c.topic, c.payload), "false", c.says)
			if strings.HasPrefix(c.topic, "set/limit") && !strings.Contains(c.topic, "/x") {
				h.broker.UntilIs("meter2mqtt/main/parameter/limit", "3") // a control jumps back
				untilField(h.broker, "meter2mqtt/main/event", "event_type", `"write_failed"`)
			}
		})
	}
	h.broker.Publish("meter2mqtt/ghost/set/limit", "5", false)
	untilField(h.broker, "meter2mqtt/ghost/result", "ok", "false")
	h.wantWrites()
}

func TestARetainedCommandIsRefusedAtEachConnection(t *testing.T) {
	h := newHouse(t, "limit")
	h.broker.Publish("meter2mqtt/main/set/limit", "5", true)
	h.start()
	for range 2 {
		m := untilField(h.broker, "meter2mqtt/main/result", "ok", "false")
		if !strings.Contains(m.Payload, "retained") {
			t.Errorf("got %s", m.Payload)
		}
		h.broker.Forget()
		h.broker.Cut()
	}
	h.wantWrites()
}

func TestAWriteIsRefusedWhileTheLineIsDown(t *testing.T) {
	h := newHouse(t, "limit")
	h.start()
	h.meter.set(func() { h.meter.during = func(context.Context) error { return errors.New("broken pipe") } })
	h.wantResult(h.tell("set/limit", "5"), "null", "broken pipe") // nobody knows whether it was before or after
	h.wantResult(h.tell("set/limit", "6"), "false", "not open")
	h.wantWrites("limit=5")
}

func TestTheMetersOwnWordDecides(t *testing.T) {
	for name, c := range map[string]struct {
		fails    error
		keeps    bool
		ok, says string
	}{
		"NAK":                  {fmt.Errorf("NAK: %w", drivers.ErrRefused), false, "false", "refused by the meter"},
		"no answer":            {fmt.Errorf("no E5: %w", drivers.ErrTimeout), false, "null", "no answer in time"},
		"a damaged answer":     {drivers.ErrChecksum, false, "null", "checksum"},
		"no answer, unsent":    {fmt.Errorf("%w: %w", drivers.ErrUnsent, drivers.ErrTimeout), false, "false", "not sent"},
		"a silent read-back":   {fmt.Errorf("%w: %w", drivers.ErrUnconfirmed, drivers.ErrRefused), false, "null", "nothing tells"},
		"another value":        {nil, true, "false", "shows another value"},
		"a password that bars": {drivers.ErrAuth, false, "false", "password"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, "limit")
			h.start()
			h.broker.UntilIs("meter2mqtt/main/parameter/limit", "3")
			h.broker.Forget()
			h.meter.set(func() { h.meter.fails, h.meter.keeps = c.fails, c.keeps })
			h.wantResult(h.tell("set/limit", `{"value":5,"id":"x"}`), c.ok, c.says)
			h.broker.UntilIs("meter2mqtt/main/parameter/limit", "3")
			untilField(h.broker, "meter2mqtt/main/event", "event_type", `"write_failed"`)
			h.wantWrites("limit=5") // and never again
		})
	}
}

func TestAnIDIsCarriedOutOnce(t *testing.T) {
	h := newHouse(t, "limit")
	h.start()
	first := h.tell("set/limit", `{"value":5,"id":"a"}`)
	if again := h.tell("set/limit", `{"value":5,"id":"a"}`); again.Payload != first.Payload {
		t.Errorf("first %s, then %s", first.Payload, again.Payload)
	}
	h.tell("set/limit", `{"value":6,"id":"b"}`)
	h.tell("set/limit", `{"value":11,"id":"c"}`) // was not sent, so it may come again
	h.wantResult(h.tell("set/limit", `{"value":7,"id":"c"}`), "true", `"id":"c"`)
	h.stop()
	h.broker.Forget()
	h.start()
	if again := h.tell("set/limit", `{"value":5,"id":"a"}`); again.Payload != first.Payload {
		t.Errorf("after a restart: first %s, then %s", first.Payload, again.Payload)
	}
	h.wantWrites("limit=5", "limit=6", "limit=7")
}

func TestAnIDThatComesAgainWhileItIsUnderWayIsAnsweredAsOften(t *testing.T) {
	h := newHouse(t, "limit")
	release := make(chan struct{})
	h.meter.during = func(context.Context) error { <-release; return nil }
	h.start()
	for range 3 {
		h.broker.Publish("meter2mqtt/main/set/limit", `{"value":5,"id":"a"}`, false)
	}
	<-h.meter.said
	untilLog(t, h.gateway, "came again", 2)
	close(release)
	for i := range 3 {
		h.wantResult(h.result(i), "true", `"id":"a"`)
	}
	h.wantWrites("limit=5")
}

// The gateway ends between the write and the read-back: whether the meter took it
// is not known, that is told, and it is not sent again.
func TestAWriteThatIsInterruptedIsUnknownAndNotRepeated(t *testing.T) {
	h := newHouse(t, "limit")
	h.meter.during = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	h.start()
	h.broker.Publish("meter2mqtt/main/set/limit", `{"value":5,"id":"a"}`, false)
	<-h.meter.said
	h.broker.Publish("meter2mqtt/main/set/limit", `{"value":6,"id":"b"}`, false)
	untilQueued(t, h)
	h.stop()
	h.wantResult(untilField(h.broker, "meter2mqtt/main/result", "id", `"a"`), "null", "the meter's line was closed meanwhile")
	h.wantResult(untilField(h.broker, "meter2mqtt/main/result", "id", `"b"`), "false", "not sent")
	h.meter.set(func() { h.meter.during = nil })
	h.broker.Forget()
	h.start()
	h.wantResult(h.tell("set/limit", `{"value":5,"id":"a"}`), "null", "")
	h.wantWrites("limit=5")
}

// untilQueued waits until the second command has reached the gateway: a third one
// that is refused at the door comes behind it.
func untilQueued(t *testing.T, h *house) {
	t.Helper()
	h.wantResult(h.tell("set/limit", "11"), "false", "takes 0 to 10")
}

// What a crash leaves behind is a note that a write was about to be sent.
func TestAfterACrashAWriteIsUnknownAndToldOnce(t *testing.T) {
	h := newHouse(t, "limit")
	dir := string(h.config.State.Dir)
	h.start()
	h.stop()
	crashed := ledger{file: filepath.Join(dir, "commands.json")}
	for _, id := range []string{`"a"`, ""} {
		c := &command{meter: &meter{config: config.Meter{Name: "main"}}, name: "limit", write: true}
		if id != "" {
			c.id = []byte(id)
		}
		e, _, _ := crashed.begin(c)
		if err := crashed.sending(e); err != nil {
			t.Fatal(err)
		}
	}
	h.broker.Forget()
	h.start()
	for i := range 2 {
		h.wantResult(h.result(i), "null", "the gateway ended")
	}
	h.wantResult(h.tell("set/limit", `{"value":5,"id":"a"}`), "null", "the gateway ended")
	h.wantWrites()
	h.stop()
	h.broker.Forget()
	h.start()
	h.tell("get/limit", "")
	if n := len(h.broker.Seen("meter2mqtt/main/result")); n != 1 {
		t.Errorf("%d results after another restart", n)
	}
}

// What is not allowed any more leaves the broker and Home Assistant.
func TestAParameterThatIsNotAllowedAnyMoreIsTakenBack(t *testing.T) {
	h := newHouse(t, "limit", "mode")
	h.start()
	h.broker.UntilIs("meter2mqtt/main/parameter/mode", "eco")
	control := `"parameter_mode":{"platform":"select","unique_id":"meter2mqtt_main_parameter_mode"`
	discovered := func(m brokertest.Message) bool { return m.Topic == "homeassistant/device/meter2mqtt_main/config" }
	h.broker.Until("a control", func(m brokertest.Message) bool { return discovered(m) && strings.Contains(m.Payload, control) })
	h.stop()
	h.broker.Forget()
	h.config.Meters[0].Write = []string{"limit"}
	h.start()
	h.broker.Until("the end of its topic", func(m brokertest.Message) bool {
		return m == brokertest.Message{Topic: "meter2mqtt/main/parameter/mode", Retain: true}
	})
	h.broker.Until("the removal", func(m brokertest.Message) bool {
		return discovered(m) && strings.Contains(m.Payload, `"parameter_mode":{"platform":"select"}`)
	})
	h.wantResult(h.tell("set/mode", "full"), "false", "may not be written")
}

func TestParametersOutliveARestartAsTheyAre(t *testing.T) {
	all := newSettable().parameters()
	all[0].Step, all[0].Digits = drivers.NewDecimal(5, -1), 1
	all[2].MaxLen, all[4].Zoned, all[4].Code = 8, true, obis.MustParse("0-0:1.0.0")
	for _, p := range all {
		p.Key = p.Name
		back := parameterInfoOf(p, false).parameter()
		if diff := cmp.Diff(p, back, cmp.Comparer(func(a, b drivers.Decimal) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Errorf("%s: %s", p.Name, diff)
		}
	}
}

func TestAMeterThatOnlySpeaksTakesNoCommand(t *testing.T) {
	b, m, _ := atWork(t)
	m.say(telegram("1-0:1.7.0(00.193*kW)"))
	b.UntilIs("meter2mqtt/main/availability", "online")
	for _, verb := range []string{"set", "get"} {
		b.Forget()
		b.Publish("meter2mqtt/main/"+verb+"/clock", "now", false)
		if r := untilField(b, "meter2mqtt/main/result", "ok", "false"); !strings.Contains(r.Payload, "only speak") {
			t.Errorf("%s: %s", verb, r.Payload)
		}
	}
}

// A flood of good commands goes before a meter that is due, but not for ever.
func TestCommandsGoFirstAndStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, done := lineOf(t, newSettable())
		var order []string
		l.queue.open()
		for range 2 * maxFavours {
			if err := l.queue.put(&command{meter: l.meters[0]}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for range 2*maxFavours + 2 {
			c, a, _ := l.next(t.Context())
			switch {
			case c != nil:
				order = append(order, "command")
			case a != nil:
				order = append(order, "poll")
			}
		}
		want := slices.Concat(slices.Repeat([]string{"command"}, maxFavours), []string{"poll"})
		if want = slices.Concat(want, want); !slices.Equal(order, want) {
			t.Errorf("got %v, want %v", order, want)
		}
		done()
	})
}

func TestACommandThatWaitsForTooLongIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, late := newQueue(), 0
		q.open()
		c := &command{}
		if err := q.put(c, func() { late++ }); err != nil {
			t.Fatal(err)
		}
		taken := &command{}
		if err := q.put(taken, func() { t.Error("what was taken is not late") }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(patience - time.Second) // of the bubble's clock
		if late != 0 || !q.drop(taken) {
			t.Errorf("%d were late", late)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if late != 1 || q.take() != nil {
			t.Errorf("%d were late", late)
		}
	})
}

// lineOf is a line of one settable meter that no goroutine serves.
func lineOf(t *testing.T, m *settable) (l *line, done func()) {
	t.Helper()
	j, err := journal.Open("", 0, time.Now(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	link := mqttlink.New(mqttlink.Options{})
	one := &meter{
		config: config.Meter{Name: "main", Driver: m.driver(), Options: &keyless{}}, link: link, journal: j, acked: j.Acked,
		devices: &devices{link: link}, guard: plausible.New(plausible.Defaults), log: zerolog.Nop(), topics: topicsOf("t", "main"),
		ledger: &ledger{}, answers: &answers{link: link}, shown: map[string]string{},
	}
	return newLine([]*meter{one}, zonesOf, nil), func() { _ = j.Close() }
}

func TestAResultWaitsForTheBroker(t *testing.T) {
	h := newHouse(t, "limit")
	release := make(chan struct{})
	h.meter.during = func(context.Context) error { <-release; return nil }
	h.start()
	h.broker.Publish("meter2mqtt/main/set/limit", "5", false)
	<-h.meter.said
	h.broker.Stop()
	untilLog(t, h.gateway, "broker away", 1)
	close(release)
	untilLog(t, h.gateway, `"message":"write"`, 1)
	h.broker.Start()
	h.wantResult(untilField(h.broker, "meter2mqtt/main/result", "parameter", `"limit"`), "true", `"value":5`)
}

func TestAFloodIsRefusedAndTheLogStaysShort(t *testing.T) {
	h := newHouse(t, "limit")
	release := make(chan struct{})
	h.meter.during = func(context.Context) error { <-release; return nil }
	h.start()
	const sent = 200
	h.broker.Publish("meter2mqtt/main/set/limit", "1", false)
	<-h.meter.said
	for range sent {
		h.broker.Publish("meter2mqtt/main/set/limit", "2", false)
	}
	h.broker.Until("refusals", func(brokertest.Message) bool {
		return len(h.broker.Seen("meter2mqtt/main/result")) == sent-maxWaiting
	})
	close(release)
	h.broker.Until("results", func(brokertest.Message) bool {
		return len(h.broker.Seen("meter2mqtt/main/result")) == sent+1
	})
	if n := len(h.meter.wrote()); n != 1+maxWaiting {
		t.Errorf("%d writes", n)
	}
	if n := strings.Count(h.log.String(), `"outcome":"refused"`); n > maxToldRefusals {
		t.Errorf("%d lines about refusals", n)
	}
}

// Of ten thousand hostile commands only what is allowed and in range reaches the
// meter, once each, and each is answered.
func TestHostileCommandsReachTheMeterOnlyWhereTheyAreAllowed(t *testing.T) {
	h := newHouse(t, "limit", "mode")
	h.start()
	h.broker.UntilIs("meter2mqtt/main/parameter/mode", "eco")
	rng := rand.New(rand.NewPCG(1, 2))
	total, batch := 10_000, 100
	if testing.Short() {
		total = 1_000
	}
	var want []string
	results := 0
	for sent := 0; sent < total; sent += batch {
		h.broker.Forget()
		for i, good := 0, 0; i < batch; i++ {
			topic, payload, write := hostile(rng, sent+i)
			if write != "" && good == maxWaiting {
				topic, payload, write = "set/limit", "-1", "" // more would be refused for being many
			}
			h.broker.Publish("meter2mqtt/main/"+topic, payload, false)
			if write != "" {
				good++
				want = append(want, write)
			}
		}
		h.broker.Until("a result each", func(brokertest.Message) bool {
			return len(h.broker.Seen("meter2mqtt/main/result")) >= batch
		})
		results += len(h.broker.Seen("meter2mqtt/main/result"))
	}
	if results != total {
		t.Errorf("%d commands, %d results", total, results)
	}
	if len(want) < total/100 {
		t.Fatalf("only %d good commands", len(want))
	}
	t.Logf("%d commands, %d of them good", total, len(want))
	h.wantWrites(want...)
	if strings.Contains(h.log.String(), "panic") {
		t.Error(h.log.String())
	}
}

// hostile is a command and, if it is one that may pass, what the meter is told.
func hostile(rng *rand.Rand, n int) (topic, payload, write string) {
	topics := []string{
		"set/limit", "set/limit", "set/mode", "set/relay", "set/pin", "set/clock", "set/reset", "set/" + junk(rng, 40),
		"set/limit/" + junk(rng, 5), "set/", "get/" + junk(rng, 10), "get/pin",
	}
	topic = topics[rng.IntN(len(topics))]
	switch rng.IntN(8) {
	case 0:
		payload = junk(rng, 300)
	case 1:
		payload = strings.Repeat(junk(rng, 8), 1000)
	case 2:
		payload = fmt.Sprintf(`{"value":[%s,"id":%q}`, junk(rng, 20), junk(rng, 20))
	case 3:
		payload = fmt.Sprintf(`{"value":%d,"id":"i%d"}`, rng.IntN(40)-15, n)
	case 4:
		payload = fmt.Sprint(rng.Int64() - rng.Int64())
	case 5:
		payload = []string{"NaN", "Infinity", "-0", "0x1", "1e2", "٣", "5;6", "5\n6", "", "null", "true", "[]", "{}", "PRESS", "now"}[rng.IntN(15)]
	case 6:
		payload = fmt.Sprintf("%d.%03d", rng.IntN(30)-10, rng.IntN(1000))
	default:
		payload = []string{"eco", "full", "turbo", " full", `{"value":"full"}`, `{"value":"full","id":{}}`}[rng.IntN(6)]
	}
	return topic, payload, mayPass(topic, payload)
}

// mayPass says by other means than the gateway what a command writes: "" nothing.
func mayPass(topic, payload string) string {
	switch topic {
	case "set/mode":
		for _, good := range []string{"eco", "full"} {
			if payload == good || payload == `{"value":"`+good+`"}` {
				return "mode=" + good
			}
		}
	case "set/limit":
		text := payload
		if rest, ok := strings.CutPrefix(payload, `{"value":`); ok {
			var id bool
			if text, _, id = strings.Cut(rest, `,"id":"i`); !id {
				return ""
			}
		}
		whole, fraction, _ := strings.Cut(text, ".")
		if len(fraction) > 3 || len(whole) == 0 || len(whole) > 2 || strings.Trim(whole+fraction, "0123456789") != "" {
			return plainZero(text)
		}
		var n int
		if _, err := fmt.Sscan(whole, &n); err != nil || n > 10 || n == 10 && strings.Trim(fraction, "0") != "" {
			return ""
		}
		return "limit=" + text
	}
	return ""
}

// plainZero is for a zero with a sign, which is one.
func plainZero(text string) string {
	if text == "-0" || text == "-0.000" {
		return "limit=" + strings.TrimPrefix(text, "-")
	}
	return ""
}

// junk is any bytes that may stand in a topic or payload.
func junk(rng *rand.Rand, most int) string {
	b := make([]byte, 1+rng.IntN(most))
	for i := range b {
		b[i] = "abcxyz{}[]\":,0129-.\\/é\n\x01\xff"[rng.IntN(26)]
	}
	return strings.ToValidUTF8(string(b), "?")
}
