package mbus

import (
	"slices"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Records and OBIS codes, after EN 13757-1 and the list of the OMS group. A
// record that no row fits has no code: its name and its coordinates say what it
// is. Only plain quantities have one: a limit, an average, what will be, or what
// a manufacturer means, never lands on the code of the quantity itself.

// Value groups A.
const (
	electricityA = 1
	allocatorA   = 4
	coolingA     = 5
	heatA        = 6
	gasA         = 7
	coldWaterA   = 8
	warmWaterA   = 9
)

// mediumA is value group A of a medium of EN 13757-3, table 13; a medium that is
// not in it has no codes but those of all media.
var mediumA = map[byte]byte{
	0x02: electricityA,
	0x03: gasA,
	0x04: heatA,
	0x05: heatA, // steam
	0x06: warmWaterA,
	0x07: coldWaterA,
	0x08: allocatorA,
	0x0A: coolingA,
	0x0B: coolingA,
	0x0C: heatA,
	0x0D: heatA, // heat and cooling: nothing but the meter's manual tells its cooling registers
	0x10: coldWaterA,
	0x15: warmWaterA,
	0x16: coldWaterA,
	0x17: coldWaterA,
	0x28: coldWaterA,
}

// row gives a quantity of some media its value groups C and D. With heat, water
// and allocators D tells the use instead, see useOf.
type row struct {
	media    []byte // value groups A
	quantity string
	unit     obis.Unit // the canonical unit that the code stands for; "": any
	vife     uint16    // the one VIFE that must be there, 0: none
	c, d     byte
}

var (
	electricity = []byte{electricityA}
	allocator   = []byte{allocatorA}
	heats       = []byte{heatA, coolingA}
	gas         = []byte{gasA}
	waters      = []byte{coldWaterA, warmWaterA}
)

var rows = []row{
	{heats, "energy", "", 0, 1, 0},
	{heats, "volume", "m³", 0, 2, 0},
	{heats, "mass", "kg", 0, 3, 0},
	{heats, "power", "W", 0, 8, 0},
	{heats, "volume_flow", "m³/h", 0, 9, 0},
	{heats, "flow_temperature", "°C", 0, 10, 0},
	{heats, "return_temperature", "°C", 0, 11, 0},
	{heats, "temperature_difference", "K", 0, 12, 0},
	{heats, "pressure", "bar", 0, 13, 0},
	{waters, "volume", "m³", 0, 1, 0},
	{waters, "volume_flow", "m³/h", 0, 2, 0},
	{waters, "flow_temperature", "°C", 0, 3, 0},
	{allocator, "hca_units", "", 0, 1, 0},
	{allocator, "flow_temperature", "°C", 0, 4, 0},
	{allocator, "return_temperature", "°C", 0, 5, 0},
	{allocator, "external_temperature", "°C", 0, 6, 0},
	{gas, "volume", "m³", 0, 3, 0},
	{gas, "volume", "m³", 0x3A, 3, 0},
	{gas, "volume", "m³", 0x3E, 3, 2},
	{gas, "volume_flow", "m³/h", 0, 43, 0},
	{gas, "flow_temperature", "°C", 0, 41, 0},
	{gas, "external_temperature", "°C", 0, 41, 0},
	{gas, "pressure", "bar", 0, 42, 0},
	{electricity, "energy", "kWh", 0, 1, 8},
	{electricity, "energy", "kWh", 0x3B, 1, 8},
	{electricity, "energy", "kWh", 0x3C, 2, 8},
	{electricity, "power", "W", 0, 1, 7},
	{electricity, "power", "W", 0x3C, 2, 7},
	{electricity, "power", "W", 0x7C01, 36, 7},
	{electricity, "power", "W", 0x7C02, 56, 7},
	{electricity, "power", "W", 0x7C03, 76, 7},
	{electricity, "reactive_energy", "kvarh", 0, 3, 8},
	{electricity, "reactive_energy", "kvarh", 0x3C, 4, 8},
	{electricity, "reactive_power", "var", 0, 3, 7},
	{electricity, "apparent_energy", "kVAh", 0, 9, 8},
	{electricity, "apparent_power", "VA", 0, 9, 7},
	{electricity, "frequency", "Hz", 0, 14, 7},
	{electricity, "voltage", "V", 0, 12, 7},
	{electricity, "voltage", "V", 0x7C01, 32, 7},
	{electricity, "voltage", "V", 0x7C02, 52, 7},
	{electricity, "voltage", "V", 0x7C03, 72, 7},
	{electricity, "current", "A", 0, 11, 7},
	{electricity, "current", "A", 0x7C01, 31, 7},
	{electricity, "current", "A", 0x7C02, 51, 7},
	{electricity, "current", "A", 0x7C03, 71, 7},
	{electricity, "current", "A", 0x7C04, 91, 7},
}

// general are codes that all media share, for the present value of the meter
// itself.
var general = map[string]obis.Code{
	nameDateTime:         obis.New(0, 0, 1, 0, 0),
	"fabrication_number": obis.New(0, 0, 96, 1, 0),
	"error_flags":        obis.New(0, 0, 97, 97, 0),
	"firmware_version":   obis.New(0, 0, 0, 2, 0),
	"operating_time":     obis.New(0, 0, 96, 8, 0),
	"battery_remaining":  obis.New(0, 0, 96, 6, 6),
}

// netPower is the sum of import and export: what an electricity meter's power is
// that can be negative.
var (
	importPower = obis.New(electricityA, 0, 1, 7, 0)
	netPower    = obis.New(electricityA, 0, 16, 7, 0)

	netPowerName = obis.Lookup(netPower).Name
)

// codeOf is the code of a record of a meter of group a (0: none), or zero.
func codeOf(a byte, m *meaning, of drivers.Record) obis.Code {
	if m.vife == 0 && of == (drivers.Record{}) {
		if c, ok := general[m.name]; ok {
			return c
		}
	}
	if of.Function == drivers.DuringError || of.Storage > 254 || of.Tariff > 254 || of.Subunit > 254 {
		return obis.Code{}
	}
	for i := range rows {
		r := &rows[i]
		if r.vife == m.vife && r.quantity == m.name && r.takes(m.unit) && slices.Contains(r.media, a) {
			return r.code(a, of)
		}
	}
	return obis.Code{}
}

// takes says whether the row's code stands for numbers in the unit.
func (r *row) takes(u obis.Unit) bool {
	if r.quantity == nameEnergy && r.unit == "" {
		return u == "kWh" || u == "MJ" || u == "GJ"
	}
	return r.unit == u
}

// code puts medium, subunit, use, tariff and storage together.
func (r *row) code(a byte, of drivers.Record) obis.Code {
	c := obis.Code{a, byte(of.Subunit), r.c, r.d, byte(of.Tariff), obis.Now}
	if of.Storage > 0 {
		c[5] = byte(of.Storage)
	}
	switch a {
	case electricityA:
		return r.electricity(c, of.Function)
	case gasA: // D tells the conditions
		if of.Function != drivers.Instantaneous {
			return obis.Code{}
		}
		return c
	}
	return useOf(c, of)
}

// electricity has codes for the extremes of power alone.
func (r *row) electricity(c obis.Code, f drivers.Function) obis.Code {
	switch {
	case f == drivers.Instantaneous:
		return c
	case r.quantity != namePower:
		return obis.Code{}
	case f == drivers.Maximum:
		c[3] = 6
	default:
		c[3] = 3
	}
	return c
}

// useOf sets D of heat, water and allocators: 0 now, 2 due date, 4 minimum, 5
// maximum. Storage 1 is the due date itself, later ones are told by F.
func useOf(c obis.Code, of drivers.Record) obis.Code {
	switch {
	case of.Function == drivers.Minimum:
		c[3] = 4
	case of.Function == drivers.Maximum:
		c[3] = 5
	case of.Storage > 0:
		c[3] = 2
		if of.Storage == 1 {
			c[5] = obis.Now
		}
	}
	return c
}
