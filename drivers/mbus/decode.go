package mbus

import (
	"bytes"
	"errors"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// C-fields of answers, EN 13757-2, 5.4: bits 5 (class 1 data waits) and 4 (cannot
// take more) do not matter to who reads.
const (
	answerC    = 0x08
	answerMask = 0x4F
)

// maxTelegrams is how many telegrams one readout may have.
const maxTelegrams = 32

// Decoder reads captured link frames: the answers among them become readings,
// what a master said and acknowledgements are passed over. The telegrams of one
// readout (DIF 1F: another follows) become one Reading, with the last of them;
// at a Gap, with what there is, unless a frame among them was lost.
type Decoder struct {
	framer Framer
	app    application
	frame  Frame
	header header
	fault  drivers.FrameError

	held      drivers.Reading // the telegrams so far of a readout that goes on
	joining   bool
	damaged   bool // a frame was lost since
	ended     bool // the line fell silent
	address   byte
	meter     [8]byte
	telegrams int
	latest    []byte // the telegram before, to know a repetition
}

// NewDecoder is a decoder for meters whose clock is in zone (nil: none is known,
// and stamps carry no offset).
func NewDecoder(zone *time.Location) *Decoder {
	return &Decoder{app: application{reader: reader{zone: zone}}}
}

// Feed takes the next bytes.
func (d *Decoder) Feed(p []byte) {
	d.framer.Feed(p)
	d.ended = false
}

// Gap says that the line fell silent or the input ended.
func (d *Decoder) Gap() {
	d.framer.Gap()
	d.ended = true
}

// forget drops what is unfinished and unread.
func (d *Decoder) forget() {
	d.framer = Framer{buf: d.framer.buf[:0]}
	d.joining, d.damaged, d.ended = false, false, false
}

// Next is the next reading, ErrMore or a *drivers.FrameError.
func (d *Decoder) Next(r *drivers.Reading) error {
	for {
		err := d.framer.Next(&d.frame)
		if errors.Is(err, drivers.ErrMore) {
			return d.dry(r)
		}
		if err != nil {
			d.damaged = d.joining
			return err
		}
		if d.frame.Kind < Control || d.frame.FromMaster() || d.repeated() {
			continue
		}
		more, err := d.answer(r)
		if err != nil {
			d.damaged = d.joining
			return err
		}
		if !more {
			return nil
		}
	}
}

// dry ends a readout that the line's silence cut off.
func (d *Decoder) dry(r *drivers.Reading) error {
	if !d.ended || !d.joining {
		return drivers.ErrMore
	}
	d.joining = false
	if d.damaged {
		return d.refuse("readout", 0, 0, drivers.ErrShort, "a telegram of this readout was lost")
	}
	*r, d.held = d.held, *r
	d.complete(r)
	return nil
}

// repeated says that the frame is the telegram before once more: an answer that
// was asked for twice.
func (d *Decoder) repeated() bool { return d.joining && bytes.Equal(d.frame.Raw, d.latest) }

// refuse fills the decoder's one fault. A length of 0: nothing is given up that
// was not told before.
func (d *Decoder) refuse(field string, at, length int, err error, hint string) error {
	d.fault = drivers.FrameError{Field: field, Offset: at, Length: length, Err: err, Hint: hint}
	return &d.fault
}

func (d *Decoder) refuseFrame(field string, at int, err error) error {
	return d.refuse(field, at, len(d.frame.Raw), err, "")
}

// answer reads one answer. more: it was not the last of its readout.
func (d *Decoder) answer(r *drivers.Reading) (more bool, err error) {
	f := &d.frame
	if f.C&answerMask != answerC {
		return false, d.refuseFrame("C-field", 4, drivers.ErrSyntax)
	}
	d.app.msbFirst = f.CI == ciLongMSB || f.CI == ciFixedMSB
	n, err := d.readHeader(f.Data)
	if err != nil {
		return false, err
	}
	if f.CI == ciError || f.CI == ciErrorShort || f.CI == ciErrorLong {
		return false, d.applicationError(n)
	}
	if d.joining && !d.continues() {
		// The frame itself is whole: it is read with the next call.
		d.joining = false
		d.framer.unread(len(f.Raw))
		return false, d.refuse("header", dataAt, 0, drivers.ErrSyntax, "the readout before ended without its last telegram")
	}
	switch f.CI {
	case ciAlarm, ciAlarmShort, ciAlarmLong:
		return false, d.alarm(r, n)
	case ciFixed, ciFixedMSB:
		return false, d.fixedData(r)
	}
	return d.variableData(r, n)
}

// readHeader reads what stands before the data and says how long it is.
func (d *Decoder) readHeader(b []byte) (int, error) {
	d.header = header{}
	length := 0
	switch d.frame.CI {
	case ciLong, ciLongMSB, ciErrorLong, ciAlarmLong:
		length = longHeader
	case ciShort, ciErrorShort, ciAlarmShort:
		length = shortHeader
	case ciBare, ciError, ciAlarm, ciFixed, ciFixedMSB:
	case 0x60, 0x61, 0x7C, 0x7D:
		return 0, d.refuse("CI-field", 6, len(d.frame.Raw), drivers.ErrSyntax, "this is DLMS over M-Bus: the driver hdlc reads it")
	default:
		return 0, d.refuseFrame("CI-field", 6, drivers.ErrSyntax)
	}
	if len(b) < length {
		return 0, d.refuseFrame("header", dataAt+len(b), drivers.ErrShort)
	}
	switch length {
	case longHeader:
		d.header.parseLong(b)
	case shortHeader:
		d.header.parseShort(b)
	}
	if d.app.msbFirst {
		d.header.meter = turnedMeter(d.header.meter)
	}
	return length, nil
}

// continues says whether the frame goes on with the readout under way.
func (d *Decoder) continues() bool {
	switch d.frame.CI {
	case ciLong, ciLongMSB, ciShort, ciBare:
		return d.frame.A == d.address && d.header.meter == d.meter
	}
	return false
}

// applicationError tells what the meter could not do.
func (d *Decoder) applicationError(n int) error {
	var code byte
	if len(d.frame.Data) > n {
		code = d.frame.Data[n]
	}
	name, ok := applicationErrors[code]
	if !ok {
		name = "application error: reserved code"
	}
	return d.refuseFrame(name, dataAt+n, drivers.ErrRefused)
}

// alarm gives the alarm byte as a value.
func (d *Decoder) alarm(r *drivers.Reading, n int) error {
	if len(d.frame.Data) <= n {
		return d.refuseFrame("alarm", dataAt+n, drivers.ErrShort)
	}
	d.app.start(r)
	d.who(r)
	v := grow(r)
	*v = drivers.Value{Name: nameAlarm, Record: &present}
	setUint(v, uint64(d.frame.Data[n]), 0)
	d.complete(r)
	return nil
}

func (d *Decoder) fixedData(r *drivers.Reading) error {
	if len(d.frame.Data) != fixedLength {
		return d.refuseFrame("fixed data", dataAt, drivers.ErrShort)
	}
	d.app.start(r)
	d.app.fixed(r, driverName, d.frame.Data)
	d.complete(r)
	return nil
}

// who names the meter, if the header does.
func (d *Decoder) who(r *drivers.Reading) {
	r.Meter = drivers.Identity{Driver: driverName}
	if d.header.named {
		r.Meter = d.app.identify(driverName, d.header.meter)
	}
}

// variableData reads one telegram into r, or into what is held of its readout.
func (d *Decoder) variableData(r *drivers.Reading, n int) (more bool, err error) {
	if d.header.enciphered(d.frame.Data[n:]) {
		return false, d.refuse("configuration", dataAt+n-2, len(d.frame.Raw), drivers.ErrAuth, "the meter encrypts on the wire: have it send plain")
	}
	if d.joining {
		*r, d.held = d.held, *r
	} else {
		d.begin(r)
	}
	before, due, clock := len(r.Values), len(d.app.due), r.Time
	more, at, f := d.app.records(r, mediumA[d.header.medium()], d.frame.Data[n:])
	if f != nil {
		if d.joining { // the telegram may come again, so what is held stays as it was
			r.Values, d.app.due, r.Time = r.Values[:before], d.app.due[:due], clock
			*r, d.held = d.held, *r
		}
		return false, d.refuseFrame(f.field, dataAt+n+at, f.err)
	}
	if !more {
		d.joining = false
		d.complete(r)
		return false, nil
	}
	if d.telegrams++; d.telegrams > maxTelegrams {
		d.joining = false
		return false, d.refuse("readout", 0, len(d.frame.Raw), drivers.ErrLong, "the meter never tells its last telegram")
	}
	d.joining, d.damaged = true, false
	d.latest = append(d.latest[:0], d.frame.Raw...)
	*r, d.held = d.held, *r
	return true, nil
}

// begin starts the readout that the frame belongs to.
func (d *Decoder) begin(r *drivers.Reading) {
	d.app.start(r)
	d.who(r)
	d.address, d.meter, d.telegrams = d.frame.A, d.header.meter, 0
}

// complete ends a reading.
func (d *Decoder) complete(r *drivers.Reading) {
	d.app.status(r, &d.header)
	d.app.finish(r)
	r.Check = drivers.CheckSum8
}
