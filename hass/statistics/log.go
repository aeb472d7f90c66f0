package statistics

import (
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// MaxHours bounds a Log: Home Assistant keeps its five-minute rows for ten days,
// and what is older than a month has no neighbour to join.
const MaxHours = 31 * 24

// Hour is what is known of a register in one hour: (Start, Start+1h], by UTC. A
// reading on the hour is the end of the one before.
type Hour struct {
	Start time.Time `json:"start"`
	// FirstAt and LastAt are when First and Last were read.
	FirstAt time.Time       `json:"first_at"`
	LastAt  time.Time       `json:"last_at"`
	First   drivers.Decimal `json:"first"`
	Last    drivers.Decimal `json:"last"`
	// Extra is what was consumed between First and Last beside their difference:
	// a register that was exchanged in between starts anew.
	Extra drivers.Decimal `json:"extra"`
}

// HourOf is the start of the hour that a reading belongs to.
func HourOf(at time.Time) time.Time {
	return at.UTC().Add(-time.Nanosecond).Truncate(time.Hour)
}

// Used is what was consumed from the hour's first reading to its last.
func (h Hour) Used() (drivers.Decimal, error) {
	used, err := h.Last.Sub(h.First)
	if err != nil {
		return used, err
	}
	return used.Add(h.Extra)
}

// End is when the hour ends.
func (h Hour) End() time.Time { return h.Start.Add(time.Hour) }

// Log is what is known of a register, hour by hour, of the last MaxHours. Readings
// may come in any order and more than once: the same ones give the same log. The
// zero Log is empty and of a register that never falls.
type Log struct {
	Hours []Hour `json:"hours"`
	// Falls says that the register may fall: a balance. Otherwise a fall is
	// another meter's beginning.
	Falls bool `json:"falls,omitempty"`
}

// Add notes a reading.
func (l *Log) Add(at time.Time, value drivers.Decimal) {
	if n := len(l.Hours); n > 0 && at.After(l.Hours[n-1].Start) && !at.After(l.Hours[n-1].End()) {
		l.Hours[n-1].add(at, value, l.Falls) // the usual case
		return
	}
	start := HourOf(at)
	i, found := slices.BinarySearchFunc(l.Hours, start, func(h Hour, t time.Time) int { return h.Start.Compare(t) })
	if found {
		l.Hours[i].add(at, value, l.Falls)
		return
	}
	l.Hours = slices.Insert(l.Hours, i, Hour{Start: start, FirstAt: at, LastAt: at, First: value, Last: value})
	if over := len(l.Hours) - MaxHours; over > 0 {
		l.Hours = slices.Delete(l.Hours, 0, over)
	}
}

// Fits says whether a register that never falls can have had that value then, by
// what is known of the time around it.
func (l *Log) Fits(at time.Time, value drivers.Decimal) bool {
	for i := range l.Hours {
		h := &l.Hours[i]
		if !h.FirstAt.Before(at) {
			return value.Cmp(h.First) <= 0 // and all later ones are higher
		}
		if value.Cmp(h.First) < 0 || !h.LastAt.After(at) && value.Cmp(h.Last) < 0 {
			return false
		}
		if h.LastAt.After(at) {
			return value.Cmp(h.Last) <= 0
		}
	}
	return true
}

// add widens the hour by a reading before its first or after its last.
func (h *Hour) add(at time.Time, value drivers.Decimal, falls bool) {
	switch {
	case at.After(h.LastAt):
		h.anew(h.Last, value, falls)
		h.LastAt, h.Last = at, value
	case at.Before(h.FirstAt):
		h.anew(value, h.First, falls)
		h.FirstAt, h.First = at, value
	}
}

// anew notes that the register started anew between two readings.
func (h *Hour) anew(from, to drivers.Decimal, falls bool) {
	if falls || to.Cmp(from) >= 0 {
		return
	}
	fall, err := from.Sub(to)
	if err != nil {
		return
	}
	used, err := Step(from, to, falls)
	if err != nil {
		return
	}
	if fall, err = fall.Add(used); err != nil {
		return
	}
	if extra, err := h.Extra.Add(fall); err == nil {
		h.Extra = extra
	}
}

// Step is what was consumed while a register went from one value to another. A
// register that fell was exchanged, which consumes nothing, or ran over: then it
// went on to the end of its digits first.
func Step(from, to drivers.Decimal, falls bool) (drivers.Decimal, error) {
	if !falls && to.Cmp(from) < 0 {
		end, ran := ranOver(from, to)
		if !ran {
			return drivers.Decimal{}, nil
		}
		rest, err := end.Sub(from)
		if err != nil {
			return rest, err
		}
		return rest.Add(to)
	}
	return to.Sub(from)
}

// ranOver says where a register's digits end, if it fell from just before to just
// behind it.
func ranOver(from, to drivers.Decimal) (end drivers.Decimal, ran bool) {
	end = drivers.NewDecimal(1, 0)
	for e := 1; end.Cmp(from) <= 0; e++ {
		next, err := drivers.Scaled(1, e)
		if err != nil {
			return end, false
		}
		end = next
	}
	limit := end.Float64()
	return end, limit >= 1000 && from.Float64() > 0.99*limit && to.Float64() < 0.01*limit
}
