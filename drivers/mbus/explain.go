package mbus

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// explainWired says what each byte of captured link frames means, frames that are
// refused included. It goes the way of a Decoder, with a Decoder.
func explainWired(_ drivers.Config, z drivers.Zones, b []byte) ([]drivers.Span, error) {
	d := NewDecoder(zoneOf(z))
	e, whole := drivers.Explain(b)
	d.Feed(b)
	d.Gap()
	d.app.marks = []mark{}
	x := wired{d: d, pending: pending{e: e}, whole: whole}
	for x.step() {
	}
	return e.Spans(), nil
}

type wired struct {
	d      *Decoder
	whole  drivers.Layer
	status int // the span of the last telegram's status; 0: it has none
	pending
}

// pending are the spans whose values wait for the end of their readout.
type pending struct {
	e      *drivers.Explanation
	spans  []int
	values []int
}

func (p *pending) wait(span, value int) {
	p.spans, p.values = append(p.spans, span), append(p.values, value)
}

// settle gives the spans their values.
func (p *pending) settle(r *drivers.Reading) {
	for i, span := range p.spans {
		if v := p.values[i]; v < len(r.Values) {
			p.e.Read(span, &r.Values[v])
		}
	}
	p.forget()
}

func (p *pending) forget() { p.spans, p.values = p.spans[:0], p.values[:0] }

// step takes the next frame, as Decoder.Next does. false: there is none.
func (x *wired) step() bool {
	d := x.d
	err := d.framer.Next(&d.frame)
	if errors.Is(err, drivers.ErrMore) {
		x.dry()
		return false
	}
	if lost, ok := errors.AsType[*drivers.FrameError](err); ok {
		d.damaged = d.joining
		x.refused(d.framer.start-1, lost.Clone())
		return true
	}
	raw := len(d.frame.Raw)
	l := x.whole.Cut(d.framer.start-raw, d.framer.start)
	x.fields(l)
	if d.frame.Kind < Control || d.frame.FromMaster() || d.repeated() {
		return true
	}
	x.answer(l.In(frameName(&d.frame)))
	return true
}

// dry ends a readout that the end of the input cut off.
func (x *wired) dry() {
	var r drivers.Reading
	err := x.d.dry(&r)
	if err == nil {
		x.complete(&r)
	}
	if lost, ok := errors.AsType[*drivers.FrameError](err); ok {
		x.whole.Blame(len(x.whole.Data)-1, lost.Clone())
	}
}

func frameName(f *Frame) string {
	return [...]string{Ack: "acknowledgement", Short: "short frame", Control: "control frame", Long: "long frame"}[f.Kind]
}

// refused marks a frame that failed a check.
func (x *wired) refused(at int, lost *drivers.FrameError) {
	l := x.whole.Cut(at, at+max(lost.Length, 1))
	l.Mark(0, len(l.Data), "damaged frame", "")
	switch n := len(l.Data); {
	case n == 5 && l.Data[0] == shortStart:
		x.short(l.In("short frame"))
	case n >= 9 && l.Data[0] == longStart:
		x.long(l.In("long frame"))
	}
	l.Blame(lost.Offset, lost)
}

// fields marks the link layer of a frame.
func (x *wired) fields(l drivers.Layer) {
	f := &x.d.frame
	l = l.In(frameName(f))
	switch f.Kind {
	case Ack:
		l.Mark(0, 1, "acknowledgement", "E5")
	case Short:
		x.short(l)
	case Control, Long:
		x.long(l)
	}
}

func (x *wired) short(l drivers.Layer) {
	l.Mark(0, 1, "start", "10")
	x.addressed(l.Cut(1, 3))
	l.Mark(3, 4, "checksum", "sum of C-field and A-field")
	l.Mark(4, 5, "stop", "16")
}

