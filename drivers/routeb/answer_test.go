package routeb

import (
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestOnlyTheAnswerIsTakenForOne(t *testing.T) {
	power, current := Property{epcPower, []byte{0, 0, 1, 0xF4}}, Property{epcCurrent, []byte{0, 50, 0, 40}}
	asked := request{object: Meter, service: Get, tid: 7, properties: []Property{{EPC: epcPower}, {EPC: epcCurrent}}}
	good := Frame{TID: 7, Source: Meter, Sink: Controller, Service: GetRes, Properties: []Property{power, current}}
	for _, c := range []struct {
		name   string
		change func(*Frame)
		want   bool
	}{
		{"as asked", func(*Frame) {}, true},
		{"in another order", func(f *Frame) { f.Properties = []Property{current, power} }, true},
		{"in part", func(f *Frame) { f.Service, f.Properties = GetSNA, []Property{power, {EPC: epcCurrent}} }, true},
		{"an earlier one", func(f *Frame) { f.TID = 6 }, false},
		{"to a setting", func(f *Frame) { f.Service = SetC + 0x10 }, false},
		{"an announcement", func(f *Frame) { f.Service = Inf }, false},
		{"of the node", func(f *Frame) { f.Source = NodeProfile }, false},
		{"of something else", func(f *Frame) { f.Properties = []Property{{epcImport, []byte{0, 0, 0, 1}}} }, false},
		{"of nothing", func(f *Frame) { f.Properties = nil }, false},
	} {
		f := good
		c.change(&f)
		if got := asked.answeredBy(&f); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// With the coefficient 0, that some meters have, every energy would be 0.
func TestACoefficientOfNoughtCountsAsOne(t *testing.T) {
	for coefficient, want := range map[byte]string{0: "12345.6", 1: "12345.6", 60: "740736.0"} {
		var s Scale
		s.learn(Property{epcUnit, []byte{1}})
		s.learn(Property{epcCoefficient, []byte{0, 0, 0, coefficient}})
		var v drivers.Value
		if !s.energy(&v, countOf([]byte{0, 1, 0xE2, 0x40})) || v.Number.String() != want {
			t.Errorf("coefficient %d: %s, want %s", coefficient, v.Number, want)
		}
	}
}
