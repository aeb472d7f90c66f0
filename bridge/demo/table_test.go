package demo

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

func TestTheTableShowsTheNewestReadingOfEachMeter(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out, "above", anyHeight)
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	r := drivers.Reading{
		Meter: drivers.Identity{Manufacturer: "KAM", ID: "7"}, Received: start,
		Values: []drivers.Value{
			{Code: obis.MustParse("1-0:1.8.0"), Name: "energy_import", Number: drivers.NewDecimal(1234500, -3), Unit: "kWh"},
			{Name: "volume", Number: drivers.NewDecimal(5, 0), Unit: "m³"},
		},
	}
	table.observe("main", &r)
	r.Values[0].Number = drivers.NewDecimal(1234501, -3)
	r.Received = start.Add(time.Second)
	table.observe("main", &r)
	table.observe("annex", &drivers.Reading{Received: start})
	r.Values[0].Number = drivers.NewDecimal(0, 0) // the decoder uses its reading again

	if err := table.draw(start.Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	want := home + wipe + `above

annex     telegram 1, 3s ago

main         KAM 7          telegram 2, 2s ago
  1-0:1.8.0  energy_import  1234.501 kWh
             volume         5 m³
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// anyHeight is that of a terminal that does not tell it.
func anyHeight() int { return 0 }

func TestTheTableFitsTheTerminal(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out, "above", func() int { return 12 })
	r := drivers.Reading{Values: make([]drivers.Value, 40)}
	table.observe("a", &r)
	table.observe("b", &r)
	if err := table.draw(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n > 12 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
	if !bytes.Contains(out.Bytes(), []byte("+37 values")) {
		t.Errorf("what is left out is not told:\n%s", out.String())
	}
}

// shut is an output whose reader has gone.
type shut struct{}

var errShut = errors.New("shut")

func (shut) Write([]byte) (int, error) { return 0, errShut }

func TestTheDemoEndsWhenNobodyReadsItAnyMore(t *testing.T) {
	for name, terminal := range map[string]bool{"on a terminal": true, "in a pipe": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shower{options: Options{Out: shut{}, Terminal: terminal}, table: newTable(shut{}, "", anyHeight)}
				s.observe("main", &drivers.Reading{})
				if err := s.run(t.Context()); !errors.Is(err, errShut) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
