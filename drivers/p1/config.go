package p1

import (
	"fmt"
)

// Config are the keys of a [[meter]] table that only P1 meters have.
type Config struct {
	// Check says how telegrams without a CRC are met. "auto" takes them until the
	// meter has shown a CRC, "crc" never, "none" always. A CRC that is there must
	// fit in all three.
	Check string `koanf:"check"`
}

// The values of Config.Check.
const (
	checkAuto = "auto"
	checkCRC  = "crc"
	checkNone = "none"
)

// Validate says which key is wrong and what it may be.
func (c *Config) Validate() error {
	switch c.Check {
	case "", checkAuto, checkCRC, checkNone:
		return nil
	}
	return fmt.Errorf("check: %.20q is not one of auto, crc, none", c.Check)
}
