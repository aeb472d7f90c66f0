package mbus

import (
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Bytes that frames begin and end with, EN 13757-2, 5.
const (
	ackByte    = 0xE5
	shortStart = 0x10
	longStart  = 0x68
	stopByte   = 0x16
)

// Kind is the form of a Frame.
type Kind uint8

// The frames of EN 13757-2.
const (
	Ack     Kind = iota // E5
	Short               // 10 C A CS 16
	Control             // 68 03 03 68 C A CI CS 16
	Long                // 68 L L 68 C A CI data CS 16
)

// Frame is one link frame. Its slices are the Framer's: valid until its next
// Feed or Next.
type Frame struct {
	Kind Kind
	C    byte // C-field: what is asked or answered
	A    byte // A-field: primary address
	CI   byte // CI-field: what Data is
	Data []byte
	Raw  []byte // all of it, from start byte to stop byte
}

// dataAt is where Data stands in a long frame.
const dataAt = 7

// FromMaster says that a master sent the frame: it, not a meter, spoke. An
// acknowledgement is a meter's.
func (f *Frame) FromMaster() bool { return f.Kind != Ack && f.C&0x40 != 0 }

// Framer finds the frames in a stream of bytes, however it is cut. After a frame
// that fails a check it goes on one byte behind that frame's start, so a false
// start never hides a true one. The zero Framer is ready.
type Framer struct {
	buf    []byte
	start  int // where the next frame begins, or noise
	closed int // what lies before it ended with a Gap: no frame reaches beyond
	fault  drivers.FrameError
}

// Feed takes the next bytes. p is not kept.
func (f *Framer) Feed(p []byte) {
	if f.start > 0 {
		n := copy(f.buf, f.buf[f.start:])
		f.buf = f.buf[:n]
		f.closed = max(0, f.closed-f.start)
		f.start = 0
	}
	f.buf = append(f.buf, p...)
}

// Gap says that the line fell silent: what is unfinished is lost.
func (f *Framer) Gap() { f.closed = len(f.buf) }

// Next is the next frame; or ErrMore; or a *FrameError, one frame was lost, call
// again. Bytes that begin no frame are passed over without a word.
func (f *Framer) Next(to *Frame) error {
	for f.start < len(f.buf) {
		b, whole := f.buf[f.start:], false
		if f.closed > f.start {
			b, whole = f.buf[f.start:f.closed], true
		}
		n, verdict := f.measure(b, whole)
		switch verdict {
		case good:
			f.start += n
			to.take(b[:n])
			return nil
		case incomplete:
			return drivers.ErrMore
		case lost:
			f.start++
			return &f.fault
		case noise:
			f.start++
		}
	}
	return drivers.ErrMore
}

// take splits a frame that has passed all checks.
func (f *Frame) take(raw []byte) {
	*f = Frame{Raw: raw}
	switch raw[0] {
	case ackByte:
		f.Kind = Ack
	case shortStart:
		f.Kind, f.C, f.A = Short, raw[1], raw[2]
	default:
		f.Kind, f.C, f.A, f.CI = Long, raw[4], raw[5], raw[6]
		f.Data = raw[dataAt : len(raw)-2]
		if len(f.Data) == 0 {
			f.Kind = Control
		}
	}
}

// verdict is what the first bytes of a stream are.
type verdict uint8

const (
	good       verdict = iota // a frame
	incomplete                // perhaps one, when more bytes have come
	lost                      // one that fails a check: the fault is set
	noise                     // none
)

// measure looks at a frame that begins with b[0]; whole: no byte follows b. n is
// the length of a good one.
func (f *Framer) measure(b []byte, whole bool) (n int, v verdict) {
	switch b[0] {
	case ackByte:
		return 1, good
	case shortStart:
		return f.measureShort(b, whole)
	case longStart:
		return f.measureLong(b, whole)
	}
	return 0, noise
}

// measureShort takes 10 for a start only if sum or stop byte fits: it is a
// common byte in noise.
func (f *Framer) measureShort(b []byte, whole bool) (int, verdict) {
	if len(b) < 5 {
		return 0, unfinished(whole, noise)
	}
	sum := b[1] + b[2]
	switch {
	case b[3] == sum && b[4] == stopByte:
		return 5, good
	case b[4] == stopByte:
		return f.badSum(3, 5, b[3], sum)
	case b[3] == sum:
		return f.broken("stop byte", 4, 5, drivers.ErrSyntax)
	}
	return 0, noise
}

// measureLong checks 68 L L 68 … CS 16: both L equal, at least 3, the sum from C
// to the last byte of data.
func (f *Framer) measureLong(b []byte, whole bool) (int, verdict) {
	if len(b) < 4 {
		if whole && len(b) == 3 && b[1] == b[2] {
			return f.broken("L-field", 3, 3, drivers.ErrShort)
		}
		return 0, unfinished(whole, noise)
	}
	twice, again := b[1] == b[2], b[3] == longStart
	switch {
	case !twice && !again:
		return 0, noise
	case !twice:
		return f.broken("L-field", 2, 4, drivers.ErrSyntax)
	case !again:
		return f.broken("start byte", 3, 4, drivers.ErrSyntax)
	case b[1] < 3:
		return f.broken("L-field", 1, 4, drivers.ErrShort)
	}
	n := int(b[1]) + 6
	if len(b) < n {
		if whole {
			return f.broken("frame", len(b), len(b), drivers.ErrShort)
		}
		return 0, incomplete
	}
	if sum := wire.Sum8(b[4 : n-2]); b[n-2] != sum {
		return f.badSum(n-2, n, b[n-2], sum)
	}
	if b[n-1] != stopByte {
		return f.broken("stop byte", n-1, n, drivers.ErrSyntax)
	}
	return n, good
}

// unfinished is what to say of too few bytes.
func unfinished(whole bool, ended verdict) verdict {
	if whole {
		return ended
	}
	return incomplete
}

func (f *Framer) broken(field string, at, length int, err error) (int, verdict) {
	f.fault = drivers.FrameError{Field: field, Offset: at, Length: length, Err: err}
	return 0, lost
}

func (f *Framer) badSum(at, length int, got, want byte) (int, verdict) {
	f.fault = drivers.FrameError{
		Field: "checksum", Offset: at, Length: length,
		Got: uint32(got), Want: uint32(want), Err: drivers.ErrChecksum,
	}
	return 0, lost
}

// unread gives back the frame of n bytes that Next gave last.
func (f *Framer) unread(n int) { f.start -= n }
