package mbus

import (
	"bytes"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Wireless telegrams, EN 13757-4:
//
//	L C  M M  ID ID ID ID V T  CI …       L counts what follows, but no CRC in format A
//
//	A   CRC behind the first 10 bytes, then behind each 16 and behind the rest
//	B   CRC behind 126 bytes, or at the end, and behind the rest; L counts them
//
// Receivers often take the CRCs off: then nothing but what is inside vouches for
// a telegram.
const (
	linkHeader  = 10 // L to T
	blockA      = 16
	blockB      = 126
	crcLength   = 2
	leastLength = linkHeader // of L: there is a CI-field
)

// receiver takes telegrams out of what a radio receiver sends: bytes, or lines of
// text with a telegram in hex in each, as most programs and sticks print them.
type receiver struct {
	buf    []byte
	start  int
	from   int // where what was looked at last began
	closed int // what lies before it ended with a Gap
	given  int // what lies before it was given up with a telegram, and told
	form   inputForm
	strict bool // CRCs have been seen: a telegram without is a damaged one
	plain  []byte
	fault  drivers.FrameError
	head   []byte // of the telegram that was lost: its link header, if a CRC vouches for it
}

// inputForm is what a receiver sends, told by its first bytes.
type inputForm uint8

const (
	undecided inputForm = iota
	asBytes
	asLines
)

// enough is how many bytes tell text from telegrams: a telegram has bytes among
// them that no text has.
const enough = 24

// maxTextLine bounds a line of text: the longest telegram in hex and what a
// receiver adds.
const maxTextLine = 2048

func (r *receiver) feed(p []byte) {
	if r.start > 0 {
		n := copy(r.buf, r.buf[r.start:])
		r.buf = r.buf[:n]
		r.closed = max(0, r.closed-r.start)
		r.given = max(0, r.given-r.start)
		r.start = 0
	}
	r.buf = append(r.buf, p...)
}

func (r *receiver) gap() { r.closed = len(r.buf) }

// next is the next telegram without its CRCs, in memory that the caller may
// change until the next call, and what vouches for it.
func (r *receiver) next() ([]byte, drivers.Check, error) {
	for r.start < len(r.buf) {
		b, whole := r.buf[r.start:], false
		if r.closed > r.start {
			b, whole = r.buf[r.start:r.closed], true
		}
		r.from, r.head = r.start, nil
		if r.form == undecided {
			if len(b) < enough && !whole {
				return nil, 0, drivers.ErrMore
			}
			r.form = formOf(b)
		}
		switch {
		case r.form == asLines && !r.line(b, whole):
			return nil, 0, drivers.ErrMore
		case r.form == asLines && len(r.plain) > 0:
			return r.printed()
		case r.form == asLines:
		case plausible(b, whole):
			plain, check, err := r.sent(b, whole)
			if plain != nil || err != nil {
				return plain, check, err
			}
		default:
			r.start++
		}
	}
	return nil, 0, drivers.ErrMore
}

// sent takes the telegram that b begins with; nothing if it is no telegram, and
// that was told.
func (r *receiver) sent(b []byte, whole bool) (plain []byte, check drivers.Check, err error) {
	n, check := r.measure(b)
	switch {
	case n <= len(b):
		plain, check, err = r.strip(b[:n], check)
	case whole:
		n = len(b)
		err = r.lose("frame", n, n, drivers.ErrShort)
	default:
		return nil, 0, drivers.ErrMore
	}
	if err == nil {
		r.start += n
		return plain, check, nil
	}
	if !r.giveUp(n) {
		return nil, 0, nil
	}
	return nil, 0, err
}

// giveUp leaves a damaged telegram of n bytes. Where CRCs tell a telegram from what
// looks like one, the next may begin inside it: its length may be what is damaged.
// news: it does not begin in what was given up before, which may have been of
// format A, and longer.
func (r *receiver) giveUp(n int) (news bool) {
	if !r.strict {
		r.start += n
		return true
	}
	if news = r.start >= r.given; news {
		r.given = r.start + n + crcLength*(2+n/blockA)
	}
	r.start++
	return news
}

// printed takes the telegram of a line, which must be all of it.
func (r *receiver) printed() ([]byte, drivers.Check, error) {
	n, check := r.measure(r.plain)
	if n != len(r.plain) || !plausible(r.plain, true) {
		return nil, 0, r.lose("L-field", 0, len(r.plain), drivers.ErrSyntax)
	}
	return r.strip(r.plain, check)
}

func (r *receiver) lose(field string, at, length int, err error) error {
	r.fault = drivers.FrameError{Field: field, Offset: at, Length: length, Err: err}
	return &r.fault
}

// formOf tells text from telegrams.
func formOf(b []byte) inputForm {
	b = b[:min(len(b), enough)]
	for _, c := range b {
		if c != '\r' && c != '\n' && c != '\t' && (c < ' ' || c > '~') {
			return asBytes
		}
	}
	if len(b) == enough {
		return asLines
	}
	return asBytes
}

// line takes the telegram of the next line into r.plain; nothing if it has none.
// false: the line goes on.
func (r *receiver) line(b []byte, whole bool) bool {
	r.plain = r.plain[:0]
	n := bytes.IndexByte(b, '\n')
	switch {
	case n >= 0:
		r.start += n + 1
		b = b[:n]
	case whole || len(b) > maxTextLine:
		r.start += len(b)
	default:
		return false
	}
	r.plain, _ = wire.AppendHex(r.plain, lastHex(b))
	return true
}

// lastHex is the last run of hexadecimal digits that may be a telegram.
func lastHex(b []byte) []byte {
	for end := len(b); end > 0; end-- {
		start := end
		for start > 0 {
			if _, ok := wire.HexDigit(b[start-1]); !ok {
				break
			}
			start--
		}
		if end-start >= 2*(leastLength+1) {
			return b[start:end]
		}
		end = max(start, 1)
	}
	return nil
}

// plausible says whether a telegram may begin with b: a link's C-field, and a
// manufacturer of letters. With few bytes there the doubt counts for it, unless
// no more will come.
func plausible(b []byte, whole bool) bool {
	if len(b) < 4 {
		return !whole
	}
	if b[0] < leastLength {
		return false
	}
	switch b[1] {
	case 0x44, 0x46, 0x47, 0x48, 0x40, 0x53, 0x73, 0x5A, 0x7A, 0x5B, 0x7B,
		0x00, 0x08, 0x18, 0x28, 0x38:
	default:
		return false
	}
	word := uint16(b[2]) | uint16(b[3])<<8
	for shift := 0; shift < 15; shift += 5 {
		if c := word >> shift & 31; c < 1 || c > 26 {
			return false
		}
	}
	return true
}

// measure finds how long the telegram at b[0] is and which check it carries. With
// too few bytes to tell, more than there are.
func (r *receiver) measure(b []byte) (int, drivers.Check) {
	n := int(b[0]) + 1
	if len(b) < linkHeader+crcLength {
		return max(n, linkHeader+crcLength), drivers.CheckNone
	}
	if sealed(b[:linkHeader+crcLength]) {
		r.head = b[:linkHeader]
		rest := n - linkHeader
		return n + crcLength + (rest+blockA-1)/blockA*crcLength, drivers.CheckCRC16
	}
	return n, drivers.CheckNone
}

// sealed says whether b ends with its CRC, high byte first.
func sealed(b []byte) bool {
	n := len(b) - crcLength
	if n <= 0 {
		return false
	}
	crc := wire.CRC13757(b[:n])
	return b[n] == byte(crc>>8) && b[n+1] == byte(crc)
}

// unsealed tells which block, at a place of a telegram, does not end with its CRC.
func (r *receiver) unsealed(block []byte, at, length int) error {
	n := len(block) - crcLength
	if n <= 0 {
		return r.lose("CRC", at+len(block), length, drivers.ErrShort)
	}
	err := r.lose("CRC", at+n, length, drivers.ErrChecksum)
	r.fault.Got = uint32(block[n])<<8 | uint32(block[n+1])
	r.fault.Want = uint32(wire.CRC13757(block[:n]))
	return err
}

// strip takes the CRCs off a whole telegram. check says that it is of format A;
// else B is tried, and if that does not fit there are none.
func (r *receiver) strip(b []byte, check drivers.Check) ([]byte, drivers.Check, error) {
	first, size := linkHeader, blockA
	if check == drivers.CheckNone {
		first, size = blockB, 1<<8
		if !sealed(b[:min(len(b), blockB+crcLength)]) {
			if r.strict {
				return nil, 0, r.unsealed(b[:min(len(b), blockB+crcLength)], 0, len(b))
			}
			r.plain = append(r.plain[:0], b...)
			return r.plain, drivers.CheckNone, nil
		}
	}
	r.strict = true
	return r.blocks(b, first, size)
}

// blocks checks and joins blocks of a first and then of equal size.
func (r *receiver) blocks(b []byte, first, size int) ([]byte, drivers.Check, error) {
	plain := r.plain[:0]
	total, at := len(b), 0
	for n := first + crcLength; len(b) > 0; n = size + crcLength {
		n = min(n, len(b))
		if !sealed(b[:n]) {
			return nil, 0, r.unsealed(b[:n], at, total)
		}
		plain = append(plain, b[:n-crcLength]...)
		r.head = plain[:min(len(plain), linkHeader)]
		b = b[n:]
		at += n
	}
	r.plain = plain
	return plain, drivers.CheckCRC16, nil
}
