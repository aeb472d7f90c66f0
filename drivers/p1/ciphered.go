package p1

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// A ciphered telegram is a general-glo-ciphering APDU of DLMS (IEC 62056-5-3) in
// suite 0, with a plain telegram as its clear text. drivers/dlms deciphers; here
// is where such a telegram begins and ends on a line, and what is demanded of its
// clear text.
//
//	DB 08 title[8] LEN SC counter[4] ciphertext[n] tag[12]
const (
	titleEnd   = 10 // LEN stands there
	minSealed  = 17 // SC, counter and tag: LEN is more
	counterEnd = 5  // from SC on; the ciphertext stands there
	tagSize    = 12
	withTag    = 0x30
	withoutTag = 0x20
)

// Why a ciphered telegram was lost, beside what drivers/dlms has names for.
var (
	errDamaged = fmt.Errorf("neither the tag nor the CRC below it fits: %w", drivers.ErrChecksum)
	errBehind  = fmt.Errorf("more than a telegram in the clear text: %w", drivers.ErrSyntax)
	errNoStart = fmt.Errorf("clear text is no telegram: %w", drivers.ErrSyntax)
	errNoBang  = fmt.Errorf("no end line behind the ciphertext: %w", drivers.ErrSyntax)
)

const hintDamaged = "the key is right; if every telegram is lost like this, auth_key is not"

// cipherHeader says whether b, which begins with DB, is the header of a ciphered
// telegram: DB 08 title[8] LEN SC. The title begins with a maker's letters.
func cipherHeader(b []byte) verdict {
	if len(b) > 1 && b[1] != 8 {
		return no
	}
	for i := 2; i < min(len(b), 5); i++ {
		if b[i]|0x20 < 'a' || b[i]|0x20 > 'z' {
			return no
		}
	}
	return sealedSize(b, titleEnd)
}

// sealedSize says whether LEN, at an offset in b, and the SC behind it are those
// of a ciphered telegram.
func sealedSize(b []byte, at int) verdict {
	size, head, v := cipherSize(b, at)
	if v != yes {
		return v
	}
	if size <= minSealed || size >= maxTelegram || b[head] != withoutTag && b[head] != withTag {
		return no
	}
	return yes
}

// cipherSize is LEN, which stands at an offset in b, and where what it counts
// begins: one byte below 80, else 81 xx or 82 xx xx. b reaches the first byte that
// it counts if it says yes.
func cipherSize(b []byte, at int) (size, head int, v verdict) {
	if len(b) <= at+1 {
		return 0, 0, wait
	}
	switch extra := int(b[at]) - 0x80; {
	case extra < 0:
		return int(b[at]), at + 1, yes
	case extra != 1 && extra != 2:
		return 0, 0, no
	case len(b) <= at+1+extra:
		return 0, 0, wait
	case extra == 1:
		return int(b[at+1]), at + 2, yes
	default:
		return int(b[at+1])<<8 | int(b[at+2]), at + 3, yes
	}
}

// clearHeader says whether b, which begins with /, is a telegram of Poland's form:
// identification and empty line in clear, then a ciphered APDU without its DB and
// with an empty title. body is where that begins.
func clearHeader(b []byte) (body int, v verdict) {
	if v := header(b); v != yes {
		return 0, v
	}
	body = bytes.IndexByte(b, '\n') + 1
	body += bytes.IndexByte(b[body:], '\n') + 1
	if len(b) > body && b[body] != 0 {
		return 0, no
	}
	return body, sealedSize(b, body+1)
}

// takeCiphered opens the ciphered telegram at pos.
func (f *framer) takeCiphered(end int, closed bool) (telegram, error) {
	size, head, _ := cipherSize(f.buf[f.pos:end], titleEnd)
	after := f.pos + head + size
	if after > end {
		return f.unfinished(end, closed)
	}
	t, err := f.unsealer().open(f.buf[f.pos:after], head+counterEnd)
	return f.opened(t, err, after)
}

