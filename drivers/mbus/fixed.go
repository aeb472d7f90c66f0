package mbus

import (
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// The fixed data structure, CI 73 and 77: EN 1434-3:1997 and EN 13757-3:2004,
// annex G.
//
//	ID 4 | access number | status | unit and medium 2 | counter 1 4 | counter 2 4
//
//	status  0 binary counters (else BCD) | 1 stored at a fixed date | 2 power low
//	        3 permanent error | 4 temporary error | 5..7 the manufacturer's
//	byte 7  7,6 medium bits 1,0 | 5..0 unit of counter 1
//	byte 8  7,6 medium bits 3,2 | 5..0 unit of counter 2
const (
	fixedBinary = 0x01
	fixedStored = 0x02
	fixedAsSame = 0x3E // counter 2 has the unit of counter 1 and is its stored value
)

// fixedMedia are the media of the fixed structure, in those of the variable one.
var fixedMedia = [16]byte{
	0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0F,
	0x03, 0x04, 0x06, 0x07, 0x08, 0x0F, // the same in mode 2
}

// fixedUnits are the units of the counters: three codes each, in steps of ten.
var fixedUnits = fixedTable()

func fixedTable() *[64]quantity {
	t := new([64]quantity)
	for i, q := range [...]quantity{
		{nameEnergy, "kWh", -3, number}, // 02: Wh
		{nameEnergy, "kWh", 0, number},
		{nameEnergy, "kWh", 3, number},
		{nameEnergy, "MJ", -3, number},
		{nameEnergy, "MJ", 0, number},
		{nameEnergy, "GJ", 0, number},
		{namePower, "W", 0, number},
		{namePower, "W", 3, number},
		{namePower, "W", 6, number},
		{namePower, "kJ/h", 0, number},
		{namePower, "MJ/h", 0, number},
		{namePower, "GJ/h", 0, number},
		{"volume", "m³", -6, number},
		{"volume", "m³", -3, number},
		{"volume", "m³", 0, number},
		{"volume_flow", "m³/h", -6, number},
		{"volume_flow", "m³/h", -3, number},
		{"volume_flow", "m³/h", 0, number}, // 35
	} {
		for step := range 3 {
			t[0x02+3*i+step] = q
			t[0x02+3*i+step].shift += int8(step)
		}
	}
	t[0x38] = quantity{"temperature", "°C", -3, number}
	t[0x39] = quantity{name: "hca_units"}
	return t
}

// stored are the coordinates of a counter that was kept on the due date.
var stored = drivers.Record{Storage: 1}

// fixed reads the 16 bytes of b into r.
func (a *application) fixed(r *drivers.Reading, driver string, b []byte) {
	r.Meter = a.identifyFixed(driver, b, a.msbFirst)
	medium := fixedMedia[b[6]>>6|b[7]>>6<<2]
	first, second := b[6]&0x3F, b[7]&0x3F
	at := &present
	if b[5]&fixedStored != 0 {
		at = &stored
	}
	a.counter(r, medium, first, b[8:12], b[5], at)
	if second == fixedAsSame {
		second, at = first, &stored
	}
	a.counter(r, medium, second, b[12:16], b[5], at)
	a.status(r, &header{sized: true, status: b[5]})
}

// identifyFixed names a meter that tells no manufacturer and no version.
func (a *application) identifyFixed(driver string, b []byte, msbFirst bool) drivers.Identity {
	id := [8]byte{b[0], b[1], b[2], b[3], 0xFF, 0xFF, 0xFF, fixedMedia[b[6]>>6|b[7]>>6<<2]}
	if msbFirst {
		id[0], id[1], id[2], id[3] = b[3], b[2], b[1], b[0]
	}
	who := a.identify(driver, id)
	who.Manufacturer, who.Version = "", ""
	return who
}

// counter appends one of the two counters. Units without a quantity (dates,
// reserved codes, none) give no value.
func (a *application) counter(r *drivers.Reading, medium, unit byte, data []byte, status byte, at *drivers.Record) {
	q := fixedUnits[unit]
	if q.name == "" {
		return
	}
	p := plan{form: q.form, shift: int(q.shift), field: 0xC}
	if status&fixedBinary != 0 {
		p.field = 0x4
	}
	m := meaning{quantity: q}
	v := grow(r)
	*v = drivers.Value{Name: q.name, Unit: q.unit, Record: at, Code: codeOf(mediumA[medium], &m, *at)}
	nameByCode(v)
	if !a.fill(v, &p, data, 0) {
		r.Values = r.Values[:len(r.Values)-1]
	}
}
