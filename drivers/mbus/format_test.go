package mbus

import (
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// appendFormatB appends a wireless telegram with the CRCs of frame format B,
// which its L-field then counts. ErrEncode: it becomes longer than L can tell.
func appendFormatB(b, telegram []byte) ([]byte, error) {
	crcs := crcLength
	if len(telegram) > blockB {
		crcs *= 2
	}
	if len(telegram)-1+crcs > 0xFF {
		return b, fmt.Errorf("%w: %d bytes in format B", ErrEncode, len(telegram))
	}
	at := len(b)
	b = append(b, telegram[:min(len(telegram), blockB)]...)
	b[at] += byte(crcs)
	crc := wire.CRC13757(b[at:])
	b = append(b, byte(crc>>8), byte(crc))
	if len(telegram) > blockB {
		b = appendSealed(b, telegram[blockB:])
	}
	return b, nil
}

// appendJ appends the time of day of t, 3 bytes.
func appendJ(b []byte, t time.Time) []byte {
	return append(b, byte(t.Second()), byte(t.Minute()), byte(t.Hour()))
}
