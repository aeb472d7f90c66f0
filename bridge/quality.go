package bridge

import (
	"math"
	"time"
)

// quality is how well a meter is heard: what part of its telegrams the line has
// damaged in the last hour.
type quality struct {
	minutes [60]minute
	damage  time.Time // the last one
}

// minute counts the telegrams of one minute.
type minute struct {
	number        uint32 // since 1970
	good, damaged uint16
}

func (q *quality) at(now time.Time) *minute {
	number := uint32(now.Unix() / 60)
	m := &q.minutes[number%uint32(len(q.minutes))]
	if m.number != number {
		*m = minute{number: number}
	}
	return m
}

// heard counts a good telegram.
func (q *quality) heard(now time.Time) {
	if m := q.at(now); m.good < math.MaxUint16 {
		m.good++
	}
}

// damaged counts a telegram that the line has damaged. A decoder may find several
// broken frames in one: what comes within half of the meter's interval is the
// same.
func (q *quality) damaged(now time.Time, interval time.Duration) {
	if !q.damage.IsZero() && now.Sub(q.damage) < interval/2 {
		return
	}
	q.damage = now
	if m := q.at(now); m.damaged < math.MaxUint16 {
		m.damaged++
	}
}

// percent is the part of damaged telegrams, to a hundredth of a percent. false:
// there was none at all.
func (q *quality) percent(now time.Time) (float64, bool) {
	first := now.Unix()/60 - int64(len(q.minutes)) + 1
	var good, damaged uint64
	for _, m := range q.minutes {
		if int64(m.number) >= first {
			good, damaged = good+uint64(m.good), damaged+uint64(m.damaged)
		}
	}
	if good+damaged == 0 {
		return 0, false
	}
	return math.Round(1e4*float64(damaged)/float64(good+damaged)) / 100, true
}
