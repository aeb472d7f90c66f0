package mbus

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const driverName = "mbus"

// Driver is M-Bus on two wires.
var Driver = drivers.Driver{
	Name: driverName,
	Doc:  "M-Bus on two wires (EN 13757-2, -3): heat, water, gas, electricity, allocators",
	Mode: drivers.Mode{Baud: 2400, Bits: 8, Parity: drivers.EvenParity, Stop: 1},
	Gap:  300 * time.Millisecond,
	Hint: "an M-Bus meter speaks only when asked; is the line 8E1, and does the level converter have its 36 V?",

	Every: time.Hour,

	NewConfig: func() drivers.Config { return newConfig() },
	NewDecoder: func(_ drivers.Config, z drivers.Zones) (drivers.Decoder, error) {
		return NewDecoder(zoneOf(z)), nil
	},
	Explain:    explainWired,
	Parameters: parameters,

	Dial: dial,
	Scan: scan,
	Ways: ways[:],
}

// zoneOf is the zone of the meter's clock, else the gateway's own.
func zoneOf(z drivers.Zones) *time.Location {
	if z.Meter != nil {
		return z.Meter
	}
	return z.Host
}
