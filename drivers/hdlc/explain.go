package hdlc

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
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
	d.Feed(b)
	d.Gap()
	x := explainer{d: d, e: e, whole: whole}
	for x.step() {
	}
	return &x, nil
}

type explainer struct {
	d     *Decoder
	e     *drivers.Explanation
	whole drivers.Layer

	frames, longs, blocks drivers.Layer // what the decoder has joined so far
	joining               bool          // frames is a telegram that goes on
	seals                 []drivers.Layer
}

// step takes what the decoder finds next, as nextAPDU does. false: no byte is left.
func (x *explainer) step() bool {
	d := x.d
	at := d.pos
	b := d.buf[at:]
	if len(b) == 0 {
		err := d.dry()
		x.blame(x.whole, len(x.whole.Data)-1, err)
		return !errors.Is(err, drivers.ErrMore)
	}
	x.joining = d.frames.active
	apdu, check, err := d.take(b)
	switch {
	case err == nil && d.fresh:
		x.bare(at, d.pos, apdu, check)
	case err == nil && b[0] == flag && d.pos == at+1:
		x.whole.Mark(at, at+1, "flag", "fill")
	case err == nil && b[0] == flag:
		x.frame(at, apdu, check)
	case err == nil:
		x.long(at, apdu, check)
	case err == errNoise: //nolint:errorlint // never wrapped
		x.blame(x.whole, at, d.hunt())
	case err == drivers.ErrMore: //nolint:errorlint // the same
		x.unfinished(at, b)
	default:
		x.refused(at, b[0], err)
	}
	return true
}

// blame tells of a loss, if there is one.
func (x *explainer) blame(l drivers.Layer, offset int, err error) {
	if lost, ok := errors.AsType[*drivers.FrameError](err); ok {
		l.Blame(offset, lost.Clone())
	}
}

// unfinished tells of a frame whose end did not come.
func (x *explainer) unfinished(at int, b []byte) {
	fresh := x.d.fresh
	err := x.d.unfinished(b)
	l := x.whole.Cut(at, at+len(b))
	switch {
	case err == nil && b[0] == flag && len(b) == 1:
		l.In("HDLC frame").Mark(0, 1, "flag", "end")
	case err == nil:
	case fresh:
		l.Mark(0, len(b), "unfinished APDU", "")
	default:
		l.Mark(0, len(b), "unfinished frame", "")
	}
	x.blame(l, len(b)-1, err)
}

// refused marks a frame that failed its check.
func (x *explainer) refused(at int, start byte, err error) {
	lost, ok := errors.AsType[*drivers.FrameError](err)
	if !ok {
		return
	}
	lost = lost.Clone()
	l := x.whole.Cut(at, at+max(lost.Length, 1))
	switch {
	case x.joining && x.d.pos == at: // the frame at hand is whole, and looked at again
		x.frames.Blame(len(x.frames.Data)-1, lost)
		return
	case start == flag:
		l = x.whole.Cut(at, at+x.frameSize(at))
		if info := x.frameFields(l); lost.Field == "LLC header" {
			l = info
		}
	case start == longStart:
		l = x.whole.Cut(at, at+x.longSize(at))
		x.longFields(l)
	}
	l.Blame(lost.Offset, lost)
}

// frameSize is the size of the HDLC frame at an offset, as it says itself, with
// both flags.
func (x *explainer) frameSize(at int) int {
	b := x.whole.Data[at:]
	if x.d.stuffing {
		if n := bytes.IndexByte(b[1:], flag); n >= 0 {
			return n + 2
		}
		return len(b)
	}
	if len(b) < 3 {
		return len(b)
	}
	return min(int(b[1]&7)<<8|int(b[2])+2, len(b))
}

