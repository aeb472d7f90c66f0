package obis

// The media that a meter can have, as Identity.Medium tells them. MediumName has
// the rest.
const (
	MediumElectricity     = "electricity"
	MediumGas             = "gas"
	MediumHeat            = "heat"
	MediumCooling         = "cooling"
	MediumHeatCooling     = "heat_cooling"
	MediumWater           = "water"
	MediumWarmWater       = "warm_water" // 30 to 90 °C
	MediumHotWater        = "hot_water"  // 90 °C and more
	MediumColdWater       = "cold_water"
	MediumDualWater       = "dual_water" // warm and cold
	MediumIrrigationWater = "irrigation_water"
	MediumWasteWater      = "waste_water"
	MediumHeatCost        = "hca" // heat-cost allocator
	MediumGasConverter    = "gas_converter"
	MediumSteam           = "steam"
	MediumUnknown         = "unknown"
)

// mediumNames follow the device types of EN 13757-3, which P1 meters use in
// 0-n:24.1.0 too.
var mediumNames = map[byte]string{
	0x00: "other",
	0x01: "oil",
	0x02: MediumElectricity,
	0x03: MediumGas,
	0x04: MediumHeat, // flow measured at the outlet
	0x05: MediumSteam,
	0x06: MediumWarmWater,
	0x07: MediumWater,
	0x08: MediumHeatCost,
	0x09: "compressed_air",
	0x0A: MediumCooling, // flow measured at the outlet
	0x0B: MediumCooling, // at the inlet
	0x0C: MediumHeat,    // at the inlet
	0x0D: MediumHeatCooling,
	0x0E: "bus",
	0x0F: MediumUnknown,
	0x10: MediumIrrigationWater,
	0x11: "water_logger",
	0x12: "gas_logger",
	0x13: MediumGasConverter,
	0x14: "calorific_value",
	0x15: MediumHotWater,
	0x16: MediumColdWater,
	0x17: MediumDualWater,
	0x18: "pressure",
	0x19: "ad_converter",
	0x1A: "smoke_detector",
	0x1B: "room_sensor",
	0x1C: "gas_detector",
	0x20: "breaker",
	0x21: "valve",
	0x25: "customer_unit",
	0x28: MediumWasteWater,
	0x29: "garbage",
	0x2A: "carbon_dioxide",
	0x30: "service_tool",
	0x31: "gateway",
	0x32: "repeater", // one way
	0x33: "repeater", // two ways
	0x36: "radio_converter",
	0x37: "radio_converter",
}

// MediumName is the medium of a device type of EN 13757-3, "" if it is reserved.
func MediumName(b byte) string { return mediumNames[b] }

// mediumLabels are what people call what a meter of the medium counts.
var mediumLabels = map[string]string{
	MediumElectricity:     "Electricity",
	MediumGas:             "Gas",
	MediumGasConverter:    "Gas",
	"gas_logger":          "Gas",
	MediumHeat:            "Heat",
	MediumCooling:         "Cooling",
	MediumHeatCooling:     "Heat and cooling",
	MediumWater:           "Water",
	"water_logger":        "Water",
	MediumWarmWater:       "Warm water",
	MediumHotWater:        "Hot water",
	MediumColdWater:       "Cold water",
	MediumDualWater:       "Water",
	MediumIrrigationWater: "Irrigation water",
	MediumWasteWater:      "Waste water",
	MediumHeatCost:        "Heating",
	MediumSteam:           "Steam",
	"oil":                 "Oil",
	"compressed_air":      "Compressed air",
}

// MediumLabel is the medium as people read it, sentence case: "Warm water"; ""
// if it is not something that is counted.
func MediumLabel(medium string) string { return mediumLabels[medium] }

// volumeOf is the dimension of a volume of the medium.
func volumeOf(medium string) Dimension {
	switch MediumLabel(medium) {
	case "Gas":
		return GasVolume
	case "Water", "Warm water", "Hot water", "Cold water", "Irrigation water", "Waste water":
		return WaterVolume
	}
	return Volume
}

// LookupMedium is Lookup for a value of a meter of the given medium ("": not
// known) in the given unit. It matters to the readings of a meter behind another
// (0-n:24.2.1 and on), whose code says neither: their label, dimension and unit
// are filled. It may allocate.
func LookupMedium(c Code, medium string, unit Unit) Entry {
	e := Lookup(c)
	if c.A() != 0 || c.C() != 24 || c.D() != 2 || !e.Known() {
		return e
	}
	e.Unit = unit
	switch unit {
	case "kWh", "MJ", "GJ":
		e.Dimension = Energy
	case "m³", "ft³", "gal":
		e.Dimension = volumeOf(medium)
	}
	if label := MediumLabel(medium); label != "" {
		e.Label = label + channelReadings[c.E()-1].word
	}
	return e
}

