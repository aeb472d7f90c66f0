// Package obis holds the OBIS codes of IEC 62056-6-1, the catalogue that says
// what they mean, and the units that values have. Drivers, discovery,
// plausibility and documents all read this one. It imports nothing of ours.
package obis

import (
	"errors"
	"fmt"
	"strconv"
)

// Code is an OBIS code A-B:C.D.E*F, one byte a value group. The zero Code
// stands for "none"; 0-0:0.0.0 proper has F = 255.
type Code [6]byte

// Now is value group F of what is not a historical value.
const Now = 255

// New is A-B:C.D.E*255.
func New(a, b, c, d, e byte) Code { return Code{a, b, c, d, e, Now} }

// A is the medium.
func (c Code) A() byte { return c[0] }

// B is the channel.
func (c Code) B() byte { return c[1] }

// C is the quantity.
func (c Code) C() byte { return c[2] }

// D is how the quantity was processed.
func (c Code) D() byte { return c[3] }

// E is the tariff, or what else D leaves to tell apart.
func (c Code) E() byte { return c[4] }

// F is the billing period, Now for none.
func (c Code) F() byte { return c[5] }

// IsZero says that there is no code.
func (c Code) IsZero() bool { return c == Code{} }

// AppendTo appends the canonical text: A-B:C.D.E, and *F unless F is 255.
func (c Code) AppendTo(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(c[0]), 10)
	for i, sep := range [...]byte{'-', ':', '.', '.'} {
		b = append(b, sep)
		b = strconv.AppendUint(b, uint64(c[i+1]), 10)
	}
	if c[5] == Now {
		return b
	}
	b = append(b, '*')
	return strconv.AppendUint(b, uint64(c[5]), 10)
}

// String is the canonical text.
func (c Code) String() string { return string(c.AppendTo(make([]byte, 0, 24))) }

// MarshalText writes the canonical text, nothing for the zero Code.
func (c Code) MarshalText() ([]byte, error) {
	if c.IsZero() {
		return nil, nil
	}
	return c.AppendTo(nil), nil
}

// UnmarshalText reads what Parse takes.
func (c *Code) UnmarshalText(b []byte) error {
	v, err := Parse(b)
	if err != nil {
		return err
	}
	*c = v
	return nil
}

// ErrCode says that a text is no OBIS code.
var ErrCode = errors.New("not an OBIS code")

// Defaults fill the value groups that the reduced codes of IEC 62056-21 leave
// out: medium and channel of the meter.
type Defaults struct{ A, B byte }

// Electricity are the defaults of IEC 62056-21.
var Electricity = Defaults{A: 1}

// Parse reads a code, full (1-0:1.8.0*255, 1-0:1.8.0) or reduced (1.8.0, 16.7,
// C.1.0, F.F), the latter with the defaults for electricity.
func Parse[T ~string | ~[]byte](s T) (Code, error) {
	c, ok := Scan(s, Electricity)
	if !ok {
		return Code{}, fmt.Errorf("%w: %.40q (want A-B:C.D.E*F, as in 1-0:1.8.0)", ErrCode, string(s))
	}
	return c, nil
}

// MustParse is Parse for constants; it panics on a text that is no code.
func MustParse(s string) Code {
	c, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return c
}

// Scan reads a code as Parse does, without an allocation. What is missing is
// filled: E with 0, F with 255, A and B from d, but A with 0 where C is 96 or 97
// (also written C and F), for those codes belong to no medium. Historical values
// may write & for *.
func Scan[T ~string | ~[]byte](s T, d Defaults) (Code, bool) {
	p := scanner[T]{s: s}
	c := Code{d.A, d.B, 0, 0, 0, Now}
	first, ok := p.group()
	if !ok {
		return Code{}, false
	}
	full := p.next('-')
	if full {
		c[0] = first
		if c[1], ok = p.number(); !ok || !p.next(':') {
			return Code{}, false
		}
		if first, ok = p.group(); !ok {
			return Code{}, false
		}
	}
	c[2] = first
	if !full && (first == 96 || first == 97) {
		c[0] = 0
	}
	if !p.next('.') {
		return Code{}, false
	}
	if c[3], ok = p.group(); !ok {
		return Code{}, false
	}
	if p.next('.') {
		if c[4], ok = p.group(); !ok {
			return Code{}, false
		}
	}
	if p.next('*') || p.next('&') {
		if c[5], ok = p.number(); !ok {
			return Code{}, false
		}
	}
	if p.i != len(s) || c.IsZero() { // 0-0:0.0.0*0 would read as "none"
		return Code{}, false
	}
	return c, true
}

type scanner[T ~string | ~[]byte] struct {
	s T
	i int
}

func (p *scanner[T]) next(want byte) bool {
	if p.i >= len(p.s) || p.s[p.i] != want {
		return false
	}
	p.i++
	return true
}

// number reads 0 to 255, at most three digits.
func (p *scanner[T]) number() (byte, bool) {
	v, n := 0, 0
	for ; p.i < len(p.s) && n < 4; n++ {
		d := p.s[p.i] - '0'
		if d > 9 {
			break
		}
		v = v*10 + int(d)
		p.i++
	}
	return byte(v), n > 0 && n < 4 && v <= 255
}

// group is a number or one of the letters that IEC 62056-21 prints for 96 to 99.
func (p *scanner[T]) group() (byte, bool) {
	if p.i < len(p.s) {
		letter := byte(0)
		switch p.s[p.i] {
		case 'C':
			letter = 96
		case 'F':
			letter = 97
		case 'L':
			letter = 98
		case 'P':
			letter = 99
		}
		if letter != 0 {
			p.i++
			return letter, true
		}
	}
	return p.number()
}
