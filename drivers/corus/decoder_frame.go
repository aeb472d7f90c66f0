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

// damaged is the loss of an answer whose check does not hold.
func damaged(b []byte) drivers.FrameError {
	n := len(b)
	return drivers.FrameError{
		Field: "CRC", Offset: n - 2, Length: n, Err: drivers.ErrChecksum,
		Got: uint32(binary.LittleEndian.Uint16(b[n-2:])), Want: uint32(wire.Buypass(b[:n-2])),
	}
}
