package transport

import (
	"math/bits"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// badParity marks a received byte whose parity bit was wrong: no 7-bit character
// has it.
const badParity = 0x80

// softParity says whether the parity of m is made and checked here, in bit 7:
//
//	bit   7 6 5 4 3 2 1 0
//	      P └── 7 data ─┘
func softParity(m drivers.Mode) bool {
	return m.Bits == 7 && m.Parity != drivers.NoParity
}

// appendParity appends p with the parity bit in bit 7.
func appendParity(dst, p []byte, parity drivers.Parity) []byte {
	for _, b := range p {
		b &= 0x7F
		if odd := bits.OnesCount8(b)%2 == 1; odd == (parity == drivers.EvenParity) {
			b |= 0x80
		}
		dst = append(dst, b)
	}
	return dst
}

// stripParity takes the parity bit off, in place. Where it was wrong it leaves
// badParity.
func stripParity(p []byte, parity drivers.Parity) {
	for i, b := range p {
		p[i] = b & 0x7F
		if odd := bits.OnesCount8(b)%2 == 1; odd == (parity == drivers.EvenParity) {
			p[i] |= badParity
		}
	}
}
