package hdlc

import (
	"bytes"

	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// maker is what is known of a maker's push lists beyond the standards: where a
// list gives no scaler and no unit, and where a clock gives no offset. Each
// scale is the power of ten of one step.
type maker struct {
	name    string // FLAG identification
	known   bool   // the scales below count
	energy  int8   // of Wh, varh, VAh
	current int8   // of A
	voltage int8   // of V
	factor  int8   // of power factors
	clock   rule

	// wholeBelow and finerAbove tell how voltages are scaled where firmwares
	// differ: below it they come in whole volts, above it in 0.01 V.
	wholeBelow, finerAbove int64
	// zeroIsNone says that a deviation of 0 is none: the clock is not UTC.
	zeroIsNone bool
}

// The makers.
var (
	// Kaifa (Norway, Sweden), corpus dlms-amshan-kaifa-*: current in mA, voltage in
	// 0.1 V. MA304 of Norway show local time.
	kaifa = maker{name: "KFM", known: true, current: -3, voltage: -1, clock: localRule}
	// Kamstrup OMNIPOWER, corpus *kamstrup*: energy in 10 Wh, current and power
	// factors in 0.01, voltage in V. Firmware of 2025 sends voltages in 0.01 V
	// (dlms-amsreader-frames-kamstrup-bornholm-clear-1). Standard time all year.
	// Owners of Swedish ones report energy in Wh: scale = ["1.8.0 Wh", "2.8.0 Wh"].
	kamstrup = maker{name: "KAM", known: true, energy: 1, current: -2, factor: -2, finerAbove: 1000, clock: standardRule}
	// Aidon gives scalers and units. Norway's clock says deviation 0 and means
	// standard time (dlms-amsreader-aidon-gh1119-1).
	aidon = maker{name: "ADN", clock: standardRule, zeroIsNone: true}
	// Landis+Gyr E450, push lists without units: current in 0.01 A, voltage in V
	// (dlms-amsreader-landis-gyr-gh934-1) or 0.1 V.
	landisGyr = maker{name: "LGZ", known: true, current: -2, voltage: -1, wholeBelow: 500, clock: localRule}
	// Iskraemeco, lists without codes: current in 0.01 A, voltage in 0.1 V
	// (dlms-amsreader-iskraemeco-*).
	iskra = maker{name: "ISK", known: true, current: -2, voltage: -1, factor: -3, clock: localRule}
)

// makersByList tells a maker by how its list id or logical name begins.
var makersByList = []struct {
	prefix string
	maker  *maker
}{
	{"KFM", &kaifa}, {"Kamstrup", &kamstrup}, {"AIDON", &aidon}, {"EMBRIQ", &landisGyr}, {"ISK", &iskra}, {"LGZ", &landisGyr},
}

func makerByList(text []byte) *maker {
	for i := range makersByList {
		if bytes.HasPrefix(text, []byte(makersByList[i].prefix)) {
			return makersByList[i].maker
		}
	}
	return nil
}

func makerByName(flag string) *maker {
	for _, m := range [...]*maker{&kaifa, &kamstrup, &aidon, &landisGyr, &iskra} {
		if m.name == flag {
			return m
		}
	}
	return nil
}

// step is the unit and the power of ten of one step of a number that comes
// without both. ok is false if nobody knows: the value is then left out, for a
// wrong number is worse than none.
func (m *maker) step(e obis.Entry, raw int64) (unit obis.Unit, scale int, ok bool) {
	switch e.Dimension {
	case obis.Energy, obis.ReactiveEnergy, obis.ApparentEnergy:
		return e.Unit, int(m.energy) - 3, true
	case obis.Power, obis.ReactivePower, obis.ApparentPower:
		return e.Unit, 0, true
	case obis.Voltage:
		return e.Unit, m.voltageScale(raw), m.known
	case obis.Current:
		return e.Unit, int(m.current), m.known
	case obis.PowerFactor:
		return "", int(m.factor), m.known && m.factor != 0
	default:
		return "", 0, e.Unit == ""
	}
}

func (m *maker) voltageScale(raw int64) int {
	switch {
	case raw < m.wholeBelow:
		return 0
	case m.finerAbove > 0 && raw > m.finerAbove:
		return -2
	}
	return int(m.voltage)
}
