// Package wire holds what all protocols do with bytes: checksums and hexadecimal.
// It knows bytes only, no meter and no protocol.
package wire

// CRC16 computes a reflected 16-bit CRC, eight bytes a step. Its start value is
// the caller's, a final xor too.
type CRC16 [8][256]uint16

// NewCRC16 makes the tables for a polynomial in its reflected form, 0xA001 for
// x16+x15+x2+1.
func NewCRC16(reflected uint16) *CRC16 {
	var t CRC16
	for i := range 256 {
		c := uint16(i)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ reflected
			} else {
				c >>= 1
			}
		}
		t[0][i] = c
	}
	for i := range 256 {
		for s := 1; s < 8; s++ {
			prev := t[s-1][i]
			t[s][i] = prev>>8 ^ t[0][byte(prev)]
		}
	}
	return &t
}

// Update continues a CRC over p.
func (t *CRC16) Update(crc uint16, p []byte) uint16 {
	for len(p) >= 8 {
		crc ^= uint16(p[0]) | uint16(p[1])<<8
		crc = t[7][byte(crc)] ^ t[6][byte(crc>>8)] ^ t[5][p[2]] ^ t[4][p[3]] ^
			t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]]
		p = p[8:]
	}
	for _, b := range p {
		crc = crc>>8 ^ t[0][byte(crc)^b]
	}
	return crc
}

// ARC is CRC-16/ARC, the check of P1 telegrams: start 0, no final xor; the
// check of "123456789" is 0xBB3D.
var ARC = NewCRC16(0xA001)

// X25 is the polynomial of CRC-16/X-25, HDLC's check: start 0xFFFF, final xor
// 0xFFFF; the check of "123456789" is 0x906E.
var X25 = NewCRC16(0x8408)
