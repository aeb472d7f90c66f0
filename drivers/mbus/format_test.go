package mbus

import (
	"fmt"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// formatB is a wireless telegram with the CRCs of frame format B,
// which its L-field then counts. ErrEncode: it becomes longer than L can tell.
func formatB(telegram []byte) ([]byte, error) {
	crcs := crcLength
	if len(telegram) > blockB {
		crcs *= 2
	}
	if len(telegram)-1+crcs > 0xFF {
		return nil, fmt.Errorf("%w: %d bytes in format B", ErrEncode, len(telegram))
	}
	b := slices.Clone(telegram[:min(len(telegram), blockB)])
	b[0] += byte(crcs)
	crc := wire.CRC13757(b)
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
