package mbus

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestLengthsThatLVARSays(t *testing.T) {
	for lvar, want := range map[byte]int{
		0x00: 0, 0xBF: 191, 0xC0: 0, 0xC9: 9, 0xCA: -1, 0xCF: -1, 0xD0: 0, 0xD9: 9, 0xDA: -1, 0xE0: 0, 0xEF: 15,
		0xF0: 16, 0xF4: 32, 0xF5: 48, 0xF6: 64, 0xF7: -1, 0xFF: -1,
	} {
		if got := lvarSize(lvar); got != want {
			t.Errorf("%02X: %d bytes, want %d", lvar, got, want)
		}
	}
}

func TestIntegersHaveTheirSign(t *testing.T) {
	for digits, want := range map[string]int64{
		"": 0, "7F": 127, "80": -128, "FF": -1, "0080": -32768, "FF7F": 32767, "000080": -8388608, "FFFF7F": 8388607,
		"00000080": math.MinInt32, "FFFFFF7F": math.MaxInt32, "000000000080": -1 << 47, "0000000000000080": math.MinInt64, "FFFFFFFFFFFFFF7F": math.MaxInt64,
	} {
		if got := signed(unhex(t, digits)); got != want {
			t.Errorf("%s: %d, want %d", digits, got, want)
		}
	}
	for raw, want := range map[int64]int64{0: -130, 65: 0, 127: 124, 128: 128, -1: -1, -85: -85} {
		if got := decibels(raw); got != want {
			t.Errorf("level %d is %d dBm, want %d", raw, got, want)
		}
	}
}

