package hdlc

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// add appends an empty value, which is read from element i, and gives its place.
func (p *push) add(i int) *drivers.Value {
	if p.sources != nil {
		p.sources[len(p.r.Values)] = i
	}
	return p.r.Push()
}

// coded takes the value of a code. What has no value gives none: null, a profile,
// a number whose scale nobody knows.
func (p *push) coded(c obis.Code, i int, s scaling) {
	k := p.lookup(c)
	switch e := &p.tree.Elements[i]; {
	case e.Tag.IsNumber():
		p.number(k, i, s)
	case k.entry.Dimension == obis.Clock || e.Tag == dlms.DateTimeType:
		p.moment(k, i)
	case e.Tag.IsString() || e.Tag == dlms.BitString:
		p.string(k, i)
	}
}

func (p *push) number(k *known, i int, s scaling) {
	if k.scale.scaled {
		p.scaled(&k.scale, i)
		return
	}
	raw, whole := p.tree.Int(i)
	if !s.given {
		var ok bool
		if s.unit, s.exponent, ok = p.maker.step(k.entry, raw); !ok {
			return
		}
	}
	v := p.add(i)
	if !p.setNumber(v, i, raw, whole, s.exponent) || s.unknown {
		p.r.Pop()
		return
	}
	v.Code, v.Name, v.Unit = k.code, k.entry.Name, s.unit
	if k.id > p.idRank {
		p.scratch = v.Number.AppendTo(p.scratch[:0])
		p.identify(k, p.scratch)
	}
}

// setNumber sets a value to element i, which is raw if it is a whole number.
func (p *push) setNumber(v *drivers.Value, i int, raw int64, whole bool, exponent int) (ok bool) {
	if whole {
		return v.SetScaled(raw, exponent) == nil
	}
	v.Number, ok = p.tree.Number(i, exponent)
	return ok
}

// scaled takes a number whose worth the configuration tells.
func (p *push) scaled(at *position, i int) {
	n, ok := p.tree.Number(i, 0)
	if !ok {
		return
	}
	n, err := n.Mul(at.factor)
	if err != nil {
		return
	}
	v := p.add(i)
	v.Code, v.Number, v.Unit = at.code, n, at.unit
	v.Name = p.lookup(at.code).entry.Name
}

// moment takes a clock, as twelve octets or as a date-time.
func (p *push) moment(k *known, i int) {
	t, ok := dlms.ParseDateTime(p.tree.Bytes(i))
	if !ok {
		return
	}
	stamp := p.clock.stamp(t, *p.maker)
	if stamp.IsZero() {
		return
	}
	v := p.add(i)
	v.Code, v.Name, v.Kind, v.Moment = k.code, k.entry.Name, drivers.Moment, stamp
	if k.code.C() != 1 || k.code.D() != 0 {
		return
	}
	p.zoned = stamp
	if t.Doubtful() {
		p.doubt = drivers.ClockDoubtful
	}
}

func (p *push) string(k *known, i int) {
	b := p.tree.Bytes(i)
	if len(b) == 0 {
		return
	}
	text := p.textOf(i)
	v := p.add(i)
	v.Code, v.Name, v.Kind, v.Text = k.code, k.entry.Name, drivers.Text, text
	p.identifyText(k, text)
}

// item keeps a value without a code under its position, counted from 0.
func (p *push) item(i, n int) {
	e := &p.tree.Elements[i]
	switch {
	case e.Tag.IsNumber():
		number, ok := p.tree.Number(i, 0)
		if !ok {
			return
		}
		v := p.add(i)
		v.Name, v.Number = p.itemName(n), number
	case (e.Tag.IsString() || e.Tag == dlms.BitString) && e.Len > 0:
		text := p.textOf(i)
		v := p.add(i)
		v.Name, v.Kind, v.Text = p.itemName(n), drivers.Text, text
	}
}

func (p *push) itemName(n int) string {
	var b [16]byte
	return p.text(strconv.AppendInt(append(b[:0], "item-"...), int64(n), 10))
}

// maxTexts bounds the texts that are remembered so that they need not be made
// again, maxText their length; a meter that invents texts begins anew.
const (
	maxTexts = 256
	maxText  = 128
)

// text is b as a string, without an allocation if it came before.
func (p *push) text(b []byte) string {
	if s, ok := p.texts[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) > maxText {
		return s
	}
	if len(p.texts) >= maxTexts {
		clear(p.texts)
	}
	p.texts[s] = s
	return s
}

// textOf is a string as text without the zeros and blanks at its end (L+G E350 pads
// with zeros), or in hexadecimal digits if it is none; a bit-string as 0s and 1s.
func (p *push) textOf(i int) string {
	b := p.tree.Bytes(i)
	if p.tree.Elements[i].Tag == dlms.BitString {
		p.scratch = appendBits(p.scratch[:0], b, int(p.tree.Elements[i].Count))
		return p.text(p.scratch)
	}
	if trimmed := bytes.TrimRight(b, "\x00 "); len(trimmed) > 0 && isText(trimmed) {
		return p.text(trimmed)
	}
	p.scratch = appendUpperHex(p.scratch[:0], b)
	return p.text(p.scratch)
}

