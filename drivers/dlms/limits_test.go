package dlms

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestABodyMayBeAsLongAsAnAPDUAndNoLonger(t *testing.T) {
	body := append([]byte{byte(OctetString), 0x82, 0, 0}, make([]byte, MaxAPDU-4)...)
	body[2], body[3] = byte((MaxAPDU-4)>>8), byte((MaxAPDU-4)&0xFF)
	var tree Tree
	if n, _, err := tree.Parse(body); n != MaxAPDU || err != nil {
		t.Errorf("%d bytes: %d, %v", len(body), n, err)
	}
	if _, at, err := tree.Parse(append(body, 0)); !errors.Is(err, drivers.ErrLong) || at != MaxAPDU {
		t.Errorf("a byte more: %v at %d", err, at)
	}
}

func TestATreeHoldsSoManyElementsAndNoMore(t *testing.T) {
	nulls := func(n int) string { return strings.Repeat("00", n) }
	for _, tt := range []struct {
		name, body string
		want       error
	}{
		{"the last one a leaf", fmt.Sprintf("01 82 %04X", MaxElements-1) + nulls(MaxElements-1), nil},
		{"a leaf too many", fmt.Sprintf("01 82 %04X", MaxElements) + nulls(MaxElements), drivers.ErrLong},
		{"the last one holds others", fmt.Sprintf("01 82 %04X", MaxElements-1) + nulls(MaxElements-2) + "0100", nil},
		{"one that holds others too many", fmt.Sprintf("01 82 %04X", MaxElements) + nulls(MaxElements-1) + "0100", drivers.ErrLong},
		{"as deep as may be", strings.Repeat("0101", MaxDepth) + "00", nil},
		{"in a compact array", "13 00 82 0010" + nulls(16), drivers.ErrSyntax},
		{"one too many in a compact array", fmt.Sprintf("13 03 82 %04X", MaxElements) + nulls(MaxElements), drivers.ErrLong},
		{"structures too many in a compact array", fmt.Sprintf("13 02 01 03 82 %04X", MaxElements) + nulls(MaxElements), drivers.ErrLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tree Tree
			body := unhex(t, tt.body)
			n, _, err := tree.Parse(body)
			if !errors.Is(err, tt.want) || err == nil && n != len(body) {
				t.Errorf("%d of %d bytes, %v, want %v", n, len(body), err, tt.want)
			}
		})
	}
}

// Whoever walks a tree steps from an element over all that is inside it.
func TestNextStepsOverWhatAnElementHolds(t *testing.T) {
	var tree Tree
	if _, _, err := tree.Parse(unhex(t, "02 04 01 02 1101 0201 1102 1103 13 12 04 00010002 1104")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := 1; i < len(tree.Elements); i = tree.Next(i) {
		e := tree.Elements[i]
		got = append(got, fmt.Sprintf("%s of %d, %d bytes", e.Tag, e.Count, e.Len))
	}
	want := []string{"array of 2, 6 bytes", "unsigned of 0, 1 bytes", "array of 2, 4 bytes", "unsigned of 0, 1 bytes"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if tree.Next(0) != len(tree.Elements) {
		t.Errorf("behind the root is element %d of %d", tree.Next(0), len(tree.Elements))
	}
}

func TestBodiesThatEndTooEarly(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       error
	}{
		{"a string without its length", "09", drivers.ErrShort},
		{"a long form without its bytes", "09 82 01", drivers.ErrShort},
		{"a type description that is not there", "13", drivers.ErrShort},
		{"an array's description without its count", "13 01 00", drivers.ErrShort},
		{"an array's description without its type", "13 01 0002", drivers.ErrShort},
		{"a structure's description without its count", "13 02", drivers.ErrShort},
		{"a structure's description without its second type", "13 02 02 11", drivers.ErrShort},
		{"a structure of a type that does not exist", "13 02 02 08 11 01 00", drivers.ErrSyntax},
		{"a structure of structures without an end", "13" + strings.Repeat("0201", MaxDepth+1) + "11 01 00", drivers.ErrLong},
		{"a structure of structures without an end, and no value", "13" + strings.Repeat("0201", MaxDepth+1) + "11 00", drivers.ErrLong},
		{"a compact array without its length", "13 11", drivers.ErrShort},
		{"a compact array of a byte too many", "13 11 03 0102", drivers.ErrShort},
		{"half a structure in a compact array", "13 02 02 11 11 03 010203", drivers.ErrShort},
		{"half an array in a compact array", "13 01 0002 11 03 010203", drivers.ErrShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tree Tree
			if n, at, err := tree.Parse(unhex(t, tt.body)); !errors.Is(err, tt.want) || n != 0 {
				t.Errorf("%d, %v at %d, want %v", n, err, at, tt.want)
			}
		})
	}
}

