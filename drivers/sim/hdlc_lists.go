package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// hanList is which of a meter's lists is sent.
type hanList int

// The lists, as Norway counts them.
const (
	powerList  hanList = iota + 1 // the power alone
	phasesList                    // who, power, currents, voltages
	hourlyList                    // the same, clock and totals
)

// A-XDR: elements as bytes.

func collection(tag dlms.Tag, elements [][]byte) []byte {
	return append([]byte{byte(tag), byte(len(elements))}, slices.Concat(elements...)...)
}

func array(elements ...[]byte) []byte     { return collection(dlms.Array, elements) }
func structure(elements ...[]byte) []byte { return collection(dlms.Structure, elements) }

func octets(b []byte) []byte { return append([]byte{byte(dlms.OctetString), byte(len(b))}, b...) }

func visible(s string) []byte {
	return append([]byte{byte(dlms.VisibleString), byte(len(s))}, s...)
}

func code(c obis.Code) []byte { return octets(c[:]) }

func moment(t dlms.DateTime) []byte { return octets(t.AppendTo(nil)) }

func u32(v int64) []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(dlms.DoubleLongUnsigned)}, uint32(v))
}

func u16(v int64) []byte {
	return binary.BigEndian.AppendUint16([]byte{byte(dlms.LongUnsigned)}, uint16(v))
}

func i16(v int64) []byte {
	return binary.BigEndian.AppendUint16([]byte{byte(dlms.Long)}, uint16(v))
}

// scale is {scaler, unit}, the unit by its number in the Blue Book.
func scale(scaler int8, unit byte) []byte {
	return structure([]byte{byte(dlms.Integer), byte(scaler)}, []byte{byte(dlms.Enum), unit})
}

// Units of the Blue Book.
const (
	unitW, unitVar, unitWh, unitVarh, unitA, unitV = 27, 29, 30, 32, 33, 35
)

// Codes of what all these meters show.
var (
	clockCode   = obis.New(0, 0, 1, 0, 0)
	powerCodes  = [4]obis.Code{obis.New(1, 0, 1, 7, 0), obis.New(1, 0, 2, 7, 0), obis.New(1, 0, 3, 7, 0), obis.New(1, 0, 4, 7, 0)}
	ampsCodes   = [3]obis.Code{obis.New(1, 0, 31, 7, 0), obis.New(1, 0, 51, 7, 0), obis.New(1, 0, 71, 7, 0)}
	voltsCodes  = [3]obis.Code{obis.New(1, 0, 32, 7, 0), obis.New(1, 0, 52, 7, 0), obis.New(1, 0, 72, 7, 0)}
	totalsCodes = [4]obis.Code{obis.New(1, 0, 1, 8, 0), obis.New(1, 0, 2, 8, 0), obis.New(1, 0, 3, 8, 0), obis.New(1, 0, 4, 8, 0)}
	powerUnits  = [4]byte{unitW, unitW, unitVar, unitVar}
	totalsUnits = [4]byte{unitWh, unitWh, unitVarh, unitVarh}
)

// rowsForm is how a meter that sends rows of code, value, scaler and unit differs
// from others.
type rowsForm struct {
	listID, number, model string
	amps                  int8 // power of ten of one step of a current
	total                 int8 // of a total, in Wh
	clock                 *time.Location
}

