package mbus

import (
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// plan is how to read the records that begin with one head. Meters send the same
// heads in the same order in every telegram, so the heads of the last telegram
// are tried first, by comparing bytes: reading a record then is reading its data.
// Plans never change once they are made, so readings may point into them.
type plan struct {
	head     string // DIB and VIB
	value    drivers.Value
	record   drivers.Record
	field    byte // data field of the DIF
	form     form
	shift    int
	none     bool // nothing of it is ever published
	unsigned bool
	role     role
}

// role is what a record means for the rest of its reading.
type role uint8

const (
	plain       role = iota
	clock            // the reading's time
	dates1           // the time of all values of its storage
	exportFlow       // energy that flows backward
	exportPower      // and its power
)

// maxPlans bounds what meters that invent heads can make a decoder remember.
const maxPlans = 2048

// planner finds the plan of each record.
type planner struct {
	known  map[string]*plan // by value group A and head
	latest []*plan          // of the last telegram, in its order
	next   int              // index in latest of the record to come
	a      byte             // value group A of the meter's medium
	key    []byte           // scratch
}

// begin starts a telegram of a meter whose medium has value group a.
func (p *planner) begin(a byte) {
	p.next = 0
	if a != p.a {
		p.a = a
		p.latest = p.latest[:0]
	}
}

// of finds the plan of the record at b[0], which is no special function; or what
// is wrong there, and where.
func (p *planner) of(b []byte) (found *plan, at int, f *fault) {
	i := p.next
	p.next++
	if i < len(p.latest) {
		l := p.latest[i]
		if n := len(l.head); len(b) >= n && string(b[:n]) == l.head {
			return l, 0, nil
		}
	}
	dib, vib, f := scanHead(b)
	if f != nil {
		return nil, dib + vib, f
	}
	found = p.find(b[:dib+vib], dib)
	switch {
	case i < len(p.latest):
		p.latest[i] = found
	case i < maxPlans:
		p.latest = append(p.latest, found)
	}
	return found, 0, nil
}

// find looks a head up, and makes its plan the first time.
func (p *planner) find(head []byte, dib int) *plan {
	p.key = append(append(p.key[:0], p.a), head...)
	if found, ok := p.known[string(p.key)]; ok {
		return found
	}
	if p.known == nil {
		p.known = map[string]*plan{}
	}
	if len(p.known) >= maxPlans {
		clear(p.known)
		p.latest = p.latest[:0]
	}
	made := newPlan(p.a, head, dib)
	p.known[string(p.key)] = made
	return made
}

// newPlan works out what a head means to a meter of group a.
func newPlan(a byte, head []byte, dib int) *plan {
	var m meaning
	m.read(head[dib:])
	p := &plan{
		head:     string(head),
		record:   coordinates(head[:dib]),
		field:    head[0] & 0x0F,
		form:     m.form,
		shift:    m.shift,
		unsigned: m.unsigned || m.form == flags,
	}
	p.none = m.void || m.form == secret || p.field == fieldNone || p.field == fieldReadout
	p.role = roleOf(a, &m, p)
	p.value = drivers.Value{Name: m.name + m.suffix, Unit: m.unit, Record: &p.record}
	if m.form != moment || p.field != fieldTypeJ {
		p.value.Code = codeOf(a, &m, p.record)
	}
	nameByCode(&p.value)
	if m.doubtful || p.record.Function == drivers.DuringError {
		p.value.Flags = drivers.MeterError
	}
	return p
}

// nameByCode gives a value with a code the name of the catalogue.
func nameByCode(v *drivers.Value) {
	if v.Code.IsZero() {
		return
	}
	if entry := obis.Lookup(v.Code); entry.Known() {
		v.Name = entry.Name
	}
}

// fieldTypeJ is the data field of a bare time of day.
const fieldTypeJ = 3

func roleOf(a byte, m *meaning, p *plan) role {
	dated := m.name == nameDate || m.name == nameDateTime
	of := p.record
	switch {
	case dated && m.vife == 0 && of.Storage > 0 && of.Tariff == 0 && of.Subunit == 0 && of.Function == drivers.Instantaneous:
		return dates1
	case m.name == nameDateTime && m.vife == 0 && of == (drivers.Record{}):
		return clock
	case a == electricityA && m.vife == 0x3C && m.name == nameEnergy:
		return exportFlow
	case a == electricityA && m.vife == 0x3C && m.name == namePower:
		return exportPower
	}
	return plain
}
