package iec62056

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// explainer gives the function that says what each byte of an input means, data
// messages that are refused included. It goes the way of a Decoder, with a Decoder.
func explainer(name string) func(drivers.Config, drivers.Zones, []byte) ([]drivers.Span, error) {
	return func(c drivers.Config, z drivers.Zones, b []byte) ([]drivers.Span, error) {
		own, ok := c.(*Config)
		if !ok {
			return nil, fmt.Errorf("%s: configuration is a %T", name, c)
		}
		d, err := newDecoder(name, own, z)
		if err != nil {
			return nil, err
		}
		e, whole := drivers.Explain(b)
		d.Feed(b)
		d.Gap()
		d.marks = []mark{}
		x := explanation{d: d, e: e, whole: whole}
		for x.step() {
		}
		return e.Spans(), nil
	}
}

type explanation struct {
	d     *Decoder
	e     *drivers.Explanation
	whole drivers.Layer
}

// step takes what the framer finds next, as framer.next does. false: no byte is
// left.
func (x *explanation) step() bool {
	f := &x.d.frames
	end, closed := len(f.buf), false
	if len(f.gaps) > 0 {
		end, closed = f.gaps[0], true
	}
	at := f.pos
	b := f.buf[at:end]
	if len(b) == 0 {
		f.gaps = f.gaps[:0]
		return closed
	}
	named := f.named
	m, found, err := f.take(b, closed)
	if errors.Is(err, drivers.ErrMore) {
		return false
	}
	l := x.whole.Cut(at, f.pos).Opened(bytes.Clone(f.buf[at:f.pos]))
	lost, refused := errors.AsType[*drivers.FrameError](err)
	switch {
	case refused:
		n := max(lost.Length, 1)
		l = x.whole.Cut(at, at+n).Opened(bytes.Clone(f.buf[at:min(at+n, end)]))
		x.damaged(l)
		l.Blame(lost.Offset, lost.Clone())
	case found:
		x.message(l, m)
	case b[0] == '/' && f.named && (f.pos > at+1 || !named):
		x.identification(l)
	case b[0] == soh && f.pos > at+1:
		x.command(l)
	case b[0] == '\r' || b[0] == '\n':
		l.Mark(0, len(l.Data), "line end", "")
	case b[0] == '/':
		x.request(x.whole.Cut(at, end))
	}
	return true
}

// request marks a sign-on, / ? address ! CR LF, which a reading head echoes.
func (x *explanation) request(l drivers.Layer) {
	n := toLineEnd(l.Data)
	line := bytes.TrimRight(l.Data[:n], "\r\n")
	if len(line) < 3 || len(line) > maxIdent || line[1] != '?' || line[len(line)-1] != '!' {
		return
	}
	l = l.In("sign-on")
	l.Mark(0, 2, "start", "/?")
	if len(line) > 3 {
		l.Mark(2, len(line)-1, "device address", string(line[2:len(line)-1]))
	}
	l.Mark(len(line)-1, len(line), "end", "!")
	l.Mark(len(line), n, "line end", "")
}

// damaged marks a data message that was refused, as far as its form tells.
func (x *explanation) damaged(l drivers.Layer) {
	l = l.In("data message")
	b := l.Data
	l.Mark(0, len(b), "data message", "")
	from, to := 0, len(b)
	if b[0] == stx {
		l.Mark(0, 1, "STX", "")
		from = 1
	}
	if n := len(b); n > 2 && (b[n-2] == etx || b[n-2] == eot) {
		l.Mark(n-2, n-1, markName(b[n-2]), "")
		l.Mark(n-1, n, "BCC", fmt.Sprintf("XOR of all behind STX: 0x%02x", b[n-1]))
		to = n - 2
	}
	x.lines(l.Cut(from, to))
}

func markName(c byte) string {
	if c == eot {
		return "EOT"
	}
	return "ETX"
}

// lines marks the data lines of a message that gave nothing.
func (x *explanation) lines(l drivers.Layer) {
	for at := 0; at < len(l.Data); {
		n := toLineEnd(l.Data[at:])
		x.set(l.Cut(at, at+n), nil)
		at += n
	}
}

// identification marks / XXX Z ident.
func (x *explanation) identification(l drivers.Layer) {
	l = l.In("identification")
	line := bytes.TrimRight(l.Data, "\r\n")
	id, err := ParseIdentification(line)
	if err != nil {
		return
	}
	speed := "mode A: it does not change"
	if n := id.Baud(); n > 0 {
		speed = fmt.Sprintf("mode %c, up to %d baud", id.Mode, n)
	}
	l.Mark(0, 1, "start", "/")
	l.Mark(1, 4, "manufacturer", id.Manufacturer)
	l.Mark(4, 5, "speed", speed)
	at := 5 + 2*len(id.Escapes)
	if at > 5 {
		l.Mark(5, at, "escapes", id.Escapes)
	}
	l.Mark(at, len(line), "identification", id.Model)
	l.Mark(len(line), len(l.Data), "line end", "")
}

