package bridge

import (
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// factors are the ratios of the instrument transformers that a meter hangs
// behind and does not know of.
type factors struct {
	current, voltage, both drivers.Decimal
	any                    bool
}

var one = drivers.NewDecimal(1, 0)

// newFactors takes the ratios of the current and of the voltage transformers.
func newFactors(current, voltage drivers.Decimal) (factors, error) {
	both, err := current.Mul(voltage)
	if err != nil {
		return factors{}, err
	}
	return factors{
		current: current, voltage: voltage, both: both,
		any: current.Cmp(one) != 0 || voltage.Cmp(one) != 0,
	}, nil
}

// apply multiplies the values exactly by what lies before the meter: energy and
// power by both ratios, current and voltage by their own. A product that cannot
// be held exactly is left out.
func (f factors) apply(values []drivers.Value) []drivers.Value {
	if !f.any {
		return values
	}
	kept := values[:0]
	for i := range values {
		if f.multiply(&values[i]) {
			kept = append(kept, values[i])
		}
	}
	return kept
}

func (f factors) multiply(v *drivers.Value) bool {
	if v.Kind != drivers.Number || v.Channel != 0 {
		return true
	}
	by := f.of(obis.Lookup(v.Code).Dimension)
	if by.Cmp(one) == 0 {
		return true
	}
	n, err := v.Number.Mul(by)
	if err != nil {
		return false
	}
	v.Number = n
	return true
}

func (f factors) of(d obis.Dimension) drivers.Decimal {
	switch d {
	case obis.Energy, obis.ReactiveEnergy, obis.ApparentEnergy,
		obis.Power, obis.ReactivePower, obis.ApparentPower:
		return f.both
	case obis.Current:
		return f.current
	case obis.Voltage:
		return f.voltage
	default:
		return one
	}
}