func (x *wired) long(l drivers.Layer) {
	n := len(l.Data)
	l.Mark(0, 1, "start", "68")
	l.Mark(1, 3, "L-field", fmt.Sprintf("%d, twice", l.Data[1]))
	l.Mark(3, 4, "start", "68")
	x.addressed(l.Cut(4, 6))
	l.Mark(6, 7, "CI-field", ciText(l.Data[6]))
	l.Mark(dataAt, n-2, "data", "")
	l.Mark(n-2, n-1, "checksum", "sum of all from C-field on")
	l.Mark(n-1, n, "stop", "16")
}

func (x *wired) addressed(l drivers.Layer) {
	speaker := "answer"
	if l.Data[0]&0x40 != 0 {
		speaker = "request"
	}
	l.Mark(0, 1, "C-field", fmt.Sprintf("0x%02x, %s", l.Data[0], speaker))
	l.Mark(1, 2, "A-field", fmt.Sprintf("address %d", l.Data[1]))
}

// ciTexts are the CI-fields that are read, in words.
var ciTexts = map[byte]string{
	ciLong: "variable data, long header", ciLongMSB: "variable data, long header, most significant byte first",
	ciFixed: "fixed data; by radio a compact frame with long header", ciFixedMSB: "fixed data, most significant byte first",
	ciBare: "variable data without header", ciShort: "variable data, short header",
	ciError: "application error", ciErrorShort: "application error, short header", ciErrorLong: "application error, long header",
	ciAlarm: "alarm", ciAlarmShort: "alarm, short header", ciAlarmLong: "alarm, long header",
	ciExtended8C: "extended link layer, 2 bytes", ciExtended8D: "extended link layer, 8 bytes",
	ciExtended8E: "extended link layer, 10 bytes", ciExtended8F: "extended link layer, 16 bytes",
	ciAuth: "authentication and fragmentation", ciNetwork: "network layer",
	ciCompact: "compact frame", ciCompactShort: "compact frame, short header",
}

func ciText(ci byte) string {
	text := fmt.Sprintf("0x%02x", ci)
	if meaning, ok := ciTexts[ci]; ok {
		text += ", " + meaning
	}
	return text
}

// answer marks what a good answer says.
func (x *wired) answer(l drivers.Layer) {
	d := x.d
	var r drivers.Reading
	d.app.marks = d.app.marks[:0]
	ci, began, data := d.frame.CI, !d.joining, l.Cut(dataAt, len(l.Data)-2)
	if began {
		x.forget()
	}
	more, err := d.answer(&r)
	if lost, ok := errors.AsType[*drivers.FrameError](err); ok {
		lost = lost.Clone()
		x.headerOf(data)
		x.records(data.Cut(d.headerLength(), len(data.Data)), d.app.marks, false)
		l.Blame(lost.Offset, lost)
		return
	}
	n := d.headerLength()
	status := x.headerOf(data)
	switch ci {
	case ciFixed, ciFixedMSB:
		x.fixed(data, &r)
		return
	case ciAlarm, ciAlarmShort, ciAlarmLong:
		x.wait(data.Mark(n, len(data.Data), "alarm", ""), 0)
	default:
		x.records(data.Cut(n, len(data.Data)), d.app.marks, true)
	}
	x.status = status
	if !more {
		x.complete(&r)
	}
}

// complete ends a readout: its last value is the status of its last telegram.
func (x *wired) complete(r *drivers.Reading) {
	if x.status > 0 {
		x.wait(x.status, len(r.Values)-1)
	}
	x.settle(r)
}

// headerLength is the length of the header of the frame at hand.
func (d *Decoder) headerLength() int {
	switch {
	case d.header.named:
		return longHeader
	case d.header.sized:
		return shortHeader
	}
	return 0
}

// headerOf marks the header that the frame at hand has, and gives the span of its
// status, 0 if it has none.
func (x *wired) headerOf(l drivers.Layer) (status int) {
	n := x.d.headerLength()
	if n == 0 || n > len(l.Data) {
		return 0
	}
	if n == longHeader {
		markMeter(l, identity(driverName, x.d.header.meter))
	}
	return markShort(l.Cut(n-shortHeader, n), &x.d.header)
}

