package hdlc

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// errNoise says that what looked like the start of a frame is none: nothing is
// lost, and nothing is told.
var errNoise = errors.New("noise")

// Feed takes the next bytes. What was dealt with makes room for them.
func (d *Decoder) Feed(p []byte) {
	if d.pos > 0 {
		d.buf = d.buf[:copy(d.buf, d.buf[d.pos:])]
		d.pos = 0
	}
	d.buf = append(d.buf, p...)
}

// Gap says that the line fell silent: what waits for more bytes, blocks or
// segments waits in vain, and a bare APDU is complete.
func (d *Decoder) Gap() { d.silent = true }

// nextAPDU takes the next APDU off the stream, whatever it comes in, and says
// what vouches for its bytes. It is valid until Feed.
func (d *Decoder) nextAPDU() (apdu []byte, check drivers.Check, err error) {
	for {
		b := d.buf[d.pos:]
		if len(b) == 0 {
			return nil, 0, d.dry()
		}
		apdu, check, err = d.take(b)
		switch {
		case err == nil && apdu == nil:
			continue
		case err == errNoise: //nolint:errorlint // never wrapped, and on the way of every byte
			if err = d.hunt(); err == nil {
				continue
			}
		case err == drivers.ErrMore && d.silent: //nolint:errorlint // the same
			if err = d.unfinished(b); err == nil {
				continue
			}
		}
		return apdu, check, err
	}
}

// take looks at what b begins with.
func (d *Decoder) take(b []byte) (apdu []byte, check drivers.Check, err error) {
	if d.fresh {
		if apdu, check, err = d.nextBare(b); err != errNoise { //nolint:errorlint // never wrapped
			return apdu, check, err
		}
		d.fresh = false
	}
	switch {
	case b[0] == flag && len(b) == 1:
		return nil, 0, drivers.ErrMore
	case b[0] == flag && b[1] == flag:
		d.skip(1)
		return nil, 0, nil
	case b[0] == flag && b[1]&formatMask == formatType:
		apdu, err = d.takeHDLC(b)
		return apdu, drivers.CheckCRC16, err
	case b[0] == longStart:
		apdu, err = d.nextLong(b)
		return apdu, drivers.CheckSum8, err
	}
	return nil, 0, errNoise
}

func (d *Decoder) takeHDLC(b []byte) ([]byte, error) {
	next := d.nextFrame
	if d.stuffing {
		next = d.nextStuffed
	}
	f, err := next(b)
	if err != nil {
		return nil, err
	}
	return d.takeFrame(f)
}

// hunt skips to where the next frame can begin. Bytes between segments mean that
// one of them is lost.
func (d *Decoder) hunt() error {
	first, b := d.buf[d.pos], d.buf[d.pos+1:]
	n := bytes.IndexByte(b, flag)
	if n < 0 {
		n = len(b)
	}
	if l := bytes.IndexByte(b[:n], longStart); l >= 0 {
		n = l
	}
	d.skip(n + 1)
	if first == flag && n == 0 {
		return nil // fill
	}
	return d.dropSegments()
}

// dropSegments gives up the segments that wait for more.
func (d *Decoder) dropSegments() error {
	waited := d.frames.active
	d.frames.drop()
	if waited {
		return d.lose("segment", 0, 0, errSegment)
	}
	return nil
}

func (d *Decoder) skip(n int) { d.pos += n }

// dry is reached when all bytes are dealt with. After a silence whatever joins
// pieces has lost the rest.
func (d *Decoder) dry() error {
	if !d.silent {
		return drivers.ErrMore
	}
	d.silent, d.fresh = false, true
	pieces := d.frames.active || d.frames.orphans || d.longs.active
	d.frames.drop()
	d.longs.drop()
	if d.blocks.Drop() || pieces {
		return d.lose("telegram", 0, 0, drivers.ErrShort)
	}
	return drivers.ErrMore
}

// unfinished gives up what would need more bytes than came. Only a frame that
// had begun well is worth a word.
func (d *Decoder) unfinished(b []byte) error {
	if d.fresh {
		d.fresh = false
		if len(b) > shortest {
			return d.lose("APDU", len(b), len(b), drivers.ErrShort)
		}
		return nil
	}
	d.skip(1)
	if b[0] == flag && len(b) == 1 {
		return nil // the last frame's closing one
	}
	d.frames.drop()
	if len(b) > shortest {
		return d.lose("frame", len(b), len(b), drivers.ErrShort)
	}
	return nil
}

// shortest is how much of a frame or APDU must have come for its loss to be worth
// a word: as much as noise does not make look right.
const shortest = 8

// lose makes the FrameError of a loss.
func (d *Decoder) lose(field string, offset, length int, err error) error {
	d.fault = drivers.FrameError{Field: field, Offset: offset, Length: length, Err: err, Hint: drivers.Hint(err)}
	return &d.fault
}

// broken is the loss of a frame that breaks at offset. The search goes on behind
// its start, for the next one may lie inside what looked like one; segments
// before it are of no use any more.
func (d *Decoder) broken(field string, offset int, err error) error {
	d.skip(1)
	d.frames.drop()
	return d.lose(field, offset, offset, err)
}

func (d *Decoder) brokenCheck(field string, offset int, got, want uint32) error {
	_ = d.broken(field, offset, drivers.ErrChecksum)
	d.fault.Got, d.fault.Want, d.fault.Hint = got, want, lineHint
	return &d.fault
}