// What one record of an answer gives.
func TestValuesOfOneRecord(t *testing.T) {
	for _, c := range []struct{ name, record, want string }{
		{"a negative number", "0213FFFF", "volume=-0.001"},
		{"a real", "0513 0000C03F", "volume=0.0015"},
		{"a negative real", "0513 000020C0", "volume=-0.0025"},
		{"a real that is no number", "0513 0000C07F", ""},
		{"an infinite real", "0513 0000807F", ""},
		{"nothing in a binary of no bytes", "0D13E0", ""},
		{"a binary of two bytes", "0D13E2FEFF", "volume=-0.002"},
		{"tenths of a megacalorie", "04FB0C 0A000000", "energy=1.0"},
		{"megacalories in hundreds", "04FB0F 0A000000", "energy=1000"},
		{"a binary of eight bytes", "0D13E8 E803000000000000", "volume=1.000"},
		{"a binary of nine bytes", "0D13E9 E80300000000000001", `volume="0100000000000003E8"`},
		{"a date in a binary of two bytes", "0D6C E2 4137", `date="2026-07-01T00:00:00"`},
		{"a date in a BCD of variable length", "0D6C C2 4137", ""},
		{"a date in BCD", "0A6C 4137", ""},
		{"a date in a real", "056D 000A4137", ""},
		{"a positive BCD", "0D13C21234", "volume=3.412"},
		{"a negative BCD", "0D13D21234", "volume=-3.412"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newTestDecoder(t)
			d.Feed(answerOf(t, 1, strings.ReplaceAll(c.record, " ", "")+"0406 01000000"))
			var r drivers.Reading
			if err := d.Next(&r); err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSpace(c.want + " energy=1 status=0")
			if got := names(&r); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func newTestDecoder(t *testing.T) drivers.Decoder {
	t.Helper()
	d, err := Driver.NewDecoder(Driver.NewConfig(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// EN 13757-3, annex A, types F, G and I: the 1st of July 2026 is 41 37.
func TestDatesOfTheCalendarAreTakenAndNoOthers(t *testing.T) {
	for digits, want := range map[string]string{
		"4137": "2026-07-01T00:00:00", "413C": "2026-12-01T00:00:00", "4131": "2026-01-01T00:00:00",
		"4037": "", "4130": "", "413D": "", // day 0, month 0, month 13
		"5E34": "2026-04-30T00:00:00", "5F34": "", "5F37": "2026-07-31T00:00:00",
		"1D32": "2024-02-29T00:00:00", "5D32": "", "1D02": "2000-02-29T00:00:00",
		"01A1": "2080-01-01T00:00:00", "21A1": "1981-01-01T00:00:00", "61C1": "1999-01-01T00:00:00", "81C1": "",

		"3B174137": "2026-07-01T23:59:00", "3C174137": "", "3B184137": "", "BB174137": "",
		"3B371D02": "2000-02-29T23:59:00", "3B571D02": "", "3B571C02": "2100-02-28T23:59:00", // the century
		"3B1741F7": "", // of every year, and the 1st of July 2127 it is not

		"3B3B17413700": "2026-07-01T23:59:59", "3C3B17413700": "", "3B3C17413700": "", "3B3B18413700": "", "3BBB17413700": "",
		"413700": "", "41": "",
	} {
		stamp, ok := stampOf(unhex(t, digits), nil)
		if ok != (want != "") || ok && stamp.String() != want {
			t.Errorf("%s: %s, %t; want %q", digits, stamp, ok, want)
		}
	}
	for digits, want := range map[string]bool{"000AE1F7": true, "000A41F7": false, "000AE137": false, "E1F7": false} {
		if got := recurs(unhex(t, digits)); got != want {
			t.Errorf("%s is of every year: %t", digits, got)
		}
	}
}

func TestTheSummerBitOfSecondsTellsTheDoubledHour(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	// 27 October 2024 02:30:00, type I
	for digits, want := range map[string]string{"401E021B3A00": "2024-10-27T02:30:00+02:00", "001E021B3A00": "2024-10-27T02:30:00+01:00"} {
		if got, ok := stampOf(unhex(t, digits), berlin); !ok || got.String() != want {
			t.Errorf("%s: %s, want %s", digits, got, want)
		}
	}
}

// ISO 8859-1 without its control characters; they make bytes of it.
func TestTextIsThatOfItsAlphabet(t *testing.T) {
	for digits, want := range map[string]string{
		"4241": "AB", "20": " ", "1F": "1F", "7E": "~", "7F": "7F", "9F": "9F", "80": "80", "A0": "\u00a0", "FC": "ü", "4100": "4100",
	} {
		var r reader
		var v drivers.Value
		if !r.text(&v, unhex(t, digits)) || v.Text != want {
			t.Errorf("%s: %q, want %q", digits, v.Text, want)
		}
	}
}

func TestAMeterIsFoundByTheDigitsThatAreGiven(t *testing.T) {
	meter := [8]byte{0x78, 0x56, 0x34, 0x12, 0x24, 0x23, 1, 4}
	for address, want := range map[string]bool{
		"1234567824230104": true, "1234567FFFFFFFFF": true, "F234567FFFFFFFFF": true, "FFFFFFF8FFFFFFFF": true, "FFFFFFFFFFFFFFFF": true,
		"1234567EFFFFFFFF": false, "1234568FFFFFFFFF": false, "2F34567FFFFFFFFF": false, "FFFFFF7FFFFFFFFF": true, "FFFFFF8FFFFFFFFF": false,
		"12345678FFFF0104": true, "12345678242301F4": false, "123456782423F104": false,
	} {
		a, err := ParseAddress(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if got := a.fits(meter); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
}

func TestATimeOfDayThatDoesNotExist(t *testing.T) {
	for digits, want := range map[string]string{"3B3B17": "23:59:59", "3C0000": "", "003C00": "", "000018": "", "000000": "00:00:00"} {
		got, ok := appendTypeJ(nil, unhex(t, digits))
		if string(got) != want || ok != (want != "") {
			t.Errorf("%s: %q, %t; want %q", digits, got, ok, want)
		}
	}
}

// Sunday is the seventh day, and the summer bit is that of the zone.
func TestAMomentIsWrittenWithWeekdayAndSeason(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at      time.Time
		weekday byte
		summer  byte
	}{
		{time.Date(2026, 7, 5, 12, 0, 0, 0, berlin), 7, 0x40},
		{time.Date(2026, 7, 6, 12, 0, 0, 0, berlin), 1, 0x40},
		{time.Date(2026, 1, 4, 12, 0, 0, 0, berlin), 7, 0},
		{time.Date(2026, 1, 10, 12, 0, 0, 0, berlin), 6, 0},
	} {
		b := AppendTypeI(nil, c.at)
		if b[2]>>5 != c.weekday || b[0]&0x40 != c.summer {
			t.Errorf("%s: % X, want weekday %d, summer %02X", c.at, b, c.weekday, c.summer)
		}
	}
}

func TestRecordsOfTheConfigurationAreHeldToTheirCoding(t *testing.T) {
	for _, c := range []struct {
		record string
		says   string // of a mistake; empty: it is good
		min    string
		max    string
	}{
		{"a 0113", "", "-0.128", "0.127"},
		{"a 0413", "", "-2147483.648", "2147483.647"},
		{"a 0713", "", "-9223372036854775.808", "9223372036854775.807"},
		{"a 0AFD17", "", "-999", "9999"},
		{"a 01FD17", "", "0", "255"},
		{"a 04FD17", "", "0", "4294967295"},
		{"a 07FD17", "", "0", "9223372036854775807"},
		{"a 04FD17 1..5", "", "1", "5"},
		{"a 04FD17 5..1", "the lower limit is not below", "", ""},
		{"a 04FD17 5..5", "the lower limit is not below", "", ""},
		{"a 01FD17 0..256", "the record holds 0 to 255", "", ""},
		{"a 01FD17 -1..0", "the record holds 0 to 255", "", ""},
		{"a 01FD17 x..1", "not a decimal number", "", ""},
		{"a 01FD17 1..x", "not a decimal number", "", ""},
		{"a 01FD17 sideways", "not known", "", ""},
		{"clock 01FD17", "is named twice", "", ""},
		{"a 016D", "", "", ""},
		{"a 046D", "", "0", "0"},
	} {
		cfg := newConfig()
		cfg.Records = []string{c.record}
		all, err := cfg.records(nil)
		if c.record == "a 016D" { // a moment needs two, four or six bytes
			if err == nil {
				t.Error("a moment of one byte is taken")
			}
			continue
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.record, err, c.says)
		}
		if err == nil && (all[0].Min.String() != c.min || all[0].Max.String() != c.max) {
			t.Errorf("%s holds %s to %s, want %s to %s", c.record, all[0].Min, all[0].Max, c.min, c.max)
		}
	}
}

func TestValuesThatARecordCannotHold(t *testing.T) {
	number := func(s string) drivers.Value {
		d, err := drivers.ParseDecimal(s)
		if err != nil {
			t.Fatal(err)
		}
		return drivers.Value{Number: d}
	}
	at := func(year int) drivers.Value {
		return drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: time.Date(year, 7, 1, 10, 0, 0, 0, time.UTC)}}
	}
	for _, c := range []struct {
		name, record string
		v            drivers.Value
		want         string // empty: refused
	}{
		{"a negative number", "a 0213", number("-0.002"), "FEFF"},
		{"an unsigned number", "a 02FD17", number("65534"), "FEFF"},
		{"a BCD", "a 0AFD17", number("1234"), "3412"},
		{"a negative BCD", "a 0AFD17", number("-34"), "34F0"},
		{"a volume in its steps", "a 0413", number("1.234"), "D2040000"},
		{"a volume between two steps", "a 0413", number("1.2345"), ""},
		{"more than it holds", "a 01FD17", number("256"), ""},
		{"a real", "a 0513", number("1.5"), "0080BB44"},
		{"a real of too many digits", "a 0513", number("1.23456789"), ""},
		{"a date", "a 026C", at(2026), "4137"},
		{"a date and time", "a 046D", at(2026), "000A4137"},
		{"a date, time and seconds", "a 066D", at(2026), ""},
		{"a date before any", "a 046D", at(1999), ""},
		{"a date behind all", "a 046D", at(2081), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := parseRecord(c.record, nil)
			if err != nil {
				t.Fatal(err)
			}
			d, err := r.encode(c.v, nil)
			if c.name == "a date, time and seconds" {
				if err != nil || len(d.Data) != 6 {
					t.Errorf("% X, %v", d.Data, err)
				}
				return
			}
			if got := fmt.Sprintf("%X", d.Data); err == nil && got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, drivers.ErrValue) {
				t.Errorf("%s, %v; want %q", got, err, c.want)
			}
		})
	}
}

// Who a frame says that it is of; what the fixed structure does not say is taken from
// what was asked.
func TestWhoAFrameNames(t *testing.T) {
	rest := Address{0, 0, 0, 0, 5, 6, 7, 8}
	long := "78563412 2423 0104 00000000"
	fixed := "78563412 00 00 E97E 01000000 35010000"
	for _, c := range []struct {
		name  string
		ci    byte
		data  string
		want  string
		named bool
	}{
		{"a long header", ciLong, long, "1234567824230104", true},
		{"a long header that is cut", ciLong, long[:19], "", false},
		{"the fixed structure", ciFixed, fixed, "1234567805060708", true},
		{"the fixed structure, high byte first", ciFixedMSB, strings.Replace(fixed, "78563412", "12345678", 1), "1234567805060708", true},
		{"the fixed structure, cut", ciFixed, fixed[:20], "", false},
		{"a short header", 0x7A, "00000000", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, named := meterOf(&Frame{CI: c.ci, Data: unhex(t, c.data)}, rest)
			text := ""
			if named {
				text = fmt.Sprintf("%02X%02X%02X%02X%02X%02X%02X%02X", got[3], got[2], got[1], got[0], got[4], got[5], got[6], got[7])
			}
			if named != c.named || text != c.want {
				t.Errorf("%s, %t; want %s", text, named, c.want)
			}
		})
	}
}

// The units of the fixed structure, EN 1434-3 of 1997: three codes each, in steps of ten.
func TestEachUnitOfTheFixedStructure(t *testing.T) {
	for code, want := range map[byte]string{
		0x02: "0.100 kWh", 0x03: "1.00 kWh", 0x04: "10.0 kWh", 0x05: "100 kWh", 0x07: "10000 kWh", 0x08: "100000 kWh", 0x0A: "10000000 kWh",
		0x0B: "0.100 MJ", 0x0D: "10.0 MJ", 0x0E: "100 MJ", 0x10: "10000 MJ", 0x11: "100 GJ", 0x13: "10000 GJ",
		0x14: "100 W", 0x16: "10000 W", 0x17: "100000 W", 0x1A: "100000000 W", 0x1D: "100 kJ/h", 0x20: "100 MJ/h", 0x23: "100 GJ/h", 0x25: "10000 GJ/h",
		0x26: "0.000100 m³", 0x28: "0.0100 m³", 0x29: "0.100 m³", 0x2C: "100 m³", 0x2E: "10000 m³",
		0x2F: "0.000100 m³/h", 0x32: "0.100 m³/h", 0x35: "100 m³/h", 0x37: "10000 m³/h", 0x38: "0.100 °C", 0x39: "100",
		0x00: "", 0x01: "", 0x3A: "", 0x3D: "", 0x3F: "",
	} {
		// of heat, the second counter without a unit
		data := append(unhex(t, "785634120001"), code, 0x7F, 100, 0, 0, 0, 0, 0, 0, 0)
		b, err := (&Frame{Kind: Long, C: answerC, A: 1, CI: ciFixed, Data: data}).AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := newTestDecoder(t)
		d.Feed(b)
		var r drivers.Reading
		if err := d.Next(&r); err != nil {
			t.Errorf("%02X: %v", code, err)
			continue
		}
		got := ""
		if v := &r.Values[0]; v.Name != "status" {
			got = strings.TrimSpace(v.Number.String() + " " + string(v.Unit))
		}
		if got != want {
			t.Errorf("%02X: %q, want %q", code, got, want)
		}
	}
}

func TestMetersOfALineAreToldApart(t *testing.T) {
	d := newTestDecoder(t)
	one, two := Address{0x78, 0x56, 0x34, 0x12, 0x24, 0x23, 1, 4}, Address{0x79, 0x56, 0x34, 0x12, 0x24, 0x23, 1, 7}
	for _, c := range []struct {
		meter        Address
		id, of, what string
	}{{one, "12345678", "HYD", "heat"}, {two, "12345679", "HYD", "water"}, {two, "12345679", "HYD", "water"}, {one, "12345678", "HYD", "heat"}} {
		d.Feed(answerOfMeter(t, c.meter, 1, lastPart))
		var r drivers.Reading
		if err := d.Next(&r); err != nil {
			t.Fatal(err)
		}
		if m := r.Meter; m.ID != c.id || m.Manufacturer != c.of || m.Medium != c.what {
			t.Errorf("%+v, want %s, %s, %s", m, c.id, c.of, c.what)
		}
		d.Gap()
		drain(d, &r)
	}
}
