package p1

import (
	"bytes"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// sniff says whether a line speaks P1: telegrams with a CRC, or ciphered; without
// a CRC those whose codes have their value groups A and B, which tells them from
// mode D of IEC 62056-21.
func sniff(b []byte) drivers.Sniff {
	d, err := newDecoder(&Config{Check: checkAuto}, drivers.Zones{})
	if err != nil {
		return drivers.Sniff{}
	}
	s := drivers.SniffWith(d, b)
	if s.Telegrams > 0 && s.Check == drivers.CheckNone && !bytes.Contains(b, []byte("-0:")) {
		return drivers.Sniff{}
	}
	return s
}