func appendUpperHex(dst, b []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range b {
		dst = append(dst, digits[c>>4], digits[c&15])
	}
	return dst
}

func appendBits(dst, b []byte, n int) []byte {
	for i := range n {
		dst = append(dst, '0'+b[i/8]>>(7-i%8)&1)
	}
	return dst
}

func isText(b []byte) bool {
	ascii := true
	for _, c := range b {
		if c < 0x20 || c == 0x7F {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || utf8.Valid(b)
}

// identification ranks the codes that say who the meter is: its number before
// other numbers before its logical name.
func identification(c obis.Code) uint8 {
	switch anyChannel(c) {
	case obis.New(0, 0, 96, 1, 0):
		if c.A() == 0 && c.B() == 0 {
			return 7
		}
	case obis.New(1, 0, 96, 1, 0):
		return 7
	case obis.New(1, 0, 0, 0, 5):
		return 6
	case obis.New(0, 0, 96, 1, 3):
		return 5
	case obis.New(0, 0, 96, 1, 2):
		return 4
	case obis.New(0, 0, 42, 0, 0):
		return 3
	case obis.New(1, 0, 0, 0, 0):
		return 2
	case obis.New(1, 0, 0, 0, 1):
		return 1
	}
	return 0
}

// identifyText takes from a text what it says about the meter: number, model,
// version of the list, maker.
func (p *push) identifyText(k *known, text string) {
	c := k.code
	switch {
	case k.id > p.idRank:
		p.identify(k, []byte(text))
		if k.id == 3 {
			p.makeFrom([]byte(text))
		}
	case c.C() == 0 && c.D() == 2 && c.E() == 129:
		p.r.Meter.Version = text
		p.makeFrom([]byte(text))
	case c.C() == 96 && c.D() == 1 && (c.E() == 7 || c.E() == 1 && c.A() == 1):
		p.r.Meter.Model = text
	}
}

func (p *push) identify(k *known, id []byte) { p.idRank, p.r.Meter.ID = k.id, p.text(id) }

// makeFrom learns the maker from a list id or a logical name.
func (p *push) makeFrom(text []byte) {
	if m := makerByList(text); m != nil {
		p.maker = m
	}
}

// setTime dates the reading: by the notification, else by the clock object. Where
// both are there, the totals belong to the latter's time: the hour that just
// ended.
func (p *push) setTime(n *dlms.Notification) {
	var stamp drivers.Stamp
	if n.HasTime {
		stamp = p.clock.stamp(n.Time, *p.maker)
		if n.Time.Doubtful() {
			p.doubt = drivers.ClockDoubtful
		}
	}
	if stamp.IsZero() {
		stamp = p.zoned
	}
	p.r.Time = stamp
	late := !p.zoned.IsZero() && !p.zoned.Equal(stamp)
	if !late && p.doubt == 0 {
		return
	}
	for i := range p.r.Values {
		v := &p.r.Values[i]
		v.Flags |= p.doubt
		if late && v.Kind == drivers.Number && p.lookup(v.Code).entry.IsTotal() {
			v.Time = p.zoned
		}
	}
}

// setChannels names the meters behind this one: those of which a reading,
// 0-n:24.x.y, is among the values.
func (p *push) setChannels() {
	for i := range p.r.Values {
		v := &p.r.Values[i]
		if v.Code.A() != 0 || v.Code.B() == 0 || v.Code.B() > 63 || v.Code.C() != 24 {
			continue
		}
		v.Channel = v.Code.B()
		c := p.channel(v.Channel)
		if v.Code.D() == 1 && v.Kind == drivers.Number {
			if raw, err := strconv.ParseUint(v.Number.String(), 10, 8); err == nil {
				c.Meter.Medium = obis.MediumName(byte(raw))
			}
		}
	}
	if len(p.r.Channels) == 0 {
		return
	}
	for i := range p.r.Values {
		v := &p.r.Values[i]
		if v.Code.A() != 0 || v.Code.C() != 96 || v.Code.D() != 1 {
			continue
		}
		for n := range p.r.Channels {
			if c := &p.r.Channels[n]; c.Number == v.Code.B() && v.Kind == drivers.Text {
				v.Channel, c.Meter.ID = c.Number, v.Text
			}
		}
	}
}

// channel finds the channel, or adds it.
func (p *push) channel(number uint8) *drivers.Channel {
	for i := range p.r.Channels {
		if c := &p.r.Channels[i]; c.Number == number {
			return c
		}
	}
	p.r.Channels = append(p.r.Channels, drivers.Channel{Number: number, Meter: drivers.Identity{Driver: "hdlc"}})
	return &p.r.Channels[len(p.r.Channels)-1]
}
