package corus

import (
	"bytes"
	"encoding/binary"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// overhead is what an answer has around its data: SOH, length, ETX, check.
const overhead = 5

// verdict is what the bytes in front are.
type verdict uint8

const (
	needMore  verdict = iota
	isAnswer          // whose check holds
	isNothing         // noise, or what is no answer
	isDamaged         // as long as it says, and the check does not hold
	isCommand         // that somebody sent, whose check holds
)

// look says what b begins with, and how many bytes that takes.
func look(b []byte) (v verdict, length int) {
	if b[0] != soh {
		n := bytes.IndexByte(b, soh)
		if n < 0 {
			n = len(b)
		}
		return isNothing, n
	}
	if len(b) < 2 {
		return needMore, 0
	}
	length = int(b[1]) + overhead
	switch {
	case len(b) < length:
		return needMore, length
	case b[length-3] != etx:
		return isNothing, 1
	case binary.LittleEndian.Uint16(b[length-2:]) != wire.Buypass(b[:length-2]):
		return isDamaged, length
	}
	return isAnswer, length
}

// lookBoth is look for streams that may have both directions, or the echo of what was
// sent: commands stand in them too. closed: nothing follows b.
func lookBoth(b []byte, closed bool) (v verdict, length int) {
	v, length = look(b)
	size := commandSize(b)
	switch {
	case size == 0 || v == isAnswer && length < size:
		return v, length
	case len(b) < size && !closed:
		return needMore, size
	case len(b) >= size && isSound(b[:size]):
		return isCommand, size
	}
	return v, length
}

// commandSize is how long the command is that b begins with; 0: with none.
func commandSize(b []byte) int {
	switch {
	case len(b) < 3 || b[0] != soh:
		return 0
	case b[1] == cmdRead || b[1] == cmdWrite || b[1] == cmdDatabase:
		return int(b[2]) + overhead + 1
	case b[1] == breakMessage[1] && b[2] == breakMessage[2]:
		return len(breakMessage)
	}
	return 0
}

// isSound says whether a message ends with ETX and a check that holds.
func isSound(b []byte) bool {
	n := len(b)
	return b[n-3] == etx && binary.LittleEndian.Uint16(b[n-2:]) == wire.Buypass(b[:n-2])
}

// damaged is the loss of an answer whose check does not hold.
func damaged(b []byte) drivers.FrameError {
	n := len(b)
	return drivers.FrameError{
		Field: "CRC", Offset: n - 2, Length: n, Err: drivers.ErrChecksum,
		Got: uint32(binary.LittleEndian.Uint16(b[n-2:])), Want: uint32(wire.Buypass(b[:n-2])),
	}
}
