package mbus

import (
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Address is a secondary address as it travels: ID 4 (BCD), manufacturer 2,
// version 1, medium 1, low bytes first. A digit F of the ID, and FF in each byte
// of the others, stand for any.
type Address [8]byte

// ParseAddress reads 8 digits of an ID, F for any, or all 16: those digits and
// then manufacturer, version and medium as they travel (068558172D2C0804 is a
// Kamstrup of 2C2D). With 8 the rest is any.
func ParseAddress(s string) (Address, error) {
	a := Address{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}
	b, ok := wire.AppendHex(a[:0:0], s)
	if !ok || len(b) != 4 && len(b) != 8 {
		return Address{}, fmt.Errorf("secondary address %.20q: want the 8 digits of the meter's number, F for any, or all 16", s)
	}
	a[0], a[1], a[2], a[3] = b[3], b[2], b[1], b[0]
	copy(a[4:], b[4:])
	return a, nil
}

// String is the address in 16 characters, as ParseAddress takes it.
func (a Address) String() string {
	return string(appendHex(nil, []byte{a[3], a[2], a[1], a[0], a[4], a[5], a[6], a[7]}))
}

// MarshalText writes what String gives.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what ParseAddress takes.
func (a *Address) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAddress(string(text))
	return err
}

func (a Address) append(b []byte) []byte { return append(b, a[:]...) }

// fits says whether the address of a meter is one that a stands for.
func (a Address) fits(meter [8]byte) bool {
	for i, want := range a {
		got := meter[i]
		switch {
		case want == 0xFF || want == got:
		case i < 4 && (want&0x0F == 0x0F || want&0x0F == got&0x0F) && (want&0xF0 == 0xF0 || want&0xF0 == got&0xF0):
		default:
			return false
		}
	}
	return true
}