// command marks SOH … ETX BCC.
func (x *explanation) command(l drivers.Layer) {
	l = l.In("command")
	n := len(l.Data)
	l.Mark(0, 1, "SOH", "")
	l.Mark(1, n-2, "command", string(l.Data[1:min(3, n-2)]))
	if text := l.Data[1 : n-2]; len(text) > 2 && text[0] == 'P' {
		l.Mark(1, n-2, "command", "password or its operand")
	}
	l.Mark(n-2, n-1, markName(l.Data[n-2]), "")
	l.Mark(n-1, n, "BCC", "fits")
}

// message marks a good data message.
func (x *explanation) message(l drivers.Layer, m message) {
	l = l.In("data message")
	from := 0
	if l.Data[0] == stx {
		l.Mark(0, 1, "STX", "")
		from = 1
	}
	to := from + len(m.text)
	x.tail(l, to)
	d, text := x.d, l.Cut(from, to)
	if d.log.begins(d, m.text) {
		d.who, d.rest = d.identity(m.ident), m
		x.rows(text)
		return
	}
	d.log = log{}
	var r drivers.Reading
	d.marks = d.marks[:0]
	err := d.decode(m, &r)
	at, n := 0, 0
	for _, mark := range d.marks {
		text.Mark(at, mark.start, "line end", "")
		x.set(text.Cut(mark.start, mark.end), r.Values[n:mark.values])
		at, n = mark.end, mark.values
	}
	text.Mark(at, len(text.Data), "line end", "")
	if lost, ok := errors.AsType[*drivers.FrameError](err); ok {
		l.Blame(from+lost.Offset, lost.Clone()) // of text there may be none
	}
}

// tail marks what stands behind the data lines: the end line, ETX or EOT, BCC.
func (x *explanation) tail(l drivers.Layer, at int) {
	end := at
	for end < len(l.Data) && l.Data[end] != etx && l.Data[end] != eot {
		end++
	}
	l.Mark(at, end, "end line", "!")
	if end+1 < len(l.Data) {
		l.Mark(end, end+1, markName(l.Data[end]), "")
		l.Mark(end+1, len(l.Data), "BCC", "XOR of all behind STX, fits")
	}
}

// rows marks the rows of a log.
func (x *explanation) rows(l drivers.Layer) {
	d := x.d
	for at := 0; at < len(l.Data); {
		var r drivers.Reading
		row, err := d.nextRow(&r)
		end := len(l.Data) - len(d.rest.text)
		part := l.Cut(at, end)
		if lost, ok := errors.AsType[*drivers.FrameError](err); ok {
			x.lines(part)
			part.Blame(len(part.Data)-1, lost.Clone())
			at = end
			continue
		}
		last := bytes.LastIndexByte(bytes.TrimRight(part.Data, "\r\n"), '\n') + 1
		x.lines(part.Cut(0, last))
		if !row {
			x.lines(part.Cut(last, len(part.Data)))
			return
		}
		x.set(part.Cut(last, len(part.Data)).In("row of a log"), r.Values)
		at = end
	}
}

// set marks a data set: its address and its brackets, with the values that it
// gave.
func (x *explanation) set(l drivers.Layer, values []drivers.Value) {
	text := bytes.TrimRight(l.Data, "\r\n ")
	l.Mark(len(text), len(l.Data), "line end", "")
	if len(text) == 0 {
		return
	}
	at := bytes.IndexByte(text, '(')
	if at < 0 {
		at = len(text)
	}
	last := 0
	if at > 0 {
		l = l.In("data set " + string(text[:min(at, 20)]))
		last = l.Mark(0, at, "address", x.meaning(bytes.TrimSpace(text[:at])))
	}
	x.brackets(l.Cut(0, len(text)), at, last, values)
}

// meaning is what an address stands for, in words.
func (x *explanation) meaning(id []byte) string {
	m := x.d.meaning(id)
	switch {
	case m.name != "":
		return m.name
	case !m.code.IsZero():
		return obis.Lookup(m.code).Name
	}
	return "of no known form"
}

// brackets marks the brackets of a data set from an offset on, and deals them the
// values.
func (x *explanation) brackets(l drivers.Layer, at, last int, values []drivers.Value) {
	var holders, times []int
	for at < len(l.Data) {
		end := len(l.Data)
		if n := bytes.IndexByte(l.Data[at:], ')'); n >= 0 {
			end = at + n + 1
		}
		g := bytes.TrimSpace(bytes.Trim(l.Data[at:end], "()\r\n"))
		stamp, dated := x.d.clock.stamp(g)
		switch {
		case dated:
			last = l.Mark(at, end, "time", stamp.String())
			times = append(times, last)
		case len(g) == 0:
			last = l.Mark(at, end, "brackets", "no value")
		default:
			last = l.Mark(at, end, "value", "")
			holders = append(holders, last)
		}
		at = end
	}
	x.e.Deal(values, holders, times, last)
}
