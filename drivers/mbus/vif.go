package mbus

import "github.com/meter2mqtt/meter2mqtt/drivers/obis"

// form is how the data of a quantity is to be read, beside its data field.
type form uint8

const (
	number     form = iota
	flags           // a number whose binary form has no sign
	level           // a radio signal, dBm or 2 dB steps from -130 dBm
	identifier      // BCD digits are text: leading zeros count
	moment          // a date or a time, by length: type F, G, I or J
	opaque          // bytes of which only the owner knows what they are
	secret          // passwords and keys: never leave the decoder
)

// quantity is what a VIF says: the integer on the wire times 10^shift is in
// unit.
type quantity struct {
	name  string
	unit  obis.Unit
	shift int8
	form  form
}

// Names that are looked at beyond the tables.
const (
	nameDate         = "date"
	nameDateTime     = "date_time"
	nameEnergy       = "energy"
	namePower        = "power"
	nameManufacturer = "manufacturer_specific"
	nameUnknown      = "unknown"
	nameText         = "text_unit"
	nameAlarm        = "alarm"
)

// VIF codes that change how a record goes on.
const (
	vifText         = 0x7C
	vifManufacturer = 0x7F
	vifFB           = 0xFB
	vifFD           = 0xFD
)

// vifTable is one table of EN 13757-3, by the low seven bits of the code. An
// empty name is a reserved code.
type vifTable [128]quantity

// steps fills n codes from code on; each is ten times the one before.
func (t *vifTable) steps(code, n int, q quantity) {
	for i := range n {
		t[code+i] = q
		t[code+i].shift += int8(i)
	}
}

// times fills one code a unit, for the unit is told by the low bits.
func (t *vifTable) times(code int, name string, units ...obis.Unit) {
	for i, u := range units {
		t[code+i] = quantity{name: name, unit: u}
	}
}

// primary is the table of VIFs without an extension table: EN 13757-3:2018,
// table 10.
var primary = primaryTable()

func primaryTable() *vifTable {
	t := new(vifTable)
	t.steps(0x00, 8, quantity{nameEnergy, "kWh", -6, number}) // 10^(n-3) Wh
	t.steps(0x08, 8, quantity{nameEnergy, "MJ", -6, number})  // 10^n J
	t.steps(0x10, 8, quantity{"volume", "m³", -6, number})
	t.steps(0x18, 8, quantity{"mass", "kg", -3, number})
	t.times(0x20, "on_time", "s", "min", "h", "d")
	t.times(0x24, "operating_time", "s", "min", "h", "d")
	t.steps(0x28, 8, quantity{namePower, "W", -3, number})
	t.steps(0x30, 8, quantity{namePower, "J/h", 0, number})
	t.steps(0x38, 8, quantity{"volume_flow", "m³/h", -6, number})
	t.steps(0x40, 8, quantity{"volume_flow", "m³/min", -7, number})
	t.steps(0x48, 8, quantity{"volume_flow", "m³/s", -9, number})
	t.steps(0x50, 8, quantity{"mass_flow", "kg/h", -3, number})
	t.steps(0x58, 4, quantity{"flow_temperature", "°C", -3, number})
	t.steps(0x5C, 4, quantity{"return_temperature", "°C", -3, number})
	t.steps(0x60, 4, quantity{"temperature_difference", "K", -3, number})
	t.steps(0x64, 4, quantity{"external_temperature", "°C", -3, number})
	t.steps(0x68, 4, quantity{"pressure", "bar", -3, number})
	t[0x6C] = quantity{name: nameDate, form: moment}
	t[0x6D] = quantity{name: nameDateTime, form: moment}
	t[0x6E] = quantity{name: "hca_units"}
	t.times(0x70, "averaging_duration", "s", "min", "h", "d")
	t.times(0x74, "actuality_duration", "s", "min", "h", "d")
	t[0x78] = quantity{name: "fabrication_number", form: identifier}
	t[0x79] = quantity{name: "enhanced_identification", form: identifier}
	t[0x7A] = quantity{name: "bus_address"}
	t[0x7E] = quantity{name: "any"}
	return t
}

// tableFB holds the codes behind FB: EN 13757-3:2018, table 14.
var tableFB = firstExtension()

func firstExtension() *vifTable {
	t := new(vifTable)
	t.steps(0x00, 2, quantity{nameEnergy, "kWh", 2, number}) // 10^(n-1) MWh
	t.steps(0x02, 2, quantity{"reactive_energy", "kvarh", 0, number})
	t.steps(0x04, 2, quantity{"apparent_energy", "kVAh", 0, number})
	t.steps(0x08, 2, quantity{nameEnergy, "GJ", -1, number})
	t.steps(0x0C, 4, quantity{nameEnergy, "Mcal", -1, number})
	t.steps(0x10, 2, quantity{"volume", "m³", 2, number})
	t.steps(0x14, 4, quantity{"reactive_power", "var", 0, number}) // 10^(nn-3) kvar
	t.steps(0x18, 2, quantity{"mass", "kg", 5, number})            // 10^(n+2) t
	t.steps(0x1A, 2, quantity{"relative_humidity", "%", -1, number})
	t[0x20] = quantity{"volume", "ft³", 0, number}
	t[0x21] = quantity{"volume", "ft³", -1, number}
	t[0x22] = quantity{"volume", "gal", -1, number} // US
	t[0x23] = quantity{"volume", "gal", 0, number}
	t[0x24] = quantity{"volume_flow", "gal/min", -3, number}
	t[0x25] = quantity{"volume_flow", "gal/min", 0, number}
	t[0x26] = quantity{"volume_flow", "gal/h", 0, number}
	t.steps(0x28, 2, quantity{namePower, "W", 5, number}) // 10^(n-1) MW
	t[0x2A] = quantity{"phase_angle_uu", "°", -1, number}
	t[0x2B] = quantity{"phase_angle_ui", "°", -1, number}
	t.steps(0x2C, 4, quantity{"frequency", "Hz", -3, number})
	t.steps(0x30, 2, quantity{namePower, "GJ/h", -1, number})
	t.steps(0x34, 4, quantity{"apparent_power", "VA", 0, number}) // 10^(nn-3) kVA
	t.steps(0x58, 4, quantity{"flow_temperature", "°F", -3, number})
	t.steps(0x5C, 4, quantity{"return_temperature", "°F", -3, number})
	t.steps(0x60, 4, quantity{"temperature_difference", "°F", -3, number})
	t.steps(0x64, 4, quantity{"external_temperature", "°F", -3, number})
	t.steps(0x70, 4, quantity{"temperature_limit", "°F", -3, number})
	t.steps(0x74, 4, quantity{"temperature_limit", "°C", -3, number})
	t.steps(0x78, 8, quantity{"cumulative_max_power", "W", -3, number})
	return t
}

