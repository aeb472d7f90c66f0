package bridge

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/discovery"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

const (
	// absence is the least time without a reading that is taken for one; the
	// memory of the last reading may be nearly as old after a crash.
	absence = 11 * time.Minute
	// absentTimes is how many of its own intervals a meter may leave out.
	absentTimes = 3
	// oneHole is how far apart two times may be that belong to the same hole.
	oneHole = 15 * time.Minute
	// maxHoles bounds the holes of a meter; beyond it the oldest are forgotten.
	maxHoles = 64
	// maxExchanges bounds the exchanges that wait to be corrected.
	maxExchanges = 8
	// oldestOwn is how old the stamp of a single value may be: a meter behind a
	// meter is read once a day at the least.
	oldestOwn = 49 * time.Hour
	// keptFor is how long hours are kept that no hole is known of: Home
	// Assistant may have been away without our seeing it.
	keptFor = 48 * time.Hour
)

// registers are what is kept of a meter until Home Assistant's statistics have
// it: its totals hour by hour, when nobody told them, and exchanges. Its meter's
// lock guards it.
type registers struct {
	Logs      map[string]*statistics.Log       `json:"logs,omitempty"` // by key
	Holes     []statistics.Hole                `json:"holes,omitempty"`
	Exchanges map[string][]statistics.Exchange `json:"exchanges,omitempty"`

	none    map[string]bool // keys that Home Assistant keeps no sum of
	touched time.Time       // when something came late
	looked  time.Time       // when it was last looked at
}

// keepRegisters notes the totals of a reading. m.names are their keys.
func (m *meter) keepRegisters(values []drivers.Value, r *drivers.Reading) {
	if m.registers == nil {
		return
	}
	for i := range values {
		v := &values[i]
		if log := m.registerOf(m.names[i], v); log != nil {
			if at, ok := datedAt(v, r); ok {
				log.Add(at, v.Number)
			}
		}
	}
	m.keepStored(values, r)
}

// registerOf is the log of a value that Home Assistant keeps the sum of, or nil.
func (m *meter) registerOf(key string, v *drivers.Value) *statistics.Log {
	g := m.registers
	if log := g.Logs[key]; log != nil || g.none[key] {
		return log
	}
	falls, ok := discovery.SensorOf(quantityOf(key, v, false), m.medium(v.Channel)).HasSum()
	if !ok || v.Kind != drivers.Number || v.Flags&drivers.Logged != 0 || m.excluded(key) {
		if g.none == nil {
			g.none = map[string]bool{}
		}
		g.none[key] = len(g.none) < maxEntries
		return nil
	}
	if g.Logs == nil {
		g.Logs = map[string]*statistics.Log{}
	}
	g.Logs[key] = &statistics.Log{Falls: falls}
	return g.Logs[key]
}

// datedAt is when a value was what it was: by its own stamp, by the meter's clock
// as long as that is right, else by its arrival.
func datedAt(v *drivers.Value, r *drivers.Reading) (at time.Time, ok bool) {
	if v.Time.Zoned {
		late := r.Received.Sub(v.Time.Wall)
		return v.Time.Wall, late > -offBy && late < oldestOwn
	}
	if at, ok := shownAt(r.Time, r.Received); ok {
		return at, true
	}
	return r.Received, true
}

const (
	// zoneStep is what the offsets of all time zones are multiples of, furthestZone the
	// greatest of them.
	zoneStep     = 15 * time.Minute
	furthestZone = 14 * time.Hour
)

// shownAt is when a meter's clock showed a stamp. Of one without an offset, as in the
// hour that comes twice in autumn, it is the moment nearest to its arrival that some
// zone allows. false: the clock is not right.
func shownAt(s drivers.Stamp, received time.Time) (at time.Time, ok bool) {
	at = s.Wall
	if !s.Zoned {
		offset := at.Sub(received).Round(zoneStep)
		if offset.Abs() > furthestZone {
			return at, false
		}
		at = at.Add(-offset)
	}
	return at, at.Sub(received).Abs() < offBy
}

// noteAbsence notes a gap between two readings, also over a restart.
func (m *meter) noteAbsence(now time.Time) {
	before := m.seen
	m.seen = now
	usual := max(m.pace.interval, m.config.Every, m.config.Driver.Every)
	if before.IsZero() || now.Sub(before) < max(absence, absentTimes*usual) {
		return
	}
	gap := statistics.Hole{From: before, To: now}
	m.learned = true
	if m.config.Backfill {
		m.gaps = withHole(m.gaps, gap)
	}
	if m.registers != nil {
		m.registers.hole(gap)
	}
}

// hole notes a time in which Home Assistant heard nothing.
func (g *registers) hole(h statistics.Hole) {
	g.Holes = withHole(g.Holes, h)
	g.touched = time.Now()
}

