package bridge

import (
	"bytes"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// The types of an event, as Home Assistant is told them in discovery.
const (
	eventExchanged   = "exchanged"
	eventHeldBack    = "held_back"
	eventClockOff    = "clock_off"
	eventWriteOK     = "write_ok"
	eventWriteFailed = "write_failed"
)

// heldBackEvent is a total that was not published, and why.
type heldBackEvent struct {
	Type   string           `json:"event_type"`
	Key    string           `json:"key"`
	Reason string           `json:"reason"`
	Value  drivers.Decimal  `json:"value"`
	Last   *drivers.Decimal `json:"last,omitempty"` // the last good one
	Unit   string           `json:"unit,omitempty"`
}

// exchangedEvent is a total that starts anew.
type exchangedEvent struct {
	Type     string          `json:"event_type"`
	Key      string          `json:"key"`
	Old      drivers.Decimal `json:"old"`
	New      drivers.Decimal `json:"new"`
	Unit     string          `json:"unit,omitempty"`
	RollOver bool            `json:"roll_over"`
	// Correction is what must be added to Home Assistant's sum, because it takes
	// the new start for consumption; absent where there is nothing to correct.
	Correction *drivers.Decimal `json:"correction,omitempty"`
}

// clockEvent is a meter whose clock is off.
type clockEvent struct {
	Type  string `json:"event_type"`
	Clock string `json:"clock"`
	Off   int64  `json:"off"` // seconds that it is ahead
}

func (m *meter) publishEvent(e any) {
	m.link.Publish(mqttlink.Message{Topic: m.topics.event, Payload: mustJSON(e), Keep: true})
}

// holdBack counts a total that is not published, and tells of it once an
// incident. What merely waits for its first or next telegram is no incident.
func (m *meter) holdBack(key string, v *drivers.Value, why plausible.Reason) {
	last, known := m.guard.Last(key)
	if why == plausible.Unverified || why == plausible.First || !known {
		return
	}
	m.counts.heldBack++
	if m.held[key] {
		return
	}
	if m.held == nil {
		m.held = map[string]bool{}
	}
	m.held[key] = true
	m.publishEvent(heldBackEvent{
		Type: eventHeldBack, Key: key, Reason: why.String(), Value: v.Number, Last: &last, Unit: string(v.Unit),
	})
	m.log.Warn().Str("obis", key).Stringer("reason", why).Stringer("value", v.Number).Stringer("last", last).
		Msg("total held back until a second telegram bears it out")
}

func (m *meter) tellExchange(key string, v *drivers.Value, x plausible.Exchange, at time.Time) {
	if m.registers != nil {
		m.registers.exchanged(key, statistics.Exchange{At: at, Old: x.Old, New: x.New})
	}
	m.publishEvent(exchangedEvent{
		Type: eventExchanged, Key: key, Old: x.Old, New: x.New, Unit: string(v.Unit),
		RollOver: x.RollOver, Correction: correction(x),
	})
	m.log.Warn().Str("obis", key).Stringer("value", x.New).Stringer("last", x.Old).Bool("roll_over", x.RollOver).
		Msg("total starts anew: the meter was exchanged, or rolled over")
}

// followExchange tells of a derived sum that fell because a part of it started
// anew.
func (m *meter) followExchange(key string, v *drivers.Value, at time.Time) {
	i, known := m.picture.indexOf(key)
	if !m.exchanged || !known {
		return
	}
	if old := m.picture.entries[i].number; v.Number.Cmp(old) < 0 {
		m.tellExchange(key, v, plausible.Exchange{Old: old, New: v.Number}, at)
	}
}

// correction is what Home Assistant's sum needs after a total fell from old to
// new. Below nine tenths it takes the meter for a new one that began at 0 and
// adds all of new; above, it subtracts the fall. Nothing was consumed by either,
// except that a roll-over went on from the old value to the end of its digits.
func correction(x plausible.Exchange) *drivers.Decimal {
	nine, err := x.Old.Mul(drivers.NewDecimal(9, -1))
	if err != nil {
		return nil
	}
	c := drivers.Decimal{}
	switch {
	case x.RollOver:
		c, err = plausible.Range(x.Old).Sub(x.Old)
	case x.New.Cmp(nine) < 0:
		c, err = c.Sub(x.New)
	default:
		c, err = x.Old.Sub(x.New)
	}
	if err != nil || c.Sign() == 0 {
		return nil
	}
	return &c
}

const (
	// A clock is off from offBy on, and right again below rightBy.
	offBy, rightBy = 5 * time.Minute, 4 * time.Minute
	// A stamp further off than nonsense dates nothing.
	nonsense = 24 * time.Hour
)

// watchClock notes how far the meter's clock is off. That is told once.
func (m *meter) watchClock(r *drivers.Reading) {
	if !r.Time.Zoned {
		return
	}
	drift := r.Time.Wall.Sub(r.Received)
	m.drift = drift
	switch off := drift.Abs(); {
	case off >= offBy && !m.clockOff:
		m.clockOff = true
		m.publishEvent(clockEvent{Type: eventClockOff, Clock: r.Time.String(), Off: int64(drift / time.Second)})
		m.log.Warn().Stringer("offset", drift.Round(time.Second)).Str("clock", r.Time.String()).Msg("the meter's clock is off")
	case off < rightBy && m.clockOff:
		m.clockOff = false
		m.log.Info().Msg("the meter's clock is right again")
	}
}

// datable is a state as history may keep it: without the meter's time if that is
// nonsense, so that only the time of arrival dates it.
func (m *meter) datable(state []byte) []byte {
	const begin, next = `{"time":"`, `","`
	if m.drift.Abs() < nonsense || !bytes.HasPrefix(state, []byte(begin)) {
		return state
	}
	end := bytes.Index(state, []byte(next))
	return append([]byte{'{'}, state[end+len(next)-1:]...)
}
