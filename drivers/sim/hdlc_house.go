package sim

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// hanState is what a meter on a HAN port shows: the house behind it is the one of
// the DSMR meter.
type hanState struct {
	at     time.Time
	power  [4]int64 // active import and export in W, reactive in var
	amps   [3]int64 // by phase, mA
	volts  [3]int64 // by phase, 0.1 V
	hour   time.Time
	totals [4]int64 // at that hour: Wh, varh
	live   [4]int64 // now
}

// han is a meter with a HAN port.
type han struct {
	house *DSMR
	state hanState
}

func newHAN(seed uint64, start time.Time) *han {
	h := &han{house: NewDSMR(seed, start)}
	h.state.hour = start.Truncate(time.Hour)
	h.state.totals = h.totals()
	return h
}

// advance moves the meter on to now. The totals of the hourly list are those of
// the last full hour.
func (h *han) advance(now time.Time) {
	h.house.mu.Lock()
	defer h.house.mu.Unlock()
	if hour := now.Truncate(time.Hour); hour.After(h.state.hour) {
		h.house.advance(hour)
		h.state.hour, h.state.totals = hour, h.totals()
	}
	h.house.advance(now)
	h.look(now)
}

// look takes down what is momentary.
func (h *han) look(now time.Time) {
	s := &h.state
	s.at, s.live = now, h.totals()
	sum := int64(0)
	for i := range h.house.phases {
		p := &h.house.phases[i]
		sum += p.net()
		s.amps[i] = max(p.net(), -p.net()) * 10_000 / p.decivolts
		s.volts[i] = p.decivolts
	}
	s.power = [4]int64{max(0, sum), max(0, -sum), max(0, sum) / 8, max(0, -sum) / 20}
}

// totals are what has been counted; reactive energy is a share of the active one.
func (h *han) totals() [4]int64 {
	in := (h.house.energy[0][0] + h.house.energy[0][1]).wattHours()
	out := (h.house.energy[1][0] + h.house.energy[1][1]).wattHours()
	return [4]int64{in, out, in / 8, out / 20}
}

// oslo is the zone of Norway and, by its rules, of all the meters here.
var oslo = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Oslo")
	if err != nil {
		return time.FixedZone("", 3600)
	}
	return zone
}()

// standardTime is the zone of clocks that know no summer.
var standardTime = time.FixedZone("", 3600)

// dateTime is a moment as a meter in a zone writes it, without its offset.
func dateTime(t time.Time, zone *time.Location) dlms.DateTime {
	t = t.In(zone)
	return dlms.DateTime{
		Year: uint16(t.Year()), Month: byte(t.Month()), Day: byte(t.Day()),
		Hour: byte(t.Hour()), Minute: byte(t.Minute()), Second: byte(t.Second()), Hundredths: 0xFF,
		Deviation: dlms.NoDeviation,
	}
}

// withOffset is dateTime with deviation and the summer bit.
func withOffset(t time.Time, zone *time.Location) dlms.DateTime {
	d := dateTime(t, zone)
	_, offset := t.In(zone).Zone()
	d.Deviation = int16(-offset / 60)
	if t.In(zone).IsDST() {
		d.Status = dlms.StatusSummer
	}
	return d
}
