package corus

import (
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const driverName = "corus"

// Driver is I-FLAG in single address mode.
var Driver = drivers.Driver{
	Name:  driverName,
	Doc:   "Itron and Actaris Corus gas volume converters (I-FLAG): indexes, parameters, all logs",
	Mode:  drivers.Mode{Baud: 9600, Bits: 8, Parity: drivers.NoParity, Stop: 1},
	Gap:   2 * time.Second,
	Every: 15 * time.Minute,
	Hint:  "is the modem or gateway transparent, 8N1, and at the device's speed? One reader at a time: a device that was left without a break stays busy for a while",

	Parameters: parametersOf,
	NewConfig:  func() drivers.Config { return newConfig() },
	NewDecoder: func(c drivers.Config, z drivers.Zones) (drivers.Decoder, error) {
		cfg, err := own(c)
		if err != nil {
			return nil, err
		}
		return newDecoder(cfg, z)
	},
	Explain: explain,
	Dial:    dial,
}

func own(c drivers.Config) (*Config, error) {
	cfg, ok := c.(*Config)
	if !ok {
		return nil, fmt.Errorf("%s: configuration is a %T", driverName, c)
	}
	return cfg, nil
}

// parametersOf are those of all firmwares that a configuration knows. A file that is
// wrong has none: Validate tells why.
func parametersOf(c drivers.Config) []drivers.Parameter {
	cfg, err := own(c)
	if err != nil {
		return nil
	}
	all, err := cfg.catalogue()
	if err != nil {
		return nil
	}
	return all.all()
}