// markMeter marks the eight bytes of an address.
func markMeter(l drivers.Layer, who drivers.Identity) {
	l = l.In("header")
	l.Mark(0, 4, "identification number", who.ID)
	l.Mark(4, 6, "manufacturer", who.Manufacturer)
	l.Mark(6, 7, "version", who.Version)
	l.Mark(7, 8, "medium", fmt.Sprintf("0x%02x, %s", l.Data[7], who.Medium))
}

// markShort marks the short header and gives the span of the status.
func markShort(l drivers.Layer, h *header) (status int) {
	l = l.In("header")
	l.Mark(0, 1, "access number", fmt.Sprint(h.access))
	status = l.Mark(1, 2, "status", statusText(h.status))
	text := "not encrypted"
	if h.mode() != modePlain {
		text = fmt.Sprintf("encryption mode %d, %d blocks", h.mode(), h.blocks())
	}
	l.Mark(2, 4, "configuration", text)
	return status
}

// statusText is the status byte in words.
func statusText(status byte) string {
	words := []string{[...]string{"", "application busy", "application error", "reserved"}[status&3]}
	for bit, word := range map[byte]string{0x04: "power low", 0x08: "permanent error", 0x10: "temporary error"} {
		if status&bit != 0 {
			words = append(words, word)
		}
	}
	if status&0xE0 != 0 {
		words = append(words, "manufacturer's bits")
	}
	if text := strings.Trim(strings.Join(words, ", "), ", "); text != "" {
		return text
	}
	return "no error"
}

// fixed marks the fixed data structure.
func (x *wired) fixed(l drivers.Layer, r *drivers.Reading) {
	if len(l.Data) != fixedLength {
		return
	}
	l = l.In("fixed data")
	l.Mark(0, 4, "identification number", r.Meter.ID)
	l.Mark(4, 5, "access number", fmt.Sprint(l.Data[4]))
	status := l.Mark(5, 6, "status", statusText(l.Data[5]))
	l.Mark(6, 8, "medium and units", r.Meter.Medium)
	first, second := l.Mark(8, 12, "counter 1", ""), l.Mark(12, 16, "counter 2", "")
	counters := r.Values[:len(r.Values)-1]
	x.e.Read(status, &r.Values[len(counters)])
	for i := range counters {
		span := first
		if i > 0 || fixedUnits[l.Data[6]&0x3F].name == "" {
			span = second
		}
		x.e.Read(span, &counters[i])
	}
}

// records marks records, as the decoder has read them. good: their values count.
func (p *pending) records(l drivers.Layer, marks []mark, good bool) {
	at := 0
	for i, m := range marks {
		markFillers(l.Cut(at, m.start))
		span := markRecord(l.In(fmt.Sprintf("record %d", i+1)), m)
		if good && m.value >= 0 {
			p.wait(span, m.value)
		}
		at = m.end
	}
	markFillers(l.Cut(at, len(l.Data)))
}

// markFillers marks what stands between records.
func markFillers(l drivers.Layer) {
	for i, c := range l.Data {
		if c != difFiller {
			l.Mark(i, len(l.Data), "data", "not read")
			return
		}
		l.Mark(i, i+1, "filler", "2F")
	}
}

// fieldTexts are the data fields in words: EN 13757-3, table 4.
var fieldTexts = [16]string{
	"no data", "8-bit integer", "16-bit integer", "24-bit integer", "32-bit integer", "32-bit real", "48-bit integer", "64-bit integer",
	"selection for readout", "2 digits BCD", "4 digits BCD", "6 digits BCD", "8 digits BCD", "variable length", "12 digits BCD", "special function",
}

