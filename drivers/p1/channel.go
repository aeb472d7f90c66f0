package p1

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// maxChannels bounds the announcements of one telegram. DSMR has four channels.
const maxChannels = 250

// channel is what a telegram says about one announcement of a meter behind this
// one. The same number can be announced again after a meter was replaced.
type channel struct {
	number  uint8
	told    uint8 // which of its announcing lines came
	id      string
	medium  string
	reads   bool      // it has a reading that was ever taken
	newest  time.Time // of its readings
	dropped bool
}

// behind notes that the values of r from before on came on a line of a meter
// behind this one.
func (d *Decoder) behind(s *slot, before int, r *drivers.Reading) {
	i := d.announcement(s)
	c := &d.channels[i]
	if s.code[2] == 24 && s.code[3] == 1 && len(d.groups) > 0 {
		c.medium = obis.MediumName(byte(count(d.groups[0])))
	}
	for len(d.owners) < before {
		d.owners = append(d.owners, 0)
	}
	for k := before; k < len(r.Values); k++ {
		d.owners = append(d.owners, uint8(i+1))
		c.note(&r.Values[k])
	}
}

// announcement is the index of the channel that a line belongs to. Type and number
// announce a meter; if one of them comes again, another meter is meant.
func (d *Decoder) announcement(s *slot) int {
	last := len(d.channels) - 1
	for last >= 0 && d.channels[last].number != s.channel {
		last--
	}
	tells := announces(s.code)
	if (last < 0 || d.channels[last].told&tells != 0) && len(d.channels) < maxChannels {
		d.channels = append(d.channels, channel{number: s.channel})
		last = len(d.channels) - 1
	}
	last = max(last, 0)
	d.channels[last].told |= tells
	return last
}

// announces is a bit for each code that announces a meter.
func announces(c obis.Code) uint8 {
	switch {
	case c[2] == 24 && c[3] == 1:
		return 1
	case c[2] == 96 && c[3] == 1 && c[4] == 0:
		return 2
	case c[2] == 96 && c[3] == 1 && c[4] == 1:
		return 4
	}
	return 0
}

// note takes from v what it says about its meter.
func (c *channel) note(v *drivers.Value) {
	switch {
	case announces(v.Code) > 1:
		c.id = v.Text
	case v.Code[2] == 24 && v.Code[3] == 2:
		if v.Time.Wall.After(c.newest) {
			c.newest = v.Time.Wall
		}
		c.reads = c.reads || v.Number.Sign() != 0 || taken(v)
		if v.Code[4] == 3 && c.medium == "" {
			c.medium = obis.MediumGas // Belgium: not corrected for temperature
		}
	}
}

// taken says that a reading was made: meters that never had one send 1970 or an
// impossible time.
func taken(v *drivers.Value) bool { return v.Unit != "" && v.Time.Wall.Year() >= 2000 }

// resolveChannels turns what the telegram said about channels into r.Channels,
// and marks the values of channels that are dead or were replaced.
func (d *Decoder) resolveChannels(r *drivers.Reading) {
	gone := false
	for i := range d.channels {
		c := &d.channels[i]
		c.dropped = c.dead() || d.replaced(i)
		gone = gone || c.dropped
		if !c.dropped {
			r.Channels = append(r.Channels, drivers.Channel{Number: c.number, Meter: c.identity()})
		}
	}
	if gone {
		d.markVacant(r)
	}
}

// markVacant marks the values of dropped channels.
func (d *Decoder) markVacant(r *drivers.Reading) {
	for i, owner := range d.owners {
		if owner > 0 && d.channels[owner-1].dropped {
			r.Values[i].Flags |= drivers.Vacant
		}
	}
}

// dead says that no meter is there: neither a number nor a reading.
func (c *channel) dead() bool { return c.id == "" && !c.reads }

// replaced says that another announcement of the same number is the real one: the
// one with the newer reading, of two equals the later.
func (d *Decoder) replaced(i int) bool {
	c := &d.channels[i]
	for j := range d.channels {
		o := &d.channels[j]
		if j == i || o.number != c.number || o.dead() {
			continue
		}
		if o.newest.After(c.newest) || o.newest.Equal(c.newest) && j > i {
			return true
		}
	}
	return false
}

// identity is who the meter of the channel is.
func (c *channel) identity() drivers.Identity {
	return drivers.Identity{Driver: "p1", ID: c.id, Medium: c.medium}
}