// takeHeaded opens the ciphered telegram of Poland's form at pos.
func (f *framer) takeHeaded(body, end int, closed bool) (telegram, error) {
	b := f.buf[f.pos:end]
	size, head, _ := cipherSize(b, body+1)
	bang := head + size
	if bang >= len(b) {
		return f.unfinished(end, closed)
	}
	if b[bang] != '!' {
		return f.opened(telegram{}, f.unsealer().lose("end line", bang, errNoBang), f.pos+bang)
	}
	crc, n, v := endLine(b[bang+1:])
	switch {
	case v == wait && !closed:
		return telegram{}, drivers.ErrMore
	case v == no:
		return f.opened(telegram{}, f.unsealer().lose("CRC", bang+1, errNoDigits), f.pos+bang)
	}
	t, err := f.unsealer().openHeaded(b[:bang+1], body, endMark{crc: crc, there: n > 0})
	return f.opened(t, err, f.pos+bang+1+n)
}

// unfinished is what a ciphered telegram that reaches beyond end comes to.
func (f *framer) unfinished(end int, closed bool) (telegram, error) {
	if !closed {
		return telegram{}, drivers.ErrMore
	}
	n := end - f.pos
	return f.opened(telegram{}, f.unsealer().lose("ciphered telegram", n, errCut), end)
}

// opened goes on behind what was opened, or would have been with a key, or for the
// first time. Else the search goes on one byte behind its start, for DB 08 can occur
// in ciphertext, and a telegram that lost bytes reaches into the next; up to after,
// nothing but a whole identification begins a plain telegram.
func (f *framer) opened(t telegram, err error, after int) (telegram, error) {
	switch {
	case err == nil, f.unsealer().whole:
		f.moveTo(after)
		f.begin = true
	default:
		f.moveTo(f.pos + 1)
		f.murky = max(f.murky, after)
	}
	return t, err
}

// unsealer opens ciphered telegrams with one meter's keys and judges what comes
// out.
type unsealer struct {
	cipher  *dlms.Cipher
	counter dlms.Counter
	lax     bool // Config.Check is "none"
	public  bool // no authentication key was given, so it is Luxembourg's
	inner   framer

	apdu  []byte // of a telegram that was sent without DB
	clear []byte

	suspect []byte // what the cipher last took for a telegram
	whole   bool   // what was lost is not searched for others
	lost    drivers.FrameError
	noAuth  *dlms.OpenError // kept, so that a meter whose key is missing costs no memory
}

func newUnsealer(c *Config) (*unsealer, error) {
	keys, public, err := c.keys()
	if err != nil {
		return nil, err
	}
	u := &unsealer{lax: c.Check == checkNone, public: public}
	u.cipher, err = dlms.NewCipher(keys, u.plausible)
	return u, err
}

// plausible says whether a clear text begins as a telegram does, or as the data
// lines of one.
func (u *unsealer) plausible(text []byte) bool {
	line, size := cutLine(text[:min(len(text), maxLine)])
	if size == len(line) || len(line) == 0 {
		return false // it has no end, or is none
	}
	if line[0] != '/' && strictLine(line, false) == 0 {
		return false
	}
	for _, c := range line {
		if c >= 0x7F || c < ' ' && c != stx {
			return false
		}
	}
	u.suspect = text
	return true
}

// open opens a ciphered telegram, whose ciphertext begins at an offset. Its error
// is a *drivers.FrameError.
func (u *unsealer) open(apdu []byte, text int) (telegram, error) {
	security, err := u.decipher(apdu, 0)
	if err != nil {
		return telegram{}, err
	}
	t, err := u.judge(u.clear, security.Checked)
	if err != nil {
		u.lost.Offset += text // in a stream cipher each byte keeps its place
		u.lost.Length = len(apdu)
		return telegram{}, err
	}
	return u.news(t, security, len(apdu))
}

// endMark is the end line in clear of Poland's form.
type endMark struct {
	crc   uint16
	there bool
}

// openHeaded opens a telegram of Poland's form, b up to its !: its clear text are
// the data lines alone. What the CRC covers is not known: in the one capture there
// is it is not the bytes that were sent, so the telegram in clear counts too. It
// must fit beside a tag as well, for the tag does not cover the identification.
func (u *unsealer) openHeaded(b []byte, body int, mark endMark) (telegram, error) {
	u.apdu = append(append(u.apdu[:0], 0xDB), b[body:len(b)-1]...)
	u.clear = append(u.clear[:0], b[:body]...)
	security, err := u.decipher(u.apdu, body)
	if err != nil {
		return telegram{}, err
	}
	if at := strict(u.clear); at >= 0 {
		return telegram{}, u.lose("data line", at, drivers.ErrSyntax)
	}
	u.clear = append(u.clear, '!')
	want, fits := u.inner.crcOf(b, mark.crc)
	if !fits {
		_, fits = u.inner.crcOf(u.clear, mark.crc)
	}
	if !mark.there || !fits {
		_ = u.lose("CRC", len(b), drivers.ErrChecksum)
		u.lost.Got, u.lost.Want = uint32(mark.crc), uint32(want)
		return telegram{}, &u.lost
	}
	t := telegram{text: u.clear, check: drivers.CheckCRC16}
	if security.Checked {
		t.check = drivers.CheckTag
	}
	if security.Counter == 0 {
		return t, nil // this form has none, seen in that capture
	}
	return u.news(t, security, len(b))
}

