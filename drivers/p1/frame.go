package p1

import (
	"bytes"
	"fmt"
	"math/bits"
	"sync"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Bounds of what a meter may send. DSMR 5 telegrams have 1 to 2 kB; five text
// messages of 2048 digits each are the most that is known (Luxembourg).
const (
	maxTelegram = 16 << 10
	maxLine     = 8 << 10
	maxIdent    = 128 // of an identification in the middle of a line
	minParity   = 16  // bytes with even parity that are no accident
	keepBuffer  = 64 << 10
)

// Why a telegram was lost, beside what drivers has names for.
var (
	errCut      = fmt.Errorf("telegram was cut: %w", drivers.ErrShort)
	errNoCRC    = fmt.Errorf("no CRC, which this meter sends: %w", drivers.ErrShort)
	errNoDigits = fmt.Errorf("not hexadecimal: %w", drivers.ErrSyntax)
	errParity   = fmt.Errorf("every byte has even parity: %w", drivers.ErrSyntax)
)

// What a person can do about it.
const (
	hintParity = "looks like 7E1: set mode=7E1 on the port, at 9600 baud for DSMR 2 and 3"
	hintNoCRC  = `if the meter sends no CRC any more, set check = "none"`
)

// telegram is a frame whose check held.
type telegram struct {
	text  []byte // from / to ! inclusive; valid until the next feed, or the next ciphered one
	check drivers.Check
}

// kind is what starts at the framer's position.
type kind byte

const (
	nothing  kind = iota
	plain         // a / that begins an identification line
	ciphered      // DB 08 and a believable header
	shifted       // a plain telegram with even parity in bit 7
)

// verdict is what looking for a start comes to.
type verdict byte

const (
	no verdict = iota
	yes
	wait // more bytes will tell
)

// framer finds telegrams in a stream, however it is cut. What it finds depends on
// the bytes and the gaps alone, never on how they were fed.
type framer struct {
	mode   string // Config.Check
	config *Config
	sealed *unsealer // opens ciphered telegrams; nil: none has come

	buf   []byte
	room  *[]byte // where buf came from; nil: the framer has none
	pos   int     // first byte that is not given up
	scan  int     // up to here nothing was found from pos on
	begin bool    // pos is the beginning of a line
	kind  kind    // what starts at pos
	gaps  []int   // offsets in buf before which the line fell silent
	murky int     // up to here lies what may be ciphertext, of a telegram that did not open
	lost  drivers.FrameError

	crcSeen bool // the meter has shown that it sends a CRC
	endSeen bool // and that it sends an end line
}

func newFramer(c *Config, u *unsealer) framer {
	return framer{mode: c.Check, config: c, sealed: u, begin: true}
}

func (f *framer) unsealer() *unsealer {
	if f.sealed == nil {
		f.sealed, _ = newUnsealer(f.config) // newDecoder saw that it can be made
	}
	return f.sealed
}

// rooms are shared by all framers: one needs room only while a telegram arrives.
var rooms = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// rest gives the room away until there is something to keep in it.
func (f *framer) rest() {
	if f.room == nil {
		return
	}
	*f.room = f.buf[:0]
	if cap(f.buf) <= maxTelegram {
		rooms.Put(f.room)
	}
	f.room, f.buf = nil, nil
	f.pos, f.scan, f.murky = 0, 0, 0
}

// feed takes the next bytes.
func (f *framer) feed(p []byte) {
	if f.room == nil {
		f.room, _ = rooms.Get().(*[]byte)
		f.buf = *f.room
	}
	if f.pos > 0 {
		n := copy(f.buf, f.buf[f.pos:])
		f.buf = f.buf[:n]
		f.scan = max(0, f.scan-f.pos)
		f.murky = max(0, f.murky-f.pos)
		for i := range f.gaps {
			f.gaps[i] -= f.pos
		}
		f.pos = 0
	}
	if cap(f.buf) > keepBuffer && len(f.buf)+len(p) < keepBuffer/2 {
		f.buf = append(make([]byte, 0, keepBuffer/2), f.buf...)
	}
	f.buf = append(f.buf, p...)
}

// gap says that the line fell silent behind what was fed.
func (f *framer) gap() { f.gaps = append(f.gaps, len(f.buf)) }

// next gives the next telegram, or ErrMore or ErrIdle, or one *FrameError.
func (f *framer) next() (telegram, error) {
	for {
		end, closed := f.limit()
		if f.kind == nothing && !f.hunt(end, closed) {
			if closed {
				f.passGap()
				continue
			}
			if f.isIdle() {
				f.rest()
				return telegram{}, drivers.ErrIdle
			}
			return telegram{}, drivers.ErrMore
		}
		return f.take(end, closed)
	}
}

// isIdle says whether nothing is begun, so that a gap would change nothing.
func (f *framer) isIdle() bool { return f.pos == len(f.buf) && f.begin && f.murky <= f.pos }

// limit is how far the bytes belong together, and whether a gap ends them there.
func (f *framer) limit() (end int, closed bool) {
	if len(f.gaps) > 0 {
		return f.gaps[0], true
	}
	return len(f.buf), false
}

// passGap goes on behind the first gap.
func (f *framer) passGap() {
	f.pos, f.begin = f.gaps[0], true
	f.scan, f.kind = f.pos, nothing
	f.gaps = append(f.gaps[:0], f.gaps[1:]...)
}

// moveTo gives up everything before p.
func (f *framer) moveTo(p int) {
	if p > f.pos {
		f.begin = f.buf[p-1] == '\n'
	}
	f.pos, f.scan, f.kind = p, p, nothing
}

// lose reports what starts at pos as lost and goes on one byte behind its start.
func (f *framer) lose(e drivers.FrameError) (telegram, error) {
	f.lost = e
	f.moveTo(f.pos + 1)
	return telegram{}, &f.lost
}

// hunt goes to the next start. false: there is none up to end.
func (f *framer) hunt(end int, closed bool) bool {
	for p := f.pos; p < end; p++ {
		k, v := f.startAt(p, end)
		if v == no || v == wait && closed {
			continue
		}
		if p > f.pos {
			f.moveTo(p)
		}
		f.kind = k
		return v == yes
	}
	f.moveTo(end)
	return false
}

// startAt says whether something starts at p.
func (f *framer) startAt(p, end int) (kind, verdict) {
	switch f.buf[p] {
	case '/':
		if f.lineBegins(p) && p >= f.murky {
			return plain, yes
		}
		return nothing.or(plain, header(f.buf[p:end]))
	case 0xDB:
		return nothing.or(ciphered, cipherHeader(f.buf[p:end]))
	case '/' | 0x80:
		if f.lineBegins(p) {
			return nothing.or(shifted, f.evenParity(p, end))
		}
	}
	return nothing, no
}

// or is k once v says yes: while it waits, nothing has started.
func (n kind) or(k kind, v verdict) (kind, verdict) {
	if v == yes {
		return k, v
	}
	return n, v
}

func (f *framer) lineBegins(p int) bool {
	if p == f.pos {
		return f.begin
	}
	return f.buf[p-1] == '\n'
}

// header says whether b, which begins with /, is an identification line with an
// empty line behind it.
func header(b []byte) verdict {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case i > maxIdent:
			return no
		case c == '\n':
			return emptyLine(b[i+1:])
		case c >= 0x7F || c < ' ' && c != '\r' && c != stx:
			return no
		}
	}
	return wait
}

