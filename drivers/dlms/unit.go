package dlms

import "github.com/meter2mqtt/meter2mqtt/drivers/obis"

// spellings are the units by their number in the Blue Book ed. 13, 4.3.2. Empty:
// no such unit.
var spellings = [256]string{
	1: "year", 2: "month", 3: "week", 4: "d", 5: "h", 6: "min", 7: "s", 8: "°", 9: "°C", 10: "currency",
	11: "m", 12: "m/s", 13: "m³", 14: "m³", 15: "m³/h", 16: "m³/h", 17: "m³/d", 18: "m³/d", 19: "l", 20: "kg",
	21: "N", 22: "Nm", 23: "Pa", 24: "bar", 25: "J", 26: "J/h", 27: "W", 28: "VA", 29: "var", 30: "Wh",
	31: "VAh", 32: "varh", 33: "A", 34: "C", 35: "V", 36: "V/m", 37: "F", 38: "Ω", 39: "Ωm", 40: "Wb",
	41: "T", 42: "A/m", 43: "H", 44: "Hz", 45: "1/Wh", 46: "1/varh", 47: "1/VAh", 48: "V²h", 49: "A²h", 50: "kg/s",
	51: "S", 52: "K", 53: "1/(V²h)", 54: "1/(A²h)", 55: "1/m³", 56: "%", 57: "Ah", 60: "Wh/m³", 61: "J/m³", 62: "mol %",
	63: "g/m³", 64: "Pa s", 65: "J/kg", 66: "g/cm²", 67: "atm", 70: "dBm", 71: "dBµV", 72: "dB",
}

// coulomb is the one unit whose letter means another one elsewhere.
const coulomb = 34

// canonicalUnit is a unit as it is published, and the power of ten that leads
// there.
type canonicalUnit struct {
	unit  obis.Unit
	shift int8
	known bool
}

var units = func() (all [256]canonicalUnit) {
	for i, s := range spellings {
		all[i] = canonicalUnit{unit: obis.Unit(s), known: s != ""}
		if u, shift, ok := obis.ParseUnit(s); ok && i != coulomb {
			all[i] = canonicalUnit{u, int8(shift), true}
		}
	}
	for _, i := range [...]int{0, 254, 255} { // not used, other, none
		all[i].known = true
	}
	return all
}()

// Unit is the canonical unit for a number of the enumeration, and the power of
// ten that brings values there: 30 (Wh) is kWh, -3. Units that no power of ten
// brings anywhere stay under their own name; 255, for a count or a ratio, is "".
// known is false for a number that stands for nothing.
func Unit(enum byte) (u obis.Unit, shift int, known bool) {
	c := &units[enum]
	return c.unit, int(c.shift), c.known
}
