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
// if it has one.
func (d *reader) append(r *drivers.Reading, f *field, b []byte) {
	n := len(r.Values)
	r.Values = append(r.Values, f.value)
	if !d.read(&r.Values[n], f, b) {
		r.Values = r.Values[:n]
	}
}

// read fills v, which is as f has it, from the bytes that the field lies in. False:
// there is no value, as of counted pulses whose weight is not known.
func (d *reader) read(v *drivers.Value, f *field, b []byte) (ok bool) {
	raw := b[f.offset : f.offset+f.size]
	if raw[0] == 0xFF && none(raw) {
		return false
	}
	switch f.kind {
	case String:
		v.Text = d.texts.latin1(raw)
	case Hex:
		v.Text = d.texts.hex(raw)
	case Date:
		v.Moment, ok = d.clock.stamp(binary.LittleEndian.Uint32(raw))
		return ok
	default:
		return d.number(f, raw, v)
	}
	return true
}

// number reads a number, with its pulse weight, divisor and unit.
func (d *reader) number(f *field, raw []byte, v *drivers.Value) bool {
	n, ok := f.kind.someNumber(raw)
	if ok && f.pulse {
		n, ok = n.times(d.weight)
		ok = ok && d.known
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

// row reads a record. Its values are laid out at once, as the layout has them; one
// that is none is taken out again.
func (d *reader) row(l *layout, record []byte, r *drivers.Reading) {
	r.Check = drivers.CheckCRC16
	if l.stamp >= 0 {
		r.Time, _ = d.clock.stamp(binary.LittleEndian.Uint32(record[l.stamp:]))
	}
	r.Values = append(r.Values[:0], l.values...)
	at := 0
	for i := range l.fields {
		v := &r.Values[i]
		if !d.read(v, &l.fields[i], record) {
			continue
		}
		if at < i {
			r.Values[at] = *v
		}
		at++
	}
	r.Values = r.Values[:at]
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
		r.Meter.Version = d.texts.mapID(v.Text)
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
