package p1

import (
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// clock dates the stamps of one meter.
type clock struct {
	zone *time.Location // for stamps without a letter, and for what W and S mean; nil: CET by the letter alone
	year int            // the year that base belongs to
	base int            // standard time in seconds east of UTC
}

// newClock takes the configured zone, else the one of the maker's country. The
// zone of the gateway's host has no say.
func newClock(zones drivers.Zones) clock {
	c := clock{zone: zones.Meter, base: 3600}
	if c.zone == nil {
		c.zone = countryZone("")
	}
	return c
}

// load is a zone of the tz database, or nil where there is none.
func load(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return loc
}

// stamp reads YYMMDDhhmmss with or without S or W, in either case (DSMR 5.0.2
// P1 companion standard, 6.4 tag 8), and the two forms with a blank. ok: b has the
// form of a time; the Stamp is zero if its digits are none.
func (c *clock) stamp(b []byte) (s drivers.Stamp, ok bool) {
	var n digits
	letter := byte(0)
	switch {
	case len(b) == 13 && (b[12]|0x20 == 's' || b[12]|0x20 == 'w'):
		letter = b[12] | 0x20
		ok = n.two(b, 0, 2, 4, 6, 8, 10)
	case len(b) == 12:
		ok = n.two(b, 0, 2, 4, 6, 8, 10)
	case len(b) == 17 && b[8] == ' ' && b[11] == ':' && b[14] == ':':
		ok = n.two(b, 2, 4, 6, 9, 12, 15)
	case len(b) == 19 && b[4] == '-' && b[7] == '-' && b[10] == ' ' && b[13] == ':' && b[16] == ':':
		ok = n.two(b, 2, 5, 8, 11, 14, 17)
	}
	if !ok || n.impossible() {
		return s, ok
	}
	return c.date(n, letter), true
}

// digits are year (two digits), month, day, hour, minute, second.
type digits [6]int

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

// impossible says that the digits are no moment: beyond the calendar, or the
// first second of 2000, with which meters say that they know none.
func (n *digits) impossible() bool {
	return n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > daysIn(n[1], n.year()) ||
		n[3] > 23 || n[4] > 59 || n[5] > 59 || *n == digits{0, 1, 1}
}

// year has its century: meters that never had a clock stand in 1970.
func (n *digits) year() int {
	if n[0] >= 70 {
		return 1900 + n[0]
	}
	return 2000 + n[0]
}

func daysIn(month, year int) int {
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

func (n *digits) in(loc *time.Location) time.Time {
	return time.Date(n.year(), time.Month(n[1]), n[2], n[3], n[4], n[5], 0, loc)
}

// date gives the digits their offset: by the letter if there is one, else by the
// zone.
func (c *clock) date(n digits, letter byte) drivers.Stamp {
	switch {
	case letter == 'w':
		return drivers.Stamp{Wall: n.in(time.FixedZone("", c.standard(n.year()))), Zoned: true}
	case letter == 's':
		return drivers.Stamp{Wall: n.in(time.FixedZone("", c.standard(n.year())+3600)), Zoned: true}
	case c.zone == nil:
		return drivers.Stamp{Wall: n.in(time.UTC)}
	}
	t := n.in(c.zone)
	if !n.shownBy(t) || n.shownBy(t.Add(time.Hour)) || n.shownBy(t.Add(-time.Hour)) {
		return drivers.Stamp{Wall: n.in(time.UTC)} // left out in spring, or doubled in autumn
	}
	return drivers.Stamp{Wall: t, Zoned: true}
}

// shownBy says whether a clock shows these digits at t.
func (n *digits) shownBy(t time.Time) bool {
	return t.Hour() == n[3] && t.Minute() == n[4] && t.Day() == n[2]
}

// standard is the offset of winter time in a year. Where summer time is the legal
// standard (Ireland), winter is still what W means.
func (c *clock) standard(year int) int {
	if c.zone == nil || c.year == year {
		return c.base
	}
	_, january := time.Date(year, 1, 1, 0, 0, 0, 0, c.zone).Zone()
	_, july := time.Date(year, 7, 1, 0, 0, 0, 0, c.zone).Zone()
	c.year, c.base = year, min(january, july)
	return c.base
}

// countryZone is the zone of a maker's country, or the default. Zones are loaded
// once, for all decoders.
func countryZone(flag string) *time.Location {
	if loc := loadedZones()[zoneOf[flag]]; loc != nil {
		return loc
	}
	return loadedZones()[defaultZone]
}

var loadedZones = sync.OnceValue(func() map[string]*time.Location {
	all := map[string]*time.Location{defaultZone: load(defaultZone)}
	for _, name := range zoneOf {
		all[name] = load(name)
	}
	return all
})
