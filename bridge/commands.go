package bridge

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// command is one message of BASE/METER/set/PARAMETER or get/PARAMETER, or an
// errand of ours: a value that is read without anyone asking.
type command struct {
	meter  *meter
	name   string // of the Parameter, as the topic has it
	write  bool
	errand bool
	id     json.RawMessage
	arg    argument
	entry  *entryOf // of a write, in the ledger
	timer  *time.Timer
	by     string       // whose it is, for the log; "": it came by MQTT
	told   func(Result) // is told the result too; may be nil
}

// The verbs of a command's topic.
const (
	verbSet = "set"
	verbGet = "get"
)

// commandFilters are the topics of all commands, those of meters that are not
// there too: each is answered.
func commandFilters(base string) []string {
	return []string{base + "/+/" + verbSet + "/#", base + "/+/" + verbGet + "/#"}
}

// onCommand takes a command. It runs on the client's goroutine: nothing here
// blocks, and what a flood can make it keep is bounded by the queue of the line.
func (b *Bridge) onCommand(r mqttlink.Received) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.Topic, b.config.MQTT.Base+"/"), "/")
	verb, parameter, _ := strings.Cut(rest, "/")
	m := b.meterNamed(name)
	if m == nil {
		b.refuseStranger(name, parameter)
		return
	}
	m.receive(&command{meter: m, name: parameter, write: verb == verbSet}, r)
}

func (b *Bridge) meterNamed(name string) *meter {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.meters {
		if m.config.Name == name {
			return m
		}
	}
	return nil
}

// refuseStranger answers a command to a meter that is not there.
func (b *Bridge) refuseStranger(name, parameter string) {
	err := fmt.Errorf("%w: there is no meter %q", drivers.ErrUnsent, shown(name))
	b.link.Publish(mqttlink.Message{
		Topic:   topicsOf(b.config.MQTT.Base, topicLevel(shown(name))).result,
		Payload: mustJSON(resultOf(parameter, nil, true, outcome{err: err})), Keep: true,
	})
}

// receive lets a command wait for the meter's line, or refuses it.
func (m *meter) receive(c *command, r mqttlink.Received) {
	request, err := parseRequest(r.Payload)
	c.id, c.arg = request.id, request.arg
	if r.Retained {
		err = errRetained
	}
	if err == nil {
		err = m.mayBegin(c)
	}
	if err == nil {
		err = m.enqueue(c)
	}
	if err != nil {
		m.refuseCommand(c, err)
	}
}

// mayBegin says why a command is not let through: the configuration does not name
// the Parameter, or it does not take the value. What the meter has is not known
// before its first session; then the line's turn finds out.
func (m *meter) mayBegin(c *command) error {
	switch {
	case m.config.Driver.Push():
		return errDeaf
	case c.write && !allows(m.config, c.name):
		return errNotAllowed
	}
	known := m.parametersKnown()
	if known == nil {
		return nil
	}
	p, err := find(known, c.name)
	switch {
	case err != nil:
		return err
	case !c.write:
		return checkReadable(p)
	}
	_, err = c.arg.value(p, stampNow(m.config.Timezone))
	return err
}

func (m *meter) parametersKnown() []drivers.Parameter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.parameters
}

// enqueue lets a command wait for its turn on the line. One whose id has come
// before is answered as then.
func (m *meter) enqueue(c *command) error {
	waiting := m.lineQueue()
	if waiting == nil {
		return errOffline
	}
	if c.write {
		entry, known, repeated := m.ledger.begin(c)
		if known != nil {
			m.publishResult(*known, false)
		}
		if repeated {
			m.log.Warn().Str("parameter", shown(c.name)).RawJSON("id", c.id).Msg("a write came again and is not repeated")
			return nil
		}
		c.entry = entry
	}
	return waiting.put(c, func() { m.refuseCommand(c, errLate) })
}

// lineQueue is where commands wait for the meter's line; nil: no line was started.
func (m *meter) lineQueue() *queue {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.queue
}

// refuseCommand ends a command that did not reach the line.
func (m *meter) refuseCommand(c *command, why error) {
	m.finish(c, outcome{parameter: m.parameterNamed(c.name), err: fmt.Errorf("%w: %w", drivers.ErrUnsent, why)})
}

