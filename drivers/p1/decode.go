package p1

import (
	"bytes"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// errNoLine says that a telegram has an identification and nothing else.
var errNoLine = fmt.Errorf("telegram without a data line: %w", drivers.ErrSyntax)

// Decoder turns the bytes of a P1 line into Readings, one a telegram. In the
// steady state it allocates nothing, and neither does a refused telegram.
type Decoder struct {
	frames framer
	meter  maker
	clock  clock
	zones  drivers.Zones

	slots  []*slot  // what stood on each line of the last telegram
	groups [][]byte // of the line at hand, without brackets
	joined []byte   // the line at hand, if it was broken
	texts  texts
	log    capture

	// Of the telegram at hand:
	idRank    uint8 // how good the word for Meter.ID is; 0: none yet
	verRank   uint8
	day, hour []byte // 1-0:0.9.2 and 0.9.1
	channels  []channel
	owners    []uint8 // for each value the index of its channel, from 1 on; 0 or not there: none
	marks     []mark  // for an explanation: its lines; nil: nobody asks
}

// mark is where a line of a telegram ended, and how many values there were then.
type mark struct{ end, values int }

// newDecoder checks the configuration.
func newDecoder(c drivers.Config, z drivers.Zones) (*Decoder, error) {
	cfg, ok := c.(*Config)
	if !ok {
		return nil, fmt.Errorf("p1: configuration is a %T", c)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	sealed, err := newUnsealer(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Key.IsZero() {
		sealed = nil // most such meters send nothing ciphered: it is made when one does
	}
	return &Decoder{frames: newFramer(cfg, sealed), clock: newClock(z), zones: z}, nil
}

// Inherit keeps the counter of ciphered telegrams.
func (d *Decoder) Inherit(from drivers.Decoder) {
	if old, ok := from.(*Decoder); ok && old.frames.sealed != nil {
		d.frames.unsealer().counter = old.frames.sealed.counter
	}
}

// Feed takes the next bytes of the line. What was not asked for with Next stays
// in memory.
func (d *Decoder) Feed(p []byte) { d.frames.feed(p) }

// Gap says that the line fell silent: a telegram that has not ended is lost,
// unless only the line end behind its ! or CRC is missing.
func (d *Decoder) Gap() { d.frames.gap() }

// Next fills r with the next telegram's values, or returns ErrMore, or a
// *FrameError for one that was lost: cut, damaged, too long, ciphered with another
// key, or sent again.
func (d *Decoder) Next(r *drivers.Reading) error {
	t, err := d.frames.next()
	if err != nil {
		return err
	}
	r.Reset()
	r.Check = t.check
	if d.decode(t.text, r) {
		return nil
	}
	d.frames.lost = drivers.FrameError{Field: "data line", Offset: len(t.text), Length: len(t.text), Err: errNoLine}
	return &d.frames.lost
}

// decode reads a telegram whose check held. false: it has no data line.
func (d *Decoder) decode(b []byte, r *drivers.Reading) bool {
	d.idRank, d.verRank = 0, 0
	d.day, d.hour = nil, nil
	d.channels, d.owners = d.channels[:0], d.owners[:0]
	ident := bytes.IndexByte(b, '\n') + 1
	d.identify(bytes.TrimRight(b[:ident], "\r\n"), r)
	b = bytes.TrimSuffix(b, bang)

	lines := 0
	for at := ident; at < len(b); {
		n, read := d.nextLine(lines, b[at:], r)
		if read {
			lines++
		}
		at += n
		if d.marks != nil {
			d.marks = append(d.marks, mark{at, len(r.Values)})
		}
	}
	if len(d.channels) > 0 {
		d.resolveChannels(r)
	}
	if r.Time.IsZero() && d.day != nil && d.hour != nil {
		r.Time = d.assembled()
	}
	return lines > 0
}

var bang = []byte("!")

// nextLine reads the n-th data line, with which b begins, and says how many bytes
// it took. read: it was not an empty one.
func (d *Decoder) nextLine(n int, b []byte, r *drivers.Reading) (size int, read bool) {
	s := d.slot(n)
	if size := s.quickly(b, r); size > 0 {
		return size, true
	}
	line, size := d.wholeLine(b)
	if len(line) == 0 {
		return size, false
	}
	own := *s
	d.line(&own, line, b[:size], r)
	d.keep(n, own)
	return size, true
}

// identify fills r.Meter from the identification line.
func (d *Decoder) identify(ident []byte, r *drivers.Reading) {
	if d.meter.learn(ident) && d.zones.Meter == nil {
		d.clock = newClock(drivers.Zones{Meter: countryZone(d.meter.id.Manufacturer)})
	}
	r.Meter = d.meter.id
}

// assembled is the clock of meters that print date and time as two values.
func (d *Decoder) assembled() drivers.Stamp {
	var b [12]byte
	if len(d.day) != 6 || len(d.hour) != 6 {
		return drivers.Stamp{}
	}
	copy(b[:], d.day)
	copy(b[6:], d.hour)
	s, _ := d.clock.stamp(b[:])
	return s
}

// maker remembers the identification line and what it says.
type maker struct {
	line []byte
	id   drivers.Identity
}

// learn takes an identification line apart and says whether it is a new one.
// IEC 62056-21, 6.3.2: / XXX Z \W identification. XXX is the maker's FLAG code, whose
// last letter is small where the meter reacts within 20 ms; Z is a speed that P1
// does not use; \W is a mode, no part of the name.
func (m *maker) learn(line []byte) bool {
	if m.line != nil && bytes.Equal(line, m.line) {
		return false
	}
	m.line = append(m.line[:0], line...)
	name := bytes.TrimPrefix(line, []byte("/"))
	flag := name[:min(3, len(name))]
	name = name[len(flag):]
	if len(name) > 0 && name[0] >= '0' && name[0] <= '9' {
		name = name[1:]
	}
	if len(name) > 0 && name[0] == '\\' {
		name = name[1:]
		if len(name) > 0 && name[0] >= '0' && name[0] <= '9' {
			name = name[1:]
		}
	}
	name = bytes.TrimFunc(name[:min(len(name), maxIdent)], separates)
	m.id = drivers.Identity{
		Driver: "p1", Medium: obis.MediumElectricity,
		Manufacturer: string(bytes.ToUpper(flag)), Model: string(name),
	}
	return true
}

// separates says that r stands between the parts of an identification.
func separates(r rune) bool { return r <= ' ' || r == ':' || r == '-' || r == 0x7F }

// wholeLine is the line that b begins with, without its end, and how many bytes
// it takes. A line that goes on with ( on the next, as DSMR 2.2 and 3 print gas,
// and one whose brackets close on a later line, are joined.
func (d *Decoder) wholeLine(b []byte) (line []byte, size int) {
	line, size = cutLine(b)
	if closed(line) && (size == len(b) || b[size] != '(' || len(line) == 0) {
		return line, size
	}
	d.joined = append(d.joined[:0], line...)
	for n := size; n < len(b) && len(d.joined) <= maxLine; {
		more, m := cutLine(b[n:])
		d.joined = append(d.joined, more...)
		n += m
		if closed(d.joined) && (n == len(b) || b[n] != '(') {
			return d.joined, n
		}
	}
	return line, size // nothing closes it
}

// cutLine is the first line of b without its end, and its size with it.
func cutLine(b []byte) (line []byte, size int) {
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		return b, len(b)
	}
	return bytes.TrimSuffix(b[:n], crlf[:1]), n + 1
}

var open, shut = []byte("("), []byte(")")

func closed(line []byte) bool { return bytes.Count(line, open) == bytes.Count(line, shut) }

// line reads one data line. raw is what it looked like on the wire.
func (d *Decoder) line(s *slot, line, raw []byte, r *drivers.Reading) {
	id, ok := d.split(line)
	s.learn(id)
	before := len(r.Values)
	switch {
	case !ok || s.class == unnamed:
		d.addUnnamed(id, line, r)
	case s.class == profile:
		d.addProfile(s, r)
	case s.class == carrier:
		d.addCarried(s, r)
	default:
		d.addPlain(s, r)
		s.speedUp(raw, d.groups)
	}
	if s.channel > 0 {
		d.behind(s, before, r)
	}
}

// split finds the id and the groups of a line. false: it has none, or one that
// does not close.
func (d *Decoder) split(line []byte) (id []byte, ok bool) {
	d.groups = d.groups[:0]
	at := bytes.IndexByte(line, '(')
	if at < 0 {
		return line, false
	}
	id = line[:at]
	if end := len(line) - 1; line[end] == ')' && bytes.IndexByte(line[at+1:end], ')') < 0 && bytes.IndexByte(line[at+1:end], '(') < 0 {
		d.groups = append(d.groups, line[at+1:end])
		return id, true
	}
	depth, start := 0, 0
	for i := at; i < len(line); i++ {
		switch line[i] {
		case '(':
			if depth++; depth == 1 {
				start = i + 1
			}
		case ')':
			if depth--; depth == 0 {
				d.groups = append(d.groups, line[start:i])
			}
			depth = max(depth, 0)
		}
	}
	return id, depth == 0 && len(d.groups) > 0
}

// addUnnamed keeps a line of no known form: its first group, or all behind the
// bracket if that does not close.
func (d *Decoder) addUnnamed(id, line []byte, r *drivers.Reading) {
	text := bytes.TrimPrefix(line[len(id):], open)
	if len(d.groups) > 0 {
		text = d.groups[0]
	}
	if len(id) == 0 || len(text) == 0 {
		return
	}
	r.Values = append(r.Values, drivers.Value{Name: d.texts.plain(id), Kind: drivers.Text, Text: d.texts.plain(text)})
}

// addPlain adds the values of a line ID(v)…, ID(time)(v)….
func (d *Decoder) addPlain(s *slot, r *drivers.Reading) {
	var at drivers.Stamp
	groups := d.groups
	if len(groups) > 1 {
		if t, ok := d.clock.stamp(groups[0]); ok {
			at, groups = t, groups[1:]
		}
	}
	withUnit := false
	for _, g := range groups {
		unit := bytes.IndexByte(g, '*') >= 0
		if withUnit && !unit {
			continue // what stands behind a number with a unit is its time, in some makers' form
		}
		withUnit = unit
		d.add(s, g, at, r)
	}
}

// add adds the value of one group, if it has one.
func (d *Decoder) add(s *slot, g []byte, at drivers.Stamp, r *drivers.Reading) {
	if len(g) == 0 {
		return
	}
	v := r.Push()
	v.Code, v.Name, v.Channel, v.Time = s.code, s.name, s.channel, at
	if !d.fill(v, s, g, r) {
		r.Pop()
		return
	}
	if s.role != noRole {
		d.play(s, v, r)
	}
}

// fill reads a group as the class of its code says. false: it has no value.
func (d *Decoder) fill(v *drivers.Value, s *slot, g []byte, r *drivers.Reading) bool {
	switch s.class {
	case measure:
		return d.number(v, g)
	case free:
		return d.anything(v, g)
	case moment:
		return d.moment(v, g, r)
	case octets:
		v.Kind, v.Text = drivers.Text, d.texts.octets(g)
	default:
		v.Kind, v.Text = drivers.Text, d.texts.plain(g)
		d.noteClock(s.code, g)
	}
	return true
}

// number reads value*unit. false: it is none.
func (d *Decoder) number(v *drivers.Value, g []byte) bool {
	digits, unit, _ := bytes.Cut(g, star)
	n, err := drivers.ParseDecimal(digits)
	if err != nil {
		return false
	}
	return d.quantity(v, n, unit)
}

var star = []byte("*")

// quantity brings n to the canonical unit. false: it would not fit any more.
func (d *Decoder) quantity(v *drivers.Value, n drivers.Decimal, unit []byte) bool {
	v.Kind, v.Number = drivers.Number, n
	if len(unit) == 0 {
		return true
	}
	u, shift, known := obis.ParseUnit(unit)
	if !known {
		v.Unit = obis.Unit(d.texts.plain(unit))
		return true
	}
	v.Unit = u
	if shift == 0 {
		return true
	}
	shifted, err := n.Shift(shift)
	v.Number = shifted
	return err == nil
}

// anything reads a group whose code tells nothing: a number if it has a unit, a
// time if it has a letter, else a text.
func (d *Decoder) anything(v *drivers.Value, g []byte) bool {
	if bytes.IndexByte(g, '*') > 0 && d.number(v, g) {
		return true
	}
	if t, ok := d.clock.stamp(g); ok && len(g) == 13 {
		v.Kind, v.Moment = drivers.Moment, t
		return !t.IsZero()
	}
	v.Number, v.Unit = drivers.Decimal{}, ""
	v.Kind, v.Text = drivers.Text, d.texts.plain(g)
	return true
}

// moment reads the meter's clock, which dates the whole Reading.
func (d *Decoder) moment(v *drivers.Value, g []byte, r *drivers.Reading) bool {
	t, ok := d.clock.stamp(g)
	if r.Time.IsZero() {
		r.Time = t
	}
	if !ok || len(g) > 13 {
		v.Kind, v.Text = drivers.Text, d.texts.plain(g)
		return true
	}
	v.Kind, v.Moment = drivers.Moment, t
	return !t.IsZero()
}

// noteClock remembers date and time where they are values of their own.
func (d *Decoder) noteClock(c obis.Code, g []byte) {
	switch c {
	case codeTime:
		d.hour = g
	case codeDate:
		d.day = g
	}
}

// play lets a value say who the meter is, unless a better word was heard.
func (d *Decoder) play(s *slot, v *drivers.Value, r *drivers.Reading) {
	switch {
	case s.role == meterVersion && (d.verRank == 0 || s.rank < d.verRank):
		d.verRank, r.Meter.Version = s.rank, v.Text
	case s.role == meterID && (d.idRank == 0 || s.rank < d.idRank):
		d.idRank, r.Meter.ID = s.rank, v.Text
	}
}
