package bridge

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// storage is what a heat meter has kept.
type storage struct {
	number   uint64
	kWh      uint32
	at       time.Time
	dateOnly bool
	undated  bool
	during   drivers.Function
	tariff   uint32
}

// heatReading is what the decoder makes of a heat meter's telegram.
func heatReading(t *testing.T, received time.Time, kept ...storage) *drivers.Reading {
	t.Helper()
	data := mbus.AppendLongHeader(nil, mbus.Address{0x78, 0x56, 0x34, 0x12, 0x24, 0x23, 1, 4}, 1, 0, 0)
	for _, k := range kept {
		at := drivers.Record{Storage: k.number}
		energy := mbus.DataRecord{Record: at, Field: 4, VIB: []byte{0x06}, Data: binary.LittleEndian.AppendUint32(nil, k.kWh)}
		energy.Function, energy.Tariff = k.during, k.tariff
		year := byte(k.at.Year() % 100)
		day := []byte{byte(k.at.Day()) | year&7<<5, byte(k.at.Month()) | year>>3<<4}
		date := mbus.DataRecord{Record: at, Field: 4, VIB: []byte{0x6D}, Data: append([]byte{byte(k.at.Minute()), byte(k.at.Hour()) | 1<<5}, day...)}
		if k.dateOnly {
			date = mbus.DataRecord{Record: at, Field: 2, VIB: []byte{0x6C}, Data: day}
		}
		records := []mbus.DataRecord{date, energy}
		if k.undated {
			records = records[1:]
		}
		for i := range records {
			var err error
			if data, err = records[i].AppendTo(data); err != nil {
				t.Fatal(err)
			}
		}
	}
	telegram, err := (&mbus.Frame{Kind: mbus.Long, C: 0x08, A: 1, CI: 0x72, Data: data}).AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	d, r := mbus.NewDecoder(time.UTC), &drivers.Reading{}
	d.Feed(telegram)
	if err := d.Next(r); err != nil {
		t.Fatal(err)
	}
	r.Received = received
	return r
}

func TestStoragesOfATelegramFillTheHoursOfAnOutage(t *testing.T) {
	away, back := lateNoon.Add(-4*time.Hour), lateNoon.Add(10*time.Minute)
	hour := func(before int) time.Time { return lateNoon.Add(-time.Duration(before) * time.Hour) }
	ends := func(hours ...int) (all []time.Time) {
		for _, before := range hours {
			all = append(all, hour(before))
		}
		return append(all, lateNoon.Add(time.Hour))
	}
	for name, c := range map[string]struct {
		kept []storage
		want []time.Time // the hours that are known, by their end
	}{
		"hourly values": {
			[]storage{{number: 1, kWh: 104, at: hour(0)}, {number: 2, kWh: 103, at: hour(1)}, {number: 3, kWh: 102, at: hour(2)}, {number: 4, kWh: 101, at: hour(3)}},
			ends(4, 3, 2, 1, 0),
		},
		"one value at midnight":       {[]storage{{number: 1, kWh: 90, at: hour(12)}}, ends(12, 4)},
		"a day without a time":        {[]storage{{number: 1, kWh: 90, at: hour(12), dateOnly: true}}, ends(4)},
		"no date":                     {[]storage{{number: 1, kWh: 102, undated: true}}, ends(4)},
		"in the future":               {[]storage{{number: 1, kWh: 102, at: hour(-2)}}, ends(4)},
		"of last year":                {[]storage{{number: 1, kWh: 50, at: hour(365 * 24)}}, ends(4)},
		"more than the meter shows":   {[]storage{{number: 1, kWh: 106, at: hour(2)}}, ends(4)},
		"less than was read before":   {[]storage{{number: 1, kWh: 99, at: hour(2)}}, ends(4)},
		"a maximum":                   {[]storage{{number: 1, kWh: 102, at: hour(2), during: drivers.Maximum}}, ends(4)},
		"of a tariff that has no now": {[]storage{{number: 1, kWh: 102, at: hour(2), tariff: 1}}, ends(4)},
		"two times for one storage":   {[]storage{{number: 1, kWh: 102, at: hour(2)}, {number: 1, kWh: 103, at: hour(1)}}, ends(4)},
	} {
		t.Run(name, func(t *testing.T) {
			m := lonely(t)
			m.registers = &registers{}
			for _, at := range []time.Time{away.Add(-time.Minute), away} { // the first is held until there is a second
				m.accept(heatReading(t, at, storage{kWh: 100, undated: true}))
			}
			for _, at := range []time.Time{back, back.Add(time.Minute)} { // so is a leap
				m.accept(heatReading(t, at, append([]storage{{kWh: 105, undated: true}}, c.kept...)...))
			}
			log := m.registers.Logs["6-0:1.0.0"]
			if log == nil {
				t.Fatalf("logs %v", m.registers.Logs)
			}
			var got []time.Time
			for _, h := range log.Hours {
				got = append(got, h.End())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("hours by their end (-want +got)\n%s", diff)
			}
			for _, k := range c.kept {
				for _, h := range log.Hours {
					if h.End().Equal(k.at) && h.Last.Cmp(drivers.NewDecimal(int64(k.kWh), 0)) != 0 {
						t.Errorf("at %s: %s, the meter kept %d", k.at, h.Last, k.kWh)
					}
				}
			}
			if diff := cmp.Diff([]statistics.Hole{{From: away, To: back}}, m.registers.Holes); diff != "" {
				t.Errorf("holes (-want +got)\n%s", diff)
			}
		})
	}
}
