package all

import (
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// foreign is a configuration of no driver of ours.
type foreign struct{}

func (foreign) Validate() error { return nil }

// Every door of a driver refuses a configuration that is another's, in words, before
// anything is done with the line.
func TestEveryDoorRefusesAnotherDriversConfiguration(t *testing.T) {
	for _, d := range Drivers {
		t.Run(d.Name, func(t *testing.T) {
			if d.Name != "mbus" { // no key changes what its telegrams mean
				if _, err := d.NewDecoder(foreign{}, drivers.Zones{}); err == nil {
					t.Error("a decoder is made")
				}
				if _, err := d.Explain(foreign{}, drivers.Zones{}, []byte{1}); err == nil {
					t.Error("bytes are explained")
				}
			}
			if d.Dial != nil {
				if _, err := d.Dial(t.Context(), nil, foreign{}, drivers.Zones{}); err == nil {
					t.Error("a meter is dialled")
				}
			}
			if d.Scan != nil {
				if err := d.Scan(t.Context(), nil, foreign{}, drivers.Search{}); err == nil {
					t.Error("a line is searched")
				}
			}
			if d.Name != "routeb" && d.Parameters != nil && len(d.Parameters(foreign{})) > 0 {
				t.Error("it has parameters") // those of routeb are the same whatever its keys
			}
			if d.Caution != nil && d.Caution(foreign{}) != "" {
				t.Error("it gives something up")
			}
		})
	}
}

// Bytes of no protocol are no sign of any, and however they are explained, each has
// its place.
func TestBytesOfNoProtocolAreTakenForNone(t *testing.T) {
	noise := []byte(strings.Repeat("\xAA\x55\xC3", 50))
	for _, d := range Drivers {
		t.Run(d.Name, func(t *testing.T) {
			if d.Sniff != nil {
				if got := d.Sniff(noise); got.Telegrams+got.Damaged > 0 {
					t.Errorf("%+v", got)
				}
			}
			spans, err := d.Explain(d.NewConfig(), drivers.Zones{}, noise)
			if err != nil {
				t.Fatal(err)
			}
			covered := make([]bool, len(noise))
			for _, s := range spans {
				for i := s.Offset; i < s.Offset+s.Length; i++ {
					covered[i] = true
				}
			}
			for i, yes := range covered {
				if !yes {
					t.Fatalf("byte %d has no place in %v", i, spans)
				}
			}
		})
	}
}
