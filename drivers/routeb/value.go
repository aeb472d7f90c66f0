package routeb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// The codes of what a meter gives.
var (
	codeImport      = obis.New(1, 0, 1, 8, 0)
	codeExport      = obis.New(1, 0, 2, 8, 0)
	codeHalfImport  = obis.New(1, 1, 1, 8, 0)
	codeHalfExport  = obis.New(1, 1, 2, 8, 0)
	codeMinImport   = obis.New(1, 2, 1, 8, 0)
	codeMinExport   = obis.New(1, 2, 2, 8, 0)
	codePower       = obis.New(1, 0, 16, 7, 0)
	codePowerIn     = obis.New(1, 0, 1, 7, 0)
	codePowerOut    = obis.New(1, 0, 2, 7, 0)
	codeR           = obis.New(1, 0, 31, 7, 0)
	codeT           = obis.New(1, 0, 71, 7, 0)
	codeCoefficient = obis.New(1, 0, 0, 4, 4)
	codeClock       = obis.New(0, 0, 1, 0, 0)
	codeSerial      = obis.New(0, 0, 96, 1, 0)
	codeRouteB      = obis.New(0, 0, 96, 1, 1)
	codeMaker       = obis.New(0, 0, 96, 1, 2)
	codeVersion     = obis.New(0, 0, 96, 1, 3)
	codeLocation    = obis.New(0, 0, 96, 1, 4)
	codeOperation   = obis.New(0, 0, 96, 5, 0)
	codeFault       = obis.New(0, 0, 97, 97, 0)
	codeRSSI        = obis.New(0, 0, 96, 12, 5)
)

// prototype is a value of a code without its content.
func prototype(c obis.Code, kind drivers.Kind, unit obis.Unit) drivers.Value {
	return drivers.Value{Code: c, Name: obis.Lookup(c).Name, Kind: kind, Unit: unit}
}

var (
	anImport      = prototype(codeImport, drivers.Number, "kWh")
	anExport      = prototype(codeExport, drivers.Number, "kWh")
	aHalfImport   = prototype(codeHalfImport, drivers.Number, "kWh")
	aHalfExport   = prototype(codeHalfExport, drivers.Number, "kWh")
	aMinuteImport = prototype(codeMinImport, drivers.Number, "kWh")
	aMinuteExport = prototype(codeMinExport, drivers.Number, "kWh")
	aPower        = prototype(codePower, drivers.Number, "W")
	aPowerIn      = prototype(codePowerIn, drivers.Number, "W")
	aPowerOut     = prototype(codePowerOut, drivers.Number, "W")
	aCurrentR     = prototype(codeR, drivers.Number, "A")
	aCurrentT     = prototype(codeT, drivers.Number, "A")
	aCoefficient  = prototype(codeCoefficient, drivers.Number, "")
	aClock        = prototype(codeClock, drivers.Moment, "")
	anOperation   = prototype(codeOperation, drivers.Bool, "")
	aFault        = prototype(codeFault, drivers.Bool, "")
	anRSSI        = prototype(codeRSSI, drivers.Number, "dBm")
)

// texts are the properties that are told as text: how they read, and what they are
// told as.
var texts = map[byte]struct {
	prototype drivers.Value
	read      func([]byte) (string, bool)
}{
	epcLocation:       {prototype(codeLocation, drivers.Text, ""), parseLocation},
	epcVersion:        {prototype(codeVersion, drivers.Text, ""), parseVersion},
	epcMaker:          {prototype(codeMaker, drivers.Text, ""), hexOf(3)},
	epcSerial:         {prototype(codeSerial, drivers.Text, ""), parseASCII(12)},
	epcRouteB:         {prototype(codeRouteB, drivers.Text, ""), hexOf(16)},
	epcIdentification: {named("identification_number"), hexOf(9, 17)},
	epcFaultCode:      {named("fault_code"), parseFaultCode},
	epcFaultText:      {named("fault_description"), hexOf(2)},
	epcFactory:        {named("factory_code"), hexOf(3)},
	epcProduct:        {named("product_code"), parseASCII(12)},
	epcProduced:       {named("production_date"), parseDate},
}

func named(name string) drivers.Value { return drivers.Value{Name: name, Kind: drivers.Text} }

// hexOf reads data of one of the sizes as hexadecimal digits.
func hexOf(sizes ...int) func([]byte) (string, bool) {
	return func(b []byte) (string, bool) {
		if !slices.Contains(sizes, len(b)) {
			return "", false
		}
		return fmt.Sprintf("%X", b), true
	}
}

// parseASCII reads a text of a fixed size. What is none is told as hexadecimal
// digits.
func parseASCII(size int) func([]byte) (string, bool) {
	return func(b []byte) (string, bool) {
		if len(b) != size {
			return "", false
		}
		text := strings.Trim(string(b), "\x00 ")
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Sprintf("%X", b), true
		}
		return text, true
	}
}

// parseVersion reads EPC 82: two characters that are usually zero, the release of
// the appendix, its revision.
func parseVersion(b []byte) (string, bool) {
	if len(b) != 4 {
		return "", false
	}
	for _, c := range b[:3] {
		if c != 0 && (c < ' ' || c > '~') {
			return fmt.Sprintf("%X", b), true
		}
	}
	return fmt.Sprintf("%s.%d", strings.Trim(string(b[:3]), "\x00"), b[3]), true
}

// parseFaultCode reads EPC 86: size, maker (3), code.
func parseFaultCode(b []byte) (string, bool) {
	if len(b) < 4 || len(b) > 225 {
		return "", false
	}
	return fmt.Sprintf("%X", b[1:]), true
}

