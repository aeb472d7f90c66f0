package bridge

import (
	"path"

	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// take moves the reading's values into the picture: multiplied by what lies
// before the meter, totals only where they are plausible, the sums that the
// meter leaves out added. It says whether a quantity is new or changed.
func (m *meter) take(r *drivers.Reading) (announce bool) {
	if m.picture.entries == nil {
		m.picture.reserve(len(r.Values) + len(m.sums)) // some may have to wait for the next telegram
	}
	values := m.guarded(m.factors.apply(r.Values), r)
	sent := len(values)
	values = m.sums.derive(values)
	for i := range values {
		v := &values[i]
		if i >= sent {
			m.followExchange(m.name(v), v, r.Received)
		}
		if i >= sent && !m.isWanted(m.names[i], v) {
			continue
		}
		if m.picture.renew(m.names[i], v, i >= sent, r.Received) {
			announce = true
		}
	}
	m.exchanged = false
	m.keepRegisters(values, r)
	r.Values = values
	m.picture.time, m.picture.received = r.Time, r.Received
	m.watchClock(r)
	if m.picture.full {
		m.picture.full = false
		m.log.Warn().Int("limit", maxEntries).Msg("meter has more quantities than are kept")
	}
	return announce
}

// isWanted says whether a derived sum goes into the picture. One that had to be
// named apart came from the meter too, in a telegram whose own is held back.
func (m *meter) isWanted(key string, sum *drivers.Value) bool {
	return key == sum.Code.String() && !m.excluded(key)
}

// guarded names the values, in wire order, and keeps those that may be
// published. m.names holds the names of what it returns.
func (m *meter) guarded(values []drivers.Value, r *drivers.Reading) []drivers.Value {
	m.keys.Begin()
	m.newcomers.begin()
	m.names, m.doubtful = m.names[:0], false
	kept := values[:0]
	for i := range values {
		v := &values[i]
		if v.Flags&drivers.Vacant != 0 {
			continue // before it is named: the one that is real has the first claim to the key
		}
		key := m.name(v)
		fresh := m.isNewcomer(key, r.Check)
		if m.excluded(key) || m.isTotal(v) && !m.plausible(key, v, r) || fresh {
			m.names = m.names[:len(m.names)-1]
			continue
		}
		if len(kept) < i {
			values[len(kept)] = *v
		}
		kept = values[:len(kept)+1]
	}
	return kept
}

// name finds the value's key and adds it to m.names.
func (m *meter) name(v *drivers.Value) string {
	key, twice := m.keys.Key(v)
	m.names = append(m.names, key)
	if twice && !m.toldTwice && v.Flags&drivers.Logged == 0 {
		m.toldTwice = true
		m.log.Info().Str("obis", v.Code.String()).Str("key", key).Msg("a code came twice in one telegram")
	}
	return key
}

// excluded says whether the configuration leaves a key out.
func (m *meter) excluded(key string) bool {
	for _, pattern := range m.config.Exclude {
		if ok, _ := path.Match(pattern, key); ok { // the configuration's were checked
			return true
		}
	}
	return false
}

// isTotal says whether a value must never fall: the catalogue knows.
func (m *meter) isTotal(v *drivers.Value) bool {
	if v.Kind != drivers.Number || v.Flags&drivers.Logged != 0 {
		return false
	}
	if !v.Code.IsZero() {
		return obis.Lookup(v.Code).IsTotal()
	}
	if v.Record != nil && (v.Record.Storage != 0 || v.Record.Function != drivers.Instantaneous) {
		return false
	}
	return obis.Named(v.Name, m.medium(v.Channel)).IsTotal()
}

// medium is what flows through the meter, or through the one behind it.
func (m *meter) medium(channel uint8) string {
	for i := range m.channels {
		if m.channels[i].Number == channel {
			return m.channels[i].Meter.Medium
		}
	}
	return m.identity.Medium
}

// plausible says whether a total may be published, and puts what may be in its
// place.
func (m *meter) plausible(key string, v *drivers.Value, r *drivers.Reading) bool {
	verdict := m.guard.Judge(key, v, r.Check, r.Received)
	if verdict.Reason != plausible.Fine {
		m.doubtful = true
		m.holdBack(key, v, verdict.Reason)
		return false
	}
	delete(m.held, key)
	v.Number = verdict.Accepted
	if verdict.Exchange != nil {
		m.exchanged = true
		m.tellExchange(key, v, *verdict.Exchange, r.Received)
	}
	return true
}
