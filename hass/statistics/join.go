package statistics

import (
	"slices"
	"strconv"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Row is a row of Home Assistant's own: State is the register at its end, Sum what
// was consumed until then. Both are floats there.
type Row struct {
	Start      time.Time
	State, Sum float64
}

// Entry is a row to be written, exact to the last digit.
type Entry struct {
	Start time.Time
	State drivers.Decimal
	Sum   drivers.Decimal
}

// Hole is a time in which nobody told Home Assistant the register.
type Hole struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// HasEndOf says whether the end of the hour that begins at start lies in the
// hole.
func (h Hole) HasEndOf(start time.Time) bool {
	end := start.Add(time.Hour)
	return !end.Before(h.From) && !end.After(h.To)
}

// HasHour says whether the end of any hour lies in the hole: if not, nothing is
// lost.
func (h Hole) HasHour() bool { return !h.To.Before(HourOf(h.From).Add(time.Hour)) }

// Register is what must be known of a register to write its rows.
type Register struct {
	Digits int // its decimals
	Falls  bool
}

// Plan is what must be done to close a hole.
type Plan struct {
	Import []Entry // hours to write, oldest first
	// Shift is to be added to the sum of all rows from ShiftFrom on, five-minute
	// rows too; zero: nothing is.
	Shift     drivers.Decimal
	ShiftFrom time.Time
	// Joined says that the hole is closed once that is done: Home Assistant has a
	// row of its own behind it.
	Joined bool
}

// Writes says that there is something to be written.
func (p Plan) Writes() bool { return len(p.Import) > 0 || p.Shift.Sign() != 0 }

// spare are the decimals that sums have beyond their register's, so that a sum
// which somebody corrected by hand is not rounded.
const spare = 3

// Close plans how the hole is closed. own are Home Assistant's hours around it,
// behind its five-minute rows from the hole's end on, log what the meter said.
// All are in order. A fault is one of a number that cannot be held.
func Close(hole Hole, r Register, own, behind []Row, log []Hour) (Plan, error) {
	w := &walk{Register: r, hole: hole, own: own, log: log}
	w.late = between(hole, log)
	w.right = firstBehind(hole, own, behind)
	if len(w.late) == 0 {
		return Plan{Joined: true}, nil // nothing is known that could be written
	}
	if !w.anchor() {
		return Plan{}, nil // Home Assistant has nothing to join yet
	}
	if err := w.hours(); err != nil {
		return Plan{}, err
	}
	return w.plan, w.seam()
}

// walk goes along the rows of a hole.
type walk struct {
	Register
	hole  Hole
	own   []Row
	log   []Hour
	late  []Hour // of the log, those that are written
	right *Row   // the first of Home Assistant's own behind the hole; nil: none yet
	plan  Plan

	state, sum drivers.Decimal
	started    bool // there is a state before
	backward   bool // the sum began at 0 and is put right at the right seam
}

// between are the hours of the log whose end lies in the hole.
func between(hole Hole, log []Hour) []Hour {
	var hours []Hour
	for _, h := range log {
		if hole.HasEndOf(h.Start) {
			hours = append(hours, h)
		}
	}
	return hours
}

// firstBehind is the first row that Home Assistant made with the meter before its
// eyes: of five minutes if there is one, for it comes first.
func firstBehind(hole Hole, own, behind []Row) *Row {
	var first *Row
	for _, rows := range [][]Row{own, behind} {
		for i := range rows {
			if rows[i].Start.Before(hole.To) {
				continue
			}
			if first == nil || rows[i].Start.Before(first.Start) {
				first = &rows[i]
			}
			break
		}
	}
	return first
}

// anchor finds the row before the hole. Without one, the sum is found from the
// row behind it.
func (w *walk) anchor() bool {
	for _, r := range slices.Backward(w.own) {
		if r.Start.Before(w.late[0].Start) && !w.hole.HasEndOf(r.Start) {
			w.state, w.sum, w.started = w.value(r.State), w.total(r.Sum), true
			return true
		}
	}
	w.backward = true
	return w.right != nil
}

func (w *walk) value(f float64) drivers.Decimal { return rounded(f, w.Digits) }
func (w *walk) total(f float64) drivers.Decimal { return rounded(f, w.Digits+spare) }

// rounded is a float of Home Assistant's with so many decimals.
func rounded(f float64, decimals int) drivers.Decimal {
	d, err := drivers.ParseDecimal(strconv.FormatFloat(f, 'f', decimals, 64))
	if err != nil {
		return drivers.Decimal{} // infinite or not a number, which no statistic is
	}
	return d
}

// hours goes through the hole hour by hour. An hour of which nothing is known is
// left out, unless Home Assistant made a row for it: that shows what it last saw,
// and would make the sum fall.
func (w *walk) hours() error {
	var all []Entry
	last := w.late[len(w.late)-1].Start
	next := 0
	for start := w.late[0].Start; !start.After(last) || w.isBlind(start); start = start.Add(time.Hour) {
		if next < len(w.late) && w.late[next].Start.Equal(start) {
			if err := w.pass(w.late[next]); err != nil {
				return err
			}
			next++
		} else if !w.isBlind(start) {
			continue
		}
		all = append(all, Entry{start, w.state, w.sum})
	}
	if w.backward {
		if err := w.fromRight(all); err != nil {
			return err
		}
	}
	for _, e := range all {
		if !w.stands(e) {
			w.plan.Import = append(w.plan.Import, e)
		}
	}
	return nil
}

// isBlind says whether Home Assistant made a row for an hour in the hole.
func (w *walk) isBlind(start time.Time) bool {
	_, found := w.ownAt(start)
	return found && w.hole.HasEndOf(start)
}

func (w *walk) ownAt(start time.Time) (Row, bool) {
	i, found := slices.BinarySearchFunc(w.own, start, func(r Row, t time.Time) int { return r.Start.Compare(t) })
	if !found {
		return Row{}, false
	}
	return w.own[i], true
}

// pass adds what an hour consumed.
func (w *walk) pass(h Hour) error {
	if w.started {
		if err := w.add(Step(w.state, h.First, w.Falls)); err != nil {
			return err
		}
	}
	w.state, w.started = h.Last, true
	return w.add(h.Used())
}

func (w *walk) add(used drivers.Decimal, err error) error {
	if err != nil {
		return err
	}
	w.sum, err = w.sum.Add(used)
	return err
}

// stands says whether Home Assistant has the row already.
func (w *walk) stands(e Entry) bool {
	r, found := w.ownAt(e.Start)
	if !found {
		return false
	}
	return w.same(w.value(r.State), e.State) && w.same(w.total(r.Sum), e.Sum)
}

// same says whether two numbers differ by less than half a digit of the register.
func (w *walk) same(a, b drivers.Decimal) bool {
	d, err := a.Sub(b)
	return err == nil && rounded(d.Float64(), w.Digits).Sign() == 0
}

// fromRight moves the hours so that they meet the row behind the hole.
func (w *walk) fromRight(all []Entry) error {
	expected, err := w.atRight()
	if err != nil {
		return err
	}
	move, err := w.total(w.right.Sum).Sub(expected)
	if err != nil {
		return err
	}
	for i := range all {
		if all[i].Sum, err = all[i].Sum.Add(move); err != nil {
			return err
		}
	}
	w.sum, err = w.sum.Add(move)
	return err
}

// atRight is what the sum must be at the row behind the hole.
func (w *walk) atRight() (drivers.Decimal, error) {
	used, err := w.usedUntilRight()
	if err != nil {
		return used, err
	}
	return w.sum.Add(used)
}

// usedUntilRight is what was consumed between the last hour that is written and the
// row behind the hole. If the meter was exchanged in between, the log knows what
// both counted.
func (w *walk) usedUntilRight() (drivers.Decimal, error) {
	right := w.value(w.right.State)
	if w.Falls || right.Cmp(w.state) >= 0 {
		return right.Sub(w.state)
	}
	used, err := right.Sub(w.state)
	if err != nil {
		return used, err
	}
	anew, err := w.anewUntilRight()
	if err != nil {
		return used, err
	}
	if used, err = used.Add(anew); err != nil || used.Sign() >= 0 && anew.Sign() > 0 {
		return used, err
	}
	return Step(w.state, right, w.Falls)
}

// anewUntilRight is how far the register fell on the way to the row behind the hole
// because it started anew, by the log.
func (w *walk) anewUntilRight() (sum drivers.Decimal, err error) {
	before := w.late[len(w.late)-1]
	for _, h := range w.log {
		if !h.Start.After(before.Start) || h.Start.After(w.right.Start) {
			continue
		}
		between := Hour{Extra: sum}
		between.anew(before.Last, h.First, w.Falls)
		if sum, err = between.Extra.Add(h.Extra); err != nil {
			return sum, err
		}
		before = h
	}
	return sum, nil
}

// seam compares the row behind the hole with what it must be.
func (w *walk) seam() error {
	if w.right == nil {
		return nil
	}
	w.plan.Joined = true
	expected, err := w.atRight()
	if err != nil {
		return err
	}
	got := w.total(w.right.Sum)
	if w.same(expected, got) {
		return nil
	}
	w.plan.ShiftFrom = w.right.Start
	w.plan.Shift, err = expected.Sub(got)
	return err
}
