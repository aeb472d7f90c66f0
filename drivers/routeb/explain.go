package routeb

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// explain says what each byte that a module sent means. It goes the way of a
// Decoder, with a Decoder.
func explain(c drivers.Config, _ drivers.Zones, b []byte) ([]drivers.Span, error) {
	own, err := ownConfig(c)
	if err != nil {
		return nil, err
	}
	e, whole := drivers.Explain(b)
	x := explainer{d: NewDecoder(own), e: e, whole: whole}
	x.d.Feed(b)
	x.d.Gap()
	for x.step() {
	}
	return e.Spans(), nil
}

type explainer struct {
	d     *Decoder
	e     *drivers.Explanation
	whole drivers.Layer
}

// step takes the next message, as Scanner.Next does. false: no byte is left.
func (x *explainer) step() bool {
	s, d := &x.d.scanner, x.d
	at := s.pos
	if at >= len(s.buf) {
		return false
	}
	n, v := s.step(s.buf[at:], &d.item)
	if v == more {
		n, v = s.abandon(s.buf[at:])
	}
	s.pos, s.seen = at+n, 0
	l := x.whole.Cut(at, at+n)
	switch {
	case v == lost:
		l.Mark(0, n, "damaged message", "")
		x.whole.Cut(at, len(s.buf)).Blame(s.lost.Offset, s.lost.Clone())
	case v == yes:
		x.message(l)
	case n > 0 && (l.Data[0] == '\r' || l.Data[0] == '\n'):
		l.Mark(0, n, "line end", "")
	}
	return n > 0
}

// message marks a whole message.
func (x *explainer) message(l drivers.Layer) {
	d, n := x.d, len(l.Data)
	switch d.item.Form {
	case TextLine:
		l.Mark(0, n, "line of the module", "")
		return
	case UDPLine:
		l = l.In("ERXUDP")
		l.Mark(0, n, "datagram", fmt.Sprintf("UDP from port %d to port %d", d.item.Datagram.From, d.item.Datagram.To))
	case J11Frame:
		l = l.In("J11 frame")
		l.Mark(0, n, "data", "")
		l.Mark(0, 4, "mark", "")
		l.Mark(4, 6, "command", fmt.Sprintf("0x%04x", d.item.Command))
		l.Mark(6, 8, "length", fmt.Sprint(binary.BigEndian.Uint16(l.Data[6:])))
		l.Mark(8, 10, "header sum", "")
		l.Mark(10, j11Head, "data sum", "")
	case Bare:
	}
	if !d.item.carries() {
		return
	}
	x.frame(x.payload(l))
}

// payload is where a message has its datagram: as it is, or in hexadecimal digits.
func (x *explainer) payload(l drivers.Layer) drivers.Layer {
	data := x.d.item.Datagram.Data
	if at := bytes.LastIndex(l.Data, data); at >= 0 && len(data) > 0 {
		return l.Cut(at, at+len(data))
	}
	text := bytes.TrimRight(l.Data, "\r\n ")
	at := max(0, len(text)-2*len(data))
	return l.Cut(at, len(text)).Printed(data)
}

// frame marks an ECHONET Lite frame, with the values that it gave.
func (x *explainer) frame(l drivers.Layer) {
	d := x.d
	l = l.In("ECHONET Lite frame")
	l.Mark(0, len(l.Data), "frame", "")
	field, at, err := d.frame.Parse(l.Data)
	if err != nil {
		l.Blame(at, &drivers.FrameError{Field: field, Offset: at, Length: len(l.Data), Err: err})
		return
	}
	f := &d.frame
	l.Mark(0, 2, "EHD", "ECHONET Lite, format 1")
	l.Mark(2, 4, "TID", fmt.Sprint(f.TID))
	l.Mark(4, 7, "SEOJ", fmt.Sprintf("%06X", uint32(f.Source)))
	l.Mark(7, 10, "DEOJ", fmt.Sprintf("%06X", uint32(f.Sink)))
	service := l.Mark(10, 11, "ESV", fmt.Sprintf("0x%02X", byte(f.Service)))
	var r drivers.Reading
	if d.read(f, &r) {
		d.addStrength(&r)
	}
	left := append([]drivers.Value(nil), r.Values...)
	next := 11
	for _, list := range [...][]Property{f.Properties, f.Gets} {
		if next >= len(l.Data) {
			break
		}
		l.Mark(next, next+1, "OPC", fmt.Sprintf("%d properties", len(list)))
		next++
		for _, p := range list {
			left = x.property(l, next, p, left)
			if f.Source.class() == NodeProfile.class() {
				instances(l, next, p)
			}
			next += 2 + len(p.EDT)
		}
	}
	for i := range left {
		x.e.Read(service, &left[i])
	}
}

// instances marks what objects a node has.
func instances(l drivers.Layer, at int, p Property) {
	if p.EPC != epcInstanceInf && p.EPC != epcInstances {
		return
	}
	list, ok := parseInstances(p.EDT)
	if !ok {
		return
	}
	l = l.In(fmt.Sprintf("property %02X", p.EPC))
	for i, o := range list {
		l.Mark(at+3+3*i, at+6+3*i, "object", fmt.Sprintf("%06X", uint32(o)))
	}
}

// property marks a property and gives it those of the values that it alone makes.
// The others are left.
func (x *explainer) property(l drivers.Layer, at int, p Property, left []drivers.Value) []drivers.Value {
	l = l.In(fmt.Sprintf("property %02X", p.EPC))
	l.Mark(at, at+1, "EPC", fmt.Sprintf("0x%02X", p.EPC))
	span := l.Mark(at+1, at+2, "PDC", fmt.Sprintf("%d bytes", len(p.EDT)))
	if len(p.EDT) > 0 {
		span = l.Mark(at+2, at+2+len(p.EDT), "EDT", "")
	}
	own := values{scale: x.d.values.scale}
	own.add(p)
	for i := range own.list {
		for k := range left {
			if left[k].String() == own.list[i].String() {
				x.e.Read(span, &left[k])
				left = append(left[:k], left[k+1:]...)
				break
			}
		}
	}
	return left
}