// tableFD holds the codes behind FD: EN 13757-3:2018, table 12.
var tableFD = secondExtension()

func secondExtension() *vifTable {
	t := new(vifTable)
	t.steps(0x00, 4, quantity{"credit", "", -3, number}) // in the local currency
	t.steps(0x04, 4, quantity{"debit", "", -3, number})
	for code, q := range map[byte]quantity{
		0x08: {name: "access_number"},
		0x09: {name: "medium"},
		0x0A: {name: "manufacturer", form: identifier},
		0x0B: {name: "parameter_set", form: identifier},
		0x0C: {name: "model_version", form: identifier},
		0x0D: {name: "hardware_version", form: identifier},
		0x0E: {name: "firmware_version", form: identifier},
		0x0F: {name: "software_version", form: identifier},
		0x10: {name: "customer_location", form: identifier},
		0x11: {name: "customer", form: identifier},
		0x12: {name: "access_code_user", form: secret},
		0x13: {name: "access_code_operator", form: secret},
		0x14: {name: "access_code_system_operator", form: secret},
		0x15: {name: "access_code_developer", form: secret},
		0x16: {name: "password", form: secret},
		0x17: {name: "error_flags", form: flags},
		0x18: {name: "error_mask", form: flags},
		0x19: {name: "security_key", form: secret},
		0x1A: {name: "digital_output", form: flags},
		0x1B: {name: "digital_input", form: flags},
		0x1C: {name: "baud_rate", unit: "Bd"},
		0x1D: {name: "response_delay", unit: "bit"},
		0x1E: {name: "retry"},
		0x1F: {name: "remote_control"},
		0x20: {name: "first_storage"},
		0x21: {name: "last_storage"},
		0x22: {name: "storage_block_size"},
		0x23: {name: "tariff_descriptor"},
		0x28: {name: "storage_interval", unit: "month"},
		0x29: {name: "storage_interval", unit: "year"},
		0x2A: {name: "operator_data"},
		0x2B: {name: "time_point_second"},
		0x30: {name: "tariff_start", form: moment},
		0x31: {name: "tariff_duration", unit: "min"},
		0x32: {name: "tariff_duration", unit: "h"},
		0x33: {name: "tariff_duration", unit: "d"},
		0x38: {name: "tariff_period", unit: "month"},
		0x39: {name: "tariff_period", unit: "year"},
		0x3A: {name: "dimensionless"},
		0x3B: {name: "wireless_container", form: opaque},
		0x60: {name: "reset_counter"},
		0x61: {name: "cumulation_counter"},
		0x62: {name: "control_signal"},
		0x63: {name: "day_of_week"},
		0x64: {name: "week_number"},
		0x65: {name: "day_change_time"},
		0x66: {name: "parameter_activation_state"},
		0x67: {name: "supplier_information"},
		0x68: {name: "duration_since_cumulation", unit: "h"},
		0x69: {name: "duration_since_cumulation", unit: "d"},
		0x6A: {name: "duration_since_cumulation", unit: "month"},
		0x6B: {name: "duration_since_cumulation", unit: "year"},
		0x6C: {name: "battery_operating_time", unit: "h"},
		0x6D: {name: "battery_operating_time", unit: "d"},
		0x6E: {name: "battery_operating_time", unit: "month"},
		0x6F: {name: "battery_operating_time", unit: "year"},
		0x70: {name: "battery_change", form: moment},
		0x71: {name: "rf_level", unit: "dBm", form: level},
		0x72: {name: "summer_time", form: opaque}, // type K
		0x73: {name: "listening_window"},
		0x74: {name: "battery_remaining", unit: "d"},
		0x75: {name: "stop_counter"},
		0x76: {name: "container", form: opaque},
	} {
		t[code] = q
	}
	t.times(0x24, "storage_interval", "s", "min", "h", "d")
	t.times(0x2C, "duration_since_readout", "s", "min", "h", "d")
	t.times(0x34, "tariff_period", "s", "min", "h", "d")
	t.times(0x3C, "transmission_period", "s", "min", "h", "d")
	t.steps(0x40, 16, quantity{"voltage", "V", -9, number})
	t.steps(0x50, 16, quantity{"current", "A", -12, number})
	return t
}
