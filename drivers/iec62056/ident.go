package iec62056

import (
	"bytes"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// maxIdent bounds an identification line. The standard allows 16 characters
// behind the fifth; real meters have more.
const maxIdent = 96

// Protocol is a protocol mode of clause 6.4.
type Protocol byte

// The protocol modes.
const (
	ModeA Protocol = 'A' // everything at the first speed
	ModeB Protocol = 'B' // the meter changes its speed by itself
	ModeC Protocol = 'C' // the reader selects option and speed
	ModeD Protocol = 'D' // the meter pushes, at 2400 baud
	ModeE Protocol = 'E' // C, and HDLC on request
)

// Identification is what a meter says of itself: / XXX Z \W… ident, clause 6.3.2.
type Identification struct {
	Manufacturer string   // three letters as sent; the last small: it answers after 20 ms
	Speed        byte     // Z: '0' to '6' mode C or E, 'A' to 'F' mode B
	Escapes      string   // the W of each \W: "2" HDLC, "@" R5, W5 and R6
	Model        string   // what follows, without blanks around it
	Mode         Protocol // told by Speed and Escapes
}

// Fast says that the meter may answer after 20 ms instead of 200 ms.
func (id Identification) Fast() bool {
	last := id.Manufacturer[len(id.Manufacturer)-1]
	return last >= 'a' && last <= 'z'
}

// Has says whether the identification has the escape \W.
func (id Identification) Has(w byte) bool { return strings.IndexByte(id.Escapes, w) >= 0 }

// Baud is the speed that Z offers; 0: none.
func (id Identification) Baud() int { return baudOf(id.Speed) }

// speeds are those of Z, from '0' and from 'A' on.
var (
	speedsC = [...]int{300, 600, 1200, 2400, 4800, 9600, 19200}
	speedsB = [...]int{600, 1200, 2400, 4800, 9600, 19200}
)

func baudOf(z byte) int {
	switch {
	case z >= '0' && z <= '6':
		return speedsC[z-'0']
	case z >= 'A' && z <= 'F':
		return speedsB[z-'A']
	}
	return 0
}

// ParseIdentification reads an identification line, without its line end. A
// request that a reading head echoes is none. ErrSyntax: it is no identification.
func ParseIdentification(line []byte) (Identification, error) {
	if !isIdentification(line) {
		return Identification{}, drivers.ErrSyntax
	}
	id := Identification{Manufacturer: string(line[1:4]), Speed: line[4]}
	rest := line[5:]
	for len(rest) >= 2 && rest[0] == '\\' {
		id.Escapes += string(rest[1:2])
		rest = rest[2:]
	}
	id.Model = string(bytes.TrimSpace(rest))
	id.Mode = modeOf(id)
	return id, nil
}

func modeOf(id Identification) Protocol {
	switch z := id.Speed; {
	case z >= '0' && z <= '9' && id.Has('2'):
		return ModeE
	case z >= '0' && z <= '9':
		return ModeC
	case z >= 'A' && z <= 'I':
		return ModeB
	}
	return ModeA
}

// isIdentification says whether a line has the form: three letters, a speed, and
// printable characters other than / and !.
func isIdentification(line []byte) bool {
	if len(line) < 5 || len(line) > maxIdent || line[0] != '/' {
		return false
	}
	for _, c := range line[1:4] {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	for _, c := range line[4:] {
		if c < ' ' || c > '~' || c == '/' || c == '!' {
			return false
		}
	}
	return true
}
