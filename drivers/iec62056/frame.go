package iec62056

import (
	"bytes"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Bounds of what a meter may send. A load profile of months in one block is the
// most that is known.
const (
	maxBlock   = 256 << 10
	maxLine    = 4 << 10
	keepBuffer = 64 << 10
)

// Why a data message was lost, beside what drivers has names for.
var (
	errCut    = fmt.Errorf("data message was cut: %w", drivers.ErrShort)
	errStart  = fmt.Errorf("a BCC without its STX: %w", drivers.ErrSyntax)
	errParity = fmt.Errorf("parity: %w", drivers.ErrChecksum)
	errBehind = fmt.Errorf("something follows the end line: %w", drivers.ErrSyntax)
)

const hintP1 = "a CRC behind the ! is how P1 meters end a telegram: try the driver p1"

// message is a data message whose check held: its data lines without STX, ETX and
// BCC, from the first line to before the end line or the last character.
type message struct {
	ident []byte // the identification line before it; nil: none
	text  []byte
	check drivers.Check
	last  bool // no further partial block follows
	whole bool // it ended with a ! line: a readout
}

// framer finds data messages in a stream, however it is cut: what it finds
// depends on the bytes and the gaps alone.
type framer struct {
	raw  []byte // as received
	buf  []byte // the same without bit 7
	pos  int    // first byte that is not given up
	scan int    // bytes from pos on that were looked at in vain
	sets bool   // among them is a data line, of a message without STX

	gaps  []int // offsets before which the line fell silent
	murky int   // up to here lies what is left of a damaged block: no data line starts there
	ident []byte
	named bool // ident holds a line that no message has used
	lost  drivers.FrameError
}

// feed takes the next bytes.
func (f *framer) feed(p []byte) {
	if f.pos > 0 {
		n := copy(f.buf, f.buf[f.pos:])
		copy(f.raw, f.raw[f.pos:])
		f.buf, f.raw = f.buf[:n], f.raw[:n]
		f.murky = max(0, f.murky-f.pos)
		for i := range f.gaps {
			f.gaps[i] -= f.pos
		}
		f.pos = 0
	}
	if cap(f.buf) > keepBuffer && len(f.buf)+len(p) < keepBuffer/2 {
		f.buf = append(make([]byte, 0, keepBuffer/2), f.buf...)
		f.raw = append(make([]byte, 0, keepBuffer/2), f.raw...)
	}
	f.raw = append(f.raw, p...)
	f.buf = appendStripped(f.buf, p)
}

// gap says that the line fell silent behind what was fed.
func (f *framer) gap() { f.gaps = append(f.gaps, len(f.buf)) }

// next gives the next data message, ErrMore, or one *FrameError.
func (f *framer) next() (message, error) {
	for {
		end, closed := len(f.buf), false
		if len(f.gaps) > 0 {
			end, closed = f.gaps[0], true
		}
		b := f.buf[f.pos:end]
		if len(b) == 0 {
			if !closed {
				return message{}, drivers.ErrMore
			}
			f.gaps = append(f.gaps[:0], f.gaps[1:]...)
			continue
		}
		m, found, err := f.take(b, closed)
		if found || err != nil {
			return m, err
		}
	}
}

// take looks at what b begins with: a message, or bytes to pass over.
func (f *framer) take(b []byte, closed bool) (message, bool, error) {
	switch c := b[0]; {
	case c == stx:
		return f.takeBlock(b, closed)
	case c == soh:
		return f.takeCommand(b, closed)
	case c == '/':
		return f.takeIdentification(b, closed)
	case c <= ' ' || c > '~' || f.pos < f.murky:
		f.skip(1)
		return message{}, false, nil
	}
	return f.takeLines(b, closed)
}

// skip gives up the next n bytes.
func (f *framer) skip(n int) { f.pos, f.scan, f.sets = f.pos+n, 0, false }

func more() (message, bool, error) { return message{}, false, drivers.ErrMore }

// lose reports n bytes from pos on as lost. The search goes on one byte behind
// their start, for a damaged start may hide a good one, but no data line among
// them counts.
func (f *framer) lose(e drivers.FrameError, n int) (message, bool, error) {
	e.Length = n
	f.lost = e
	f.murky = max(f.murky, f.pos+n)
	f.skip(1)
	return message{}, false, &f.lost
}

// takeBlock takes STX … ETX BCC, or STX … EOT BCC of a partial block. STX … ! and
// silence is a readout without a BCC.
func (f *framer) takeBlock(b []byte, closed bool) (message, bool, error) {
	at, c := blockMark(b, max(1, f.scan))
	switch {
	case at > maxBlock:
		return f.lose(drivers.FrameError{Field: "ETX", Offset: maxBlock, Err: drivers.ErrLong}, maxBlock)
	case c == stx || c == soh:
		return f.lose(drivers.FrameError{Field: "ETX", Offset: at, Err: errCut}, at)
	case at+1 < len(b):
		return f.checked(b, at)
	case !closed:
		f.scan = min(at, len(b))
		return more()
	case c == 0 && endsWhole(b):
		return f.accept(len(b), message{text: body(b[1:]), last: true, whole: true})
	}
	return f.lose(drivers.FrameError{Field: "ETX", Offset: len(b), Err: errCut}, len(b))
}

// blockMark is the first control character from from on that ends a block or
// begins another. Without one it is (len(b), 0).
func blockMark(b []byte, from int) (at int, c byte) {
	at = len(b)
	for _, mark := range [...]byte{etx, eot, stx, soh} {
		if i := bytes.IndexByte(b[min(from, at):at], mark); i >= 0 {
			at, c = from+i, mark
		}
	}
	return at, c
}

// checked holds the block that ends at b[at] against its BCC.
func (f *framer) checked(b []byte, at int) (message, bool, error) {
	want := BlockCheck(b[1 : at+1])
	if got := b[at+1]; got != want {
		return f.lose(drivers.FrameError{Field: "BCC", Offset: at + 1, Got: uint32(got), Want: uint32(want), Err: drivers.ErrChecksum}, at+2)
	}
	whole := endsWhole(b[:at])
	m := message{text: b[1:at], last: b[at] == etx, whole: whole, check: drivers.CheckBCC}
	if whole {
		m.text = body(m.text)
	}
	return f.accept(at+2, m)
}

// endsWhole says whether b, from STX on, ends with a ! line.
func endsWhole(b []byte) bool {
	n := len(b)
	for n > 0 && (b[n-1] == '\r' || b[n-1] == '\n') {
		n--
	}
	return n > 1 && b[n-1] == '!' && (b[n-2] == '\n' || b[n-2] == '\r' || b[n-2] == stx || b[n-2] == ')')
}

// body is b up to its end line.
func body(b []byte) []byte { return b[:bytes.LastIndexByte(b, '!')] }

// accept gives the message of the next n bytes, if parity that was left in bit 7
// holds in all of them.
func (f *framer) accept(n int, m message) (message, bool, error) {
	raw := f.raw[f.pos : f.pos+n]
	if hasHighBit(raw) {
		if at := oddByte(raw); at >= 0 {
			return f.lose(drivers.FrameError{Field: "parity", Offset: at, Got: uint32(raw[at]), Want: uint32(raw[at] ^ 0x80), Err: errParity}, n)
		}
		m.check = max(m.check, drivers.CheckParity)
	}
	if f.named {
		m.ident, f.named = f.ident, false
	}
	f.skip(n)
	return m, true, nil
}

// takeCommand passes over SOH … ETX BCC: what the reader sends, and the meter's
// P0 and B0.
func (f *framer) takeCommand(b []byte, closed bool) (message, bool, error) {
	n := 1
	for n < len(b) && n < maxLine && b[n] != etx && b[n] != eot && b[n] != soh {
		n++
	}
	switch {
	case n+1 < len(b) && (b[n] == etx || b[n] == eot) && b[n+1] == BlockCheck(b[1:n+1]):
		f.skip(n + 2)
	case n+1 < len(b) || n >= maxLine || closed:
		f.skip(1)
	default:
		return more()
	}
	return message{}, false, nil
}

// takeIdentification keeps an identification line for the message behind it.
// Anything else that begins with / is passed over, so the echo of a request too.
func (f *framer) takeIdentification(b []byte, closed bool) (message, bool, error) {
	line, size, v := cutLine(b[:min(len(b), maxIdent+2)], closed || len(b) > maxIdent+1)
	switch {
	case v == wait:
		return more()
	case v == no || !isIdentification(line):
		f.skip(1)
	default:
		f.ident, f.named = append(f.ident[:0], line...), true
		f.skip(size)
	}
	return message{}, false, nil
}

// verdict is what looking at a line comes to.
type verdict byte

const (
	no verdict = iota
	yes
	wait // more bytes will tell
)

// cutLine is the line that b begins with, without its end (CR LF, LF or CR), and
// how many bytes it takes. no: another control character is in it, at size.
func cutLine(b []byte, closed bool) (line []byte, size int, v verdict) {
	for i, c := range b {
		switch {
		case c == '\n':
			return b[:i], i + 1, yes
		case c == '\r' && i+1 < len(b):
			if b[i+1] == '\n' {
				return b[:i], i + 2, yes
			}
			return b[:i], i + 1, yes
		case c == '\r' && closed:
			return b[:i], i + 1, yes
		case c == '\r':
			return nil, 0, wait
		case c < ' ' || c > '~':
			return nil, i, no
		}
	}
	if closed {
		return b, len(b), yes
	}
	return nil, 0, wait
}

// takeLines takes a readout without STX: data lines and a ! line. No check vouches
// for it, so each line must have the form of one.
func (f *framer) takeLines(b []byte, closed bool) (message, bool, error) {
	for f.scan < len(b) {
		at := f.scan
		switch c := b[at]; {
		case c == '\r' || c == '\n':
			f.scan++
			continue
		case c == '!' && f.sets:
			return f.takeEnd(b, at, closed)
		case c == '/' || at > maxBlock:
			return f.giveUp(at)
		}
		head := b[at:min(len(b), at+maxLine)]
		line, size, v := cutLine(head, closed && len(head) < maxLine)
		switch {
		case v == wait && len(head) < maxLine:
			return more()
		case v == no:
			return f.giveUp(at + size)
		case v == wait || !strictLine(line, f.sets):
			return f.giveUp(at + noise(head, size))
		}
		f.sets, f.scan = true, at+size
	}
	if !closed {
		return more()
	}
	return f.giveUp(len(b))
}

// noise is how much of a line that is no data line can be passed over: all of it,
// but an identification may begin inside.
func noise(b []byte, size int) int {
	if size == 0 {
		size = len(b)
	}
	if i := bytes.IndexByte(b[1:size], '/'); i >= 0 {
		return i + 1
	}
	return size
}

// giveUp passes over n bytes. It is a loss if there was a data line among them.
func (f *framer) giveUp(n int) (message, bool, error) {
	sets := f.sets
	f.skip(n)
	if !sets {
		return message{}, false, nil
	}
	f.lost = drivers.FrameError{Field: "end line", Offset: n, Length: n, Err: errCut}
	return message{}, false, &f.lost
}

// takeEnd takes the ! at b[at]: a line of its own, with nothing behind it but the
// next message.
func (f *framer) takeEnd(b []byte, at int, closed bool) (message, bool, error) {
	n := at + 1
	for n < len(b) && (b[n] == '\r' || b[n] == '\n') {
		n++
	}
	switch {
	case n == len(b) && !closed:
		f.scan = at
		return more()
	case n < len(b) && (b[n] == etx || b[n] == eot):
		return f.loseLines(drivers.FrameError{Field: "STX", Err: errStart}, n+1)
	case n < len(b) && n == at+1:
		return f.loseLines(drivers.FrameError{Field: "end line", Offset: n, Err: errBehind, Hint: hintP1}, n)
	}
	return f.accept(n, message{text: b[:at], last: true, whole: true})
}

// loseLines reports n bytes as lost and goes on behind them: they have been looked
// at to the end.
func (f *framer) loseLines(e drivers.FrameError, n int) (message, bool, error) {
	e.Length = n
	f.lost = e
	f.skip(n)
	return message{}, false, &f.lost
}

// strictLine says whether a line consists of data sets and nothing else. The first
// one needs an address.
func strictLine(b []byte, goesOn bool) bool {
	if b[0] == '(' && !goesOn {
		return false
	}
	for len(b) > 0 {
		open := bytes.IndexByte(b, '(')
		if open < 0 {
			return false
		}
		for _, c := range b[:open] {
			if !idByte[c] {
				return false
			}
		}
		b = b[open+1:]
		shut := bytes.IndexByte(b, ')')
		if shut < 0 || bytes.IndexByte(b[:shut], '(') >= 0 {
			return false
		}
		b = b[shut+1:]
	}
	return true
}

// idByte are the characters of an address: digits, the letters that stand for
// 96 to 99, and separators.
var idByte = func() (t [256]bool) {
	for _, c := range "0123456789ABCDEFLP-:.*&_" {
		t[c] = true
	}
	return t
}()
