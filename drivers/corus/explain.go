package corus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// explain says what each byte of a captured conversation means, answers that are
// refused included. It goes the way of a Decoder, with a Decoder. What parameters
// say is known only where the commands stand among the answers.
func explain(c drivers.Config, z drivers.Zones, b []byte) ([]drivers.Span, error) {
	cfg, err := own(c)
	if err != nil {
		return nil, err
	}
	d, err := newDecoder(cfg, z)
	if err != nil {
		return nil, err
	}
	e, whole := drivers.Explain(b)
	d.Feed(b)
	d.Gap()
	x := explanation{d: d, e: e, whole: whole}
	for d.pos < len(d.in) {
		x.step()
	}
	x.refused(whole, len(b)-1, d.dry())
	return e.Spans(), nil
}

type explanation struct {
	d     *Decoder
	e     *drivers.Explanation
	whole drivers.Layer
	told  int           // what lies before is marked as far as it can be
	data  drivers.Layer // of the frames of the transfer that goes on
}

// step takes what comes next, as the decoder does.
func (x *explanation) step() {
	d, at := x.d, x.d.pos
	v, n := lookBoth(d.in[at:], d.gap)
	l := x.whole.Cut(at, at+n)
	switch v {
	case needMore:
		l = x.whole.Cut(at, len(d.in))
		l.Mark(0, len(l.Data), "unfinished answer", "")
		x.told = len(d.in)
	case isNothing:
		handshake(x.whole.Cut(max(at, x.told), at+n))
	case isDamaged:
		l.Mark(0, n, "damaged answer", "")
		x.frame(l.In("answer"), "does not fit")
	case isCommand:
		x.command(l)
	case isAnswer:
		x.answer(l.In("answer"))
		x.told = at + n
		return
	}
	x.told = max(x.told, at+n)
	var r drivers.Reading
	if _, err := d.step(&r); v == isDamaged {
		x.refused(l, n-2, err)
	} else {
		x.refused(l, d.pos-at-1, err)
	}
}

// refused notes that the decoder refused what the layer is.
func (x *explanation) refused(l drivers.Layer, at int, err error) {
	if lost, ok := errors.AsType[*drivers.FrameError](err); ok {
		l.Blame(at, lost.Clone())
	}
}

// handshake marks what is neither command nor answer: the way into a conversation,
// and acknowledgements.
func handshake(l drivers.Layer) {
	for len(l.Data) > 0 {
		n := markHandshake(l)
		l = l.Cut(n, len(l.Data))
	}
}

// markHandshake marks what l begins with, and says how long that is.
func markHandshake(l drivers.Layer) int {
	b := l.Data
	switch {
	case b[0] == 0:
		n := len(b) - len(bytes.TrimLeft(b, "\x00"))
		l.Mark(0, n, "wake-up", fmt.Sprintf("%d NULs", n))
		return n
	case bytes.HasPrefix(b, signOn):
		l.Mark(0, len(signOn), "sign-on", "any device")
		return len(signOn)
	case b[0] == '/':
		return markIdentification(l)
	case bytes.HasPrefix(b, passMessage):
		l = l.In("password")
		l.Mark(0, 4, "password", "PASS, a fixed text")
		l.Mark(4, 6, "CRC", "fits")
		return len(passMessage)
	case b[0] == ack && len(b) >= 6 && b[1] == '0' && b[4] == '\r' && b[5] == '\n':
		l.Mark(0, 6, "option select", string(b[1:4]))
		return 6
	case b[0] == ack:
		l.Mark(0, 1, "ACK", "accepted, or: the next frame, please")
	case b[0] == nak:
		l.Mark(0, 1, "NAK", "refused, or: once more, please")
	}
	return 1
}

// markIdentification marks / XXX Z ident CR LF.
func markIdentification(l drivers.Layer) int {
	end := bytes.IndexByte(l.Data, '\n') + 1
	line := bytes.TrimRight(l.Data[:end], "\r\n")
	if len(line) < 5 || end > maxIdent+2 {
		return 1
	}
	l = l.In("identification")
	l.Mark(0, 1, "start", "/")
	l.Mark(1, 4, "manufacturer", string(line[1:4]))
	l.Mark(4, 5, "speed", string(line[4:5])+", which the option select may echo")
	l.Mark(5, len(line), "model", string(line[5:]))
	l.Mark(len(line), end, "line end", "")
	return end
}

