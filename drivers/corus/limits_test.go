package corus

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestProductsAreExactOrRefused(t *testing.T) {
	const big = 1 << 63
	for _, c := range []struct {
		name string
		n, m number
		want number
		ok   bool
	}{
		{"small", number{lo: 6, exp: -2}, number{lo: 7, exp: 1, negative: true}, number{lo: 42, exp: -1, negative: true}, true},
		{"two words", number{lo: big}, number{lo: 2}, number{hi: 1}, true},
		{"wide by small", number{hi: 3, lo: big}, number{lo: 2}, number{hi: 7}, true},
		{"small by wide", number{lo: 2}, number{hi: 3, lo: big}, number{hi: 7}, true},
		{"wide by wide", number{hi: 1}, number{hi: 1}, number{}, false},
		{"more than two words", number{hi: 1 << 62}, number{lo: 4}, number{}, false},
		{"one bit too many", number{hi: 1 << 61}, number{lo: 2}, number{}, false},
		{"the largest", number{hi: 1<<61 - 1}, number{lo: 2}, number{hi: 1<<62 - 2}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := c.n.times(c.m); ok != c.ok || ok && got != c.want {
				t.Errorf("%+v, %t; want %+v", got, ok, c.want)
			}
		})
	}
	if _, ok := (number{hi: 1 << 61}).at(-1); ok {
		t.Error("more digits than can be kept are kept")
	}
}

func TestReciprocalsThatEnd(t *testing.T) {
	for _, c := range []struct {
		d    number
		want string // empty: it does not end, or is not short enough
	}{
		{number{lo: 1}, "1"},
		{number{lo: 10}, "0.1"},
		{number{lo: 2}, "0.5"},
		{number{lo: 5}, "0.2"},
		{number{lo: 40}, "0.025"},
		{number{lo: 8, exp: 1, negative: true}, "-0.0125"},
		{number{lo: 25, exp: -1}, "0.4"},
		{number{lo: 3}, ""},
		{number{lo: 30}, ""},
		{number{}, ""},
		{number{hi: 1}, ""},
		{number{lo: 1 << 40}, ""},
	} {
		r, ok := reciprocal(c.d)
		var v drivers.Value
		if ok != (c.want != "") || ok && (!r.into(&v) || v.Number.String() != c.want) {
			t.Errorf("1 / %+v is %s, %t; want %q", c.d, v.Number, ok, c.want)
		}
	}
}

func TestNumbersThatATypeCannotHold(t *testing.T) {
	for _, c := range []struct {
		kind Type
		n    string
		want string // empty: refused
	}{
		{Byte, "254", "FE"},
		{Byte, "255", ""},
		{Byte, "256", ""},
		{Byte, "-1", ""},
		{Byte, "0.5", ""},
		{Byte, "-0", "00"},
		{Word, "65534", "FEFF"},
		{Word, "65535", ""},
		{EWord, "16777214", "FEFFFF"},
		{ULong, "4294967295", ""},
		{EULong, "1099511627774", "FEFFFFFFFF"},
		{EULong, "1099511627776", ""},
		{Float1, "-327.68", "0080"},
		{Float1, "-327.69", ""},
		{Float1, "327.67", "FF7F"},
		{Float1, "327.68", ""},
		{Float1, "0.001", ""},
		{Float2, "32.767", "FF7F"},
		{Float2, "32.768", ""},
		{Float2, "-1", ""},
		{Float3, "1638300", ""},
		{Float3, "1638200", "FEFF"},
		{Index, "4294967295.99999998", "FFFFFFFFFEE0F505"},
		{Index, "4294967296", ""},
		{Index, "-1", ""},
		{Date, "1", ""},
		{String, "1", ""},
		{Null, "1", ""},
	} {
		d, err := drivers.ParseDecimal(c.n)
		if err != nil {
			t.Fatal(c.n, err)
		}
		b, err := AppendNumber([]byte("kept"), c.kind, d)
		if got := strings.ToUpper(hex.EncodeToString(b[4:])); got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, drivers.ErrValue) {
			t.Errorf("%s as %s: %q, %v; want %q", c.n, c.kind, got, err, c.want)
		}
	}
}