// What stands behind a compact array is no part of it, however much there is.
func TestACompactArrayEndsWhereItSays(t *testing.T) {
	var tree Tree
	n, _, err := tree.Parse(unhex(t, "13 11 02 0102 0304"))
	if err != nil || n != 5 || len(tree.Elements) != 3 {
		t.Errorf("%d bytes, %d elements, %v", n, len(tree.Elements), err)
	}
}

func TestWhatIsNoDescriptor(t *testing.T) {
	for name, body := range map[string]string{
		"class 0":             "02 02 0000 0100010800FF 02 1101",
		"class 128":           "02 02 0080 0100010800FF 02 1101",
		"a code without 255":  "02 02 0003 0100010800FE 02 1101",
		"attribute 0":         "02 02 0003 0100010800FF 00 1101",
		"attribute 33":        "02 02 0003 0100010800FF 21 1101",
		"in a structure of 3": "02 03 0003 0100010800FF 02 1101 1102",
		"in an array":         "01 02 0003 0100010800FF 02 1101",
		"cut":                 "02 02 0003 0100010800FF",
	} {
		t.Run(name, func(t *testing.T) {
			var tree Tree
			b := unhex(t, body)
			n, err := tree.ParseDescriptors(b)
			if err == nil && strings.Contains(dump(&tree), "descriptor") {
				t.Errorf("%d bytes are\n%s", n, dump(&tree))
			}
		})
	}
	for name, body := range map[string]string{"class 1": "02 02 0001 0100010800FF 01 1101", "class 127, attribute 32": "02 02 007F 0100010800FF 20 1101"} {
		var tree Tree
		if _, err := tree.ParseDescriptors(unhex(t, body)); err != nil || !strings.Contains(dump(&tree), "descriptor") {
			t.Errorf("%s: %v\n%s", name, err, dump(&tree))
		}
	}
}

func TestIntegersAtTheirLimits(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       int64
		ok         bool
	}{
		{"the largest", "15 7FFFFFFFFFFFFFFF", 1<<63 - 1, true},
		{"one more", "15 8000000000000000", 0, false},
		{"the smallest", "14 8000000000000000", -1 << 63, true},
		{"double-long", "05 80000000", -1 << 31, true},
		{"bcd 99", "0D 99", 99, true},
		{"bcd 9A", "0D 9A", 0, false},
		{"bcd A9", "0D A9", 0, false},
		{"false", "03 00", 0, true},
		{"text", "0A 01 31", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tree Tree
			if _, _, err := tree.Parse(unhex(t, tt.body)); err != nil {
				t.Fatal(err)
			}
			if n, ok := tree.Int(0); ok != tt.ok || ok && n != tt.want {
				t.Errorf("%d, %t", n, ok)
			}
		})
	}
}

func TestFloatsThatCannotBeKept(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    float64
		ok   bool
	}{
		{"large", 1e20, true},
		{"as large, below zero", -1e20, true},
		{"larger than anything that is counted", 1e38, false},
		{"the same below zero", -1e38, false},
		{"infinite", math.Inf(-1), false},
		{"no number", math.NaN(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tree Tree
			if _, _, err := tree.Parse(binary.BigEndian.AppendUint64([]byte{byte(Float64)}, math.Float64bits(tt.f))); err != nil {
				t.Fatal(err)
			}
			if n, ok := tree.Number(0, 0); ok != tt.ok {
				t.Errorf("%s, %t", n, ok)
			}
		})
	}
}

