package mbus

import (
	"encoding/hex"

	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// effect is what a combinable VIFE does to a record beside its name.
type effect uint8

const (
	modifies effect = iota // another quantity, told by the suffix: never on the plain OBIS code
	scales                 // the same quantity, times 10^shift
	voids                  // the meter says that there is no value
	doubts                 // the meter says that the value is not right
	counts                 // how often something happened: no unit
	lasts                  // how long it went on
	dates                  // when it happened: data is a date
	profiles               // data is a compact profile, clause 8.4.6 and annex F
	unsigns                // binary data has no sign
)

// combinable is one code of EN 13757-3:2018, table 15.
type combinable struct {
	suffix string
	effect effect
	shift  int8
	unit   obis.Unit
}

// combinables is the table, by the low seven bits. An empty suffix of an effect
// that modifies is a reserved code.
var combinables = combinableTable()

func combinableTable() *[128]combinable {
	t := [128]combinable{
		0x00: {effect: scales}, // no error
		0x12: {suffix: "_average"},
		0x13: {suffix: "_profile", effect: profiles}, // inverse
		0x14: {suffix: "_deviation"},
		0x15: {effect: voids}, // no data
		0x16: {effect: voids}, // overflow
		0x17: {effect: voids}, // underflow
		0x18: {suffix: "_data_error", effect: doubts},
		0x1D: {effect: scales}, // the content is as the standard says
		0x1E: {suffix: "_profile", effect: profiles},
		0x1F: {suffix: "_profile", effect: profiles},
		0x20: {suffix: "_per_second"},
		0x21: {suffix: "_per_minute"},
		0x22: {suffix: "_per_hour"},
		0x23: {suffix: "_per_day"},
		0x24: {suffix: "_per_week"},
		0x25: {suffix: "_per_month"},
		0x26: {suffix: "_per_year"},
		0x27: {suffix: "_per_revolution"},
		0x28: {suffix: "_per_input_pulse_0"},
		0x29: {suffix: "_per_input_pulse_1"},
		0x2A: {suffix: "_per_output_pulse_0"},
		0x2B: {suffix: "_per_output_pulse_1"},
		0x2C: {suffix: "_per_litre"},
		0x2D: {suffix: "_per_cubic_metre"},
		0x2E: {suffix: "_per_kilogram"},
		0x2F: {suffix: "_per_kelvin"},
		0x30: {suffix: "_per_kilowatt_hour"},
		0x31: {suffix: "_per_gigajoule"},
		0x32: {suffix: "_per_kilowatt"},
		0x33: {suffix: "_per_kelvin_litre"},
		0x34: {suffix: "_per_volt"},
		0x35: {suffix: "_per_ampere"},
		0x36: {suffix: "_times_second"},
		0x37: {suffix: "_times_second_per_volt"},
		0x38: {suffix: "_times_second_per_ampere"},
		0x39: {suffix: "_start", effect: dates},
		0x3A: {suffix: "_uncorrected"},
		0x3B: {suffix: "_forward"},
		0x3C: {suffix: "_backward"},
		0x3E: {suffix: "_base_conditions"},
		0x3F: {suffix: "_obis_declaration"},
		0x40: {suffix: "_lower_limit"},
		0x41: {suffix: "_below_lower_limit_count", effect: counts},
		0x48: {suffix: "_upper_limit"},
		0x49: {suffix: "_above_upper_limit_count", effect: counts},
		0x68: {suffix: "_below_lower_limit"},
		0x69: {suffix: "_leakage"},
		0x6C: {suffix: "_above_upper_limit"},
		0x6D: {suffix: "_overflow"},
		0x7D: {effect: scales, shift: 3},
		0x7E: {suffix: "_future"},
	}
	limits := [...]string{"_below_lower_limit", "_above_upper_limit"} // bit 3
	which := [...]string{"_first", "_last"}                           // bit 2
	edges := [...]string{"_begin", "_end"}                            // bit 0
	units := [...]obis.Unit{"s", "min", "h", "d"}                     // bits 0, 1
	for i, w := range which {
		for k, edge := range edges {
			t[0x42|i<<2|k] = combinable{suffix: limits[0] + w + edge, effect: dates}
			t[0x4A|i<<2|k] = combinable{suffix: limits[1] + w + edge, effect: dates}
			t[0x6A|i<<2|k] = combinable{suffix: w + edge, effect: dates}
		}
		for k, unit := range units {
			t[0x50|i<<2|k] = combinable{suffix: limits[0] + w + "_duration", effect: lasts, unit: unit}
			t[0x58|i<<2|k] = combinable{suffix: limits[1] + w + "_duration", effect: lasts, unit: unit}
			t[0x60|i<<2|k] = combinable{suffix: w + "_duration", effect: lasts, unit: unit}
		}
	}
	for n := range 8 {
		t[0x70+n] = combinable{effect: scales, shift: int8(n - 6)}
	}
	// An additive constant, 10^(n-3) in the unit of the VIF: decoders differ on
	// whether the meter has added it, so the value keeps a name of its own.
	for n, unit := range [...]string{"milli", "hundredth", "tenth", "one"} {
		t[0x78+n] = combinable{suffix: "_offset_" + unit}
	}
	return &t
}

// secondTable holds the codes behind VIFE FC, EN 13757-3:2018, table 16.
var secondTable = [128]combinable{
	0x01: {suffix: "_l1"},
	0x02: {suffix: "_l2"},
	0x03: {suffix: "_l3"},
	0x04: {suffix: "_neutral"},
	0x05: {suffix: "_l1_l2"},
	0x06: {suffix: "_l2_l3"},
	0x07: {suffix: "_l3_l1"},
	0x08: {suffix: "_quadrant_1"},
	0x09: {suffix: "_quadrant_2"},
	0x0A: {suffix: "_quadrant_3"},
	0x0B: {suffix: "_quadrant_4"},
	0x0C: {suffix: "_net"}, // import minus export
	0x10: {suffix: "_absolute"},
	0x11: {effect: unsigns},
	0x12: {suffix: "_type_d"},
}

// VIFE codes that say how the chain goes on.
const (
	vifeSecond       = 0x7C // the next byte is of secondTable
	vifeManufacturer = 0x7F // the rest is the manufacturer's
	vifeFuture       = 0x7E
)

// meaning is what a whole VIB says.
type meaning struct {
	quantity
	suffix   string // what the VIFE add to its name
	vife     uint16 // 0: the plain quantity; 0x3B or 0x7C01: that one VIFE; several: severalVIFE
	shift    int    // quantity's and all factors
	void     bool   // the meter says that there is no value
	doubtful bool   // the meter says that the value is not right
	unsigned bool
}

// severalVIFE are VIFE whose sum no table row tells.
const severalVIFE = 0xFFFF

// read tells what a VIB means. The caller has seen that it is complete.
func (m *meaning) read(vib []byte) {
	vif, rest := vib[0], vib[1:]
	switch {
	case vif == vifFB:
		m.quantity, rest = tableFB[rest[0]&0x7F], rest[1:]
	case vif == vifFD:
		m.quantity, rest = tableFD[rest[0]&0x7F], rest[1:]
	case vif&0x7F == vifText:
		n := int(rest[0])
		m.quantity, rest = textUnit(rest[1:1+n]), rest[1+n:]
	case vif&0x7F == vifManufacturer:
		m.quantity = quantity{name: nameManufacturer + owner(rest), form: identifier}
		m.vife = severalVIFE
		return
	default:
		m.quantity = primary[vif&0x7F]
	}
	m.shift = int(m.quantity.shift)
	if m.name == "" {
		// A name of its own for each, or their keys would depend on their order.
		m.name = nameUnknown + "_" + hex.EncodeToString(vib)
		m.vife = severalVIFE
		return
	}
	m.combine(rest)
}

// combine adds the VIFE, in the order sent.
func (m *meaning) combine(vife []byte) {
	for i := 0; i < len(vife); i++ {
		code := uint16(vife[i] & 0x7F)
		c := combinables[code]
		switch {
		case code == vifeManufacturer:
			m.modify(combinable{suffix: "_manufacturer" + owner(vife[i+1:])}, severalVIFE)
			return
		case code == vifeSecond && i+1 < len(vife):
			i++
			c = secondTable[vife[i]&0x7F]
			code = code<<8 | uint16(vife[i]&0x7F)
		}
		m.modify(c, code)
	}
}

func (m *meaning) modify(c combinable, code uint16) {
	switch c.effect {
	case scales:
		m.shift += int(c.shift)
		return
	case unsigns:
		m.unsigned = true
		return
	case voids:
		m.void = true
	case doubts:
		m.doubtful = true
	case counts:
		m.form, m.unit, m.shift = number, "", 0
	case lasts:
		m.form, m.unit, m.shift = number, c.unit, 0
	case dates:
		if m.form != secret {
			m.form, m.unit = moment, ""
		}
	case profiles:
		if m.form != secret {
			m.form, m.unit = opaque, ""
		}
	default: // modifies: the suffix tells
	}
	if c.suffix == "" {
		c.suffix = "_vife_" + hex.EncodeToString([]byte{byte(code)})
	}
	m.suffix += c.suffix
	if m.vife != 0 {
		code = severalVIFE
	}
	m.vife = code
}

// owner names the codes of a manufacturer, so that their keys are told apart.
func owner(vife []byte) string {
	if len(vife) == 0 {
		return ""
	}
	b := make([]byte, 0, 12)
	for _, v := range vife {
		b = append(b, v&0x7F)
	}
	return "_" + hex.EncodeToString(b)
}

// textUnit is a unit in plain text, last character first. One that our list
// knows becomes canonical, but a single letter is nobody's unit for sure: an
// electricity meter counts "C" (corpus mbus-edc).
func textUnit(reversed []byte) quantity {
	text := string(appendLatin1(nil, reversed))
	unit, shift, known := obis.ParseUnit(text)
	if !known || len(text) < 2 {
		unit, shift = obis.Unit(text), 0
	}
	return quantity{name: nameText + slug(text), unit: unit, shift: int8(shift)}
}

// slug makes a text fit for a name: "cust. ID" becomes _cust_id.
func slug(text string) string {
	b := make([]byte, 0, len(text)+1)
	apart := true
	for i := range len(text) {
		c := text[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' {
			if apart {
				b = append(b, '_')
			}
			b = append(b, c)
		}
		apart = c < '0' || c > '9' && c < 'a' || c > 'z'
	}
	return string(b)
}