// emptyLine says whether b begins with a line end.
func emptyLine(b []byte) verdict {
	if len(b) > 0 && b[0] == '\r' {
		b = b[1:]
	}
	switch {
	case len(b) == 0:
		return wait
	case b[0] == '\n':
		return yes
	}
	return no
}

// take gives what starts at pos. ErrMore: it is not complete.
func (f *framer) take(end int, closed bool) (telegram, error) {
	switch f.kind {
	case ciphered:
		return f.takeCiphered(end, closed)
	case shifted:
		return f.lose(drivers.FrameError{Field: "parity", Length: f.scan - f.pos, Err: errParity, Hint: hintParity})
	default: // plain, or Poland's form
	}
	switch body, v := clearHeader(f.buf[f.pos:end]); {
	case v == yes:
		return f.takeHeaded(body, end, closed)
	case v == wait && !closed:
		return telegram{}, drivers.ErrMore
	}
	return f.takePlain(end, closed)
}

// takePlain looks for the end line of the telegram at pos.
func (f *framer) takePlain(end int, closed bool) (telegram, error) {
	at, c := f.lineMark(end)
	known := min(at, end)
	if known-f.pos > maxLine {
		if n := tooLong(f.buf[f.pos:known]); n > 0 {
			return f.lose(drivers.FrameError{Field: "data line", Offset: n, Length: n, Err: drivers.ErrLong})
		}
	}
	switch {
	case c == '!':
		return f.takeEnd(at, end, closed)
	case c == '/':
		return f.lose(drivers.FrameError{Field: "end line", Offset: at - f.pos, Length: at - f.pos, Err: errCut})
	case !closed:
		f.scan = end
		return telegram{}, drivers.ErrMore
	case f.endless(end):
		return f.accept(end, end, drivers.CheckNone)
	}
	return f.lose(drivers.FrameError{Field: "end line", Offset: end - f.pos, Length: end - f.pos, Err: errCut})
}

