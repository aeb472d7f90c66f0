package obis

import "slices"

// gasFlows are the volumes of IEC 62056-6-1 table 25, value group C of A = 7: of
// the meter (1 to 6), of a converter (11 to 16) and of a logger (21 to 26).
var gasFlows = []struct {
	c           byte
	name, label string
	rare        bool
}{
	{3, "volume", "Gas volume", false},
	{1, "volume_undisturbed", "Gas volume undisturbed", false},
	{2, "volume_disturbed", "Gas volume disturbed", false},
	{6, "volume_reverse", "Gas volume reverse", true},
	{4, "volume_reverse_undisturbed", "Gas volume reverse undisturbed", true},
	{5, "volume_reverse_disturbed", "Gas volume reverse disturbed", true},
	{13, "converter_volume", "Converter volume", false},
	{11, "converter_volume_undisturbed", "Converter volume undisturbed", false},
	{12, "converter_volume_disturbed", "Converter volume disturbed", false},
	{16, "converter_volume_reverse", "Converter volume reverse", true},
	{14, "converter_volume_reverse_undisturbed", "Converter volume reverse undisturbed", true},
	{15, "converter_volume_reverse_disturbed", "Converter volume reverse disturbed", true},
	{23, "logger_volume", "Logger volume", true},
	{21, "logger_volume_undisturbed", "Logger volume undisturbed", true},
	{22, "logger_volume_disturbed", "Logger volume disturbed", true},
}

// gasConditions are value groups D of a gas volume or flow. A volume at base
// conditions is no longer what the meter measured, hence plain Volume.
var gasConditions = []struct {
	d            byte
	suffix, word string
	volume       Dimension
}{
	{0, "", "", GasVolume},
	{1, "_temperature_converted", " temperature converted", GasVolume},
	{2, "_converted", " converted", Volume},
}

// gasFacts are the measured and computed quantities of a gas meter, D = 0.
var gasFacts = []counter{
	{41, quantity{"temperature", "Gas temperature", Temperature, "°C"}, Momentary},
	{42, quantity{"pressure", "Gas pressure", Pressure, "bar"}, Momentary},
	{45, quantity{"density", "Gas density", Ratio, ""}, Momentary},
	{46, quantity{"relative_density", "Relative density", Ratio, ""}, Momentary},
	{47, quantity{"gauge_pressure", "Gauge pressure", Pressure, "bar"}, Momentary},
	{48, quantity{"differential_pressure", "Differential pressure", Pressure, "bar"}, Momentary},
	{51, quantity{"correction_factor", "Correction factor", Ratio, ""}, Momentary},
	{52, quantity{"conversion_factor", "Conversion factor", Ratio, ""}, Momentary},
	{53, quantity{"compressibility_factor", "Compressibility factor", Ratio, ""}, Momentary},
	{54, quantity{"calorific_value", "Calorific value", Ratio, ""}, Momentary},
	{55, quantity{"compressibility_ratio", "Compressibility ratio", Ratio, ""}, Momentary},
}

// gasEnergies are value groups C 61 to 63: energy of what flowed forward.
var gasEnergies = []counter{
	{63, quantity{"energy", "Gas energy", Energy, "kWh"}, Total},
	{61, quantity{"energy_undisturbed", "Gas energy undisturbed", Energy, "kWh"}, Total},
	{62, quantity{"energy_disturbed", "Gas energy disturbed", Energy, "kWh"}, Total},
}

func addGas(all map[spot]Entry) {
	for _, d := range gasConditions {
		for _, f := range gasFlows {
			e := Entry{
				Name: f.name + d.suffix, Label: f.label + d.word,
				Dimension: d.volume, Unit: "m³", Nature: Total, Rare: f.rare,
			}
			all[at(7, f.c, d.d, 0)] = e
		}
		all[at(7, 43, d.d, 0)] = Entry{
			Name: "volume_flow" + d.suffix, Label: "Gas flow" + d.word,
			Dimension: Flow, Unit: "m³/h", Nature: Momentary,
		}
	}
	for _, row := range slices.Concat(gasFacts, gasEnergies) {
		all[at(7, row.c, 0, 0)] = Entry{
			Name: row.name, Label: row.label,
			Dimension: row.dimension, Unit: row.unit, Nature: row.nature,
		}
	}
}
