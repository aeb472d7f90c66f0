package iec62056

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

var errEmpty = fmt.Errorf("no data set that has a value: %w", drivers.ErrSyntax)

// Decoder turns captured bytes into Readings: one a readout or an answer, one a
// row of a load profile or a log book. Identification lines, requests, commands
// and echoes are passed over. In the steady state it allocates nothing.
type Decoder struct {
	frames framer
	driver string
	clock  clock
	prefix obis.Defaults
	medium string // as configured

	known  map[string]drivers.Identity // by identification line
	who    drivers.Identity            // of the log at hand
	slots  []slot
	spare  slot
	groups [][]byte // of the data set at hand
	texts  map[string]string
	log    log
	rest   message // the rows that are not read yet
	fault  drivers.FrameError

	// Of the data message at hand:
	heat   bool  // its addresses are those of EN 1434
	rank   uint8 // how good the word for Meter.ID is; 0: none yet
	date   []byte
	hour   []byte
	answer int    // data sets that are error texts
	marks  []mark // for an explanation: the data sets; nil: nobody asks
}

// mark is where a data set began and ended, and how many values there were then.
type mark struct{ start, end, values int }

func newDecoder(driver string, c *Config, z drivers.Zones) (*Decoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d := &Decoder{driver: driver, clock: clock{zone: zoneOf(z)}, prefix: c.defaults(), medium: c.Medium}
	if driver == lisName && d.medium == "" {
		d.medium, d.prefix.A = obis.MediumGas, media[obis.MediumGas]
	}
	return d, nil
}

// Feed takes the next bytes.
func (d *Decoder) Feed(p []byte) { d.frames.feed(p) }

// Gap says that the line fell silent: a readout that has its ! is complete, what
// has none is lost.
func (d *Decoder) Gap() { d.frames.gap() }

// Next fills r with the next readout, answer or row, or returns ErrMore, or a
// *FrameError for one that was lost or that was the meter's refusal.
func (d *Decoder) Next(r *drivers.Reading) error {
	for {
		if row, err := d.nextRow(r); row || err != nil {
			return err
		}
		m, err := d.frames.next()
		if err != nil {
			return err
		}
		if d.log.begins(d, m.text) {
			d.who, d.rest = d.identity(m.ident), m
			d.who.Medium = d.mediumName()
			continue
		}
		d.log = log{}
		return d.decode(m, r)
	}
}

// nextRow fills r with the next row of a log. false: there is none.
func (d *Decoder) nextRow(r *drivers.Reading) (bool, error) {
	for len(d.rest.text) > 0 {
		r.Reset()
		r.Check = d.rest.check
		r.Meter = d.who
		line := d.rest.text[:toLineEnd(d.rest.text)]
		d.rest.text = d.rest.text[len(line):]
		switch d.log.line(d, line, r) {
		case yes:
			return true, nil
		case no:
			return false, d.refuse("row of a log", len(line), drivers.ErrSyntax)
		default: // wait: the line gave no row
		}
	}
	return false, nil
}

func (d *Decoder) refuse(field string, length int, err error) error {
	d.fault = drivers.FrameError{Field: field, Length: length, Err: err}
	return &d.fault
}

// decode reads a message whose check held.
func (d *Decoder) decode(m message, r *drivers.Reading) error {
	r.Reset()
	r.Check = m.check
	r.Meter = d.identity(m.ident)
	d.sets(m.text, r)
	switch {
	case len(r.Values) == 0 && d.answer > 0:
		return d.refuse("answer", len(m.text), drivers.ErrRefused)
	case len(r.Values) == 0:
		return d.refuse("data message", len(m.text), errEmpty)
	}
	return nil
}

// maxKnown bounds the identification lines that are kept.
const maxKnown = 32

// identity is what an identification line says.
func (d *Decoder) identity(line []byte) drivers.Identity {
	if who, ok := d.known[string(line)]; ok {
		return who
	}
	who := drivers.Identity{Driver: d.driver}
	if id, err := ParseIdentification(line); err == nil {
		who.Manufacturer, who.Model = strings.ToUpper(id.Manufacturer), id.Model
	}
	if d.known == nil {
		d.known = map[string]drivers.Identity{}
	}
	if len(d.known) >= maxKnown {
		clear(d.known)
	}
	d.known[string(line)] = who
	return who
}

