package p1

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// explain says what each byte of an input means, telegrams that are refused
// included. It goes the way of a Decoder, with a Decoder.
func explain(c drivers.Config, z drivers.Zones, b []byte) ([]drivers.Span, error) {
	x, err := explained(c, z, b)
	if err != nil {
		return nil, err
	}
	return x.e.Spans(), nil
}

func explained(c drivers.Config, z drivers.Zones, b []byte) (*explainer, error) {
	d, err := newDecoder(c, z)
	if err != nil {
		return nil, err
	}
	e, whole := drivers.Explain(b)
	d.frames.feed(b)
	d.frames.gap()
	d.marks = []mark{}
	x := explainer{d: d, e: e, whole: whole}
	for x.step() {
	}
	return &x, nil
}

type explainer struct {
	d     *Decoder
	e     *drivers.Explanation
	whole drivers.Layer
	start int // of the telegram at hand
	seals []seal
}

// seal is a ciphered APDU, and what was sent in clear before it.
type seal struct {
	apdu drivers.Layer
	head []byte
}

// step takes the next telegram, as framer.next does. false: there is none.
func (x *explainer) step() bool {
	f := &x.d.frames
	end, closed := f.limit()
	if f.kind == nothing && !f.hunt(end, closed) {
		if closed {
			f.passGap()
		}
		return closed
	}
	start, k := f.pos, f.kind
	if k == plain {
		if _, v := clearHeader(f.buf[start:end]); v == yes {
			k = headed
		}
	}
	t, err := f.take(end, closed)
	if errors.Is(err, drivers.ErrMore) {
		return false
	}
	lost, refused := errors.AsType[*drivers.FrameError](err)
	after := f.pos
	if refused {
		after = start + max(lost.Length, 1)
	}
	l := x.frame(k, start, after)
	if !refused {
		x.accepted(k, l, t)
		return true
	}
	l.Blame(lost.Offset, lost.Clone())
	return true
}

// headed is Poland's form: a ciphered telegram behind an identification in clear.
const headed = shifted + 1

// frame marks what stands around the data lines of the telegram in [start, after),
// and gives the telegram.
func (x *explainer) frame(k kind, start, after int) drivers.Layer {
	x.start = start
	l := x.whole.Cut(start, after)
	switch k {
	case ciphered:
		l = l.In("ciphered telegram")
		x.seals = append(x.seals, seal{apdu: l})
		dlms.ExplainCiphered(l)
	case headed:
		l = x.whole.Cut(start, x.headed(l.In("ciphered telegram"), x.whole.Data[start:])).In("ciphered telegram")
	case shifted:
		l = l.In("telegram with parity bits")
		l.Mark(0, len(l.Data), "telegram", "even parity in bit 7 of each byte")
	default:
		at := bytes.LastIndex(l.Data, []byte("\n!")) + 1
		if at == 0 {
			at = len(l.Data)
		}
		l = x.whole.Cut(start, x.endMark(start+at)).In("telegram")
		x.lines(l.Cut(0, at))
	}
	return l
}

// endMark marks the end line that begins at an offset of the input, and says
// where it ends.
func (x *explainer) endMark(at int) int {
	b := x.whole.Data
	if at >= len(b) || b[at] != '!' {
		return at
	}
	l := x.whole.In("telegram")
	l.Mark(at, at+1, "end mark", "!")
	crc, digits, v := endLine(b[at+1:])
	next := at + 1
	if digits > 0 && v != no {
		next += digits
		l.Mark(at+1, next, "CRC", fmt.Sprintf("CRC-16/ARC of all from / to !: 0x%04x", crc))
	}
	end := next
	for end < len(b) && end < next+2 && (b[end] == '\r' || b[end] == '\n') {
		end++
	}
	if end > next {
		l.Mark(next, end, "line end", "")
	}
	return next
}

// headed marks Poland's form, which l begins and b may have more of, and says where
// in the input its end line ends.
func (x *explainer) headed(l drivers.Layer, b []byte) (end int) {
	body, v := clearHeader(b)
	size, head, _ := cipherSize(b, body+1)
	if v != yes || head+size > len(b) {
		l.Mark(0, len(l.Data), "ciphered telegram", "")
		return x.start + len(l.Data)
	}
	l = x.whole.Cut(x.start, x.start+head+size).In("ciphered telegram")
	x.lines(l.Cut(0, body))
	apdu := apduOf(l, body, head+size)
	x.seals = append(x.seals, seal{apdu, l.Data[:body]})
	dlms.ExplainCiphered(apdu)
	return x.endMark(x.start + head + size)
}

