package hdlc

import (
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// flag opens and closes a frame; one may do both, any number is fill.
const flag = 0x7E

// The frame format field, IEC 62056-46, 6.4.2.1:
//
//	bit 15 14 13 12   11             10 … 0
//	    1  0  1  0    segmentation   length
//
// The length counts what stands between the flags.
const (
	formatType  = 0xA0
	formatMask  = 0xF0
	segmentBit  = 0x08
	minLength   = 7 // format, two addresses, control, FCS
	maxLength   = 2047
	formatSize  = 2
	checkSize   = 2
	maxAddress  = 4
	goodResidue = 0xF0B8 // of CRC-16/X-25 over data and its check
)

// frame is a whole HDLC frame whose checks held.
type frame struct {
	path      []byte // destination, source and control; nil if there is no information field
	info      []byte // the information field
	segmented bool   // more segments follow
	size      int    // with its opening flag, without the closing one
}

// nextFrame takes the frame that begins with the flag at the start of b. Both
// checks are looked at: HCS as soon as the header is there, so that noise which
// looks like a frame holds nothing back.
//
//	7E format(2) destination source control HCS(2) information FCS(2) 7E
func (d *Decoder) nextFrame(b []byte) (f frame, err error) {
	h, crc, err := d.frameHeader(b)
	if err != nil {
		return f, err
	}
	length := int(b[1]&7)<<8 | int(b[2])
	switch {
	case len(b) < length+2:
		return f, drivers.ErrMore
	case b[length+1] != flag:
		return f, d.broken("closing flag", length+1, drivers.ErrSyntax)
	}
	if crc = wire.X25.Update(crc, b[h:length+1]); crc != goodResidue {
		got := uint32(b[length-1]) | uint32(b[length])<<8
		want := ^wire.X25.Update(0xFFFF, b[1:length-1])
		return f, d.brokenCheck("FCS", length-1, got, uint32(want))
	}
	f = frame{segmented: b[1]&segmentBit != 0, size: length + 1}
	if h < length-1 {
		f.path, f.info = b[1+formatSize:h-checkSize], b[h:length-1]
	}
	return f, nil
}

// frameHeader finds where the information field begins and the CRC up to there.
// A frame without one has no HCS; h then stands behind its control field.
func (d *Decoder) frameHeader(b []byte) (h int, crc uint16, err error) {
	if len(b) < 1+formatSize {
		return 0, 0, drivers.ErrMore
	}
	length := int(b[1]&7)<<8 | int(b[2])
	if length < minLength {
		return 0, 0, errNoise
	}
	h = 1 + formatSize
	for range 2 {
		if h, err = address(b, h); err != nil {
			return 0, 0, err
		}
	}
	h++ // control
	if h+checkSize == length+1 {
		if len(b) < h {
			return 0, 0, drivers.ErrMore
		}
		return h, wire.X25.Update(0xFFFF, b[1:h]), nil
	}
	h += checkSize
	switch {
	case h > length-1:
		return 0, 0, errNoise
	case len(b) < h:
		return 0, 0, drivers.ErrMore
	}
	if crc = wire.X25.Update(0xFFFF, b[1:h]); crc != goodResidue {
		got := uint32(b[h-2]) | uint32(b[h-1])<<8
		return 0, 0, d.brokenCheck("HCS", h-checkSize, got, uint32(^wire.X25.Update(0xFFFF, b[1:h-checkSize])))
	}
	return h, crc, nil
}

// address steps over an address: 1, 2 or 4 bytes, the lowest bit set in its last.
func address(b []byte, at int) (next int, err error) {
	for n := 1; n <= maxAddress; n++ {
		if at+n > len(b) {
			return 0, drivers.ErrMore
		}
		if b[at+n-1]&1 != 0 {
			if n == 3 {
				return 0, errNoise
			}
			return at + n, nil
		}
	}
	return 0, errNoise
}

// The two characters of octet stuffing, ISO/IEC 13239, 4.3.2.2.
const (
	escape    = 0x7D
	escapeXor = 0x20
)

// nextStuffed takes a frame that is sent with octet stuffing: it ends at the next
// flag, 7D says that the next byte is xored with 20, and 7D 7E throws the frame
// away. size is what it took of b, without the closing flag.
func (d *Decoder) nextStuffed(b []byte) (f frame, err error) {
	d.unstuffed = append(d.unstuffed[:0], flag)
	for i := 1; i < len(b); i++ {
		c := b[i]
		switch {
		case c == flag && b[i-1] == escape:
			return f, errNoise // aborted
		case c == flag:
			return d.stuffedFrame(i)
		case c == escape:
			continue
		case b[i-1] == escape:
			c ^= escapeXor
		}
		if d.unstuffed = append(d.unstuffed, c); len(d.unstuffed) > maxLength+1 {
			return f, errNoise
		}
	}
	return f, drivers.ErrMore
}

// stuffedFrame reads what was unstuffed, as a frame of a line without stuffing.
func (d *Decoder) stuffedFrame(size int) (frame, error) {
	d.unstuffed = append(d.unstuffed, flag)
	if len(d.unstuffed) < minLength+2 || d.unstuffed[1]&formatMask != formatType {
		return frame{}, errNoise
	}
	f, err := d.nextFrame(d.unstuffed)
	if err == drivers.ErrMore { //nolint:errorlint // compared as it was returned a line above
		return frame{}, d.broken("length", 1, drivers.ErrShort)
	}
	f.size = size
	return f, err
}

// appendFrame appends one frame, flags included. path is destination, source and
// control.
func appendFrame(b, path, info []byte, more bool) []byte {
	length := formatSize + len(path) + checkSize + len(info) + checkSize
	format := byte(formatType | length>>8)
	if more {
		format |= segmentBit
	}
	b = append(b, flag)
	start := len(b)
	b = append(b, format, byte(length))
	b = append(b, path...)
	b = appendCheck(b, start)
	b = append(b, info...)
	b = appendCheck(b, start)
	return append(b, flag)
}

// appendCheck appends the check of all from start on, low byte first.
func appendCheck(b []byte, start int) []byte {
	crc := ^wire.X25.Update(0xFFFF, b[start:])
	return append(b, byte(crc), byte(crc>>8))
}
