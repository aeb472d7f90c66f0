package corus

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// corpusDir holds vectors that a foreign program made; it lies beside the
// repository.
const corpusDir = "../../../shared/corpus/corus"

func readCorpus(t testing.TB, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(corpusDir, name))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no corpus: ", err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCRCIsThatOfTheCorpus(t *testing.T) {
	var c struct{ Vectors []struct{ Hex, CRC string } }
	readCorpus(t, "crc.json", &c)
	for _, v := range c.Vectors {
		got := binary.LittleEndian.AppendUint16(nil, wire.Buypass(unhex(t, v.Hex)))
		if hex.EncodeToString(got) != v.CRC {
			t.Errorf("%.20s…: %x, want %s", v.Hex, got, v.CRC)
		}
	}
}

// oursOf is what layouts call a type of the corpus.
func oursOf(theirs string) string {
	if theirs == "CorusString" {
		return "string"
	}
	return strings.ToLower(theirs)
}

// values decodes bytes as the only field of a record.
func values(t testing.TB, kind string, b []byte) []drivers.Value {
	t.Helper()
	f, err := fieldTable{Name: "x", Type: kind}.compile()
	if err != nil {
		t.Fatal(err)
	}
	var d reader
	var r drivers.Reading
	for _, part := range f.expanded() {
		d.append(&r, &part, b)
	}
	return r.Values
}

func TestTypesAreReadAsTheCorpusSays(t *testing.T) {
	var c struct {
		Types []struct {
			Type    string
			Vectors []struct {
				Hex          string
				Value, Error *string
			}
		}
	}
	readCorpus(t, "types.json", &c)
	for _, of := range c.Types {
		for _, v := range of.Vectors {
			got := values(t, oursOf(of.Type), unhex(t, v.Hex))
			if v.Value == nil || *v.Value == "NaN" { // null, or what the oracle fails on
				if len(got) > 0 {
					t.Errorf("%s %s: %s, want no value", of.Type, v.Hex, text(&got[0]))
				}
				continue
			}
			if len(got) != 1 || text(&got[0]) != *v.Value {
				t.Errorf("%s %s: %+v, want %q", of.Type, v.Hex, got, *v.Value)
			}
		}
	}
}

// text is a value as the corpus writes it.
func text(v *drivers.Value) string {
	switch v.Kind {
	case drivers.Text:
		return v.Text
	case drivers.Moment:
		return v.Moment.String()
	default:
		return v.Number.String()
	}
}

// encoded writes a value of the corpus.
func encoded(t testing.TB, kind, value string) []byte {
	t.Helper()
	f, err := fieldTable{Name: "x", Type: kind}.compile()
	if err != nil {
		t.Fatal(err)
	}
	v := drivers.Value{Kind: f.value.Kind, Text: value}
	switch v.Kind {
	case drivers.Moment:
		v.Moment.Wall = wallOf(t, value)
	case drivers.Number:
		if v.Number, err = drivers.ParseDecimal(value); err != nil {
			t.Fatal(err)
		}
	default:
	}
	b, err := f.appendValue(nil, v, &clock{})
	if err != nil {
		t.Errorf("%s %s: %v", kind, value, err)
	}
	return b
}

