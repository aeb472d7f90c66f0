package hdlc

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Driver reads meters that push DLMS/COSEM on their customer port.
var Driver = drivers.Driver{
	Name: "hdlc",
	Doc:  "DLMS/COSEM push on HAN and customer ports (Norway, Sweden, Denmark, Finland, Austria, Switzerland, Slovenia, Croatia, Czechia), encrypted or not",
	Mode: drivers.Mode{Baud: 2400, Bits: 8, Parity: drivers.EvenParity, Stop: 1},
	Gap:  1500 * time.Millisecond, // segments of one telegram come up to a second apart, telegrams at least two

	Quiet: 2 * time.Minute,
	Hint:  "some ports must be opened by the grid company first; HAN ports speak 2400 8E1 (Kaifa, Aidon, Austria), 2400 8N1 (Kamstrup), Sweden, Slovenia and Croatia 115200 8N1; M-Bus levels need an M-Bus adapter, Sweden's plug an inverted input",

	Caution:   caution,
	NewConfig: func() drivers.Config { return &Config{Clock: clockAuto} },
	NewDecoder: func(c drivers.Config, z drivers.Zones) (drivers.Decoder, error) {
		return newDecoder(c, z)
	},
	Explain: explain,
	Reseal:  reseal,
	Sniff:   sniff,
}
