package iec62056

import (
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// The drivers' names, as configured.
const (
	iecName = "iec62056-21"
	lisName = "lis200"
)

// Driver is IEC 62056-21.
var Driver = drivers.Driver{
	Name:  iecName,
	Doc:   "IEC 62056-21 modes A to D (optical port, current loop, RS-485, modem): readout, registers, load profiles",
	Mode:  drivers.Mode{Baud: 300, Bits: 7, Parity: drivers.EvenParity, Stop: 1},
	Gap:   2 * time.Second,
	Every: 5 * time.Minute,
	Hint:  "is the reading head on the port, the right way up? Is the line 7E1 at 300 baud, and does the meter need an address or a wake-up?",

	Parameters: parameters,
	NewConfig:  func() drivers.Config { return newConfig() },
	NewDecoder: maker(iecName),
	Explain:    explainer(iecName),
	Sniff:      sniff,
	Dial:       dial(iecName),
}

// LIS200 is Elster's and Honeywell's devices: EK2xx, DL2xx.
var LIS200 = drivers.Driver{
	Name:  lisName,
	Doc:   "LIS-200 (Elster EK2xx gas volume converters, DL2xx loggers): values, archives, locks",
	Mode:  drivers.Mode{Baud: 300, Bits: 7, Parity: drivers.EvenParity, Stop: 1},
	Gap:   2 * time.Second,
	Every: 5 * time.Minute,
	Hint:  "is the reading head on the port? A modem or an RS-485 line of these devices is often fixed at 19200 7E1: set baud and max_baud",

	Parameters: parameters,
	NewConfig:  func() drivers.Config { return newLISConfig() },
	NewDecoder: maker(lisName),
	Explain:    explainer(lisName),
	Dial:       dial(lisName),
}

func maker(name string) func(drivers.Config, drivers.Zones) (drivers.Decoder, error) {
	return func(c drivers.Config, z drivers.Zones) (drivers.Decoder, error) {
		own, ok := c.(*Config)
		if !ok {
			return nil, fmt.Errorf("%s: configuration is a %T", name, c)
		}
		return newDecoder(name, own, z)
	}
}

// parameters are the clock and the registers of a configuration. One that is wrong
// has none: Validate tells why.
func parameters(c drivers.Config) []drivers.Parameter {
	own, ok := c.(*Config)
	if !ok {
		return nil
	}
	named, err := own.parameters()
	if err != nil {
		return nil
	}
	return described(named, true)
}
