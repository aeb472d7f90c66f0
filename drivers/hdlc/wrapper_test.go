package hdlc

import (
	"encoding/binary"
)

// appendWrapper appends an APDU in the wrapper of the TCP profile, from the
// meter's management device (1) to the public client (16).
func appendWrapper(b, apdu []byte) []byte {
	b = append(b, 0, 1, 0, 1, 0, 16)
	b = binary.BigEndian.AppendUint16(b, uint16(len(apdu)))
	return append(b, apdu...)
}

// appendBlock appends one block of a general block transfer, with the long form of its
// length.
func appendBlock(b []byte, seq uint16, last bool, data []byte) []byte {
	control := byte(0)
	if last {
		control = 0x80
	}
	b = binary.BigEndian.AppendUint16(append(b, 0xE0, control), seq)
	b = append(b, 0, 0, 0x82)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}
