package bridge

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

func TestALineIsPausedAndResumed(t *testing.T) {
	b, m, other, g := brokertest.New(t), newTCPMeter(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, p1Meter("main", m.port(), "")+p1Meter("other", other.port(), ""))
	g.start()
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	b.Publish("meter2mqtt/bridge/request/pause", `{"meter":"main","id":"p"}`, false)
	b.UntilIs("meter2mqtt/bridge/response/pause", `{"id":"p","ok":true}`)
	untilField(b, "meter2mqtt/main/diagnostic", "line", `"paused"`)
	m.hangUp()
	b.Publish("meter2mqtt/bridge/request/resume", "main", false)
	b.UntilIs("meter2mqtt/bridge/response/resume", `{"ok":true}`)
	m.say(telegram("1-0:1.8.0(000001.001*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.001")
	for _, seen := range b.Seen("meter2mqtt/other/diagnostic") {
		if field(seen.Payload, "line") == `"paused"` {
			t.Error("the other line was paused too")
		}
	}
	b.Publish("meter2mqtt/bridge/request/pause", "nobody", false)
	untilField(b, "meter2mqtt/bridge/response/pause", "error", `"there is no meter \"nobody\": there are main, other"`)
}

func TestALineIsRecordedWithoutItsSecrets(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	const key = "00112233445566778899AABBCCDDEEFF"
	g.configure(b, p1Meter("main", m.port(), "key = \""+key+"\""))
	g.start()
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	b.Publish("meter2mqtt/bridge/request/record", "main", false)
	answer := untilField(b, "meter2mqtt/bridge/response/record", "ok", "true")
	m.hangUp()
	m.say(telegram("1-0:1.8.0(000001.001*kWh)", "0-0:96.13.0("+key+")"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.001")
	g.stop()
	content, err := os.ReadFile(strings.Trim(field(answer.Payload, "file"), `"`))
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.ToLower(string(content)); !strings.Contains(text, `"dir":"rx"`) || strings.Contains(text, hexOf(key)) {
		t.Errorf("recorded %s", text)
	}
}

// hexOf is a text as recordings write it.
func hexOf(text string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// A recording is of an hour, and of so many bytes: what passes on the line afterwards
// passes by it.
func TestARecordingEndsAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "recording.jsonl")
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		r := &recording{out: out, until: time.Now().Add(recordTime)}
		defer r.close()
		write := func(text string) {
			t.Helper()
			if n, err := r.Write([]byte(text)); n != len(text) || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		}
		bare := pipeLine{}
		open := r.opener(func(context.Context, transport.Port) (drivers.Line, error) { return bare, nil })
		isBare := func() bool {
			line, err := open(t.Context(), transport.Port{})
			return err == nil && line == drivers.Line(bare)
		}
		write("first\n")
		time.Sleep(recordTime - time.Second)
		write("last\n")
		if isBare() {
			t.Error("a line that is opened within the hour is not recorded")
		}
		r.written += maxRecording - 100
		write(strings.Repeat("too much", 20))
		time.Sleep(2 * time.Second)
		write("late\n")
		if !isBare() {
			t.Error("a line that is opened after the hour is recorded")
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != "first\nlast\n" {
			t.Errorf("recorded %q, %v", text, err)
		}
	})
}

func TestRequestsThatCannotBe(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, p1Meter("main", m.port(), "")+p1Meter("other", "tcp://127.0.0.1:1", ""))
	g.start()
	b.UntilIs("meter2mqtt/bridge/availability", "online")
	for name, c := range map[string]struct{ payload, want string }{
		"poll":        {"nobody", "there is no meter"},
		"log_level":   {"loud", "there are trace, debug, info, warn, error"},
		"record":      {"", "name one of its meters"},
		"resume":      {"nobody", "there is no meter"},
		"self_update": {"now", "there are reload, scan, poll, log_level, pause, resume and record"},
	} {

		b.Publish("meter2mqtt/bridge/request/"+name, c.payload, false)
		b.Until(name+" refused", func(m brokertest.Message) bool {
			return m.Topic == "meter2mqtt/bridge/response/"+name && strings.Contains(m.Payload, c.want) && field(m.Payload, "ok") == "false"
		})
	}
}

func TestTheLogLevelChanges(t *testing.T) {
	b, _, g := atWork(t)
	b.UntilIs("meter2mqtt/bridge/availability", "online")
	b.Publish("meter2mqtt/bridge/request/log_level", "error", false)
	b.UntilIs("meter2mqtt/bridge/response/log_level", `{"ok":true}`)
	untilField(b, "meter2mqtt/bridge/info", "log_level", `"error"`)
	if got := <-g.level; got != zerolog.ErrorLevel {
		t.Errorf("the level is %s", got)
	}
}