// apduOf is the APDU of Poland's form, which is sent without its first byte.
func apduOf(l drivers.Layer, from, to int) drivers.Layer {
	places := []int{-1}
	for i := from; i < to; i++ {
		places = append(places, i)
	}
	return l.Placed(append([]byte{0xDB}, l.Data[from:to]...), places)
}

// accepted marks the values of a good telegram.
func (x *explainer) accepted(k kind, l drivers.Layer, t telegram) {
	switch k {
	case ciphered:
		content := dlms.ExplainCiphered(l)
		l = content.Opened(bytes.Clone(t.text))
	case headed:
		body, _ := clearHeader(l.Data)
		size, head, _ := cipherSize(l.Data, body+1)
		content := dlms.ExplainCiphered(apduOf(l, body, head+size))
		text := bytes.Clone(t.text)
		x.values(l.Cut(0, body).Join(content.Opened(text[body:])), text)
		return
	default: // in clear
	}
	x.values(l, t.text)
	if at := len(t.text) - 1; k == ciphered && t.text[at] == '!' {
		l.Mark(at, at+1, "end mark", "!")
	}
}

// values decodes a telegram and marks its lines with what they gave.
func (x *explainer) values(l drivers.Layer, text []byte) {
	var r drivers.Reading
	x.d.marks = x.d.marks[:0]
	x.d.decode(text, &r)
	at := bytes.IndexByte(text, '\n') + 1
	x.identification(l.Cut(0, at))
	n := 0
	for _, m := range x.d.marks {
		x.line(l.Cut(at, m.end), r.Values[n:m.values])
		at, n = m.end, m.values
	}
}

// lines marks the lines of a telegram that gave no values.
func (x *explainer) lines(l drivers.Layer) {
	at := bytes.IndexByte(l.Data, '\n') + 1
	x.identification(l.Cut(0, at))
	for at < len(l.Data) {
		_, size := cutLine(l.Data[at:])
		x.line(l.Cut(at, at+size), nil)
		at += size
	}
}

// identification marks / XXX Z ident.
func (x *explainer) identification(l drivers.Layer) {
	l = l.In("identification")
	text := bytes.TrimRight(l.Data, "\r\n")
	var m maker
	m.learn(text)
	l.Mark(0, 1, "start", "/")
	l.Mark(1, min(4, len(text)), "manufacturer", m.id.Manufacturer)
	at := min(4, len(text))
	if at < len(text) && text[at] >= '0' && text[at] <= '9' {
		l.Mark(at, at+1, "speed", "not used by a port that pushes")
		at++
	}
	if at < len(text) {
		l.Mark(at, len(text), "identification", m.id.Model)
	}
	l.Mark(len(text), len(l.Data), "line end", "")
}

// line marks a data line: its address and its groups, with the values that it
// gave.
func (x *explainer) line(l drivers.Layer, values []drivers.Value) {
	text := bytes.TrimRight(l.Data, "\r\n")
	if len(text) == 0 {
		l.Mark(0, len(l.Data), "line end", "")
		return
	}
	at := bytes.IndexByte(text, '(')
	if at < 0 {
		at = len(text)
	}
	code, known := obis.Scan(text[:at], obis.Electricity)
	meaning := "of no known form"
	if known {
		meaning = obis.Lookup(code).Name
	}
	l = l.In("data line " + string(text[:min(at, 20)]))
	address := l.Mark(0, at, "address", meaning)
	l.Mark(len(text), len(l.Data), "line end", "")
	x.groups(l.Cut(0, len(text)), at, address, values)
}

// groups marks the brackets of a line from an offset on, and deals them the values.
func (x *explainer) groups(l drivers.Layer, at, address int, values []drivers.Value) {
	var holders, times []int
	last := address
	for at < len(l.Data) {
		end := at + 1
		if n := bytes.IndexByte(l.Data[at:], ')'); n >= 0 {
			end = at + n + 1
		}
		name, text := x.group(bytes.Trim(l.Data[at:end], "()\r\n"))
		last = l.Mark(at, end, name, text)
		switch name {
		case "value":
			holders = append(holders, last)
		case "time":
			times = append(times, last)
		}
		at = end
	}
	x.e.Deal(values, holders, times, last)
}

// group says what a bracket is by its form.
func (x *explainer) group(g []byte) (name, text string) {
	if at, ok := x.d.clock.stamp(g); ok {
		return "time", at.String()
	}
	if code, ok := obis.Scan(g, obis.Electricity); ok && bytes.IndexByte(g, ':') > 0 {
		return "captured code", obis.Lookup(code).Name
	}
	if len(g) == 0 {
		return "brackets", "no value"
	}
	return "value", ""
}