// markRecord marks one record and gives the span of its data; of a record without
// data, that of its DIF.
func markRecord(l drivers.Layer, m mark) int {
	b := l.Data
	if b[m.start] == difMaker || b[m.start] == difMore {
		text := "the rest is the manufacturer's"
		if b[m.start] == difMore {
			text += "; another telegram follows"
		}
		dif := l.Mark(m.start, m.data, "DIF", text)
		if m.data == m.end {
			return dif
		}
		return l.Mark(m.data, m.end, "manufacturer data", "")
	}
	dib, vib, _ := scanHead(b[m.start:])
	at := m.start + dib
	dif := l.Mark(m.start, m.start+1, "DIF", difText(b[m.start:at]))
	if dib > 1 {
		l.Mark(m.start+1, at, "DIFE", coordinatesText(coordinates(b[m.start:at])))
	}
	markVIB(l.Cut(at, at+vib))
	at += vib
	if at < m.data {
		l.Mark(at, m.data, "LVAR", fmt.Sprintf("%d bytes follow", m.end-m.data))
	}
	if m.data == m.end {
		return dif
	}
	if secretVIB(b[at-vib : at]) {
		return l.Mark(m.data, m.end, "data", "secret, never published")
	}
	return l.Mark(m.data, m.end, "data", "")
}

func secretVIB(vib []byte) bool {
	var m meaning
	m.read(vib)
	return m.form == secret
}

func difText(dib []byte) string {
	text := fieldTexts[dib[0]&0x0F]
	if where := coordinatesText(coordinates(dib[:1])); where != "" {
		text += ", " + where
	}
	return text
}

// coordinatesText tells storage, tariff, subunit and function, the non-zero ones.
func coordinatesText(r drivers.Record) string {
	var parts []string
	for _, c := range [...]struct {
		name string
		n    uint64
	}{{"storage", r.Storage}, {"tariff", uint64(r.Tariff)}, {"subunit", uint64(r.Subunit)}} {
		if c.n != 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c.name, c.n))
		}
	}
	if r.Function != drivers.Instantaneous {
		parts = append(parts, [...]string{"", "maximum", "minimum", "during error"}[r.Function])
	}
	return strings.Join(parts, ", ")
}

// markVIB marks VIF, its text and its VIFE.
func markVIB(l drivers.Layer) {
	vib := l.Data
	var m meaning
	m.read(vib)
	at := 1
	switch {
	case vib[0] == vifFB || vib[0] == vifFD:
		at = 2
	case vib[0]&0x7F == vifText:
		at += 1 + int(vib[1])
	}
	l.Mark(0, at, "VIF", m.text())
	if at < len(vib) {
		l.Mark(at, len(vib), "VIFE", strings.TrimPrefix(strings.ReplaceAll(m.suffix, "_", " "), " "))
	}
}

// text is the quantity with its unit and step.
func (q quantity) text() string {
	text := q.name
	if q.unit != "" {
		text += fmt.Sprintf(", %s × 10^%d", q.unit, q.shift)
	}
	return text
}

// explainWireless says what each byte of captured telegrams means.
func explainWireless(c drivers.Config, z drivers.Zones, b []byte) ([]drivers.Span, error) {
	options, ok := c.(*WirelessConfig)
	if !ok {
		return nil, fmt.Errorf("%s: options of another driver: %T", wirelessName, c)
	}
	d, err := NewWirelessDecoder(options, zoneOf(z))
	if err != nil {
		return nil, err
	}
	e, whole := drivers.Explain(b)
	d.Feed(b)
	d.Gap()
	d.app.marks = []mark{}
	x := radio{d: d, pending: pending{e: e}, whole: whole}
	for x.step() {
	}
	return e.Spans(), nil
}

type radio struct {
	d     *WirelessDecoder
	whole drivers.Layer
	pending
}