// parameterNamed is the Parameter as far as it is known: of one that is not,
// nothing is said that it could keep secret.
func (m *meter) parameterNamed(name string) drivers.Parameter {
	p, err := find(m.parametersKnown(), name)
	if err != nil {
		p.Name = name
	}
	return p
}

// finish answers a command: each exactly once.
func (m *meter) finish(c *command, o outcome) {
	if o.known {
		m.showParameter(o.parameter, &o.back)
	}
	if c.errand {
		return
	}
	r, times := resultOf(c.name, c.id, c.write, o), 1
	if c.entry != nil {
		var err error
		if times, err = m.ledger.end(c.entry, r, o.wasSent()); err != nil {
			m.log.Error().Err(err).Msg("what became of a write cannot be noted")
		}
	}
	for range times {
		m.publishResult(r, c.timer != nil)
	}
	if c.told != nil {
		c.told(r)
	}
	if !c.write {
		return
	}
	if !o.known && o.err != nil {
		m.showAgain(c.name)
	}
	m.tellWrite(c, o, r)
}

// publishResult publishes a result: of a command that came as far as the line,
// until the broker has it; of others once, for there can be a flood of them.
func (m *meter) publishResult(r Result, owed bool) {
	message := mqttlink.Message{Topic: m.topics.result, Payload: mustJSON(r), Keep: true}
	if owed || !m.link.Publish(message) { // a retained command comes before the connection is ours to publish on
		m.answers.send(message, nil)
	}
}

// tellWrite leaves a trace of a write: one line in the log and an event. Of a flood
// of refusals the first of each minute are told, the rest counted.
func (m *meter) tellWrite(c *command, o outcome, r Result) {
	if o.err != nil && errors.Is(o.err, drivers.ErrUnsent) && !m.refusals.mayTell(time.Now()) {
		return
	}
	audit(m.log, cmp.Or(c.by, "mqtt"), c.arg, o, r)
	e := writeEvent{Type: eventWriteOK, Parameter: r.Parameter, ID: r.ID, Value: r.Value}
	if o.err != nil {
		e.Type, e.Reason = eventWriteFailed, r.Error
	}
	m.publishEvent(e)
}

// writeEvent is a write that was tried.
type writeEvent struct {
	Type      string          `json:"event_type"`
	Parameter string          `json:"parameter"`
	ID        json.RawMessage `json:"id,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
	Reason    string          `json:"reason,omitempty"`
}

// audit is the one line in the log that each write leaves.
func audit(log zerolog.Logger, by string, a argument, o outcome, r Result) {
	e, outcome := log.Info(), "done"
	switch {
	case r.OK == nil:
		e, outcome = log.Warn(), "unknown"
	case !*r.OK:
		e, outcome = log.Warn(), "refused"
	}
	e = e.Str("by", by).Str("parameter", r.Parameter).Str("outcome", outcome)
	if r.ID != nil {
		e = e.RawJSON("id", r.ID)
	}
	if o.parameter.Access != 0 && !o.parameter.Secret {
		e = e.Str("value", shown(a.text))
	}
	if r.Error != "" {
		e = e.Str("reason", r.Error)
	}
	e.Msg("write")
}

// recallCommands answers the writes that a crash interrupted: whether the meter
// carried them out, nobody can know, and they are not sent again.
func (b *Bridge) recallCommands() {
	interrupted, err := b.ledger.recall(b.state)
	if err != nil {
		b.options.Log.Error().Err(err).Msg("which writes were answered is not known any more")
	}
	for _, e := range interrupted {
		b.options.Log.Warn().Str("meter", e.Meter).Str("by", "mqtt").Str("parameter", e.Parameter).
			Str("outcome", "unknown").Str("reason", errKilled.Error()).Msg("write")
		b.answers.send(mqttlink.Message{
			Topic: topicsOf(b.config.MQTT.Base, e.Meter).result, Payload: mustJSON(e.Result), Keep: true,
		}, func() { b.ledger.told(e) })
	}
}