// sets reads all data sets of a message into r.
func (d *Decoder) sets(b []byte, r *drivers.Reading) {
	d.rank, d.date, d.hour, d.answer = 0, nil, nil, 0
	d.scheme(b)
	r.Meter.Medium = d.mediumName()
	whole := len(b)
	for n := 0; len(b) > 0; {
		if b[0] <= ' ' {
			b = b[1:]
			continue
		}
		s := d.slot(n)
		size := s.quickly(b, r)
		if size == 0 {
			size = d.set(s, b, r)
		}
		if d.marks != nil {
			d.marks = append(d.marks, mark{whole - len(b), whole - len(b) + size, len(r.Values)})
		}
		b = b[size:]
		n++
	}
	if r.Time.IsZero() && d.date != nil && d.hour != nil {
		r.Time = d.clock.assembled(d.date, d.hour)
	}
}

var heatMark, volumeMark = []byte("6.26("), []byte("9.21(")

// scheme finds out whether the addresses are those of EN 1434: a heat meter's
// volume and number, which no other meter has under these. What slots know counts
// for one scheme only.
func (d *Decoder) scheme(b []byte) {
	heat := bytes.Contains(b, heatMark) && bytes.Contains(b, volumeMark)
	if heat != d.heat {
		d.heat = heat
		d.slots = d.slots[:0]
	}
}

func (d *Decoder) mediumName() string {
	switch {
	case d.medium != "":
		return d.medium
	case d.heat:
		return obis.MediumHeat
	}
	return obis.MediumElectricity
}

// set reads the data set that b begins with, the slow way, and says how many
// bytes it took.
func (d *Decoder) set(s *slot, b []byte, r *drivers.Reading) int {
	id, size := d.split(b)
	s.learn(d, id)
	if len(d.groups) == 0 || len(id) == 0 {
		if len(d.groups) > 0 && isRefusal(d.groups[0]) {
			d.answer++
		}
		return size
	}
	before := len(r.Values)
	d.add(s, r)
	s.speedUp(d, b[:size], r, len(r.Values)-before)
	return size
}

// split finds the address and the brackets of the data set that b begins with,
// and the line ends behind it. Brackets that begin the next line go on with it.
func (d *Decoder) split(b []byte) (id []byte, size int) {
	d.groups = d.groups[:0]
	open := bytes.IndexByte(b, '(')
	if end := bytes.IndexByte(b, '\n'); open < 0 || end >= 0 && end < open {
		return nil, toLineEnd(b) // a line without a bracket
	}
	id = bytes.TrimSpace(b[:open])
	for at := open; ; {
		shut := bytes.IndexByte(b[at:], ')')
		if shut < 0 {
			return id, toLineEnd(b)
		}
		if len(d.groups) < maxGroups {
			d.groups = append(d.groups, bytes.TrimSpace(b[at+1:at+shut]))
		}
		at += shut + 1
		size = at
		for size < len(b) && (b[size] == '\r' || b[size] == '\n') {
			size++
		}
		if size == len(b) || b[size] != '(' {
			return id, size
		}
		at = size
	}
}

// maxGroups bounds how many brackets a data set may have; more are passed over.
const maxGroups = 64

func toLineEnd(b []byte) int {
	if end := bytes.IndexByte(b, '\n'); end >= 0 {
		return end + 1
	}
	return len(b)
}

// add adds the values of the data set at hand: a bracket that is a time belongs to
// the value before it.
func (d *Decoder) add(s *slot, r *drivers.Reading) {
	last := -1
	for i, g := range d.groups {
		if i > 0 && last >= 0 {
			if at, ok := d.clock.stamp(g); ok {
				r.Values[last].Time = at
				continue
			}
		}
		n := len(r.Values)
		d.fill(&s.means, g, r)
		last = -1
		if len(r.Values) > n {
			last = n
		}
	}
}

// fill adds the value of one bracket, if it has one.
func (d *Decoder) fill(m *meaning, g []byte, r *drivers.Reading) {
	if len(g) == 0 {
		return
	}
	if isRefusal(g) && m.class != plainly {
		d.answer++
		return
	}
	v := r.Push()
	v.Code, v.Name = m.code, m.name
	if !d.read(v, m, g, r) {
		r.Pop()
		return
	}
	d.play(m, v, r)
}

