package p1

import (
	"bytes"
	"sync"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// maxSlots bounds how many lines of a telegram a decoder remembers. The longest
// lists known have 60.
const maxSlots = 128

// slot is what stood on one line of the last telegram. Meters keep their layout,
// so mostly a line begins with the same address and ends with the same unit, and
// only the digits between have to be read.
type slot struct {
	name    string
	unit    obis.Unit
	code    obis.Code
	class   class
	role    role
	rank    uint8
	channel uint8
	shift   int8
	known   bool  // id is filled
	quick   bool  // one number, with the bytes of tail behind it
	idLen   uint8 // of id, the bracket included
	tailLen uint8
	id      [20]byte
	tail    [16]byte
}

// maxForms bounds the slots that are shared.
const maxForms = 4096

// forms are the slots of all decoders. Meters of one make have the same lines, and
// what ten thousand meters each kept for themselves would be 4 kB a meter.
var forms = struct {
	sync.Mutex
	known map[slot]*slot
}{known: map[slot]*slot{}}

// shared is the slot that equals s. It must not change.
func shared(s slot) *slot {
	forms.Lock()
	defer forms.Unlock()
	if known := forms.known[s]; known != nil {
		return known
	}
	if len(forms.known) >= maxForms {
		clear(forms.known) // whoever invents lines must not lock out the others for ever
	}
	fresh := new(slot) // not &s, which would cost the others an allocation too
	*fresh = s
	forms.known[s] = fresh
	return fresh
}

var unknown slot

// slot is what stood on the n-th line of the last telegram.
func (d *Decoder) slot(n int) *slot {
	if n < len(d.slots) {
		return d.slots[n]
	}
	return &unknown
}

// keep remembers the n-th line.
func (d *Decoder) keep(n int, s slot) {
	switch {
	case n >= maxSlots:
	case n == len(d.slots):
		d.slots = append(d.slots, shared(s))
	case *d.slots[n] != s:
		d.slots[n] = shared(s)
	}
}

// quickly reads a line of the same form as the last one here. 0: it is not.
func (s *slot) quickly(b []byte, r *drivers.Reading) (size int) {
	from := int(s.idLen)
	if !s.quick || len(b) < from || string(b[:from]) != string(s.id[:s.idLen]) {
		return 0
	}
	to := from
	for to < len(b) && (b[to]-'0' <= 9 || b[to] == '.' || b[to] == '-') {
		to++
	}
	size = to + int(s.tailLen)
	if len(b) < size || string(b[to:size]) != string(s.tail[:s.tailLen]) || len(b) > size && b[size] == '(' {
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
	v.Code, v.Name, v.Number, v.Unit = s.code, s.name, n, s.unit
	return size
}

// learn finds out what an address means, unless the slot knows it.
func (s *slot) learn(id []byte) {
	if s.known && string(id) == string(s.id[:s.idLen-1]) {
		return
	}
	*s = slot{class: unnamed}
	code, ok := obis.Scan(id, obis.Electricity)
	if ok {
		e := obis.Lookup(code)
		s.code, s.name = code, e.Name
		s.class = classOf(code, e)
		s.channel = channelOf(code)
		s.role, s.rank = roleOf(code)
	}
	if len(id) < len(s.id) {
		s.known = true
		s.idLen = uint8(copy(s.id[:], id) + 1)
		s.id[s.idLen-1] = '('
	}
}

// speedUp prepares the slot for the same line in the next telegram, if it holds
// one number.
func (s *slot) speedUp(raw []byte, groups [][]byte) {
	s.quick = false
	if !s.known || s.channel > 0 || len(groups) != 1 || s.class != measure && s.class != free {
		return
	}
	digits, unit, found := bytes.Cut(groups[0], star)
	if _, err := drivers.ParseDecimal(digits); err != nil || !found && s.class == free {
		return
	}
	tail := raw[min(len(raw), int(s.idLen)+len(digits)):]
	if len(tail) > len(s.tail) || !bytes.HasSuffix(tail, crlf[1:]) {
		return
	}
	u, shift, known := obis.ParseUnit(unit)
	if found && !known {
		return
	}
	s.unit, s.shift, s.quick = u, int8(shift), true
	s.tailLen = uint8(copy(s.tail[:], tail))
}
