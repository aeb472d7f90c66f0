package bridge

import (
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
	// ageEvery is how often keys are looked at: all of ten thousand meters, each
	// second, were a thirtieth of the gateway's work.
	ageEvery = 5 * time.Second
)

// maxUnindexed is up to how many entries are searched one by one: few values come
// elsewhere than the time before, and an index takes as much as it finds.
const maxUnindexed = 64

// picture is the last accepted value of every known key of one meter.
type picture struct {
	time     drivers.Stamp // the meter's clock, as last said
	received time.Time
	entries  []entry
	index    map[string]int // key → entries; nil: they are few
	next     int            // of entries: mostly the one that comes next
	full     bool           // a key was refused for want of room
	looked   time.Time      // when keys were last looked at
}

// entry is one key of a picture. A gateway may have ten thousand meters with forty
// of them each: it holds what its value has beyond its quantity, and of a mere
// number, as most are, no more.
type entry struct {
	quantity drivers.Quantity
	number   drivers.Decimal
	rest     *rest // nil: a number without a time of its own
	pace     pace
	stale    bool
}

// rest is what few values have.
type rest struct {
	text         string
	moment, time drivers.Stamp
}

// renew takes an accepted value. It says whether the quantity is new, or shows
// more decimals or another unit than before, so that it must be announced.
func (p *picture) renew(key string, v *drivers.Value, derived bool, now time.Time) (announce bool) {
	i, known := p.find(key)
	if !known {
		if i = p.add(quantityOf(key, v, derived)); i < 0 {
			p.full = true
			return false
		}
	}
	p.next = i + 1
	e := &p.entries[i]
	announce = !known || e.changed(v, derived)
	e.set(v)
	e.pace.saw(now)
	return announce
}

// set takes the value.
func (e *entry) set(v *drivers.Value) {
	e.number, e.stale = v.Number, false
	if v.Kind != drivers.Text && v.Kind != drivers.Moment && v.Time.IsZero() {
		e.rest = nil
		return
	}
	if e.rest == nil {
		e.rest = &rest{}
	}
	*e.rest = rest{v.Text, v.Moment, v.Time}
}

// value is the value that was set, as far as the picture keeps it.
func (e *entry) value() drivers.Value {
	v := drivers.Value{
		Code: e.quantity.Code, Name: e.quantity.Name, Kind: e.quantity.Kind, Unit: e.quantity.Unit,
		Channel: e.quantity.Channel, Number: e.number,
	}
	if e.rest != nil {
		v.Text, v.Moment, v.Time = e.rest.text, e.rest.moment, e.rest.time
	}
	return v
}

// time is the time of its own that the value has; zero: none.
func (e *entry) time() drivers.Stamp {
	if e.rest == nil {
		return drivers.Stamp{}
	}
	return e.rest.time
}

// add makes room for an entry that is not known; negative: there is none.
func (p *picture) add(q drivers.Quantity) (at int) {
	at = len(p.entries)
	if at >= maxEntries {
		return -1
	}
	if at == cap(p.entries) {
		p.reserve(at + 1 + at/8)
	}
	p.entries = append(p.entries, entry{quantity: q})
	switch {
	case p.index != nil:
		p.index[q.Key] = at
	case len(p.entries) > maxUnindexed:
		p.index = make(map[string]int, len(p.entries))
		for i := range p.entries {
			p.index[p.entries[i].quantity.Key] = i
		}
	}
	return at
}

// reserve makes room for so many entries in all, and no more.
func (p *picture) reserve(n int) {
	if n = min(n, maxEntries); n > cap(p.entries) {
		p.entries = append(make([]entry, 0, n), p.entries...)
	}
}

// indexOf is where a key's entry is.
func (p *picture) indexOf(key string) (at int, known bool) {
	if p.index != nil {
		at, known = p.index[key]
		return at, known
	}
	for i := range p.entries {
		if p.entries[i].quantity.Key == key {
			return i, true
		}
	}
	return 0, false
}

// find is where a key's entry is. Values mostly come in the same order.
func (p *picture) find(key string) (i int, known bool) {
	if p.next >= len(p.entries) {
		p.next = 0
	}
	if p.next < len(p.entries) && p.entries[p.next].quantity.Key == key {
		return p.next, true
	}
	return p.indexOf(key)
}

// expect makes a quantity known that has not come yet.
func (p *picture) expect(q drivers.Quantity) {
	if _, known := p.indexOf(q.Key); known {
		return
	}
	if i := p.add(q); i >= 0 {
		p.entries[i].stale = true
	}
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
// were new ones among them. It looks every few seconds. usual is how often the meter
// is asked; 0: it speaks by itself.
func (p *picture) age(now time.Time, usual time.Duration) (changed bool) {
	if now.Sub(p.looked) < ageEvery {
		return false
	}
	p.looked = now
	for i := range p.entries {
		e := &p.entries[i]
		if !e.stale && e.isLate(now, usual) {
			e.stale, changed = true, true
		}
	}
	return changed
}

// isLate says whether the key of a meter that is asked as usual stayed away for too
// long. Its pace counts once it is settled.
func (e *entry) isLate(now time.Time, usual time.Duration) bool {
	if !e.pace.isSettled() {
		return e.pace.seen() && now.Sub(e.pace.last) > max(staleUnknown, staleTimes*usual)
	}
	return e.pace.atLeast(usual).late(now, staleTimes, staleFloor, staleUnknown)
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
	if e.quantity.Kind == drivers.Number {
		return e.number.AppendTo(b)
	}
	v := e.value()
	return v.AppendPayload(b)
}

// plain is the value without JSON's quotes, for BASE/METER/value/KEY; empty if
// it is stale.
func (e *entry) plain() []byte {
	if e.stale {
		return nil
	}
	v := e.value()
	return []byte(plain(&v))
}
