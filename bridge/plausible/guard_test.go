package plausible

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

var start = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func value(t testing.TB, digits string, unit obis.Unit) *drivers.Value {
	t.Helper()
	n, err := drivers.ParseDecimal(digits)
	if err != nil {
		t.Fatal(err)
	}
	return &drivers.Value{Number: n, Unit: unit}
}

func TestAMeterThatInventsTotalsDoesNotFillTheMemory(t *testing.T) {
	g := New(Defaults)
	good := value(t, "5.000", "kWh")
	g.Judge("main", good, drivers.CheckCRC16, start)
	for i := range 3 * maxTotals { // each damaged name waits for a second telegram, and none comes
		g.Judge(fmt.Sprintf("damaged %d", i), good, drivers.CheckSum8, start)
	}
	if v := g.Judge("main", good, drivers.CheckCRC16, start); v.Reason != Fine || len(g.totals) > maxTotals {
		t.Errorf("got %s of a good total, %d are kept", v.Reason, len(g.totals))
	}
	for i := range 3 * maxTotals {
		g.Judge(fmt.Sprintf("invented %d", i), good, drivers.CheckCRC16, start)
	}
	if v := g.Judge("one more", good, drivers.CheckCRC16, start); v.Reason != Crowded || len(g.totals) > maxTotals {
		t.Errorf("got %s of one too many, %d are kept", v.Reason, len(g.totals))
	}
}

// told is a verdict as the tables below write it.
func told(v Verdict) string {
	switch {
	case v.Reason != Fine:
		return v.Reason.String()
	case v.Exchange != nil && v.Exchange.RollOver:
		return v.Accepted.String() + " rolled over from " + v.Exchange.Old.String()
	case v.Exchange != nil:
		return v.Accepted.String() + " exchanged for " + v.Exchange.Old.String()
	}
	return v.Accepted.String()
}

