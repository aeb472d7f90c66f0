package mbus

import "github.com/meter2mqtt/meter2mqtt/drivers"

// Config are the keys of a [[meter]] table that only M-Bus meters have.
type Config struct{}

// Validate says which key is wrong and what it may be.
func (c *Config) Validate() error { return nil }

var _ drivers.Config = (*Config)(nil)
