package plausible

import (
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

func TestATotalMayRiseAsFastAsItsConnectionDelivers(t *testing.T) {
	limits := Limits{Power: 10, Flow: 2}
	for unit, inAnHour := range map[obis.Unit]struct{ most, tooMuch string }{
		"kWh":   {"1010.000", "1010.003"},
		"kvarh": {"1010.000", "1010.003"},
		"kVAh":  {"1010.000", "1010.003"},
		"MJ":    {"1036.000", "1036.003"},
		"GJ":    {"1000.036", "1000.039"},
		"m³":    {"1002.000", "1002.003"},
		"s":     {"4600.000", "4600.003"},
		"min":   {"1060.000", "1060.003"},
		"h":     {"1001.000", "1001.003"},
		"kg":    {"9999999.000", ""}, // nobody knows
	} {
		for digits, want := range map[string]Reason{inAnHour.most: Fine, inAnHour.tooMuch: Leapt} {
			if digits == "" {
				continue
			}
			g := New(limits)
			g.Judge("k", value(t, "1000.000", unit), drivers.CheckCRC16, start)
			v := g.Judge("k", value(t, digits, unit), drivers.CheckCRC16, start.Add(time.Hour))
			if v.Reason != want {
				t.Errorf("%s %s: %s", digits, unit, told(v))
			}
			last, known := g.Last("k")
			if !known || (last.String() == digits) != (want == Fine) {
				t.Errorf("%s %s: the last good one is %s, %t", digits, unit, last, known)
			}
		}
	}
	if last, known := New(limits).Last("k"); known {
		t.Errorf("a total that nobody told: %s", last)
	}
}

func TestAClockThatRunsBackwardsAllowsNoRise(t *testing.T) {
	g := New(Limits{Power: 10, Flow: 2})
	g.Judge("k", value(t, "1000.000", "kWh"), drivers.CheckCRC16, start)
	if v := g.Judge("k", value(t, "1000.003", "kWh"), drivers.CheckCRC16, start.Add(-time.Hour)); v.Reason != Leapt {
		t.Error(told(v))
	}
	if v := g.Judge("k", value(t, "1000.002", "kWh"), drivers.CheckCRC16, start.Add(-time.Hour)); v.Reason != Fine {
		t.Errorf("two steps of the last digit: %s", told(v))
	}
}
