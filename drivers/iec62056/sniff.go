package iec62056

import (
	"bytes"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// sniff says whether a line speaks mode D: readouts without a request, whose codes
// leave value groups A and B out. Others are those of P1 meters.
func sniff(b []byte) drivers.Sniff {
	d, err := newDecoder(iecName, newConfig(), drivers.Zones{})
	if err != nil || bytes.Contains(b, []byte("-0:")) || !bytes.ContainsRune(b, '/') {
		return drivers.Sniff{}
	}
	s := drivers.SniffWith(d, b)
	s.Settings = []drivers.Setting{{Key: "mode", Value: string(ModeD)}}
	return s
}
