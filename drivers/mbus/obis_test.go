package mbus

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

func TestMappingIsTheSharedTable(t *testing.T) {
	raw, err := os.ReadFile(shared(t, "spec/mbus-obis.json"))
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Media map[string]struct{ A byte } `json:"medium_to_A"`
		Rows  []struct {
			A        json.RawMessage
			Quantity string
			C        *byte
			Code     string
			Full     string
			Unit     string
			VIFE     []string
		}
	}
	if err := json.Unmarshal(raw, &table); err != nil {
		t.Fatal(err)
	}
	if len(table.Media) != len(mediumA) {
		t.Errorf("%d media, want %d", len(mediumA), len(table.Media))
	}
	for text, want := range table.Media {
		var medium byte
		if _, err := fmt.Sscan(text, &medium); err != nil {
			t.Fatal(err)
		}
		if mediumA[medium] != want.A {
			t.Errorf("medium %d is of A = %d, want %d", medium, mediumA[medium], want.A)
		}
	}
	here := map[string]bool{}
	for _, r := range rows {
		here[r.String()] = true
	}
	for name, code := range general {
		here[name+" "+code.String()] = true
	}
	for _, r := range table.Rows {
		unit := r.Unit
		if strings.Contains(unit, " or ") {
			unit = ""
		}
		var want string
		switch {
		case r.Full != "":
			want = r.Quantity + " " + r.Full
		case r.Code != "":
			want = fmt.Sprintf("%s %s %s %s %s", r.A, r.Quantity, unit, strings.Join(r.VIFE, ""), r.Code)
		case r.C != nil:
			want = fmt.Sprintf("%s %s %s %s %d.0", r.A, r.Quantity, unit, strings.Join(r.VIFE, ""), *r.C)
		default:
			continue // has no code
		}
		want = strings.ReplaceAll(want, ", ", ",")
		if !here[want] {
			t.Errorf("missing: %s", want)
		}
		delete(here, want)
	}
	for extra := range here {
		t.Errorf("not in the shared table: %s", extra)
	}
}

// String is the row as the shared table would print it.
func (r row) String() string {
	media := strings.ReplaceAll(fmt.Sprintf("%d", r.media), " ", ",")
	vife := ""
	if r.vife != 0 {
		vife = fmt.Sprintf("%02X", r.vife)
	}
	return fmt.Sprintf("%s %s %s %s %d.%d", media, r.quantity, r.unit, vife, r.c, r.d)
}

// oneTelegram decodes records of a meter of the given medium.
func oneTelegram(t *testing.T, medium byte, records string) drivers.Reading {
	t.Helper()
	data := append(AppendLongHeader(nil, Address{0x78, 0x56, 0x34, 0x12, 0x24, 0x23, 1, medium}, 1, 0, 0), unhex(t, records)...)
	frame := Frame{Kind: Long, C: answerC, A: 1, CI: ciLong, Data: data}
	b, err := frame.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	all := decode(t, NewDecoder(nil), b)
	if len(all.readings) != 1 || len(all.lost) != 0 {
		t.Fatalf("%s gave %+v", records, all)
	}
	return all.readings[0]
}