func TestFieldsAreSetToWhatTheyCanHold(t *testing.T) {
	text := func(s string) drivers.Value { return drivers.Value{Kind: drivers.Text, Text: s} }
	for _, c := range []struct {
		name string
		f    field
		v    drivers.Value
		want string // empty: refused
	}{
		{"hexadecimal digits", field{kind: Hex, size: 2}, text("0aFF"), "0AFF"},
		{"too few of them", field{kind: Hex, size: 2}, text("0a"), ""},
		{"none", field{kind: Hex, size: 2}, text("no"), ""},
		{"those of no value", field{kind: Hex, size: 2}, text("ffff"), ""},
		{"text", field{kind: String, size: 3}, text("é"), "E90000"},
		{"text of no value", field{kind: String, size: 2}, text("ÿÿ"), ""},
		{"text beyond Latin-1", field{kind: String, size: 2}, text("Ω"), ""},
		{"an alarm", field{kind: Alarm, size: 22}, drivers.Value{}, ""},
		{"filler", field{kind: Null, size: 2}, drivers.Value{}, ""},
		{"a number with a shift", field{kind: Word, size: 2, shift: -1}, drivers.Value{Number: drivers.NewDecimal(123, -1)}, "7B00"},
		{"a number that no shift helps", field{kind: Word, size: 2, shift: -1 << 20}, drivers.Value{Number: drivers.NewDecimal(1, 0)}, ""},
		{"a date", field{kind: Date, size: 4}, drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := c.f.appendValue([]byte("kept"), c.v, &clock{})
			if got := strings.ToUpper(hex.EncodeToString(bytes.TrimPrefix(b, []byte("kept")))); got != c.want && err == nil || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, drivers.ErrValue) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestWhatIsNoCommand(t *testing.T) {
	good, err := AppendQuery(nil, Query{Database: Daily, Mask: 7, Count: true})
	if err != nil {
		t.Fatal(err)
	}
	body := good[3 : len(good)-3]
	if q, ok := ParseQuery(body); !ok || q.Database != Daily || !q.Count || q.Mask != 7 {
		t.Fatalf("% X is %+v, %t", good, q, ok)
	}
	if _, ok := ParseQuery(body[:12]); ok {
		t.Error("12 bytes are a query")
	}
	wrong := bytes.Clone(body)
	wrong[0] = wrong[0]&0xF0 | byte(databases)
	if _, ok := ParseQuery(wrong); ok {
		t.Error("there is no such database")
	}
	if _, err := AppendQuery(nil, Query{Newest: time.Date(2064, 1, 1, 0, 0, 0, 0, time.UTC)}); !errors.Is(err, drivers.ErrValue) {
		t.Errorf("the year 2064: %v", err)
	}
	if _, ok := ParseDate([]byte{1, 2, 3}, time.UTC); ok {
		t.Error("three bytes are a date")
	}
	if databases.String() != "unknown" || types.String() != "unknown" {
		t.Errorf("%s, %s", databases, types)
	}
	for in, want := range map[string]bool{"": false, "F0": false, "EF": true, "F001": true} {
		b, _ := hex.DecodeString(in)
		if id, rest, ok := CutID(b); ok != want || ok && len(rest) > 0 {
			t.Errorf("%s: %s, %d left, %t", in, id, len(rest), ok)
		}
	}
}

// What a frame of a database may lack, and what ends the transfer.
func TestTransfersThatCannotBe(t *testing.T) {
	first := func(data ...byte) []byte { return append([]byte{0, 0}, data...) }
	for _, c := range []struct {
		name   string
		counts counting
		bodies [][]byte
		field  string
		want   error
	}{
		{"a frame without its number", counted, [][]byte{{0}}, "frame number", drivers.ErrShort},
		{"without a record size", counted, [][]byte{first()}, "record size", drivers.ErrShort},
		{"without the whole count", counted, [][]byte{first(4, 1)}, "record count", drivers.ErrShort},
		{"not from the start", counted, [][]byte{{1, 0, 4}}, "frame number", drivers.ErrSyntax},
		{"one left out", counted, [][]byte{first(4, 9, 0, 1), {2, 0, 1}}, "frame number", drivers.ErrSyntax},
		{"the first again, and other", counted, [][]byte{first(4, 9, 0, 1), first(5, 9, 0, 1)}, "frame number", drivers.ErrSyntax},
		{"the first again, and cut", counted, [][]byte{first(4, 9, 0), first(4)}, "frame number", drivers.ErrSyntax},
		{"the first again", counted, [][]byte{first(4, 9, 0, 1), first(4, 9, 0, 1), {1, 0, 2}}, "", nil},
		{"the first again, uncounted", uncounted, [][]byte{first(4, 1), first(4, 1), {1, 0, 2}}, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tr transfer
			tr.begin(c.counts)
			var field string
			var err error
			for _, b := range c.bodies {
				_, field, err = tr.add(b)
			}
			if field != c.field || !errors.Is(err, c.want) {
				t.Errorf("%s, %v; want %s, %v", field, err, c.field, c.want)
			}
		})
	}
}

func TestRecordsAreCutAsTheyWereAnnounced(t *testing.T) {
	for _, c := range []struct {
		name  string
		t     transfer
		want  int // bytes
		field string
	}{
		{"nothing", transfer{count: -1}, 0, ""},
		{"bytes of records without a size", transfer{count: -1, data: []byte{1}}, 0, "record size"},
		{"half a record", transfer{size: 2, count: -1, data: []byte{1, 2, 3}}, 0, "record"},
		{"one too few", transfer{size: 2, count: 2, data: []byte{1, 2}}, 0, "record count"},
		{"as many", transfer{size: 2, count: 1, data: []byte{1, 2}}, 2, ""},
		{"perhaps counted, and it fits", transfer{size: 3, count: -1, counts: unclear, data: []byte{1, 0, 7, 8, 9}}, 3, ""},
		{"perhaps counted, and it does not fit", transfer{size: 3, count: -1, counts: unclear, data: []byte{2, 0, 7, 8, 9}}, 0, "record"},
		{"perhaps counted, and whole without", transfer{size: 3, count: -1, counts: unclear, data: []byte{1, 0, 7}}, 3, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, field, _ := c.t.whole()
			if field != c.field || field == "" && len(data) != c.want {
				t.Errorf("%d bytes, %q; want %d, %q", len(data), field, c.want, c.field)
			}
		})
	}
	if (&transfer{data: []byte{1}}).records() != nil {
		t.Error("records without a size")
	}
}

