package dlms

import (
	"encoding/binary"
	"errors"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// ErrBlockOrder says that a block of a general block transfer is not the one that
// follows: one was lost.
var ErrBlockOrder = errors.New("block out of order")

const lastBlock = 0x80

// Blocks joins a general block transfer, Green Book ed. 9, 9.4.6.13:
//
//	E0 control seq[2] ack[2] LEN data     control: bit 7 last, bit 6 streaming, window
//
// The zero Blocks waits for the first one. What it holds is bounded by MaxAPDU.
type Blocks struct {
	joined []byte
	next   uint16 // the number that must come; 0 or 1: the first
}

// Add takes one block. It gives the joined APDU once the last one is in, valid
// until the next Add; nil before. ErrBlockOrder: one is missing, and all are
// dropped until a first one comes; size is what of apdu the block takes.
func (j *Blocks) Add(apdu []byte) (whole []byte, size int, err error) {
	if len(apdu) < 6 {
		return nil, 0, drivers.ErrShort
	}
	data, rest, err := octets(apdu[6:])
	if err != nil {
		return nil, 0, err
	}
	size = len(apdu) - len(rest)
	seq := binary.BigEndian.Uint16(apdu[2:])
	switch {
	case seq == 1:
		j.joined = j.joined[:0]
	case seq == 0 || seq != j.next:
		j.Drop()
		return nil, size, ErrBlockOrder
	case len(j.joined)+len(data) > MaxAPDU:
		j.Drop()
		return nil, size, drivers.ErrLong
	}
	j.joined = append(j.joined, data...)
	j.next = seq + 1
	if apdu[1]&lastBlock == 0 {
		return nil, size, nil
	}
	j.next = 0
	return j.joined, size, nil
}

// BlockSize is how many bytes the block at the start of b has, however many of
// them are there yet. drivers.ErrShort: b does not reach as far as LEN.
func BlockSize(b []byte) (int, error) {
	if len(b) < 6 {
		return 0, drivers.ErrShort
	}
	n, size, err := length(b[6:])
	return 6 + size + n, err
}

// Drop forgets the blocks so far, and says whether there were any.
func (j *Blocks) Drop() bool {
	were := j.next > 1
	j.joined, j.next = j.joined[:0], 0
	return were
}
