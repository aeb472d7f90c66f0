package corus

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
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
		{"wide by small", number{hi: 3, lo: big, exp: -3}, number{lo: 2, exp: 1}, number{hi: 7, exp: -2}, true},
		{"small by wide", number{lo: 2, exp: 1}, number{hi: 3, lo: big, exp: -3}, number{hi: 7, exp: -2}, true},
		{"one bit too many of small ones", number{lo: big}, number{lo: big}, number{}, false},
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
		{number{lo: 1e18}, "0.000000000000000001"},
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

// 2^64 is 18446744073709551616: more than a word holds, less than a number.
func TestNumbersOfTwoWordsKeepAllDigits(t *testing.T) {
	for text, want := range map[string]number{
		"18446744073709551616":   {hi: 1},
		"-18446744073709551.616": {hi: 1, exp: -3, negative: true},
		"36893488147419103232":   {hi: 2},
		"1.50":                   {lo: 15, exp: -1},
	} {
		d, err := drivers.ParseDecimal(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := numberOf(d); !ok || got != want {
			t.Errorf("%s is %+v, %t; want %+v", text, got, ok, want)
		}
	}
	ten := number{hi: 10, exp: -1}
	if got, ok := ten.at(0); !ok || got != (number{hi: 1}) {
		t.Errorf("%+v in ones is %+v, %t", ten, got, ok)
	}
	if got := (number{hi: 10}).trimmed(); got != (number{hi: 10}) {
		t.Errorf("a whole number is trimmed to %+v", got)
	}
}

func TestAnIndexOfNineBytesKeepsAllDigits(t *testing.T) {
	for whole, want := range map[uint64]string{0: "0.99999999", 184467440737: "184467440737.99999999", 1<<40 - 2: "1099511627774.99999999"} {
		b := binary.LittleEndian.AppendUint64(nil, whole)
		b = binary.LittleEndian.AppendUint32(b[:5], 99_999_999)
		got := values(t, "index9", b)
		if len(got) != 1 || got[0].Number.String() != want {
			t.Errorf("%d and a fraction: %+v, want %s", whole, got, want)
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
		{Float, "1", "0000803F"},
		{Float, "10000000000000000000000", ""},
		{Float, "-10000000000000000000000", ""},
		{Float1, "-0.01", ""}, // its bytes are those of no value
		{Float1, "-0.02", "FEFF"},
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

// Six bits hold the year.
func TestADateIsOfTheYears2000To2063(t *testing.T) {
	for year, want := range map[int]bool{1999: false, 2000: true, 2063: true, 2064: false} {
		if _, ok := pack(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)); ok != want {
			t.Errorf("%d: %t", year, ok)
		}
	}
}

func TestTheClockOfTheDeviceIsThatOfItsZone(t *testing.T) {
	rome, tokyo := time.FixedZone("", 3600), time.FixedZone("", 9*3600)
	if got := zoneOf(drivers.Zones{Meter: rome, Host: tokyo}); got != rome {
		t.Errorf("the zone is %v, not the meter's", got)
	}
	if got := zoneOf(drivers.Zones{Host: tokyo}); got != tokyo {
		t.Errorf("the zone is %v, not the gateway's", got)
	}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		zone    *time.Location
		zoned   bool
		local   string // what the device's clock shows
		instant string
	}{
		{"a moment", rome, true, "2026-03-01T13:00:00+01:00", "2026-03-01T12:00:00Z"},
		{"what a clock showed", rome, false, "2026-03-01T12:00:00Z", "2026-03-01T11:00:00Z"},
		{"a moment, of no zone", nil, true, "2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"},
		{"what a clock showed, of no zone", nil, false, "2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"},
	} {
		own := clock{zone: c.zone}
		at := drivers.Stamp{Wall: noon, Zoned: c.zoned}
		if got := own.local(at).Format(time.RFC3339); got != c.local {
			t.Errorf("%s: the clock shows %s, want %s", c.name, got, c.local)
		}
		if got := own.instant(at).UTC().Format(time.RFC3339); got != c.instant {
			t.Errorf("%s: it is %s, want %s", c.name, got, c.instant)
		}
	}
}

func TestTheNumberOfADeviceIsTakenAsItIsGiven(t *testing.T) {
	for want, v := range map[string]drivers.Value{
		"12345678": {Code: serialCode, Kind: drivers.Number, Number: drivers.NewDecimal(12345678, 0)},
		"AB12":     {Code: serialCode, Kind: drivers.Text, Text: "AB12"},
	} {
		var d reader
		var r drivers.Reading
		if d.learn(&r, &v); r.Meter.ID != want {
			t.Errorf("%q, want %q", r.Meter.ID, want)
		}
	}
	for in, want := range map[string]string{"FL_AZ09": "FL_az09", "FL_b[@": "FL_b[@", "fl": "fl"} {
		if got := new(texts).mapID(in); got != want {
			t.Errorf("the map %s is %q, want %q", in, got, want)
		}
	}
}

// sentBoth is what somebody sends in a recording, and the answer to it.
func sentBoth(t *testing.T, d *Decoder, sent, received []byte) (got []*drivers.Reading, lost []*drivers.FrameError) {
	t.Helper()
	d.Sent(sent)
	d.Feed(received)
	return decodertest.Drain(t, d)
}

func TestAnAnswerIsReadAsItWasAskedFor(t *testing.T) {
	query := func(count bool) []byte {
		b, err := AppendQuery(nil, Query{Database: Monthly, Mask: 1, Count: count})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	row := houseRow(0)
	counted := func(n byte) []byte { return AppendFrame(nil, 0, true, append([]byte{38, n, 0}, row...)) }
	for _, c := range []struct {
		name     string
		sent     []byte
		received []byte
		readings int
		lost     string
		cause    error
	}{
		{"a record that was to be counted", query(true), counted(1), 1, "", nil},
		{"two were counted and one comes", query(true), counted(2), 0, "record count", drivers.ErrShort},
		{"none was counted and one comes", query(true), counted(0), 0, "record count", drivers.ErrShort},
		{"a count that was not asked for", query(false), counted(1), 0, "record", drivers.ErrShort},
		{"a write is accepted; what follows is noise", AppendWrite(nil, Setting{1, []byte{0, 0, 0, 0}}), []byte{ack, nak}, 0, "", nil},
		{"a write is refused", AppendWrite(nil, Setting{1, []byte{0, 0, 0, 0}}), []byte{nak}, 0, "answer", drivers.ErrRefused},
		{"a read is heard, then refused", AppendRead(nil, weightID), []byte{ack, nak}, 0, "answer", drivers.ErrRefused},
		{"nothing was asked", nil, []byte{ack, nak}, 0, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, lost := sentBoth(t, lawDecoder(t), c.sent, c.received)
			if len(got) != c.readings || (len(lost) > 0) != (c.lost != "") {
				t.Fatalf("%d readings, lost %v", len(got), lost)
			}
			if c.lost != "" && (lost[0].Field != c.lost || !errors.Is(lost[0], c.cause)) {
				t.Errorf("lost %v, want %s, %v", lost[0], c.lost, c.cause)
			}
		})
	}
	if d := lawDecoder(t); d.askParameters(nil) {
		t.Error("no parameter is a question for parameters")
	}
}

// A device whose pulse weight was set anew counts with the new one.
func TestThePulseWeightThatWasReadLastHolds(t *testing.T) {
	d := lawDecoder(t)
	for _, weight := range []string{"0.1", "0.5"} {
		w, err := drivers.ParseDecimal(weight)
		if err != nil {
			t.Fatal(err)
		}
		data, err := AppendNumber(nil, Float, w)
		if err != nil {
			t.Fatal(err)
		}
		got, lost := sentBoth(t, d, AppendRead(nil, weightID), AppendAnswer(nil, data))
		if len(got) != 1 || len(lost) != 0 {
			t.Fatalf("%d readings, lost %v", len(got), lost)
		}
		if want, _ := numberOf(w); d.weight != want || !d.known {
			t.Errorf("the weight is %+v, %t; want %+v", d.weight, d.known, want)
		}
	}
}

func TestTheFirstFrameOfADatabaseIsKnownByItself(t *testing.T) {
	frame := func(word uint16, data ...byte) []byte {
		return append(binary.LittleEndian.AppendUint16(nil, word), data...)
	}
	d := lawDecoder(t)
	for _, c := range []struct {
		name string
		body []byte
		want bool
	}{
		{"records of a length that has a layout", frame(0, 38, 1), true},
		{"and no more than their length", frame(0, 38), true},
		{"records of another length", frame(0, 37, 1), false},
		{"the second frame", frame(1, 38), false},
		{"no length", frame(0), false},
		{"no record", frame(lastFrame, 0), true},
		{"no record, which is counted", frame(lastFrame, 0, 0, 0), true},
		{"no record, and more than a count", frame(lastFrame, 0, 0, 0, 0), false},
		{"no record, and not the last", frame(0, 0), false},
	} {
		if got := d.mayBegin(c.body); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestCommandsAreToldFromAnswers(t *testing.T) {
	read := AppendRead(nil, 1, 2)
	write := AppendWrite(nil, Setting{1, []byte{0, 0, 0, 0}})
	query, err := AppendQuery(nil, Query{Database: Daily})
	if err != nil {
		t.Fatal(err)
	}
	// As long as the code of the command that reads, and its data begins with a length.
	like := AppendAnswer(nil, append([]byte{2}, make([]byte, cmdRead-1)...))
	long := AppendAnswer(nil, append([]byte{0xFF}, make([]byte, cmdRead-1)...))
	for _, c := range []struct {
		name   string
		b      []byte
		closed bool
		want   verdict
		length int
	}{
		{"a read", read, false, isCommand, len(read)},
		{"a write", write, false, isCommand, len(write)},
		{"a query", query, false, isCommand, len(query)},
		{"a break", breakMessage, false, isCommand, len(breakMessage)},
		{"a break that is cut", breakMessage[:5], false, needMore, len(breakMessage)},
		{"B, and not a break", []byte{soh, 'B', '1', etx, 0x21, 0x31}, false, needMore, 'B' + overhead},
		{"a query that is cut", query[:10], false, needMore, len(query)},
		{"an answer that looks like a short read", like, false, isAnswer, len(like)},
		{"an answer that looks like a long read", long, false, isAnswer, len(long)},
	} {
		if v, n := lookBoth(c.b, c.closed); v != c.want || n != c.length {
			t.Errorf("%s: %d, %d bytes; want %d, %d", c.name, v, n, c.want, c.length)
		}
	}
}

func TestADamagedAnswerIsShownWithBothChecks(t *testing.T) {
	good := AppendAnswer(nil, []byte{1, 2, 3})
	bad := bytes.Clone(good)
	bad[3] ^= 1
	_, lost := sentBoth(t, lawDecoder(t), nil, bad)
	n := len(good)
	got, want := uint32(binary.LittleEndian.Uint16(good[n-2:])), uint32(wire.Buypass(bad[:n-2]))
	if len(lost) == 0 || lost[0].Field != "CRC" || lost[0].Offset != n-2 || lost[0].Length != n || lost[0].Got != got || lost[0].Want != want {
		t.Errorf("lost %+v, want the CRC at byte %d, %04X and %04X", lost, n-2, got, want)
	}
}

func TestTheDecoderForgetsWhatWasRead(t *testing.T) {
	d := lawDecoder(t)
	for range 50 {
		d.Feed(houseAnswer)
		if got, _ := decodertest.Drain(t, d); len(got) != 6 {
			t.Fatalf("%d readings", len(got))
		}
	}
	if len(d.in) > 2*len(houseAnswer) {
		t.Errorf("%d bytes are kept of answers of %d that were read", len(d.in), len(houseAnswer))
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
		{"the first again, of a length alone", uncounted, [][]byte{first(4), first(4), {1, 0, 2}}, "", nil},
		{"as much as is kept", uncounted, [][]byte{first(append([]byte{4}, make([]byte, maxTransfer-1)...)...), {1, 0, 1}}, "", nil},
		{"more than is kept", uncounted, [][]byte{first(append([]byte{4}, make([]byte, maxTransfer)...)...), {1, 0, 1}}, "database", drivers.ErrLong},
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
		{"none was announced", transfer{size: 2, data: []byte{1, 2}}, 0, "record count"},
		{"perhaps counted, and none", transfer{size: 3, count: -1, counts: unclear, data: []byte{0, 0}}, 0, ""},
		{"perhaps counted, and none without a size", transfer{count: -1, counts: unclear, data: []byte{0, 0}}, 0, ""},
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
	if got := (&transfer{size: 3, data: []byte{1, 2, 3, 4, 5, 6, 7}}).records(); len(got) != 6 {
		t.Errorf("%d bytes of two records and a part", len(got))
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
	if err := os.Truncate(path, maxLayouts); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("as large as a file may be: %v", err)
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