// parseDate reads year (2), month, day.
func parseDate(b []byte) (string, bool) {
	if len(b) != 4 {
		return "", false
	}
	return fmt.Sprintf("%04d-%02d-%02d", binary.BigEndian.Uint16(b), b[2], b[3]), true
}

// values collects what properties say. It remembers the texts it made, so that a
// steady stream costs no allocation.
type values struct {
	list  []drivers.Value
	scale Scale
	kept  map[byte]keptText
	date  []byte // EPC 98 and 97 of the frame at hand
	clock []byte
}

type keptText struct {
	raw  []byte
	text string
	ok   bool
}

func (v *values) next(p *drivers.Value) *drivers.Value {
	v.list = append(v.list, *p)
	return &v.list[len(v.list)-1]
}

// drop takes back the last value: there is no data for it.
func (v *values) drop() { v.list = v.list[:len(v.list)-1] }

// add adds what a property of the meter says: no value, one or several. false: its
// data does not fit it. Data of no bytes is a refusal.
func (v *values) add(p Property) (fits bool) {
	b := p.EDT
	if len(b) == 0 {
		return true
	}
	switch p.EPC {
	case epcImport:
		return v.total(&anImport, b)
	case epcExport:
		return v.total(&anExport, b)
	case epcPower:
		return v.power(b)
	case epcCurrent:
		return v.currents(b)
	case epcHalfImport:
		return v.latch(&aHalfImport, b)
	case epcHalfExport:
		return v.latch(&aHalfExport, b)
	case epcMinute:
		return v.minute(b)
	case epcOperation:
		return v.flag(&anOperation, b, 0x30, 0x31)
	case epcFault:
		return v.flag(&aFault, b, 0x41, 0x42)
	case epcCoefficient:
		return v.coefficient(b)
	case epcUnit:
		_, fits = parseUnit(b)
		return fits
	case epcDigits:
		return len(b) == 1
	case epcTime:
		v.clock = b
		return len(b) == 2 && b[0] < 24 && b[1] < 60
	case epcDate:
		v.date = b
		return len(b) == 4 && !stampOf([]byte{b[0], b[1], b[2], b[3], 0, 0}).IsZero()
	}
	return v.text(p)
}

func (v *values) total(p *drivers.Value, b []byte) bool {
	if len(b) != 4 {
		return false
	}
	if !v.scale.energy(v.next(p), countOf(b)) {
		v.drop()
	}
	return true
}

func (v *values) latch(p *drivers.Value, b []byte) bool {
	l, ok := parseLatch(b)
	if ok {
		v.dated(p, l.Count, l.At)
	}
	return ok
}

// dated adds an energy of a moment. Without the moment it says nothing.
func (v *values) dated(p *drivers.Value, c Count, at drivers.Stamp) {
	if at.IsZero() {
		return
	}
	n := v.next(p)
	if n.Time = at; !v.scale.energy(n, c) {
		v.drop()
	}
}

func (v *values) minute(b []byte) bool {
	row, ok := parseMinute(b)
	if ok {
		v.dated(&aMinuteImport, row.Import, row.At)
		v.dated(&aMinuteExport, row.Export, row.At)
	}
	return ok
}

// power adds the sum and its two directions.
func (v *values) power(b []byte) bool {
	if len(b) != 4 {
		return false
	}
	w, ok := signed(b)
	if !ok {
		return true
	}
	_ = v.next(&aPower).SetScaled(w, 0)
	_ = v.next(&aPowerIn).SetScaled(max(w, 0), 0)
	_ = v.next(&aPowerOut).SetScaled(max(-w, 0), 0)
	return true
}

func (v *values) currents(b []byte) bool {
	if len(b) != 4 {
		return false
	}
	if a, ok := signed(b[:2]); ok {
		_ = v.next(&aCurrentR).SetScaled(a, -1)
	}
	if a, ok := signed(b[2:]); ok {
		_ = v.next(&aCurrentT).SetScaled(a, -1)
	}
	return true
}

// flag adds on or off; any other code says nothing.
func (v *values) flag(p *drivers.Value, b []byte, on, off byte) bool {
	if len(b) != 1 {
		return false
	}
	if b[0] == on {
		_ = v.next(p).SetScaled(1, 0)
	}
	if b[0] == off {
		_ = v.next(p).SetScaled(0, 0)
	}
	return true
}

func (v *values) coefficient(b []byte) bool {
	n, ok := parseCoefficient(b)
	if ok {
		_ = v.next(&aCoefficient).SetScaled(n, 0)
	}
	return ok
}

// text adds a property that is told as text. One that nobody knows says nothing.
func (v *values) text(p Property) bool {
	t, known := texts[p.EPC]
	if !known {
		return true
	}
	k, seen := v.kept[p.EPC]
	if !seen || !bytes.Equal(k.raw, p.EDT) {
		k.text, k.ok = t.read(p.EDT)
		k.raw = append([]byte(nil), p.EDT...)
		if v.kept == nil {
			v.kept = map[byte]keptText{}
		}
		v.kept[p.EPC] = k
	}
	if k.ok && k.text != "" {
		v.next(&t.prototype).Text = k.text
	}
	return k.ok
}

// stamp is the meter's clock, if the frame had date and time of it.
func (v *values) stamp() drivers.Stamp {
	if len(v.date) != 4 || len(v.clock) != 2 {
		return drivers.Stamp{}
	}
	return stampOf([]byte{v.date[0], v.date[1], v.date[2], v.date[3], v.clock[0], v.clock[1]})
}

// strength adds how strong the meter is heard.
func (v *values) strength(rssi int32) {
	if rssi != 0 {
		_ = v.next(&anRSSI).SetScaled(int64(rssi), -3)
	}
}