// withHole adds a hole to others; those that meet become one.
func withHole(holes []statistics.Hole, h statistics.Hole) []statistics.Hole {
	holes = slices.DeleteFunc(holes, func(o statistics.Hole) bool {
		if o.From.After(h.To.Add(oneHole)) || h.From.After(o.To.Add(oneHole)) {
			return false
		}
		if o.From.Before(h.From) {
			h.From = o.From
		}
		if o.To.After(h.To) {
			h.To = o.To
		}
		return true
	})
	holes = append(holes, h)
	slices.SortFunc(holes, func(a, b statistics.Hole) int { return a.From.Compare(b.From) })
	return holes[max(0, len(holes)-maxHoles):]
}

func (g *registers) exchanged(key string, x statistics.Exchange) {
	if g.Exchanges == nil {
		g.Exchanges = map[string][]statistics.Exchange{}
	}
	waiting := append(g.Exchanges[key], x)
	g.Exchanges[key] = waiting[max(0, len(waiting)-maxExchanges):]
	g.touched = time.Now()
}

// prune forgets hours that nobody will ask for.
func (g *registers) prune(now time.Time) {
	oldest := now.Add(-keptFor)
	for _, h := range g.Holes {
		if h.From.Before(oldest) {
			oldest = h.From
		}
	}
	oldest = oldest.Add(-time.Hour)
	for _, log := range g.Logs {
		log.Hours = slices.DeleteFunc(log.Hours, func(h statistics.Hour) bool { return h.Start.Before(oldest) })
	}
}

// forHistory is a state as the journal keeps it: what it says of a nonsense clock
// left out, and with the stamps of values that have their own. It stands behind the
// state, where that has room.
func (m *meter) forHistory(state []byte) []byte {
	const times = `{"times":{`
	b := append(state, times...)
	begin := len(b)
	for i := range m.picture.entries {
		e := &m.picture.entries[i]
		if e.stale || e.time().IsZero() || e.time().Equal(m.picture.time) {
			continue
		}
		if len(b) > begin {
			b = append(b, ',')
		}
		b = drivers.AppendJSONString(b, e.quantity.Key)
		b = append(b, `:"`...)
		b = append(e.time().AppendTo(b), '"')
	}
	dated := m.datable(state)
	if len(b) == begin {
		m.history = 0
		return dated
	}
	b = append(b, `},`...)
	b = append(b, dated[1:]...)[len(state):]
	m.history = len(b)
	return b
}

// keepLate notes what of an entry of the journal belongs to Home Assistant's
// statistics.
func (b *Bridge) keepLate(e journal.Entry) {
	if b.late == nil {
		return
	}
	for _, m := range b.everyMeter() {
		if m.config.Name == e.Meter {
			m.keepLate(e)
		}
	}
}

func (m *meter) keepLate(e journal.Entry) {
	var head struct {
		Time  string            `json:"time"`
		Times map[string]string `json:"times"`
	}
	var values map[string]json.RawMessage
	if json.Unmarshal(e.Payload, &head) != nil || json.Unmarshal(e.Payload, &values) != nil {
		return // of an older program: it is published as it is
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.registers.hole(statistics.Hole{From: e.Received, To: e.Received})
	r := drivers.Reading{Time: stampOf(head.Time), Received: e.Received}
	for key, text := range values {
		i, known := m.picture.indexOf(key)
		n, err := drivers.ParseDecimal(text)
		if !known || err != nil {
			continue
		}
		v := valueOf(m.picture.entries[i].quantity, n, stampOf(head.Times[key]))
		if log := m.registerOf(key, &v); log != nil {
			if at, ok := datedAt(&v, &r); ok {
				log.Add(at, v.Number)
			}
		}
	}
}

func valueOf(q drivers.Quantity, n drivers.Decimal, at drivers.Stamp) drivers.Value {
	v := drivers.Value{Code: q.Code, Name: q.Name, Kind: q.Kind, Number: n, Unit: q.Unit, Channel: q.Channel, Time: at}
	if q.Logged {
		v.Flags |= drivers.Logged
	}
	return v
}

// stampOf reads a stamp as states have it; zero for any other text.
func stampOf(text string) drivers.Stamp {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return drivers.Stamp{Wall: t, Zoned: true}
	}
	if t, err := time.Parse("2006-01-02T15:04:05", text); err == nil {
		return drivers.Stamp{Wall: t}
	}
	return drivers.Stamp{}
}

// unitOf is the unit of a register.
func (m *meter) unitOf(key string) (unit obis.Unit, channel uint8, digits int) {
	i, known := m.picture.indexOf(key)
	if !known {
		return "", 0, 0
	}
	q := m.picture.entries[i].quantity
	return q.Unit, q.Channel, q.Digits
}