// step takes the next telegram. false: there is none.
func (x *radio) step() bool {
	in := &x.d.in
	b, check, err := in.next()
	if errors.Is(err, drivers.ErrMore) {
		return false
	}
	l := x.sent()
	if lost, ok := errors.AsType[*drivers.FrameError](err); ok {
		if in.form == asBytes { // what follows may turn out to be another's
			l = x.whole.Cut(in.from, in.from+lost.Length)
		}
		l.Mark(0, len(l.Data), "damaged telegram", "")
		if errors.Is(lost.Err, drivers.ErrChecksum) {
			l.Mark(lost.Offset, lost.Offset+crcLength, "CRC", "of the block before")
		}
		if len(l.Data) > linkHeader {
			markLink(l.In("telegram"))
		}
		l.Blame(lost.Offset, lost.Clone())
		return true
	}
	x.telegram(x.plain(l, len(b), check).In("telegram"), b)
	return true
}

// sent is the telegram as it was sent, with its CRCs. Of a line of text, what
// stands around its digits is marked.
func (x *radio) sent() drivers.Layer {
	in := &x.d.in
	l := x.whole.Cut(in.from, in.start)
	if in.form != asLines {
		return l
	}
	l.Mark(0, len(l.Data), "text of the receiver", "")
	digits := lastHex([]byte(strings.TrimRight(string(l.Data), "\n")))
	at := strings.LastIndex(string(l.Data), string(digits))
	b, _ := hex.DecodeString(string(digits))
	return l.Cut(at, at+len(digits)).Printed(b)
}

// plain marks the CRCs of a telegram and gives the rest of it, size bytes.
func (x *radio) plain(l drivers.Layer, size int, check drivers.Check) drivers.Layer {
	if len(l.Data) == size {
		return l
	}
	first, block := blockB, 1<<8
	if _, a := x.d.in.measure(l.Data); a == drivers.CheckCRC16 {
		first, block = linkHeader, blockA
	}
	rest := l.Cut(0, 0)
	for at, n := 0, first; at < len(l.Data); at, n = at+n+crcLength, block {
		end := min(at+n, len(l.Data)-crcLength)
		if end-at > 0 {
			rest = rest.Join(l.Cut(at, end))
		}
		l.Mark(end, end+crcLength, "CRC", "of the block before, "+check.String())
		n = end - at
	}
	return rest
}

// markLink marks the link layer, ten bytes.
func markLink(l drivers.Layer) {
	b := l.Data
	who := identity(wirelessName, [8]byte{b[4], b[5], b[6], b[7], b[2], b[3], b[8], b[9]})
	l = l.In("link layer")
	l.Mark(0, 1, "L-field", fmt.Sprint(b[0]))
	l.Mark(1, 2, "C-field", fmt.Sprintf("0x%02x", b[1]))
	l.Mark(2, 4, "manufacturer", who.Manufacturer)
	l.Mark(4, 8, "identification number", who.ID)
	l.Mark(8, 9, "version", who.Version)
	l.Mark(9, 10, "medium", fmt.Sprintf("0x%02x, %s", b[9], who.Medium))
}

// telegram decodes a telegram without CRCs and marks what it says. b is deciphered
// in place.
func (x *radio) telegram(l drivers.Layer, b []byte) {
	d, r := x.d, drivers.Reading{}
	d.app.marks = d.app.marks[:0]
	x.forget()
	found, f := d.telegram(&r, b)
	markLink(l)
	l = l.Opened(b)
	l.Mark(linkHeader, len(b), "data", "")
	status := x.above(l)
	if !d.wants() {
		l.Mark(0, len(b), "telegram of another meter", identity(wirelessName, d.layers.sender).ID)
		return
	}
	if f != nil {
		x.records(l.Cut(d.layers.at, len(b)), d.app.marks, false)
		l.Blame(f.at, f.blame())
		return
	}
	if !found {
		return
	}
	x.contents(l)
	if status > 0 && len(r.Values) > 0 {
		x.wait(status, len(r.Values)-1)
	}
	x.settle(&r)
}