// lineMark finds the first ! or / that begins a line behind pos. Without one it
// is (end, 0).
func (f *framer) lineMark(end int) (at int, c byte) {
	from := max(f.scan, f.pos+1)
	stop := f.markIn(from, end, '!')
	if slash := f.markIn(from, stop, '/'); slash < stop {
		return slash, '/'
	}
	if stop < end {
		return stop, '!'
	}
	return end, 0
}

// markIn is the first c in [from, to) that begins a line, or to.
func (f *framer) markIn(from, to int, c byte) int {
	for p := from; p < to; p++ {
		i := bytes.IndexByte(f.buf[p:to], c)
		if i < 0 {
			return to
		}
		if p += i; f.buf[p-1] == '\n' {
			return p
		}
	}
	return to
}

// tooLong is where b passes a bound, of a line or of a telegram, or 0.
func tooLong(b []byte) int {
	for start := 0; start < len(b); {
		n := bytes.IndexByte(b[start:], '\n')
		if n < 0 {
			n = len(b) - start
		}
		if n > maxLine {
			return min(start+maxLine, maxTelegram)
		}
		start += n + 1
	}
	if len(b) > maxTelegram {
		return maxTelegram
	}
	return 0
}

// takeEnd reads the end line that begins at bang.
func (f *framer) takeEnd(bang, end int, closed bool) (telegram, error) {
	crc, n, v := endLine(f.buf[bang+1 : end])
	if v == wait && !closed {
		f.scan = bang
		return telegram{}, drivers.ErrMore
	}
	after := bang + 1 + n
	switch {
	case v == no:
		return f.lose(f.badEnd(bang, errNoDigits))
	case n == 0:
		return f.takeUnchecked(bang)
	}
	want, ok := f.crcOf(f.buf[f.pos:bang+1], crc)
	if !ok {
		e := f.badEnd(bang, drivers.ErrChecksum)
		e.Got, e.Want = uint32(crc), uint32(want)
		return f.lose(e)
	}
	if at := secondHead(f.buf[f.pos:bang]); at > 0 {
		return f.lose(drivers.FrameError{Field: "end line", Offset: at, Length: at, Err: errCut})
	}
	f.crcSeen = true
	return f.accept(bang, after, drivers.CheckCRC16)
}

// secondHead is where another telegram begins within b, in the middle of a line
// that was cut: at a / whose line an empty one follows, as behind every
// identification. 0: nowhere. One in 65,536 such splices has a CRC that fits.
func secondHead(b []byte) int {
	for at := 1; ; at++ {
		n := bytes.IndexByte(b[at:], '/')
		if n < 0 {
			return 0
		}
		at += n
		line := bytes.IndexByte(b[at:], '\n') + 1
		if line > 0 && (bytes.HasPrefix(b[at+line:], newline) || bytes.HasPrefix(b[at+line:], crlf)) && !inIdent(b[:at]) {
			return at
		}
	}
}

// inIdent says whether what stands before a / is still the identification.
func inIdent(before []byte) bool { return bytes.IndexByte(before, '\n') < 0 }

// endLine reads what stands behind the !: up to four hexadecimal digits, in
// either case. Fewer than four need something behind them that ends them. no: it
// is something else.
func endLine(b []byte) (crc uint16, digits int, v verdict) {
	for digits < 4 && digits < len(b) {
		d, ok := wire.HexDigit(b[digits])
		if !ok {
			break
		}
		crc = crc<<4 | uint16(d)
		digits++
	}
	switch {
	case digits == 4:
		return crc, digits, yes
	case digits == len(b):
		return crc, digits, wait
	case b[digits] == '\r', b[digits] == '\n', b[digits] == '/' && digits > 0:
		return crc, digits, yes
	}
	return crc, digits, no
}

func (f *framer) badEnd(bang int, err error) drivers.FrameError {
	return drivers.FrameError{Field: "CRC", Offset: bang + 1 - f.pos, Length: bang + 1 - f.pos, Err: err}
}