const lineHint = "if none fits, the line's speed or parity is wrong (2400 8E1, 2400 8N1 and 115200 8N1 are usual), or the cable is bad"

// A bare APDU has no frame: an adapter or relay took it off. It is looked for
// only where the input begins, after a silence, and behind another one, and it
// counts only if a silence or another whole one follows: the tail of a frame
// whose head was cut looks the same, but ends with a check and a flag.
func (d *Decoder) nextBare(b []byte) (apdu []byte, check drivers.Check, err error) {
	if n := fill(b); n > 0 {
		d.skip(n)
		return nil, 0, nil
	}
	if isWrapper(b) {
		return d.nextWrapped(b)
	}
	size, err := d.bareSize(b)
	if err != nil {
		return nil, 0, err
	}
	rest := b[size:]
	rest = rest[fill(rest):]
	if len(rest) == 0 && !d.silent {
		return nil, 0, drivers.ErrMore
	}
	if len(rest) > 0 {
		if _, err := d.unitSize(rest); err != nil {
			return nil, 0, err
		}
	}
	d.takeBare(size, len(rest) > 0)
	if hasLLC(b) {
		return b[llcSize:size], drivers.CheckRelayed, nil
	}
	return b[:size], drivers.CheckRelayed, nil
}

// takeBare steps over a bare APDU, and notes how to come back if nothing good is
// in it: unless another one follows, which proves its size, frames may lie where
// it seemed to be.
func (d *Decoder) takeBare(size int, followed bool) {
	d.retry = d.pos + 1
	if followed {
		d.retry = d.pos + size
	}
	d.skip(size)
}

// refuse goes back behind the start of a bare APDU that gave nothing.
func (d *Decoder) refuse() {
	if d.retry != d.pos {
		d.pos, d.fresh = d.retry, false
	}
}

// unitSize is the size of what may follow a bare APDU: another one, or a wrapper.
func (d *Decoder) unitSize(b []byte) (int, error) {
	if isWrapper(b) {
		return wrappedSize(b)
	}
	return d.bareSize(b)
}

// fill counts what may stand before a bare APDU: line ends, blanks and zeros,
// but not the zero that a wrapper begins with.
func fill(b []byte) int {
	for i, c := range b {
		switch c {
		case '\r', '\n', ' ', '\t':
		case 0:
			if i+1 == len(b) || b[i+1] == 1 {
				return i
			}
		default:
			return i
		}
	}
	return len(b)
}

// bareSize is the size of the bare APDU, LLC header included, at the start of b.
// ErrMore: it has not ended; errNoise: none begins here.
func (d *Decoder) bareSize(b []byte) (int, error) {
	header := 0
	if b[0] == 0xE6 {
		switch {
		case len(b) <= llcSize:
			return 0, drivers.ErrMore
		case !hasLLC(b):
			return 0, errNoise
		}
		header = llcSize
	}
	size, err := d.apduSize(b[header:])
	switch {
	case err == nil && header+size > len(b), errors.Is(err, drivers.ErrShort):
		return 0, drivers.ErrMore
	case err != nil:
		return 0, errNoise
	}
	return header + size, nil
}

func (d *Decoder) apduSize(b []byte) (int, error) {
	switch {
	case dlms.IsCiphered(b):
		if len(b) > 1 && b[1] == 0 {
			return 0, errNoise // no title and no transaction: too little to go by
		}
		return dlms.CipheredSize(b)
	case dlms.IsBlock(b):
		return dlms.BlockSize(b)
	case !dlms.IsNotification(b):
		return 0, errNoise
	}
	n, _, err := dlms.ParseNotification(b)
	if err != nil {
		return 0, err
	}
	size, _, err := d.tree.Parse(b[n.Offset:])
	if err != nil && (d.silent || !errors.Is(err, drivers.ErrShort)) {
		size, err = d.tree.ParseDescriptors(b[n.Offset:])
	}
	return n.Offset + size, err
}

// The wrapper of the TCP profile, IEC 62056-47, 4.4:
//
//	00 01 source(2) destination(2) length(2) APDU
const wrapperSize = 8

// isWrapper also says yes to a lone zero, which may become one.
func isWrapper(b []byte) bool { return b[0] == 0 && (len(b) == 1 || b[1] == 1) }

func (d *Decoder) nextWrapped(b []byte) (apdu []byte, check drivers.Check, err error) {
	size, err := wrappedSize(b)
	if err != nil {
		return nil, 0, err
	}
	d.takeBare(size, false)
	return b[wrapperSize:size], drivers.CheckRelayed, nil
}

// wrappedSize is the size of the wrapper at the start of b with its APDU. ErrMore:
// it has not ended; errNoise: none begins here.
func wrappedSize(b []byte) (int, error) {
	if len(b) <= wrapperSize {
		return 0, drivers.ErrMore
	}
	size := wrapperSize + int(binary.BigEndian.Uint16(b[6:]))
	apdu := b[wrapperSize:]
	switch {
	case !dlms.IsNotification(apdu) && !dlms.IsCiphered(apdu) && !dlms.IsBlock(apdu):
		return 0, errNoise
	case size > wrapperSize+dlms.MaxAPDU || size == wrapperSize:
		return 0, errNoise
	case len(b) < size:
		return 0, drivers.ErrMore
	}
	return size, nil
}
