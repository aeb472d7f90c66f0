package routeb

import (
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const driverName = "routeb"

// Driver is Route B of Japan's smart meters.
var Driver = drivers.Driver{
	Name: driverName,
	Doc:  "Route B of Japan's smart meters, with a Wi-SUN module (BP35, RL7023, J11) or over UDP: power, currents, totals, half-hours",
	Mode: drivers.Mode{Baud: 115200, Bits: 8, Parity: drivers.NoParity, Stop: 1},
	Hint: "is it a Wi-SUN module for Route B, does it stand where it hears the meter, and are id and password those of the power company's letter?",

	Datagrams: true,
	Every:     30 * time.Second,

	NewConfig: func() drivers.Config { return newConfig() },
	NewDecoder: func(c drivers.Config, _ drivers.Zones) (drivers.Decoder, error) {
		own, err := ownConfig(c)
		if err != nil {
			return nil, err
		}
		return NewDecoder(own), nil
	},
	Explain:    explain,
	Dial:       dial,
	Parameters: parametersOf,
}

func ownConfig(c drivers.Config) (*Config, error) {
	own, ok := c.(*Config)
	if !ok {
		return nil, fmt.Errorf("%s: %w: %T", driverName, errForeignConfig, c)
	}
	return own, nil
}
