package drivers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Quantity is something that a meter gives.
type Quantity struct {
	Key     string // what its values are published under
	Code    obis.Code
	Name    string
	Kind    Kind
	Unit    obis.Unit
	Digits  int   // decimals as sent
	Zoned   bool  // Kind Moment: its values carry an offset
	Channel uint8 // the meter behind this one that gives it; 0: this one
	Logged  bool  // a row of the meter's own log
	Derived bool  // computed by the bridge, not sent
}

// Access says what may be done with a Parameter.
type Access uint8

// What may be done with a Parameter.
const (
	Readable  Access = 1 << iota // its value can be read from the meter
	Writable                     // it can be set
	Pressable                    // it is an action without a value
)

// Parameter is something read or written by name, outside the stream of
// readings.
type Parameter struct {
	Quantity
	Access         Access
	Min, Max, Step Decimal  // Kind Number; Min equal to Max: no limit is known
	Options        []string // Kind Text with a closed list
	MaxLen         int      // Kind Text without one, in characters; 0: no limit is known
	Secret         bool     // never logged, published or echoed
	Doc            string   // one sentence for --help, the info topic and discovery
}

// ErrValue says that a value may not be sent to a Parameter.
var ErrValue = errors.New("value not accepted")

// Validate says why v may not be sent, or nil. Command line, MQTT and simulators
// all ask this one.
func (p Parameter) Validate(v Value) error {
	if p.Access&(Writable|Pressable) == 0 {
		return fmt.Errorf("%w: %s can only be read", ErrValue, p.Name)
	}
	if v.Kind != p.Kind {
		return fmt.Errorf("%w: %s takes a %s, got a %s", ErrValue, p.Name, p.Kind, v.Kind)
	}
	switch p.Kind {
	case Number:
		return p.validateNumber(v.Number)
	case Text:
		return p.validateText(v.Text)
	case Bool:
		if v.Number.Cmp(NewDecimal(0, 0)) != 0 && v.Number.Cmp(NewDecimal(1, 0)) != 0 {
			return fmt.Errorf("%w: %s is on or off", ErrValue, p.Name)
		}
	case Moment:
		if y := v.Moment.Wall.Year(); v.Moment.IsZero() || y < 2000 || y > 2099 {
			return fmt.Errorf("%w: %s takes a time from 2000 to 2099", ErrValue, p.Name) // meters keep two digits of the year
		}
	}
	return nil
}

func (p Parameter) validateNumber(n Decimal) error {
	if p.Min.Cmp(p.Max) == 0 {
		return nil
	}
	if n.Cmp(p.Min) < 0 || n.Cmp(p.Max) > 0 {
		limits := strings.TrimRight(fmt.Sprintf("%s to %s %s", p.Min, p.Max, p.Unit), " ")
		return fmt.Errorf("%w: %s takes %s", ErrValue, p.Name, limits)
	}
	return nil
}

func (p Parameter) validateText(s string) error {
	if len(p.Options) > 0 && !slices.Contains(p.Options, s) {
		return fmt.Errorf("%w: %s takes one of %s", ErrValue, p.Name, strings.Join(p.Options, ", "))
	}
	if p.MaxLen > 0 && utf8.RuneCountInString(s) > p.MaxLen {
		return fmt.Errorf("%w: %s takes at most %d characters", ErrValue, p.Name, p.MaxLen)
	}
	return nil
}