func TestTotals(t *testing.T) {
	const crc, sum, none = drivers.CheckCRC16, drivers.CheckSum8, drivers.CheckNone
	for _, c := range []struct {
		name  string
		check drivers.Check
		every time.Duration
		said  string // telegrams
		want  string // verdicts, divided by commas
	}{
		{"a meter that counts", crc, time.Second, "5.000 5.000 5.001 5.002", "5.000, 5.000, 5.001, 5.002"},
		{"one wrong zero is never published", crc, time.Second, "5686.900 0.000 5686.901", "5686.900, fell, 5686.901"},
		{"nor are the zeros of a meter that boots", crc, time.Second, "5686.900 0.000 0.000 0.000 5686.901", "5686.900, fell, zero, zero, 5686.901"},
		{"nor one wrong fall", crc, time.Second, "5686.900 5186.900 5686.901", "5686.900, fell, 5686.901"},
		{"nor one wrong leap", crc, time.Second, "5686.900 6686.900 5686.901", "5686.900, leapt, 5686.901"},
		{"nor two that do not agree", crc, time.Second, "5686.900 100.000 200.000 5686.901", "5686.900, fell, fell, 5686.901"},
		{"a new meter passes with the second telegram", crc, time.Second, "5686.900 12.300 12.300 12.301", "5686.900, fell, 12.300 exchanged for 5686.900, 12.301"},
		{"a new meter that starts at 0 takes longer", crc, 10 * time.Second, "5686.900 0.000 0.000 0.001", "5686.900, fell, 0.000 exchanged for 5686.900, 0.001"},
		{"a meter runs over", crc, time.Second, "9999.998 0.001 0.002", "9999.998, fell, 0.002 rolled over from 9999.998"},
		{"a leap that a second telegram bears out", crc, time.Second, "1.000 50.000 50.001 50.001", "1.000, leapt, 50.001, 50.001"},
		{"what may have come together in an outage", crc, time.Hour, "1.000 90.000", "1.000, 90.000"},
		{"the first total of a new meter at 0", crc, time.Second, "0.000 0.000 0.001", "zero, 0.000, 0.001"},
		{"an 8-bit check: the first total needs a second", sum, time.Hour, "100 100 101 103", "first, 100, 101, 103"},
		{"an 8-bit check: faster than ever needs a second", sum, time.Hour, "100 100 101 140 101", "first, 100, 101, unverified, 101"},
		{"no check: each rise is published when the next bears it out", none, 10 * time.Second, "5.000 5.001 5.002 5.003", "first, 5.000, 5.001, 5.002"},
		{"no check: a rise that was damage", none, 10 * time.Second, "5.000 5.000 5.100 5.001 5.001", "first, 5.000, unverified, unverified, 5.001"},
		{"no check: a fall needs a third telegram", none, 10 * time.Second, "5000.000 5000.000 12 12 5000.001 5000.001 12.300 12.300 12.301", "first, 5000.000, fell, fell, unverified, 5000.001, fell, fell, 12.300 exchanged for 5000.001"},
		{"no check: a rise does not bear out a fall", none, 10 * time.Second, "5.000 5.000 5.002 5.003 5.001 5.004 5.005", "first, 5.000, unverified, 5.002, fell, unverified, 5.004"},
		{"an 8-bit check: nor does it there", sum, time.Hour, "100 100 101 99 140 101", "first, 100, 101, fell, unverified, 101"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := New(Defaults)
			at, got := start, []string{}
			for digits := range strings.FieldsSeq(c.said) {
				got = append(got, told(g.Judge("k", value(t, digits, "kWh"), c.check, at)))
				at = at.Add(c.every)
			}
			if diff := cmp.Diff(strings.Split(c.want, ", "), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAGasMeterThatShowsOnceAnHour(t *testing.T) {
	g := New(Defaults)
	at := start
	var held int
	for hour := range 5 {
		digits := fmt.Sprintf("%d.500", 100+2*hour) // 2 m³ each hour, in a telegram each 10 s
		for range 360 {
			if v := g.Judge("gas", value(t, digits, "m³"), drivers.CheckCRC16, at); v.Reason != Fine {
				held++
			}
			at = at.Add(10 * time.Second)
		}
	}
	if held != 1 {
		t.Errorf("held %d times; once, until the register's habit is known", held)
	}
}

func TestARestartIsNoWayRound(t *testing.T) {
	before := New(Defaults)
	before.Judge("k", value(t, "5686.900", "kWh"), drivers.CheckCRC16, start)
	after := New(Defaults)
	for k, total := range before.Remembered() {
		after.Restore(k, total)
	}
	if v := after.Judge("k", value(t, "0.000", "kWh"), drivers.CheckCRC16, start.Add(time.Minute)); v.Reason != Fell {
		t.Errorf("a zero after the restart: %s", told(v))
	}
}

func TestAUnitThatChangesNeedsASecondTelegram(t *testing.T) {
	g := New(Defaults)
	say := func(digits string, unit obis.Unit, seconds int) string {
		return told(g.Judge("k", value(t, digits, unit), drivers.CheckTag, start.Add(time.Duration(seconds)*time.Second)))
	}
	got := []string{
		say("5.0", "kWh", 0), say("5.0", "MJ", 1), say("5.1", "kWh", 2), say("18.0", "MJ", 3), say("18.0", "MJ", 4), say("18.1", "MJ", 5),
	}
	if diff := cmp.Diff([]string{"5.0", "first", "5.1", "first", "18.0", "18.1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAMeterInAnErrorStateIsNotBelieved(t *testing.T) {
	v := value(t, "5.0", "kWh")
	v.Flags = drivers.MeterError
	if got := New(Defaults).Judge("k", v, drivers.CheckTag, start); got.Reason != InError {
		t.Error(told(got))
	}
}

// TestNoHistoryOfATotalFallsOrLeapsWithoutTwoTelegramsWord drives random
// histories and holds what comes out against what two telegrams in a row said.
func TestNoHistoryOfATotalFallsOrLeapsWithoutTwoTelegramsWord(t *testing.T) {
	for seed := range uint64(300) {
		history(t, seed)
	}
}

func history(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	check := []drivers.Check{drivers.CheckNone, drivers.CheckSum8, drivers.CheckCRC16}[r.IntN(3)]
	g := New(Defaults)
	truth, at := int64(1_000_000+r.IntN(1_000_000)), start // thousandths
	published, known := int64(0), false
	said := []int64{}
	for range 400 {
		at = at.Add(time.Duration(1+r.IntN(10)) * time.Second)
		truth += int64(r.IntN(3))
		now := truth
		switch r.IntN(20) {
		case 0:
			now = int64(r.IntN(3_000_000)) // damage
		case 1:
			now = 0
		case 2:
			if r.IntN(10) == 0 {
				truth = int64(r.IntN(2000)) // another meter
				now = truth
			}
		case 3:
			if r.IntN(10) == 0 { // the gateway starts anew
				next := New(Defaults)
				for k, total := range g.Remembered() {
					next.Restore(k, total)
				}
				g = next
			}
		}
		said = append(said, now)
		d, err := drivers.Scaled(now, -3)
		if err != nil {
			t.Fatal(err)
		}
		v := g.Judge("k", &drivers.Value{Number: d, Unit: "kWh"}, check, at)
		if v.Reason != Fine {
			continue
		}
		out := thousandths(t, v.Accepted)
		if known && (out < published || out-published > 2000) && !twoSaid(said, out) {
			t.Fatalf("seed %d, check %s: %d after %d, and nobody else said so: %v", seed, check, out, published, said[max(0, len(said)-5):])
		}
		published, known = out, true
	}
}

// twoSaid says whether two telegrams bear the value out: it and one beside it.
func twoSaid(said []int64, out int64) bool {
	n := 0
	for _, s := range said[max(0, len(said)-12):] {
		if s >= out-30 && s <= out+3000 {
			n++
		}
	}
	return n >= 2
}

func thousandths(t *testing.T, d drivers.Decimal) int64 {
	t.Helper()
	shifted, err := d.Shift(3)
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	if _, err := fmt.Sscan(shifted.String(), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestATotalThatLosesItsUnitTwiceIsNotBelieved(t *testing.T) {
	g := New(Defaults)
	at, got := start, []string{}
	for _, c := range []struct {
		digits string
		unit   obis.Unit
	}{{"101125.449", "kWh"}, {"101125.449", "kWh"}, {"1011", ""}, {"101125.451", ""}, {"101125.452", "kWh"}, {"101125.453", "kWh"}} {
		got = append(got, told(g.Judge("k", value(t, c.digits, c.unit), drivers.CheckNone, at)))
		at = at.Add(10 * time.Second)
	}
	want := []string{"first", "101125.449", "first", "first", "unverified", "101125.452"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
