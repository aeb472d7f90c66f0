package hass

import (
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// MaxText is how many characters a state may have.
const MaxText = 255

// Quantity is what is to be shown.
type Quantity struct {
	Entry obis.Entry   // what the catalogue says; the zero Entry if it knows nothing
	Kind  drivers.Kind // of its values
	Unit  obis.Unit    // of its values, as they are published; "" none
	Zoned bool         // Kind Moment: its values carry an offset
}

// Sensor is how Home Assistant shows a quantity. An empty field is left out of
// the payload.
type Sensor struct {
	Component   string // "sensor" or "binary_sensor"
	DeviceClass string
	StateClass  string
	Unit        obis.Unit
	Category    string // "diagnostic" or ""
	Enabled     bool   // shown without being asked for
	Numeric     bool   // takes numbers only, and a precision
	Options     []string
}

// HasSum says whether Home Assistant keeps the sum of what the sensor counts, and
// whether its register may fall.
func (s Sensor) HasSum() (falls, ok bool) {
	return s.StateClass == total, s.StateClass == total || s.StateClass == totalIncreasing
}

const diagnostic = "diagnostic"

// Describe says how Home Assistant shows q, so that it has nothing to complain
// about.
func Describe(q Quantity) Sensor {
	s := Sensor{Component: "sensor", Enabled: !q.Entry.Rare}
	switch q.Kind {
	case drivers.Number:
		s.number(q)
	case drivers.Bool:
		s.Component = "binary_sensor"
	case drivers.Moment:
		if q.Zoned { // Home Assistant refuses a timestamp without offset
			s.DeviceClass = "timestamp"
		}
	case drivers.Text:
	}
	if q.Entry.Diagnostic {
		s.Category = diagnostic
	}
	if !q.Entry.Known() && !s.Numeric {
		// A text or a bare number that nobody can name: meters have many.
		s.Category = diagnostic
		s.Enabled = q.Kind == drivers.Bool
	}
	return s
}

func (s *Sensor) number(q Quantity) {
	s.Unit = q.Unit
	s.DeviceClass = deviceClass(q.Entry, q.Unit)
	s.StateClass = stateClass(q.Entry, q.Unit, s.DeviceClass)
	s.Numeric = s.Unit != "" || s.DeviceClass != "" || s.StateClass != ""
}

// Enum is a diagnostic sensor that shows one of the options.
func Enum(options ...string) Sensor {
	return Sensor{
		Component:   "sensor",
		DeviceClass: "enum",
		Category:    diagnostic,
		Enabled:     true,
		Options:     options,
	}
}
