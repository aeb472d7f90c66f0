package routeb

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Address is an IPv6 address.
type Address [16]byte

// LinkLocal is the address that belongs to an IEEE 64-bit address: FE80::/64 and
// the MAC with its second-lowest bit flipped (RFC 4291, appendix A).
func LinkLocal(mac uint64) (a Address) {
	a[0], a[1] = 0xFE, 0x80
	binary.BigEndian.PutUint64(a[8:], mac)
	a[8] ^= 2
	return a
}

// mac is the IEEE 64-bit address that a link-local one belongs to.
func (a Address) mac() uint64 {
	a[8] ^= 2
	return binary.BigEndian.Uint64(a[8:])
}

// String is the address as modules write it: eight groups of four capital digits.
func (a Address) String() string {
	var b strings.Builder
	for i := 0; i < len(a); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X%02X", a[i], a[i+1])
	}
	return b.String()
}

const addressLen = 39 // of an address in text

// digits are the values of hexadecimal digits; 0xFF: it is none.
var digits = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xFF
		if v, ok := wire.HexDigit(byte(i)); ok {
			t[i] = v
		}
	}
	return t
}()

// parse reads an address in full form.
func (a *Address) parse(b []byte) bool {
	if len(b) != addressLen {
		return false
	}
	for i := range 8 {
		g := b[i*5:]
		d0, d1, d2, d3 := digits[g[0]], digits[g[1]], digits[g[2]], digits[g[3]]
		if d0|d1|d2|d3 > 0xF || i < 7 && g[4] != ':' {
			return false
		}
		a[2*i], a[2*i+1] = d0<<4|d1, d2<<4|d3
	}
	return true
}

// number reads up to 16 hexadecimal digits.
func number(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		d := digits[c]
		if d > 0xF {
			return 0, false
		}
		n = n<<4 | uint64(d)
	}
	return n, len(b) > 0 && len(b) <= 16
}

// field cuts a field of just so many characters and the blank behind it.
func field(b []byte, size int) (f, rest []byte, v verdict) {
	if len(b) <= size {
		for _, c := range b {
			if digits[c] > 0xF && c != ':' {
				return nil, nil, no
			}
		}
		return nil, nil, more
	}
	if b[size] != ' ' {
		return nil, nil, no
	}
	return b[:size], b[size+1:], yes
}

// udp takes an ERXUDP line, whichever of its shapes it has.
func (s *Scanner) udp(b []byte, item *Item) (int, verdict) {
	var d Datagram
	rest, size, v := d.head(b[len(udpWord):])
	if v == no {
		return s.lose(len(udpWord), "ERXUDP line", len(udpWord), drivers.ErrSyntax)
	}
	if v == more {
		return 0, more
	}
	n, v := s.payload(rest, size, &d)
	if v == no {
		return s.lose(len(udpWord), "data", len(b)-len(rest), drivers.ErrSyntax)
	}
	if v == more {
		return 0, more
	}
	*item = Item{Form: UDPLine, Datagram: d}
	return len(b) - len(rest) + n, yes
}

// head reads an ERXUDP line from its first address up to the length of its data.
// What a module puts between the MAC and the length tells its kind: secured;
// secured and side; RSSI, secured and side.
func (d *Datagram) head(b []byte) (rest []byte, size int, v verdict) {
	var fields [5][]byte
	for i, width := range [...]int{addressLen, addressLen, 4, 4, 16} {
		if fields[i], b, v = field(b, width); v != yes {
			return nil, 0, v
		}
	}
	from, ok1 := number(fields[2])
	to, ok2 := number(fields[3])
	mac, ok3 := number(fields[4])
	if !d.Sender.parse(fields[0]) || !d.Destination.parse(fields[1]) || !ok1 || !ok2 || !ok3 {
		return nil, 0, no
	}
	d.From, d.To, d.MAC, d.Side = uint16(from), uint16(to), mac, -1
	return d.tail(b)
}

// tail reads what stands between the MAC and the data.
func (d *Datagram) tail(b []byte) (rest []byte, size int, v verdict) {
	if len(b) < 2 {
		return nil, 0, more
	}
	if b[1] != ' ' {
		f, rest, v := field(b, 2)
		if v != yes {
			return nil, 0, v
		}
		lqi, ok := number(f)
		if !ok {
			return nil, 0, no
		}
		d.RSSI, b = rssi(lqi), rest
	}
	if len(b) < 4 {
		return nil, 0, more
	}
	if b[0] != '0' && b[0] != '1' || b[1] != ' ' {
		return nil, 0, no
	}
	d.Secured = b[0] == '1'
	if b = b[2:]; b[1] == ' ' {
		if d.Side = int8(b[0] - '0'); d.Side < 0 || d.Side > 1 {
			return nil, 0, no
		}
		b = b[2:]
	}
	f, rest, v := field(b, 4)
	if v != yes {
		return nil, 0, v
	}
	n, ok := number(f)
	if !ok || n > maxPayload {
		return nil, 0, no
	}
	return rest, int(n), yes
}

// rssi is a link quality in thousandths of dBm: 0.275 × LQI - 104.27.
func rssi(lqi uint64) int32 { return 275*int32(lqi) - 104270 }

// payload takes size bytes and the line's end. They come as they are or as
// hexadecimal digits, which nothing announces: it is digits if twice as many stand
// there and the line ends behind them.
func (s *Scanner) payload(b []byte, size int, d *Datagram) (n int, v verdict) {
	s.data = s.data[:0]
	var bad byte
	whole := min(len(b), 2*size)
	for i := 0; i+1 < whole; i += 2 {
		hi, lo := digits[b[i]], digits[b[i+1]]
		if bad = hi | lo; bad > 0xF {
			break
		}
		s.data = append(s.data, hi<<4|lo)
	}
	if bad <= 0xF && whole&1 == 1 {
		bad = digits[b[whole-1]]
	}
	if bad <= 0xF {
		if n, v = ended(b, 2*size); v != no {
			d.Data = s.data
			return n, v
		}
	}
	n, v = ended(b, size)
	if v == yes {
		d.Data = b[:size]
	}
	return n, v
}

// ended says whether a line ends behind its first n bytes, and where the next one
// begins.
func ended(b []byte, n int) (int, verdict) {
	switch {
	case len(b) >= n+2:
		if b[n] != '\r' || b[n+1] != '\n' {
			return 0, no
		}
		return n + 2, yes
	case len(b) == n+1 && b[n] != '\r':
		return 0, no
	}
	return 0, more
}

// AppendUDPLine appends a datagram as a module writes it, with its data as
// hexadecimal digits if ascii. With a side the line has one, with an RSSI too.
func (d *Datagram) AppendUDPLine(b []byte, ascii bool) []byte {
	b = fmt.Appendf(b, "ERXUDP %s %s %04X %04X %016X ", d.Sender, d.Destination, d.From, d.To, d.MAC)
	if d.RSSI != 0 {
		b = fmt.Appendf(b, "%02X ", (d.RSSI+104270)/275)
	}
	b = append(b, '0')
	if d.Secured {
		b[len(b)-1] = '1'
	}
	if d.Side >= 0 {
		b = append(b, ' ', '0'+byte(d.Side))
	}
	b = fmt.Appendf(b, " %04X ", len(d.Data))
	if ascii {
		b = fmt.Appendf(b, "%X", d.Data)
	} else {
		b = append(b, d.Data...)
	}
	return append(b, '\r', '\n')
}