// frameFields marks the fields of the HDLC frame that l is, and gives its
// information field.
func (x *explainer) frameFields(l drivers.Layer) (info drivers.Layer) {
	l = l.In("HDLC frame")
	if x.d.stuffing {
		l = x.unstuff(l)
	}
	b, n := l.Data, len(l.Data)
	l.Mark(0, n, "frame", "")
	l.Mark(0, 1, "flag", "begin")
	if n < minLength+2 {
		return l.Cut(0, 0)
	}
	more := ""
	if b[1]&segmentBit != 0 {
		more = ", segments follow"
	}
	l.Mark(1, 3, "frame format", fmt.Sprintf("type 3, length %d%s", int(b[1]&7)<<8|int(b[2]), more))
	at := 1 + formatSize
	for _, name := range [...]string{"destination address", "source address"} {
		next, err := address(b[:n-1], at)
		if err != nil {
			return l.Cut(0, 0)
		}
		l.Mark(at, next, name, fmt.Sprintf("0x%x", b[at:next]))
		at = next
	}
	l.Mark(at, at+1, "control", fmt.Sprintf("0x%02x", b[at]))
	at++
	end := n - 1 - checkSize
	if at < end {
		l.Mark(at, at+checkSize, "HCS", "CRC-16/X-25 of the header")
		at += checkSize
		l.Mark(at, end, "information field", "")
	}
	l.Mark(end, n-1, "FCS", "CRC-16/X-25 of the frame")
	if b[n-1] == flag {
		l.Mark(n-1, n, "flag", "end")
	}
	return l.Cut(at, end)
}

// unstuff is a frame without octet stuffing.
func (x *explainer) unstuff(l drivers.Layer) drivers.Layer {
	var (
		data   []byte
		places []int
	)
	l.Mark(0, len(l.Data), "escape", "the next byte is xored with 0x20")
	for i := 0; i < len(l.Data); i++ {
		c := l.Data[i]
		if c == escape && i+1 < len(l.Data) {
			i++
			c = l.Data[i] ^ escapeXor
		}
		data, places = append(data, c), append(places, i)
	}
	return l.Placed(data, places)
}

// frame marks a good HDLC frame and what it completes.
func (x *explainer) frame(at int, apdu []byte, check drivers.Check) {
	l := x.whole.Cut(at, at+x.frameSize(at))
	info := x.frameFields(l)
	joined := len(x.d.frames.joined)
	switch {
	case apdu == nil && joined == len(info.Data):
		x.frames = info
	case apdu == nil && joined == len(x.frames.Data)+len(info.Data):
		x.frames = x.frames.Join(info)
	case apdu == nil: // a segment whose first one never came
		info.Mark(0, len(info.Data), "segment", "its first one is missing")
	case x.joining:
		x.unwrap(x.frames.Join(info), apdu, check)
	default:
		x.unwrap(info, apdu, check)
	}
}

// unwrap marks the LLC header.
func (x *explainer) unwrap(l drivers.Layer, apdu []byte, check drivers.Check) {
	n := len(l.Data) - len(apdu)
	l.Mark(0, n, "LLC header", fmt.Sprintf("%x", l.Data[:n]))
	x.read(l.Cut(n, len(l.Data)), apdu, check)
}

// longSize is the size of the M-Bus long frame at an offset.
func (x *explainer) longSize(at int) int {
	b := x.whole.Data[at:]
	if len(b) < 2 {
		return len(b)
	}
	l := int(b[1])
	if l < longCounted {
		l += 256
	}
	return min(l+longAround, len(b))
}

// longFields marks the fields of an M-Bus long frame and gives its data.
func (x *explainer) longFields(l drivers.Layer) (data drivers.Layer) {
	l = l.In("M-Bus long frame")
	n := len(l.Data)
	l.Mark(0, n, "frame", "")
	if n < longHeader+2 {
		return l.Cut(0, 0)
	}
	last := ""
	if l.Data[6]&lastSegment != 0 {
		last = ", the last one"
	}
	l.Mark(0, 1, "start", "68")
	l.Mark(1, 3, "L-field", fmt.Sprintf("%d, twice", l.Data[1]))
	l.Mark(3, 4, "start", "68")
	l.Mark(4, 5, "C-field", fmt.Sprintf("0x%02x", l.Data[4]))
	l.Mark(5, 6, "A-field", fmt.Sprintf("0x%02x", l.Data[5]))
	l.Mark(6, 7, "CI-field", fmt.Sprintf("DLMS, segment %d%s", l.Data[6]&0x0F, last))
	l.Mark(7, longHeader, "SAP", "destination and source")
	l.Mark(longHeader, n-2, "segment", "")
	l.Mark(n-2, n-1, "checksum", "sum of all from C-field on")
	l.Mark(n-1, n, "stop", "16")
	return l.Cut(longHeader, n-2)
}

