package bridge

import (
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// tariffSums derives a total where a meter sends its tariff registers only:
// 1-0:1.8.0 from 1.8.1, 1.8.2 …, and 2.8.0 alike. Home Assistant's energy
// dashboard wants one import and one export.
type tariffSums [2]tariffSum // import (C = 1), export (C = 2)

// tariffSum is what is known of one direction.
type tariffSum struct {
	Total bool   `json:"total"` // the meter sends the total itself: nothing is derived, ever
	Known uint16 `json:"known"` // bit n: the meter has a register for tariff n
}

// derive appends to values the sums that the meter leaves out. A sum is given
// only by a telegram that has every register known so far, for one that lacks
// a register would make the total fall.
func (t *tariffSums) derive(values []drivers.Value) []drivers.Value {
	sent := values
	for i := range t {
		if v, ok := t[i].sum(sent, byte(i+1)); ok {
			values = append(values, v)
		}
	}
	return values
}

func (s *tariffSum) sum(values []drivers.Value, c byte) (drivers.Value, bool) {
	if s.Total {
		return drivers.Value{}, false
	}
	var (
		total drivers.Value
		seen  uint16
	)
	for i := range values {
		v := &values[i]
		if !isEnergyRegister(v, c) {
			continue
		}
		tariff := v.Code.E()
		if tariff == 0 {
			s.Total = true
			return drivers.Value{}, false
		}
		if seen&(1<<tariff) != 0 {
			continue // the same register twice: the first counts
		}
		if seen != 0 && v.Unit != total.Unit {
			return drivers.Value{}, false
		}
		n, err := total.Number.Add(v.Number)
		if err != nil {
			return drivers.Value{}, false
		}
		seen |= 1 << tariff
		total.Number, total.Unit = n, v.Unit
		total.Flags |= v.Flags
	}
	s.Known |= seen
	if seen == 0 || seen != s.Known {
		return drivers.Value{}, false
	}
	total.Code = obis.New(1, 0, c, 8, 0)
	total.Name = obis.Lookup(total.Code).Name
	return total, true
}

// isEnergyRegister says whether v is the present total of active energy, of all
// tariffs or of one.
func isEnergyRegister(v *drivers.Value, c byte) bool {
	return v.Kind == drivers.Number && v.Channel == 0 && v.Record == nil &&
		v.Code.A() == 1 && v.Code.B() == 0 && v.Code.C() == c && v.Code.D() == 8 &&
		v.Code.E() < 16 && v.Code.F() == obis.Now
}
