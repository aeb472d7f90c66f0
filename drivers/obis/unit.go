package obis

import "maps"

// Unit is a unit of measurement as it is published: kWh, m³, °C. "" is none.
type Unit string

// unitOf is where a spelling leads: the canonical unit, and the power of ten
// that brings a number there.
type unitOf struct {
	unit  Unit
	shift int8
}

// canonical lists every spelling on the wire that a power of ten brings to a
// canonical unit.
var canonical = map[string]unitOf{
	"Wh": {"kWh", -3}, "kWh": {"kWh", 0}, "MWh": {"kWh", 3}, "GWh": {"kWh", 6},
	"varh": {"kvarh", -3}, "kvarh": {"kvarh", 0}, "Mvarh": {"kvarh", 3},
	"VAh": {"kVAh", -3}, "kVAh": {"kVAh", 0},
	"mW": {"W", -3}, "W": {"W", 0}, "kW": {"W", 3}, "MW": {"W", 6},
	"var": {"var", 0}, "kvar": {"var", 3},
	"VA": {"VA", 0}, "kVA": {"VA", 3},
	"mV": {"V", -3}, "V": {"V", 0}, "kV": {"V", 3},
	"mA": {"A", -3}, "A": {"A", 0}, "kA": {"A", 3},
	"Hz": {"Hz", 0}, "kHz": {"Hz", 3},
	"J": {"MJ", -6}, "kJ": {"MJ", -3}, "MJ": {"MJ", 0},
	"GJ": {"GJ", 0},
	"ml": {"m³", -6}, "l": {"m³", -3}, "dm3": {"m³", -3}, "dm³": {"m³", -3}, "m3": {"m³", 0}, "m³": {"m³", 0},
	"l/h": {"m³/h", -3}, "dm3/h": {"m³/h", -3}, "m3/h": {"m³/h", 0}, "m3ph": {"m³/h", 0}, "m³/h": {"m³/h", 0},
	"C": {"°C", 0}, "degC": {"°C", 0}, "°C": {"°C", 0},
	"mK": {"K", -3}, "K": {"K", 0},
	"Pa": {"bar", -5}, "hPa": {"bar", -3}, "mbar": {"bar", -3}, "kPa": {"bar", -2}, "bar": {"bar", 0},
	"g": {"kg", -3}, "kg": {"kg", 0}, "t": {"kg", 3},
	"kg/h": {"kg/h", 0}, "t/h": {"kg/h", 3},
	"ms": {"s", -3}, "s": {"s", 0},
	"dBm": {"dBm", 0},
	"%":   {"%", 0},
}

// asSent are units that no power of ten brings to a canonical one.
var asSent = []Unit{
	"min", "h", "d", "month", "year", "m³/min", "m³/s", "m³/d", "J/h", "kJ/h", "MJ/h", "GJ/h",
	"°F", "ft³", "gal", "gal/min", "gal/h", "H.C.A.", "pulses",
}

// folded are the spellings that can be told without regard to case: those of two
// letters or more to which just one spelling fits, and w, v, a.
var folded = foldUnits()

func foldUnits() map[string]unitOf {
	all := maps.Clone(canonical)
	for _, u := range asSent {
		all[string(u)] = unitOf{u, 0}
	}
	folded := make(map[string]unitOf, len(all))
	ambiguous := map[string]bool{}
	for s, u := range all {
		f := foldCase(s)
		if _, twice := folded[f]; twice {
			ambiguous[f] = true
		}
		folded[f] = u
	}
	for f := range folded {
		oneLetter := len(f) == 1 && f != "w" && f != "v" && f != "a"
		if ambiguous[f] || oneLetter {
			delete(folded, f)
		}
	}
	return folded
}

func foldCase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// ParseUnit finds the unit that a spelling on the wire stands for and the power
// of ten that brings its numbers there: "kW" is W, 3. It matches exactly first,
// then without regard to case where that is unambiguous. A spelling that is not
// on the list gives false: the number stays as sent, under that spelling.
func ParseUnit[T ~string | ~[]byte](s T) (u Unit, shift int, known bool) {
	if v, ok := canonical[string(s)]; ok {
		return v.unit, int(v.shift), true
	}
	for _, v := range asSent {
		if string(v) == string(s) {
			return v, 0, true
		}
	}
	if len(s) > 8 {
		return "", 0, false
	}
	var scratch [8]byte
	f := scratch[:len(s)]
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		f[i] = c
	}
	if v, ok := folded[string(f)]; ok {
		return v.unit, int(v.shift), true
	}
	return "", 0, false
}
