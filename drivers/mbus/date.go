package mbus

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Dates and times of EN 13757-3, annex A. Bits of the bytes in the order sent:
//
//	G  2 bytes  yyyddddd YYYYmmmm                          year 0..99 = YYYYyyy
//	F  4 bytes  i-MMMMMM s cc hhhhh  then G                i invalid, s summer time, cc century
//	I  6 bytes  lsSSSSSS i-MMMMMM wwwhhhhh  then G, then the week
//	J  3 bytes  SSSSSS MMMMMM hhhhh
//
// A year of 127, a month of 15 and a day of 0 mean "every"; all bits set or none
// mean unset. None of them is a date. No stamp carries its zone.

// everyYear is a year that recurs: all bits set.
const everyYear = 127

// recurs says whether the type F in data tells a day of every year: no time of
// anything that was stored.
func recurs(data []byte) bool {
	return len(data) == 4 && data[2]&0xE0 == 0xE0 && data[3]&0xF0 == 0xF0
}

// civil is a date and a time of day as a meter counts them.
type civil struct {
	year, month, day     int
	hour, minute, second int
	summer               bool
}

// stampOf reads a date by its length, and false if it is none.
func stampOf(data []byte, zone *time.Location) (drivers.Stamp, bool) {
	var c civil
	var ok bool
	switch len(data) {
	case 2:
		ok = c.typeG(data, 0, false)
	case 4:
		ok = c.typeF(data)
	case 6:
		ok = c.typeI(data)
	}
	if !ok {
		return drivers.Stamp{}, false
	}
	return c.in(zone)
}

// typeG takes day, month and year; century counts only if told.
func (c *civil) typeG(b []byte, century int, told bool) bool {
	c.day = int(b[0] & 0x1F)
	c.month = int(b[1] & 0x0F)
	year := int(b[0]>>5 | b[1]>>4<<3)
	switch {
	case year == everyYear && told && century == 0:
		c.year = 1900 + year // Landis+Gyr T230 tells its yearly due date so; decoders agree on 2027
	case year > 99:
		return false
	case told && century > 0:
		c.year = 1900 + 100*century + year
	case year <= 80:
		c.year = 2000 + year
	default:
		c.year = 1900 + year
	}
	return c.day > 0 && c.month >= 1 && c.month <= 12 && c.day <= daysIn(c.year, c.month)
}

func (c *civil) typeF(b []byte) bool {
	c.minute = int(b[0] & 0x3F)
	c.hour = int(b[1] & 0x1F)
	c.summer = b[1]&0x80 != 0
	invalid := b[0]&0x80 != 0
	return !invalid && c.hour < 24 && c.minute < 60 && c.typeG(b[2:], int(b[1]>>5&3), true)
}

func (c *civil) typeI(b []byte) bool {
	c.second = int(b[0] & 0x3F)
	c.minute = int(b[1] & 0x3F)
	c.hour = int(b[2] & 0x1F)
	c.summer = b[0]&0x40 != 0
	invalid := b[1]&0x80 != 0
	return !invalid && c.hour < 24 && c.minute < 60 && c.second < 60 && c.typeG(b[3:], 0, false)
}

// appendTypeJ appends a time of day as 15:04:05, or false if it is none.
func appendTypeJ(dst, b []byte) ([]byte, bool) {
	s, m, h := b[0]&0x3F, b[1]&0x3F, b[2]&0x1F
	if s > 59 || m > 59 || h > 23 {
		return dst, false
	}
	two := func(n, sep byte) { dst = append(dst, '0'+n/10, '0'+n%10, sep) }
	two(h, ':')
	two(m, ':')
	return append(dst, '0'+s/10, '0'+s%10), true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// in gives the stamp its offset in zone (nil: none is known). A time that the
// zone skips in spring stays without one; in the doubled hour of autumn the
// summer bit decides.
func (c *civil) in(zone *time.Location) (drivers.Stamp, bool) {
	if zone == nil {
		wall := time.Date(c.year, time.Month(c.month), c.day, c.hour, c.minute, c.second, 0, time.UTC)
		return drivers.Stamp{Wall: wall}, true
	}
	t := time.Date(c.year, time.Month(c.month), c.day, c.hour, c.minute, c.second, 0, zone)
	if t.Minute() != c.minute || t.Hour() != c.hour {
		return c.in(nil)
	}
	if t.IsDST() != c.summer {
		t = c.other(t)
	}
	return drivers.Stamp{Wall: t, Zoned: true}, true
}

// other is the second moment that shows the same digits, if there is one and it
// fits the summer bit better.
func (c *civil) other(t time.Time) time.Time {
	for _, by := range [...]time.Duration{-time.Hour, time.Hour} {
		u := t.Add(by)
		if u.Hour() == c.hour && u.Day() == c.day && u.IsDST() == c.summer {
			return u
		}
	}
	return t
}

// AppendTypeG appends the date of t, 2 bytes. Years from 2000 to 2080 and from
// 1981 to 1999 read back.
func AppendTypeG(b []byte, t time.Time) []byte {
	year := t.Year() % 100
	return append(b, byte(t.Day())|byte(year&7)<<5, byte(t.Month())|byte(year>>3)<<4)
}

// AppendTypeF appends date and time of t to the minute, 4 bytes, with its
// summer bit. Years from 1981 to 2299 read back.
func AppendTypeF(b []byte, t time.Time) []byte {
	hour := byte(t.Hour()) | summerBit(t, 0x80)
	if year := t.Year(); year < 1981 || year > 2080 {
		hour |= byte((year-1900)/100) & 3 << 5
	}
	return AppendTypeG(append(b, byte(t.Minute()), hour), t)
}

// AppendTypeI appends date and time of t to the second, 6 bytes, with its
// weekday and summer bit; the week and the deviation stay unset.
func AppendTypeI(b []byte, t time.Time) []byte {
	weekday := byte(t.Weekday())
	if weekday == 0 {
		weekday = 7 // Sunday
	}
	b = append(b, byte(t.Second())|summerBit(t, 0x40), byte(t.Minute()), byte(t.Hour())|weekday<<5)
	return append(AppendTypeG(b, t), 0)
}

func summerBit(t time.Time, bit byte) byte {
	if t.IsDST() {
		return bit
	}
	return 0
}

// leUint is the unsigned little-endian integer in b, at most 8 bytes.
func leUint(b []byte) uint64 {
	if len(b) == 4 {
		return uint64(binary.LittleEndian.Uint32(b))
	}
	var v uint64
	for _, c := range slices.Backward(b) {
		v = v<<8 | uint64(c)
	}
	return v
}
