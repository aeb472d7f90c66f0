package routeb

import (
	"encoding/binary"
	"time"
)

// panaPort is where PANA is spoken (RFC 5191).
const panaPort = 0x02CC

// Attributes of a PANA message.
const (
	panaResult   = 7
	panaLifetime = 8
)

// sessionLifetime is how long the session holds that a PANA message completes:
// header (16 bytes), then attributes of code (2), flags (2), length (2), reserved
// (2) and value, padded to 4. false: the message completes none, or refuses it.
func sessionLifetime(b []byte) (time.Duration, bool) {
	const header, head = 16, 8
	if len(b) < header || int(binary.BigEndian.Uint16(b[2:])) > len(b) {
		return 0, false
	}
	var life time.Duration
	for b = b[header:]; len(b) >= head; {
		size := int(binary.BigEndian.Uint16(b[4:]))
		if head+size > len(b) {
			return 0, false
		}
		value := b[head : head+size]
		if size == 4 {
			switch binary.BigEndian.Uint16(b) {
			case panaResult:
				if binary.BigEndian.Uint32(value) != 0 {
					return 0, false
				}
			case panaLifetime:
				life = time.Duration(binary.BigEndian.Uint32(value)) * time.Second
			}
		}
		b = b[min(len(b), head+(size+3)&^3):]
	}
	return life, life > 0
}