// crcOf computes the CRC of b and says whether it is the one that was sent. If it
// is not, and b holds no CR, it tries with a CR before each LF.
func (f *framer) crcOf(b []byte, sent uint16) (uint16, bool) {
	crc := wire.ARC.Update(0, b)
	if crc == sent || bytes.IndexByte(b, '\r') >= 0 {
		return crc, crc == sent
	}
	whole := uint16(0)
	for {
		n := bytes.IndexByte(b, '\n')
		if n < 0 {
			break
		}
		whole = wire.ARC.Update(whole, b[:n])
		whole = wire.ARC.Update(whole, crlf)
		b = b[n+1:]
	}
	whole = wire.ARC.Update(whole, b)
	return crc, whole == sent
}

var (
	crlf    = []byte("\r\n")
	newline = crlf[1:]
)

// takeUnchecked takes a telegram without a CRC, if that may be and its form is
// beyond doubt.
func (f *framer) takeUnchecked(bang int) (telegram, error) {
	if f.mode == checkCRC || f.crcSeen && f.mode != checkNone {
		e := f.badEnd(bang, errNoCRC)
		e.Hint = hintNoCRC
		return f.lose(e)
	}
	if at := strict(f.buf[f.pos:bang]); at >= 0 {
		return f.lose(drivers.FrameError{Field: "data line", Offset: at, Length: bang + 1 - f.pos, Err: drivers.ErrSyntax})
	}
	return f.accept(bang, bang+1, drivers.CheckNone)
}

// endless says whether the bytes up to a gap may stand for a telegram although no
// end line came: only where the configuration says that there is no check, the
// meter has never sent an end line, and the last line is whole.
func (f *framer) endless(end int) bool {
	return f.mode == checkNone && !f.endSeen && f.buf[end-1] == '\n' && strict(f.buf[f.pos:end]) < 0
}

// accept gives the telegram that ends at bang and goes on at after.
func (f *framer) accept(bang, after int, check drivers.Check) (telegram, error) {
	t := telegram{text: f.buf[f.pos:min(bang+1, after)], check: check}
	f.endSeen = f.endSeen || bang < after
	f.moveTo(after)
	f.begin = true
	return t, nil
}

// strict says where b, a telegram up to its end line, leaves the form that is
// demanded when no CRC vouches for it, or -1.
func strict(b []byte) int {
	for i, c := range b {
		if c >= 0x80 {
			return i
		}
	}
	ident := bytes.IndexByte(b, '\n') + 1
	groups := 0 // of the line before, which a line with ( goes on with
	lines := 0
	for at := ident; at < len(b); {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return at
		}
		line := bytes.TrimSuffix(b[at:at+n], crlf[:1])
		if len(line) > 0 {
			joined := line[0] == '('
			if joined && groups == 0 {
				return at
			}
			if groups = strictLine(line, joined); groups == 0 {
				return at
			}
			lines++
		}
		at += n + 1
	}
	if ident == 0 || lines == 0 {
		return 0
	}
	return -1
}

// strictLine counts the groups of a line ID(v)(v)…; 0: it is none. A joined line
// has no ID.
func strictLine(b []byte, joined bool) (groups int) {
	id := bytes.IndexByte(b, '(')
	if id < 0 || id == 0 && !joined {
		return 0
	}
	for _, c := range b[:id] {
		if !idByte[c] {
			return 0
		}
	}
	for b = b[id:]; len(b) > 0; groups++ {
		if b[0] != '(' {
			return 0
		}
		n := bytes.IndexByte(b, ')')
		if n < 0 {
			return 0
		}
		for _, c := range b[1:n] {
			if c < ' ' || c == '(' || c == 0x7F {
				return 0
			}
		}
		b = b[n+1:]
	}
	return groups
}

// idByte are the characters that the address of a data set consists of: digits,
// the letters that IEC 62056-21 prints for 96 to 99, and separators.
var idByte = func() (t [256]bool) {
	for _, c := range "0123456789ABCDEFLP-:.*&" {
		t[c] = true
	}
	return t
}()

// evenParity says whether a telegram with even parity in bit 7 starts at p, as a
// 7E1 meter gives on an 8N1 line. It remembers how far it has looked.
func (f *framer) evenParity(p, end int) verdict {
	from := p
	if p == f.pos {
		from = max(from, f.scan)
	}
	for i := from; i < end; i++ {
		c := f.buf[i]
		switch {
		case bits.OnesCount8(c)%2 != 0 || i-p > maxTelegram:
			return no
		case c == f.buf[p] && i > p && f.buf[i-1] == '\n':
			return no // another start: the search begins anew there
		case c == '!' && f.buf[i-1] == '\n' && i-p > minParity:
			f.moveTo(p)
			f.scan = i + 1
			return yes
		}
	}
	f.moveTo(p)
	f.scan = end
	return wait
}
