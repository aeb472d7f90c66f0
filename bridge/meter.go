package bridge

import (
	"cmp"
	"encoding/json"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/discovery"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

const (
	// A meter is offline when this many of its own intervals, and the floor,
	// passed without a valid telegram; while it spoke only once, after unknown.
	silentTimes   = 4
	silentFloor   = 10 * time.Second
	silentUnknown = 3 * time.Minute

	// lineGrace is how long a line may be down before its meter is offline: a
	// quick reconnect is nobody's business.
	lineGrace = 5 * time.Second

	// settle is how long after an announcement the state is published once more.
	// Home Assistant subscribes up to half a second after it read a discovery
	// message, and a state in between is lost.
	settle = 1200 * time.Millisecond

	// slow is the pace from which on states are retained: after a restart of
	// Home Assistant a fast meter's next state is there at once, a slow one's
	// is not.
	slow = time.Minute

	countersEvery = time.Minute
)

// meter is one configured meter: its picture, and what of it is published.
type meter struct {
	config  config.Meter
	base    string
	prefix  string // of discovery; "" if it is off
	version string
	values  bool // also a topic a value
	topics  topics
	link    *mqttlink.Link
	log     zerolog.Logger
	factors factors
	journal *journal.Journal
	devices *devices
	acked   func(number uint64) // the journal's, bound once

	ledger   *ledger
	answers  *answers
	refusals refusals

	mu        sync.Mutex
	identity  drivers.Identity
	channels  []drivers.Channel
	keys      drivers.Keyer
	sums      tariffSums
	picture   picture
	guard     *plausible.Guard
	newcomers newcomers
	names     []string        // keys of the values at hand
	held      map[string]bool // totals of which it was told that they are held back
	pace      pace
	up        bool
	line      transport.State
	lineAt    time.Time // since when

	published  time.Time // the state
	waiting    bool      // the picture changed since
	fresh      bool      // by a reading
	number     uint64    // of the last state, in the journal
	again      time.Time // when the state is published once more after an announcement; zero: not
	counted    time.Time // the diagnostic topic
	counts     counts
	refused    map[status.Cause]uint64
	losses     losses
	flight     *flight // of the line; nil: before it was made
	lostFrames lostFrames
	quality    quality
	payload    int  // size of the last state, to make room for the next
	history    int  // and of what the journal keeps of it
	exchanged  bool // a total of the reading at hand started anew
	toldTwice  bool // that a code came twice
	notes      map[string]bool
	learned    bool          // something was learned since it was saved
	drift      time.Duration // of the meter's clock, ahead of ours
	clockOff   bool
	roundTrip  time.Duration // of the last exchange, of a meter that is asked
	trend      *trend        // for the page; nil: there is none
	doubtful   bool          // a total of the last reading was held back

	session    string // the state of a session that has states; "": it has none
	attachment string // what such a session wants remembered

	seen      time.Time         // the last good reading, also before a restart
	gaps      []statistics.Hole // between readings, to be filled from the meter's own log
	pollers   []chan<- error    // who wants it read at once, and to hear how it went
	registers *registers        // for Home Assistant's statistics; nil: they are off

	queue       *queue              // of the line, once one was started
	parameters  []drivers.Parameter // nil: not known yet
	shown       map[string]string   // by Parameter, what the broker may keep; "": not read since the start
	toldUnknown bool                // which names of write the meter does not have
}

// counts are what the diagnostic topic tells.
type counts struct{ good, refused, heldBack, retries uint64 }

// accept takes a valid reading: the one way by which values reach a topic.
func (m *meter) accept(r *drivers.Reading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := r.Received
	m.counts.good++
	m.lostFrames.dealt(m.flight)
	m.quality.heard(now)
	m.tellNote(r)
	m.noteAbsence(now)
	m.pace.saw(now)
	announce := m.identify(r)
	if m.take(r) {
		announce = true
	}
	if announce {
		m.announce(now)
	}
	m.setUp(true)
	m.waiting, m.fresh = true, true
	// A meter that is asked has been asked when it was due, or when someone wanted it.
	if now.Sub(m.published) >= m.config.Every || !m.config.Driver.Push() {
		m.publishState(now)
	}
	m.log.Debug().Int("values", len(r.Values)).Msg("telegram received")
}

// identify keeps what telegrams say about who the meter is. Short telegrams say
// little: what they leave out stands. It says whether anything changed.
func (m *meter) identify(r *drivers.Reading) (changed bool) {
	id := merge(m.identity, r.Meter)
	if id != m.identity {
		m.identity, changed = id, true
	}
	for _, c := range r.Channels {
		if m.identifyChannel(c) {
			changed = true
		}
	}
	return changed
}

func (m *meter) identifyChannel(c drivers.Channel) (changed bool) {
	for i := range m.channels {
		if m.channels[i].Number != c.Number {
			continue
		}
		id := merge(m.channels[i].Meter, c.Meter)
		changed = id != m.channels[i].Meter
		m.channels[i].Meter = id
		return changed
	}
	m.channels = append(m.channels, c)
	return true
}

// merge is known with what said says.
func merge(known, said drivers.Identity) drivers.Identity {
	return drivers.Identity{
		Driver:       cmp.Or(said.Driver, known.Driver),
		ID:           cmp.Or(said.ID, known.ID),
		Manufacturer: cmp.Or(said.Manufacturer, known.Manufacturer),
		Model:        cmp.Or(said.Model, known.Model),
		Version:      cmp.Or(said.Version, known.Version),
		Medium:       cmp.Or(said.Medium, known.Medium),
	}
}

// refuse notes a lost frame.
func (m *meter) refuse(e *drivers.FrameError, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.countRefused(e)
	m.losses.lost(e, now, m.log)
	m.lostFrames.note(e, now, m.flight)
	if isDamage(e) {
		m.quality.damaged(now, m.pace.interval)
	}
}

// remember keeps a frame that the line lost for a report, and counts it nowhere.
func (m *meter) remember(e *drivers.FrameError, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lostFrames.note(e, now, m.flight)
}

// setLine notes what the line does.
func (m *meter) setLine(s transport.State, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.line == s {
		return
	}
	m.line, m.lineAt = s, now
	m.publishDiagnostic(now)
}

// tick does what only time brings.
func (m *meter) tick(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.losses.tick(now, m.log)
	m.refusals.tick(now, m.log)
	if m.up && m.silent(now) {
		m.setUp(false)
	}
	if m.picture.age(now, m.usual()) {
		m.waiting = true
	}
	switch {
	case !m.again.IsZero() && !now.Before(m.again):
		m.again = time.Time{}
		m.publishState(now)
	case m.waiting && now.Sub(m.published) >= m.config.Every:
		m.publishState(now)
	}
	if m.trend != nil {
		m.trend.note(now, &m.picture)
	}
	if now.Sub(m.counted) >= countersEvery {
		m.publishDiagnostic(now)
	}
}

// silent says whether the meter is not to be believed any more.
func (m *meter) silent(now time.Time) bool {
	if m.line != transport.LineOpen && now.Sub(m.lineAt) > lineGrace {
		return true
	}
	return m.pace.atLeast(m.usual()).late(now, silentTimes, silentFloor, silentUnknown)
}

// usual is how often the meter is asked; 0: it speaks by itself. A total in doubt is
// asked for again after seconds, which says nothing about the next reading.
func (m *meter) usual() time.Duration {
	if m.config.Driver.Push() {
		return 0
	}
	return cmp.Or(m.config.Every, m.config.Driver.Every, usualEvery)
}

// setUp publishes the meter's availability when it changes.
func (m *meter) setUp(up bool) {
	if m.up == up {
		return
	}
	m.up = up
	m.publishAvailability()
	if up {
		m.log.Info().Msg("meter online")
		return
	}
	m.log.Warn().Str("line", string(m.line)).Time("last", m.pace.last).
		Msg("meter offline: no valid telegram for too long, or its line is down")
}

// introduce publishes all that a broker, or Home Assistant, that has just come
// must know.
func (m *meter) introduce(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.announce(now)
	m.publishAvailability()
	m.publishDiagnostic(now)
	m.publishState(now)
	m.showParameters()
}

// announce publishes who the meter is and what it gives. A meter of which
// nothing is known is not announced.
func (m *meter) announce(now time.Time) {
	m.learned = true
	if m.registers != nil {
		clear(m.registers.none) // what is known of a quantity may have changed
	}
	if len(m.picture.entries) == 0 {
		return
	}
	quantities := m.picture.quantities()
	m.publish(m.topics.info, m.infoJSON(quantities), true)
	if m.prefix == "" {
		return
	}
	m.devices.announce(m.config.Name, discovery.Devices(
		discovery.Topics{Base: m.base, Prefix: m.prefix},
		discovery.Meter{
			Name: m.config.Name, Label: m.config.Label, Identity: m.identity,
			Channels: m.channels, Quantities: quantities, Parameters: m.allowed(), Version: m.version,
			Session: m.session != "",
			Asked:   !m.config.Driver.Push(),
		}))
	m.again = now.Add(settle)
}

// retained are the topics on which the broker keeps something of the meter.
func (t topics) retained() []string {
	return []string{t.availability, t.info, t.state, t.diagnostic}
}

func (m *meter) publish(topic string, payload []byte, retain bool) {
	m.link.Publish(mqttlink.Message{Topic: topic, Payload: payload, Retain: retain})
}

func (m *meter) publishAvailability() {
	m.publish(m.topics.availability, []byte(availability(m.up)), true)
}

// publishState publishes the picture; before the first telegram there is none.
func (m *meter) publishState(now time.Time) {
	if !m.pace.seen() {
		return
	}
	retain := m.retained()
	b := m.picture.appendJSON(make([]byte, 0, m.payload+m.history+64))
	m.payload = len(b)
	message := mqttlink.Message{Topic: m.topics.state, Payload: b, Retain: retain}
	if m.fresh {
		m.number = m.journal.Add(m.config.Name, m.picture.received, m.forHistory(b))
	}
	message.Acked, message.Number = m.acked, m.number
	m.waiting, m.fresh, m.published = false, false, now
	m.link.Publish(message)
	if !m.values {
		return
	}
	for i := range m.picture.entries {
		e := &m.picture.entries[i]
		m.publish(m.topics.value+topicLevel(e.quantity.Key), e.plain(), retain)
	}
}

// retained says whether states are retained: as configured, else for slow
// meters. Until the pace is known, the driver's idea of silence tells.
func (m *meter) retained() bool {
	if m.config.Retain != nil {
		return *m.config.Retain
	}
	if m.pace.interval > 0 {
		return max(m.pace.interval, m.config.Every, m.usual()) > slow
	}
	quiet := m.config.Driver.Quiet
	return quiet == 0 || quiet > 2*slow
}

// diagnostic is the payload of BASE/METER/diagnostic.
type diagnostic struct {
	Line      string                  `json:"line"`
	Session   string                  `json:"session,omitempty"` // only where a driver has one
	Good      uint64                  `json:"good"`
	Refused   uint64                  `json:"refused"`
	Causes    map[status.Cause]uint64 `json:"causes,omitempty"` // of what was refused
	HeldBack  uint64                  `json:"held_back"`
	Damaged   *float64                `json:"damaged,omitempty"`      // percent of the telegrams of the last hour
	Retries   uint64                  `json:"retries"`                // exchanges that were begun anew after a failure
	RoundTrip float64                 `json:"round_trip,omitempty"`   // seconds
	Clock     int64                   `json:"clock_offset,omitempty"` // seconds that the meter's clock is ahead
	Last      string                  `json:"last,omitempty"`
}

func (m *meter) publishDiagnostic(now time.Time) {
	m.counted = now
	d := diagnostic{
		Line:    string(cmp.Or(m.line, transport.LineOpening)), // what it is about to be, before it has said so
		Session: m.session,
		Good:    m.counts.good, Refused: m.counts.refused, Causes: m.refused, HeldBack: m.counts.heldBack, Clock: int64(m.drift / time.Second),
		RoundTrip: m.roundTrip.Round(time.Millisecond).Seconds(), Retries: m.counts.retries,
	}
	if percent, known := m.quality.percent(now); known {
		d.Damaged = &percent
	}
	if m.pace.seen() {
		d.Last = m.pace.last.UTC().Format(time.RFC3339)
	}
	m.publishJSON(m.topics.diagnostic, d)
}

// meterInfo is the payload of BASE/METER/info.
type meterInfo struct {
	Name          string           `json:"name"`
	Label         string           `json:"label,omitempty"`
	Driver        string           `json:"driver"`
	Port          string           `json:"port"`
	Meter         drivers.Identity `json:"meter"`
	Channels      []channelInfo    `json:"channels,omitempty"`
	Factor        *drivers.Decimal `json:"factor,omitempty"`
	VoltageFactor *drivers.Decimal `json:"voltage_factor,omitempty"`
	Quantities    []quantityInfo   `json:"quantities"`
	Parameters    []parameterInfo  `json:"parameters,omitempty"`
}

type channelInfo struct {
	Channel uint8            `json:"channel"`
	Meter   drivers.Identity `json:"meter"`
}

func (m *meter) infoJSON(quantities []drivers.Quantity) []byte {
	info := meterInfo{
		Name: m.config.Name, Label: m.config.Label, Driver: m.config.Driver.Name,
		Port: m.config.Port.String(), Meter: m.identity,
		Quantities: make([]quantityInfo, 0, len(quantities)),
	}
	for _, c := range m.channels {
		info.Channels = append(info.Channels, channelInfo{c.Number, c.Meter})
	}
	if m.factors.any {
		info.Factor, info.VoltageFactor = &m.factors.current, &m.factors.voltage
	}
	for _, q := range quantities {
		info.Quantities = append(info.Quantities, quantityInfoOf(q))
	}
	info.Parameters = m.parameterInfos()
	return mustJSON(info)
}

func (m *meter) publishJSON(topic string, v any) { m.publish(topic, mustJSON(v), true) }

// mustJSON encodes what consists of strings and numbers only.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // unreachable for these types: a bug of ours
	}
	return b
}

// topicLevel is a key as one level of a topic: # and + are wildcards and / ends
// a level.
func topicLevel(key string) string {
	b := make([]byte, 0, len(key)+4)
	for i := range len(key) {
		switch c := key[i]; c {
		case '#':
			b = append(b, "_n"...)
		case '+', '/', 0:
			b = append(b, '_')
		default:
			b = append(b, c)
		}
	}
	return string(b)
}
