package statistics

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Exchange is a register that starts anew: the last value of the old meter and
// the first of the new one.
type Exchange struct {
	At  time.Time       `json:"at"` // when the first of the new one was read
	Old drivers.Decimal `json:"old"`
	New drivers.Decimal `json:"new"`
}

// Period is how long Home Assistant's shortest rows are.
const Period = 5 * time.Minute

// Follow plans the correction of the sum after an exchange: Home Assistant takes
// the fall for consumption of the new meter, or for consumption given back. rows
// are its five-minute rows around the exchange. found says that Home Assistant has
// compiled the row in which the register fell; until then there is nothing to
// correct.
func (x Exchange) Follow(r Register, rows []Row) (shift drivers.Decimal, from time.Time, found bool, err error) {
	w := &walk{Register: r}
	for i := 1; i < len(rows); i++ {
		before, after := rows[i-1], rows[i]
		if after.State >= before.State || after.Start.Add(Period).Before(x.At) {
			continue
		}
		shift, err = w.correction(x, before, after)
		return shift, after.Start, true, err
	}
	return drivers.Decimal{}, time.Time{}, false, nil
}

// correction is what the later row's sum lacks: the old meter's last steps and the
// new one's first are consumption, the fall is not.
func (w *walk) correction(x Exchange, before, after Row) (drivers.Decimal, error) {
	w.sum = w.total(before.Sum)
	for _, s := range [][2]drivers.Decimal{{w.value(before.State), x.Old}, {x.Old, x.New}, {x.New, w.value(after.State)}} {
		if err := w.add(Step(s[0], s[1], false)); err != nil {
			return drivers.Decimal{}, err
		}
	}
	got := w.total(after.Sum)
	if w.same(w.sum, got) {
		return drivers.Decimal{}, nil
	}
	return w.sum.Sub(got)
}
