package dlms

import (
	"encoding/binary"
)

// appendBlock appends one block of a general block transfer.
func appendBlock(b []byte, seq uint16, last bool, data []byte) []byte {
	control := byte(0)
	if last {
		control = lastBlock
	}
	b = append(b, tagGeneralBlockTransfer, control)
	b = binary.BigEndian.AppendUint16(b, seq)
	b = append(b, 0, 0)
	b = appendLength(b, len(data))
	return append(b, data...)
}
