package routeb

import (
	"testing"
	"time"
)

func TestTheAirTimeOfTheLastHourCounts(t *testing.T) {
	type look struct{ minute, seconds int }
	for _, c := range []struct {
		name  string
		looks []look
		used  int
		rest  int
	}{
		{"none", nil, 0, 1},
		{"what was before is not ours", []look{{0, 5000}}, 0, 1},
		{"little", []look{{0, 10}, {30, 100}}, 90, 1},
		{"a second below four fifths", []look{{0, 0}, {10, 287}}, 287, 1},
		{"four fifths", []look{{0, 0}, {10, 288}}, 288, 2},
		{"more than an hour ago", []look{{0, 0}, {10, 300}, {71, 301}}, 0, 1},
		{"partly more than an hour ago", []look{{0, 0}, {10, 200}, {65, 320}}, 120, 1},
		{"the counter began anew", []look{{0, 0}, {10, 300}, {20, 1}, {30, 5}}, 4, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s session
			begin := time.Date(2026, 1, 15, 0, 0, 0, 0, japan)
			for _, l := range c.looks {
				s.air.saw(begin.Add(time.Duration(l.minute)*time.Minute), time.Duration(l.seconds)*time.Second)
			}
			if got := s.air.used(); got != time.Duration(c.used)*time.Second || s.Rest() != c.rest {
				t.Errorf("%s used, rest %d; want %d s, %d", got, s.Rest(), c.used, c.rest)
			}
		})
	}
}
