package dlms

import (
	"cmp"
	"encoding/binary"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Tags of the APDUs that carry what a meter has to say. Green Book ed. 9, 9.5.
const (
	tagDataNotification     = 0x0F
	tagEventNotification    = 0xC2
	tagGeneralBlockTransfer = 0xE0
)

// Notification is a push: data-notification, or an event-notification, which
// names the one attribute that it carries.
type Notification struct {
	Invoke  uint32 // long-invoke-id-and-priority; 0 for an event
	Time    DateTime
	HasTime bool
	Class   uint16    // of the attribute; 0 for a data-notification
	Code    obis.Code // of the attribute
	Offset  int       // where the body begins in the APDU
}

// ParseNotification reads the header of a data-notification
//
//	0F invoke-id[4] date-time body
//
// or an event-notification
//
//	C2 date-time class[2] OBIS[6] attribute body
//
// The date-time of a push is 00 (none), 0C or, with a tag too many, 09 0C (Kaifa)
// or 19, and twelve bytes. That of an event is optional: 00, or 01 before it.
// Anything else is drivers.ErrSyntax, an end too early drivers.ErrShort. offset
// is where an error stands.
func ParseNotification(apdu []byte) (n Notification, offset int, err error) {
	p := header{b: apdu}
	switch p.next() {
	case tagDataNotification:
		n.Invoke = binary.BigEndian.Uint32(p.take(4))
		n.Time, n.HasTime = p.dateTime()
		p.skipNulls()
	case tagEventNotification:
		if p.peek() == 1 {
			p.next()
		}
		n.Time, n.HasTime = p.dateTime()
		n.Class = binary.BigEndian.Uint16(p.take(2))
		copy(n.Code[:], p.take(6))
		p.next() // attribute
	default:
		return n, 0, cmp.Or(p.err, drivers.ErrSyntax)
	}
	if p.err != nil {
		return n, p.at, p.err
	}
	n.Offset = p.at
	return n, 0, nil
}

// IsNotification says whether an APDU begins as one.
func IsNotification(apdu []byte) bool {
	return len(apdu) > 0 && (apdu[0] == tagDataNotification || apdu[0] == tagEventNotification)
}

// IsCiphered says whether an APDU begins as a ciphered one.
func IsCiphered(apdu []byte) bool {
	return len(apdu) > 0 && apdu[0] >= tagGeneralGlobal && apdu[0] <= tagGeneralCiphering
}

// IsBlock says whether an APDU begins as a block of a general block transfer.
func IsBlock(apdu []byte) bool { return len(apdu) > 0 && apdu[0] == tagGeneralBlockTransfer }

// header is a cursor with a sticky error over the bytes of a header.
type header struct {
	b   []byte
	at  int
	err error
}

// take gives n bytes, zeros once anything failed.
func (p *header) take(n int) []byte {
	if p.err == nil && len(p.b)-p.at < n {
		p.err = drivers.ErrShort
	}
	if p.err != nil {
		return zeros[:n]
	}
	p.at += n
	return p.b[p.at-n : p.at]
}

var zeros [12]byte

func (p *header) next() byte { return p.take(1)[0] }

func (p *header) peek() byte {
	if p.err != nil || p.at >= len(p.b) {
		return 0
	}
	return p.b[p.at]
}

// dateTime takes a date-time in any of its forms.
func (p *header) dateTime() (DateTime, bool) {
	switch p.next() {
	case 0:
		return DateTime{}, false
	case 0x09:
		if p.next() != 12 && p.err == nil {
			p.at, p.err = p.at-1, drivers.ErrSyntax
		}
	case 12, byte(DateTimeType):
	default:
		if p.err == nil {
			p.at, p.err = p.at-1, drivers.ErrSyntax
		}
	}
	d, _ := ParseDateTime(p.take(12))
	return d, p.err == nil
}

// skipNulls steps over zeros between date-time and body.
func (p *header) skipNulls() {
	for p.err == nil && p.at+1 < len(p.b) && p.b[p.at] == 0 {
		p.at++
	}
}

// AppendNotification appends the header of a data-notification with t, or
// without a time if t is nil; the body follows.
func AppendNotification(b []byte, invoke uint32, t *DateTime) []byte {
	b = append(b, tagDataNotification)
	b = binary.BigEndian.AppendUint32(b, invoke)
	if t == nil {
		return append(b, 0)
	}
	return t.AppendTo(append(b, 12))
}
