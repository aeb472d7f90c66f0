package routeb

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
)

func bytesOf(t *testing.T, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The meter may ask us who we are, as ECHONET Lite has it of every node.
func TestTheMeterIsAnsweredWhoWeAre(t *testing.T) {
	for _, c := range []struct {
		name string
		f    Frame
		want []Frame
	}{
		{
			"our controller is on",
			Frame{TID: 7, Source: Meter, Sink: Controller, Service: Get, Properties: []Property{{epcOperation, nil}}},
			[]Frame{{TID: 7, Source: Controller, Sink: Meter, Service: GetRes, Properties: []Property{{epcOperation, []byte{0x30}}}}},
		},
		{
			"something that we do not have",
			Frame{TID: 8, Source: Meter, Sink: NodeProfile, Service: Get, Properties: []Property{{epcMaker, nil}, {0xE0, nil}}},
			[]Frame{{TID: 8, Source: NodeProfile, Sink: Meter, Service: Get - 0x10, Properties: []Property{{epcMaker, []byte{0, 0, 0}}, {0xE0, nil}}}},
		},
		{"not us", Frame{Source: Meter, Sink: Meter, Service: Get, Properties: []Property{{epcOperation, nil}}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s session
			s.heard(&c.f)
			if diff := cmp.Diff(c.want, s.owed, cmp.Comparer(func(a, b Frame) bool {
				return string(a.AppendTo(nil)) == string(b.AppendTo(nil))
			})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFramesThatEndTooEarly(t *testing.T) {
	const head = "1081 0001 028801 05FF01 72"
	for _, c := range []struct {
		name, frame, field string
		want               error
	}{
		{"no service", head[:len(head)-3], "header", drivers.ErrShort},
		{"no count", head, "header", drivers.ErrShort},
		{"another header", "1082 0001 028801 05FF01 72 00", "EHD", drivers.ErrSyntax},
		{"no such service", "1081 0001 028801 05FF01 00 00", "ESV", drivers.ErrSyntax},
		{"a property that is missing", head + "01", "property", drivers.ErrShort},
		{"half a property", head + "01 E7", "property", drivers.ErrShort},
		{"a property that is cut", head + "01 E7 04 000000", "property", drivers.ErrShort},
		{"a second list that is missing", "1081 0001 028801 05FF01 7E 00", "property", drivers.ErrShort},
		{"no property", head + "00", "", nil},
		{"one", head + "01 E7 01 00", "", nil},
		{"as many as are taken", head + "40" + strings.Repeat("E7 00", 64), "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f Frame
			field, _, err := f.Parse(bytesOf(t, c.frame))
			if field != c.field || !errors.Is(err, c.want) {
				t.Errorf("%s, %v; want %s, %v", field, err, c.field, c.want)
			}
			if _, v := measure(bytesOf(t, c.frame)); (v == yes) != (c.want == nil) && c.field != "EHD" {
				t.Errorf("whole: %v", v)
			}
		})
	}
}

// Of several networks ours is the one that says so, else the best heard of those that
// say nothing.
func TestOurNetworkAmongSeveral(t *testing.T) {
	id := houseID
	pair := id[len(id)-8:]
	for _, c := range []struct {
		name string
		pans []PAN
		want uint16
		ok   bool
	}{
		{"none", nil, 0, false},
		{"another's", []PAN{{ID: 1, Pair: "00000000"}}, 0, false},
		{"ours", []PAN{{ID: 1, Pair: "00000000", Quality: 9}, {ID: 2, Pair: strings.ToLower(pair)}}, 2, true},
		{"ours is heard worse", []PAN{{ID: 1, Quality: -10}, {ID: 2, Pair: pair, Quality: -90}}, 2, true},
		{"nobody says", []PAN{{ID: 1, Quality: -90}, {ID: 2, Quality: -50}, {ID: 3, Quality: -70}}, 2, true},
	} {
		if got, ok := choose(c.pans, id); got.ID != c.want || ok != c.ok {
			t.Errorf("%s: %d, %t; want %d", c.name, got.ID, ok, c.want)
		}
	}
}

func TestHowLongASessionHolds(t *testing.T) {
	const head = "0000 0000 0000 0000 0000 0000 0000 0000"
	const ok, refused, life = "0007 0000 0004 0000 00000000", "0007 0000 0004 0000 00000001", "0008 0000 0004 0000 00015180"
	for _, c := range []struct {
		name, message string
		want          time.Duration
	}{
		{"a day", head + ok + life, 24 * time.Hour},
		{"after a text of one byte, padded", head + "0009 0000 0001 0000 41000000" + life, 24 * time.Hour},
		{"refused", head + refused + life, 0},
		{"not told", head + ok, 0},
		{"cut", head + life[:20], 0},
		{"an attribute that is cut behind it", head + life + "0009 0000 0004 0000", 0},
		{"a message that says it is longer", "0000 FFFF" + head[9:] + life, 0},
	} {
		got, told := sessionLifetime(bytesOf(t, c.message))
		if told != (c.want > 0) || told && got != c.want {
			t.Errorf("%s: %s, %t; want %s", c.name, got, told, c.want)
		}
	}
}

func TestEventsThatAreNone(t *testing.T) {
	const sender = "FE80:0000:0000:0000:021D:1290:1234:5678"
	for line, want := range map[string]bool{
		"EVENT 21 " + sender + " 0 00":    true,
		"EVENT 21 " + sender + " 00":      true,
		"EVENT 21 " + sender + " 0 7F":    true,
		"EVENT 21 " + sender + " 0 0":     false,
		"EVENT 21 " + sender + " 00 00":   false,
		"EVENT 21 " + sender + " 0 80":    false,
		"EVENT 21 " + sender + " 0 0 0":   false,
		"EVENT 21 " + sender + " 00 0":    false,
		"EVENT 21 " + sender + " 0 00 00": false,
		"EVENT 21 " + sender + " xx":      false,
		"EVENT 21 nowhere 00":             false,
		"EVENT":                           false,
	} {
		e, ok := ParseEvent([]byte(line))
		if ok != want {
			t.Errorf("%q: %+v, %t", line, e, ok)
		}
	}
	for number, want := range map[byte][2]bool{evSent: {true, true}, evSent + 1: {}} {
		if told, left := (&Event{Number: number, Param: 0}).sends(); told != want[0] || left != want[1] {
			t.Errorf("event %02X: %t, %t", number, told, left)
		}
	}
	if told, left := (&Event{Number: evSent, Param: 1}).sends(); !told || left {
		t.Errorf("one that did not leave: %t, %t", told, left)
	}
	if told, _ := (&Event{Number: evSent, Param: 2}).sends(); told {
		t.Error("a neighbour that is asked for")
	}
}

func TestTextsAndDatesOfProperties(t *testing.T) {
	for _, c := range []struct {
		name, digits, want string
		parse              func([]byte) (string, bool)
	}{
		{"a product code", "4142 0000", "AB", parseASCII(4)},
		{"one that is no text", "4142 0180", "41420180", parseASCII(4)},
		{"one with a blank and a tilde", "4120 7E41", "A ~A", parseASCII(4)},
		{"one of another size", "4142", "", parseASCII(4)},
		{"a release", "0000 4A 02", "J.2", parseVersion},
		{"a release with a blank and a tilde", "20 7E 4A 02", " ~J.2", parseVersion},
		{"a release that is no text", "0001 4A 02", "00014A02", parseVersion},
		{"a release that is cut", "0000 4A", "", parseVersion},
		{"digits of one size", "0102", "0102", hexOf(2)},
		{"digits of another", "010203", "", hexOf(2)},
	} {
		if got, ok := c.parse(bytesOf(t, c.digits)); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %t; want %q", c.name, got, ok, c.want)
		}
	}
	for digits, want := range map[string]string{
		"07EA 01 1F 0C 1E":    "2026-01-31T12:30:00+09:00",
		"07EA 01 1F 0C 1E 3B": "2026-01-31T12:30:59+09:00",
		"07EA 0C 1F 17 3B 3B": "2026-12-31T23:59:59+09:00",
		"270F 0C 1F 17 3B":    "9999-12-31T23:59:00+09:00",
		"2710 01 01 00 00":    "",
		"07EA 02 1E 0C 1E":    "", "07EA 0D 01 0C 1E": "", "07EA 01 00 0C 1E": "", "07EA 01 1F 18 1E": "", "07EA 01 1F 0C 3C": "", "07EA 01 1F 0C 1E 3C": "", "FFFF 01 1F 0C 1E": "",
	} {
		if got := stampOf(bytesOf(t, digits)).String(); got != want {
			t.Errorf("%s: %q, want %q", digits, got, want)
		}
	}
	for digits, ok := range map[string]bool{"": false, "01 80": true, "01 7F": false, "02 80": false, "00": true, "10": false, "10" + strings.Repeat("00", 16): true} {
		if _, err := ParseCodes(bytesOf(t, digits)); (err == nil) != ok {
			t.Errorf("map %s: %v", digits, err)
		}
	}
}

// The ranges of the release of appendix for the class of low-voltage smart meters.
func TestNumbersAreTakenUpToTheirLimits(t *testing.T) {
	for n, want := range map[uint32]bool{0: true, 99_999_999: true, 100_000_000: false, 0xFFFFFFFE: false} {
		if got := countOf(binary.BigEndian.AppendUint32(nil, n)); got.Known != want || got.N != n {
			t.Errorf("count %d: %+v", n, got)
		}
	}
	for digits, want := range map[string]bool{
		"8000": false, "8001": true, "7FFD": true, "7FFE": false, "7FFF": false,
		"80000000": false, "80000001": true, "7FFFFFFD": true, "7FFFFFFE": false, "7FFFFFFF": false, "00": false,
	} {
		if _, ok := signed(bytesOf(t, digits)); ok != want {
			t.Errorf("register %s: %t", digits, ok)
		}
	}
	for digits, want := range map[string]bool{"": false, "0": true, "FFFFFFFFFFFFFFFF": true, "00000000000000000": false, "G": false} {
		if _, ok := number([]byte(digits)); ok != want {
			t.Errorf("number %q: %t", digits, ok)
		}
	}
	for rows, want := range map[byte]bool{0: true, 1: true, 12: true, 13: false} {
		b := append(bytesOf(t, "07EA 01 1F 0C 1E"), rows)
		got, err := ParseRows(append(b, make([]byte, 8*int(rows))...), time.Minute)
		if (err == nil) != want || want && len(got) != int(rows) {
			t.Errorf("%d rows: %d, %v", rows, len(got), err)
		}
	}
}

func TestAUnitThatNobodyKnowsEndsTheOneThatWasKnown(t *testing.T) {
	s := Scale{Known: true, Exponent: -1}
	s.learn(Property{EPC: epcUnit})
	if want := (Scale{Known: true, Exponent: -1}); s != want {
		t.Errorf("after a refusal: %+v, want %+v", s, want)
	}
	s.learn(Property{EPC: epcUnit, EDT: []byte{0x7F}})
	if s.Known {
		t.Errorf("after unit 7F: %+v, want none", s)
	}
	s.learn(Property{EPC: epcUnit, EDT: []byte{0x0A}})
	if want := (Scale{Known: true, Exponent: 1}); s != want {
		t.Errorf("after unit 0A: %+v, want %+v", s, want)
	}
}

func TestSelectionsAreWrittenWithinTheirLimits(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 44, 0, 0, japan)
	for _, c := range []struct {
		name string
		s    Selection
		epc  byte
		want string // "": refused
	}{
		{"no row", Selection{at, 0}, epcMinutesSelect, ""},
		{"a row of minutes", Selection{at, 1}, epcMinutesSelect, "07EA 01 1F 0C 2C 01"},
		{"ten rows of minutes", Selection{at, 10}, epcMinutesSelect, "07EA 01 1F 0C 2C 0A"},
		{"eleven rows of minutes", Selection{at, 11}, epcMinutesSelect, ""},
		{"twelve half-hours", Selection{at, 12}, epcHalvesSelect, "07EA 01 1F 0C 1E 0C"},
		{"thirteen half-hours", Selection{at, 13}, epcHalvesSelect, ""},
		{"the first year", Selection{time.Date(1, 1, 1, 0, 0, 0, 0, japan), 1}, epcMinutesSelect, "0001 01 01 00 00 01"},
		{"the year before it", Selection{time.Date(0, 12, 31, 0, 0, 0, 0, japan), 1}, epcMinutesSelect, ""},
		{"the last year", Selection{time.Date(9999, 12, 31, 0, 0, 0, 0, japan), 1}, epcMinutesSelect, "270F 0C 1F 00 00 01"},
		{"the year behind it", Selection{time.Date(10000, 1, 1, 0, 0, 0, 0, japan), 1}, epcMinutesSelect, ""},
	} {
		got, err := c.s.Encode(c.epc)
		if string(got) != string(bytesOf(t, c.want)) || (err == nil) != (c.want != "") {
			t.Errorf("%s: % X, %v; want %s", c.name, got, err, c.want)
		}
	}
}

// ECHONET Lite, part 2, appendix 1: below 16 properties a list, from 16 on a bitmap.
func TestAMapOfSixteenCodesIsABitmap(t *testing.T) {
	var c Codes
	for epc := byte(0x80); epc < 0x8F; epc++ {
		c.Add(epc)
	}
	if got, want := c.Encode(), bytesOf(t, "0F 808182838485868788898A8B8C8D8E"); string(got) != string(want) {
		t.Errorf("15 codes: % X, want % X", got, want)
	}
	c.Add(0x8F)
	if got, want := c.Encode(), bytesOf(t, "10"+strings.Repeat("01", 16)); string(got) != string(want) {
		t.Errorf("16 codes: % X, want % X", got, want)
	}
}

func TestAPANIsRememberedAndNothingElse(t *testing.T) {
	for _, want := range []PAN{{Channel: firstChannel, ID: 0x8888, MAC: 0x001D129012345678}, {Channel: lastChannel, ID: 1, MAC: 1}} {
		got := recall(want.remember())
		if got == nil || *got != want {
			t.Errorf("%+v is remembered as %+v", want, got)
		}
	}
	for _, text := range []string{
		"", "null", "{", `{"channel":32,"pan":1,"mac":"1"}`, `{"channel":61,"pan":1,"mac":"1"}`, `{"channel":33,"pan":1,"mac":"0"}`, `{"channel":33,"pan":1,"mac":"x"}`,
	} {
		if got := recall(text); got != nil {
			t.Errorf("%q is recalled as %+v", text, got)
		}
	}
}

func TestAFieldOfAPANIsTakenOrMakesItUseless(t *testing.T) {
	for line, want := range map[string]bool{
		"  Channel:20": false, "  Channel:21": true, "  Channel:3C": true, "  Channel:3D": false,
		"  Pan ID:8888": true, "  Pan ID:888": false, "  Addr:001D129012345678": true, "  Addr:001D": false,
		"  LQI:E1": true, "  LQI:": false, "  LQI:G1": false, "  PairID:01234567": true, "  PairID:0123456": false, "  nothing": false,
	} {
		if got := new(PAN).learn([]byte(line)); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}

// told are the values of what a module says, each as code, value and unit.
func told(t *testing.T, d *Decoder, stream []byte) (lines []string, lost []*drivers.FrameError) {
	t.Helper()
	d.Feed(stream)
	got, lost := decodertest.Drain(t, d)
	for _, r := range got {
		for i := range r.Values {
			v := &r.Values[i]
			lines = append(lines, strings.TrimSpace(v.Code.String()+" "+string(v.AppendPayload(nil))+" "+string(v.Unit)))
		}
	}
	return lines, lost
}

func TestPropertiesReadAsWhatTheyStandFor(t *testing.T) {
	const routeB = "ABCDEF0123456789ABCDEF0123456789"
	for _, c := range []struct {
		name, id   string
		properties []Property
		want       []string
	}{
		{"power from the grid", "", []Property{{epcPower, bytesOf(t, "000001F4")}}, []string{"1-0:16.7.0 500 W", "1-0:1.7.0 500 W", "1-0:2.7.0 0 W"}},
		{"power to the grid", "", []Property{{epcPower, bytesOf(t, "FFFFFE0C")}}, []string{"1-0:16.7.0 -500 W", "1-0:1.7.0 0 W", "1-0:2.7.0 500 W"}},
		{"no data of power", "", []Property{{epcPower, bytesOf(t, "7FFFFFFE")}}, nil},
		{"currents of both phases", "", []Property{{epcCurrent, bytesOf(t, "001E FFF6")}}, []string{"1-0:31.7.0 3.0 A", "1-0:71.7.0 -1.0 A"}},
		{"currents of two wires", "", []Property{{epcCurrent, bytesOf(t, "001E 7FFE")}}, []string{"1-0:31.7.0 3.0 A"}},
		{"the last minute of the day", "", []Property{{epcDate, bytesOf(t, "07EA 01 1F")}, {epcTime, bytesOf(t, "173B")}}, []string{`0-0:1.0.0 "2026-01-31T23:59:00+09:00"`}},
		{"another Route B identification than the configured one", houseID, []Property{{epcRouteB, bytesOf(t, routeB)}}, []string{`0-0:96.1.1 "` + routeB + `"`}},
		{"the Route B id, which is a secret", routeB, []Property{{epcRouteB, bytesOf(t, routeB)}}, nil},
		{"a Route B identification that may be the secret", "", []Property{{epcRouteB, bytesOf(t, routeB)}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Frame{TID: 1, Source: Meter, Sink: Controller, Service: GetRes, Properties: c.properties}
			got, lost := told(t, &Decoder{id: c.id}, f.AppendTo(nil))
			if diff := cmp.Diff(c.want, got); diff != "" || len(lost) != 0 {
				t.Errorf("lost %v\n%s", lost, diff)
			}
		})
	}
}

func TestOnlyDataThatFitsItsPropertyIsTaken(t *testing.T) {
	for _, c := range []struct {
		epc    byte
		digits string
		want   bool
	}{
		{epcTime, "173B", true},
		{epcTime, "173C", false},
		{epcTime, "183B", false},
		{epcTime, "17", false},
		{epcDigits, "06", true},
		{epcDigits, "0006", false},
		{epcDate, "07EA 01 1F", true},
		{epcDate, "07EA 02 1E", false},
		{epcDate, "07EA 01", false},
	} {
		var v values
		if got := v.add(Property{c.epc, bytesOf(t, c.digits)}); got != c.want {
			t.Errorf("%02X with %s: %t", c.epc, c.digits, got)
		}
	}
}

// A BP35A1 with the radio strength switched on: 0.275 × E1 - 104.27 dBm (SKSTACK IP,
// ERXUDP).
func TestTheMeterIsHeardAsStronglyAsTheModuleSays(t *testing.T) {
	f := Frame{TID: 1, Source: Meter, Sink: Controller, Service: GetRes, Properties: []Property{{epcOperation, []byte{0x30}}}}
	for side, want := range map[int8][]string{
		0: {"0-0:96.5.0 true", "0-0:96.12.5 -42.395 dBm"},
		1: nil, // the house's own network
	} {
		d := Datagram{From: port, To: port, RSSI: 275*0xE1 - 104270, Secured: true, Side: side, Data: f.AppendTo(nil)}
		got, lost := told(t, &Decoder{}, d.AppendUDPLine(nil, true))
		if diff := cmp.Diff(want, got); diff != "" || len(lost) != 0 {
			t.Errorf("side %d: lost %v\n%s", side, lost, diff)
		}
	}
	d := Datagram{From: port, To: port, Secured: true, Data: f.AppendTo(nil)}
	if got, _ := told(t, &Decoder{}, d.AppendUDPLine(nil, true)); len(got) != 1 {
		t.Errorf("strength not told: %q", got)
	}
}

// bareFrame is a frame of so many bytes, that a module gives by itself.
func bareFrame(size int) []byte {
	f := Frame{TID: 1, Source: Meter, Sink: Controller, Service: GetRes}
	for rest := size - frameHead; rest > 0; {
		n := min(rest, 257)
		if rest-n == 1 {
			n-- // a property has two bytes at least
		}
		f.Properties = append(f.Properties, Property{0xF0, make([]byte, n-2)})
		rest -= n
	}
	return f.AppendTo(nil)
}

// j11Datagram is a notification of the J11 that a datagram came, heard with -60 dBm.
func j11Datagram(data []byte) []byte {
	b := make([]byte, 27, 27+len(data))
	b[23], b[24] = 2, 0xC4
	binary.BigEndian.PutUint16(b[25:], uint16(len(data)))
	return append(b, data...)
}

func TestTheScannerKeepsItsBounds(t *testing.T) {
	line := func(size int) []byte {
		return (&Datagram{Secured: true, Side: -1, Data: make([]byte, size)}).AppendUDPLine(nil, false)
	}
	j11Length := func(size uint16) []byte {
		b := append([]byte(nil), j11Mark...)
		b = append(b, 0x20, 0x01, byte(size>>8), byte(size))
		return append(binary.BigEndian.AppendUint16(b, sum16(b)), 0, 0)
	}
	for _, c := range []struct {
		name   string
		stream []byte
		item   Form // of the message, if one is found
		lost   string
		held   int
	}{
		{name: "text without an end", stream: []byte(strings.Repeat("x", maxLine)), held: maxLine},
		{name: "text that is too long", stream: []byte(strings.Repeat("x", maxLine+1))},
		{name: "the longest bare frame", stream: bareFrame(maxPayload), item: Bare},
		{name: "a bare frame that is too long", stream: bareFrame(maxPayload + 1), lost: "service"},
		{name: "a bare frame as long as one may be, unfinished", stream: bareFrame(maxPayload + 1)[:maxPayload], held: maxPayload},
		{name: "a bare frame longer than one may be, unfinished", stream: bareFrame(maxPayload + 2)[:maxPayload+1], lost: "length"},
		{name: "the longest datagram", stream: line(maxPayload), item: UDPLine},
		{name: "a datagram that is too long", stream: line(maxPayload + 1), lost: "ERXUDP line"},
		{name: "a frame of the J11 without data", stream: AppendJ11Answer(nil, 0x2001, nil), item: J11Frame},
		{name: "a length of the J11 that leaves no room for its sums", stream: j11Length(3), lost: "length"},
		{name: "the greatest length of the J11", stream: j11Length(maxJ11), held: j11Head},
		{name: "a length of the J11 that is too great", stream: j11Length(maxJ11 + 1), lost: "length"},
		{name: "an empty datagram of the J11", stream: AppendJ11Answer(nil, j11Received, j11Datagram(nil)), item: J11Frame},
		{name: "a datagram of the J11 that is cut", stream: AppendJ11Answer(nil, j11Received, j11Datagram(nil)[:26]), lost: "datagram"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s Scanner
			var item Item
			s.Feed(c.stream)
			err := s.Next(&item)
			if held := s.Held(); errors.Is(err, drivers.ErrMore) && held != c.held {
				t.Errorf("%d bytes are held, want %d", held, c.held)
			}
			var field string
			if frame, ok := errors.AsType[*drivers.FrameError](err); ok {
				field = frame.Field
			}
			if field != c.lost || err == nil && item.Form != c.item {
				t.Errorf("form %d, lost %q, %v; want form %d, lost %q", item.Form, field, err, c.item, c.lost)
			}
		})
	}
}

func TestAModuleOfOneSideTellsNone(t *testing.T) {
	for name, c := range map[string]struct {
		stream []byte
		want   Datagram
	}{
		"a frame by itself":     {bareFrame(frameHead), Datagram{Side: -1}},
		"a datagram of the J11": {AppendJ11Answer(nil, j11Received, j11Datagram(nil)), Datagram{Side: -1, Secured: true, RSSI: -60_000}},
	} {
		items := scanned(t, c.stream)
		if len(items) != 1 {
			t.Fatalf("%s: %d messages", name, len(items))
		}
		got := items[0].Datagram
		if got.Side != c.want.Side || got.Secured != c.want.Secured || got.RSSI != c.want.RSSI {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestWhatIsUnfinishedIsLostWhenTheLineFallsSilent(t *testing.T) {
	for stream, want := range map[string]bool{
		"ERXUDP FE80": true, string(j11Mark) + "\x20": true, string(bareMark) + "\x00": true,
		"ERX": false, string(j11Mark[:3]): false, "\x10": false, "EVENT 2": false, "SKVER": false,
	} {
		var s Scanner
		var item Item
		s.Feed([]byte(stream))
		s.Gap()
		err := s.Next(&item)
		if lost := errors.Is(err, drivers.ErrShort); lost != want || !lost && !errors.Is(err, drivers.ErrMore) {
			t.Errorf("%q: %v", stream, err)
		}
	}
}

func TestAMarkBehindNoiseMayComeInPieces(t *testing.T) {
	for name, frame := range map[string][]byte{
		"a datagram":         (&Datagram{Secured: true, Side: -1, Data: bareFrame(frameHead)}).AppendUDPLine(nil, true),
		"a frame of the J11": AppendJ11Answer(nil, 0x2001, []byte{1}),
	} {
		for n := range 6 {
			var s Scanner
			var item Item
			s.Feed(append([]byte("noise"), frame[:n]...))
			if err := s.Next(&item); !errors.Is(err, drivers.ErrMore) {
				t.Fatalf("%s, cut at %d: %v", name, n, err)
			}
			s.Feed(frame[n:])
			if err := s.Next(&item); err != nil || item.Form == TextLine {
				t.Errorf("%s, cut at %d: form %d, %v", name, n, item.Form, err)
			}
		}
	}
}

func TestADecoderIsIdleWhenNothingIsBegun(t *testing.T) {
	var r drivers.Reading
	frame := bareFrame(frameHead)
	d := NewDecoder(newConfig())
	d.Feed(frame[:5])
	if err := d.Next(&r); !errors.Is(err, drivers.ErrMore) || errors.Is(err, drivers.ErrIdle) {
		t.Errorf("in a frame: %v, want %v", err, drivers.ErrMore)
	}
	d.Feed(frame[5:])
	if err := d.Next(&r); !errors.Is(err, drivers.ErrIdle) {
		t.Errorf("behind a frame without a value: %v, want %v", err, drivers.ErrIdle)
	}
}

func TestADatagramThatIsNoneIsLostWhereItsDataBegins(t *testing.T) {
	good := (&Datagram{Secured: true, Side: -1, Data: []byte("data")}).AppendUDPLine(nil, false)
	bad := append(good[:len(good)-2:len(good)-2], "xx\r\n"...)
	_, lost := told(t, NewDecoder(newConfig()), bad)
	if want := len(good) - len("data\r\n"); len(lost) != 1 || lost[0].Field != "data" || lost[0].Offset != want {
		t.Errorf("lost %+v, want data at byte %d", lost, want)
	}
}

func TestTheScannerForgetsWhatWasRead(t *testing.T) {
	var s Scanner
	var item Item
	for range 1000 {
		s.Feed([]byte("EVENT 21 FE80:0000:0000:0000:021D:1290:1234:5678 0 00\r\n"))
		for more := true; more; {
			more = s.Next(&item) == nil
		}
	}
	if len(s.buf) > 2*maxLine {
		t.Errorf("%d bytes are kept of a thousand lines that were read", len(s.buf))
	}
}

// A frame of the J11 dialogue in an explanation, field by field.
func TestAFrameOfTheJ11IsExplained(t *testing.T) {
	spans, err := Driver.Explain(newConfig(), drivers.Zones{}, AppendJ11Answer(nil, 0x2001, []byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range spans {
		names = append(names, s.Name)
	}
	got := strings.Join(names, ", ")
	for _, want := range []string{"mark", "command", "length", "header sum", "data sum"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}
