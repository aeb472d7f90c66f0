package corus

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// AppendNumber appends d in a numeric type. A number that the type cannot hold
// exactly is drivers.ErrValue; a Float takes the nearest that it has, as no other
// way to write 0.1 exists.
func AppendNumber(b []byte, t Type, d drivers.Decimal) ([]byte, error) {
	n, ok := numberOf(d)
	if !ok || !t.numeric() {
		return b, refused(t, d)
	}
	from := len(b)
	switch t {
	case Float:
		b, ok = appendFloat(b, d)
	case Float1:
		b, ok = appendFloat1(b, n)
	case Float2:
		b, ok = appendScaled(b, n, -3, 2)
	case Float3:
		b, ok = appendScaled(b, n, -1, 4)
	case Index, Index9:
		b, ok = appendIndex(b, n, typeNames[t].length-4)
	default:
		b, ok = appendUnsigned(b, n, typeNames[t].length)
	}
	if !ok || none(b[from:]) {
		return b[:from], refused(t, d)
	}
	return b, nil
}

func refused(t Type, d drivers.Decimal) error {
	return fmt.Errorf("%w: type %s cannot hold %s", drivers.ErrValue, t, d)
}

// appendUnsigned appends the low bytes of a whole number.
func appendUnsigned(b []byte, n number, size int) ([]byte, bool) {
	n, ok := n.at(0)
	if !ok || n.hi != 0 || n.negative && n.lo != 0 || n.lo>>(8*size) != 0 {
		return b, false
	}
	for range size {
		b = append(b, byte(n.lo))
		n.lo >>= 8
	}
	return b, true
}

func appendFloat(b []byte, d drivers.Decimal) ([]byte, bool) {
	rounded, err := strconv.ParseFloat(d.String(), 32)
	f := float32(rounded)
	if err != nil || f >= largestFloat || f <= -largestFloat {
		return b, false
	}
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(f)), true
}

func appendFloat1(b []byte, n number) ([]byte, bool) {
	n, ok := n.at(-2)
	switch {
	case !ok || n.hi != 0:
		return b, false
	case n.negative && n.lo <= 1<<15:
		return binary.LittleEndian.AppendUint16(b, -uint16(n.lo)), true
	case n.negative || n.lo >= 1<<15:
		return b, false
	}
	return binary.LittleEndian.AppendUint16(b, uint16(n.lo)), true
}

// appendScaled appends a number with the least of the exponents that holds it: the
// one of steps from first on whose index stands in the upper bits.
func appendScaled(b []byte, n number, first, steps int) ([]byte, bool) {
	width := 16 - bits.Len(uint(steps-1))
	for step := range steps {
		m, ok := n.at(first + step)
		if ok && m.hi == 0 && m.lo < 1<<width && (!m.negative || m.lo == 0) {
			return binary.LittleEndian.AppendUint16(b, uint16(m.lo)|uint16(step)<<width), true
		}
	}
	return b, false
}

// appendIndex appends whole in size bytes, and what is behind the point in 10^-8.
func appendIndex(b []byte, n number, size int) ([]byte, bool) {
	n, ok := n.at(-8)
	if !ok || n.negative && (n.hi != 0 || n.lo != 0) || n.hi >= 1e8 {
		return b, false
	}
	whole, part := bits.Div64(n.hi, n.lo, 1e8)
	b, ok = appendUnsigned(b, number{lo: whole}, size)
	return binary.LittleEndian.AppendUint32(b, uint32(part)), ok
}

// AppendDate appends a wall clock of the years 2000 to 2063. The zero time is four
// bytes 00: no limit, no date.
func AppendDate(b []byte, wall time.Time) ([]byte, error) {
	if wall.IsZero() {
		return append(b, 0, 0, 0, 0), nil
	}
	packed, ok := pack(wall)
	if !ok {
		return b, fmt.Errorf("%w: the device knows the years %d to %d, not %d", drivers.ErrValue, firstYear, lastYear, wall.Year())
	}
	return binary.LittleEndian.AppendUint32(b, packed), nil
}

// AppendString appends Latin-1 text, padded with NUL or cut to size bytes as other
// programs do it. Nothing is lost that way: what a person wants to write is held
// against the Parameter's MaxLen first.
func AppendString(b []byte, text string, size int) ([]byte, error) {
	from := len(b)
	for _, r := range text {
		if r == 0 || r > 0xFF {
			return b[:from], fmt.Errorf("%w: %q is no character of Latin-1", drivers.ErrValue, r)
		}
		if len(b)-from < size {
			b = append(b, byte(r))
		}
	}
	for len(b)-from < size {
		b = append(b, 0)
	}
	if none(b[from:]) {
		return b[:from], fmt.Errorf("%w: nothing but ÿ means no value", drivers.ErrValue)
	}
	return b, nil
}

// appendValue appends what a field is set to.
func (f *field) appendValue(b []byte, v drivers.Value, c *clock) ([]byte, error) {
	switch f.kind {
	case String:
		return AppendString(b, v.Text, f.size)
	case Hex:
		raw, err := hex.DecodeString(v.Text)
		if err != nil || len(raw) != f.size || none(raw) {
			return b, fmt.Errorf("%w: want %d hexadecimal digits", drivers.ErrValue, 2*f.size)
		}
		return append(b, raw...), nil
	case Date:
		return AppendDate(b, c.local(v.Moment))
	case Null, Alarm:
		return b, fmt.Errorf("%w: type %s cannot be written", drivers.ErrValue, f.kind)
	default:
		d, err := v.Number.Shift(-f.shift)
		if err != nil {
			return b, fmt.Errorf("%w: %w", drivers.ErrValue, err)
		}
		return AppendNumber(b, f.kind, d)
	}
}
