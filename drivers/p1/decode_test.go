package p1

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// decoded is the one reading of a telegram with these data lines.
func decoded(t *testing.T, lines ...string) *drivers.Reading {
	t.Helper()
	return decodedFrom(t, drivers.Zones{}, "/TST5\\2METER", lines...)
}

func decodedFrom(t *testing.T, zones drivers.Zones, ident string, lines ...string) *drivers.Reading {
	t.Helper()
	d, err := newDecoder(&Config{}, zones)
	if err != nil {
		t.Fatal(err)
	}
	d.Feed([]byte(sealed(ident + "\n\n" + strings.Join(lines, "\n") + "\n!")))
	got, lost := decodertest.Drain(t, d)
	if len(got) != 1 {
		t.Fatalf("%d readings, lost %v", len(got), lost)
	}
	return got[0]
}

// shown is a value in one line: code or name, channel, value, unit, time, flag.
func shown(v *drivers.Value) string {
	s := v.Code.String()
	if v.Code.IsZero() {
		s = v.Name
	}
	if v.Channel > 0 {
		s += fmt.Sprintf(" ch%d", v.Channel)
	}
	s += " " + string(v.AppendPayload(nil))
	if v.Unit != "" {
		s += " " + string(v.Unit)
	}
	if !v.Time.IsZero() {
		s += " at " + v.Time.String()
	}
	if v.Flags&drivers.Logged != 0 {
		s += " logged " + v.Name
	}
	return s
}