func TestRecordsAndTheirCodes(t *testing.T) {
	const heat, cooling, water, hca, gas, power, unknown = 4, 10, 7, 8, 3, 2, 15
	for _, c := range []struct {
		name    string
		medium  byte
		records string
		want    string // code and name of the first value
	}{
		{"heat", heat, "0406 01000000", "6-0:1.0.0 energy"},
		{"heat on the due date", heat, "4406 01000000", "6-0:1.2.0 energy_due_date"},
		{"heat of an earlier month", heat, "840106 01000000", "6-0:1.2.0*2 energy_due_date"},
		{"heat of a tariff", heat, "841006 01000000", "6-0:1.0.1 energy_tariff_1"},
		{"heat in megajoules", heat, "040E 01000000", "6-0:1.0.0 energy"},
		{"heat in megacalories", heat, "04FB0D 01000000", " energy"},
		{"highest power", heat, "142D 01000000", "6-0:8.5.0 power_maximum"},
		{"lowest flow temperature", heat, "225A 0100", "6-0:10.4.0 flow_temperature_minimum"},
		{"power of another kind of unit", heat, "0432 01000000", " power"},
		{"during an error", heat, "3406 01000000", " energy"},
		{"storage 254", heat, "848F0706 01000000", "6-0:1.2.0*254 energy_due_date"},
		{"storage 255", heat, "C48F0706 01000000", " energy"},
		{"cooling", cooling, "0406 01000000", "5-0:1.0.0 energy"},
		{"water", water, "0413 01000000", "8-0:1.0.0 volume"},
		{"water of input 1", water, "844013 01000000", "8-1:1.0.0 volume"},
		{"water that will be", water, "04937E 01000000", " volume_future"},
		{"water an hour", water, "049322 01000000", " volume_per_hour"},
		{"average flow", water, "04BB12 01000000", " volume_flow_average"},
		{"water beside a limit", water, "04BB40 01000000", " volume_flow_lower_limit"},
		{"water times 1000", water, "04937D 01000000", "8-0:1.0.0 volume"},
		{"water without error", water, "049300 01000000", "8-0:1.0.0 volume"},
		{"allocator", hca, "036E 010000", "4-0:1.0.0 hca_units"},
		{"gas", gas, "0413 01000000", "7-0:3.0.0 volume"},
		{"gas at base conditions", gas, "04933E 01000000", "7-0:3.2.0 volume_converted"},
		{"gas of a month", gas, "840113 01000000", "7-0:3.0.0*2 volume"},
		{"import", power, "0403 01000000", "1-0:1.8.0 energy_import"},
		{"import of a tariff", power, "842003 01000000", "1-0:1.8.2 energy_import_tariff_2"},
		{"export", power, "04833C 01000000", "1-0:2.8.0 energy_export"},
		{"voltage of L2", power, "02FDC8FC02 0100", "1-0:52.7.0 voltage_l2"},
		{"power", power, "042A 01000000", "1-0:1.7.0 power_import"},
		{"power that is negative", power, "042A FFFFFFFF", "1-0:16.7.0 power_net"},
		{"maximum power", power, "142A 01000000", "1-0:1.6.0 power_import_maximum"},
		{"highest voltage", power, "12FD48 0100", " voltage"},
		{"a manufacturer's power", power, "04AAFF01 01000000", " power_manufacturer_01"},
		{"no medium of ours", unknown, "0406 01000000", " energy"},
		{"fabrication number", unknown, "0C78 12345678", "0-0:96.1.0 serial_number"},
		{"its other one", unknown, "4C78 12345678", " fabrication_number"},
		{"clock", water, "046D 128BD312", "0-0:1.0.0 clock"},
		{"a manufacturer's own", water, "01FF9300 01", " manufacturer_specific_1300"},
		{"no table has it", water, "01 7B 01", " unknown_7b"},
		{"plain text", water, "017C084449202E74737563 01", " text_unit_cust_id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := oneTelegram(t, c.medium, strings.ReplaceAll(c.records, " ", ""))
			v := r.Values[0]
			code := ""
			if !v.Code.IsZero() {
				code = v.Code.String()
			}
			if got := code + " " + v.Name; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestPowerBesideExportedEnergyIsNet(t *testing.T) {
	codes := func(records string) (all []obis.Code) {
		for _, v := range oneTelegram(t, 2, records).Values {
			all = append(all, v.Code)
		}
		return all
	}
	power, energy, exported := "042A01000000", "04833C01000000", "04AA3C01000000"
	if got := codes(power + energy); !slices.Contains(got, netPower) || slices.Contains(got, importPower) {
		t.Errorf("a meter that exports and tells one power: %v", got)
	}
	if got := codes(power + energy + exported); !slices.Contains(got, importPower) || slices.Contains(got, netPower) {
		t.Errorf("a meter that tells both powers: %v", got)
	}
	for record, want := range map[string]obis.Code{"042B00000000": importPower, "042BFEFFFFFF": netPower} {
		if got := codes(record); !slices.Contains(got, want) {
			t.Errorf("one power alone, %s: %v, want %v", record, got, want)
		}
	}
}
