package corus

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Type says how the bytes of a parameter or of a field of a record are read. All
// are little-endian, and bytes that are all FF are no value.
type Type uint8

// The types of I-FLAG.
const (
	Byte         Type = iota // 1 byte, unsigned; a flag too
	Word                     // 2 bytes, unsigned
	EWord                    // 3 bytes, unsigned
	ULong                    // 4 bytes, unsigned
	EULong                   // 5 bytes, unsigned
	Float                    // 4 bytes, IEEE 754, rounded half to even to six decimals
	Float1                   // 2 bytes, signed, hundredths: temperatures
	Float2                   // 2 bytes, 15 bits times 10^-3 or 10^-2: pressures
	Float3                   // 2 bytes, 14 bits times 10^-1 to 10^2: flows
	Index                    // 8 bytes: whole, and 10^-8
	Index9                   // 9 bytes: 5 of whole, and 10^-8
	Date                     // 4 bytes: the device's local time
	String                   // Latin-1, padded with NUL; 8 bytes unless the layout says otherwise
	Null                     // bytes that are passed over
	Hex                      // bytes that nobody knows more of, as hexadecimal digits
	Alarm                    // 22 bytes: active, memorised, value and four dates
	AlarmMask                // 4 bytes of bits
	DatabaseMask             // 2 bytes of bits
	types
)

// typeNames are the names that layouts use, and lengths in bytes; 0: the layout
// says it.
var typeNames = [types]struct {
	name   string
	length int
}{
	Byte: {"byte", 1}, Word: {"word", 2}, EWord: {"eword", 3}, ULong: {"ulong", 4}, EULong: {"eulong", 5},
	Float: {"float", 4}, Float1: {"float1", 2}, Float2: {"float2", 2}, Float3: {"float3", 2},
	Index: {"index", 8}, Index9: {"index9", 9}, Date: {"date", 4}, String: {"string", 8},
	Null: {"null", 0}, Hex: {"hex", 0}, Alarm: {"alarm", 22}, AlarmMask: {"alarm_mask", 4}, DatabaseMask: {"database_mask", 2},
}

// typeAliases are further names of types.
var typeAliases = map[string]struct {
	kind   Type
	length int
}{"flag": {Byte, 1}, "null2": {Null, 2}, "null4": {Null, 4}}

// String is the name that layouts use.
func (t Type) String() string {
	if t < types {
		return typeNames[t].name
	}
	return "unknown"
}

// kind is what values of the type are.
func (t Type) kind() drivers.Kind {
	switch t {
	case String, Hex:
		return drivers.Text
	case Date:
		return drivers.Moment
	default:
		return drivers.Number
	}
}

// numeric says whether the type holds a number.
func (t Type) numeric() bool { return t.kind() == drivers.Number && t != Null && t != Alarm }

// none says whether b is the pattern for no value.
func none(b []byte) bool {
	for _, c := range b {
		if c != 0xFF {
			return false
		}
	}
	return true
}

// unsigned reads up to five bytes.
func unsigned(b []byte) (n uint64) {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	return n
}

// numberIn reads a numeric type; false: there is no value. b has its length.
func (t Type) numberIn(b []byte) (number, bool) {
	if none(b) {
		return number{}, false
	}
	return t.someNumber(b)
}

// someNumber is numberIn of bytes that are not the pattern for no value.
func (t Type) someNumber(b []byte) (number, bool) {
	switch t {
	case Float:
		return float(binary.LittleEndian.Uint32(b))
	case Float1:
		n := int16(binary.LittleEndian.Uint16(b))
		if n < 0 {
			return number{lo: uint64(-int64(n)), exp: -2, negative: true}, true
		}
		return number{lo: uint64(n), exp: -2}, true
	case Float2:
		n := binary.LittleEndian.Uint16(b)
		return number{lo: uint64(n & 0x7FFF), exp: int(n>>15) - 3}, true
	case Float3:
		n := binary.LittleEndian.Uint16(b)
		return number{lo: uint64(n & 0x3FFF), exp: int(n>>14) - 1}, true
	case Index:
		whole, part := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		if part == 0 {
			return number{lo: uint64(whole)}, true
		}
		return number{lo: uint64(whole)*1e8 + uint64(part), exp: -8}, true
	case Index9:
		n, _ := number{lo: unsigned(b[:5]), exp: -8}.times(number{lo: 1e8})
		part := uint64(binary.LittleEndian.Uint32(b[5:]))
		if n.lo += part; n.lo < part {
			n.hi++
		}
		return n, true
	default:
		return number{lo: unsigned(b)}, true
	}
}

// Where a float32 keeps what.
const (
	mantissaBits = 23
	exponentBias = 127 + mantissaBits
	largestFloat = 1e22 // what iflag, the one public decoder, still converts
)

// float is an IEEE 754 single, rounded half to even to six decimals. Infinities, NaN
// and what is beyond 10^22 are no value.
func float(b uint32) (number, bool) {
	f := math.Float32frombits(b)
	if f != f || f >= largestFloat || f <= -largestFloat {
		return number{}, false
	}
	n := number{negative: b>>31 != 0}
	mantissa, exponent := uint64(b&(1<<mantissaBits-1)), int(b>>mantissaBits&0xFF)
	if exponent == 0 {
		exponent = 1
	} else {
		mantissa |= 1 << mantissaBits
	}
	switch shift := exponent - exponentBias; {
	case shift >= 64: // not below 10^22
		n.hi = mantissa << (shift - 64)
	case shift >= 0:
		n.hi, n.lo = mantissa>>(64-shift), mantissa<<shift
	default:
		n.lo, n.exp = roundedShift(mantissa*1e6, uint(-shift)), -6
	}
	return n, true
}

// roundedShift is n / 2^by, half to even.
func roundedShift(n uint64, by uint) uint64 {
	if by > 63 {
		return 0 // n has less than 45 bits
	}
	whole, rest, half := n>>by, n&(1<<by-1), uint64(1)<<(by-1)
	if rest > half || rest == half && whole&1 != 0 {
		whole++
	}
	return whole
}

// texts keeps the strings of earlier answers, so that the same text is not made
// twice. It holds no more than maxTexts.
type texts struct {
	kept    map[string]string
	scratch []byte
}

const maxTexts = 256

// latin1 is a padded Latin-1 string.
func (t *texts) latin1(b []byte) string {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	t.scratch = t.scratch[:0]
	for _, c := range b {
		if c < 0x80 {
			t.scratch = append(t.scratch, c)
		} else {
			t.scratch = append(t.scratch, 0xC0|c>>6, 0x80|c&0x3F)
		}
	}
	return t.keep()
}

// hex are the digits of b.
func (t *texts) hex(b []byte) string {
	t.scratch = hex.AppendEncode(t.scratch[:0], b)
	return t.keep()
}

// mapID is the name of a parameter map, FL_ and an id, with the id in small letters:
// devices and files write it in both.
func (t *texts) mapID(name string) string {
	t.scratch = append(t.scratch[:0], name...)
	for i := strings.IndexByte(name, '_') + 1; i < len(name); i++ {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			t.scratch[i] = c | 0x20
		}
	}
	return t.keep()
}

func (t *texts) keep() string {
	if s, ok := t.kept[string(t.scratch)]; ok {
		return s
	}
	if t.kept == nil {
		t.kept = map[string]string{}
	}
	if len(t.kept) >= maxTexts {
		clear(t.kept)
	}
	s := string(t.scratch)
	t.kept[s] = s
	return s
}