// rows are the lists of Aidon, and of Landis+Gyr in Norway: an array of {code,
// text} and {code, value, {scaler, unit}}, with no time before it.
func (f rowsForm) rows(s *hanState, list hanList) []byte {
	header := dlms.AppendNotification(nil, 0x40000000, nil)
	power := func(i int) []byte { return structure(code(powerCodes[i]), u32(s.power[i]), scale(0, powerUnits[i])) }
	if list == powerList {
		return append(header, array(power(0))...)
	}
	all := [][]byte{
		structure(code(obis.New(1, 1, 0, 2, 129)), visible(f.listID)),
		structure(code(obis.New(0, 0, 96, 1, 0)), visible(f.number)),
		structure(code(obis.New(0, 0, 96, 1, 7)), visible(f.model)),
	}
	for i := range powerCodes {
		all = append(all, power(i))
	}
	for i, c := range ampsCodes {
		all = append(all, structure(code(c), i16(s.amps[i]/tenTo(3+f.amps)), scale(f.amps, unitA)))
	}
	for i, c := range voltsCodes {
		all = append(all, structure(code(c), u16(s.volts[i]), scale(-1, unitV)))
	}
	if list == hourlyList {
		all = append(all, structure(code(clockCode), moment(dateTime(s.hour, f.clock))))
		for i, c := range totalsCodes {
			all = append(all, structure(code(c), u32(s.totals[i]/tenTo(f.total)), scale(f.total, totalsUnits[i])))
		}
	}
	return append(header, array(all...)...)
}

func tenTo(n int8) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// kaifaList is a structure of values without codes. Its clock is local time, in
// front of the list too.
func kaifaList(s *hanState, list hanList) []byte {
	now := dateTime(s.at, oslo)
	header := dlms.AppendNotification(nil, 0x40000000, nil)
	header = append(header[:len(header)-1], moment(now)...) // 09 0C where others have 0C
	if list == powerList {
		return append(header, structure(u32(s.power[0]))...)
	}
	all := [][]byte{visible("KFM_001"), visible("SIM0000000000004"), visible("MA304H4")}
	for _, values := range [][]int64{s.power[:], s.amps[:], s.volts[:]} {
		for _, v := range values {
			all = append(all, u32(v))
		}
	}
	if list == hourlyList {
		all = append(all, moment(dateTime(s.hour, oslo)))
		for _, v := range s.totals {
			all = append(all, u32(v))
		}
	}
	return append(header, structure(all...)...)
}

// kamstrupList is a structure of codes, on channel 1, and values, with the list's
// name in front: currents in 0.01 A, voltages in V, totals in 10 Wh.
func kamstrupList(number, model string) func(*hanState, hanList) []byte {
	return func(s *hanState, list hanList) []byte {
		now := dateTime(s.at, standardTime)
		all := [][]byte{
			visible("Kamstrup_V0001"),
			code(obis.New(1, 1, 0, 0, 5)), visible(number),
			code(obis.New(1, 1, 96, 1, 1)), visible(model),
		}
		add := func(c obis.Code, value []byte) {
			c[1] = 1
			all = append(all, code(c), value)
		}
		for i, c := range powerCodes {
			add(c, u32(s.power[i]))
		}
		for i, c := range ampsCodes {
			add(c, u32(s.amps[i]/10))
		}
		for i, c := range voltsCodes {
			add(c, u16(s.volts[i]/10))
		}
		if list == hourlyList {
			add(clockCode, moment(dateTime(s.hour, standardTime)))
			for i, c := range totalsCodes {
				add(c, u32(s.totals[i]/10))
			}
		}
		return append(dlms.AppendNotification(nil, 0, &now), structure(all...)...)
	}
}

// austrianList is a structure with a clock, codes with values, scalers and units,
// and the meter's number at its end: all of it each time.
func austrianList(s *hanState, _ hanList) []byte {
	now := withOffset(s.at, oslo)
	all := [][]byte{moment(now)}
	add := func(c obis.Code, value, scale []byte) { all = append(all, code(c), value, scale) }
	for i, c := range totalsCodes {
		add(c, u32(s.live[i]), scale(0, totalsUnits[i]))
	}
	for i, c := range powerCodes[:2] {
		add(c, u32(s.power[i]), scale(0, powerUnits[i]))
	}
	for i, c := range voltsCodes {
		add(c, u16(s.volts[i]), scale(-1, unitV))
	}
	for i, c := range ampsCodes {
		add(c, u16(s.amps[i]/10), scale(-2, unitA))
	}
	all = append(all, octets([]byte("SIM0000000000007")))
	return append(dlms.AppendNotification(nil, 1, &now), structure(all...)...)
}
