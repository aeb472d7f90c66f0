// Package sim simulates meters that foreign programs can talk to: a pure model of
// each meter, moved by a clock that is handed in, and the lines that it is reached
// through. What the meters send comes from the encoders of the drivers.
package sim

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Options are what can be chosen about a simulated meter. The zero Options give a
// healthy one at its usual pace.
type Options struct {
	Period time.Duration    // between telegrams; 0: as the meter's standard says
	Seed   uint64           // of its randomness: the same seed and clock give the same telegrams
	Faults []string         // NAME or NAME=N, as Faults lists them
	Model  string           // as Models lists them; "": the first
	Clock  func() time.Time // nil: time.Now

	// Key and AuthKey are those of a meter that ciphers; zero: ExampleKey,
	// ExampleAuthKey. A P1 meter ciphers if one of them is given; its AuthKey is
	// Luxembourg's if it is zero.
	Key, AuthKey drivers.Secret
}

// Model is one of several meters that the same driver reads.
type Model struct {
	Name     string
	Doc      string // one sentence for --help
	Ciphered bool   // what it sends takes Key and AuthKey to read
	Shown    bool   // in the demo
}

// Simulator is one simulated meter. Several lines may be served at a time: they
// all reach the same meter.
type Simulator struct {
	Driver string            // the driver that reads it
	Keys   []drivers.Setting // what a [[meter]] table needs besides name, driver and port

	// Others are the same of further meters that the same line brings.
	Others [][]drivers.Setting

	serve func(ctx context.Context, line io.ReadWriter) error
}

// Serve lets the meter speak on a line until ctx ends, which is no error, or the
// line fails. A Write that blocks is not interrupted: whoever owns the line closes
// it when ctx ends.
func (s *Simulator) Serve(ctx context.Context, line io.ReadWriter) error { return s.serve(ctx, line) }

// simulated is a kind of meter that can be simulated.
type simulated struct {
	driver string
	faults []Fault
	models []Model // empty: there is just one
	make   func(Options) (*Simulator, error)
}

// all are the meters that can be simulated, by driver.
func all() []simulated {
	return []simulated{
		{driver: "p1", faults: dsmrFaults, make: newDSMR},
		{driver: "hdlc", faults: hanFaults, models: hanModelNames(), make: newHANPort},
		{driver: "mbus", faults: mbusFaults, models: mbusModelNames(), make: newMBus},
		{driver: "wmbus", faults: wirelessFaults, make: newWireless},
		{driver: "iec62056-21", faults: iecFaults, models: iecModelNames(), make: newIEC},
		{driver: "lis200", faults: iecFaults, make: newLIS200},
		{driver: "corus", faults: corusFaults, make: newCorus},
		{driver: "routeb", faults: routeBFaults, models: routeBModels, make: newRouteB},
	}
}

// Drivers are the names that New takes.
func Drivers() []string {
	var names []string
	for _, s := range all() {
		names = append(names, s.driver)
	}
	return names
}

// Models are the meters that can be simulated for a driver, the usual one first;
// none: there is just one.
func Models(driver string) []Model {
	for _, s := range all() {
		if s.driver == driver {
			return s.models
		}
	}
	return nil
}

// New is a simulated meter for a driver.
func New(driver string, o Options) (*Simulator, error) {
	for _, s := range all() {
		if s.driver != driver {
			continue
		}
		if err := checkModel(driver, o.Model, s.models); err != nil {
			return nil, err
		}
		return s.make(o.withDefaults())
	}
	return nil, drivers.WithHint(
		fmt.Errorf("driver %.20q has no simulated meter", driver),
		"there is one for "+strings.Join(Drivers(), ", "))
}

// checkModel refuses a model that the driver's meters are none of.
func checkModel(driver, model string, known []Model) error {
	if model == "" {
		return nil
	}
	names := make([]string, len(known))
	for i, m := range known {
		if names[i] = m.Name; m.Name == model {
			return nil
		}
	}
	hint := "leave the model out: there is just one"
	if len(names) > 0 {
		hint = "there is " + strings.Join(names, ", ")
	}
	return drivers.WithHint(fmt.Errorf("driver %s has no simulated model %.20q", driver, model), hint)
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o
}
