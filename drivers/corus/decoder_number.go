package corus

import (
	"math/bits"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// number is ±(hi × 2^64 + lo) × 10^exp, exact.
type number struct {
	hi, lo   uint64
	exp      int
	negative bool
}

var one = number{lo: 1}

// times is the exact product; false: it has more digits than can be kept.
func (n number) times(m number) (number, bool) {
	if n.hi|m.hi == 0 {
		hi, lo := bits.Mul64(n.lo, m.lo)
		return number{hi: hi, lo: lo, exp: n.exp + m.exp, negative: n.negative != m.negative}, hi < 1<<62
	}
	if n.hi != 0 && m.hi != 0 {
		return number{}, false
	}
	if n.hi == 0 {
		n, m = m, n
	}
	hi, lo := bits.Mul64(n.lo, m.lo)
	over, top := bits.Mul64(n.hi, m.lo)
	hi, carry := bits.Add64(hi, top, 0)
	if over != 0 || carry != 0 || hi >= 1<<62 {
		return number{}, false
	}
	return number{hi: hi, lo: lo, exp: n.exp + m.exp, negative: n.negative != m.negative}, true
}

// trimmed is n without zeros behind the point.
func (n number) trimmed() number {
	for n.hi != 0 && n.exp < 0 {
		hi, rest := n.hi/10, n.hi%10
		lo, digit := bits.Div64(rest, n.lo, 10)
		if digit != 0 {
			return n
		}
		n.hi, n.lo, n.exp = hi, lo, n.exp+1
	}
	if n.hi == 0 {
		n.lo, n.exp = trim(n.lo, n.exp)
		n.negative = n.negative && n.lo != 0
	}
	return n
}

// trim is trimmed for what most numbers are.
func trim(lo uint64, exp int) (uint64, int) {
	if lo == 0 {
		return 0, 0
	}
	for exp <= -4 && lo%10_000 == 0 {
		lo, exp = lo/10_000, exp+4
	}
	for exp < 0 && lo%10 == 0 {
		lo, exp = lo/10, exp+1
	}
	return lo, exp
}

// into makes n the number of v; false: it cannot be kept.
func (n number) into(v *drivers.Value) bool {
	if n.hi != 0 {
		n = n.trimmed()
		return v.SetWide(n.negative, n.hi, n.lo, n.exp) == nil
	}
	lo, exp := trim(n.lo, n.exp)
	return v.SetWide(n.negative && lo != 0, 0, lo, exp) == nil
}

// numberOf takes a decimal apart; false: it has more digits than a number.
func numberOf(d drivers.Decimal) (number, bool) {
	n, point := number{}, false
	var scratch [128]byte
	for _, c := range d.AppendTo(scratch[:0]) {
		switch c {
		case '-':
			n.negative = true
			continue
		case '.':
			point = true
			continue
		}
		next, ok := number{hi: n.hi, lo: n.lo}.times(number{lo: 10})
		if !ok {
			return number{}, false
		}
		var carry uint64
		next.lo, carry = bits.Add64(next.lo, uint64(c-'0'), 0)
		n.hi, n.lo = next.hi+carry, next.lo
		if point {
			n.exp--
		}
	}
	return n.trimmed(), true
}

// at is n as a whole multiple of 10^exp; false: it is none, or has too many digits.
func (n number) at(exp int) (number, bool) {
	for n.exp < exp {
		hi, rest := n.hi/10, n.hi%10
		lo, digit := bits.Div64(rest, n.lo, 10)
		if digit != 0 {
			return number{}, false
		}
		n.hi, n.lo, n.exp = hi, lo, n.exp+1
	}
	for n.exp > exp {
		next, ok := n.times(number{lo: 10, exp: -1})
		if !ok {
			return number{}, false
		}
		n = next
	}
	return n, true
}

// reciprocal is 1 / d, if that is a decimal number that ends: d has no other prime
// factors than 2 and 5.
func reciprocal(d number) (number, bool) {
	if d.hi != 0 || d.lo == 0 {
		return number{}, false
	}
	r := number{lo: 1, exp: -d.exp, negative: d.negative}
	for d.lo%10 == 0 {
		d.lo, r.exp = d.lo/10, r.exp-1
	}
	for d.lo%2 == 0 {
		d.lo, r.lo, r.exp = d.lo/2, r.lo*5, r.exp-1
		if r.lo > 1<<40 {
			return number{}, false
		}
	}
	for d.lo%5 == 0 { // 27 times at most
		d.lo, r.lo, r.exp = d.lo/5, r.lo*2, r.exp-1
	}
	return r.trimmed(), d.lo == 1
}