// above marks what stands between link layer and data, and gives the span of the
// status; 0: there is none.
func (x *radio) above(l drivers.Layer) (status int) {
	end := x.d.layers.ciAt
	if end == 0 { // the layers below could not be read
		return 0
	}
	for at := linkHeader; at < end; {
		at = x.below(l, at, end)
	}
	l.Mark(end, end+1, "CI-field", ciText(l.Data[end]))
	h := &x.d.layers.header
	at := end + 1
	if isLong(l.Data[end]) && at+longHeader <= len(l.Data) {
		markMeter(l.Cut(at, at+longHeader), identity(wirelessName, h.meter))
		at += longHeader - shortHeader
	}
	if h.sized && at+shortHeader <= len(l.Data) {
		status = markShort(l.Cut(at, at+shortHeader), h)
		at += shortHeader
		if h.mode() == modeCBCDynamic {
			l.Mark(at, at+1, "configuration extension", "key derivation")
		}
	}
	return status
}

func isLong(ci byte) bool {
	switch ci {
	case ciLong, ciCompactLong, ciErrorLong, ciAlarmLong:
		return true
	}
	return false
}

// below marks one layer below the application, which begins at an offset, and says
// where it ends.
func (x *radio) below(l drivers.Layer, at, end int) int {
	ci := l.Data[at]
	l.Mark(at, at+1, "CI-field", ciText(ci))
	at++
	switch ci {
	case ciNetwork:
		l.Mark(at, at+1, "network layer", "")
		return at + 1
	case ciAuth:
		n := min(at+1+int(l.Data[at]), end)
		l.In("authentication layer").Mark(at, at+1, "length", fmt.Sprint(l.Data[at]))
		l.In("authentication layer").Mark(at+1, n, "authentication", "control, counter and MAC")
		return n
	}
	l = l.In("extended link layer")
	l.Mark(at, at+1, "communication control", fmt.Sprintf("0x%02x", l.Data[at]))
	l.Mark(at+1, at+2, "access number", fmt.Sprint(l.Data[at+1]))
	at += 2
	if ci == ciExtended8E || ci == ciExtended8F {
		l.Mark(at, at+8, "sender", identity(wirelessName, x.d.layers.sender).ID)
		at += 8
	}
	if ci == ciExtended8C || ci == ciExtended8E {
		return at
	}
	l.Mark(at, at+4, "session number", "")
	l.Mark(at+4, at+6, "payload CRC", "of all behind it")
	return at + 6
}

// contents marks the data of a good telegram.
func (x *radio) contents(l drivers.Layer) {
	d := x.d
	data := l.Cut(d.layers.at, len(l.Data))
	switch d.layers.ci {
	case ciLong, ciShort, ciBare:
		x.records(data, d.app.marks, true)
	case ciCompact, ciCompactShort, ciCompactLong:
		x.compact(data)
	case ciAlarm, ciAlarmShort, ciAlarmLong:
		x.wait(l.Mark(d.layers.at-1, d.layers.at, "alarm", ""), 0)
	}
}

// compact marks a compact frame: the heads of its records are not in it.
func (x *radio) compact(l drivers.Layer) {
	if opened(l.Data) {
		l.Mark(0, 2, "filler", "2F 2F")
		l = l.Cut(2, len(l.Data))
	}
	b := l.Data
	l.Mark(0, 2, "format signature", "stands for the heads of the full frame")
	l.Mark(2, 4, "full-frame CRC", "")
	var (
		places []int
		full   []byte
		at     = 4
	)
	signature := uint16(b[0]) | uint16(b[1])<<8
	for _, head := range x.d.formats.known[formatKey{modelOf(x.d.layers.header.meter), signature}] {
		_, to, _, _ := scanData(b[at:], head[0]&0x0F)
		for range len(head) {
			places = append(places, -1)
		}
		for i := range to {
			places = append(places, at+i)
		}
		full = append(append(full, head...), b[at:at+to]...)
		at += to
	}
	x.records(l.Placed(full, places), x.d.app.marks, true)
}

func (f *flaw) blame() error {
	return &drivers.FrameError{Field: f.field, Offset: f.at, Err: f.err, Hint: f.hint, Got: uint32(f.got), Want: uint32(f.want)}
}
