package oracle

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const shown = `{
 "devices": [{"id": "d1", "name": "Meter", "identifiers": [["mqtt", "m_main"]]},
             {"id": "d2", "name": "Other", "identifiers": [["mqtt", "m_other"]]}],
 "entities": [
  {"entity_id": "sensor.meter_voltage_l1", "unique_id": "m_main_1_0_32_7_0", "device_id": "d1",
   "original_name": "Voltage L1", "entity_category": null, "disabled_by": null},
  {"entity_id": "sensor.meter_version", "unique_id": "m_main_1_3_0_2_8", "device_id": "d1",
   "original_name": "Version", "entity_category": "diagnostic", "disabled_by": "integration"},
  {"entity_id": "sensor.other", "unique_id": "m_other_x", "device_id": "d2", "original_name": null}],
 "states": {
  "sensor.meter_voltage_l1": {"state": "230.1", "attributes":
   {"device_class": "voltage", "state_class": "measurement", "unit_of_measurement": "V"}},
  "sensor.meter_version": null}}`

func shownRows() []Row {
	return []Row{
		{
			UniqueID: "m_main_1_0_32_7_0", EntityID: "sensor.meter_voltage_l1", Name: "Voltage L1", Device: "Meter",
			State: "230.1", DeviceClass: "voltage", StateClass: "measurement", Unit: "V",
		},
		{UniqueID: "m_main_1_3_0_2_8", Category: "diagnostic", Disabled: true},
	}
}

func TestDifferences(t *testing.T) {
	tests := []struct {
		name   string
		change func(rows []Row) []Row
		want   []string
	}{
		{"rows that fit", func(r []Row) []Row { return r }, nil},
		{"a state that fits its pattern", func(r []Row) []Row { r[0].State = `/^23\d/`; return r }, nil},
		{
			"a state that does not fit its pattern", func(r []Row) []Row { r[0].State = `/^24\d/`; return r },
			[]string{`m_main_1_0_32_7_0: state: got "230.1", want "/^24\\d/"`},
		},
		{
			"another state", func(r []Row) []Row { r[0].State = "230.10"; return r },
			[]string{`m_main_1_0_32_7_0: state: got "230.1", want "230.10"`},
		},
		{
			"another device class", func(r []Row) []Row { r[0].DeviceClass = "current"; return r },
			[]string{`m_main_1_0_32_7_0: device class: got "voltage", want "current"`},
		},
		{
			"a state class where none is wanted", func(r []Row) []Row { r[0].StateClass = ""; return r },
			[]string{`m_main_1_0_32_7_0: state class: got "measurement", want ""`},
		},
		{
			"another unit", func(r []Row) []Row { r[0].Unit = "mV"; return r },
			[]string{`m_main_1_0_32_7_0: unit: got "V", want "mV"`},
		},
		{
			"another name", func(r []Row) []Row { r[0].Name = "Voltage"; return r },
			[]string{`m_main_1_0_32_7_0: name: got "Voltage L1", want "Voltage"`},
		},
		{
			"another entity id", func(r []Row) []Row { r[0].EntityID = "sensor.x"; return r },
			[]string{`m_main_1_0_32_7_0: entity id: got "sensor.meter_voltage_l1", want "sensor.x"`},
		},
		{
			"another device", func(r []Row) []Row { r[0].Device = "Mains"; return r },
			[]string{`m_main_1_0_32_7_0: device: got "Meter", want "Mains"`},
		},
		{
			"another category", func(r []Row) []Row { r[1].Category = ""; return r },
			[]string{`m_main_1_3_0_2_8: category: got "diagnostic", want ""`},
		},
		{
			"an entity that should be enabled", func(r []Row) []Row { r[1].Disabled = false; return r },
			[]string{`m_main_1_3_0_2_8: disabled: got "true", want "false"`},
		},
		{
			"an entity that is missing", func(r []Row) []Row { return append(r, Row{UniqueID: "m_main_gone"}) },
			[]string{"m_main_gone: no such entity"},
		},
		{
			"an entity too many on the device", func(r []Row) []Row { return r[:1] },
			[]string{"m_main_1_3_0_2_8: not expected, but there: {UniqueID:m_main_1_3_0_2_8 EntityID:sensor.meter_version " +
				"Name:Version Device:Meter State: DeviceClass: StateClass: Unit: Category:diagnostic Disabled:true}"},
		},
	}
	var s snapshot
	if err := json.Unmarshal([]byte(shown), &s); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.differences(tt.change(shownRows()))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnavailableSparesWhatIsDisabled(t *testing.T) {
	rows := shownRows()
	got := Unavailable(rows)
	if got[0].State != "unavailable" || got[1].State != "" {
		t.Errorf("got the states %q and %q, want unavailable and none", got[0].State, got[1].State)
	}
	if !slices.Equal(rows, shownRows()) {
		t.Error("the rows that were given have changed")
	}
}
