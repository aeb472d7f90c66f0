package wire

import "encoding/binary"

// Sum8 is the sum of all bytes modulo 256, the check of M-Bus frames and of
// some ECHONET modules.
func Sum8(p []byte) byte {
	const lanes = 0x00FF00FF00FF00FF
	var total byte
	for len(p) >= 8 {
		// Four lanes of 16 bits take 128 pairs of bytes before one runs over.
		var acc uint64
		n := min(len(p)/8, 128)
		for range n {
			x := binary.LittleEndian.Uint64(p)
			acc += x&lanes + x>>8&lanes
			p = p[8:]
		}
		total += byte(acc) + byte(acc>>16) + byte(acc>>32) + byte(acc>>48)
	}
	for _, b := range p {
		total += b
	}
	return total
}
