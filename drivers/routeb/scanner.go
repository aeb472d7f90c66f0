package routeb

import (
	"bytes"
	"encoding/binary"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	maxLine    = 512    // of a text line; SKSTACK's longest has 130
	maxPayload = 0x04D0 // of a datagram
)

// Form is what a module's message is.
type Form uint8

// The forms of a message.
const (
	TextLine Form = iota // an SKSTACK line other than ERXUDP, without its end
	UDPLine              // an ERXUDP line
	J11Frame             // a frame of the binary dialogue
	Bare                 // an ECHONET Lite frame without anything around it
)

// Item is one message of a module. Its slices are valid until the Scanner is fed
// again.
type Item struct {
	Form     Form
	Text     []byte   // TextLine
	Datagram Datagram // UDPLine; of a J11Frame after Command 6018; Bare: only Data
	Command  uint16   // J11Frame
	Data     []byte   // J11Frame
}

// Datagram is a UDP datagram that a module passes on.
type Datagram struct {
	Sender      Address
	Destination Address
	From, To    uint16 // ports
	MAC         uint64
	RSSI        int32 // thousandths of dBm; 0: not told
	Secured     bool
	Side        int8 // 0 Route B, 1 HAN, -1: the module has just one
	Data        []byte
}

// Scanner finds messages in a module's bytes, in either dialogue and either form of
// output, however they are cut. Its memory is bounded.
type Scanner struct {
	buf  []byte
	pos  int
	seen int // bytes from pos on that were looked at and end no line
	gap  bool
	data []byte // of the datagram at hand, if it came in hexadecimal digits
	lost drivers.FrameError
}

// Feed takes the next bytes. p is not kept.
func (s *Scanner) Feed(p []byte) {
	if s.pos > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.pos:])]
		s.pos = 0
	}
	s.buf = append(s.buf, p...)
	s.gap = false
}

// Gap says that what is unfinished gets no more bytes.
func (s *Scanner) Gap() { s.gap = true }

// Held is how many bytes wait for more.
func (s *Scanner) Held() int { return len(s.buf) - s.pos }

// verdict says what stands at a place of the stream.
type verdict uint8

const (
	no   verdict = iota // nothing of the kind
	yes                 // a message
	more                // the beginning of one
	skip                // nothing to tell of
	lost                // a message that is damaged
)

// Next fills item. drivers.ErrMore: Feed it; *drivers.FrameError: a frame was lost,
// call again.
func (s *Scanner) Next(item *Item) error {
	for s.pos < len(s.buf) {
		n, v := s.step(s.buf[s.pos:], item)
		if v == more {
			if !s.gap {
				return drivers.ErrMore
			}
			n, v = s.abandon(s.buf[s.pos:])
		}
		s.pos += n
		s.seen = 0
		if v == yes {
			return nil
		}
		if v == lost {
			return &s.lost
		}
	}
	return drivers.ErrMore
}

// abandon passes over what was unfinished when the line fell silent.
func (s *Scanner) abandon(b []byte) (int, verdict) {
	for _, mark := range [...][]byte{udpWord, j11Mark, bareMark} {
		if begins(b, mark) == yes {
			return s.lose(1, "frame", len(b), drivers.ErrShort)
		}
	}
	return 1, skip
}

// lose notes a lost frame, of which so many bytes are passed over.
func (s *Scanner) lose(over int, field string, at int, err error) (int, verdict) {
	s.lost = drivers.FrameError{Field: field, Offset: at, Length: over, Err: err}
	return over, lost
}

var (
	udpWord  = []byte("ERXUDP ")
	j11Mark  = []byte{0xD0, 0xF9, 0xEE, 0x5D}
	bareMark = []byte{0x10, 0x81}
)

// begins says whether b begins with the mark, as far as it goes.
func begins(b, mark []byte) verdict {
	switch {
	case bytes.HasPrefix(b, mark):
		return yes
	case len(b) < len(mark) && bytes.HasPrefix(mark, b):
		return more
	}
	return no
}

// step says what b begins with, and how many bytes of it that takes.
func (s *Scanner) step(b []byte, item *Item) (n int, v verdict) {
	switch b[0] {
	case '\r', '\n':
		return 1, skip
	case udpWord[0]:
		if v = begins(b, udpWord); v == yes {
			return s.udp(b, item)
		}
	case j11Mark[0]:
		if v = begins(b, j11Mark); v == yes {
			return s.j11(b, item)
		}
	case bareMark[0]:
		if v = begins(b, bareMark); v == yes {
			return s.bare(b, item)
		}
	}
	if v == more {
		return 0, more
	}
	return s.line(b, item)
}

