package bridge

import "time"

// pace learns how often something comes. The zero pace has seen nothing.
type pace struct {
	last     time.Time
	interval time.Duration // the usual time between two; 0: not known yet
	gaps     int           // how many were seen, as far as it matters
}

// settled is how many gaps tell a pace: of a list that comes each hour, twice
// within seconds, the first gap tells nothing.
const settled = 3

func (p pace) isSettled() bool { return p.gaps >= settled }

// saw notes that it came at now. A longer interval counts at once, a shorter one
// slowly: a meter that sometimes leaves one out is not declared dead for it.
func (p *pace) saw(now time.Time) {
	if !p.last.IsZero() {
		if d := now.Sub(p.last); d > p.interval {
			p.interval = d
		} else {
			p.interval -= (p.interval - d) / 8
		}
		p.gaps = min(p.gaps+1, settled)
	}
	p.last = now
}

// seen says whether it ever came.
func (p pace) seen() bool { return !p.last.IsZero() }

// atLeast is the pace of something that is known to come no more often than that.
func (p pace) atLeast(interval time.Duration) pace {
	p.interval = max(p.interval, interval)
	return p
}

// late says whether it should have come several times since: after times its
// interval and at least floor, or unknown while no interval has been seen.
func (p pace) late(now time.Time, times int, floor, unknown time.Duration) bool {
	if !p.seen() {
		return false
	}
	limit := unknown
	if p.interval > 0 {
		limit = max(time.Duration(times)*p.interval, floor)
	}
	return now.Sub(p.last) > limit
}