func TestTheFieldsThatAnotherProgramAsksFor(t *testing.T) {
	c := newConfig()
	all, err := c.catalogue()
	if err != nil {
		t.Fatal(err)
	}
	c.Fields = fieldsFew
	for d, want := range map[Database]uint32{Interval: 0x000893F1, Hourly: 0x000893F1, Daily: 0x00F00211, Monthly: 0x00F00211, Events: 0x19, ParameterLog: 0x319, Certification: 0x319} {
		if got := c.maskFor(all, d, ""); got != want {
			t.Errorf("%s: %08X, want %08X", d, got, want)
		}
	}
	c.Fields = fieldsAll
	if got := c.maskFor(all, Daily, ""); got != 0xFFFFFFF9 {
		t.Errorf("all: %08X", got)
	}
	own, err := configWith(t, "[[layout]]\ndatabases = [\"daily\"]\nmask = 5\nfield = [{ name = \"a\", type = \"word\" }]\n").catalogue()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.maskFor(own, Daily, ""); got != 5 {
		t.Errorf("that of a layout: %08X", got)
	}
}

func TestAFileOfLayoutsIsBounded(t *testing.T) {
	c := newConfig()
	path := filepath.Join(t.TempDir(), "layouts.toml")
	if err := os.WriteFile(path, bytes.Repeat([]byte("#\n"), maxLayouts/2+1), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Layouts = drivers.File(path)
	if err := c.Validate(); !errors.Is(err, drivers.ErrLong) {
		t.Error(err)
	}
	for layouts, says := range map[string]string{
		"[[layout]]\ndatabases = [\"daily\"]\nmask = -1\nfield = [{ name = \"a\", type = \"word\" }]\n": "more than 32 bits",
	} {
		if err := configWith(t, layouts).Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", layouts, err)
		}
	}
	c = newConfig()
	c.PulseWeight = drivers.NewDecimal(-1, 0)
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "pulse_weight: -1 is negative") {
		t.Error(err)
	}
}