func TestTypesByWhatTheyAre(t *testing.T) {
	var numbers, texts []string
	for tag := range Tag(34) {
		if tag.IsNumber() {
			numbers = append(numbers, tag.String())
		}
		if tag.IsString() {
			texts = append(texts, tag.String())
		}
	}
	if got, want := strings.Join(texts, ", "), "octet-string, visible-string, utf8-string"; got != want {
		t.Errorf("strings are %s, want %s", got, want)
	}
	if got, want := strings.Join(numbers, ", "), "boolean, double-long, double-long-unsigned, bcd, integer, long, unsigned, long-unsigned, long64, long64-unsigned, enum, float32, float64"; got != want {
		t.Errorf("numbers are %s, want %s", got, want)
	}
	if got := Tag(77).String(); got != "type 77" {
		t.Errorf("a type that does not exist is %q", got)
	}
}

func TestABlockThatIsTooShort(t *testing.T) {
	for n := range 6 {
		var j Blocks
		if _, _, err := j.Add(make([]byte, n)); !errors.Is(err, drivers.ErrShort) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if _, err := BlockSize(make([]byte, n)); !errors.Is(err, drivers.ErrShort) {
			t.Errorf("size of %d bytes: %v", n, err)
		}
	}
	if n, err := BlockSize(unhex(t, "E0 80 0001 0000 00")); n != 7 || err != nil {
		t.Errorf("an empty block has %d bytes, %v", n, err)
	}
}

func TestATransferMayBeAsLongAsAnAPDU(t *testing.T) {
	for more, want := range map[int]error{0: nil, 1: drivers.ErrLong} {
		var j Blocks
		if _, _, err := j.Add(madeBlock(1, false, make([]byte, MaxAPDU/2))); err != nil {
			t.Fatal(err)
		}
		block := madeBlock(2, true, make([]byte, MaxAPDU-MaxAPDU/2+more))
		whole, size, err := j.Add(append(block, 0xFF))
		if !errors.Is(err, want) || size != len(block) || err == nil && len(whole) != MaxAPDU {
			t.Errorf("%d bytes more: %d joined, %d taken, %v", more, len(whole), size, err)
		}
	}
}

func TestDropSaysWhetherATransferWasUnderWay(t *testing.T) {
	var j Blocks
	if j.Drop() {
		t.Error("nothing was under way")
	}
	if _, _, err := j.Add(madeBlock(1, false, []byte("a"))); err != nil || !j.Drop() {
		t.Errorf("the first block was there: %v", err)
	}
	if j.Drop() {
		t.Error("it was dropped already")
	}
	if _, _, err := j.Add(madeBlock(0, false, []byte("a"))); !errors.Is(err, ErrBlockOrder) {
		t.Errorf("block 0: %v", err)
	}
}

