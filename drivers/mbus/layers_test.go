package mbus

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// telegramOf is a telegram of radio module 99999999 with what follows its link.
func telegramOf(t testing.TB, after string) []byte {
	t.Helper()
	b := append(unhex(t, "00442423999999990137"), unhex(t, after)...)
	b[0] = byte(len(b) - 1)
	return b
}

// sealedPayload is the payload with its CRC in front, low byte first.
func sealedPayload(t testing.TB, payload string) string {
	t.Helper()
	crc := wire.CRC13757(unhex(t, payload))
	return hexOf([]byte{byte(crc), byte(crc >> 8)}) + payload
}

func TestLayersAndWhoIsMeant(t *testing.T) {
	const (
		volume = "0413E8030000"
		meter  = "2423" + "78563412" + "0107" // manufacturer, ID, version, medium
		long   = "72" + "78563412" + "2423" + "0107" + "01000000"
	)
	for _, c := range []struct {
		name, after string
		id          string
		check       drivers.Check
	}{
		{"the link alone", "78" + volume, "99999999", drivers.CheckNone},
		{"short extended link layer", "8C2001" + "78" + volume, "99999999", drivers.CheckNone},
		{"with a session", "8D2001" + "00000000" + sealedPayload(t, "78"+volume), "99999999", drivers.CheckCRC16},
		{"with a sender", "8E2001" + meter + "78" + volume, "12345678", drivers.CheckNone},
		{"with a sender and a session", "8F2001" + meter + "00000000" + sealedPayload(t, "78"+volume), "12345678", drivers.CheckCRC16},
		{"a long header names the meter", long + volume, "12345678", drivers.CheckNone},
		{"a network layer", "8100" + "78" + volume, "99999999", drivers.CheckNone},
		{"authentication of nothing", "90" + "02" + "0000" + "78" + volume, "99999999", drivers.CheckNone},
		{"an alarm", "71" + "04", "99999999", drivers.CheckNone},
		{"the maker's own", "A2" + "0102030405", "99999999", drivers.CheckNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := decode(t, wireless(t, ""), telegramOf(t, c.after))
			if len(all.readings) != 1 || len(all.lost) != 0 {
				t.Fatalf("got %+v", all)
			}
			if r := all.readings[0]; r.Meter.ID != c.id || r.Check != c.check {
				t.Errorf("meter %s, check %s", r.Meter.ID, r.Check)
			}
		})
	}
}

func TestBrokenLayersAreTold(t *testing.T) {
	for _, c := range []struct {
		name, after string
		want        error
	}{
		{"extended link layer cut", "8D2001000000", drivers.ErrShort},
		{"sender cut", "8E20012423", drivers.ErrShort},
		{"payload CRC", "8D2001" + "00000000" + "1234" + "780413E8030000", drivers.ErrChecksum},
		{"enciphered session", "8D2001" + "00000020" + "1234" + "780413E8030000", drivers.ErrAuth},
		{"authentication layer cut", "90" + "0F" + "002C", drivers.ErrShort},
		{"authentication layer of another length", "90" + "05" + "0000" + "780413E8030000", drivers.ErrSyntax},
		{"fragments", "90" + "02" + "0040" + "780413E8030000", drivers.ErrSyntax},
		{"short header cut", "7A0100", drivers.ErrShort},
		{"no CI-field behind a layer", "8C2001", drivers.ErrShort},
		{"unknown CI-field", "FF00", drivers.ErrSyntax},
		{"application error", "7002", drivers.ErrRefused},
		{"alarm without its byte", "71", drivers.ErrShort},
		{"more blocks than bytes", "7A01005005" + "2F2F0413E8030000", drivers.ErrShort},
		{"mode 13", "7A0100200D" + "2F2F0413E8030000", drivers.ErrAuth},
		{"compact frame cut", "79" + "0102", drivers.ErrShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := decode(t, wireless(t, ""), telegramOf(t, c.after))
			if len(all.readings) != 0 || len(all.lost) != 1 || !errors.Is(&all.lost[0], c.want) {
				t.Errorf("got %+v", all)
			}
		})
	}
}

func TestTransportLayerAloneIsNoReading(t *testing.T) {
	if all := decode(t, wireless(t, ""), telegramOf(t, "8001000000")); len(all.readings)+len(all.lost) != 0 {
		t.Errorf("got %+v", all)
	}
}

