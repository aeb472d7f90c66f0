package drivers

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

func number(t *testing.T, s string) Decimal {
	t.Helper()
	d, err := ParseDecimal(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestReadingPrintsAsTheContractSays(t *testing.T) {
	cet := time.FixedZone("", 3600)
	r := Reading{
		Meter: Identity{Driver: "mbus", ID: "12345678", Manufacturer: "KAM", Version: "8", Medium: "heat"},
		Time:  Stamp{Wall: time.Date(2026, 1, 31, 23, 59, 0, 0, cet), Zoned: true},
		Values: []Value{
			{Code: obis.MustParse("6-0:1.0.0"), Name: "energy", Number: number(t, "1234.567"), Unit: "kWh"},
			{
				Code: obis.MustParse("6-0:2.0.0"), Name: "volume", Number: number(t, "88.120"), Unit: "m³",
				Time: Stamp{Wall: time.Date(2026, 1, 31, 23, 0, 0, 0, cet), Zoned: true},
			},
			{Code: obis.MustParse("0-0:96.13.0"), Name: "message", Kind: Text, Text: "text"},
			{Name: "volume", Record: &Record{Storage: 1, Tariff: 2}, Number: number(t, "3.5"), Unit: "m³"},
		},
	}
	want := `{"driver":"mbus","meter":{"id":"12345678","manufacturer":"KAM","version":"8","medium":"heat"},` +
		`"time":"2026-01-31T23:59:00+01:00","values":[` +
		`{"obis":"6-0:1.0.0","name":"energy","value":1234.567,"unit":"kWh"},` +
		`{"obis":"6-0:2.0.0","name":"volume","value":88.120,"unit":"m³","time":"2026-01-31T23:00:00+01:00"},` +
		`{"obis":"0-0:96.13.0","name":"message","value":"text"},` +
		`{"name":"volume","storage":1,"tariff":2,"value":3.5,"unit":"m³"}]}`
	if diff := cmp.Diff(want, string(r.AppendJSON(nil))); diff != "" {
		t.Error(diff)
	}
}

func TestReadingPrintsMetersBehindIt(t *testing.T) {
	r := Reading{
		Meter: Identity{Driver: "p1"},
		Channels: []Channel{
			{Number: 1, Meter: Identity{ID: "G1", Medium: "gas"}},
			{Number: 2},
		},
		Values: []Value{{
			Code: obis.MustParse("0-1:24.2.1"), Name: "reading", Channel: 1, Number: number(t, "0.5"), Unit: "m³",
			Time: Stamp{Wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		}},
	}
	want := `{"driver":"p1","meter":{},"channels":[{"channel":1,"id":"G1","medium":"gas"},{"channel":2}],"values":[` +
		`{"obis":"0-1:24.2.1","name":"reading","channel":1,"value":0.5,"unit":"m³","time":"2026-01-01T00:00:00"}]}`
	got := r.AppendJSON(nil)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if !json.Valid(got) {
		t.Error("no JSON")
	}
}

func TestGarbageFromAMeterStillMakesJSON(t *testing.T) {
	for _, s := range []string{"\x00\x1f\"\\", "\xff\xfe", "ä€😀", "a\x7fb"} {
		v := Value{Kind: Text, Text: s, Name: s}
		if b := v.appendJSON(nil); !json.Valid(b) {
			t.Errorf("%q became %s", s, b)
		}
	}
}

func TestKeys(t *testing.T) {
	energy, other := obis.MustParse("1-0:1.8.0"), obis.MustParse("6-0:2.0.0")
	record := &Record{Storage: 1, Tariff: 2, Subunit: 1, Function: Maximum}
	var k Keyer
	for range 2 { // the second reading gets the same keys as the first
		k.Begin()
		var got []string
		for _, v := range []Value{
			{Code: energy, Name: "energy_import"},
			{Code: energy, Name: "energy_import"},
			{Code: energy, Name: "energy_import"},
			{Code: other, Name: "volume", Record: &Record{}},
			{Code: other, Name: "volume", Record: &Record{}},
			{Code: other, Name: "volume", Record: record},
			{Name: "volume", Record: record},
			{Name: "volume", Record: &Record{}},
			{Code: obis.MustParse("7-0:3.1.0*1")},
		} {
			key, _ := k.Key(&v)
			got = append(got, key)
		}
		want := []string{
			"1-0:1.8.0", "1-0:1.8.0#2", "1-0:1.8.0#3",
			"6-0:2.0.0", "volume", "volume@s1t2u1fmax", "volume@s1t2u1fmax#2", "volume#2",
			"7-0:3.1.0*1",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestKeysOfASteadyMeterAllocateNothing(t *testing.T) {
	values := []Value{
		{Code: obis.MustParse("1-0:1.8.0")},
		{Code: obis.MustParse("1-0:1.8.0")},
		{Name: "volume", Record: &Record{Storage: 3}},
	}
	var k Keyer
	run := func() {
		k.Begin()
		for i := range values {
			k.Key(&values[i])
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestNamesWithoutACodeAreRememberedByTheirOrder(t *testing.T) {
	var k Keyer
	for range 3 {
		k.Begin()
		for _, name := range []string{"weight", "site", "weight_2"} {
			if key, twice := k.Key(&Value{Name: name, Channel: 2}); key != name || twice {
				t.Errorf("%s is called %s, twice %t", name, key, twice)
			}
		}
	}
	if k.seen != nil || k.names != nil {
		t.Errorf("%d and %d names are kept apart", len(k.seen), len(k.names))
	}
}

func TestKeysDoNotDependOnEarlierReadings(t *testing.T) {
	some := []Value{
		{Code: obis.MustParse("1-0:1.8.0")},
		{Code: obis.MustParse("1-0:1.8.0"), Record: &Record{Tariff: 1}},
		{Code: obis.MustParse("1-0:2.8.0")},
		{Code: obis.MustParse("1-0:3.8.0")},
		{Name: "volume"},
		{Name: "volume", Channel: 1},
		{Name: "volume", Record: &Record{Tariff: 1}},
		{Name: "flow"},
	}
	random := rand.New(rand.NewPCG(1, 2))
	var old Keyer
	for range 2000 {
		var fresh Keyer
		old.Begin()
		fresh.Begin()
		for range random.IntN(8) {
			v := some[random.IntN(len(some))]
			got, gotTwice := old.Key(&v)
			want, wantTwice := fresh.Key(&v)
			if got != want || gotTwice != wantTwice {
				t.Fatalf("got %s %t, want %s %t", got, gotTwice, want, wantTwice)
			}
		}
	}
}

func TestAMeterThatInventsNamesDoesNotFillTheMemory(t *testing.T) {
	var k Keyer
	for i := range 3 * maxKeys {
		k.Begin()
		k.Key(&Value{Name: NewDecimal(int64(i), 0).String()})
	}
	if len(k.names) > maxKeys {
		t.Errorf("%d names kept", len(k.names))
	}
}

func TestParameterValidate(t *testing.T) {
	limit := Parameter{
		Quantity: Quantity{Name: "limit", Kind: Number, Unit: "W"}, Access: Readable | Writable,
		Min: NewDecimal(0, 0), Max: NewDecimal(100, 0),
	}
	mode := Parameter{Quantity: Quantity{Name: "mode", Kind: Text}, Access: Writable, Options: []string{"day", "night"}}
	text := Parameter{Quantity: Quantity{Name: "text", Kind: Text}, Access: Writable, MaxLen: 3}
	relay := Parameter{Quantity: Quantity{Name: "relay", Kind: Bool}, Access: Writable}
	clock := Parameter{Quantity: Quantity{Name: "clock", Kind: Moment}, Access: Writable}
	fixed := Parameter{Quantity: Quantity{Name: "serial", Kind: Text}, Access: Readable}
	for _, c := range []struct {
		name string
		p    Parameter
		v    Value
		ok   bool
	}{
		{"in range", limit, Value{Number: NewDecimal(100, 0)}, true},
		{"above", limit, Value{Number: NewDecimal(1001, -1)}, false},
		{"below", limit, Value{Number: NewDecimal(-1, 0)}, false},
		{"wrong kind", limit, Value{Kind: Text, Text: "5"}, false},
		{"an option", mode, Value{Kind: Text, Text: "day"}, true},
		{"no option", mode, Value{Kind: Text, Text: "dusk"}, false},
		{"short text", text, Value{Kind: Text, Text: "abc"}, true},
		{"short text of long characters", text, Value{Kind: Text, Text: "éüß"}, true},
		{"long text", text, Value{Kind: Text, Text: "abcd"}, false},
		{"on", relay, Value{Kind: Bool, Number: NewDecimal(1, 0)}, true},
		{"neither on nor off", relay, Value{Kind: Bool, Number: NewDecimal(2, 0)}, false},
		{"a time", clock, Value{Kind: Moment, Moment: Stamp{Wall: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)}}, true},
		{"a time that two digits cannot tell", clock, Value{Kind: Moment, Moment: Stamp{Wall: time.Unix(1, 0)}}, false},
		{"no time", clock, Value{Kind: Moment}, false},
		{"read only", fixed, Value{Kind: Text}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.p.Validate(c.v); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestParseFrame(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Mode
		ok   bool
	}{
		{"8N1", Mode{Bits: 8, Parity: NoParity, Stop: 1}, true},
		{"7e1", Mode{Bits: 7, Parity: EvenParity, Stop: 1}, true},
		{"8O2", Mode{Bits: 8, Parity: OddParity, Stop: 2}, true},
		{"9N1", Mode{}, false},
		{"8X1", Mode{}, false},
		{"8N3", Mode{}, false},
		{"", Mode{}, false},
	} {
		got, err := ParseFrame(c.in)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: got %v, %v", c.in, got, err)
		}
	}
	if s := (Mode{Baud: 9600, Bits: 7, Parity: EvenParity, Stop: 1}).String(); s != "9600 7E1" {
		t.Error(s)
	}
}

func TestACloneOutlivesTheReading(t *testing.T) {
	r := Reading{Channels: []Channel{{Number: 1}}, Values: []Value{{Name: "a", Number: NewDecimal(1, 0)}}}
	c := r.Clone()
	r.Channels[0].Number, r.Values[0].Name = 2, "b"
	r.Values[0].Number = NewDecimal(2, 0)
	r.Reset()
	if len(c.Channels) != 1 || c.Channels[0].Number != 1 || len(c.Values) != 1 || c.Values[0].Name != "a" || c.Values[0].Number.String() != "1" {
		t.Errorf("it became %+v", c)
	}
}

func TestStamp(t *testing.T) {
	wall := time.Date(2026, 1, 31, 23, 59, 0, 0, time.UTC)
	cet := time.FixedZone("", 3600)
	for _, c := range []struct {
		s    Stamp
		want string
	}{
		{Stamp{}, ""},
		{Stamp{Wall: wall}, "2026-01-31T23:59:00"},
		{Stamp{Wall: wall, Zoned: true}, "2026-01-31T23:59:00Z"},
		{Stamp{Wall: wall.In(cet), Zoned: true}, "2026-02-01T00:59:00+01:00"},
		{Stamp{Wall: wall.Add(120 * time.Millisecond)}, "2026-01-31T23:59:00.12"},
	} {
		text, err := c.s.MarshalText()
		if err != nil || string(text) != c.want || c.s.String() != c.want {
			t.Errorf("%q, %v; want %q", text, err, c.want)
		}
	}
	zoned := Stamp{Wall: wall, Zoned: true}
	if !zoned.Equal(Stamp{Wall: wall.In(cet), Zoned: true}) || zoned.Equal(Stamp{Wall: wall}) || zoned.Equal(Stamp{Wall: wall.Add(1), Zoned: true}) {
		t.Error("the same moment differs, or another does not")
	}
}

func TestKindsAreReadAsTheyAreWritten(t *testing.T) {
	for k, want := range map[Kind]string{Number: "number", Text: "text", Bool: "bool", Moment: "time"} {
		if k.String() != want || ParseKind(want) != k {
			t.Errorf("%s is %s", want, k)
		}
	}
	if ParseKind("colour") != Number || Kind(9).String() != "unknown" {
		t.Error("an unknown kind")
	}
}

func TestChecksAreOrderedByWhatTheyVouchFor(t *testing.T) {
	var got []string
	for c := CheckNone; c <= CheckTag+1; c++ {
		got = append(got, c.String())
	}
	if diff := cmp.Diff([]string{"none", "relayed", "parity", "bcc", "sum8", "crc16", "tag", "unknown"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPayloadIsTheValueInJSON(t *testing.T) {
	at := Stamp{Wall: time.Date(2026, 1, 31, 23, 59, 0, 0, time.UTC), Zoned: true}
	for _, c := range []struct {
		v    Value
		want string
	}{
		{Value{Number: NewDecimal(12300, -3), Unit: "kWh"}, "12.300"},
		{Value{Kind: Text, Text: `say "day"`}, `"say \"day\""`},
		{Value{Kind: Bool, Number: NewDecimal(1, 0)}, "true"},
		{Value{Kind: Bool}, "false"},
		{Value{Kind: Moment, Moment: at}, `"2026-01-31T23:59:00Z"`},
		{Value{Kind: Kind(9)}, "null"},
	} {
		if got := string(c.v.AppendPayload(nil)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