func TestDecode(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  []string
	}{
		{"digits stay as sent", []string{"1-0:1.8.0(000012.300*kWh)"}, []string{"1-0:1.8.0 12.300 kWh"}},
		{"kilowatts become watts", []string{"1-0:1.7.0(00.244*kW)"}, []string{"1-0:1.7.0 244 W"}},
		{"watt-hours become kilowatt-hours", []string{"1-0:1.8.0(009699947*Wh)"}, []string{"1-0:1.8.0 9699.947 kWh"}},
		{"kilovolts become volts", []string{"1-0:32.7.0(0000.242*kV)"}, []string{"1-0:32.7.0 242 V"}},
		{"units in any case", []string{"1-0:3.8.0(00000.137*kVArh)"}, []string{"1-0:3.8.0 0.137 kvarh"}},
		{"a unit that nobody knows stays", []string{"1-0:1.8.0(5*furlong)"}, []string{"1-0:1.8.0 5 furlong"}},
		{"a number below zero", []string{"1-0:21.7.255*255(-000073.69*W)"}, []string{"1-0:21.7.255 -73.69 W"}},
		{"22 digits", []string{"1-0:1.8.0(1234567890123456789.012*kWh)"}, []string{"1-0:1.8.0 1234567890123456789.012 kWh"}},
		{"more digits than can be kept are no value", []string{"1-0:1.8.0(" + strings.Repeat("9", 40) + "*kWh)", "1-0:2.8.0(1*kWh)"}, []string{"1-0:2.8.0 1 kWh"}},
		{"dashes instead of digits are no value", []string{"1-0:1.8.0(--------*kWh)", "1-0:2.8.0(1*kWh)"}, []string{"1-0:2.8.0 1 kWh"}},
		{"an empty group is no value", []string{"0-0:96.13.0()", "1-0:2.8.0(1*kWh)"}, []string{"1-0:2.8.0 1 kWh"}},
		{"tariff and breaker are numbers", []string{"0-0:96.14.0(0002)", "0-0:96.3.10(1)"}, []string{"0-0:96.14.0 2", "0-0:96.3.10 1"}},
		{"a status of digits stays text, as one with letters", []string{"1-0:96.5.5*255(82)"}, []string{`1-0:96.5.5 "82"`}},
		{"counts are numbers", []string{"0-0:96.7.21(00013)", "1-0:32.32.0(00002)"}, []string{"0-0:96.7.21 13", "1-0:32.32.0 2"}},
		{"hexadecimal text is decoded", []string{"0-0:96.13.0(48656C6C6F2E)"}, []string{`0-0:96.13.0 "Hello."`}},
		{"text that is no hexadecimal stays", []string{"0-0:96.13.0(HELLO! 1/2)"}, []string{`0-0:96.13.0 "HELLO! 1/2"`}},
		{"hexadecimal of what cannot be printed stays", []string{"0-0:96.1.1(0000000000)"}, []string{`0-0:96.1.1 "0000000000"`}},
		{"a version is not taken for hexadecimal", []string{"1-3:0.2.8(4142)"}, []string{`1-3:0.2.8 "4142"`}},
		{"reduced codes", []string{"1.8.0(1*kWh)"}, []string{"1-0:1.8.0 1 kWh"}},
		{"lines of no known form keep their first group", []string{"1-0:72:32.0(00000)", "1-0:99:97.0(2)(0:96.7.19)(101208152415W)(0000000240*s)"}, []string{`1-0:72:32.0 "00000"`, `1-0:99:97.0 "2"`}},
		{"a bracket that never closes spoils its own line only", []string{"1-0:1.8.1(00012", "1-0:2.8.0(1*kWh)"}, []string{`1-0:1.8.1 "00012"`, "1-0:2.8.0 1 kWh"}},
		{"a bracket that never closes on a line of a channel", []string{"0-1:24.1.0(003", "1-0:2.8.0(1*kWh)"}, []string{`0-1:24.1.0 "003"`, "1-0:2.8.0 1 kWh"}},
		{"a value broken over the last two lines", []string{"1-0:1.8.0(0000", "12.3*kWh)"}, []string{"1-0:1.8.0 12.3 kWh"}},
		{"a value broken over two lines", []string{"1-0:1.8.0(0000", "12.3*kWh)", "1-0:2.8.0(1*kWh)"}, []string{"1-0:1.8.0 12.3 kWh", "1-0:2.8.0 1 kWh"}},
		{"the same code twice", []string{"0-0:17.0.0(16500*W)", "0-0:17.0.0(16501*W)"}, []string{"0-0:17.0.0 16500 W", "0-0:17.0.0 16501 W"}},
		{"a peak with its time", []string{"1-0:1.6.0(230201020000W)(01.566*kW)"}, []string{"1-0:1.6.0 1566 W at 2023-02-01T02:00:00+01:00"}},
		{"a time behind the number", []string{"1-0:1.6.1(01.566*kW)(2302010200)"}, []string{"1-0:1.6.1 1566 W"}},
		{"peaks of the last months", []string{"0-0:98.1.0(2)(1-0:1.6.0)(1-0:1.6.0)(230201000000W)(230117224500W)(04.329*kW)(230301000000W)(230214224500W)(04529*W)"}, []string{
			"0-0:98.1.0 4329 W at 2023-02-01T00:00:00+01:00 logged " + obis.Lookup(obis.New(1, 0, 1, 6, 0)).Name,
			"0-0:98.1.0 4529 W at 2023-03-01T00:00:00+01:00 logged " + obis.Lookup(obis.New(1, 0, 1, 6, 0)).Name,
		}},
		{"a profile with a status and two numbers", []string{"1-0:99.1.0(1)(0-0:96.10.7)(1-0:1.29.0)(1-0:2.29.0)(260411233000S)(00)(000000.205*kWh)(000000.001*kWh)"}, []string{
			`1-0:99.1.0 "00" at 2026-04-11T23:30:00+02:00 logged load_profile`,
			"1-0:99.1.0 0.205 kWh at 2026-04-11T23:30:00+02:00 logged " + obis.Lookup(obis.New(1, 0, 1, 29, 0)).Name,
			"1-0:99.1.0 0.001 kWh at 2026-04-11T23:30:00+02:00 logged " + obis.Lookup(obis.New(1, 0, 2, 29, 0)).Name,
		}},
		{"power failures", []string{"1-0:99.97.0(2)(0-0:96.7.19)(000101000001W)(2147483647*s)(190115011853W)(0000000389*s)"}, []string{
			"1-0:99.97.0 2147483647 s at 2000-01-01T00:00:01+01:00 logged long_power_failure_duration",
			"1-0:99.97.0 389 s at 2019-01-15T01:18:53+01:00 logged long_power_failure_duration",
		}},
		{"a log that claims more than it has", []string{"1-0:99.97.0(9)(0-0:96.7.19)(190115011853W)(0000000389*s)(190115)"}, []string{
			"1-0:99.97.0 389 s at 2019-01-15T01:18:53+01:00 logged long_power_failure_duration",
		}},
		{"logs without an entry", []string{"1-0:99.97.0(0)(0-0:96.7.19)", "1-0:99.97.0()", "0-0:98.1.0(0)()", "1-0:2.8.0(1*kWh)"}, []string{"1-0:2.8.0 1 kWh"}},
		{"gas keeps its own time", []string{"0-1:24.1.0(003)", "0-1:96.1.0(4730)", "0-1:24.2.1(170102161005W)(00000.107*m3)"}, []string{
			"0-1:24.1.0 ch1 3", `0-1:96.1.0 ch1 "G0"`, "0-1:24.2.1 ch1 0.107 m³ at 2017-01-02T16:10:05+01:00",
		}},
		{"gas of DSMR 3, on a line of its own", []string{"0-1:24.3.0(090212160000)(00)(60)(1)(0-1:24.2.1)(m3)", "(00001.001)", "0-1:24.4.0(1)"}, []string{
			"0-1:24.2.1 ch1 1.001 m³ at 2009-02-12T16:00:00+01:00", "0-1:24.4.0 ch1 1",
		}},
		{"two readings of DSMR 3 behind one time", []string{"0-1:24.3.0(090212160000)(00)(60)(2)(0-1:24.2.1)(m3)(0-1:24.2.2)(kWh)", "(00001.001)(2.5)"}, []string{
			"0-1:24.2.1 ch1 1.001 m³ at 2009-02-12T16:00:00+01:00", "0-1:24.2.2 ch1 2.5 kWh at 2009-02-12T16:00:00+01:00",
		}},
		{"a reading of DSMR 3 that is missing", []string{"0-1:24.3.0(090212160000)(00)(60)(2)(0-1:24.2.1)(m3)(0-1:24.2.2)(kWh)", "(00001.001)", "1-0:2.8.0(1*kWh)"}, []string{"1-0:2.8.0 1 kWh"}},
		{"the last channel", []string{"0-64:24.2.1(170102161005W)(00000.107*m3)"}, []string{"0-64:24.2.1 ch64 0.107 m³ at 2017-01-02T16:10:05+01:00"}},
		{"text that ends with DEL", []string{"0-0:96.13.0(48657F)"}, []string{`0-0:96.13.0 "48657F"`}},
		{"heat in gigajoule", []string{"0-4:24.1.0(004)", "0-4:24.2.1(260215200523W)(240.860*GJ)"}, []string{
			"0-4:24.1.0 ch4 4", "0-4:24.2.1 ch4 240.860 GJ at 2026-02-15T20:05:23+01:00",
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := decoded(t, tc.lines...)
			var got []string
			for i := range r.Values {
				got = append(got, shown(&r.Values[i]))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A log may have more than nine entries: DSMR 5.0.2 allows ten.
func TestALogOfTenEntriesIsReadWhole(t *testing.T) {
	line := "1-0:99.97.0(10)(0-0:96.7.19)" + strings.Repeat("(190115011853W)(0000000389*s)", 10)
	if r := decoded(t, line); len(r.Values) != 10 {
		t.Errorf("%d entries", len(r.Values))
	}
}

// Hungary's list of the month has no codes: 13 energies, then peaks.
func TestTheMonthOfHungaryIsNamedByItsOrder(t *testing.T) {
	names := func(count int) (all []string) {
		line := "0-0:98.1.0(260201000000W)" + strings.Repeat("(1.5*kWh)", count)
		r := decoded(t, line)
		for i := range r.Values {
			all = append(all, r.Values[i].Name)
		}
		return all
	}
	own := obis.Lookup(obis.New(0, 0, 98, 1, 0)).Name
	var want []string
	for _, c := range monthEnd {
		want = append(want, obis.Lookup(c).Name)
	}
	if diff := cmp.Diff(append(want, own), names(14)); diff != "" {
		t.Errorf("13 energies and a peak: %s", diff)
	}
	if diff := cmp.Diff(want, names(13)); diff != "" {
		t.Errorf("13 energies: %s", diff)
	}
	if diff := cmp.Diff([]string{own, own}, names(2)); diff != "" {
		t.Errorf("two numbers: %s", diff)
	}
}

func TestClock(t *testing.T) {
	zone := func(name string) *time.Location {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return loc
	}
	tests := []struct {
		name, ident, zone, sent, want string
	}{
		{name: "winter", sent: "170102192002W", want: "2017-01-02T19:20:02+01:00"},
		{name: "summer", sent: "170702192002S", want: "2017-07-02T19:20:02+02:00"},
		{name: "small letter", sent: "150701190000s", want: "2015-07-01T19:00:00+02:00"},
		{name: "the letter wins over the calendar", sent: "210706160710W", want: "2021-07-06T16:07:10+01:00"},
		{name: "the doubled hour, first time", sent: "261025023000S", want: "2026-10-25T02:30:00+02:00"},
		{name: "the doubled hour, second time", sent: "261025023000W", want: "2026-10-25T02:30:00+01:00"},
		{name: "Lithuania by its maker", ident: "/ESO5\\0001", sent: "230808113811S", want: "2023-08-08T11:38:11+03:00"},
		{name: "Finland by its zone", zone: "Europe/Helsinki", sent: "230808113811S", want: "2023-08-08T11:38:11+03:00"},
		{name: "Finland by its zone, in winter", zone: "Europe/Helsinki", sent: "230108113811W", want: "2023-01-08T11:38:11+02:00"},
		{name: "Ireland by its zone", zone: "Europe/Dublin", sent: "230702132747S", want: "2023-07-02T13:27:47+01:00"},
		{name: "a zone wins over the maker", ident: "/ESO5\\0001", zone: "Europe/Amsterdam", sent: "230808113811S", want: "2023-08-08T11:38:11+02:00"},
		{name: "no letter, summer by the calendar", sent: "160707190000", want: "2016-07-07T19:00:00+02:00"},
		{name: "no letter, in the configured zone", zone: "Europe/Vilnius", sent: "160107190000", want: "2016-01-07T19:00:00+02:00"},
		{name: "no letter, in the doubled hour", sent: "261025023000", want: "2026-10-25T02:30:00"},
		{name: "no letter, in the hour that is left out", sent: "260329023000", want: "2026-03-29T02:30:00"},
		{name: "a blank between date and time", sent: "20240111 09:35:00", want: "2024-01-11T09:35:00+01:00"},
		{name: "dashes too", sent: "2024-07-11 09:35:00", want: "2024-07-11T09:35:00+02:00"},
		{name: "a clock of the nineties", sent: "991231235959W", want: "1999-12-31T23:59:59+01:00"},
		{name: "the last second of a day", sent: "191231235959W", want: "2019-12-31T23:59:59+01:00"},
		{name: "leap day of 2000", sent: "000229000000W", want: "2000-02-29T00:00:00+01:00"},
		{name: "leap day", sent: "240229000000W", want: "2024-02-29T00:00:00+01:00"},
		{name: "no leap day", sent: "230229000000W"},
		{name: "never set", sent: "000101000000W"},
		{name: "impossible digits", sent: "632525252525W"},
		{name: "no digits", sent: "xxxxxxxxxxxxW"},
		{name: "the epoch", sent: "700101010000W", want: "1970-01-01T01:00:00+01:00"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			zones := drivers.Zones{Host: time.UTC} // which has no say
			if tc.zone != "" {
				zones.Meter = zone(tc.zone)
			}
			ident := tc.ident
			if ident == "" {
				ident = "/TST5"
			}
			r := decodedFrom(t, zones, ident, "0-0:1.0.0("+tc.sent+")", "1-0:1.8.0(1*kWh)")
			if got := r.Time.String(); got != tc.want {
				t.Errorf("time %q, want %q", got, tc.want)
			}
		})
	}
}

// A converter may take the carriage returns away; the CRC is still that of the meter.
func TestLineFeedsAloneReadAsBoth(t *testing.T) {
	want := decodedBy(t, []byte(dsmr5))
	got := decodedBy(t, []byte(strings.ReplaceAll(dsmr5, "\r", "")))
	if len(got) != 1 {
		t.Fatalf("%d readings", len(got))
	}
	if diff := cmp.Diff(string(want[0].AppendJSON(nil)), string(got[0].AppendJSON(nil))); diff != "" {
		t.Error(diff)
	}
}

func TestClockIsAValueToo(t *testing.T) {
	r := decoded(t, "0-0:1.0.0(170102192002W)")
	if len(r.Values) != 1 || r.Values[0].Kind != drivers.Moment || !r.Values[0].Moment.Equal(r.Time) {
		t.Errorf("got %s", r.AppendJSON(nil))
	}
}

func TestClockOfTwoValues(t *testing.T) {
	r := decoded(t, "1-0:0.9.1(222553)", "1-0:0.9.2(251002)")
	if got := r.Time.String(); got != "2025-10-02T22:25:53+02:00" {
		t.Errorf("time %q", got)
	}
}

func TestIdentity(t *testing.T) {
	tests := []struct {
		name, ident string
		lines       []string
		want        drivers.Identity
	}{
		{"Netherlands", `/ISk5\2MT382-1000`, []string{"1-3:0.2.8(50)", "0-0:96.1.1(4B38)"}, drivers.Identity{Manufacturer: "ISK", Model: "MT382-1000", ID: "K8", Version: "50"}},
		{"Belgium", `/FLU5\253769484_A`, []string{"0-0:96.1.4(50217)", "0-0:96.1.1(3153)"}, drivers.Identity{Manufacturer: "FLU", Model: "53769484_A", ID: "1S", Version: "50217"}},
		{"the better of two versions, which comes last", "/FLU5", []string{"0-0:96.1.4(50217)", "1-3:0.2.8(50)"}, drivers.Identity{Manufacturer: "FLU", Version: "50"}},
		{"the better of two versions, which comes first", "/FLU5", []string{"1-3:0.2.8(50)", "0-0:96.1.4(50217)"}, drivers.Identity{Manufacturer: "FLU", Version: "50"}},
		{"the first of two numbers and versions", "/FLU5", []string{"1-3:0.2.8(50)", "1-3:0.2.8(51)", "0-0:96.1.1(4B38)", "0-0:96.1.1(4B39)"}, drivers.Identity{Manufacturer: "FLU", ID: "K8", Version: "50"}},
		{"Sweden prints no number", "/KAM5", []string{"1-0:1.8.0(1*kWh)"}, drivers.Identity{Manufacturer: "KAM"}},
		{"a Nordic list has the type as 96.1.1", "/ADN9 6534", []string{"0-0:96.1.1(6525)", "0-0:96.1.0(7359992890941742)"}, drivers.Identity{Manufacturer: "ADN", Model: "6534", ID: "7359992890941742"}},
		{"Luxembourg", `/Lux5\253663629_D`, []string{"0-0:42.0.0(5341)"}, drivers.Identity{Manufacturer: "LUX", Model: "53663629_D", ID: "SA"}},
		{"Germany", "/ESY5Q3DA1024 V3.03", []string{"1-0:0.0.0*255(111940207)", "0-0:96.1.255*255(1ESY)"}, drivers.Identity{Manufacturer: "ESY", Model: "Q3DA1024 V3.03", ID: "111940207"}},
		{"the least speed and mode", `/ABC0\0TYPE`, []string{"1-0:1.8.0(1*kWh)"}, drivers.Identity{Manufacturer: "ABC", Model: "TYPE"}},
		{"the greatest speed and mode", `/ABC9\9TYPE`, []string{"1-0:1.8.0(1*kWh)"}, drivers.Identity{Manufacturer: "ABC", Model: "TYPE"}},
		{"a mode that is cut", `/ABC5\`, []string{"1-0:1.8.0(1*kWh)"}, drivers.Identity{Manufacturer: "ABC"}},
		{"no speed digit", "/NWA-WARMTELINK", []string{"0-0:96.1.1(ADC3)"}, drivers.Identity{Manufacturer: "NWA", Model: "WARMTELINK", ID: "ADC3"}},
		{"STX for the mode", "/ISk5\x02MIE5T-200", []string{"1-0:1.8.0(1*kWh)"}, drivers.Identity{Manufacturer: "ISK", Model: "MIE5T-200"}},
		{"two letters", "/AB", []string{"1-0:1.8.0(1*kWh)"}, drivers.Identity{Manufacturer: "AB"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			tc.want.Driver, tc.want.Medium = "p1", "electricity"
			if diff := cmp.Diff(tc.want, decodedFrom(t, drivers.Zones{}, tc.ident, tc.lines...).Meter); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChannels(t *testing.T) {
	gas := drivers.Identity{Driver: "p1", ID: "G1", Medium: "gas"}
	tests := []struct {
		name  string
		lines []string
		want  []drivers.Channel
		codes []string
	}{
		{
			"gas and water of Belgium",
			[]string{"0-1:24.1.0(003)", "0-1:96.1.1(4731)", "0-1:24.2.3(200512134558S)(00112.384*m3)", "0-2:24.1.0(007)", "0-2:96.1.1(5732)", "0-2:24.2.1(200512134558S)(00872.234*m3)"},
			[]drivers.Channel{{Number: 1, Meter: gas}, {Number: 2, Meter: drivers.Identity{Driver: "p1", ID: "W2", Medium: "water"}}},
			[]string{"0-1:24.1.0", "0-1:96.1.1", "0-1:24.2.3", "0-2:24.1.0", "0-2:96.1.1", "0-2:24.2.1"},
		},
		{
			"a dead channel",
			[]string{"0-1:24.1.0(003)", "0-1:96.1.0()", "0-1:24.2.1(700101010000W)(00000000)", "0-2:24.1.0(003)", "0-2:96.1.0(4731)", "0-2:24.2.1(200426223001S)(00246.138*m3)"},
			[]drivers.Channel{{Number: 2, Meter: gas}},
			[]string{"0-2:24.1.0", "0-2:96.1.0", "0-2:24.2.1"},
		},
		{
			"a replaced meter, the new one last",
			[]string{"0-1:24.1.0(003)", "0-1:96.1.0(4730)", "0-1:24.2.1(200426223001S)(00246.138*m3)", "0-1:24.1.0(003)", "0-1:96.1.0(4731)", "0-1:24.2.1(200526223001S)(00001.138*m3)"},
			[]drivers.Channel{{Number: 1, Meter: gas}},
			[]string{"0-1:24.1.0", "0-1:96.1.0", "0-1:24.2.1"},
		},
		{
			"a replaced meter, the new one first",
			[]string{"0-1:24.1.0(003)", "0-1:96.1.0(4731)", "0-1:24.2.1(200526223001S)(00001.138*m3)", "0-1:24.1.0(003)", "0-1:96.1.0(4730)", "0-1:24.2.1(200426223001S)(00246.138*m3)"},
			[]drivers.Channel{{Number: 1, Meter: gas}},
			[]string{"0-1:24.1.0", "0-1:96.1.0", "0-1:24.2.1"},
		},
		{
			"a dead announcement beside a live one",
			[]string{"0-1:24.1.0(003)", "0-1:96.1.0()", "0-1:24.2.1(700101010000W)(00000000)", "0-1:24.1.0(003)", "0-1:96.1.0(4731)", "0-1:24.2.1(200526223001S)(00001.138*m3)"},
			[]drivers.Channel{{Number: 1, Meter: gas}},
			[]string{"0-1:24.1.0", "0-1:96.1.0", "0-1:24.2.1"},
		},
		{
			"a reading without number or type",
			[]string{"0-1:24.2.3(1234ABC)(00001.234*m3)"},
			[]drivers.Channel{{Number: 1, Meter: drivers.Identity{Driver: "p1", Medium: "gas"}}},
			[]string{"0-1:24.2.3"},
		},
		{
			"the meter itself is no channel",
			[]string{"0-0:96.1.1(4B38)", "1-0:1.8.0(1*kWh)"},
			nil,
			[]string{"0-0:96.1.1", "1-0:1.8.0"},
		},
		{
			"a number before the type",
			[]string{"0-1:96.1.1(4731)", "0-1:24.1.0(003)"},
			[]drivers.Channel{{Number: 1, Meter: gas}},
			[]string{"0-1:96.1.1", "0-1:24.1.0"},
		},
		{
			"a second channel that tells what the first did not",
			[]string{"0-1:24.1.0(007)", "0-1:24.2.1(200512134558S)(00872.234*m3)", "0-2:96.1.1(4731)", "0-2:24.1.0(003)"},
			[]drivers.Channel{{Number: 1, Meter: drivers.Identity{Driver: "p1", Medium: "water"}}, {Number: 2, Meter: gas}},
			[]string{"0-1:24.1.0", "0-1:24.2.1", "0-2:96.1.1", "0-2:24.1.0"},
		},
		{
			"a new meter without a number, which stands at nought",
			[]string{"0-1:24.1.0(003)", "0-1:24.2.1(200512134558S)(00000.000*m3)"},
			[]drivers.Channel{{Number: 1, Meter: drivers.Identity{Driver: "p1", Medium: "gas"}}},
			[]string{"0-1:24.1.0", "0-1:24.2.1"},
		},
		{
			"a channel that stands at nought since 1970",
			[]string{"0-1:24.1.0(003)", "0-1:24.2.1(700101010000W)(00000.000*m3)", "1-0:1.8.0(1*kWh)"},
			nil,
			[]string{"1-0:1.8.0"},
		},
		{
			"two meters of one channel read at the same time, the later counts",
			[]string{"0-1:24.1.0(003)", "0-1:96.1.0(4730)", "0-1:24.2.1(200426223001S)(00246.138*m3)", "0-1:24.1.0(003)", "0-1:96.1.0(4731)", "0-1:24.2.1(200426223001S)(00001.138*m3)"},
			[]drivers.Channel{{Number: 1, Meter: gas}},
			[]string{"0-1:24.1.0", "0-1:96.1.0", "0-1:24.2.1"},
		},
		{
			"a number without a reading",
			[]string{"0-1:24.1.0(003)", "0-1:96.1.0(4731)"},
			[]drivers.Channel{{Number: 1, Meter: gas}},
			[]string{"0-1:24.1.0", "0-1:96.1.0"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := decoded(t, tc.lines...)
			if diff := cmp.Diff(tc.want, r.Channels); diff != "" {
				t.Error(diff)
			}
			var codes []string
			for i := range r.Values {
				if r.Values[i].Flags&drivers.Vacant == 0 {
					codes = append(codes, r.Values[i].Code.String())
				}
			}
			if sent := len(tc.lines); len(r.Values) < len(codes) || len(r.Values) > sent {
				t.Errorf("%d values of %d lines", len(r.Values), sent)
			}
			if diff := cmp.Diff(tc.codes, codes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHostileTelegramsStaySmall(t *testing.T) {
	var channels []string
	for i := range 600 {
		channels = append(channels, fmt.Sprintf("0-%d:24.2.1(1*m3)", i%64+1), fmt.Sprintf("0-%d:24.1.0(3)", i%64+1))
	}
	for name, lines := range map[string][]string{
		"many channels":   channels[:800],
		"deep brackets":   {"1-0:1.8.0" + strings.Repeat("(", 4000) + strings.Repeat(")", 4000)},
		"open brackets":   strings.Split(strings.TrimSpace(strings.Repeat("1-0:1.8.0(1\n", 1000)), "\n"),
		"many groups":     {"0-0:98.1.0" + strings.Repeat("(1)", 2500)},
		"a giant profile": {"1-0:99.97.0(999999999999999999999)" + strings.Repeat("(0-0:96.7.19)", 500)},
		"long address":    {strings.Repeat("1", 8000) + "(1)"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := newDecoder(&Config{}, drivers.Zones{})
			if err != nil {
				t.Fatal(err)
			}
			telegram := sealed("/TST5\n\n" + strings.Join(lines, "\n") + "\n!")
			for range 3 {
				d.Feed([]byte(telegram))
				decodertest.Drain(t, d)
				if len(d.slots) > maxSlots || len(d.channels) > maxChannels || len(d.texts.asSent) > maxTexts {
					t.Errorf("%d slots, %d channels, %d texts", len(d.slots), len(d.channels), len(d.texts.asSent))
				}
				d.Feed([]byte(dsmr5))
				if got, lost := decodertest.Drain(t, d); len(got) == 0 {
					t.Fatalf("the good telegram behind it was lost too: %v", lost)
				}
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for check, ok := range map[string]bool{"": true, "auto": true, "crc": true, "none": true, "CRC": false, "sometimes": false} {
		if err := (&Config{Check: check}).Validate(); (err == nil) != ok {
			t.Errorf("check %q: %v", check, err)
		}
	}
}
