package iec62056

import (
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// class is how the value of an address is read.
type class byte

const (
	free    class = iota // a number if it has a unit or a point, else text
	measure              // a number or nothing
	plainly              // text as sent
	dated                // a time, else text
	now                  // the meter's clock
	hour                 // 0.9.1: the time of day
	day                  // 0.9.2: the date
	pair                 // two temperatures with & between: flow and return
)

// role is what an address says about the meter itself.
type role byte

const (
	noRole role = iota
	meterID
	meterVersion
)

// meaning is what an address stands for.
type meaning struct {
	code  obis.Code // zero: none
	name  string    // "": the address as sent
	class class
	role  role
	rank  uint8 // of meterID: 1 is the best
}

// identities tell the meter's number, the best first.
var identities = []obis.Code{
	obis.New(0, 0, 96, 1, 0),
	obis.New(0, 0, 96, 1, 255),
	obis.New(0, 0, 96, 1, 1),
	obis.New(1, 0, 0, 0, 0),
	obis.New(6, 0, 0, 0, 0),
	obis.New(7, 0, 0, 0, 0),
	obis.New(8, 0, 0, 0, 0),
}

// meaningOf is what a code stands for, as the catalogue and the clauses on
// well-known codes have it.
func meaningOf(c obis.Code) meaning {
	e := obis.Lookup(c)
	m := meaning{code: c, name: e.Name, class: classOf(c, e)}
	for i, id := range identities {
		if c == id {
			m.role, m.rank = meterID, uint8(i+1)
		}
	}
	if c.C() == 0 && c.D() == 2 && c.E() == 0 && c.F() == obis.Now {
		m.role = meterVersion
	}
	return m
}

func classOf(c obis.Code, e obis.Entry) class {
	switch {
	case c == obis.New(0, 0, 1, 0, 0):
		return now
	case c.C() == 0 && c.D() == 9 && c.E() == 1:
		return hour
	case c.C() == 0 && c.D() == 9 && c.E() == 2:
		return day
	case c.C() == 0 && c.D() == 1 && (c.E() == 2 || c.E() == 0 && c.F() != obis.Now), c.C() == 96 && c.D() == 2 && (c.E() >= 1 && c.E() <= 3 || c.E() == 5 || c.E() >= 10):
		return dated
	case c.C() == 96 && c.D() == 14:
		return plainly
	case e.Dimension != obis.NoDimension && e.Dimension != obis.Clock:
		return measure
	case e.Known():
		return plainly
	}
	return free
}

// en1434 are the addresses that heat meters use, which look like OBIS codes and
// are none. Where the standards have no match, the choice is ours.
var en1434 = map[string]meaning{
	"6.8":     heat(1, 0, 0),
	"6.8*01":  heat(1, 2, 0), // on the yearly set day
	"6.8.1":   heat(1, 0, 1),
	"6.8.2":   heat(1, 0, 2),
	"6.8.3":   heat(1, 0, 3),
	"6.8.4":   heat(1, 0, 4),
	"6.26":    heat(2, 0, 0),
	"6.26*01": heat(2, 2, 0),
	"6.6":     heat(8, 5, 0),
	"6.33":    heat(9, 5, 0),
	"6.31":    meaningOf(obis.New(0, 0, 96, 8, 0)),
	"6.32":    {name: "fault_time", class: free},
	"6.35":    {name: "measuring_period", class: free},
	"9.4":     {code: obis.New(6, 0, 10, 5, 0), name: "flow_temperature_maximum", class: pair},
	"9.20":    {code: obis.New(0, 0, 96, 1, 0), name: "serial_number", class: plainly, role: meterID, rank: 1},
	"9.21":    {code: obis.New(6, 0, 0, 0, 1), name: "id_2", class: plainly, role: meterID, rank: 3},
	"0.0":     {code: obis.New(6, 0, 0, 0, 0), name: "id_1", class: plainly, role: meterID, rank: 2},
	"9.36":    {code: obis.New(0, 0, 1, 0, 0), name: "clock", class: now},
	"F":       {code: obis.New(0, 0, 97, 97, 0), name: "error_flags", class: plainly},
}

func heat(c, d, e byte) meaning { return meaningOf(obis.New(6, 0, c, d, e)) }

// returnMaximum is the second number of 9.4.
var returnMaximum = heat(11, 5, 0)

// lis200 are the addresses of Elster's devices that have a code: object and
// instance without leading zeros, without the attribute.
var lis200 = map[string]meaning{
	"2:300":   gas(13, 2),
	"4:300":   gas(3, 0),
	"7:310":   gas(42, 0),
	"7:310_1": gas(42, 0),
	"6:310":   gas(41, 0),
	"6:310_1": gas(41, 0),
	"1:400":   {code: obis.New(0, 0, 1, 0, 0), name: "clock", class: now},
	"1:180":   {code: obis.New(0, 0, 96, 1, 0), name: "serial_number", class: plainly, role: meterID, rank: 1},
	"3:180":   {code: obis.New(0, 0, 96, 1, 10), name: "metering_point_id", class: plainly},
}

func gas(c, d byte) meaning { return meaningOf(obis.New(7, 0, c, d, 0)) }

// lisErrors are the numbers of (#NNNN).
var lisErrors = map[int]string{
	1: "wrong address", 2: "object not available", 3: "entity for object not available",
	4: "unknown attribute", 5: "attribute for object not available", 6: "value outside of allowed range",
	9: "write on constant", 11: "no value range, input not allowed", 13: "wrong input",
	14: "unknown units code", 17: "wrong access code", 18: "no read authorization",
	19: "no write authorization", 20: "function locked", 100: "archive number not available",
	101: "value position not available", 103: "archive empty", 104: "lower limit not found",
	105: "upper limit not found", 108: "too many open archives", 109: "archive entry overwritten while reading",
	110: "CRC error in archive record", 180: "source not allowed", 200: "syntax error in telegram",
	201: "wrong password in telegram", 222: "EEPROM read error", 223: "EEPROM write error",
	249: "encoder mode not possible or counter cannot be changed",
}

// moreUnits are spellings that only this protocol's meters have, beside those of
// the catalogue.
func moreUnits(s []byte) (obis.Unit, bool) {
	switch string(s) {
	case "{C":
		return "°C", true
	case "deg":
		return "°", true
	}
	return "", false
}

// lisAddress is the key of an address in the table: 02:0300.0 is 2:300. ok: it
// has the form of one, instance:object[_sub][.attribute].
func lisAddress(b []byte) (key [20]byte, n int, ok bool) {
	colon := false
	start := true // of a number
	for i, c := range b {
		switch {
		case c == '0' && start && i+1 < len(b) && b[i+1] >= '0' && b[i+1] <= '9':
			continue
		case c >= '0' && c <= '9' || c == '_' && colon:
			start = false
		case c == ':' && !colon && i > 0:
			colon, start = true, true
		case c == '.' && colon:
			return key, n, n > 2
		default:
			return key, 0, false
		}
		if n == len(key) {
			return key, 0, false
		}
		key[n] = c
		n++
	}
	return key, n, colon
}