func wallOf(t testing.TB, s string) time.Time {
	t.Helper()
	if s == "" {
		return time.Time{}
	}
	at, err := time.Parse("2006-01-02T15:04:05", s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestValuesAreWrittenAsTheCorpusSays(t *testing.T) {
	var c struct {
		Vectors []struct{ Type, Value, Hex string }
	}
	readCorpus(t, "encode.json", &c)
	for _, v := range c.Vectors {
		if got := encoded(t, oursOf(v.Type), v.Value); hex.EncodeToString(got) != v.Hex {
			t.Errorf("%s %s: %x, want %s", v.Type, v.Value, got, v.Hex)
		}
	}
}

func TestCommandsAreThoseOfTheCorpus(t *testing.T) {
	var c struct {
		Frames []struct {
			Kind  string
			IDs   []ID
			Items []struct {
				ID          ID
				Type, Value string
			}
			Database       string
			Newest, Oldest string
			Hex            string
		}
	}
	readCorpus(t, "frames.json", &c)
	for _, f := range c.Frames {
		var got []byte
		switch f.Kind {
		case "read_parameters":
			got = AppendRead(nil, f.IDs...)
		case "write_parameters":
			var settings []Setting
			for _, i := range f.Items {
				settings = append(settings, Setting{i.ID, encoded(t, oursOf(i.Type), i.Value)})
			}
			got = AppendWrite(nil, settings...)
		case "read_database":
			d, _ := ParseDatabase(f.Database)
			var err error
			got, err = AppendQuery(nil, Query{Database: d, Mask: 0xFFFFFFF9, Newest: wallOf(t, f.Newest), Oldest: wallOf(t, f.Oldest)})
			if err != nil {
				t.Error(err)
			}
		case "break":
			got = breakMessage
		case "pass":
			got = passMessage
		}
		if hex.EncodeToString(got) != f.Hex {
			t.Errorf("%s %v: %x, want %s", f.Kind, f.IDs, got, f.Hex)
		}
	}
}

// corpusField is a field of a layout of the corpus.
type corpusField struct {
	Name, Type string
	Pulse      bool   `json:"affected_by_pulse_input"`
	Divisor    string `json:"multiplied"`
}

// layoutText is a layout in our form.
func layoutText(database string, fields []corpusField) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[layout]]\ndatabases = [%q]\nfield = [\n", database)
	for _, f := range fields {
		fmt.Fprintf(&b, "{ name = %q, type = %q, pulse = %t", f.Name, oursOf(f.Type), f.Pulse)
		if f.Divisor != "" {
			fmt.Fprintf(&b, ", divisor = %s", f.Divisor)
		}
		b.WriteString(" },\n")
	}
	return b.String() + "]\n"
}

// decoderWith is a decoder that knows a file of layouts.
func decoderWith(t testing.TB, layouts, weight string) *Decoder {
	t.Helper()
	c := newConfig()
	if layouts != "" {
		path := filepath.Join(t.TempDir(), "layouts.toml")
		if err := os.WriteFile(path, []byte(layouts), 0o600); err != nil {
			t.Fatal(err)
		}
		c.Layouts = drivers.File(path)
	}
	if weight != "" {
		var err error
		if c.PulseWeight, err = drivers.ParseDecimal(weight); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	d, err := newDecoder(c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fieldsOf are the values of a reading by name, in the corpus' form; the time stands
// under the name of the date that it was.
func fieldsOf(r *drivers.Reading, stamp string) map[string]string {
	got := map[string]string{}
	if !r.Time.IsZero() && stamp != "" {
		got[stamp] = r.Time.String()
	}
	for i := range r.Values {
		got[r.Values[i].Name] = text(&r.Values[i])
	}
	return got
}

func TestRecordsAreReadAsTheCorpusSays(t *testing.T) {
	var c struct {
		Layouts map[string][]corpusField
		Records []struct {
			Layout  string
			Weight  string `json:"input_pulse_weight"`
			Hex     string
			Decoded map[string]string
		}
	}
	readCorpus(t, "records.json", &c)
	for _, rec := range c.Records {
		d := decoderWith(t, layoutText("interval", c.Layouts[rec.Layout]), rec.Weight)
		raw := unhex(t, rec.Hex)
		d.Feed(AppendFrame(nil, 0, true, append([]byte{byte(len(raw))}, raw...)))
		got, lost := decodertest.Drain(t, d)
		if len(got) != 1 || len(lost) != 0 {
			t.Errorf("%s %s: %d readings, lost %v", rec.Layout, rec.Hex, len(got), lost)
			continue
		}
		if diff := cmp.Diff(rec.Decoded, fieldsOf(got[0], "end_date")); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", rec.Layout, rec.Hex, diff)
		}
	}
}

// corpusSession is a conversation as the reader saw it.
type corpusSession struct {
	Exchange []struct{ Dir, Hex string }
	Expected struct {
		Database  string
		Layout    []corpusField
		Weight    string `json:"input_pulse_weight"`
		Records   []map[string]string
		Requested []struct {
			ID   ID
			Type string
		}
		Parameters map[string]*string
		Error      string `json:"oracle_error"`
	}
}

// overheard gives a conversation to a decoder.
func (s *corpusSession) overheard(t testing.TB, d *Decoder) (readings []*drivers.Reading, lost []*drivers.FrameError) {
	t.Helper()
	for _, e := range s.Exchange {
		if e.Dir == "tx" {
			d.Sent(unhex(t, e.Hex))
			continue
		}
		d.Feed(unhex(t, e.Hex))
		r, l := decodertest.Drain(t, d)
		readings, lost = append(readings, r...), append(lost, l...)
	}
	d.Gap()
	r, l := decodertest.Drain(t, d)
	return append(readings, r...), append(lost, l...)
}

func TestDatabasesOfTheCorpusAreRead(t *testing.T) {
	for _, name := range []string{"daily", "hourly", "interval", "interval-straddle", "interval-window"} {
		t.Run(name, func(t *testing.T) {
			var s corpusSession
			readCorpus(t, "session-"+name+".json", &s)
			d := decoderWith(t, layoutText(s.Expected.Database, s.Expected.Layout), "")
			readings, lost := s.overheard(t, d)
			if len(lost) != 0 {
				t.Errorf("lost %v", lost)
			}
			var got []map[string]string
			for _, r := range readings {
				if r.Time.IsZero() {
					continue // the pulse weight, which came first
				}
				got = append(got, fieldsOf(r, "end_date"))
			}
			if diff := cmp.Diff(s.Expected.Records, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParametersOfTheCorpusAreRead(t *testing.T) {
	var s corpusSession
	readCorpus(t, "session-parameters.json", &s)
	var layouts strings.Builder
	layouts.WriteString("[[map]]\n")
	for _, p := range s.Expected.Requested {
		fmt.Fprintf(&layouts, "[[map.parameter]]\nid = %d\nname = \"p%d\"\ntype = %q\n", p.ID, p.ID, oursOf(p.Type))
	}
	readings, lost := s.overheard(t, decoderWith(t, layouts.String(), ""))
	if len(readings) != 1 || len(lost) != 0 {
		t.Fatalf("%d readings, lost %v", len(readings), lost)
	}
	want := map[string]string{}
	for id, v := range s.Expected.Parameters {
		if v != nil {
			want["p"+id] = *v
		}
	}
	if diff := cmp.Diff(want, fieldsOf(readings[0], "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOddSessionsOfTheCorpusAreRead(t *testing.T) {
	for _, c := range []struct {
		name     string
		readings int
		lost     error
	}{
		{"empty-interval", 1, nil}, // the pulse weight
		{"bad-crc-read", 0, drivers.ErrChecksum},
		{"nak-read", 0, drivers.ErrRefused},
		{"write-date", 1, nil}, // it is read back
	} {
		t.Run(c.name, func(t *testing.T) {
			var s corpusSession
			readCorpus(t, "session-"+c.name+".json", &s)
			all := "[[map]]\n"
			for id, kind := range map[int]string{48: "index", 49: "index", 50: "index9", 20: "byte", 21: "word", 22: "eword", 23: "ulong", 24: "eulong", 25: "float1", 26: "float2", 28: "float3", 51: "word"} {
				all += fmt.Sprintf("[[map.parameter]]\nid = %d\nname = \"p%d\"\ntype = %q\n", id, id, kind)
			}
			readings, lost := s.overheard(t, decoderWith(t, all, ""))
			if len(readings) != c.readings || c.lost == nil && len(lost) > 0 || c.lost != nil && (len(lost) == 0 || !errors.Is(lost[0], c.lost)) {
				t.Errorf("%d readings, lost %v", len(readings), lost)
			}
			if at := s.Expected.Parameters["106"]; at != nil && readings[0].Time.String() != *at {
				t.Errorf("the clock shows %s, want %s", readings[0].Time, *at)
			}
		})
	}
}

func TestFloatsRoundHalfToEven(t *testing.T) {
	for f, want := range map[float32]string{
		0.5: "0.5", 1.0 / 3: "0.333333", 1e-7: "0", 0.00000051: "0.000001", 16777216: "16777216",
		-0.1: "-0.1", 9.9e21: "9899999600270360182784", 1e22: "", -1e22: "", math.MaxFloat32: "",
		1 << 63: "9223372036854775808", 1 << 64: "18446744073709551616", 3 << 66: "221360928884514619392", float32(math.Inf(1)): "",
		1.0 / (1 << 7): "0.007812", // 0.0078125
		3.0 / (1 << 7): "0.023438", // 0.0234375
	} {
		got := values(t, "float", binary.LittleEndian.AppendUint32(nil, math.Float32bits(f)))
		if want == "" && len(got) != 0 || want != "" && (len(got) != 1 || got[0].Number.String() != want) {
			t.Errorf("%g: %+v, want %q", f, got, want)
		}
	}
}
