package obis

// counter is a value group C of a medium that is not electricity, with the value
// groups D that its meters use.
type counter struct {
	c byte
	quantity
	nature Nature
}

// heatCarrier are value groups C of heat (A = 6) and cooling (A = 5), EN 13757-1;
// energy is what people call theirs.
func heatCarrier(energy string) []counter {
	return []counter{
		{1, quantity{"energy", energy, Energy, "kWh"}, Total},
		{2, quantity{"volume", "Volume", Volume, "m³"}, Total},
		{3, quantity{"mass", "Mass", Mass, "kg"}, Total},
		{4, quantity{"flow_volume", "Flow volume", Volume, "m³"}, Total},
		{5, quantity{"flow_mass", "Flow mass", Mass, "kg"}, Total},
		{6, quantity{"return_volume", "Return volume", Volume, "m³"}, Total},
		{7, quantity{"return_mass", "Return mass", Mass, "kg"}, Total},
		{8, quantity{"power", "Power", Power, "W"}, Momentary},
		{9, quantity{"volume_flow", "Flow rate", Flow, "m³/h"}, Momentary},
		{10, quantity{"flow_temperature", "Flow temperature", Temperature, "°C"}, Momentary},
		{11, quantity{"return_temperature", "Return temperature", Temperature, "°C"}, Momentary},
		{12, quantity{"temperature_difference", "Temperature difference", TemperatureDifference, "K"}, Momentary},
		{13, quantity{"pressure", "Pressure", Pressure, "bar"}, Momentary},
	}
}

// waters are value groups C of cold (A = 8) and warm water (A = 9).
func waters(volume string) []counter {
	return []counter{
		{1, quantity{"volume", volume, WaterVolume, "m³"}, Total},
		{2, quantity{"volume_flow", "Flow rate", Flow, "m³/h"}, Momentary},
		{3, quantity{"flow_temperature", "Flow temperature", Temperature, "°C"}, Momentary},
	}
}

// allocators are value groups C of heat-cost allocators (A = 4). Their counter
// starts anew on the due date.
var allocators = []counter{
	{1, quantity{"hca_units", "Heating units", HeatUnits, ""}, Periodic},
	{2, quantity{"hca_units_rated", "Heating units rated", HeatUnits, ""}, Periodic},
	{3, quantity{"radiator_temperature", "Radiator temperature", Temperature, "°C"}, Momentary},
	{4, quantity{"flow_temperature", "Flow temperature", Temperature, "°C"}, Momentary},
	{5, quantity{"return_temperature", "Return temperature", Temperature, "°C"}, Momentary},
	{6, quantity{"external_temperature", "Room temperature", Temperature, "°C"}, Momentary},
}

// moments are value groups D of the media A = 4, 5, 6, 8 and 9.
var moments = []struct {
	d            byte
	suffix, word string
}{
	{0, "", ""},
	{1, "_last_period", " last period"},
	{2, "_due_date", " on due date"},
	{3, "_billing_date", " on billing date"},
	{4, "_minimum", " minimum"},
	{5, "_maximum", " maximum"},
}

func addThermal(all map[spot]Entry) {
	for _, m := range []struct {
		a    byte
		rows []counter
	}{
		{4, allocators},
		{5, heatCarrier("Cooling energy")},
		{6, heatCarrier("Heat energy")},
		{8, waters("Water volume")},
		{9, waters("Warm water volume")},
	} {
		for _, row := range m.rows {
			row.addTo(all, m.a)
		}
	}
}

// addTo adds each value group D, and four tariffs of what counts.
func (row counter) addTo(all map[spot]Entry, a byte) {
	for _, m := range moments {
		if m.d >= 4 && row.nature != Momentary {
			continue // a counter has no highest value
		}
		e := Entry{
			Name:      row.name + m.suffix,
			Label:     row.label + m.word,
			Dimension: row.dimension,
			Unit:      row.unit,
			Nature:    row.nature,
			Rare:      m.d != 0,
		}
		switch {
		case m.d >= 4:
			e.Nature = Periodic
		case m.d != 0:
			e.Nature = Fact // a reading that was kept
		}
		all[at(a, row.c, m.d, 0)] = e
		if e.Nature != Total {
			continue
		}
		for n := byte(1); n <= 4; n++ {
			all[at(a, row.c, m.d, n)] = e.withTariff(n)
		}
	}
}