// decipher appends the clear text of apdu to the first keep bytes of u.clear.
func (u *unsealer) decipher(apdu []byte, keep int) (dlms.Security, error) {
	u.suspect, u.whole = nil, false
	u.clear = slices.Grow(u.clear[:keep], len(apdu)+tagSize) // what Open needs; no more on an error
	text, security, err := u.cipher.Open(u.clear, apdu)
	if err != nil {
		return security, u.refuse(err, security.Title, len(apdu))
	}
	u.clear = text
	return security, nil
}

// refuse says why a telegram did not open. A clear text whose CRC fits proves the
// encryption key, so that damage and a wrong authentication key can be told apart.
func (u *unsealer) refuse(err error, title dlms.Title, size int) error {
	u.whole = errors.Is(err, dlms.ErrNoKey)
	switch {
	case !errors.Is(err, dlms.ErrAuthKey):
	case !u.isSound():
		_ = u.lose("ciphered telegram", size, errDamaged)
		u.lost.Offset, u.lost.Hint = 0, hintDamaged
		return &u.lost
	case u.public:
		err = u.withoutAuthKey(title)
	}
	u.lost = drivers.FrameError{Field: "ciphered telegram", Length: size, Err: err, Hint: drivers.Hint(err)}
	return &u.lost
}

// withoutAuthKey is the error for a meter whose authentication key is not
// Luxembourg's, and was not given.
func (u *unsealer) withoutAuthKey(title dlms.Title) error {
	if u.noAuth == nil || u.noAuth.Title != title {
		u.noAuth = &dlms.OpenError{Title: title, Err: dlms.ErrNoAuthKey}
	}
	return u.noAuth
}

// isSound says whether the suspect is a telegram to its last byte; its data lines
// alone, if u.clear holds an identification line that was sent in clear.
func (u *unsealer) isSound() bool {
	if u.suspect == nil {
		return false
	}
	if len(u.clear) > 0 {
		return strict(append(u.clear, u.suspect...)) < 0
	}
	_, err := u.judge(u.suspect, false)
	return err == nil
}

// judge takes a clear text for one telegram, from its first byte to its last. Its
// CRC must fit. Only under a tag that fitted, and where the configuration says that
// the meter has no CRC, may it be missing.
func (u *unsealer) judge(text []byte, checked bool) (telegram, error) {
	in := &u.inner
	in.mode = checkCRC
	if checked && u.lax {
		in.mode = checkNone
	}
	in.buf, in.pos, in.scan, in.kind = text, 0, 0, plain
	if len(text) == 0 || text[0] != '/' {
		return telegram{}, u.lose("identification", 0, errNoStart)
	}
	t, err := in.takePlain(len(text), true)
	if err != nil {
		u.lost = in.lost
		return t, &u.lost
	}
	if rest := bytes.Trim(text[in.pos:], "\r\n"); len(rest) > 0 {
		return t, u.lose("end line", in.pos, errBehind)
	}
	if checked {
		t.check = drivers.CheckTag
	}
	return t, nil
}

// news gives t if its counter rose.
func (u *unsealer) news(t telegram, s dlms.Security, size int) (telegram, error) {
	if err := u.counter.Check(s); err != nil {
		u.whole = true
		u.lost = drivers.FrameError{Field: "invocation counter", Length: size, Err: err, Hint: drivers.Hint(err)}
		return telegram{}, &u.lost
	}
	return t, nil
}

// lose is the loss of n bytes for what was found behind them.
func (u *unsealer) lose(field string, n int, err error) error {
	u.whole = false
	u.lost = drivers.FrameError{Field: field, Offset: n, Length: n, Err: err, Hint: drivers.Hint(err)}
	return &u.lost
}
