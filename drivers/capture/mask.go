package capture

import (
	"bytes"
	"encoding/hex"
	"math/bits"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// leastHidden is how long a text must be to be masked wherever it stands: a
// shorter one is found by chance.
const leastHidden = 4

// leastText is how many characters are text: ciphertext looks like it for no longer.
const leastText = 24

// maxRepairs bounds how many checks of a capture are made good: radio telegrams
// have 17 at most.
const maxRepairs = 64

// Masking is how captured bytes of one meter are made fit to be shown: without
// what tells whose meter it is, and without anything that its keys open.
type Masking struct {
	Driver  drivers.Driver
	Options drivers.Config // the meter's
	Shown   drivers.Config // the same with stand-ins for keys and ids, of the same lengths
	Zones   drivers.Zones
	Hidden  []string // ids, keys and passwords that are known
}

// Masked is what Mask makes of captured bytes.
type Masked struct {
	Bytes []byte
	// Kept says that with the options that are shown the same places are refused for
	// the same kinds of reason; if not, the bytes show something else.
	Kept bool
	// Opaque are the stretches in which nothing is known to be in clear, and which
	// may hold ciphertext of the meter.
	Opaque []Stretch

	before []drivers.Span
}

// Stretch is where bytes stand: from one to before another.
type Stretch struct{ From, To int }

// Mask gives a copy of captured bytes in which nothing tells whose meter it is:
// the texts in Hidden, in any form that a wire has for them, and what the telegrams
// themselves call an id. Each is replaced by as many zeros. Ciphered telegrams are
// put under the keys that are shown; where they do not open, zeros stand for what
// they hold. Checks that fitted are made to fit again and those that did not still
// do not, so a decoder refuses the same frames.
func (g *Masking) Mask(b []byte) (Masked, error) {
	before, err := g.Driver.Explain(g.Options, g.Zones, b)
	if err != nil {
		return Masked{}, err
	}
	m := masker{b: bytes.Clone(b), parity: hasParity(b)}
	if g.Driver.Reseal != nil {
		resealed, err := g.Driver.Reseal(g.Options, g.Shown, g.Zones, b, g.hide)
		if err != nil {
			return Masked{}, err
		}
		m.b, m.done = resealed.Bytes, resealed.Done
	}
	m.hideAll(before, g.Hidden)
	after, err := m.repair(g, before)
	return Masked{m.b, err == nil && sameVerdict(before, after), m.opaque(before), before}, err
}

// Blank makes zeros of stretches of masked bytes, in a copy, and makes checks fit
// again that fitted.
func (g *Masking) Blank(m Masked, stretches ...Stretch) (Masked, error) {
	m.Bytes = bytes.Clone(m.Bytes)
	for _, s := range stretches {
		clear(m.Bytes[s.From:s.To])
	}
	again := masker{b: m.Bytes}
	_, err := again.repair(g, m.before)
	return m, err
}

// hide masks a clear text that nothing has to be opened of.
func (g *Masking) hide(c drivers.Config, text []byte) []byte {
	m := masker{b: bytes.Clone(text), parity: hasParity(text)}
	before, err := g.Driver.Explain(c, g.Zones, text)
	if err != nil {
		return make([]byte, len(text))
	}
	m.hideAll(before, g.Hidden)
	plain := *g
	plain.Shown = c
	if _, err := m.repair(&plain, before); err != nil {
		return make([]byte, len(text))
	}
	return m.b
}

// masker replaces bytes.
type masker struct {
	b      []byte
	done   []bool // of each byte: it is as it should be
	parity bool   // each byte has even parity in bit 7
}

// hideAll masks what spans and texts tell.
func (m *masker) hideAll(spans []drivers.Span, hidden []string) {
	for i := range spans {
		m.hideSpan(&spans[i])
	}
	for _, text := range hidden {
		m.hide(text)
	}
}

// clearSpans are the names of spans that show how a telegram is built, whether what
// it holds is ciphered or not.
var clearSpans = map[string]bool{
	"flag": true, "frame format": true, "destination address": true, "source address": true, "control": true, "HCS": true, "FCS": true,
	"start": true, "stop": true, "L-field": true, "C-field": true, "A-field": true, "CI-field": true, "SAP": true, "checksum": true,
	"LLC header": true, "wrapper version": true, "source port": true, "destination port": true, "length": true, "fill": true,
	"block control": true, "block number": true, "acknowledged block": true, "LEN": true, "APDU tag": true,
	"end mark": true, "CRC": true, "line end": true, "text of the receiver": true,
	"identification number": true, "manufacturer": true, "version": true, "medium": true,
	"access number": true, "status": true, "configuration": true, "configuration extension": true,
	"network layer": true, "authentication": true, "communication control": true, "sender": true, "session number": true, "payload CRC": true,
}

// clearParts are words that the names of those parts begin with which a decoder has
// read in clear.
var clearParts = [...]string{"notification", "identification", "data line"}

// opaque are the stretches that are neither dealt with nor in clear.
func (m *masker) opaque(spans []drivers.Span) (all []Stretch) {
	if m.done == nil {
		return nil
	}
	for _, s := range spans {
		if clearSpans[s.Name] || isClear(s.In) || m.isText(s.Offset, s.Offset+s.Length) {
			continue
		}
		for at := s.Offset; at < s.Offset+s.Length; at++ {
			switch last := len(all) - 1; {
			case m.done[at]:
			case last >= 0 && all[last].To == at:
				all[last].To++
			default:
				all = append(all, Stretch{at, at + 1})
			}
		}
	}
	return all
}

// isText says whether bytes are characters, perhaps with parity: more than can be by
// chance.
func (m *masker) isText(from, to int) bool {
	for _, c := range m.b[from:to] {
		if m.parity {
			c &= 0x7F
		}
		if c < ' ' && c != '\r' && c != '\n' || c >= 0x7F {
			return false
		}
	}
	return to-from >= leastText
}

func isClear(in []string) bool {
	for _, part := range in {
		for _, word := range clearParts {
			if strings.HasPrefix(part, word) {
				return true
			}
		}
	}
	return false
}

// hasParity says whether b are seven bits with even parity.
func hasParity(b []byte) bool {
	high := false
	for _, c := range b {
		if bits.OnesCount8(c)%2 != 0 {
			return false
		}
		high = high || c&0x80 != 0
	}
	return high
}

// idSpans are the names of spans that tell who a meter is.
var idSpans = map[string]bool{
	"identification number": true, "sender": true, "device address": true, "telegram of another meter": true,
	"password": true,
}

// hideSpan masks a span that tells who a meter is.
func (m *masker) hideSpan(s *drivers.Span) {
	from, to := s.Offset, s.Offset+s.Length
	switch {
	case s.Name == "system title" && s.Length >= 8:
		m.zero(to-5, to) // the maker stays
	case idSpans[s.Name]:
		m.zero(from, to)
	case s.Name == "command":
		m.hideBrackets(from, to)
	case s.Name == "value" && len(s.In) > 0 && tellsID(s.In[len(s.In)-1]):
		m.hideBrackets(from, to)
	case s.Clear == "" && tellsIDValue(s.Value):
		m.hideText(from, to)
	}
}

// tellsID says whether what a span is part of, "data line 0-0:96.1.1", is the id
// of a meter.
func tellsID(in string) bool {
	words := strings.Fields(in)
	code, ok := obis.Scan([]byte(words[len(words)-1]), obis.Electricity)
	return ok && isID(code)
}

// tellsIDValue says the same of a value, as Value.String writes it.
func tellsIDValue(value string) bool {
	text, _, _ := strings.Cut(value, " ")
	code, ok := obis.Scan([]byte(text), obis.Electricity)
	if ok && isID(code) {
		return true
	}
	for _, word := range [...]string{"fabrication_number", "enhanced_identification", "customer", "serial", "id_"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// isID says whether a code names a meter, a customer or a place rather than what
// is measured.
func isID(c obis.Code) bool {
	return c.C() == 96 && c.D() == 1 || c.C() == 42 || c.C() == 0 && c.D() == 0 || c.C() == 96 && c.D() == 13
}

// zero makes bytes zero.
func (m *masker) zero(from, to int) {
	for i := from; i < to; i++ {
		m.set(i, m.blank(m.b[i], '0'))
	}
}

// blank is what stands for a byte: a zero of its kind.
func (m *masker) blank(c, digit byte) byte {
	switch stripped := c & 0x7F; {
	case m.parity || stripped == c && c > ' ':
		if stripped >= '0' && stripped <= '9' || (stripped|0x20) >= 'a' && (stripped|0x20) <= 'z' {
			return digit
		}
		return stripped
	}
	return 0
}

func (m *masker) set(i int, c byte) {
	if m.done != nil && m.done[i] {
		return
	}
	if m.parity && bits.OnesCount8(c&0x7F)%2 != 0 {
		c |= 0x80
	}
	m.b[i] = c
}

// hideBrackets masks what stands between the brackets of a group; in
// hexadecimal digits, so that 30 30 still reads as a text.
func (m *masker) hideBrackets(from, to int) {
	for i := from; i < to; i++ {
		if c := m.b[i] & 0x7F; c == '(' {
			from = i + 1
		} else if c == ')' {
			to = i
		}
	}
	text := make([]byte, 0, to-from)
	for _, c := range m.b[from:max(from, to)] {
		text = append(text, c&0x7F)
	}
	if _, ok := wire.AppendHex(nil, text); ok && len(text) > 0 {
		for i := range text {
			m.set(from+i, "30"[i%2])
		}
		return
	}
	m.zero(from, to)
}

// hideText masks the printable bytes of a span that is more than its text: tag
// and length of a string stay.
func (m *masker) hideText(from, to int) {
	for to-from > 0 && (m.b[from] < '0' || m.b[from] > 'z') {
		from++
	}
	m.zero(from, to)
}

// hide masks a text wherever it stands: as it is, in hexadecimal digits of its
// characters, and as decimal or hexadecimal digits two a byte, either end first.
func (m *masker) hide(text string) {
	if len(text) < leastHidden {
		return
	}
	plain := []byte(text)
	m.replace(plain, func(i int) byte { return m.blank(plain[i], '0') })
	for _, digits := range []string{hex.EncodeToString(plain), strings.ToUpper(hex.EncodeToString(plain))} {
		m.replace([]byte(digits), func(i int) byte { return "30"[i%2] })
	}
	packed, ok := wire.AppendHex(nil, text)
	if !ok {
		return
	}
	turned := bytes.Clone(packed)
	for i, c := range packed {
		turned[len(packed)-1-i] = c
	}
	for _, form := range [][]byte{packed, turned} {
		if len(form) >= leastHidden {
			m.replace(form, func(int) byte { return 0 })
		}
	}
}

// replace puts other bytes where a pattern stands, parity left out of account.
func (m *masker) replace(pattern []byte, with func(i int) byte) {
	b := m.b
	if m.parity {
		b = make([]byte, len(m.b))
		for i, c := range m.b {
			b[i] = c & 0x7F
		}
	}
	for at := 0; ; at++ {
		n := bytes.Index(b[at:], pattern)
		if n < 0 {
			return
		}
		at += n
		for i := range pattern {
			m.set(at+i, with(i))
		}
	}
}

// repair makes checks fit that fitted before, and spoils those that fit by chance.
func (m *masker) repair(g *Masking, before []drivers.Span) ([]drivers.Span, error) {
	wrong := map[int]bool{} // what did not fit
	for _, s := range before {
		if s.Fit != "" || s.Bad && strings.Contains(s.Text, drivers.ErrChecksum.Error()) {
			wrong[s.Offset] = true
		}
	}
	for range maxRepairs {
		after, err := g.Driver.Explain(g.Shown, g.Zones, m.b)
		if err != nil || !m.mend(after, wrong) && !m.spoil(before, after) {
			return after, err
		}
	}
	return g.Driver.Explain(g.Shown, g.Zones, m.b)
}

// mend makes the first check fit that is wrong and was not.
func (m *masker) mend(after []drivers.Span, wrong map[int]bool) bool {
	for _, s := range after {
		if !s.Bad || s.Fit == "" || wrong[s.Offset] {
			continue
		}
		fit, _ := hex.DecodeString(s.Fit)
		copy(m.b[s.Offset:s.Offset+s.Length], fit)
		return true
	}
	return false
}

// spoil makes the first check wrong that was wrong and is not any more.
func (m *masker) spoil(before, after []drivers.Span) bool {
	for _, s := range before {
		if !s.Bad || s.Fit == "" {
			continue
		}
		for _, now := range after {
			if now.Offset == s.Offset && !now.Bad {
				last := s.Offset + s.Length - 1
				m.b[last] ^= 1
				return true
			}
		}
	}
	return false
}

// sameVerdict says whether two explanations refuse the same places for the same
// kind of reason.
func sameVerdict(a, b []drivers.Span) bool {
	x, y := verdicts(a), verdicts(b)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}

type verdict struct {
	offset int
	name   string
	check  bool // that does not fit
}

func verdicts(spans []drivers.Span) (all []verdict) {
	for _, s := range spans {
		if s.Bad {
			all = append(all, verdict{s.Offset, s.Name, s.Fit != ""})
		}
	}
	return all
}
