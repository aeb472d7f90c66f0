package iec62056

import (
	"encoding/binary"
	"math/bits"
)

// Control characters, clause 6.3.
const (
	soh = 0x01
	stx = 0x02
	etx = 0x03
	eot = 0x04
	ack = 0x06
	nak = 0x15
	nul = 0x00
)

const (
	sevenBits = 0x7F7F7F7F7F7F7F7F
	highBits  = 0x8080808080808080
)

// BlockCheck is the block check character: the XOR of b, without bit 7. b begins
// behind the first SOH or STX and ends with ETX or EOT.
func BlockCheck(b []byte) byte {
	var x uint64
	for len(b) >= 8 {
		x ^= binary.LittleEndian.Uint64(b)
		b = b[8:]
	}
	x ^= x >> 32
	x ^= x >> 16
	x ^= x >> 8
	c := byte(x)
	for _, v := range b {
		c ^= v
	}
	return c & 0x7F
}

// appendStripped appends p without bit 7.
func appendStripped(dst, p []byte) []byte {
	at := len(dst)
	dst = append(dst, p...)
	for b := dst[at:]; ; {
		if len(b) < 8 {
			for i := range b {
				b[i] &= 0x7F
			}
			return dst
		}
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)&sevenBits)
		b = b[8:]
	}
}

// hasHighBit says whether any byte has bit 7 set.
func hasHighBit(b []byte) bool {
	var x uint64
	for len(b) >= 8 {
		x |= binary.LittleEndian.Uint64(b)
		b = b[8:]
	}
	for _, v := range b {
		x |= uint64(v)
	}
	return x&highBits != 0
}

// oddByte is the first byte whose parity, bit 7 included, is not even; -1: none.
func oddByte(b []byte) int {
	for i, v := range b {
		if bits.OnesCount8(v)%2 != 0 {
			return i
		}
	}
	return -1
}

// withParity puts even parity into bit 7 of each byte of b, in place.
func withParity(b []byte) {
	for i, v := range b {
		if bits.OnesCount8(v)%2 != 0 {
			b[i] = v ^ 0x80
		}
	}
}
