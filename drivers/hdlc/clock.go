package hdlc

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// rule says what a clock shows that gives no offset.
type rule uint8

const (
	unknownRule  rule = iota // only its digits are known
	standardRule             // standard time all year
	localRule                // local time, with summer time
	utcRule
)

// clock turns the date-times of one meter into stamps.
type clock struct {
	set   rule           // as configured; unknownRule: by maker
	meter *time.Location // as configured for the meter; nil: not
	local *time.Location // what "local" means; nil: nothing
	zones map[int]*time.Location
}

// maxZones bounds the offsets that are remembered.
const maxZones = 64

const standardOffset = 60 // UTC+1, where all these meters live but Finland's

func newClock(set string, z drivers.Zones) clock {
	rules := map[string]rule{clockStandard: standardRule, clockLocal: localRule, clockUTC: utcRule}
	c := clock{set: rules[set], meter: z.Meter, local: z.Meter, zones: map[int]*time.Location{}}
	if c.local == nil {
		// Norway, Sweden, Denmark, Austria, Switzerland, Slovenia and Croatia
		// share one clock.
		c.local, _ = time.LoadLocation("Europe/Oslo")
	}
	return c
}

// stamp is what a meter's date-time means. The deviation of the Blue Book is
// minutes to UTC: an offset with the other sign. by is the rule of the maker.
func (c *clock) stamp(t dlms.DateTime, by maker) drivers.Stamp {
	wall, ok := t.Digits()
	if !ok {
		return drivers.Stamp{}
	}
	given := t.Deviation != dlms.NoDeviation && t.Deviation >= -840 && t.Deviation <= 840
	if given && (t.Deviation != 0 || !by.zeroIsNone || c.set != unknownRule && c.set != standardRule) {
		return c.at(wall, c.offset(wall, -int(t.Deviation)))
	}
	r := c.set
	if r == unknownRule {
		r = by.clock
	}
	switch r {
	case utcRule:
		return drivers.Stamp{Wall: wall, Zoned: true}
	case standardRule:
		offset := c.standard(wall)
		if t.Summer() {
			offset += 60
		}
		return c.at(wall, offset)
	case localRule:
		return inZone(wall, c.local)
	default: // unknownRule: the meter's zone decides
	}
	if c.meter != nil {
		return inZone(wall, c.meter)
	}
	return drivers.Stamp{Wall: wall}
}

// offset is a given one, or the opposite where the configured zone knows only
// that: some meters give the sign the other way round.
func (c *clock) offset(wall time.Time, minutes int) int {
	if c.meter == nil {
		return minutes
	}
	winter, summer := offsets(wall, c.meter)
	if minutes != winter && minutes != summer && (-minutes == winter || -minutes == summer) {
		return -minutes
	}
	return minutes
}

// offsets are those of a zone in January and July, in minutes.
func offsets(wall time.Time, zone *time.Location) (january, july int) {
	_, a := time.Date(wall.Year(), time.January, 1, 0, 0, 0, 0, zone).Zone()
	_, b := time.Date(wall.Year(), time.July, 1, 0, 0, 0, 0, zone).Zone()
	return a / 60, b / 60
}

// standard is the offset of standard time: of the configured zone, else UTC+1.
func (c *clock) standard(wall time.Time) int {
	if c.meter == nil {
		return standardOffset
	}
	january, july := offsets(wall, c.meter)
	return min(january, july)
}

// at is wall time with an offset.
func (c *clock) at(wall time.Time, minutes int) drivers.Stamp {
	if minutes == 0 {
		return drivers.Stamp{Wall: wall, Zoned: true}
	}
	zone, ok := c.zones[minutes]
	if !ok {
		zone = time.FixedZone("", minutes*60)
		if len(c.zones) < maxZones {
			c.zones[minutes] = zone
		}
	}
	return drivers.Stamp{Wall: wall.Add(-time.Duration(minutes) * time.Minute).In(zone), Zoned: true}
}

// inZone is wall time in a zone; in the doubled hour of autumn only its digits
// are known, in the hour that spring leaves out too.
func inZone(wall time.Time, zone *time.Location) drivers.Stamp {
	if zone == nil {
		return drivers.Stamp{Wall: wall}
	}
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), zone)
	for _, other := range [...]time.Time{t.Add(-time.Hour), t.Add(time.Hour)} {
		if other.Hour() == t.Hour() {
			return drivers.Stamp{Wall: wall}
		}
	}
	if t.Hour() != wall.Hour() {
		return drivers.Stamp{Wall: wall}
	}
	return drivers.Stamp{Wall: t, Zoned: true}
}