// frame marks what an answer has around its data.
func (x *explanation) frame(l drivers.Layer, check string) {
	n := len(l.Data)
	l.Mark(0, 1, "SOH", "")
	l.Mark(1, 2, "length", fmt.Sprint(l.Data[1]))
	closing(l.Cut(n-3, n), check)
}

// closing marks the three bytes that end each message.
func closing(l drivers.Layer, check string) {
	l.Mark(0, 1, "ETX", "")
	l.Mark(1, 3, "CRC", "CRC-16/BUYPASS from SOH to ETX, low byte first: "+check)
}

// command marks what somebody sent.
func (x *explanation) command(l drivers.Layer) {
	n, b := len(l.Data), l.Data
	if b[1] == breakMessage[1] {
		l = l.In("break")
		l.Mark(0, 1, "SOH", "")
		l.Mark(1, 3, "command", "B0: the conversation ends")
		closing(l.Cut(n-3, n), "fits")
		return
	}
	name := map[byte]string{cmdRead: "read parameters", cmdWrite: "write parameters", cmdDatabase: "read a database"}[b[1]]
	l = l.In(name)
	l.Mark(0, 1, "SOH", "")
	l.Mark(1, 2, "command", fmt.Sprintf("%02X, %s", b[1], name))
	l.Mark(2, 3, "length", fmt.Sprint(b[2]))
	closing(l.Cut(n-3, n), "fits")
	body := l.Cut(3, n-3)
	switch b[1] {
	case cmdRead:
		x.ids(body)
	case cmdWrite:
		x.settings(body)
	case cmdDatabase:
		query(body)
	}
}

// ids marks the parameters that are asked for.
func (x *explanation) ids(l drivers.Layer) {
	for len(l.Data) > 0 {
		id, rest, ok := CutID(l.Data)
		if !ok {
			l.Mark(0, len(l.Data), "id", "its second byte is missing")
			return
		}
		n := len(l.Data) - len(rest)
		l.Mark(0, n, "id", x.parameterText(id))
		l = l.Cut(n, len(l.Data))
	}
}

func (x *explanation) parameterText(id ID) string {
	if p := x.d.all.mapFor(x.d.firmware).byID(id); p != nil {
		return fmt.Sprintf("%s, %s", id, p.name)
	}
	return fmt.Sprintf("%s, in no map", id)
}

// settings marks parameters that are written, each with its value.
func (x *explanation) settings(l drivers.Layer) {
	for len(l.Data) > 0 {
		id, rest, ok := CutID(l.Data)
		if !ok {
			l.Mark(0, len(l.Data), "id", "its second byte is missing")
			return
		}
		n := len(l.Data) - len(rest)
		l.Mark(0, n, "id", x.parameterText(id))
		end, text := len(l.Data), ""
		if p := x.d.all.mapFor(x.d.firmware).byID(id); p != nil && n+p.length <= end {
			end, text = n+p.length, x.written(p, l.Data[n:n+p.length])
		}
		l.Mark(n, end, "value", text)
		l = l.Cut(end, len(l.Data))
	}
}

// written is what a parameter is set to.
func (x *explanation) written(p *parameter, b []byte) (text string) {
	var r drivers.Reading
	for i := range p.fields {
		x.d.append(&r, &p.fields[i], b)
	}
	for i := range r.Values {
		text += "; " + r.Values[i].String()
	}
	return strings.TrimPrefix(text, "; ")
}

// query marks the command that reads a database.
func query(l drivers.Layer) {
	b := l.Data
	l.Mark(0, len(b), "query", "")
	if len(b) != 13 {
		return
	}
	text := Database(b[0] & 0x0F).String()
	if b[0]&countBit != 0 {
		text += ", count the records"
	}
	if b[0]&continueBit != 0 {
		text += ", continue the last transfer"
	}
	l.Mark(0, 1, "database", text)
	l.Mark(1, 5, "mask", fmt.Sprintf("fields 0x%08x", binary.LittleEndian.Uint32(b[1:])))
	l.Mark(5, 9, "newest", dateText(b[5:9]))
	l.Mark(9, 13, "oldest", dateText(b[9:13]))
}

func dateText(b []byte) string {
	wall, ok := unpack(binary.LittleEndian.Uint32(b))
	if !ok {
		return "no date"
	}
	return drivers.Stamp{Wall: timeOf(wall)}.String()
}

