package mbus

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// reader turns the data of records into values.
type reader struct {
	zone     *time.Location
	msbFirst bool              // CI 73 and 76 of old: data comes most significant byte first
	texts    map[string]string // what was sent before, so that a steady text costs nothing
	bytes    map[string]string // the same for bytes, by what was sent
	scratch  []byte
	turned   [8]byte
}

// maxTexts bounds what meters that invent texts can make a decoder remember.
const maxTexts = 256

// fill puts data into v, which is the plan's template. false: there is no value.
func (r *reader) fill(v *drivers.Value, p *plan, data []byte, lvar byte) bool {
	if p.none {
		return false
	}
	if r.msbFirst && p.field != fieldVariable {
		data = r.turn(data)
	}
	switch {
	case p.form == opaque:
		return r.hexText(v, data)
	case p.form == moment:
		return r.moment(v, data, p.field, lvar)
	case p.field == fieldVariable:
		return r.variable(v, p, data, lvar)
	case p.field == fieldReal:
		return real32(v, p, data)
	case p.field > fieldReadout: // 9, A, B, C, E
		return r.bcd(v, p, data, false)
	case p.unsigned:
		return setUint(v, leUint(data), p.shift)
	case p.form == level:
		return setInt(v, decibels(signed(data)), p.shift)
	}
	return setInt(v, signed(data), p.shift)
}

// decibels reads a radio level. Meters send steps of 2 dB from -130 dBm on, or
// plain dBm; no meter hears more than 0 dBm, so the sign tells which.
func decibels(raw int64) int64 {
	if raw >= 0 && raw <= 127 {
		return 2*raw - 130
	}
	return raw
}

// turn reverses the order of at most 8 bytes.
func (r *reader) turn(b []byte) []byte {
	for i, x := range b {
		r.turned[len(b)-1-i] = x
	}
	return r.turned[:len(b)]
}

// signed is the two's complement integer in b, at most 8 bytes, least
// significant first.
func signed(b []byte) int64 {
	switch len(b) {
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(b)))
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(b)))
	case 0:
		return 0
	}
	unused := 64 - 8*len(b)
	return int64(leUint(b)<<unused) >> unused
}

func setInt(v *drivers.Value, n int64, shift int) bool {
	return v.SetScaled(n, shift) == nil
}

func setUint(v *drivers.Value, n uint64, shift int) bool {
	d, err := drivers.ScaledUint(n, shift)
	v.Number = d
	return err == nil
}

// real32 takes the shortest decimal that gives the same 32 bits back: the meter
// meant that, not the float's 24 bits written out. NaN and infinity are none.
func real32(v *drivers.Value, p *plan, data []byte) bool {
	f := math.Float32frombits(binary.LittleEndian.Uint32(data))
	if f != f || math.IsInf(float64(f), 0) {
		return false
	}
	var scratch [24]byte
	text := strconv.AppendFloat(scratch[:0], float64(f), 'e', -1, 32) // d.ddde±dd
	digits, exponent, negative := int64(0), 0, false
	for i, c := range text {
		switch c {
		case '-':
			negative = true
		case '.':
		case 'e':
			e, err := strconv.Atoi(string(text[i+1:]))
			if err != nil {
				return false
			}
			exponent = e - max(0, i-2-sign(negative))
			if negative {
				digits = -digits
			}
			return setInt(v, digits, exponent+p.shift)
		default:
			digits = digits*10 + int64(c-'0')
		}
	}
	return false
}

func sign(negative bool) int {
	if negative {
		return 1
	}
	return 0
}

// bcd reads decimal digits, two a byte, least significant byte first. An F in
// front is a minus if all others are decimal; any other digit above 9 makes the
// value void: blanks, dashes and error codes of a display look like that.
func (r *reader) bcd(v *drivers.Value, p *plan, data []byte, negative bool) bool {
	if p.form == identifier {
		return r.digits(v, data)
	}
	var n int64
	top := len(data) - 1
	for i := top; i >= 0; i-- {
		hi, lo := data[i]>>4, data[i]&0x0F
		if i == top && hi == 0x0F {
			hi, negative = 0, !negative
		}
		if hi > 9 || lo > 9 {
			return false
		}
		n = n*100 + int64(hi)*10 + int64(lo)
	}
	if negative {
		n = -n
	}
	return top >= 0 && setInt(v, n, p.shift)
}