func TestClocksAtTheirLimits(t *testing.T) {
	good := DateTime{Year: 2026, Month: 2, Day: 28, Hour: 23, Minute: 59, Second: 59, Hundredths: 99}
	for _, tt := range []struct {
		name string
		set  func(*DateTime)
		ok   bool
	}{
		{"the last moment of a day", func(*DateTime) {}, true},
		{"1969", func(d *DateTime) { d.Year = 1969 }, false},
		{"1970", func(d *DateTime) { d.Year = 1970 }, true},
		{"2199", func(d *DateTime) { d.Year = 2199 }, true},
		{"2200", func(d *DateTime) { d.Year = 2200 }, false},
		{"month 0", func(d *DateTime) { d.Month = 0 }, false},
		{"January", func(d *DateTime) { d.Month = 1 }, true},
		{"December", func(d *DateTime) { d.Month = 12 }, true},
		{"month 13", func(d *DateTime) { d.Month = 13 }, false},
		{"day 0", func(d *DateTime) { d.Day = 0 }, false},
		{"day 1", func(d *DateTime) { d.Day = 1 }, true},
		{"29 February of no leap year", func(d *DateTime) { d.Day = 29 }, false},
		{"29 February of a leap year", func(d *DateTime) { d.Year, d.Day = 2028, 29 }, true},
		{"hour 24", func(d *DateTime) { d.Hour = 24 }, false},
		{"minute 60", func(d *DateTime) { d.Minute = 60 }, false},
		{"second 60", func(d *DateTime) { d.Second = 60 }, false},
		{"hundredth 100", func(d *DateTime) { d.Hundredths = 100 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := good
			tt.set(&d)
			if got, ok := d.Digits(); ok != tt.ok {
				t.Errorf("%s, %t", got, ok)
			}
		})
	}
}

func TestTheStatusOfAClock(t *testing.T) {
	for status, want := range map[byte]struct{ summer, doubtful bool }{
		0x00: {}, 0x80: {true, false}, 0x01: {false, true}, 0x02: {false, true}, 0x04: {false, true}, 0x08: {false, true},
		0x81: {true, true}, 0x40: {}, StatusUnknown: {},
	} {
		d := DateTime{Status: status}
		if d.Summer() != want.summer || d.Doubtful() != want.doubtful {
			t.Errorf("%02X: summer %t, doubtful %t", status, d.Summer(), d.Doubtful())
		}
	}
}

// The weekday is told by the date: 1 is Monday, 7 Sunday.
func TestADateIsWrittenWithItsWeekday(t *testing.T) {
	for day, weekday := range map[byte]byte{19: 1, 20: 2, 21: 3, 24: 6, 25: 7, 99: 0xFF} {
		d := DateTime{Year: 2026, Month: 1, Day: day, Hour: 1, Minute: 2, Second: 3, Hundredths: 4, Deviation: -60, Status: 5}
		b := d.AppendTo(nil)
		if want := []byte{0x07, 0xEA, 1, day, weekday, 1, 2, 3, 4, 0xFF, 0xC4, 5}; !bytes.Equal(b, want) {
			t.Errorf("% X, want % X", b, want)
		}
		if again, ok := ParseDateTime(b); !ok || again != d {
			t.Errorf("%+v is read again as %+v", d, again)
		}
	}
}

func TestACounterThatOnlyRoseOnceSinceItFell(t *testing.T) {
	var c Counter
	check := func(counter uint32) bool { return c.Check(Security{Counter: counter}) == nil }
	for i, step := range []struct {
		counter uint32
		news    bool
	}{{10, true}, {11, true}, {11, false}, {5, false}, {6, false}, {7, true}, {8, true}, {8, false}, {9, true}} {
		if got := check(step.counter); got != step.news {
			t.Errorf("step %d, counter %d: news %t", i, step.counter, got)
		}
	}
	if c.Check(Security{Title: Title{1}, Counter: 1}) != nil {
		t.Error("another meter begins anew")
	}
}

func TestKeysOfAWrongLengthMakeNoCipher(t *testing.T) {
	short := []byte("seven..")
	if _, err := NewCipher(Keys{Encryption: Key{&short}}, bookStart); !errors.Is(err, ErrKey) {
		t.Errorf("encryption key: %v", err)
	}
	if _, err := NewCipher(Keys{Authentication: Key{&short}}, bookStart); !errors.Is(err, ErrKey) {
		t.Errorf("authentication key: %v", err)
	}
	if _, err := ParseKey("fifteen letter\x01!"); !errors.Is(err, ErrKey) {
		t.Errorf("a key of 16 characters with one that cannot be printed: %v", err)
	}
}

