package iec62056

import (
	"bytes"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// maxSlots bounds how many data sets of a message a decoder remembers.
const maxSlots = 512

// form is how a data set can be read at once.
type form byte

const (
	slow   form = iota
	number      // digits, then the bytes of tail
	stamp       // the same with a bracket between that holds a time
	same        // the very bytes of the last message
)

// slot is what stood at one place of the last message. Meters keep their layout,
// so mostly a data set has the same address and unit, and only its digits have to
// be read.
type slot struct {
	means meaning
	unit  obis.Unit
	shift int8
	form  form

	known bool // id is filled
	idLen uint8
	id    [24]byte // the address, and the bracket

	tailLen, midLen uint8
	mid             [16]byte // of stamp: what stands between digits and time
	tail            [24]byte
	at              drivers.Stamp // of stamp: the last time
	digits          [13]byte      // and what it was read from
	digitLen        uint8

	whole []byte        // of same: all bytes
	value drivers.Value // and what they meant
}

// slot is the memory for the n-th data set.
func (d *Decoder) slot(n int) *slot {
	switch {
	case n < len(d.slots):
	case n < cap(d.slots) && n < maxSlots:
		d.slots = d.slots[:n+1]
		d.slots[n].known, d.slots[n].form = false, slow
	case n < maxSlots:
		d.slots = append(d.slots, slot{})
	default:
		d.spare.known, d.spare.form = false, slow
		return &d.spare
	}
	return &d.slots[n]
}

// quickly reads a data set of the same form as the last one here. 0: it is not.
func (s *slot) quickly(b []byte, r *drivers.Reading) int {
	from := int(s.idLen)
	if s.form == slow || len(b) < from || string(b[:from]) != string(s.id[:s.idLen]) {
		return 0
	}
	if s.form == same {
		return s.again(b, r)
	}
	to := from
	for to < len(b) && (b[to]-'0' <= 9 || b[to] == '.' || b[to] == '-') {
		to++
	}
	size := to
	if s.form == stamp {
		size = s.stamped(b, to)
	}
	if size == 0 || !s.ends(b[size:]) {
		return 0
	}
	n, err := drivers.ParseDecimal(b[from:to])
	if s.shift != 0 && err == nil {
		n, err = n.Shift(int(s.shift))
	}
	if err != nil {
		return 0
	}
	v := r.Push()
	v.Code, v.Name, v.Number, v.Unit = s.means.code, s.means.name, n, s.unit
	if s.form == stamp {
		v.Time = s.at
	}
	return size + int(s.tailLen)
}

// ends says whether b begins with the tail and no bracket follows.
func (s *slot) ends(b []byte) bool {
	n := int(s.tailLen)
	return len(b) >= n && string(b[:n]) == string(s.tail[:n]) && (len(b) == n || b[n] != '(')
}

// stamped is where the tail begins behind the time of the last message. 0: it is
// another one.
func (s *slot) stamped(b []byte, at int) int {
	mid := at + int(s.midLen)
	end := mid + int(s.digitLen)
	if len(b) < end || string(b[at:mid]) != string(s.mid[:s.midLen]) || string(b[mid:end]) != string(s.digits[:s.digitLen]) {
		return 0
	}
	return end
}

// again gives the value of the last message once more.
func (s *slot) again(b []byte, r *drivers.Reading) int {
	n := len(s.whole)
	if len(b) < n || !bytes.Equal(b[:n], s.whole) || len(b) > n && b[n] == '(' {
		return 0
	}
	v := r.Push()
	v.Code, v.Name, v.Kind, v.Text, v.Moment, v.Time = s.value.Code, s.value.Name, s.value.Kind, s.value.Text, s.value.Moment, s.value.Time
	return n
}

// learn finds out what an address means, unless the slot knows it.
func (s *slot) learn(d *Decoder, id []byte) {
	if s.known && string(id) == string(s.id[:s.idLen-1]) {
		return
	}
	s.known, s.form = false, slow
	s.means = d.meaning(id)
	if s.means.name == "" && s.means.code.IsZero() {
		s.means.name = d.text(id)
	}
	if len(id) < len(s.id) {
		s.known = true
		s.idLen = uint8(copy(s.id[:], id) + 1)
		s.id[s.idLen-1] = '('
	}
}

// meaning is what an address stands for.
func (d *Decoder) meaning(id []byte) meaning {
	if d.heat {
		return heatMeaning(id)
	}
	if c, ok := obis.Scan(id, d.prefix); ok {
		return meaningOf(c)
	}
	if key, n, ok := lisAddress(id); ok {
		return lis200[string(key[:n])]
	}
	return meaning{}
}

// heatMeaning reads an address of EN 1434. *NN is a period that has ended.
func heatMeaning(id []byte) meaning {
	if m, ok := en1434[string(id)]; ok {
		return m
	}
	base, period, ok := bytes.Cut(id, star)
	m, known := en1434[string(base)]
	if !ok || !known || m.code.IsZero() || len(period) != 2 || period[0]-'0' > 9 || period[1]-'0' > 9 {
		return meaning{}
	}
	m.code[5] = (period[0]-'0')*10 + period[1] - '0'
	m.role = noRole
	return m
}

// speedUp prepares the slot for the same data set in the next message. added is
// how many values it gave.
func (s *slot) speedUp(d *Decoder, raw []byte, r *drivers.Reading, added int) {
	s.form = slow
	if !s.known || added != 1 || len(raw) < int(s.idLen) || s.means.role != noRole {
		return
	}
	v := &r.Values[len(r.Values)-1]
	switch c := s.means.class; {
	case v.Kind == drivers.Number:
		s.speedUpNumber(d, raw, v)
	case c == plainly || c == dated || c == free:
		if len(raw) <= 64 && len(d.groups) == 1 {
			s.form = same
			s.whole = append(s.whole[:0], raw...)
			s.value = *v
		}
	}
}

func (s *slot) speedUpNumber(d *Decoder, raw []byte, v *drivers.Value) {
	digits, unit, found := bytes.Cut(d.groups[0], star)
	if _, err := drivers.ParseDecimal(digits); err != nil || len(d.groups) > 2 || !found && s.means.class == free {
		return
	}
	from := int(s.idLen) + len(digits)
	if from > len(raw) || !bytes.Equal(raw[s.idLen:from], digits) {
		return
	}
	tail := raw[from:]
	if len(d.groups) == 2 {
		tail = s.remember(d, tail, v)
	}
	if len(tail) == 0 || len(tail) > len(s.tail) {
		return
	}
	u, shift := d.parseUnit(unit)
	s.unit, s.shift = u, int8(shift)
	s.tailLen = uint8(copy(s.tail[:], tail))
	s.form = number
	if len(d.groups) == 2 {
		s.form = stamp
	}
}

// remember keeps the time behind a number and gives what follows it.
func (s *slot) remember(d *Decoder, tail []byte, v *drivers.Value) []byte {
	g := d.groups[1]
	at := bytes.Index(tail, g)
	if _, ok := d.clock.stamp(g); !ok || at < 0 || at > len(s.mid) || len(g) > len(s.digits) {
		return nil
	}
	s.midLen = uint8(copy(s.mid[:], tail[:at]))
	s.digitLen = uint8(copy(s.digits[:], g))
	s.at = v.Time
	return tail[at+len(g):]
}
