package drivers

import "time"

// DateByOrder dates what a clock in zone shows twice, in the hour that comes again in
// autumn: stamps are those of one log, oldest first, and where the clock goes back
// among them the second hour begins. Hourly rows show it by the same stamp twice.
// A stamp whose order tells nothing stays without an offset, as do all if zone is nil.
func DateByOrder(stamps []*Stamp, zone *time.Location) {
	if zone == nil {
		return
	}
	for from := 0; from < len(stamps); from++ {
		to := from
		for to < len(stamps) && !stamps[to].Zoned {
			to++
		}
		if seam, ok := seamOf(stamps, from, to, zone); ok {
			for i, s := range stamps[from:to] {
				s.dateTwice(zone, from+i >= seam)
			}
		}
		from = to
	}
}

// dateTwice gives a stamp the offset of the first or the second time that a clock in
// zone shows it; one that it does not show twice stays as it is.
func (s *Stamp) dateTwice(zone *time.Location, second bool) {
	const day = 24 * time.Hour
	_, summer := s.Wall.Add(-day).In(zone).Zone()
	_, winter := s.Wall.Add(day).In(zone).Zone()
	times := [2]time.Time{s.Wall.Add(-time.Duration(summer) * time.Second), s.Wall.Add(-time.Duration(winter) * time.Second)}
	for i, t := range times {
		if times[i] = t.In(zone); !digitsOf(times[i]).Equal(s.Wall) {
			return
		}
	}
	*s = Stamp{Wall: times[0], Zoned: true}
	if second {
		s.Wall = times[1]
	}
}

// seamOf is the first of the stamps from..to, none of which has an offset, that comes
// after the clock went back. false: it did not, or more than once.
func seamOf(stamps []*Stamp, from, to int, zone *time.Location) (seam int, ok bool) {
	falls, again := 0, 0
	for i := from + 1; i < to; i++ {
		switch step := stamps[i].Wall.Compare(stamps[i-1].Wall); {
		case step < 0:
			falls++
			seam = i
		case step == 0 && falls == 0:
			again++
			seam = i
		}
	}
	if falls == 0 && again == 1 {
		return seam, hourApart(stamps, from-1, from, zone) || hourApart(stamps, to-1, to, zone)
	}
	return seam, falls == 1
}

// hourApart says whether two stamps are there and an hour apart, as a clock in zone
// shows them.
func hourApart(stamps []*Stamp, i, j int, zone *time.Location) bool {
	if i < 0 || j >= len(stamps) {
		return false
	}
	shown := func(s *Stamp) time.Time {
		if s.Zoned {
			return digitsOf(s.Wall.In(zone))
		}
		return s.Wall
	}
	return shown(stamps[j]).Sub(shown(stamps[i])) == time.Hour
}

// digitsOf is what a clock shows at t, as a time in UTC.
func digitsOf(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}