func TestWhatCannotBeSealed(t *testing.T) {
	only := Keys{Encryption: mustKey(t, bookKey)}
	most := MaxAPDU - minSecured - tagSize
	for _, tt := range []struct {
		name    string
		keys    Keys
		control byte
		size    int
		want    error
	}{
		{"compressed", bookKeys(t), 0xB0, 10, ErrCompressed},
		{"without a key", Keys{}, 0x20, 10, ErrNoKey},
		{"a suite that does not exist", bookKeys(t), 0x33, 10, ErrNoSuite},
		{"a suite of longer keys", bookKeys(t), 0x32, 10, ErrSuite},
		{"authenticated without that key", only, 0x30, 10, ErrNoAuthKey},
		{"as long as may be", bookKeys(t), 0x30, most, nil},
		{"longer", bookKeys(t), 0x30, most + 1, drivers.ErrLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mustCipher(t, tt.keys).Seal([]byte("kept"), Security{Control: tt.control}, make([]byte, tt.size))
			if !errors.Is(err, tt.want) || err != nil && string(got) != "kept" {
				t.Errorf("%d bytes, %v, want %v", len(got), err, tt.want)
			}
		})
	}
}

func TestCipheredAPDUsThatEndTooEarly(t *testing.T) {
	const title = "08 4D4D4D0000BC614E"
	for _, tt := range []struct {
		name, apdu string
		want       error
	}{
		{"no content", "DB" + title + "04 20000000", drivers.ErrShort},
		{"less than a tag", "DB" + title + "10 30 00000001" + strings.Repeat("00", 11), drivers.ErrShort},
		{"more than LEN says", "DB" + title + "05 20 00000001 00", drivers.ErrLong},
		{"a title of another length", "DB 07 4D4D4D0000BC61 05 20 00000001", drivers.ErrSyntax},
		{"general-ciphering without key information", "DD 00" + title + "00 00 00", drivers.ErrShort},
		{"general-ciphering with half of it", "DD 00" + title + "00 00 00 01 00", drivers.ErrShort},
		{"key information of no kind", "DD 00" + title + "00 00 00 01 03 00 05 20 00000001", drivers.ErrSyntax},
		{"key information marked otherwise", "DD 00" + title + "00 00 00 02 00 00 05 20 00000001", drivers.ErrSyntax},
		{"a wrapped key", "DD 00" + title + "00 00 00 01 01 00 05 20 00000001", ErrKeyInfo},
		{"an agreed key", "DD 00" + title + "00 00 00 01 02 00 05 20 00000001", ErrKeyInfo},
		{"fields that are cut", "DD 00" + title + "00", drivers.ErrShort},
		{"another tag", "DA 00", drivers.ErrSyntax},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, _, err := mustCipher(t, bookKeys(t)).Open([]byte("kept"), unhex(t, tt.apdu))
			if !errors.Is(err, tt.want) || string(text) != "kept" {
				t.Errorf("%q, %v, want %v", text, err, tt.want)
			}
		})
	}
	if _, err := CipheredSize(unhex(t, "DB"+title+"04")); !errors.Is(err, drivers.ErrSyntax) {
		t.Errorf("a LEN without room for SC and IC: %v", err)
	}
	if n, err := CipheredSize(unhex(t, "DB"+title+"05")); n != 16 || err != nil {
		t.Errorf("the least LEN: %d, %v", n, err)
	}
}

func TestLengthsInTheirShortestForm(t *testing.T) {
	for n, want := range map[int]string{0: "00", 0x7F: "7F", 0x80: "8180", 0xFF: "81FF", 0x100: "820100", MaxAPDU: fmt.Sprintf("82%04X", MaxAPDU)} {
		b := appendLength(nil, n)
		if !bytes.Equal(b, unhex(t, want)) {
			t.Errorf("%d is % X, want %s", n, b, want)
		}
		if got, size, err := length(b); got != n || size != len(b) || err != nil {
			t.Errorf("% X is %d in %d bytes, %v", b, got, size, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a length beyond any APDU was written")
		}
	}()
	appendLength(nil, MaxAPDU+1)
}
