package drivers

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Span says what a stretch of captured bytes means. The spans of an Explanation
// follow each other without a hole and without an overlap.
type Span struct {
	Offset int      `json:"offset"`          // of its first byte
	Length int      `json:"length"`          // bytes
	In     []string `json:"in,omitempty"`    // what it is part of, from the outside in: "long frame", "record 3"
	Name   string   `json:"name"`            // in the standard's word: "L-field", "VIF"
	Text   string   `json:"text,omitempty"`  // what it says
	Value  string   `json:"value,omitempty"` // what was read from it, as Value.String writes it; several with "; " between
	Clear  string   `json:"clear,omitempty"` // its bytes deciphered or unescaped, in hexadecimal
	Bad    bool     `json:"bad,omitempty"`   // the telegram was refused for this; Text says why
	Fit    string   `json:"fit,omitempty"`   // of a check that does not fit: the bytes that would, in hexadecimal
}

// Unexplained is the name of bytes that belong to no telegram.
const Unexplained = "noise"

// String is what decode --explain and tests show of a value: code, name and
// coordinates, then the value and its unit.
func (v *Value) String() string {
	var k Keyer
	k.Begin()
	b, _ := k.Key(v)
	s := b
	if v.Name != "" && !v.Code.IsZero() {
		s += " " + v.Name
	}
	s += " " + string(v.AppendPayload(nil))
	if v.Unit != "" {
		s += " " + string(v.Unit)
	}
	return s
}

// Explanation collects what the bytes of one input mean. What is marked later
// wins over what was marked before, so a frame that fails its check may be marked
// first and the good one found inside it after.
type Explanation struct {
	data  []byte
	spans []Span
	owner []int32 // of each byte: 1 + its span; 0: none

	blames []blame
}

// Layer is a run of bytes that an explanation is about, whether they stand next to
// each other in the input or not: an information field that was joined from
// segments, or the clear text of a ciphered telegram.
type Layer struct {
	Data  []byte
	e     *Explanation
	at    []int32 // where each byte of Data begins in the input; negative: it is not there
	width int32   // bytes of the input that each takes: 2 where the input is hexadecimal text
	in    []string
}

// Explain begins the explanation of an input and gives all of its bytes.
func Explain(data []byte) (*Explanation, Layer) {
	e := &Explanation{data: data, owner: make([]int32, len(data))}
	at := make([]int32, len(data))
	for i := range at {
		at[i] = int32(i)
	}
	return e, Layer{Data: data, e: e, at: at, width: 1}
}

// In is the same layer as part of something that is named.
func (l Layer) In(name string) Layer {
	l.in = append(slices.Clip(l.in), name)
	return l
}

// Cut is the part of the layer from one byte to before another.
func (l Layer) Cut(from, to int) Layer {
	from = min(max(from, 0), len(l.Data))
	to = min(max(to, from), len(l.Data))
	l.Data, l.at = l.Data[from:to:to], l.at[from:to:to]
	return l
}

// Join is the layer with the bytes of another behind it. The zero Layer has none.
func (l Layer) Join(more Layer) Layer {
	if l.e == nil {
		return more
	}
	l.Data = append(slices.Clip(l.Data), more.Data...)
	l.at = append(slices.Clip(l.at), more.at...)
	return l
}

// Opened is the layer with other bytes in the same places: what they are
// deciphered. Bytes beyond its end are nowhere in the input.
func (l Layer) Opened(text []byte) Layer {
	at := slices.Clone(l.at[:min(len(text), len(l.at))])
	for len(at) < len(text) {
		at = append(at, -1)
	}
	l.Data, l.at = text, at
	return l
}

// Placed is a layer of other bytes, of which places tells where in l each stands;
// -1: nowhere.
func (l Layer) Placed(data []byte, places []int) Layer {
	at := make([]int32, len(data))
	for i, p := range places {
		at[i] = -1
		if p >= 0 && p < len(l.at) {
			at[i] = l.at[p]
		}
	}
	l.Data, l.at = data, at
	return l
}

// Printed is the layer of bytes that l holds as pairs of hexadecimal digits.
func (l Layer) Printed(data []byte) Layer {
	places := make([]int, len(data))
	for i := range places {
		places[i] = 2 * i
	}
	l = l.Placed(data, places)
	l.width = 2
	return l
}

// Put writes other bytes, as many as the layer has, to where its own stand in a copy
// of the input, and notes in done where that is. Hexadecimal text stays text.
func (l Layer) Put(dst []byte, done []bool, data []byte) {
	const digits = "0123456789ABCDEF"
	for i, at := range l.at {
		switch {
		case at < 0 || i >= len(data):
		case l.width == 2:
			dst[at], dst[at+1] = digits[data[i]>>4], digits[data[i]&0x0F]
			done[at], done[at+1] = true, true
		default:
			dst[at], done[at] = data[i], true
		}
	}
}

// Mark says what the bytes from one to before another are. It gives a handle for
// Read and Blame.
func (l Layer) Mark(from, to int, name, text string) int {
	part := l.Cut(from, to)
	s := Span{In: l.in, Name: name, Text: text}
	if part.deciphered() {
		s.Clear = hex.EncodeToString(part.Data)
	}
	l.e.spans = append(l.e.spans, s)
	id := len(l.e.spans)
	for _, at := range part.at {
		for w := range l.width {
			if at >= 0 && int(at+w) < len(l.e.data) {
				l.e.owner[at+w] = int32(id)
			}
		}
	}
	return id
}

