package drivers

import (
	"fmt"
	"strconv"
)

// Parity of a serial character.
type Parity byte

// The parities.
const (
	NoParity   Parity = 'N'
	EvenParity Parity = 'E'
	OddParity  Parity = 'O'
)

// Mode is speed and frame of a serial line, as in 9600 7E1.
type Mode struct {
	Baud   int
	Bits   uint8 // 7 or 8
	Parity Parity
	Stop   uint8 // 1 or 2
}

// ParseFrame reads "8N1", "7E1", "8E2" … into a Mode without speed.
func ParseFrame(s string) (Mode, error) {
	if len(s) != 3 || (s[0] != '7' && s[0] != '8') || (s[2] != '1' && s[2] != '2') {
		return Mode{}, fmt.Errorf("mode %.20q: want data bits 7 or 8, parity N, E or O, stop bits 1 or 2, as in 8N1", s)
	}
	p := Parity(s[1] &^ 0x20)
	if p != NoParity && p != EvenParity && p != OddParity {
		return Mode{}, fmt.Errorf("mode %.20q: parity is N, E or O", s)
	}
	return Mode{Bits: s[0] - '0', Parity: p, Stop: s[2] - '0'}, nil
}

// Frame is the mode without its speed: "8N1".
func (m Mode) Frame() string {
	return string([]byte{'0' + m.Bits, byte(m.Parity), '0' + m.Stop})
}

// String is "115200 8N1".
func (m Mode) String() string { return strconv.Itoa(m.Baud) + " " + m.Frame() }
