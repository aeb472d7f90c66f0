package corus

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Hints of the decoder.
const (
	unseenHint = "an answer does not say what was asked: decode a recording, which has both directions"
	layoutHint = "describe the records of that length in a file and name it with layouts: docs/corus.md"
	mapHint    = "the parameter is in no map: describe it in a file and name it with layouts: docs/corus.md"
)

// question is what was asked last.
type question uint8

const (
	askedNothing question = iota
	askedParameters
	askedUnknown // a parameter that is in no map
	askedWrite
	askedDatabase
)

// Decoder reads what devices answer: each answer with parameters is a Reading, and
// each record of a database one. What was asked it overhears, if a capture has it;
// without, databases alone are read.
type Decoder struct {
	reader
	all      *catalogue
	fixed    bool   // the weight is configured
	firmware string // as parameter 94 said last

	in   []byte // received
	pos  int    // what of it is done with
	sent []byte // what was sent and is no whole message yet
	gap  bool
	lost drivers.FrameError

	question question
	spoiled  bool // a damaged answer came
	asked    []*parameter
	database Database
	transfer transfer

	layout *layout // of rows
	rows   []byte  // records that were not given yet
}

var (
	_ drivers.Decoder    = (*Decoder)(nil)
	_ drivers.Overhearer = (*Decoder)(nil)
)

func newDecoder(cfg *Config, z drivers.Zones) (*Decoder, error) {
	all, err := cfg.catalogue()
	if err != nil {
		return nil, err
	}
	d := &Decoder{all: all}
	d.clock.zone = zoneOf(z)
	if cfg.PulseWeight.Sign() > 0 {
		d.weight, d.known = numberOf(cfg.PulseWeight)
		d.fixed = d.known
	}
	return d, nil
}

// Feed takes what devices sent.
func (d *Decoder) Feed(p []byte) {
	if d.pos > 0 {
		d.in = d.in[:copy(d.in, d.in[d.pos:])]
		d.pos = 0
	}
	d.in = append(d.in, p...)
}

// Sent takes what was sent to devices.
func (d *Decoder) Sent(p []byte) {
	d.sent = append(d.sent, p...)
	for len(d.sent) > 0 {
		n := d.overhear(d.sent)
		if n == 0 {
			return
		}
		d.sent = d.sent[:copy(d.sent, d.sent[n:])]
	}
}

// overhear looks at what was sent: a command is a question. It gives how many bytes
// are done with; 0: more are needed.
func (d *Decoder) overhear(b []byte) int {
	if at := bytes.IndexByte(b, soh); at != 0 {
		if at < 0 {
			return len(b)
		}
		return at
	}
	length := commandSize(b)
	switch {
	case len(b) < 3:
		return 0
	case length == 0:
		return 1
	case len(b) < length:
		return 0
	case !isSound(b[:length]):
		return 1
	}
	d.ask(b[:length])
	return length
}

// ask notes the question that a command is.
func (d *Decoder) ask(command []byte) {
	d.spoiled = false
	body := command[3 : len(command)-3]
	switch command[1] {
	case cmdRead:
		d.question = askedUnknown
		if d.askParameters(body) {
			d.question = askedParameters
		}
	case cmdWrite:
		d.question = askedWrite
	default:
		d.question = askedNothing
		if command[1] == cmdDatabase && len(body) == 13 {
			d.question, d.database = askedDatabase, Database(body[0]&0x0F)
			d.transfer.begin(uncounted)
			if body[0]&countBit != 0 {
				d.transfer.begin(counted)
			}
		}
	}
}

func (d *Decoder) askParameters(body []byte) (known bool) {
	d.asked = d.asked[:0]
	m := d.all.mapFor(d.firmware)
	for len(body) > 0 {
		id, rest, ok := CutID(body)
		if !ok {
			return false
		}
		p := m.byID(id)
		if p == nil {
			return false
		}
		d.asked, body = append(d.asked, p), rest
	}
	return len(d.asked) > 0
}

// Gap says that nothing more belongs to what came.
func (d *Decoder) Gap() { d.gap = true }

// Next gives the next record, or what the next answer says.
func (d *Decoder) Next(r *drivers.Reading) error {
	for {
		if len(d.rows) > 0 {
			d.nextRow(r)
			return nil
		}
		if d.pos == len(d.in) {
			return d.dry()
		}
		if done, err := d.step(r); done || err != nil {
			return err
		}
	}
}

