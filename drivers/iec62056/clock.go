package iec62056

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Season digits, which may stand before a stamp.
const (
	seasonNone     = 0
	seasonStandard = '0'
	seasonSummer   = '1'
	seasonUTC      = '2'
)

// digits are year (two digits), month, day, hour, minute, second.
type digits [6]int

// zoneOf is the zone of the meter's clock, else the gateway's own; nil: none is
// known.
func zoneOf(z drivers.Zones) *time.Location {
	if z.Meter != nil {
		return z.Meter
	}
	return z.Host
}

// clock dates the stamps of one meter.
type clock struct {
	zone *time.Location // nil: none is known
	year int            // the year that base belongs to
	base int            // standard time in seconds east of UTC
}

// stamp reads YYMMDDhhmm and YYMMDDhhmmss, with a season digit before them or
// without, and the forms with separators: YY-MM-DD hh:mm, YYYY-MM-DD hh:mm:ss,
// the latter also with a comma or an ampersand between. ok: b has the form of a
// time; the Stamp is zero if its digits are none.
func (c *clock) stamp(b []byte) (s drivers.Stamp, ok bool) {
	var n digits
	season := byte(seasonNone)
	switch len(b) {
	case 11, 13:
		if season = b[0]; season > seasonUTC {
			return s, false
		}
		ok = n.plain(b[1:])
	case 10, 12:
		ok = n.plain(b)
	case 14: // YY-MM-DD hh:mm
		ok = b[2] == '-' && b[5] == '-' && b[8] == ' ' && b[11] == ':' && n.two(b, 0, 3, 6, 9, 12)
	case 16: // YYYY-MM-DD hh:mm
		ok = long(b) && n.two(b, 2, 5, 8, 11, 14)
	case 19: // YYYY-MM-DD hh:mm:ss
		ok = long(b) && b[16] == ':' && n.two(b, 2, 5, 8, 11, 14, 17)
	}
	if !ok || n.impossible() {
		return s, ok
	}
	return c.date(n, season), true
}

// long says whether b begins with YYYY-MM-DD hh:mm.
func long(b []byte) bool {
	between := b[10] == ' ' || b[10] == ',' || b[10] == '&' || b[10] == 'T'
	return b[0] == '2' && b[1] == '0' && b[4] == '-' && b[7] == '-' && between && b[13] == ':'
}

// plain reads 10 or 12 digits.
func (n *digits) plain(b []byte) bool {
	if len(b) == 12 {
		return n.two(b, 0, 2, 4, 6, 8, 10)
	}
	return n.two(b, 0, 2, 4, 6, 8)
}

// two reads a pair of digits at each offset.
func (n *digits) two(b []byte, at ...int) bool {
	for i, o := range at {
		hi, lo := b[o]-'0', b[o+1]-'0'
		if hi > 9 || lo > 9 {
			return false
		}
		n[i] = int(hi)*10 + int(lo)
	}
	return true
}

// impossible says that the digits are no moment: beyond the calendar, or all
// zero, with which meters say that there was none. 24:00 is the end of a day.
func (n *digits) impossible() bool {
	night := n[3] == 24 && n[4] == 0 && n[5] == 0
	return n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > daysIn(n[1], n[0]) ||
		n[3] > 23 && !night || n[4] > 59 || n[5] > 59
}

// daysIn is the length of a month of a year from 2000 to 2099.
func daysIn(month, year int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 {
			return 29
		}
		return 28
	}
	return 31
}

func (n *digits) in(loc *time.Location) time.Time {
	return time.Date(2000+n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, loc)
}

// date gives the digits their offset: by the season digit if there is one, else
// by the zone. What a clock skips in spring or shows twice in autumn has none.
func (c *clock) date(n digits, season byte) drivers.Stamp {
	switch {
	case season == seasonUTC:
		return drivers.Stamp{Wall: n.in(time.UTC), Zoned: true}
	case c.zone == nil:
		return drivers.Stamp{Wall: n.in(time.UTC)}
	case season == seasonSummer:
		return drivers.Stamp{Wall: n.in(offset(c.standard(n[0]) + 3600)), Zoned: true}
	case season == seasonStandard:
		return drivers.Stamp{Wall: n.in(offset(c.standard(n[0]))), Zoned: true}
	}
	t, wall := n.in(c.zone), n.in(time.UTC)
	if !shows(t, wall) || shows(t.Add(time.Hour), wall) || shows(t.Add(-time.Hour), wall) {
		return drivers.Stamp{Wall: wall}
	}
	return drivers.Stamp{Wall: t, Zoned: true}
}

// shows says whether a clock on the wall shows the same at t as at wall.
func shows(t, wall time.Time) bool {
	return t.Hour() == wall.Hour() && t.Minute() == wall.Minute() && t.Day() == wall.Day()
}

// standard is the offset of winter time in a year, two digits.
func (c *clock) standard(year int) int {
	if c.year != 2000+year {
		c.year = 2000 + year
		_, january := time.Date(c.year, 1, 1, 0, 0, 0, 0, c.zone).Zone()
		_, july := time.Date(c.year, 7, 1, 0, 0, 0, 0, c.zone).Zone()
		c.base = min(january, july)
	}
	return c.base
}

// offset is a zone so many seconds east of UTC. The usual ones are made once.
func offset(seconds int) *time.Location {
	if i := seconds/3600 + 12; seconds%3600 == 0 && i >= 0 && i < len(wholeHours) {
		return wholeHours[i]
	}
	return time.FixedZone("", seconds)
}

var wholeHours = func() (all [27]*time.Location) {
	for i := range all {
		all[i] = time.FixedZone("", (i-12)*3600)
	}
	return all
}()

// assembled is the clock of meters that print time (hhmmss) and date (YYMMDD) as
// two values, each with a season digit or separators or without. Zero: it is none.
func (c *clock) assembled(date, hour []byte) drivers.Stamp {
	var n digits
	season, date := cutSeason(date)
	_, hour = cutSeason(hour)
	if !n.triple(0, date) || !n.triple(3, hour) || n.impossible() {
		return drivers.Stamp{}
	}
	return c.date(n, season)
}

// cutSeason cuts the season digit off the seven digits of a time or a date.
func cutSeason(b []byte) (byte, []byte) {
	if len(b) == 7 && b[0] <= seasonUTC {
		return b[0], b[1:]
	}
	return seasonNone, b
}

// triple reads 102030, 10:20:30 or 10-20-30 into three digits from at on.
func (n *digits) triple(at int, b []byte) bool {
	var t digits
	switch {
	case len(b) == 6 && t.two(b, 0, 2, 4):
	case len(b) == 8 && b[2] == b[5] && (b[2] == ':' || b[2] == '-') && t.two(b, 0, 3, 6):
	case len(b) == 4 && at == 3 && t.two(b, 0, 2):
	default:
		return false
	}
	copy(n[at:], t[:3])
	return true
}
