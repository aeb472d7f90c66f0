package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
)

// mbusModel is what may hang on a simulated M-Bus line.
type mbusModel struct {
	Model
	slaves func(seed uint64) []MBusSlave
}

// mbusModels are the lines, the usual one first. On those that the demo shows a
// meter is alone, so that it is read without an address.
var mbusModels = []mbusModel{
	{Model: Model{Name: "building", Doc: "eight meters on one line: heat in two telegrams, cold and hot water, gas, electricity, a slow one, and two of the same number"}, slaves: MBusBuilding},
	{Model: Model{Name: "heat", Doc: "a heat meter, alone", Shown: true}, slaves: only(heatMeter)},
	{Model: Model{Name: "cold-water", Doc: "a cold water meter, alone", Shown: true}, slaves: only(coldWater)},
	{Model: Model{Name: "hot-water", Doc: "a hot water meter, alone", Shown: true}, slaves: only(hotWater)},
	{Model: Model{Name: "gas", Doc: "a gas meter, alone", Shown: true}, slaves: only(gasMeter)},
	{Model: Model{Name: "electricity", Doc: "a three-phase electricity meter, alone", Shown: true}, slaves: only(electricityMeter)},
}

func only(meter func(uint64) MBusSlave) func(uint64) []MBusSlave {
	return func(seed uint64) []MBusSlave { return []MBusSlave{meter(seed)} }
}

// MBusBuilding is a line of eight meters, with what masters stumble over.
func MBusBuilding(seed uint64) []MBusSlave {
	slow, twin, other := coldWater(seed+1), coldWater(seed+2), hotWater(seed+3)
	slow.Primary, slow.Address, slow.Delay = 6, mbusAddress("30000104", "SEN", 14, mediumColdWater), 180*time.Millisecond
	twin.Primary, twin.Address, twin.Fabrication = 7, mbusAddress("55555555", "ZRI", 1, mediumColdWater), "00000001"
	other.Primary, other.Address, other.Fabrication = 8, mbusAddress("55555555", "ZRI", 1, mediumColdWater), "00000002"
	return []MBusSlave{
		heatMeter(seed), coldWater(seed), hotWater(seed), gasMeter(seed), electricityMeter(seed), slow, twin, other,
	}
}

// Media of EN 13757-3.
const (
	mediumElectricity = 0x02
	mediumGas         = 0x03
	mediumHeat        = 0x04
	mediumWarmWater   = 0x06
	mediumColdWater   = 0x16
)

// supply is something that is used all day, more at noon than at night.
type supply struct {
	base float64 // what the register showed when the meters began
	rate float64 // a second, on average
}

// meterEpoch is when all the meters were put in.
var meterEpoch = time.Date(2021, time.March, 1, 0, 0, 0, 0, time.UTC)

const secondsOfDay = 86400

// newSupply draws what a flat uses, to within half.
func newSupply(seed, which uint64, rate float64) supply {
	r := rand.New(rand.NewPCG(seed, which)) //nolint:gosec // what a flat uses keeps no secret
	return supply{base: rate * secondsOfDay * float64(r.IntN(300)), rate: rate * (0.5 + r.Float64())}
}

// total is the register at a moment. It never falls while time goes on.
func (s supply) total(now time.Time) float64 {
	t := max(0, now.Sub(meterEpoch).Seconds()) // before, it lay on a shelf
	return s.base + s.rate*(t-0.8*secondsOfDay/(2*math.Pi)*math.Sin(2*math.Pi*t/secondsOfDay))
}

// flow is how fast the register rises, a second.
func (s supply) flow(now time.Time) float64 {
	return s.rate * (1 - 0.8*math.Cos(2*math.Pi*now.Sub(meterEpoch).Seconds()/secondsOfDay))
}

// dueDate is the last day of the year before.
func dueDate(now time.Time) time.Time {
	return time.Date(now.Year()-1, time.December, 31, 0, 0, 0, 0, time.UTC)
}

// record is a data record with a binary integer of 4 bytes.
func record(value float64, vib ...byte) mbus.DataRecord {
	r := mbus.DataRecord{VIB: vib}
	if r.SetInt(int64(value), 4) != nil {
		_ = r.SetInt(math.MaxInt32, 4) // the register stands still at its end
	}
	return r
}