// deciphered says whether the layer's bytes are others than those of the input.
func (l Layer) deciphered() bool {
	for i, at := range l.at {
		if at < 0 {
			continue
		}
		sent := l.e.data[at : at+l.width]
		if l.width == 2 {
			sent, _ = wire.AppendHex(nil, sent)
		}
		if len(sent) != 1 || sent[0] != l.Data[i] {
			return true
		}
	}
	return false
}

// Read notes a value that was read from a marked span; without one, nothing.
func (e *Explanation) Read(span int, v *Value) {
	if span == 0 {
		return
	}
	s := &e.spans[span-1]
	if s.Value != "" {
		s.Value += "; "
	}
	s.Value += v.String()
}

// Deal notes the values that were read from the brackets of one line. They belong to
// the last of its spans that hold something, to those that are times only if the
// others are too few; with more values than both, all to the last bracket.
func (e *Explanation) Deal(values []Value, holders, times []int, last int) {
	if len(holders) < len(values) {
		holders = slices.Concat(times, holders)
	}
	first := len(holders) - len(values)
	for i := range values {
		span := last
		if first >= 0 {
			span = holders[first+i]
		}
		e.Read(span, &values[i])
	}
}

// Say sets the text of a marked span.
func (e *Explanation) Say(span int, text string) { e.spans[span-1].Text = text }

// blame is why a telegram was refused.
type blame struct {
	at     []int32 // of the telegram
	offset int
	why    error
	marked int // spans that there were
}

// Blame says that a telegram, which the layer is, was refused for the byte at an
// offset; for its last byte, if it ends before.
func (l Layer) Blame(offset int, why error) {
	if len(l.at) > 0 {
		l.e.blames = append(l.e.blames, blame{l.at, min(max(offset, 0), len(l.at)-1), why, len(l.e.spans)})
	}
}

// settle marks the span that each refusal blames: where the byte turned out to be
// another telegram's, the last one before it that is the refused one's.
func (e *Explanation) settle(b blame) {
	i := b.offset
	for i > 0 && !e.holds(b, i) {
		i--
	}
	if !e.holds(b, i) {
		i = b.offset
	}
	at := b.at[i]
	if at < 0 {
		return
	}
	if e.owner[at] == 0 {
		e.spans = append(e.spans, Span{Name: "fault"})
		e.owner[at] = int32(len(e.spans))
	}
	s := &e.spans[e.owner[at]-1]
	s.Bad = true
	s.Text = strings.TrimPrefix(s.Text+": refused: "+b.why.Error(), ": ")
	if hint := Hint(b.why); hint != "" {
		s.Text += " (" + hint + ")"
	}
	if lost, ok := errors.AsType[*FrameError](b.why); ok && i == b.offset {
		s.Fit = hex.EncodeToString(e.fitting(e.owner[at], lost))
	}
}

// fitting are the bytes that a check should have had, in the form in which those
// stand that it has: low or high byte first, or in hexadecimal digits. nil: they
// are in none.
func (e *Explanation) fitting(owner int32, lost *FrameError) []byte {
	if !errors.Is(lost.Err, ErrChecksum) || lost.Got == lost.Want {
		return nil
	}
	var sent []byte
	for i, o := range e.owner {
		if o == owner {
			sent = append(sent, e.data[i])
		}
	}
	if len(sent) == 0 || len(sent) > 4 {
		return nil
	}
	for _, form := range [...]func(n uint32) []byte{
		func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n)[:len(sent)] },
		func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n)[4-len(sent):] },
		func(n uint32) []byte { return fmt.Appendf(nil, "%0*X", len(sent), n) },
		func(n uint32) []byte { return fmt.Appendf(nil, "%0*x", len(sent), n) },
	} {
		if fit := form(lost.Want); bytes.Equal(form(lost.Got), sent) && len(fit) == len(sent) {
			return fit
		}
	}
	return nil
}

// holds says whether the i-th byte of a refused telegram is not another's.
func (e *Explanation) holds(b blame, i int) bool {
	return b.at[i] >= 0 && int(e.owner[b.at[i]]) <= b.marked
}

// Spans are the spans in the order of the input, without a hole: bytes that
// nobody marked are noise. A span whose bytes stand apart comes in pieces. It is
// asked once.
func (e *Explanation) Spans() []Span {
	for _, b := range e.blames {
		e.settle(b)
	}
	var all []Span
	told := make([]bool, len(e.spans)+1)
	for from := 0; from < len(e.data); {
		to := from + 1
		for to < len(e.data) && e.owner[to] == e.owner[from] {
			to++
		}
		all = append(all, e.piece(from, to, told))
		from = to
	}
	return all
}

// piece is one run of bytes of the same span. Only the first piece has the value.
func (e *Explanation) piece(from, to int, told []bool) Span {
	id := e.owner[from]
	s := Span{Name: Unexplained, Text: "belongs to no telegram"}
	if id > 0 {
		s = e.spans[id-1]
		if told[id] {
			s.Text, s.Value, s.Clear = "continued", "", ""
		}
		told[id] = true
	}
	s.Offset, s.Length = from, to-from
	return s
}
