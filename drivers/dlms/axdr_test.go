package dlms

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// dump shows a tree, an element a line, indented by its depth.
func dump(t *Tree) string {
	var b strings.Builder
	for i := range t.Elements {
		e := &t.Elements[i]
		b.WriteString(strings.Repeat(" ", int(e.Depth)) + e.Tag.String())
		if n, ok := t.Number(i, 0); ok {
			b.WriteString(" " + n.String())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestNumbersOfEveryType(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		scale      int
		want       string // empty: no number
	}{
		{"boolean", "03 FF", 0, "1"},
		{"double-long", "05 FFFFFFFE", 0, "-2"},
		{"double-long-unsigned", "06 FFFFFFFE", -3, "4294967.294"},
		{"bcd", "0D 42", 0, "42"},
		{"bcd that is none", "0D 4A", 0, ""},
		{"integer", "0F 80", 0, "-128"},
		{"long", "10 FFFF", -1, "-0.1"},
		{"unsigned", "11 FF", 0, "255"},
		{"long-unsigned", "12 0901", -1, "230.5"},
		{"long64", "14 FFFFFFFFFFFFFFFF", 0, "-1"},
		{"long64-unsigned", "15 FFFFFFFFFFFFFFFF", -3, "18446744073709551.615"},
		{"enum", "16 1E", 0, "30"},
		{"float32", "17 3DCCCCCD", 0, "0.1"},
		{"float32 that a double would spoil", "17 47D5FAA0", 0, "109557.25"},
		{"float64", "18 3FB999999999999A", 3, "100"},
		{"float that is no number", "17 7FC00000", 0, ""},
		{"infinite float", "18 7FF0000000000000", 0, ""},
		{"null", "00", 0, ""},
		{"octet string", "09 01 31", 0, ""},
		{"delta", "1C 05", 0, ""},
		{"a scaler beyond reason", "06 00000001", 127, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tree Tree
			body := unhex(t, tt.body)
			if n, _, err := tree.Parse(body); err != nil || n != len(body) {
				t.Fatalf("%d, %v", n, err)
			}
			n, ok := tree.Number(0, tt.scale)
			if ok != (tt.want != "") || ok && n.String() != tt.want {
				t.Errorf("%s, %t, want %q", n, ok, tt.want)
			}
		})
	}
}

func TestTrees(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{
			"nested", "02 03 01 02 11 01 11 02 02 00 0A 02 6869",
			"structure\n array\n  unsigned 1\n  unsigned 2\n structure\n visible-string\n",
		},
		{"long form of a length", "09 81 02 3132", "octet-string\n"},
		{"bits", "04 0B FFE0", "bit-string\n"},
		{"date, time, date-time", "02 03 1A 07E40101FF 1B 0C000000 19 07E40119060D091EFF800000", "structure\n date\n time\n date-time\n"},
		{"don't care", "FF", "dont-care\n"},
		{"delta types", "01 06 1C FF 1D FFFF 1E FFFFFFFF 1F 01 20 0001 21 00000001", "array\n delta-integer\n delta-long\n delta-double-long\n delta-unsigned\n delta-long-unsigned\n delta-double-long-unsigned\n"},
		{"compact array of numbers", "13 12 04 0001 0002", "array\n long-unsigned 1\n long-unsigned 2\n"},
		{
			"compact array of structures with an array", "13 02 02 11 01 0002 0F 06 05 FF01 06 0203",
			"array\n structure\n  unsigned 5\n  array\n   integer -1\n   integer 1\n structure\n  unsigned 6\n  array\n   integer 2\n   integer 3\n",
		},
		{"compact array of strings", "13 09 05 02 3132 01 33", "array\n octet-string\n octet-string\n"},
		{"empty compact array", "13 06 00", "array\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tree Tree
			body := unhex(t, tt.body)
			if n, at, err := tree.Parse(body); err != nil || n != len(body) {
				t.Fatalf("%d of %d bytes, %v at %d", n, len(body), err, at)
			}
			if diff := cmp.Diff(tt.want, dump(&tree)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDescriptorsWithoutTags(t *testing.T) {
	var tree Tree
	body := unhex(t, "01 02 02 02 0003 0100010800FF 02 06 00000005 02 02 0003 0100020800FF 02 06 00000006")
	if n, _, err := tree.Parse(body); err == nil && n == len(body) {
		t.Fatal("it parses as plain A-XDR, so this test shows nothing")
	}
	if n, err := tree.ParseDescriptors(body); err != nil || n != len(body) {
		t.Fatalf("%d of %d bytes, %v", n, len(body), err)
	}
	want := "array\n structure\n  attribute descriptor\n  double-long-unsigned 5\n structure\n  attribute descriptor\n  double-long-unsigned 6\n"
	if diff := cmp.Diff(want, dump(&tree)); diff != "" {
		t.Error(diff)
	}
}

func TestBodiesThatMakeNoSense(t *testing.T) {
	deep := strings.Repeat("01 01", MaxDepth+1) + "00"
	for _, tt := range []struct {
		name, body string
		want       error
		at         int
	}{
		{"nothing", "", drivers.ErrShort, 0},
		{"no such type", "02 01 08", drivers.ErrSyntax, 2},
		{"count beyond the data", "01 05 11 01", drivers.ErrShort, 2},
		{"huge count", "01 83 7FFFFF", drivers.ErrLong, 1},
		{"length of too many bytes", "09 85 0101010101", drivers.ErrSyntax, 1},
		{"indefinite length", "09 80", drivers.ErrSyntax, 1},
		{"string beyond the data", "09 05 3132", drivers.ErrShort, 2},
		{"bits beyond the data", "04 11 FFFF", drivers.ErrShort, 2},
		{"too deep", deep, drivers.ErrLong, 34},
		{"too many", "01 82 0200" + strings.Repeat("00", 512), drivers.ErrLong, 516},
		{"compact array of nulls", "13 00 01 00", drivers.ErrSyntax, 3},
		{"compact array with half a value", "13 12 03 0001 00", drivers.ErrShort, 5},
		{"compact array of compact arrays", "13 13 12 02 0001", drivers.ErrSyntax, 1},
		{"compact array of too much", "13 12 7F 0001", drivers.ErrShort, 3},
		{"type description without end", "13 " + strings.Repeat("01 0001", 40), drivers.ErrLong, 52},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tree Tree
			n, at, err := tree.Parse(unhex(t, tt.body))
			if !errors.Is(err, tt.want) || at != tt.at || n != 0 || len(tree.Elements) != 0 {
				t.Errorf("%v at %d, want %v at %d; %d elements", err, at, tt.want, tt.at, len(tree.Elements))
			}
		})
	}
}

func TestNotificationHeaders(t *testing.T) {
	const clock = "07E40119060D091EFF800000"
	for _, tt := range []struct {
		name, apdu string
		timed      bool
		class      uint16
		body       int
	}{
		{"without time", "0F 40000000 00 0100", false, 0, 6},
		{"with time", "0F 40000000 0C" + clock + "0100", true, 0, 18},
		{"time with a tag too many (Kaifa)", "0F 40000000 090C" + clock + "0100", true, 0, 19},
		{"time by its type", "0F 40000000 19" + clock + "0100", true, 0, 18},
		{"a zero more", "0F 40000000 00 00 0200", false, 0, 7},
		{"event", "C2 00 0003 0100010800FF 02 0600000001", false, 3, 11},
		{"event with time", "C2 01 0C" + clock + "0003 0100010800FF 02 0600000001", true, 3, 24},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, at, err := ParseNotification(unhex(t, tt.apdu))
			if err != nil || n.HasTime != tt.timed || n.Class != tt.class || n.Offset != tt.body {
				t.Errorf("%+v, %v at %d", n, err, at)
			}
			if tt.timed && (n.Time.Year != 2020 || n.Time.Minute != 9 || n.Time.Deviation != NoDeviation) {
				t.Errorf("time %+v", n.Time)
			}
		})
	}
	for _, apdu := range []string{"", "0F", "0F 40000000", "0F 40000000 05 00", "0F 40000000 0C 07E4", "0F 40000000 09 0D", "C2 00 0003 01", "10 00"} {
		if n, _, err := ParseNotification(unhex(t, apdu)); err == nil {
			t.Errorf("%s: %+v", apdu, n)
		}
	}
}