func TestCompactFramesNeedTheirFormatAndTheirCRC(t *testing.T) {
	heads, full := unhex(t, "04130406"), unhex(t, "0413E80300000406D0070000")
	format, crc := wire.CRC13757(heads), wire.CRC13757(full)
	compact := func(crc uint16) []byte {
		return telegramOf(t, "79"+hexOf([]byte{byte(format), byte(format >> 8), byte(crc), byte(crc >> 8)})+"E8030000D0070000")
	}
	teacher := telegramOf(t, "78"+hexOf(full))
	if all := decode(t, wireless(t, ""), compact(crc)); len(all.readings)+len(all.lost) != 0 {
		t.Errorf("before the format is known: %+v", all)
	}
	all := decode(t, wireless(t, ""), teacher, compact(crc))
	if len(all.readings) != 2 || names(&all.readings[0]) != names(&all.readings[1]) {
		t.Errorf("behind its teacher: %+v", all)
	}
	if r := all.readings[1]; r.Check != drivers.CheckCRC16 {
		t.Errorf("check %s", r.Check)
	}
	all = decode(t, wireless(t, ""), teacher, compact(crc^1))
	if len(all.readings) != 1 || len(all.lost) != 1 || !errors.Is(&all.lost[0], drivers.ErrChecksum) {
		t.Errorf("with another CRC: %+v", all)
	}
	if f := all.lost[0]; f.Got != uint32(crc^1) || f.Want != uint32(crc) {
		t.Errorf("got %#x, want %#x", f.Got, f.Want)
	}
}

// The two bytes C4 80 are a letter to whoever takes heads for text.
func TestTheExplanationOfACompactFramePutsEachValueWhereItStands(t *testing.T) {
	heads, full := unhex(t, "C4804014"+"025D"), unhex(t, "C4804014E8030000"+"025D2912")
	format, crc := wire.CRC13757(heads), wire.CRC13757(full)
	compact := telegramOf(t, "79"+hexOf([]byte{byte(format), byte(format >> 8), byte(crc), byte(crc >> 8)})+"E8030000"+"2912")
	sent := append(telegramOf(t, "78"+hexOf(full)), compact...)
	spans, err := explainWireless(&WirelessConfig{}, drivers.Zones{}, sent)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, s := range spans[len(spans)-2:] {
		values = append(values, fmt.Sprintf("%s %x %s", s.Name, sent[s.Offset:s.Offset+s.Length], s.Value))
	}
	want := []string{
		"data e8030000 volume@s1u2 10.00 m³",
		"data 2912 return_temperature 46.49 °C",
	}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Error(diff)
	}
	if spans[0].Name != "L-field" {
		t.Errorf("the first byte is %+v", spans[0])
	}
}

func TestFormatsOfSeveralMetersAreKept(t *testing.T) {
	var f formats
	meters := [][8]byte{{4: 1}, {4: 2}, {4: 3}}
	full := unhex(t, "0413E8030000")
	for _, m := range meters {
		f.learn(m, full)
	}
	format, crc := wire.CRC13757(full[:2]), wire.CRC13757(full)
	compact := append([]byte{byte(format), byte(format >> 8), byte(crc), byte(crc >> 8)}, full[2:]...)
	for _, m := range meters {
		if got, _, wrong := f.expand(m, compact); wrong != nil || string(got) != string(full) {
			t.Errorf("%v: % X, %v; want % X", m, got, wrong, full)
		}
	}
}

func TestLearnedFormatsAreBounded(t *testing.T) {
	var f formats
	for n := range 3 * maxFormats {
		f.learn([8]byte{4: byte(n), 5: byte(n >> 8)}, unhex(t, "0413E8030000"))
	}
	if len(f.known) > maxFormats {
		t.Errorf("%d formats", len(f.known))
	}
}

// zoneForTest is a zone that nobody's machine is in by accident.
var zoneForTest = time.FixedZone("", 5*3600+45*60)

func TestDriversDecodeInTheZoneOfTheMeter(t *testing.T) {
	for _, d := range []drivers.Driver{Driver, Wireless} {
		c := d.NewConfig()
		if err := c.Validate(); err != nil {
			t.Errorf("%s: its own defaults: %v", d.Name, err)
		}
		decoder, err := d.NewDecoder(c, drivers.Zones{Host: zoneForTest})
		if err != nil {
			t.Fatal(err)
		}
		telegram := answerOf(t, 1, "046D128B5312")
		if d.Name == wirelessName {
			telegram = telegramOf(t, "78"+"046D128B5312")
		}
		all := decode(t, decoder, telegram)
		if len(all.readings) != 1 || all.readings[0].Time.String() != "2010-02-19T11:18:00+05:45" {
			t.Errorf("%s: %+v", d.Name, all)
		}
	}
}
