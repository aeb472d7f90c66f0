package hdlc

import "github.com/meter2mqtt/meter2mqtt/drivers"

// sniff says whether a line speaks DLMS: in HDLC frames or in those of M-Bus, whose
// CI-field then tells segments.
func sniff(b []byte) drivers.Sniff {
	d, err := newDecoder(&Config{Clock: clockAuto}, drivers.Zones{})
	if err != nil {
		return drivers.Sniff{}
	}
	return drivers.SniffWith(d, b)
}