// bcd is a data record with 8 digits.
func bcd(value float64, vib ...byte) mbus.DataRecord {
	r := mbus.DataRecord{VIB: vib}
	_ = r.SetBCD(int64(value)%100_000_000, 4) // a register begins anew
	return r
}

// due is a record as it was on the due date.
func due(r mbus.DataRecord) mbus.DataRecord {
	r.Record = drivers.Record{Storage: 1}
	return r
}

// dated is a date record, clock one with the time to the minute.
func dated(t time.Time) mbus.DataRecord {
	return mbus.DataRecord{Field: 2, VIB: []byte{0x6C}, Data: mbus.AppendTypeG(nil, t)}
}

func clock(t time.Time) mbus.DataRecord {
	return mbus.DataRecord{Field: 4, VIB: []byte{0x6D}, Data: mbus.AppendTypeF(nil, t)}
}

// heatMeter tells energy, volume and what is momentary, then the due date.
func heatMeter(seed uint64) MBusSlave {
	energy, volume := newSupply(seed, 1, 0.0006), newSupply(seed, 2, 0.02) // kWh, l
	return MBusSlave{
		Primary: 1, Address: mbusAddress("30000100", "KAM", 8, mediumHeat), Delay: 30 * time.Millisecond,
		Records: func(now time.Time) [][]mbus.DataRecord {
			last := dueDate(now)
			return [][]mbus.DataRecord{
				{
					record(energy.total(now), 0x06), record(volume.total(now), 0x13),
					record(energy.flow(now)*3_600_000, 0x2B), record(volume.flow(now)*3600, 0x3B),
					record(6200, 0x59), record(4100, 0x5D), record(2100, 0x61), clock(now),
				},
				{due(record(energy.total(last), 0x06)), due(record(volume.total(last), 0x13)), due(dated(last))},
			}
		},
	}
}

// water tells volume, flow and the due date's volume.
func water(use supply, more ...mbus.DataRecord) func(time.Time) [][]mbus.DataRecord {
	return func(now time.Time) [][]mbus.DataRecord {
		last := dueDate(now)
		return [][]mbus.DataRecord{append([]mbus.DataRecord{
			bcd(use.total(now), 0x13), record(use.flow(now)*3600, 0x3B),
			due(bcd(use.total(last), 0x13)), due(dated(last)), clock(now),
		}, more...)}
	}
}

func coldWater(seed uint64) MBusSlave {
	return MBusSlave{
		Primary: 2, Address: mbusAddress("30000101", "SEN", 14, mediumColdWater), Delay: 45 * time.Millisecond,
		Records: water(newSupply(seed, 3, 0.002)), // l
	}
}

func hotWater(seed uint64) MBusSlave {
	return MBusSlave{
		Primary: 3, Address: mbusAddress("30000202", "DME", 64, mediumWarmWater), Delay: 20 * time.Millisecond,
		Records: water(newSupply(seed, 4, 0.001), record(5450, 0x59)),
	}
}

func gasMeter(seed uint64) MBusSlave {
	volume := newSupply(seed, 5, 0.00005) // m³
	return MBusSlave{
		Primary: 4, Address: mbusAddress("47110815", "ELS", 16, mediumGas), Delay: 70 * time.Millisecond,
		Records: func(now time.Time) [][]mbus.DataRecord {
			return [][]mbus.DataRecord{{bcd(volume.total(now)*100, 0x14), clock(now)}}
		},
	}
}

func electricityMeter(seed uint64) MBusSlave {
	energy := newSupply(seed, 6, 0.00012) // kWh
	return MBusSlave{
		Primary: 5, Address: mbusAddress("78563412", "ABB", 2, mediumElectricity), Delay: 12 * time.Millisecond,
		Records: func(now time.Time) [][]mbus.DataRecord {
			power := energy.flow(now) * 3_600_000
			records := []mbus.DataRecord{bcd(energy.total(now)*100, 0x04), record(power, 0x2B)}
			for phase := byte(1); phase <= 3; phase++ {
				records = append(records,
					record(2300+float64(phase), 0xFD, 0xC8, 0xFC, phase),
					record(power/3/230*1000, 0xFD, 0xD9, 0xFC, phase))
			}
			return [][]mbus.DataRecord{records}
		},
	}
}
