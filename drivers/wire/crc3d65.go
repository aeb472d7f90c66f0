package wire

// crc3D65 is the table of the polynomial x16+x13+x12+x11+x10+x8+x6+x5+x2+1, most
// significant bit first.
var crc3D65 = newCRC3D65()

func newCRC3D65() *[256]uint16 {
	t := new([256]uint16)
	for i := range t {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x3D65
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}

// CRC13757 is the check of wireless M-Bus, EN 13757-4: start 0, inverted at the
// end; the check of "123456789" is 0xC2B7.
func CRC13757(p []byte) uint16 {
	var c uint16
	for _, b := range p {
		c = c<<8 ^ crc3D65[byte(c>>8)^b]
	}
	return ^c
}
