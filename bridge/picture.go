package bridge

import (
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// maxEntries bounds the picture of one meter, for meters that invent names.
const maxEntries = 1024

// How long a key may stay away before it is null: several times its own pace,
// with a floor for the fast ones; as long as the slowest usual list (an hour)
// and then some while it came only once.
const (
	staleTimes   = 4
	staleFloor   = 30 * time.Second
	staleUnknown = 3*time.Hour + 10*time.Minute
)

// picture is the last accepted value of every known key of one meter.
type picture struct {
	time     drivers.Stamp // the meter's clock, as last said
	received time.Time
	entries  []entry
	index    map[string]int // key → entries
	next     int            // of entries: mostly the one that comes next
	full     bool           // a key was refused for want of room
}

// entry is one key of a picture.
type entry struct {
	quantity drivers.Quantity
	value    drivers.Value
	pace     pace
	stale    bool
}

// renew takes an accepted value. It says whether the quantity is new, or shows
// more decimals or another unit than before, so that it must be announced.
func (p *picture) renew(key string, v *drivers.Value, derived bool, now time.Time) (announce bool) {
	i, known := p.find(key)
	if !known {
		if len(p.entries) >= maxEntries {
			p.full = true
			return false
		}
		if p.index == nil {
			p.index = map[string]int{}
		}
		i = len(p.entries)
		p.index[key] = i
		p.entries = append(p.entries, entry{quantity: quantityOf(key, v, derived)})
	}
	p.next = i + 1
	e := &p.entries[i]
	announce = !known || e.changed(v, derived)
	e.value, e.stale = *v, false
	e.pace.saw(now)
	return announce
}

// find is where a key's entry is. Values mostly come in the same order.
func (p *picture) find(key string) (i int, known bool) {
	if p.next >= len(p.entries) {
		p.next = 0
	}
	if p.next < len(p.entries) && p.entries[p.next].quantity.Key == key {
		return p.next, true
	}
	i, known = p.index[key]
	return i, known
}

// expect makes a quantity known that has not come yet.
func (p *picture) expect(q drivers.Quantity) {
	if p.index == nil {
		p.index = map[string]int{}
	}
	if _, known := p.index[q.Key]; known || len(p.entries) >= maxEntries {
		return
	}
	p.index[q.Key] = len(p.entries)
	p.entries = append(p.entries, entry{quantity: q, stale: true})
}

func quantityOf(key string, v *drivers.Value, derived bool) drivers.Quantity {
	return drivers.Quantity{
		Key: key, Code: v.Code, Name: v.Name, Kind: v.Kind, Unit: v.Unit,
		Zoned: v.Kind == drivers.Moment && v.Moment.Zoned, Digits: v.Number.Decimals(), Channel: v.Channel,
		Logged: v.Flags&drivers.Logged != 0, Derived: derived,
	}
}

// changed keeps the quantity in step with its values: kind and unit as last
// sent, decimals the most ever sent.
func (e *entry) changed(v *drivers.Value, derived bool) bool {
	if e.shows(v, derived) {
		return false
	}
	digits := e.quantity.Digits
	e.quantity = quantityOf(e.quantity.Key, v, derived)
	e.quantity.Digits = max(digits, e.quantity.Digits)
	return true
}

// shows says whether the quantity is what v is one of.
func (e *entry) shows(v *drivers.Value, derived bool) bool {
	q := &e.quantity
	return q.Code == v.Code && q.Kind == v.Kind && q.Unit == v.Unit && q.Name == v.Name &&
		q.Digits >= v.Number.Decimals() && q.Channel == v.Channel &&
		q.Zoned == (v.Kind == drivers.Moment && v.Moment.Zoned) &&
		q.Logged == (v.Flags&drivers.Logged != 0) && q.Derived == derived
}

// age marks the keys that were not renewed in their time and says whether there
// were new ones among them.
func (p *picture) age(now time.Time) (changed bool) {
	for i := range p.entries {
		e := &p.entries[i]
		if !e.stale && e.isLate(now) {
			e.stale, changed = true, true
		}
	}
	return changed
}

// isLate says whether the key stayed away for too long. Its pace counts once it is
// settled.
func (e *entry) isLate(now time.Time) bool {
	if !e.pace.isSettled() {
		return e.pace.seen() && now.Sub(e.pace.last) > staleUnknown
	}
	return e.pace.late(now, staleTimes, staleFloor, staleUnknown)
}

// quantities are all that the meter is known to give, in the order they came.
func (p *picture) quantities() []drivers.Quantity {
	q := make([]drivers.Quantity, len(p.entries))
	for i := range p.entries {
		q[i] = p.entries[i].quantity
	}
	return q
}

// appendJSON writes the picture as one flat object: time, received, and every
// key with its value, or null if it is stale.
func (p *picture) appendJSON(b []byte) []byte {
	b = append(b, '{')
	if !p.time.IsZero() {
		b = append(b, `"time":"`...)
		b = p.time.AppendTo(b)
		b = append(b, `",`...)
	}
	b = append(b, `"received":"`...)
	b = p.received.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = append(b, '"')
	for i := range p.entries {
		e := &p.entries[i]
		b = append(b, ',')
		b = drivers.AppendJSONString(b, e.quantity.Key)
		b = append(b, ':')
		b = e.appendPayload(b)
	}
	return append(b, '}')
}

func (e *entry) appendPayload(b []byte) []byte {
	if e.stale {
		return append(b, "null"...)
	}
	return e.value.AppendPayload(b)
}

// plain is the value without JSON's quotes, for BASE/METER/value/KEY; empty if
// it is stale.
func (e *entry) plain() []byte {
	if e.stale {
		return nil
	}
	if e.value.Kind == drivers.Text {
		return []byte(e.value.Text)
	}
	return []byte(strings.Trim(string(e.value.AppendPayload(nil)), `"`))
}