func TestDateTimes(t *testing.T) {
	for text, want := range map[string]string{
		"07E4011906 0D091EFF 8000 00": "2020-01-25T13:09:30",
		"07E4011906 0D09FF32 8000 00": "2020-01-25T13:09:00.5",
		"07E4021EFF 0D091EFF 8000 00": "", // 30 February
		"FFFF011906 0D091EFF 8000 00": "",
		"07E4FF1906 0D091EFF 8000 00": "",
		"07E4011906 18091EFF 8000 00": "",
	} {
		d, ok := ParseDateTime(unhex(t, text))
		if !ok {
			t.Fatal(text)
		}
		wall, ok := d.Digits()
		got := ""
		if ok {
			got = drivers.Stamp{Wall: wall}.String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if _, ok := ParseDateTime(make([]byte, 11)); ok {
		t.Error("11 bytes are a date-time")
	}
}

func TestBlocks(t *testing.T) {
	one, two, last := madeBlock(1, false, []byte("ab")), madeBlock(2, false, []byte("cd")), madeBlock(3, true, []byte("e"))
	for _, tt := range []struct {
		name   string
		blocks [][]byte
		want   string // of the last
		err    error
	}{
		{"in order", [][]byte{one, two, last}, "abcde", nil},
		{"begun anew", [][]byte{one, two, one, two, last}, "abcde", nil},
		{"first missing", [][]byte{two}, "", ErrBlockOrder},
		{"middle missing", [][]byte{one, last}, "", ErrBlockOrder},
		{"twice", [][]byte{one, two, two}, "", ErrBlockOrder},
		{"cut", [][]byte{one[:8]}, "", drivers.ErrShort},
		{"a single one", [][]byte{madeBlock(1, true, []byte("x"))}, "x", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var j Blocks
			var whole []byte
			var err error
			for _, b := range tt.blocks {
				if whole, _, err = j.Add(b); err == nil {
					if n, _ := BlockSize(b); n != len(b) {
						t.Errorf("size %d, want %d", n, len(b))
					}
				}
			}
			if string(whole) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%q, %v, want %q, %v", whole, err, tt.want, tt.err)
			}
		})
	}
}

