package statistics

import (
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// home does with states what Home Assistant does: rows of five minutes, each
// going on from the one before, and of their hours.
type home struct {
	short, hourly []Row
	falls         bool
}

// compile makes the five-minute row that begins at start. seen are the states in
// it; none: the entity was not available, and there is no row.
func (h *home) compile(start time.Time, seen ...float64) {
	if len(seen) == 0 {
		return
	}
	row := Row{Start: start}
	last, base := seen[0], seen[0]
	if n := len(h.short); n > 0 {
		row.Sum, last, base = h.short[n-1].Sum, h.short[n-1].State, h.short[n-1].State
	}
	for _, s := range seen {
		if !h.falls && s < 0.9*last {
			row.Sum += last - base
			base = 0
		}
		last = s
	}
	row.Sum += last - base
	row.State = last
	h.short = append(h.short, row)
	if start.Minute() == 55 {
		h.summarize(start.Truncate(time.Hour))
	}
}

// summarize makes the hour's row of its last five-minute row.
func (h *home) summarize(hour time.Time) {
	for _, r := range slices.Backward(h.short) {
		if r.Start.Truncate(time.Hour).Equal(hour) {
			h.put(Row{hour, r.State, r.Sum})
			return
		}
	}
}

func (h *home) put(r Row) {
	i, found := slices.BinarySearchFunc(h.hourly, r.Start, func(r Row, t time.Time) int { return r.Start.Compare(t) })
	if found {
		h.hourly[i] = r
		return
	}
	h.hourly = slices.Insert(h.hourly, i, r)
}

// carryOut does what a plan says.
func (h *home) carryOut(p Plan) {
	if p.Shift.Sign() != 0 {
		h.shift(p.Shift, p.ShiftFrom)
	}
	for _, e := range p.Import {
		h.put(Row{e.Start, e.State.Float64(), e.Sum.Float64()})
	}
}

// shift is recorder/adjust_sum_statistics.
func (h *home) shift(by drivers.Decimal, from time.Time) {
	for i := range h.short {
		if !h.short[i].Start.Before(from) {
			h.short[i].Sum += by.Float64()
		}
	}
	for i := range h.hourly {
		if !h.hourly[i].Start.Before(from.Truncate(time.Hour)) {
			h.hourly[i].Sum += by.Float64()
		}
	}
}

func (h *home) behind(t time.Time) []Row {
	return slices.DeleteFunc(slices.Clone(h.short), func(r Row) bool { return r.Start.Before(t) })
}
