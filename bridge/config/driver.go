package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// DriverOptions is a driver's own configuration as KEY=VALUE texts say it, for
// commands that have no file. Its error is an *Error with every mistake.
func DriverOptions(d drivers.Driver, settings []string) (drivers.Config, error) {
	var r report
	at := origin{Key: "--set"}
	values := map[string]value{}
	for _, setting := range settings {
		key, text, ok := strings.Cut(setting, "=")
		if !ok || key == "" {
			r.add(at, fmt.Sprintf("%.40q is not KEY=VALUE", setting), "write it as in --set "+exampleKey(d)+"=VALUE")
			continue
		}
		values[key] = value{loose, text, origin{Key: "--set " + key}}
	}
	s := newSection(d.Name, at, values, &r)
	options := d.NewConfig()
	s.fill(options)
	s.refuseUnknown()
	if err := r.err(); err != nil {
		return nil, err
	}
	if err := options.Validate(); err != nil {
		s.failEach(err)
	}
	return options, r.err()
}

// HasKey says whether a driver's own configuration has a key of that name.
func HasKey(d drivers.Driver, key string) bool {
	s := section{}
	s.allow(d.NewConfig())
	return slices.Contains(s.keys, key)
}

// exampleKey is a key that the driver has, for a message.
func exampleKey(d drivers.Driver) string {
	s := section{}
	s.allow(d.NewConfig())
	if len(s.keys) == 0 {
		return "KEY"
	}
	return slices.Min(s.keys)
}
