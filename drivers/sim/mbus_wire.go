package sim

import (
	"slices"
	"time"
)

// spoken is what one slave says, and how long after the request.
type spoken struct {
	after time.Duration
	bytes []byte
}

// mbusByte is a byte that the master hears, and when its last bit has come, from
// the end of the request on.
type mbusByte struct {
	at time.Duration
	b  byte
}

// A character on the wire: a start bit, 8 of data, a parity bit that makes them
// even, a stop bit.
const (
	bitsOfByte = 11
	samples    = 8 // looks at the wire a bit
)

// mix is what is heard when slaves speak at the same time. Each draws current for
// a space (0) and none for a mark (1), so a space of any of them wins.
func mix(said []spoken, baud int) []mbusByte {
	said = slices.DeleteFunc(said, func(s spoken) bool { return len(s.bytes) == 0 })
	sample := time.Second / time.Duration(baud*samples)
	if len(said) == 0 {
		return nil
	}
	if len(said) == 1 {
		return alone(said[0], sample*samples*bitsOfByte)
	}
	var spaces []bool
	for _, s := range said {
		spaces = draw(spaces, int(s.after/sample), s.bytes)
	}
	return receive(spaces, sample)
}

// alone is a slave that nobody disturbs.
func alone(s spoken, each time.Duration) []mbusByte {
	var heard []mbusByte
	for i, b := range s.bytes {
		heard = append(heard, mbusByte{s.after + time.Duration(i+1)*each, b})
	}
	return heard
}

// draw adds what a slave says to the wire, from a sample on.
func draw(spaces []bool, at int, p []byte) []bool {
	if end := at + len(p)*bitsOfByte*samples; end > len(spaces) {
		spaces = append(spaces, make([]bool, end-len(spaces))...)
	}
	for _, b := range p {
		for _, mark := range character(b) {
			for i := range samples {
				spaces[at+i] = spaces[at+i] || !mark
			}
			at += samples
		}
	}
	return spaces
}

// character are the bits of a byte as they travel, true for a mark.
func character(b byte) (bits [bitsOfByte]bool) {
	for i := range 8 {
		bits[1+i] = b>>i&1 == 1
		bits[9] = bits[9] != bits[1+i]
	}
	bits[10] = true
	return bits
}

// receive reads the wire as a converter's UART does: a character begins with the
// edge to a space, each bit is taken in its middle. Parity and stop bits are not
// looked at: converters hand on what does not fit.
func receive(spaces []bool, sample time.Duration) []mbusByte {
	at := func(i int) bool { return i < len(spaces) && spaces[i] }
	var heard []mbusByte
	for i := 0; i < len(spaces); i++ {
		if !at(i) || i > 0 && at(i-1) || !at(i+samples/2) {
			continue
		}
		var b byte
		for bit := range 8 {
			if !at(i + (1+bit)*samples + samples/2) {
				b |= 1 << bit
			}
		}
		heard = append(heard, mbusByte{time.Duration(i+bitsOfByte*samples) * sample, b})
		i += (bitsOfByte-1)*samples + samples/2 // the middle of the stop bit
	}
	return heard
}