func TestBlocksAreBounded(t *testing.T) {
	var j Blocks
	block := make([]byte, 4000)
	var err error
	for seq := uint16(1); seq < 6 && err == nil; seq++ {
		_, _, err = j.Add(madeBlock(seq, false, block))
	}
	if !errors.Is(err, drivers.ErrLong) {
		t.Errorf("20000 bytes were joined: %v", err)
	}
}

func TestUnits(t *testing.T) {
	for enum, want := range map[byte]string{27: "W", 30: "kWh", 32: "kvarh", 35: "V", 33: "A", 34: "C", 9: "°C", 13: "m³", 255: "", 56: "%", 25: "MJ"} {
		if u, _, known := Unit(enum); string(u) != want || !known {
			t.Errorf("%d is %q, %t, want %q", enum, u, known, want)
		}
	}
	if _, shift, _ := Unit(30); shift != -3 {
		t.Errorf("Wh is 10^%d kWh", shift)
	}
	if _, _, known := Unit(99); known {
		t.Error("99 is a unit")
	}
}

// FuzzTree: any bytes give no panic, and what parses is written again to
// something that parses to the same.
func FuzzTree(f *testing.F) {
	for _, s := range []string{"02 03 01 02 11 01 11 02 02 00 0A 02 6869", "13 02 02 11 01 0002 0F 06 05 FF01 06 0203", "04 0B FFE0", "01 02 02 02 0003 0100010800FF 02 06 00000005 02 02 0003 0100020800FF 02 06 00000006"} {
		f.Add(unhex(f, s))
	}
	var tree, again Tree
	f.Fuzz(func(t *testing.T, body []byte) {
		n, at, err := tree.Parse(body)
		if err != nil {
			if at > len(body) && at > MaxAPDU {
				t.Fatalf("error at %d of %d", at, len(body))
			}
			n, err = tree.ParseDescriptors(body)
		}
		if err != nil {
			return
		}
		if n > len(body) || len(tree.Elements) > MaxElements || int(tree.Elements[0].Span) != len(tree.Elements) {
			t.Fatalf("%d bytes of %d, %d elements", n, len(body), len(tree.Elements))
		}
		want := dump(&tree)
		written := tree.AppendTo(nil)
		if bytes.Contains(body, []byte{byte(CompactArray)}) && len(written) > MaxAPDU {
			return
		}
		if _, _, err := again.Parse(written); err != nil || dump(&again) != want {
			if _, err := again.ParseDescriptors(written); err != nil || dump(&again) != want {
				t.Fatalf("% X: %v\n%s\nwant\n%s", written, err, dump(&again), want)
			}
		}
	})
}