// digits are an identifier: every zero counts.
func (r *reader) digits(v *drivers.Value, data []byte) bool {
	b := r.scratch[:0]
	for _, c := range slices.Backward(data) {
		hi, lo := c>>4, c&0x0F
		if hi > 9 || lo > 9 {
			return false
		}
		b = append(b, '0'+hi, '0'+lo)
	}
	r.scratch = b
	return len(b) > 0 && r.setText(v, b)
}

// variable reads what LVAR says.
func (r *reader) variable(v *drivers.Value, p *plan, data []byte, lvar byte) bool {
	switch {
	case lvar < lvarPositive:
		return r.text(v, data)
	case lvar < lvarBinary:
		return r.bcd(v, p, data, lvar >= lvarNegative)
	case len(data) == 0:
		return false
	case len(data) > 8:
		return r.hexReversed(v, data)
	case p.unsigned:
		return setUint(v, leUint(data), p.shift)
	}
	return setInt(v, signed(data), p.shift)
}

// text reads ISO 8859-1, last character first. With a control character in it,
// it is bytes.
func (r *reader) text(v *drivers.Value, data []byte) bool {
	for _, c := range data {
		if c < 0x20 || c >= 0x7F && c < 0xA0 {
			return r.hexText(v, data)
		}
	}
	r.scratch = appendLatin1(r.scratch[:0], data)
	return r.setText(v, r.scratch)
}

// appendLatin1 appends reversed ISO 8859-1 as UTF-8.
func appendLatin1(dst, reversed []byte) []byte {
	for _, c := range slices.Backward(reversed) {
		if c >= 0x80 {
			dst = append(dst, 0xC0|c>>6, 0x80|c&0x3F)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// hexText shows bytes in the order sent.
func (r *reader) hexText(v *drivers.Value, data []byte) bool {
	v.Kind, v.Unit = drivers.Text, ""
	if known, ok := r.bytes[string(data)]; ok {
		v.Text = known
		return true
	}
	if r.bytes == nil || len(r.bytes) >= maxTexts {
		r.bytes = map[string]string{}
	}
	v.Text = string(appendHex(nil, data))
	r.bytes[string(data)] = v.Text
	return true
}

// hexReversed shows a number too wide for numbers, most significant byte first.
func (r *reader) hexReversed(v *drivers.Value, data []byte) bool {
	b := r.scratch[:0]
	for i := range slices.Backward(data) {
		b = appendHex(b, data[i:i+1])
	}
	r.scratch = b
	return r.setText(v, b)
}

func appendHex(dst, data []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, b := range data {
		dst = append(dst, digits[b>>4], digits[b&0x0F])
	}
	return dst
}

// setText gives v a string that outlives the telegram.
func (r *reader) setText(v *drivers.Value, b []byte) bool {
	v.Kind = drivers.Text
	v.Unit = ""
	if known, ok := r.texts[string(b)]; ok {
		v.Text = known
		return true
	}
	if r.texts == nil || len(r.texts) >= maxTexts {
		r.texts = map[string]string{}
	}
	v.Text = string(b)
	r.texts[v.Text] = v.Text
	return true
}

// moment reads a date, or a time of day as a text.
func (r *reader) moment(v *drivers.Value, data []byte, field, lvar byte) bool {
	binaryField := field < fieldReadout && field != fieldReal
	if !binaryField && (lvar < lvarBinary || lvar >= lvarWide) {
		return false
	}
	if len(data) == 3 {
		b, ok := appendTypeJ(r.scratch[:0], data)
		r.scratch = b
		return ok && r.setText(v, b)
	}
	stamp, ok := stampOf(data, r.zone)
	v.Kind, v.Moment = drivers.Moment, stamp
	return ok
}
