package wire

// crc8005 are the tables of the polynomial x16+x15+x2+1, most significant bit
// first, eight bytes a step.
var crc8005 = newCRC8005()

func newCRC8005() *[8][256]uint16 {
	t := new([8][256]uint16)
	for i := range t[0] {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x8005
			} else {
				c <<= 1
			}
		}
		t[0][i] = c
	}
	for i := range t[0] {
		for s := 1; s < 8; s++ {
			prev := t[s-1][i]
			t[s][i] = prev<<8 ^ t[0][prev>>8]
		}
	}
	return t
}

// Buypass is CRC-16/BUYPASS, the check of I-FLAG: start 0, not reflected, no final
// xor; the check of "123456789" is 0xFEE8.
func Buypass(p []byte) uint16 {
	var c uint16
	t := crc8005
	for len(p) >= 8 {
		c ^= uint16(p[0])<<8 | uint16(p[1])
		c = t[7][byte(c>>8)] ^ t[6][byte(c)] ^ t[5][p[2]] ^ t[4][p[3]] ^
			t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]]
		p = p[8:]
	}
	for _, b := range p {
		c = c<<8 ^ t[0][byte(c>>8)^b]
	}
	return c
}