// answer marks an answer whose check holds, and takes the decoder over it.
func (x *explanation) answer(l drivers.Layer) {
	d := x.d
	x.frame(l, "fits")
	body := l.Cut(2, len(l.Data)-3)
	body.Mark(0, len(body.Data), "data", "")
	known := d.question == askedParameters || d.question == askedUnknown
	database := !known && (d.question == askedDatabase || d.transfer.active || d.mayBegin(body.Data))
	before := d.transfer
	var r drivers.Reading
	done, err := d.step(&r)
	switch {
	case database:
		x.chained(body, &before)
	case done && err == nil:
		x.parameters(body)
	}
	x.refused(l, fault(l, err), err)
	if len(d.rows) > 0 {
		x.rows()
	}
}

// fault is the byte of a database's frame that is to blame.
func fault(l drivers.Layer, err error) int {
	lost, ok := errors.AsType[*drivers.FrameError](err)
	if !ok {
		return 0
	}
	switch lost.Field {
	case "frame number":
		return 2
	case "record size":
		return 4
	case "record count":
		return 5
	}
	return max(2, len(l.Data)-4)
}

// parameters marks what the answer to a question for parameters holds.
func (x *explanation) parameters(l drivers.Layer) {
	for _, p := range x.d.asked {
		part := l.Cut(0, p.length).In("parameter " + p.id.String())
		part.Mark(0, p.length, p.name, "no value")
		for i := range p.fields {
			x.field(part, &p.fields[i])
		}
		l = l.Cut(p.length, len(l.Data))
	}
}

// field marks a field where it lies in a record or a parameter.
func (x *explanation) field(l drivers.Layer, f *field) {
	var r drivers.Reading
	x.d.append(&r, f, l.Data)
	span := l.Mark(f.offset, f.offset+f.size, f.name, f.kind.String())
	if len(r.Values) > 0 {
		x.e.Read(span, &r.Values[0])
		return
	}
	text := ", no value"
	if f.pulse && !x.d.known {
		text = ": what a pulse is worth is not known"
	}
	x.e.Say(span, f.kind.String()+text)
}

// chained marks a frame of a database.
func (x *explanation) chained(l drivers.Layer, before *transfer) {
	if len(l.Data) < 2 {
		return
	}
	t := &x.d.transfer
	word := int(binary.LittleEndian.Uint16(l.Data))
	number := word &^ lastFrame
	text := fmt.Sprint(number)
	if word != number {
		text += ", the last"
	}
	l.Mark(0, 2, "frame number", text)
	at := 2
	if number == 0 {
		at = x.opening(l)
	}
	switch {
	case before.active && number == before.next-1 && t.next == before.next:
		l.Mark(at, len(l.Data), "repeat", "of the frame before")
	case number == 0:
		x.data = l.Cut(at, len(l.Data))
	default:
		x.data = x.data.Join(l.Cut(at, len(l.Data)))
	}
}

// opening marks what only the first frame has, and says where that ends.
func (x *explanation) opening(l drivers.Layer) int {
	b := l.Data
	if len(b) < 3 {
		return len(b)
	}
	l.Mark(2, 3, "record size", fmt.Sprint(b[2]))
	if x.d.transfer.counts != counted || len(b) < 5 {
		return 3
	}
	l.Mark(3, 5, "record count", fmt.Sprint(binary.LittleEndian.Uint16(b[3:])))
	return 5
}

// rows marks the records of a transfer that is whole.
func (x *explanation) rows() {
	d, l := x.d, x.data
	if count := len(l.Data) - len(d.rows); count > 0 {
		l.Mark(0, count, "record count", fmt.Sprint(binary.LittleEndian.Uint16(l.Data)))
		l = l.Cut(count, len(l.Data))
	}
	for n := 1; len(d.rows) > 0; n++ {
		size := d.layout.length
		x.record(l.Cut(0, size).In(fmt.Sprintf("record %d", n)))
		d.rows, l = d.rows[size:], l.Cut(size, len(l.Data))
	}
}

// record marks the fields of one record.
func (x *explanation) record(l drivers.Layer) {
	layout := x.d.layout
	l.Mark(0, len(l.Data), "unused", "the layout passes over it")
	if at := layout.stamp; at >= 0 {
		text := "none"
		if s, ok := x.d.clock.stamp(binary.LittleEndian.Uint32(l.Data[at:])); ok {
			text = s.String()
		}
		l.Mark(at, at+4, "date", "of the record: "+text)
	}
	for i := range layout.fields {
		x.field(l, &layout.fields[i])
	}
}