func TestAMeterIsAskedAtOnceOnRequest(t *testing.T) {
	h := newHouse(t) // which asks its meter once an hour
	h.start()
	const topic = "meter2mqtt/main/state"
	first := h.broker.Until("a state", func(m brokertest.Message) bool { return m.Topic == topic })
	h.broker.Publish("meter2mqtt/bridge/request/poll", "PRESS", false)
	h.broker.UntilIs("meter2mqtt/bridge/response/poll", `{"ok":true}`)
	h.broker.Until("another reading", func(m brokertest.Message) bool {
		return m.Topic == topic && field(m.Payload, "received") != field(first.Payload, "received")
	})
}

// The answer says how it went, once that is known.
func TestARequestToPollIsAnsweredWhenItIsDone(t *testing.T) {
	h := newHouse(t)
	h.start()
	h.broker.Until("a state", func(m brokertest.Message) bool { return m.Topic == "meter2mqtt/main/state" })
	const answers = "meter2mqtt/bridge/response/poll"
	poll := func() string {
		before := len(h.broker.Seen(answers))
		h.broker.Publish("meter2mqtt/bridge/request/poll", `{"meter":"main","id":7}`, false)
		h.broker.Until("an answer", func(brokertest.Message) bool { return len(h.broker.Seen(answers)) > before })
		return h.broker.Seen(answers)[before].Payload
	}
	states := len(h.broker.Seen("meter2mqtt/main/state"))
	if got := poll(); got != `{"id":7,"ok":true}` {
		t.Errorf("answered %s", got)
	}
	if len(h.broker.Seen("meter2mqtt/main/state")) == states {
		t.Error("it was answered before the meter was read")
	}
	for _, c := range []struct {
		mute error
		want string
	}{
		{drivers.ErrTimeout, "meter main: no answer"},
		{drivers.ErrAuth, "meter main: "},
		{nil, "meter main: "}, // it is not asked again: its password was refused
	} {
		h.meter.set(func() { h.meter.mute = c.mute })
		if got := poll(); field(got, "ok") != "false" || !strings.Contains(field(got, "error"), c.want) {
			t.Errorf("answered %s, want %q", got, c.want)
		}
	}
}

// What is retained would be done again at each connection.
func TestARetainedRequestIsRefused(t *testing.T) {
	g := newGateway(t)
	g.configure(brokertest.New(t), p1Meter("main", "tcp://127.0.0.1:1", ""))
	b := g.idle()
	for _, name := range []string{"reload", "scan", "poll", "log_level", "pause", "resume", "record"} {
		_, err := b.carryOut(t.Context(), name, mqttlink.Received{Payload: []byte("main"), Retained: true})
		if err == nil || !strings.Contains(err.Error(), "the request is retained") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPollOfAMeterThatOnlySpeaksPublishesWhatItSaidLast(t *testing.T) {
	b, m, _ := atWork(t)
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	b.Forget()
	b.Publish("meter2mqtt/bridge/request/poll", "main", false)
	b.UntilIs("meter2mqtt/bridge/response/poll", `{"ok":true}`)
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
}

// A line that is down is told at once, and resumed or searched by nobody.
func TestALineThatIsDownIsToldToWhoeverAsksForIt(t *testing.T) {
	b, g := brokertest.New(t), newGateway(t)
	b.Start()
	defer b.Stop()
	var tables strings.Builder
	for _, name := range []string{"one", "two"} {
		tables.WriteString(strings.Replace(p1Meter(name, "tcp://127.0.0.1:"+map[string]string{"one": "1", "two": "2"}[name], ""), `"p1"`, `"mbus"`, 1) + "address = \"1\"\n")
	}
	g.configure(b, tables.String())
	g.start()
	b.UntilIs("meter2mqtt/bridge/availability", "online")
	for _, c := range []struct{ request, payload, want string }{
		{"poll", "one", "meter one: " + errOffline.Error()},
		{"scan", "{}", "several lines can be searched: there is tcp://127.0.0.1:1, tcp://127.0.0.1:2"},
		{"scan", `{"port":"tcp://127.0.0.1:1"}`, errOffline.Error()},
		{"scan", `{"bauds":[` + strings.Repeat("300,", maxSpeeds) + `300]}`, "speeds, at most"},
		{"resume", "one", ""}, // it was not paused
	} {
		b.Forget()
		b.Publish("meter2mqtt/bridge/request/"+c.request, c.payload, false)
		b.Until("an answer to "+c.payload, func(m brokertest.Message) bool {
			return m.Topic == "meter2mqtt/bridge/response/"+c.request && strings.Contains(m.Payload, c.want) && field(m.Payload, "ok") == strconv.FormatBool(c.want == "")
		})
	}
}