// long marks a good M-Bus long frame and what it completes.
func (x *explainer) long(at int, apdu []byte, check drivers.Check) {
	data := x.longFields(x.whole.Cut(at, at+x.longSize(at)))
	if len(x.d.longs.joined) == len(data.Data) {
		x.longs = data
	} else {
		x.longs = x.longs.Join(data)
	}
	if apdu != nil {
		x.read(x.longs, apdu, check)
	}
}

// bare marks an APDU without a frame, or the fill before one.
func (x *explainer) bare(at, end int, apdu []byte, check drivers.Check) {
	l := x.whole.Cut(at, end)
	if apdu == nil {
		l.Mark(0, len(l.Data), "fill", "")
		return
	}
	n := len(l.Data) - len(apdu)
	if n == wrapperSize {
		l.Mark(0, 2, "wrapper version", "1")
		l.Mark(2, 4, "source port", fmt.Sprintf("%d", int(l.Data[2])<<8|int(l.Data[3])))
		l.Mark(4, 6, "destination port", fmt.Sprintf("%d", int(l.Data[4])<<8|int(l.Data[5])))
		l.Mark(6, 8, "length", fmt.Sprintf("%d", len(apdu)))
		x.read(l.Cut(n, len(l.Data)), apdu, check)
		return
	}
	if n > 0 {
		l.Mark(0, n, "LLC header", fmt.Sprintf("%x", l.Data[:n]))
	}
	x.read(l.Cut(n, len(l.Data)), apdu, check)
}

// read marks an APDU, and what its values were read from.
func (x *explainer) read(l drivers.Layer, apdu []byte, check drivers.Check) {
	var r drivers.Reading
	x.d.sources = map[int]int{}
	err := x.d.read(&r, apdu, check)
	if lost, ok := errors.AsType[*drivers.FrameError](err); ok && dlms.IsBlock(apdu) && lost.Field == "block" {
		dlms.ExplainBlock(l)
		l.Blame(lost.Offset, lost.Clone())
		x.blocks = drivers.Layer{}
		return
	}
	if dlms.IsBlock(apdu) {
		data, first := dlms.ExplainBlock(l)
		if first {
			x.blocks = drivers.Layer{}
		}
		l = x.blocks.Join(data)
		x.blocks = l
	}
	if err == errNoise { //nolint:errorlint // more blocks must come
		return
	}
	if err != nil && check == drivers.CheckRelayed {
		x.d.refuse()
	}
	x.content(l, &r, err)
	x.blocks = drivers.Layer{}
}

// content marks what an APDU says: deciphered if it was ciphered.
func (x *explainer) content(l drivers.Layer, r *drivers.Reading, err error) {
	lost, refused := errors.AsType[*drivers.FrameError](err)
	if dlms.IsCiphered(l.Data) {
		x.seals = append(x.seals, l)
		sealed := dlms.ExplainCiphered(l)
		switch {
		case refused && len(sealed.Data) > 0:
			sealed.Blame(0, lost.Clone())
			return
		case refused:
			l.Blame(0, lost.Clone())
			return
		}
		l = sealed.Opened(bytes.Clone(x.d.clear[:len(sealed.Data)]))
	}
	l = l.In("notification")
	body := dlms.ExplainNotification(l)
	if refused {
		body.Mark(0, len(body.Data), "body", "")
		l.Blame(lost.Offset, lost.Clone())
		return
	}
	spans := x.d.tree.Explain(body)
	for i := range x.d.tree.Elements {
		if x.d.isCode(i) {
			x.e.Say(spans[i], "OBIS code "+x.d.codeAt(i).String())
		}
		if _, ok := x.d.scalerUnit(i); ok {
			unit, shift, _ := dlms.Unit(x.d.tree.Bytes(i + 2)[0])
			x.e.Say(spans[i+1], fmt.Sprintf("scaler 10^%d", int8(x.d.tree.Bytes(i + 1)[0])))
			x.e.Say(spans[i+2], fmt.Sprintf("unit 10^%d %s", -shift, unit))
		}
	}
	for i := range r.Values {
		x.e.Read(spans[x.d.sources[i]], &r.Values[i])
	}
}
