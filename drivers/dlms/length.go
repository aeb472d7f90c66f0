package dlms

import (
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// MaxAPDU bounds an APDU, joined from whatever pieces it came in: bytes.
const MaxAPDU = 16 << 10

// length reads a count or length of A-XDR: one byte below 80, else 81 and one
// byte, 82 and two, 83 and three, 84 and four, big endian. Long forms of small
// numbers occur (82 00 E7). size is what the number itself takes. A number beyond
// MaxAPDU is drivers.ErrLong, a form that does not exist drivers.ErrSyntax.
func length(b []byte) (n, size int, err error) {
	if len(b) == 0 {
		return 0, 0, drivers.ErrShort
	}
	if b[0] < 0x80 {
		return int(b[0]), 1, nil
	}
	size = int(b[0]&0x7f) + 1
	switch {
	case size < 2 || size > 5:
		return 0, 0, drivers.ErrSyntax
	case len(b) < size:
		return 0, 0, drivers.ErrShort
	}
	for _, c := range b[1:size] {
		n = n<<8 | int(c)
		if n > MaxAPDU {
			return 0, 0, drivers.ErrLong
		}
	}
	return n, size, nil
}

// appendLength writes n in its shortest form.
func appendLength(b []byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(b, byte(n))
	case n < 0x100:
		return append(b, 0x81, byte(n))
	case n <= MaxAPDU:
		return append(b, 0x82, byte(n>>8), byte(n))
	}
	panic(fmt.Sprintf("dlms: length %d is beyond any APDU", n))
}

// octets takes an octet string without its tag off b: length, bytes.
func octets(b []byte) (s, rest []byte, err error) {
	n, size, err := length(b)
	switch {
	case err != nil:
		return nil, nil, err
	case len(b)-size < n:
		return nil, nil, drivers.ErrShort
	}
	return b[size : size+n], b[size+n:], nil
}
