package plausible

import (
	"math"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// rise is how fast a total may grow.
type rise struct {
	per     float64 // hour
	limited bool
	step    float64 // of the last digit that is sent
}

// slower is the same with another limit, if that is lower.
func (r rise) slower(per float64) rise {
	if !r.limited || per < r.per {
		r.per = per
	}
	r.limited = true
	return r
}

// allows says whether a total may go from one value to a later one in that time.
// Two steps of the last digit are always allowed: both ends are rounded.
func (r rise) allows(from, to drivers.Decimal, in time.Duration) bool {
	if !r.limited {
		return true
	}
	d, err := to.Sub(from)
	if err != nil {
		return false
	}
	return d.Float64() <= r.per*math.Max(in.Hours(), 0)+2*r.step
}

// bears says whether a value bears out the one before it.
func (r rise) bears(before, n drivers.Decimal, in time.Duration) bool {
	return n.Cmp(before) >= 0 && r.allows(before, n, in)
}

// step is one unit of a number's last digit.
func step(n drivers.Decimal) float64 { return math.Pow10(-n.Decimals()) }

// rate is what a connection can add to a total of that unit in an hour. false:
// nobody knows, only falls are looked at.
func (l Limits) rate(u obis.Unit) (float64, bool) {
	switch u {
	case "kWh", "kvarh", "kVAh":
		return l.Power, true
	case "MJ":
		return l.Power * 3.6, true
	case "GJ":
		return l.Power * 0.0036, true
	case "m³":
		return l.Flow, true
	case "s":
		return 3600, true
	case "min":
		return 60, true
	case "h":
		return 1, true
	}
	return 0, false
}
