package hass

import (
	"slices"

	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// The state classes of a sensor.
const (
	measurement      = "measurement"
	measurementAngle = "measurement_angle" // for °, whose mean is not arithmetic
	total            = "total"             // may fall
	totalIncreasing  = "total_increasing"  // a fall means a new meter
)

// class is a device class of a sensor: the units of obis that it takes, and the
// state classes.
type class struct {
	units  []obis.Unit
	states []string
}

var (
	momentary = []string{measurement}
	counted   = []string{total, totalIncreasing}
)

// classes are the device classes that meters need. power_factor alone goes
// without a unit.
var classes = map[string]class{
	"energy":            {[]obis.Unit{"kWh", "MJ", "GJ"}, counted},
	"reactive_energy":   {[]obis.Unit{"kvarh"}, counted},
	"power":             {[]obis.Unit{"W"}, momentary},
	"reactive_power":    {[]obis.Unit{"var"}, momentary},
	"apparent_power":    {[]obis.Unit{"VA"}, momentary},
	"voltage":           {[]obis.Unit{"V"}, momentary},
	"current":           {[]obis.Unit{"A"}, momentary},
	"frequency":         {[]obis.Unit{"Hz"}, momentary},
	"power_factor":      {[]obis.Unit{"", "%"}, momentary},
	"gas":               {[]obis.Unit{"m³", "ft³"}, counted},
	"water":             {[]obis.Unit{"m³", "ft³", "gal"}, counted},
	"volume":            {[]obis.Unit{"m³", "ft³", "gal"}, counted},
	"volume_flow_rate":  {[]obis.Unit{"m³/h", "m³/min", "m³/s", "gal/min", "gal/h"}, momentary},
	"temperature":       {[]obis.Unit{"°C", "°F", "K"}, momentary},
	"temperature_delta": {[]obis.Unit{"K", "°C", "°F"}, momentary},
	"pressure":          {[]obis.Unit{"bar"}, momentary},
	"weight":            {[]obis.Unit{"kg"}, []string{measurement, total, totalIncreasing}},
	"duration":          {[]obis.Unit{"s", "min", "h", "d"}, []string{measurement, measurementAngle, total, totalIncreasing}},
	"signal_strength":   {[]obis.Unit{"dBm"}, momentary},
	"battery":           {[]obis.Unit{"%"}, momentary},
}

// classOf are the device classes of a dimension, the best first. Dimensions that
// are missing have none in Home Assistant.
var classOf = map[obis.Dimension][]string{
	obis.Energy:                {"energy"},
	obis.ReactiveEnergy:        {"reactive_energy"},
	obis.Power:                 {"power"},
	obis.ReactivePower:         {"reactive_power"},
	obis.ApparentPower:         {"apparent_power"},
	obis.Voltage:               {"voltage"},
	obis.Current:               {"current"},
	obis.Frequency:             {"frequency"},
	obis.PowerFactor:           {"power_factor"},
	obis.GasVolume:             {"gas", "volume"},
	obis.WaterVolume:           {"water", "volume"},
	obis.Volume:                {"volume"},
	obis.Flow:                  {"volume_flow_rate"},
	obis.Temperature:           {"temperature"},
	obis.TemperatureDifference: {"temperature_delta"},
	obis.Pressure:              {"pressure"},
	obis.Mass:                  {"weight"},
	obis.Duration:              {"duration"},
	obis.Signal:                {"signal_strength"},
	obis.Battery:               {"battery"},
}

// unitClass are the device classes of units that leave no doubt, for quantities
// that the catalogue does not know. % and kg say too little.
var unitClass = map[obis.Unit]string{
	"kWh": "energy", "MJ": "energy", "GJ": "energy",
	"kvarh": "reactive_energy",
	"W":     "power", "var": "reactive_power", "VA": "apparent_power",
	"V": "voltage", "A": "current", "Hz": "frequency",
	"m³": "volume", "ft³": "volume", "gal": "volume",
	"m³/h": "volume_flow_rate", "m³/min": "volume_flow_rate", "m³/s": "volume_flow_rate",
	"gal/min": "volume_flow_rate", "gal/h": "volume_flow_rate",
	"°C": "temperature", "°F": "temperature", "K": "temperature_delta",
	"bar": "pressure",
	"s":   "duration", "min": "duration", "h": "duration", "d": "duration",
	"dBm": "signal_strength",
}

// deviceClass is the best device class for the quantity in that unit, or "".
func deviceClass(e obis.Entry, unit obis.Unit) string {
	for _, name := range classOf[e.Dimension] {
		if slices.Contains(classes[name].units, unit) {
			return name
		}
	}
	if e.Dimension != obis.NoDimension {
		return ""
	}
	return unitClass[unit]
}

// stateClass is how the quantity behaves over time, or "" if the device class
// allows nothing that would be true.
func stateClass(e obis.Entry, unit obis.Unit, device string) string {
	wanted := wantedState(e, unit, device)
	if device != "" && !slices.Contains(classes[device].states, wanted) {
		return ""
	}
	return wanted
}

func wantedState(e obis.Entry, unit obis.Unit, device string) string {
	if !e.Known() {
		return unknownState(device)
	}
	switch e.Nature {
	case obis.Momentary:
		if e.Dimension == obis.PhaseAngle && unit == "°" {
			return measurementAngle
		}
		return measurement
	case obis.Total:
		return totalIncreasing
	case obis.Balance:
		return total
	case obis.Periodic:
		if slices.Contains(classes[device].states, measurement) {
			return measurement // a highest or lowest value of something momentary
		}
		return totalIncreasing
	case obis.Fact:
	}
	return ""
}

// unknownState is for what the catalogue does not know: what can only be
// momentary is taken for it, but a total is never guessed.
func unknownState(device string) string {
	if slices.Equal(classes[device].states, momentary) {
		return measurement
	}
	return ""
}
