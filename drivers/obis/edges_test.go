package obis

import (
	"strings"
	"testing"
)

// The last code that has a name, and the first that has none.
func TestWhereTheCatalogueEnds(t *testing.T) {
	for _, c := range []struct{ code, name string }{
		// Tariffs beyond those of the table stand behind what counts or has a demand.
		{"1-0:1.8.50", "energy_import_tariff_50"},
		{"1-0:10.8.50", "apparent_energy_export_tariff_50"},
		{"1-0:15.8.50", "energy_absolute_tariff_50"},
		{"1-0:80.8.50", "energy_q4_l3_tariff_50"},
		{"1-0:82.8.50", ""},
		{"1-0:1.7.50", ""},
		{"1-0:12.32.50", ""},
		{"1-0:32.32.50", ""},
		{"4-0:1.0.50", "hca_units_tariff_50"},
		{"7-0:3.0.50", "volume_tariff_50"},
		{"9-0:1.0.50", "volume_tariff_50"},
		{"3-0:1.0.50", ""},
		{"6-0:8.0.50", ""},
		// Voltage and current are supervised, the power factor is not.
		{"1-0:12.32.0", "voltage_sags"},
		{"1-0:13.32.0", ""},
		// The limit of a fuse is that of one phase.
		{"1-0:11.4.0", "current_average"},
		{"1-0:31.4.0", "current_limit_l1"},
		{"1-0:71.4.0", "current_limit_l3"},
		{"1-0:91.4.0", "current_neutral_average"},
		// What is numbered.
		{"1-0:82.8.8", "pulses_8"},
		{"1-0:82.8.9", ""},
		{"0-0:0.0.9", "id_10"},
		{"0-0:0.0.10", ""},
		{"0-0:96.8.1", "operating_time_tariff_1"},
		{"0-0:96.8.4", "operating_time_tariff_4"},
		{"0-0:96.8.5", ""},
		// Only what is momentary has a lowest and a highest value.
		{"6-0:1.4.0", ""},
		{"6-0:8.4.0", "power_minimum"},
		{"6-0:8.5.0", "power_maximum"},
		// What any medium has, and what is no medium.
		{"9-0:96.1.0", "serial_number"},
		{"10-0:96.1.0", ""},
	} {
		if got := Lookup(MustParse(c.code)).Name; got != c.name {
			t.Errorf("%s is %q, want %q", c.code, got, c.name)
		}
	}
}

// Energies of one phase are what people have; the reactive ones are for specialists.
func TestWhatIsRare(t *testing.T) {
	for code, rare := range map[string]bool{
		"1-0:1.8.0": false, "1-0:21.8.0": false, "1-0:61.8.0": false, "1-0:23.8.0": true, "1-0:29.8.0": true, "1-0:1.8.4": false,
		"6-0:1.0.0": false, "6-0:1.1.0": true,
	} {
		if got := Lookup(MustParse(code)); got.Name == "" || got.Rare != rare {
			t.Errorf("%s %s: rare %t, want %t", code, got.Name, got.Rare, rare)
		}
	}
}

func TestUnitsAreFoundWithoutRegardToCase(t *testing.T) {
	for sent, want := range map[string]string{"KWH": "kWh", "kwh": "kWh", "KWh": "kWh", "AZaz": "", "[": "", strings.Repeat("k", 9): ""} {
		got, _, known := ParseUnit(sent)
		if string(got) != want || known != (want != "") {
			t.Errorf("%s is %q, %t; want %q", sent, got, known, want)
		}
	}
}
