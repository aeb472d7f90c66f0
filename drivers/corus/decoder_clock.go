package corus

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// clock dates the stamps of one device. They are its local time and carry no
// offset; zone gives them theirs.
type clock struct {
	zone *time.Location // nil: none is known

	// The offset of the quarter of an hour that was asked for last: rows come in
	// order, and looking it up costs more than all else of a row.
	known   bool
	quarter int64
	offset  int64
	sure    bool
}

// zoneOf is the zone of the device's clock, else the gateway's own; nil: none is
// known.
func zoneOf(z drivers.Zones) *time.Location {
	if z.Meter != nil {
		return z.Meter
	}
	return z.Host
}

const (
	firstYear = 2000
	lastYear  = firstYear + 63 // six bits
	quarter   = 15 * 60
)

// unpack is the wall clock of a date in seconds since 1970 as if it were UTC:
// second bits 0-5, minute 6-11, hour 12-16, day 17-21, month 22-25, year since 2000
// 26-31. False: it is none, as with month or day 0.
func unpack(b uint32) (int64, bool) {
	second, minute, hour := int64(b&63), int64(b>>6&63), int64(b>>12&31)
	day, month, year := int64(b>>17&31), int64(b>>22&15), firstYear+int64(b>>26)
	if month < 1 || month > 12 || day < 1 || day > daysIn(month, year) || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	return ((daysSince1970(year, month, day)*24+hour)*60+minute)*60 + second, true
}

// timeOf is a wall clock as unpack gives it.
func timeOf(wall int64) time.Time { return time.Unix(wall, 0).UTC() }

func daysIn(month, year int64) int64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 { // 2000 to 2063: 2000 is a leap year too
			return 29
		}
		return 28
	}
	return 31
}

// before are the days of a year that lie before each month.
var before = [...]int64{0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334}

// daysSince1970 counts the days of the years 2000 to 2063.
func daysSince1970(year, month, day int64) int64 {
	y := year - firstYear
	days := 10957 + 365*y + (y+3)/4 + before[month-1] + day - 1
	if month > 2 && y%4 == 0 {
		days++
	}
	return days
}

// stamp is a date with the offset of the zone. What a clock skips in spring or shows
// twice in autumn has none.
func (c *clock) stamp(b uint32) (drivers.Stamp, bool) {
	wall, ok := unpack(b)
	if !ok {
		return drivers.Stamp{}, false
	}
	if c.zone == nil {
		return drivers.Stamp{Wall: timeOf(wall)}, true
	}
	if q := wall / quarter; !c.known || q != c.quarter {
		c.known, c.quarter = true, q
		c.offset, c.sure = offsetOf(c.zone, q*quarter)
	}
	if !c.sure {
		return drivers.Stamp{Wall: timeOf(wall)}, true
	}
	return drivers.Stamp{Wall: time.Unix(wall-c.offset, 0).In(c.zone), Zoned: true}, true
}

// offsetOf is the offset of a zone when its clocks show wall; false: they never do,
// or twice.
func offsetOf(zone *time.Location, wall int64) (offset int64, sure bool) {
	seen := int64(0)
	for _, around := range []int64{-24 * 3600, 24 * 3600} {
		_, o := time.Unix(wall+around, 0).In(zone).Zone()
		candidate := int64(o)
		_, there := time.Unix(wall-candidate, 0).In(zone).Zone()
		if int64(there) != candidate {
			continue
		}
		if seen++; seen == 2 && candidate == offset {
			return offset, true
		}
		offset = candidate
	}
	return offset, seen == 1
}

// pack is a wall clock as a date, which holds the years 2000 to 2063.
func pack(t time.Time) (uint32, bool) {
	year := t.Year() - firstYear
	if year < 0 || t.Year() > lastYear {
		return 0, false
	}
	return uint32(t.Second()) | uint32(t.Minute())<<6 | uint32(t.Hour())<<12 |
		uint32(t.Day())<<17 | uint32(t.Month())<<22 | uint32(year)<<26, true
}

// local is a moment as the device's clock shows it.
func (c *clock) local(at drivers.Stamp) time.Time {
	if at.Zoned && c.zone != nil {
		return at.Wall.In(c.zone)
	}
	return at.Wall
}

// instant is the moment of a stamp; one without offset is taken as the wall clock
// of the zone.
func (c *clock) instant(at drivers.Stamp) time.Time {
	if at.Zoned || c.zone == nil {
		return at.Wall
	}
	w := at.Wall
	return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, c.zone)
}