// named are the quantities that have the same name in more than one medium and
// that meters also give without a code (M-Bus records of another storage, tariff
// or function).
var named = newNamed()

func newNamed() map[string]Entry {
	all := map[string]Entry{}
	for _, row := range heatCarrier("Energy") {
		all[row.name] = Entry{Name: row.name, Label: row.label, Dimension: row.dimension, Unit: row.unit, Nature: row.nature}
	}
	for _, e := range withoutCode {
		all[e.Name] = e
	}
	return all
}

// withoutCode are quantities that have no code of their own in any medium, or
// whose name is the same wherever they have one.
var withoutCode = []Entry{
	{Name: "hca_units", Label: "Heating units", Dimension: HeatUnits, Nature: Periodic},
	{Name: "external_temperature", Label: "External temperature", Dimension: Temperature, Unit: "°C", Nature: Momentary},
	{Name: "mass_flow", Label: "Mass flow", Dimension: MassFlow, Unit: "kg/h", Nature: Momentary},
	{Name: "reactive_energy", Label: "Reactive energy", Dimension: ReactiveEnergy, Unit: "kvarh", Nature: Total},
	{Name: "apparent_energy", Label: "Apparent energy", Dimension: ApparentEnergy, Unit: "kVAh", Nature: Total},
	{Name: "reactive_power", Label: "Reactive power", Dimension: ReactivePower, Unit: "var", Nature: Momentary},
	{Name: "apparent_power", Label: "Apparent power", Dimension: ApparentPower, Unit: "VA", Nature: Momentary},
	{Name: "voltage", Label: "Voltage", Dimension: Voltage, Unit: "V", Nature: Momentary},
	{Name: "current", Label: "Current", Dimension: Current, Unit: "A", Nature: Momentary},
	{Name: "frequency", Label: "Frequency", Dimension: Frequency, Unit: "Hz", Nature: Momentary},
	{Name: "on_time", Label: "On time", Dimension: Duration, Nature: Total, Diagnostic: true, Rare: true},
	{Name: "operating_time", Label: "Operating time", Dimension: Duration, Nature: Total, Diagnostic: true, Rare: true},
	{Name: "battery_remaining", Label: "Battery remaining", Dimension: Duration, Unit: "d", Nature: Momentary, Diagnostic: true},
	{Name: "battery_operating_time", Label: "Battery operating time", Dimension: Duration, Nature: Total, Diagnostic: true, Rare: true},
	{Name: "actuality_duration", Label: "Age of reading", Dimension: Duration, Nature: Momentary, Diagnostic: true, Rare: true},
	{Name: "averaging_duration", Label: "Averaging time", Dimension: Duration, Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "access_number", Label: "Access number", Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "fabrication_number", Label: "Fabrication number", Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "error_flags", Label: "Error flags", Nature: Fact, Diagnostic: true},
	{Name: "firmware_version", Label: "Firmware version", Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "hardware_version", Label: "Hardware version", Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "software_version", Label: "Software version", Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "model_version", Label: "Model version", Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "parameter_set", Label: "Parameter set", Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "manufacturer_specific", Label: "Manufacturer data", Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "date_time", Label: "Date and time", Dimension: Clock, Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "date", Label: "Date", Dimension: Clock, Nature: Fact, Diagnostic: true, Rare: true},
	{Name: "status", Label: "Status", Nature: Fact, Diagnostic: true},
	{Name: "alarm", Label: "Alarm", Nature: Fact, Diagnostic: true},
	{Name: "reset_counter", Label: "Resets", Dimension: Count, Nature: Total, Diagnostic: true, Rare: true},
	{Name: "rf_level", Label: "Signal strength", Dimension: Signal, Unit: "dBm", Nature: Momentary, Diagnostic: true, Rare: true},
}

// Named says what a quantity without a code means, by its name, in a meter of
// the given medium. It is the present value of the meter itself: a stored,
// lowest or highest one is no Total, whoever asks must know.
func Named(name, medium string) Entry {
	e := named[name]
	if e.Dimension == Volume && name == "volume" {
		e.Dimension = volumeOf(medium)
	}
	return e
}
