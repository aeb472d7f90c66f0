package p1

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Driver is P1: meters that push ASCII telegrams, as DSMR and its cousins do.
var Driver = drivers.Driver{
	Name:  "p1",
	Doc:   "P1 port and other meters that push ASCII telegrams (DSMR 2 to 5, ESMR, Belgium, Luxembourg, Hungary, Lithuania, Ireland, Sweden, D0)",
	Mode:  drivers.Mode{Baud: 115200, Bits: 8, Parity: drivers.NoParity, Stop: 1},
	Gap:   time.Second,
	Quiet: 45 * time.Second,

	Caution:   caution,
	NewConfig: func() drivers.Config { return &Config{Check: checkAuto} },
	NewDecoder: func(c drivers.Config, z drivers.Zones) (drivers.Decoder, error) {
		return newDecoder(c, z)
	},
	Explain: explain,
	Reseal:  reseal,
	Sniff:   sniff,
}