// step takes what comes next; done says that r is a reading.
func (d *Decoder) step(r *drivers.Reading) (done bool, err error) {
	b := d.in[d.pos:]
	v, n := lookBoth(b, d.gap)
	switch v {
	case isNothing:
		return false, d.skip(b[:n])
	case isDamaged:
		d.lost = damaged(b[:n])
		d.pos++
		d.spoiled = true
		return false, &d.lost
	case isCommand:
		d.pos += n
		d.ask(b[:n])
		return false, nil
	case isAnswer:
		d.pos += n
		d.spoiled = false
		return d.answer(b[2:n-3], r)
	default:
		if !d.gap {
			return false, drivers.ErrMore
		}
		return false, d.lose("answer", drivers.ErrShort, 1, "")
	}
}

// dry is what to say when all is done with: after a gap, also that a transfer broke
// off.
func (d *Decoder) dry() error {
	broken := d.gap && d.transfer.active
	d.gap = false
	if broken {
		d.transfer.active = false
		return d.lose("database", drivers.ErrShort, 0, "")
	}
	if d.transfer.active {
		return drivers.ErrMore
	}
	return drivers.ErrIdle
}

// skip passes over what is no answer. If something was asked, a NAK is the answer,
// unless a damaged answer was before: then it asks for a repeat, or is a piece of it.
func (d *Decoder) skip(noise []byte) error {
	if d.question == askedNothing || d.transfer.active || d.spoiled {
		d.pos += len(noise)
		return nil
	}
	at := bytes.IndexAny(noise, "\x06\x15")
	if at < 0 {
		d.pos += len(noise)
		return nil
	}
	d.pos += at + 1
	if noise[at] == ack {
		if d.question == askedWrite {
			d.question = askedNothing
		}
		return nil
	}
	d.question = askedNothing
	return d.lose("answer", drivers.ErrRefused, 0, "")
}

// lose gives up n bytes.
func (d *Decoder) lose(field string, err error, n int, hint string) error {
	d.pos += n
	d.lost = drivers.FrameError{Field: field, Length: n, Err: err, Hint: hint}
	return &d.lost
}

// answer takes the data of an answer; done says that r is a reading.
func (d *Decoder) answer(body []byte, r *drivers.Reading) (done bool, err error) {
	switch {
	case d.question == askedParameters:
		d.question = askedNothing
		return true, d.answerParameters(body, r)
	case d.question == askedUnknown:
		d.question = askedNothing
		return false, d.lose("parameters", drivers.ErrSyntax, 0, mapHint)
	case d.question == askedDatabase:
	case d.transfer.active || d.mayBegin(body):
		if !d.transfer.active {
			d.transfer.begin(unclear)
		}
	default:
		return false, d.lose("parameters", drivers.ErrSyntax, 0, unseenHint)
	}
	last, field, err := d.transfer.add(body)
	if err != nil {
		return false, d.lose(field, err, 0, "")
	}
	if last {
		return false, d.finish()
	}
	return false, nil
}

// mayBegin says whether an answer to an unknown question is the first frame of a
// database.
func (d *Decoder) mayBegin(body []byte) bool {
	if len(body) < 3 {
		return false
	}
	word := binary.LittleEndian.Uint16(body)
	if word&^lastFrame != 0 {
		return false
	}
	return d.all.anyLayout(int(body[2]), d.firmware) != nil || body[2] == 0 && word == lastFrame && len(body) <= 5
}

func (d *Decoder) answerParameters(body []byte, r *drivers.Reading) error {
	if len(body) != lengthOf(d.asked) {
		return d.lose("parameters", drivers.ErrSyntax, 0, mapHint)
	}
	r.Reset()
	r.Meter.Driver, r.Meter.Medium = driverName, obis.MediumGas
	if !d.fixed {
		d.known = d.known && !d.asks(weightID)
	}
	d.parameters(d.asked, body, r)
	if r.Meter.Version != "" {
		d.firmware = r.Meter.Version
	}
	return nil
}

func (d *Decoder) asks(id ID) bool {
	for _, p := range d.asked {
		if p.id == id {
			return true
		}
	}
	return false
}

// finish hands the records of a transfer to Next.
func (d *Decoder) finish() error {
	known := d.question == askedDatabase
	d.question = askedNothing
	data, field, err := d.transfer.whole()
	if err != nil {
		return d.lose(field, err, 0, "")
	}
	if len(data) == 0 {
		return nil
	}
	if known {
		d.layout = d.all.layoutFor(d.database, d.transfer.size, d.firmware)
	} else {
		d.layout = d.all.anyLayout(d.transfer.size, d.firmware)
	}
	if d.layout == nil {
		return d.lose("record size", errNoLayout, 0, layoutHint)
	}
	d.rows = data
	return nil
}

// errNoLayout says that records have a length that no layout has.
var errNoLayout = errors.New("no layout is known for records of this length")

func (d *Decoder) nextRow(r *drivers.Reading) {
	r.Reset()
	r.Meter.Driver, r.Meter.Medium = driverName, obis.MediumGas
	d.row(d.layout, d.rows[:d.layout.length], r)
	d.rows = d.rows[d.layout.length:]
}