// read reads a bracket as the class of its address says. false: it has no value.
func (d *Decoder) read(v *drivers.Value, m *meaning, g []byte, r *drivers.Reading) bool {
	switch m.class {
	case measure:
		return d.number(v, g)
	case free:
		return d.anything(v, g)
	case dated:
		return d.dated(v, g)
	case now:
		return d.now(v, g, r)
	case pair:
		return d.pair(v, g, r)
	case hour:
		d.hour = g
	case day:
		d.date = g
	default: // plainly: a text
	}
	v.Kind, v.Text = drivers.Text, d.text(g)
	return true
}

// number reads value*unit. false: it is none.
func (d *Decoder) number(v *drivers.Value, g []byte) bool {
	digits, unit, _ := bytes.Cut(g, star)
	n, err := drivers.ParseDecimal(bytes.TrimSpace(digits))
	if err != nil {
		return false
	}
	v.Kind, v.Number = drivers.Number, n
	return d.unit(v, bytes.TrimSpace(unit))
}

var star = []byte("*")

// unit brings v.Number to the canonical unit. false: it would not fit any more.
func (d *Decoder) unit(v *drivers.Value, unit []byte) bool {
	u, shift := d.parseUnit(unit)
	v.Unit = u
	if shift == 0 {
		return true
	}
	n, err := v.Number.Shift(shift)
	v.Number = n
	return err == nil
}

func (d *Decoder) parseUnit(unit []byte) (obis.Unit, int) {
	if len(unit) == 0 {
		return "", 0
	}
	if u, ok := moreUnits(unit); ok {
		return u, 0
	}
	if u, shift, known := obis.ParseUnit(unit); known {
		return u, shift
	}
	return obis.Unit(d.text(unit)), 0
}

// anything reads a bracket whose address tells nothing: a number if it has a unit
// or a point, else text.
func (d *Decoder) anything(v *drivers.Value, g []byte) bool {
	if bytes.ContainsAny(g, "*.") && d.number(v, g) {
		return true
	}
	v.Number, v.Unit = drivers.Decimal{}, ""
	v.Kind, v.Text = drivers.Text, d.text(g)
	return true
}

func (d *Decoder) dated(v *drivers.Value, g []byte) bool {
	t, ok := d.clock.stamp(g)
	if !ok {
		v.Kind, v.Text = drivers.Text, d.text(g)
		return true
	}
	v.Kind, v.Moment = drivers.Moment, t
	return !t.IsZero()
}

// now reads the meter's clock, which dates the whole Reading.
func (d *Decoder) now(v *drivers.Value, g []byte, r *drivers.Reading) bool {
	if !d.dated(v, g) {
		return false
	}
	if r.Time.IsZero() {
		r.Time = v.Moment
	}
	return true
}

// pair reads flow&return as two values.
func (d *Decoder) pair(v *drivers.Value, g []byte, r *drivers.Reading) bool {
	flow, back, ok := bytes.Cut(g, []byte("&"))
	if !ok || !d.number(v, flow) {
		return d.anything(v, g)
	}
	f := v.Code.F()
	second := r.Push()
	second.Code, second.Name = returnMaximum.code, returnMaximum.name
	second.Code[5] = f
	if !d.number(second, back) {
		r.Pop()
	}
	return true
}

// play lets a value say who the meter is, unless a better word was heard.
func (d *Decoder) play(m *meaning, v *drivers.Value, r *drivers.Reading) {
	if v.Kind != drivers.Text {
		return
	}
	switch {
	case m.role == meterVersion:
		r.Meter.Version = v.Text
	case m.role == meterID && (d.rank == 0 || m.rank < d.rank):
		d.rank, r.Meter.ID = m.rank, v.Text
	}
}

// maxTexts bounds the texts that are kept.
const maxTexts = 512

// text is b as a string; the same text is not made twice.
func (d *Decoder) text(b []byte) string {
	if s, ok := d.texts[string(b)]; ok {
		return s
	}
	if d.texts == nil {
		d.texts = map[string]string{}
	}
	if len(d.texts) >= maxTexts {
		clear(d.texts)
	}
	s := string(b)
	d.texts[s] = s
	return s
}

// isRefusal says whether the text of a bracket is an error message: ER… or # and
// four digits, and no unit.
func isRefusal(g []byte) bool {
	switch {
	case len(g) > 1 && g[0] == 'E' && g[1] == 'R':
		return bytes.IndexByte(g, '*') < 0
	case len(g) == 5 && g[0] == '#':
		for _, c := range g[1:] {
			if c < '0' || c > '9' {
				return false
			}
		}
		return true
	}
	return false
}
