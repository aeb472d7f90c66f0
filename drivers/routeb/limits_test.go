package routeb

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
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
		{"no count", head, "header", drivers.ErrShort},
		{"another header", "1082 0001 028801 05FF01 72 00", "EHD", drivers.ErrSyntax},
		{"no such service", "1081 0001 028801 05FF01 00 00", "ESV", drivers.ErrSyntax},
		{"a property that is missing", head + "01", "property", drivers.ErrShort},
		{"half a property", head + "01 E7", "property", drivers.ErrShort},
		{"a property that is cut", head + "01 E7 04 000000", "property", drivers.ErrShort},
		{"a second list that is missing", "1081 0001 028801 05FF01 7E 00", "property", drivers.ErrShort},
		{"no property", head + "00", "", nil},
		{"one", head + "01 E7 01 00", "", nil},
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
		{"one of another size", "4142", "", parseASCII(4)},
		{"a release", "0000 4A 02", "J.2", parseVersion},
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