// line takes text up to its end, or passes over noise up to a frame that begins
// within it.
func (s *Scanner) line(b []byte, item *Item) (int, verdict) {
	for i := max(s.seen, 1); i < len(b); i++ {
		switch b[i] {
		case '\r', '\n':
			*item = Item{Form: TextLine, Text: b[:i]}
			return i, yes
		case udpWord[0], j11Mark[0]:
			switch max(begins(b[i:], udpWord), begins(b[i:], j11Mark)) {
			case yes:
				return i, skip
			case more:
				s.seen = i
				return 0, more
			default: // text
			}
		}
	}
	if len(b) > maxLine {
		return len(b), skip
	}
	s.seen = len(b)
	return 0, more
}

// bare takes an ECHONET Lite frame that stands by itself: it ends with its last
// property.
func (s *Scanner) bare(b []byte, item *Item) (int, verdict) {
	n, v := measure(b)
	if v == yes && n > maxPayload {
		v = no
	}
	switch {
	case v == yes:
		*item = Item{Form: Bare, Datagram: Datagram{Side: -1, Data: b[:n]}}
		return n, yes
	case v == no:
		return s.lose(len(bareMark), "service", 10, drivers.ErrSyntax)
	case len(b) > maxPayload:
		return s.lose(len(bareMark), "length", len(b), drivers.ErrLong)
	}
	return 0, more
}

// The binary dialogue's frames: mark (4), command (2), length of what follows the
// length's place (2), sum of these (2), sum of the data (2), data.
const (
	j11Head = 12
	maxJ11  = 64 + maxPayload
)

// Commands of the binary dialogue.
const (
	j11Received = 0x6018 // a datagram came
)

// j11 takes a frame of the binary dialogue.
func (s *Scanner) j11(b []byte, item *Item) (int, verdict) {
	if len(b) < j11Head {
		return 0, more
	}
	size := int(binary.BigEndian.Uint16(b[6:]))
	if got, want := binary.BigEndian.Uint16(b[8:]), sum16(b[:8]); got != want {
		s.lose(0, "header sum", 8, drivers.ErrChecksum)
		s.lost.Got, s.lost.Want = uint32(got), uint32(want)
		return len(j11Mark), lost
	}
	if size < 4 || size > maxJ11 {
		return s.lose(len(j11Mark), "length", 6, drivers.ErrLong)
	}
	end := 8 + size
	if len(b) < end {
		return 0, more
	}
	data := b[j11Head:end]
	if got, want := binary.BigEndian.Uint16(b[10:]), sum16(data); got != want {
		s.lose(0, "data sum", 10, drivers.ErrChecksum)
		s.lost.Got, s.lost.Want = uint32(got), uint32(want)
		return len(j11Mark), lost
	}
	*item = Item{Form: J11Frame, Command: binary.BigEndian.Uint16(b[4:]), Data: data}
	if item.Command == j11Received && !item.Datagram.fromJ11(data) {
		return s.lose(end, "datagram", j11Head, drivers.ErrShort)
	}
	return end, yes
}

// sum16 is the sum of all bytes, modulo 65536.
func sum16(b []byte) (sum uint16) {
	for _, c := range b {
		sum += uint16(c)
	}
	return sum
}

// AppendJ11 appends a frame of the binary dialogue to a module.
func AppendJ11(b []byte, command uint16, data []byte) []byte {
	return appendJ11(b, 0xD0EA83FC, command, data)
}

// AppendJ11Answer appends a frame as a module sends it.
func AppendJ11Answer(b []byte, command uint16, data []byte) []byte {
	return appendJ11(b, binary.BigEndian.Uint32(j11Mark), command, data)
}

func appendJ11(b []byte, mark uint32, command uint16, data []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, mark)
	b = binary.BigEndian.AppendUint16(b, command)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(data)))
	b = binary.BigEndian.AppendUint16(b, sum16(b[start:]))
	b = binary.BigEndian.AppendUint16(b, sum16(data))
	return append(b, data...)
}

// fromJ11 reads the data of a datagram notification: sender (16), ports (2, 2), PAN
// (2), kind of address, secured (1 no, 2 yes), RSSI (dBm), length (2), data.
func (d *Datagram) fromJ11(b []byte) bool {
	const head = 27
	if len(b) < head || int(binary.BigEndian.Uint16(b[25:])) != len(b)-head {
		return false
	}
	*d = Datagram{
		From: binary.BigEndian.Uint16(b[16:]), To: binary.BigEndian.Uint16(b[18:]),
		RSSI: int32(int8(b[24])) * 1000, Secured: b[23] == 2, Side: -1, Data: b[head:],
	}
	copy(d.Sender[:], b)
	d.MAC = d.Sender.mac()
	return true
}
