package hdlc

import (
	"errors"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// errSegment says that a segment is not the one that follows.
var errSegment = errors.New("a segment before it is missing")

// segments joins the information fields of the frames of one telegram.
type segments struct {
	joined  []byte
	path    [10]byte // whose they are
	next    uint8    // the number that must come, where they are numbered
	active  bool     // a first one came
	orphans bool     // later ones came without a first
}

func (s *segments) drop() { s.joined, s.active, s.orphans, s.next = s.joined[:0], false, false, 0 }

// begin takes a first segment. The address does not count its control field,
// which may differ from segment to segment.
func (s *segments) begin(path []byte) {
	s.drop()
	s.active, s.path = true, pathOf(path)
}

func pathOf(path []byte) (p [10]byte) {
	p[0] = byte(len(path))
	copy(p[1:], path)
	return p
}

func (s *segments) add(data []byte) error {
	if len(s.joined)+len(data) > dlms.MaxAPDU {
		s.drop()
		return drivers.ErrLong
	}
	s.joined = append(s.joined, data...)
	s.next++
	return nil
}

// takeFrame hands on what a good frame completes: nothing as long as segments
// are to follow. The LLC header stands in the first segment only, so it also
// tells a first one.
func (d *Decoder) takeFrame(f frame) ([]byte, error) {
	s := &d.frames
	first := hasLLC(f.info)
	if len(f.info) == 0 {
		d.skip(f.size)
		return nil, d.lose("information field", f.size, f.size, drivers.ErrShort)
	}
	switch {
	case s.active && (first || s.path != pathOf(f.path[:len(f.path)-1])):
		s.drop() // this frame is looked at again, by itself
		return nil, d.lose("segment", 0, 0, errSegment)
	case s.active:
		d.skip(f.size)
		if err := s.add(f.info); err != nil {
			return nil, d.lose("segment", 0, 0, err)
		}
		return d.joinedFrames(f.segmented)
	}
	d.skip(f.size)
	switch {
	case f.segmented && first:
		s.begin(f.path[:len(f.path)-1])
		return nil, s.add(f.info)
	case f.segmented:
		s.orphans = true
		return nil, nil
	case s.orphans && !first:
		s.drop()
		return nil, d.lose("segment", 0, f.size, errSegment)
	}
	s.orphans = false
	return d.unwrap(f.info)
}

func (d *Decoder) joinedFrames(more bool) ([]byte, error) {
	if more {
		return nil, nil
	}
	d.frames.active = false
	return d.unwrap(d.frames.joined)
}

// llcSize is the LLC header's: E6 E7 00 from the meter, E6 E6 00 to it.
const llcSize = 3

func hasLLC(b []byte) bool {
	return len(b) >= llcSize && b[0] == 0xE6 && (b[1] == 0xE7 || b[1] == 0xE6) && b[2] == 0
}

// unwrap takes off the LLC header. Later blocks of a block transfer have none
// (L+G E450).
func (d *Decoder) unwrap(b []byte) ([]byte, error) {
	switch {
	case hasLLC(b):
		return b[llcSize:], nil
	case dlms.IsBlock(b):
		return b, nil
	}
	return nil, d.lose("LLC header", 0, len(b), drivers.ErrSyntax)
}

// The M-Bus long frame, EN 13757-2, as Austria's meters cut DLMS into it:
//
//	68 L L 68  C A CI SAP SAP data …  CS 16      L counts from C to the byte before CS
//
// CI: the segment's number in its low four bits, bit 4 set in the last one.
const (
	longStart   = 0x68
	longStop    = 0x16
	longHeader  = 9 // up to the data
	longCounted = 5 // of these L counts
	longAround  = 6 // start, L, L, start, CS, stop
	lastSegment = 0x10
	maxDLMSCI   = 0x1F // above are the CI-fields of EN 13757-3
)

var errMBus = drivers.WithHint(errors.New("M-Bus application data, not DLMS"), `this meter speaks M-Bus proper: driver = "mbus"`)

// nextLong takes the M-Bus long frame at the start of b. The sum is eight bits,
// so a good frame is still looked at with suspicion by what it carries.
func (d *Decoder) nextLong(b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, drivers.ErrMore
	}
	l := int(b[1])
	if l < longCounted {
		l += 256 // Sagemcom sends the low byte of 257 (corpus dlms-mbus-sagemcom-252)
	}
	switch size := l + longAround; {
	case b[1] != b[2] || b[3] != longStart:
		return nil, errNoise
	case len(b) < size:
		return nil, drivers.ErrMore
	case b[size-1] != longStop:
		return nil, d.broken("stop byte", size-1, drivers.ErrSyntax)
	default:
		return d.takeLong(b[:size])
	}
}

func (d *Decoder) takeLong(b []byte) ([]byte, error) {
	n := len(b)
	if sum := sum8(b[4 : n-2]); sum != b[n-2] {
		return nil, d.brokenCheck("checksum", n-2, uint32(b[n-2]), uint32(sum))
	}
	ci := b[6]
	if ci > maxDLMSCI {
		d.skip(n)
		return nil, d.lose("CI-field", 6, n, errMBus)
	}
	s := &d.longs
	number, path := ci&0x0F, b[5:6]
	switch {
	case s.active && (number != s.next&0x0F || s.path != pathOf(path)):
		s.drop()
		if number != 0 {
			d.skip(n)
		}
		return nil, d.lose("segment", 6, 0, errSegment)
	case !s.active && number != 0:
		d.skip(n)
		return nil, d.lose("segment", 6, n, errSegment)
	case !s.active:
		s.begin(path)
	}
	d.skip(n)
	if err := s.add(b[longHeader : n-2]); err != nil {
		return nil, d.lose("segment", 6, n, err)
	}
	if ci&lastSegment == 0 {
		return nil, nil
	}
	s.active = false
	return s.joined, nil
}

func sum8(b []byte) (sum byte) {
	for _, c := range b {
		sum += c
	}
	return sum
}

// appendLong appends one M-Bus long frame with a segment of an APDU.
func appendLong(b []byte, number int, last bool, data []byte) []byte {
	ci := byte(number & 0x0F)
	if last {
		ci |= lastSegment
	}
	l := byte(longCounted + len(data))
	b = append(b, longStart, l, l, longStart)
	start := len(b)
	b = append(b, 0x53, 0xFF, ci, 0x01, 0x67)
	b = append(b, data...)
	return append(b, sum8(b[start:]), longStop)
}
