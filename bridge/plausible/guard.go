// Package plausible guards totals. A frame whose check holds can still carry a
// wrong number, and Home Assistant never forgets one: a total that falls is a
// new meter to it, a total that leaps is consumption. So a total that does what
// no meter does waits for a second telegram's word. The package is pure: time
// comes as an argument.
//
// # The rules
//
// A total that stays is taken. One that rises by no more than the connection
// could have delivered since the last telegram is taken too; without any check
// on the wire only once the next telegram bears it out, and behind an 8-bit
// check only if it rises no faster than four times what was ever borne out. One that falls, that
// reads 0, that leaps, or that is the first ever of a weakly checked meter is
// held back until a second telegram agrees with it: not below it, and not further above it
// than the time in between allows. A fall to 0 must also last, for a meter that
// boots shows zeros for a while. A fall that was borne out is an exchange of the
// meter, or its roll-over.
//
// # Decision: limits in physical units
//
// Rejected: limits relative to the value (meaningless near 0, blind at a
// million), and limits learned from statistics (an electric car is no outlier).
// What a connection can deliver is known to whoever owns it, and has a default.
package plausible

import (
	"maps"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

const (
	// bootLasts is how long a total must stay at 0 before its fall is believed.
	bootLasts = 10 * time.Second
	// learned is how much faster than ever before an 8-bit check is believed.
	learned = 4
	// maxTotals bounds the totals of one meter, for meters that invent names.
	maxTotals = 1024
	// longestBatch bounds how long a register may take to show anything.
	longestBatch = 25 * time.Hour
)

// Limits are what a connection can deliver.
type Limits struct {
	Power float64 // kW; of reactive energy kvar
	Flow  float64 // m³/h, of gas and of water
}

// Defaults are beyond any household and most houses.
var Defaults = Limits{Power: 100, Flow: 20}

// Reason says why a total waits.
type Reason uint8

// The reasons.
const (
	Fine       Reason = iota
	First             // the first ever, behind a weak check
	Zero              // it reads 0
	Fell              // it is lower than the last good one
	Leapt             // it rose more than the connection could have delivered
	Unverified        // it rose, and nothing but the next telegram can vouch for it
	InError           // the meter says that it is in an error state
	Crowded           // it is one more than are guarded
)

// String is the reason as events and logs give it.
func (r Reason) String() string {
	return [...]string{"fine", "first", "zero", "fell", "leapt", "unverified", "meter_error", "crowded"}[r]
}

// Verdict is what became of one total.
type Verdict struct {
	Reason   Reason          // Fine: Accepted is good
	Accepted drivers.Decimal // what may be published: of a meter without check the value that was borne out
	Exchange *Exchange       // the total starts anew
}

// Exchange is a total that fell for good: another meter, or a roll-over.
type Exchange struct {
	Old, New drivers.Decimal
	RollOver bool
}

// Total is what is remembered of one total; it survives restarts.
type Total struct {
	Value   drivers.Decimal `json:"value"`
	Unit    obis.Unit       `json:"unit,omitempty"`
	Seen    time.Time       `json:"seen"`              // when it was last confirmed
	Changed time.Time       `json:"changed"`           // when it last took another value
	Batch   time.Duration   `json:"batch,omitempty"`   // how long the register saves up before it shows
	Fastest float64         `json:"fastest,omitempty"` // rise an hour that was borne out
}

// Guard judges the totals of one meter.
type Guard struct {
	limits Limits
	totals map[string]*total
}

type total struct {
	Total
	known     bool
	waiting   bool
	candidate drivers.Decimal
	since     time.Time // of the candidate
	reason    Reason
	agreed    int    // how many telegrams have agreed with it
	other     bool   // it came in place of one in another unit
	next      *total // the same key in another unit, until it is borne out
}

// New makes a guard that remembers nothing.
func New(l Limits) *Guard { return &Guard{limits: l, totals: map[string]*total{}} }

// Restore makes the guard remember a total from before a restart.
func (g *Guard) Restore(key string, t Total) { g.totals[key] = &total{Total: t, known: true} }

// Remembered gives every good total, to be kept over a restart.
func (g *Guard) Remembered() map[string]Total {
	m := make(map[string]Total, len(g.totals))
	for k, t := range g.totals {
		if t.known {
			m[k] = t.Total
		}
	}
	return m
}

// Last is the last good value of a total.
func (g *Guard) Last(key string) (drivers.Decimal, bool) {
	t := g.totals[key]
	if t == nil || !t.known {
		return drivers.Decimal{}, false
	}
	return t.Value, true
}

// Judge says whether a total may be published. at is when its telegram arrived,
// check what vouches for it.
func (g *Guard) Judge(key string, v *drivers.Value, check drivers.Check, at time.Time) Verdict {
	t := g.total(key, v.Unit)
	switch {
	case t == nil:
		return Verdict{Reason: Crowded}
	case v.Flags&(drivers.MeterError|drivers.Overflow) != 0:
		return Verdict{Reason: InError}
	}
	rate, limited := g.limits.rate(v.Unit)
	r := rise{per: rate, limited: limited, step: step(v.Number)}
	verdict := t.judge(v.Number, check, at, r)
	if t.other && t.known {
		t.other = false
		g.totals[key] = t // the new unit was borne out
	}
	return verdict
}

// total is what is known of a key. A unit that changes is a doubt of its own: it
// is judged as a total that nobody knows, until a second telegram bears it out.
// nil: there are too many already.
func (g *Guard) total(key string, unit obis.Unit) *total {
	t := g.totals[key]
	switch {
	case t == nil:
		if !g.hasRoom() {
			return nil
		}
		t = &total{Total: Total{Unit: unit}}
		g.totals[key] = t
	case t.Unit != unit:
		if t.next == nil || t.next.Unit != unit {
			t.next = &total{Total: Total{Unit: unit}, other: true}
		}
		return t.next
	default:
		t.next = nil
	}
	return t
}

// hasRoom makes room for one more total, by forgetting those that were never good.
func (g *Guard) hasRoom() bool {
	if len(g.totals) >= maxTotals {
		maps.DeleteFunc(g.totals, func(_ string, t *total) bool { return !t.known })
	}
	return len(g.totals) < maxTotals
}

// judge compares a value with the last good one and with the one that waits.
func (t *total) judge(n drivers.Decimal, check drivers.Check, at time.Time, r rise) Verdict {
	reason := t.doubt(n, check, at, r)
	if reason == Fine {
		t.take(n, at)
		return Verdict{Accepted: n}
	}
	if !t.agrees(n, at, r) {
		t.hold(n, at, reason)
		return Verdict{Reason: reason}
	}
	t.agreed++
	if t.agreed < t.witnesses(check) {
		return Verdict{Reason: t.reason}
	}
	if t.reason == Fell && n.Sign() == 0 && at.Sub(t.since) < bootLasts {
		return Verdict{Reason: Zero} // it may still be booting
	}
	return t.borneOut(n, check, at)
}

// witnesses is how many telegrams must agree with a doubtful total. Without a
// check a fall and another unit need two: what loses digits or its unit mostly
// loses them alike.
func (t *total) witnesses(check drivers.Check) int {
	if check == drivers.CheckNone && (t.reason == Fell || t.other) {
		return 2
	}
	return 1
}

// agrees says whether a value bears out the one that waits. A fall is borne out
// only by what is lower than the last good value itself.
func (t *total) agrees(n drivers.Decimal, at time.Time, r rise) bool {
	if !t.waiting || t.reason == Fell && n.Cmp(t.Value) >= 0 {
		return false
	}
	return r.bears(t.candidate, n, at.Sub(t.since))
}

// doubt says why a value cannot be taken by itself.
func (t *total) doubt(n drivers.Decimal, check drivers.Check, at time.Time, r rise) Reason {
	if !t.known {
		switch {
		case n.Sign() == 0:
			return Zero
		case check < drivers.CheckCRC16, t.other:
			return First
		}
		return Fine
	}
	switch n.Cmp(t.Value) {
	case 0:
		return Fine
	case -1:
		return Fell
	}
	since := t.window(at)
	switch {
	case !r.allows(t.Value, n, since):
		return Leapt
	case check == drivers.CheckNone:
		return Unverified
	case check < drivers.CheckCRC16 && !r.slower(learned*t.Fastest).allows(t.Value, n, since):
		return Unverified
	}
	return Fine
}

// window is the time in which a rise may have come about: since the last
// telegram, or since the register last moved if it saves up.
func (t *total) window(at time.Time) time.Duration {
	return max(at.Sub(t.Seen), min(at.Sub(t.Changed), t.Batch))
}

// take makes n the last good value.
func (t *total) take(n drivers.Decimal, at time.Time) {
	if !t.known || n.Cmp(t.Value) != 0 {
		t.learn(n, at)
		t.Changed = at
	}
	t.Value, t.Seen, t.known, t.waiting = n, at, true, false
}

// learn notes how fast the total has risen.
func (t *total) learn(n drivers.Decimal, at time.Time) {
	hours := at.Sub(t.Seen).Hours()
	if !t.known || hours <= 0 {
		return
	}
	if d, err := n.Sub(t.Value); err == nil && d.Sign() > 0 {
		t.Fastest = max(t.Fastest, d.Float64()/hours)
	}
}

func (t *total) hold(n drivers.Decimal, at time.Time, why Reason) {
	t.waiting, t.candidate, t.since, t.reason, t.agreed = true, n, at, why, 0
}

// borneOut takes what a second telegram agrees with.
func (t *total) borneOut(n drivers.Decimal, check drivers.Check, at time.Time) Verdict {
	v := Verdict{Accepted: n}
	if check == drivers.CheckNone {
		v.Accepted = t.candidate // n itself has nobody's word yet
	}
	switch t.reason {
	case Fell:
		v.Exchange = &Exchange{Old: t.Value, New: v.Accepted, RollOver: isRollOver(t.Value, v.Accepted)}
		t.known, t.Batch, t.Fastest = false, 0, 0
	case Leapt:
		t.Batch = min(max(t.Batch, t.since.Sub(t.Changed)), longestBatch)
	default:
	}
	reason := t.reason
	t.take(v.Accepted, at)
	if check == drivers.CheckNone && n.Cmp(v.Accepted) != 0 {
		t.hold(n, at, max(reason, Unverified))
		t.reason = Unverified
	}
	return v
}

// Range is the first power of ten above a total: where its digits run out.
func Range(n drivers.Decimal) drivers.Decimal {
	limit := drivers.NewDecimal(1, 0)
	for e := 1; limit.Cmp(n) <= 0; e++ {
		next, err := drivers.Scaled(1, e)
		if err != nil {
			return limit // beyond any register
		}
		limit = next
	}
	return limit
}

// isRollOver says whether the old value stood in the last hundredth before its
// digits run out, and the new one in the first.
func isRollOver(old, now drivers.Decimal) bool {
	limit := Range(old).Float64()
	return limit >= 1000 && old.Float64() > 0.99*limit && now.Float64() < 0.01*limit
}
