package drivers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/cockroachdb/apd/v3"
)

// MaxDigits is how many significant digits a Decimal holds exactly. More are
// refused, never rounded.
const MaxDigits = 38

// maxExponent bounds how far a Decimal is moved from its digits, so that a
// hostile scaler cannot make the text of one number fill the memory.
const maxExponent = 64

// ErrDigits says that something is no decimal number of at most MaxDigits
// digits.
var ErrDigits = errors.New("not a decimal number that can be kept exactly")

// Decimal is an exact decimal number: digits and a power of ten. The zero value
// is 0. It keeps the decimals that were sent: 12.300 stays 12.300. It never
// changes, so copy it freely.
type Decimal struct{ d apd.Decimal }

// NewDecimal is coefficient × 10^exponent. It panics on an exponent beyond
// ±64, which only a constant in our own code can cause; use Scaled for numbers
// from a wire.
func NewDecimal(coefficient int64, exponent int) Decimal {
	d, err := Scaled(coefficient, exponent)
	if err != nil {
		panic(err)
	}
	return d
}

// Scaled is coefficient × 10^exponent, or ErrDigits if the exponent is beyond
// ±64.
func Scaled(coefficient int64, exponent int) (Decimal, error) {
	magnitude := uint64(coefficient)
	if coefficient < 0 {
		magnitude = -magnitude
	}
	d, err := ScaledUint(magnitude, exponent)
	d.d.Negative = coefficient < 0 && err == nil
	return d, err
}

// ScaledUint is Scaled for the upper half of 64-bit registers.
func ScaledUint(coefficient uint64, exponent int) (d Decimal, err error) {
	if exponent > maxExponent || exponent < -maxExponent {
		return d, ErrDigits
	}
	d.d.Exponent = int32(exponent)
	d.d.Coeff.SetUint64(coefficient)
	return d, nil
}

// SetScaled makes v.Number what Scaled gives, in its place, for decoders that
// fill many. Number stays as it was if the exponent is beyond ±64.
func (v *Value) SetScaled(coefficient int64, exponent int) error {
	magnitude := uint64(coefficient)
	if coefficient < 0 {
		magnitude = -magnitude
	}
	if exponent > maxExponent || exponent < -maxExponent {
		return ErrDigits
	}
	d := &v.Number.d
	d.Form, d.Negative, d.Exponent = apd.Finite, coefficient < 0, int32(exponent)
	d.Coeff.SetUint64(magnitude)
	return nil
}

// SetWide makes v.Number ±(hi × 2^64 + lo) × 10^exponent, in its place, as
// SetScaled does. Number stays as it was, with ErrDigits, if the exponent is beyond
// ±64 or hi is 2^62 or more, for that has more than MaxDigits digits.
func (v *Value) SetWide(negative bool, hi, lo uint64, exponent int) error {
	if exponent > maxExponent || exponent < -maxExponent || hi >= 1<<62 {
		return ErrDigits
	}
	d := &v.Number.d
	d.Form, d.Negative, d.Exponent = apd.Finite, negative, int32(exponent)
	if hi == 0 {
		d.Coeff.SetUint64(lo)
		return nil
	}
	var w [16]byte
	binary.BigEndian.PutUint64(w[:8], hi)
	binary.BigEndian.PutUint64(w[8:], lo)
	d.Coeff.SetBytes(w[:])
	return nil
}

// ParseDecimal is the one function that turns digits into a number: an optional
// sign, digits, at most one decimal point with a digit on at least one side.
// Leading zeros go, decimals stay. Anything else, also surrounding blanks and
// exponents, is ErrDigits, as are more than MaxDigits significant digits.
func ParseDecimal[T ~string | ~[]byte](s T) (Decimal, error) {
	i, negative := 0, false
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		negative = s[0] == '-'
		i = 1
	}
	var (
		lo, rest               uint64 // the first 19 significant digits, and what follows
		digits, point, decimal = 0, -1, 0
		seen                   bool
	)
	for ; i < len(s); i++ {
		c := s[i] - '0'
		switch {
		case c <= 9:
			seen = true
			if point >= 0 {
				decimal++
			}
			if c == 0 && digits == 0 {
				continue // a leading zero, also behind the point
			}
			if digits >= MaxDigits {
				return Decimal{}, ErrDigits
			}
			if digits < 19 {
				lo = lo*10 + uint64(c)
			} else {
				rest = rest*10 + uint64(c)
			}
			digits++
		case s[i] == '.' && point < 0:
			point = i
		default:
			return Decimal{}, ErrDigits
		}
	}
	if !seen || decimal > maxExponent {
		return Decimal{}, ErrDigits
	}
	var d Decimal
	d.d.Exponent = -int32(decimal)
	d.d.Negative = negative && digits > 0
	if digits <= 19 {
		d.d.Coeff.SetUint64(lo)
		return d, nil
	}
	d.d.Coeff.SetBytes(wide(lo, pow10(digits-19), rest))
	return d, nil
}

