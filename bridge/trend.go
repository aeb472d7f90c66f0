package bridge

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/web"
	"github.com/meter2mqtt/meter2mqtt/discovery"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

const (
	// trendEvery is the distance of a trend's points, trendPoints how many there
	// are: three hours.
	trendEvery  = time.Minute
	trendPoints = 181
)

// trend is one quantity of a meter over the last hours, for the page. It is a
// picture, not a record: a restart begins it anew.
type trend struct {
	key    string
	points [trendPoints]float64
	known  [trendPoints]bool
	minute int64 // of the newest point
}

// trendKeys are the quantities that tell most, the best first; else it is the first
// that says what flows at this moment, else the first total.
var trendKeys = []string{"1-0:1.7.0", "1-0:16.7.0"}

// note keeps the newest value once a minute.
func (t *trend) note(now time.Time, p *picture) {
	minute := now.Unix() / int64(trendEvery/time.Second)
	if minute == t.minute {
		return
	}
	if key := t.choose(p); key != t.key {
		*t = trend{key: key}
	}
	for m := max(t.minute+1, minute-trendPoints+1); m < minute; m++ {
		t.known[m%trendPoints] = false
	}
	t.minute = minute
	at := minute % trendPoints
	t.known[at] = false
	if i, known := p.indexOf(t.key); known && !p.entries[i].stale {
		t.points[at], t.known[at] = p.entries[i].number.Float64(), true
	}
}

// choose is the key that the trend shows, as long as the meter has nothing better.
func (t *trend) choose(p *picture) string {
	for _, key := range trendKeys {
		if _, known := p.indexOf(key); known {
			return key
		}
	}
	total := ""
	for i := range p.entries {
		q := &p.entries[i].quantity
		if q.Kind != drivers.Number || q.Code.IsZero() {
			continue
		}
		switch e := obis.LookupMedium(q.Code, "", q.Unit); {
		case e.Nature == obis.Momentary && (e.Dimension == obis.Power || e.Dimension == obis.Flow):
			return q.Key
		case e.Nature == obis.Total && total == "":
			total = q.Key
		}
	}
	return total
}

// shown is the trend as the page shows it; nil: there is nothing to show.
func (t *trend) shown(p *picture, medium string) *web.Trend {
	if t == nil {
		return nil
	}
	i, known := p.indexOf(t.key)
	if !known {
		return nil
	}
	q := p.entries[i].quantity
	s := &web.Trend{Label: discovery.Label(q, medium), Unit: string(q.Unit), Every: int(trendEvery / time.Second)}
	for m := t.minute - trendPoints + 1; m <= t.minute; m++ {
		if m < 0 || !t.known[m%trendPoints] {
			s.Points = append(s.Points, nil)
			continue
		}
		value := t.points[m%trendPoints] // a copy: the page is written without the meter's lock
		s.Points = append(s.Points, &value)
	}
	for len(s.Points) > 2 && s.Points[0] == nil { // it has just begun
		s.Points = s.Points[1:]
	}
	return s
}
