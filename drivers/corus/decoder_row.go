package corus

import (
	"encoding/binary"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

var (
	clockCode  = obis.New(0, 0, 1, 0, 0)
	mapCode    = obis.New(0, 0, 96, 1, 1)
	serialCode = obis.New(0, 0, 96, 1, 0)
)

// reader turns the bytes of fields into values.
type reader struct {
	clock  clock
	texts  texts
	weight number // of a pulse
	known  bool   // the weight is
}

// append reads a field out of the bytes that it lies in, and appends its value to r
// if it has one: counted pulses only if their weight is known.
func (d *reader) append(r *drivers.Reading, f *field, b []byte) {
	raw := b[f.offset : f.offset+f.size]
	if raw[0] == 0xFF && none(raw) || f.pulse && !d.known {
		return
	}
	n := len(r.Values)
	r.Values = append(r.Values, f.value)
	v := &r.Values[n]
	ok := true
	switch f.kind {
	case String:
		v.Text = d.texts.latin1(raw)
	case Hex:
		v.Text = d.texts.hex(raw)
	case Date:
		v.Moment, ok = d.clock.stamp(binary.LittleEndian.Uint32(raw))
	default:
		ok = d.number(f, raw, v)
	}
	if !ok {
		r.Values = r.Values[:n]
	}
}

// number reads a number, with its pulse weight, divisor and unit.
func (d *reader) number(f *field, raw []byte, v *drivers.Value) bool {
	n, ok := f.kind.numberIn(raw)
	if ok && f.pulse {
		n, ok = n.times(d.weight)
	}
	if ok && f.scaled {
		n, ok = n.times(f.factor)
	}
	if !ok {
		return false
	}
	n.exp += f.shift
	return n.into(v)
}

// row reads a record.
func (d *reader) row(l *layout, record []byte, r *drivers.Reading) {
	r.Check = drivers.CheckCRC16
	if l.stamp >= 0 {
		r.Time, _ = d.clock.stamp(binary.LittleEndian.Uint32(record[l.stamp:]))
	}
	for i := range l.fields {
		d.append(r, &l.fields[i], record)
	}
}

// setWeight takes the weight of a pulse as parameter 1 has it.
func (d *reader) setWeight(raw []byte) {
	if n, ok := Float.numberIn(raw); ok && !n.negative {
		d.weight, d.known = n.trimmed(), true
	}
}

// parameters reads the answer to a question for parameters, whose lengths add up to
// that of b, into r: values, the clock, and who the device is.
func (d *reader) parameters(asked []*parameter, b []byte, r *drivers.Reading) {
	r.Check = drivers.CheckCRC16
	for _, p := range asked {
		raw := b[:p.length]
		b = b[p.length:]
		if p.id == weightID && p.length == 4 && !d.known {
			d.setWeight(raw)
		}
		for i := range p.fields {
			from := len(r.Values)
			if d.append(r, &p.fields[i], raw); len(r.Values) > from {
				d.learn(r, &r.Values[from])
			}
		}
	}
}

// learn takes from a value what it says of the device as a whole.
func (d *reader) learn(r *drivers.Reading, v *drivers.Value) {
	switch v.Code {
	case clockCode:
		r.Time = v.Moment
	case mapCode:
		r.Meter.Version = v.Text
	case serialCode:
		r.Meter.ID = v.Text
		if v.Kind == drivers.Number {
			r.Meter.ID = v.Number.String()
		}
	}
}

// lengthOf is how long the answer to a question is.
func lengthOf(asked []*parameter) (n int) {
	for _, p := range asked {
		n += p.length
	}
	return n
}
