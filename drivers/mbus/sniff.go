package mbus

import "github.com/meter2mqtt/meter2mqtt/drivers"

// sniffWireless says whether a line is a radio receiver's.
func sniffWireless(b []byte) drivers.Sniff {
	d, err := NewWirelessDecoder(&WirelessConfig{}, nil)
	if err != nil {
		return drivers.Sniff{}
	}
	s := drivers.SniffWith(d, b)
	if s.Telegrams == 0 {
		return drivers.Sniff{} // nearly anything looks like a damaged telegram
	}
	return s
}
