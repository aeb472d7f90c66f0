package drivers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// stampsOf reads times of 25 October 2026, on whose morning the clocks of Amsterdam
// show the hour from two to three twice: those with Z have an offset.
func stampsOf(t *testing.T, zone *time.Location, texts string) (all []*drivers.Stamp) {
	t.Helper()
	for text := range strings.FieldsSeq(texts) {
		digits, zoned := strings.CutSuffix(text, "Z")
		in := time.UTC
		if zoned {
			in = zone
		}
		wall, err := time.ParseInLocation("2006-01-02 15:04", "2026-10-25 "+digits, in)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &drivers.Stamp{Wall: wall, Zoned: zoned})
	}
	return all
}

func TestTheOrderOfALogDatesTheHourThatComesTwice(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ log, want string }{
		"hours":                     {"01:00Z 02:00 02:00 03:00Z", "01:00+02 02:00+02 02:00+01 03:00+01"},
		"hours, none after":         {"01:00Z 02:00 02:00", "01:00+02 02:00+02 02:00+01"},
		"hours, none before":        {"02:00 02:00 03:00Z", "02:00+02 02:00+01 03:00+01"},
		"half-hours":                {"01:30Z 02:00 02:30 02:00 02:30 03:00Z", "01:30+02 02:00+02 02:30+02 02:00+01 02:30+01 03:00+01"},
		"some are missing":          {"01:00Z 02:45 02:15 03:00Z", "01:00+02 02:45+02 02:15+01 03:00+01"},
		"the second hour begins":    {"02:15 02:30 02:45 02:00", "02:15+02 02:30+02 02:45+02 02:00+01"},
		"one hour is missing":       {"01:00Z 02:00 03:00Z", "01:00+02 02:00 03:00+01"},
		"no second hour":            {"02:00 02:15 02:30 02:45 03:00Z", "02:00 02:15 02:30 02:45 03:00+01"},
		"back more than once":       {"02:30 02:10 02:40 02:20", "02:30 02:10 02:40 02:20"},
		"two events at the same":    {"00:10Z 02:10 02:10 07:00Z", "00:10+02 02:10 02:10 07:00+01"},
		"two events, then back":     {"02:10 02:10 02:05", "02:10+02 02:10+02 02:05+01"},
		"nothing but what is dated": {"01:00Z 03:00Z", "01:00+02 03:00+01"},
		"no log":                    {"", ""},
		"times that come once":      {"01:30 01:10", "01:30 01:10"},
	} {
		t.Run(name, func(t *testing.T) {
			log := stampsOf(t, zone, c.log)
			drivers.DateByOrder(log, zone)
			var got []string
			for _, s := range log {
				layout := "15:04"
				if s.Zoned {
					layout = "15:04-07"
				}
				got = append(got, s.Wall.Format(layout))
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	log := stampsOf(t, zone, "02:30 02:00")
	if drivers.DateByOrder(log, nil); log[0].Zoned {
		t.Error("dated without a zone")
	}
}