// wide is a × b + c, big-endian: for apd it is the one way to take 128 bits
// without an allocation.
func wide(a, b, c uint64) []byte {
	hi, lo := bits.Mul64(a, b)
	lo, carry := bits.Add64(lo, c, 0)
	var w [16]byte
	binary.BigEndian.PutUint64(w[:8], hi+carry)
	binary.BigEndian.PutUint64(w[8:], lo)
	return w[:]
}

func pow10(n int) uint64 {
	p := uint64(1)
	for ; n > 0; n-- {
		p *= 10
	}
	return p
}

// Shift is d × 10^n, done by moving the point: no digit changes. Beyond a sane
// exponent it returns ErrDigits.
func (d Decimal) Shift(n int) (Decimal, error) {
	e := int(d.d.Exponent) + n
	if n > 2*maxExponent || n < -2*maxExponent || e > maxExponent || e < -maxExponent {
		return Decimal{}, ErrDigits
	}
	d.d.Exponent = int32(e)
	return d, nil
}

// exact computes without rounding: apd's precision 0.
var exact = apd.BaseContext

// Add is the exact sum, or ErrDigits if it has more than MaxDigits digits.
func (d Decimal) Add(o Decimal) (Decimal, error) {
	var sum Decimal
	_, err := exact.Add(&sum.d, &d.d, &o.d)
	return sum.kept(err)
}

// Sub is the exact difference, or ErrDigits.
func (d Decimal) Sub(o Decimal) (Decimal, error) {
	var diff Decimal
	_, err := exact.Sub(&diff.d, &d.d, &o.d)
	return diff.kept(err)
}

// Mul is the exact product, or ErrDigits.
func (d Decimal) Mul(o Decimal) (Decimal, error) {
	var p Decimal
	_, err := exact.Mul(&p.d, &d.d, &o.d)
	return p.kept(err)
}

// kept refuses what no longer fits.
func (d Decimal) kept(err error) (Decimal, error) {
	if err != nil {
		return Decimal{}, fmt.Errorf("%w: %w", ErrDigits, err)
	}
	if d.d.NumDigits() > MaxDigits || d.d.Exponent > maxExponent || d.d.Exponent < -maxExponent {
		return Decimal{}, ErrDigits
	}
	if d.d.IsZero() {
		d.d.Negative = false
	}
	return d, nil
}

// Cmp is -1, 0 or +1 as d is less than, equal to or greater than o, whatever
// their decimals.
func (d Decimal) Cmp(o Decimal) int { return d.d.Cmp(&o.d) }

// Equal says whether both have the same value and the same decimals.
func (d Decimal) Equal(o Decimal) bool {
	return d.d.Exponent == o.d.Exponent && d.d.Cmp(&o.d) == 0
}

// Sign is -1, 0 or +1.
func (d Decimal) Sign() int { return d.d.Sign() }

// Decimals is how many digits stand behind the point.
func (d Decimal) Decimals() int { return max(0, -int(d.d.Exponent)) }

// Float64 is the nearest float, for ratios and limits only: never for a value
// that is published.
func (d Decimal) Float64() float64 {
	f, err := d.d.Float64()
	if err != nil {
		return 0
	}
	return f
}

// AppendTo appends the number in plain digits, without an exponent: a JSON
// number.
func (d Decimal) AppendTo(b []byte) []byte {
	if d.d.Coeff.IsUint64() && d.d.Exponent <= 0 {
		return appendFixed(b, d.d.Coeff.Uint64(), int(-d.d.Exponent), d.d.Negative)
	}
	if d.d.IsZero() {
		return append(b, '0') // 0 × 10^3 is 0, not 0000
	}
	return d.d.Append(b, 'f')
}

// appendFixed writes v with its last decimals digits behind the point.
func appendFixed(b []byte, v uint64, decimals int, negative bool) []byte {
	if negative {
		b = append(b, '-')
	}
	var scratch [20]byte
	digits := strconv.AppendUint(scratch[:0], v, 10)
	if decimals == 0 {
		return append(b, digits...)
	}
	whole := len(digits) - decimals
	if whole > 0 {
		b = append(b, digits[:whole]...)
		b = append(b, '.')
		return append(b, digits[whole:]...)
	}
	b = append(b, '0', '.')
	for ; whole < 0; whole++ {
		b = append(b, '0')
	}
	return append(b, digits...)
}

// String is the number in plain digits.
func (d Decimal) String() string { return string(d.AppendTo(make([]byte, 0, 24))) }

// MarshalJSON writes a JSON number with every digit.
func (d Decimal) MarshalJSON() ([]byte, error) { return d.AppendTo(nil), nil }

// UnmarshalJSON reads a plain JSON number exactly.
func (d *Decimal) UnmarshalJSON(b []byte) error { return d.UnmarshalText(b) }

// UnmarshalText reads what ParseDecimal takes.
func (d *Decimal) UnmarshalText(b []byte) error {
	v, err := ParseDecimal(b)
	if err != nil {
		return fmt.Errorf("number %.40q: %w", b, err)
	}
	*d = v
	return nil
}
