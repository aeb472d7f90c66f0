package dlms

import (
	"encoding/binary"
)

// madeBlock is one block of a general block transfer.
func madeBlock(seq uint16, last bool, data []byte) []byte {
	control := byte(0)
	if last {
		control = lastBlock
	}
	b := []byte{tagGeneralBlockTransfer, control}
	b = binary.BigEndian.AppendUint16(b, seq)
	b = append(b, 0, 0)
	b = appendLength(b, len(data))
	return append(b, data...)
}
