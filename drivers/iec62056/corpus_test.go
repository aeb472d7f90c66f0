package iec62056

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// corpusDir holds captured messages and what foreign decoders read from them; it
// lies beside the repository.
const corpusDir = "../../../shared/corpus/iec62056-21"

// needCorpus skips the test where there is no corpus; in CI there is one.
func needCorpus(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(corpusDir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no corpus at %s", corpusDir)
		}
		t.Skipf("no corpus at %s", corpusDir)
	}
}

// load reads a JSON file of the corpus.
func load(t testing.TB, name string, into any) {
	t.Helper()
	needCorpus(t)
	b, err := os.ReadFile(filepath.Join(corpusDir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func corpusFiles(t testing.TB, pattern string) []string {
	t.Helper()
	needCorpus(t)
	files, err := filepath.Glob(filepath.Join(corpusDir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing in the corpus is called %s", pattern)
	}
	return files
}

type corpusIdent struct {
	Line           string
	Manufacturer   string
	BaudChar       string `json:"baud_char"`
	Mode           string
	Escapes        []string
	Identification string
	MinReaction    int `json:"min_reaction_ms"`
}

type corpusReadout struct {
	Kind    string
	Ident   *corpusIdent `json:"identification"`
	Parity  bool         `json:"parity_bit_set"`
	Framing struct {
		STX, ETX bool
		BCC      *bool `json:"bcc_valid"`
	}
	Scheme  string `json:"id_scheme"`
	Entries []struct {
		ID     string
		Obis   *string
		Values []struct {
			Value   string
			Unit    *string
			Decimal *string
		}
	}
}

func decoderFor(t testing.TB) *Decoder {
	t.Helper()
	d, err := newDecoder(iecName, newConfig(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// decodeAll feeds b at once and gives all readings and losses.
func decodeAll(t testing.TB, b []byte) ([]*drivers.Reading, []*drivers.FrameError) {
	t.Helper()
	d := decoderFor(t)
	d.Feed(b)
	d.Gap()
	return decodertest.Drain(t, d)
}

func TestEveryReadoutOfTheCorpusGivesItsValues(t *testing.T) {
	for _, file := range corpusFiles(t, "readouts/*.raw") {
		name := strings.TrimSuffix(filepath.Base(file), ".raw")
		t.Run(name, func(t *testing.T) {
			var want corpusReadout
			load(t, "readouts/"+name+".json", &want)
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if want.Kind == "fragment" {
				want.compareFragment(t, raw)
				return
			}
			got, lost := decodeAll(t, raw)
			if len(got) != 1 || len(lost) != 0 {
				t.Fatalf("%d readings, lost %v; want one reading", len(got), lost)
			}
			want.compare(t, got[0])
		})
	}
}

// compareFragment wants the fragment refused as it stands, and its values once it
// has an end.
func (want *corpusReadout) compareFragment(t *testing.T, raw []byte) {
	t.Helper()
	if got, lost := decodeAll(t, raw); len(got) != 0 || len(lost) != 1 || !errors.Is(lost[0], drivers.ErrShort) {
		t.Errorf("%d readings, lost %v; want it refused as cut", len(got), lost)
	}
	whole := append(slices.Clip(raw), "!\r\n"...)
	if want.Parity {
		withParity(whole[len(raw):])
	}
	got, lost := decodeAll(t, whole)
	if len(got) != 1 || len(lost) != 0 {
		t.Fatalf("%d readings, lost %v; want one reading", len(got), lost)
	}
	if want.Parity && got[0].Check != drivers.CheckParity {
		t.Errorf("check %s, want parity", got[0].Check)
	}
	want.compare(t, got[0])
}

func (want *corpusReadout) compare(t *testing.T, r *drivers.Reading) {
	t.Helper()
	if want.Ident != nil {
		who := [2]string{strings.ToUpper(want.Ident.Manufacturer), want.Ident.Identification}
		if diff := cmp.Diff(who, [2]string{r.Meter.Manufacturer, r.Meter.Model}); diff != "" {
			t.Error(diff)
		}
	}
	values := r.Values
	for _, e := range want.Entries {
		for i, v := range e.Values {
			if v.Value == "" || i > 0 && v.Unit == nil && len(values) > 0 && e.Values[0].Unit != nil {
				continue // no data, or the time of the value before
			}
			if strings.Contains(v.Value, "&") && v.Decimal == nil && e.ID == "9.4" || e.ID == "9.4" || strings.HasPrefix(e.ID, "9.4*") {
				values = values[2:]
				continue
			}
			if strings.TrimSpace(v.Value) == "" {
				continue
			}
			if isNever(e.ID, v.Value) {
				continue
			}
			if len(values) == 0 {
				t.Fatalf("%s: no value is left", e.ID)
			}
			sameValue(t, e.ID, e.Obis, v.Value, v.Unit, v.Decimal, &values[0])
			values = values[1:]
		}
	}
	if len(values) != 0 {
		t.Errorf("%d values too many: %+v", len(values), values[0])
	}
}

// isNever says that a time is all zeros: there was none.
func isNever(_, value string) bool { return strings.Trim(value, "0") == "" && len(value) == 10 }

// sameValue holds one value against the corpus. What the corpus calls a decimal may be
// text here, where it is a number's name rather than a quantity.
func sameValue(t *testing.T, id string, code *string, value string, unit, decimal *string, got *drivers.Value) {
	t.Helper()
	if code != nil && got.Code != obis.MustParse(*code) {
		t.Errorf("%s: code %s, want %s", id, got.Code, *code)
		return
	}
	switch got.Kind {
	case drivers.Number:
		if decimal == nil {
			t.Errorf("%s: %s is a number, want %q", id, got.Number, value)
			return
		}
		want, err := drivers.ParseDecimal(*decimal)
		if err != nil {
			t.Fatal(err)
		}
		wantUnit := obis.Unit("")
		if unit != nil {
			wantUnit = obis.Unit(*unit)
			if u, shift, known := obis.ParseUnit(*unit); known {
				wantUnit = u
				if want, err = want.Shift(shift); err != nil {
					t.Fatal(err)
				}
			}
			if *unit == "deg" {
				wantUnit = "°"
			}
		}
		if !got.Number.Equal(want) || got.Unit != wantUnit {
			t.Errorf("%s: %s %q, want %s %q", id, got.Number, got.Unit, want, wantUnit)
		}
	case drivers.Text:
		if got.Text != strings.TrimSpace(value) || unit != nil {
			t.Errorf("%s: text %q, want %q with unit %v", id, got.Text, value, unit)
		}
	case drivers.Moment:
		if digitsOf(got.Moment.Wall.Format("20060102150405"))[:10] != digitsOf(value)[:10] && digitsOf(got.Moment.Wall.Format("060102150405"))[:10] != digitsOf(value)[:10] {
			t.Errorf("%s: time %s, want %s", id, got.Moment, value)
		}
	default:
		t.Errorf("%s: kind %s", id, got.Kind)
	}
}

func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

func TestBlockChecksOfTheCorpus(t *testing.T) {
	var messages struct {
		BCC []struct {
			Hex, Text string
			Valid     bool
		}
	}
	load(t, "messages.json", &messages)
	for _, c := range messages.BCC {
		b := []byte(c.Text)
		if c.Hex != "" {
			var err error
			if b, err = hex.DecodeString(c.Hex); err != nil {
				t.Fatal(err)
			}
		}
		end := len(b) - 1
		if got := BlockCheck(b[1:end]) == b[end]; got != c.Valid {
			t.Errorf("%q: fits %t, want %t", b, got, c.Valid)
		}
	}
}

func TestIdentificationsOfTheCorpus(t *testing.T) {
	var messages struct{ Identification []corpusIdent }
	load(t, "messages.json", &messages)
	for _, want := range messages.Identification {
		id, err := ParseIdentification([]byte(want.Line))
		if err != nil {
			t.Errorf("%q: %v", want.Line, err)
			continue
		}
		reaction := 200
		if id.Fast() {
			reaction = 20
		}
		got := corpusIdent{
			Line: want.Line, Manufacturer: id.Manufacturer, BaudChar: string(rune(id.Speed)), Mode: string(rune(id.Mode)),
			Escapes: append([]string{}, strings.Split(id.Escapes, "")...), Identification: id.Model, MinReaction: reaction,
		}
		if id.Escapes == "" {
			got.Escapes = []string{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestExpansionsOfTheCorpus(t *testing.T) {
	var vectors struct {
		Vectors []struct {
			ID   string
			Obis *string
		}
	}
	load(t, "obis-expansion.json", &vectors)
	d := decoderFor(t)
	for _, v := range vectors.Vectors {
		c, ok := obis.Scan(v.ID, d.prefix)
		if ok != (v.Obis != nil) || ok && c != obis.MustParse(*v.Obis) {
			t.Errorf("%q: %s, %t", v.ID, c, ok)
		}
	}
}

func TestLISErrorsOfTheCorpus(t *testing.T) {
	var table struct{ Codes map[string]string }
	load(t, "lis200-errors.json", &table)
	want := map[int]string{}
	for number, text := range table.Codes {
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		want[n] = text
	}
	if diff := cmp.Diff(want, lisErrors); diff != "" {
		t.Error(diff)
	}
}

type corpusProfile struct {
	Segments []struct {
		Zone     string `json:"zone_flag"`
		Status   string
		Channels []struct{ ID, Obis, Unit string }
		Rows     []struct {
			Values []string
			Time   string
		}
	}
	Entries []struct {
		Time, Status string
		Zone         string `json:"zone_flag"`
		Fields       []struct{ ID, Obis, Value string }
	}
}

// rows is what must come out: a line a row.
func (p *corpusProfile) rows(t *testing.T) (all []string) {
	t.Helper()
	for _, s := range p.Segments {
		for _, row := range s.Rows {
			line := zonedText(t, row.Time, s.Zone)
			for i, v := range row.Values {
				n, err := drivers.ParseDecimal(v)
				if err != nil {
					t.Fatal(err)
				}
				u, shift, _ := obis.ParseUnit(s.Channels[i].Unit)
				if n, err = n.Shift(shift); err != nil {
					t.Fatal(err)
				}
				line += " " + obis.MustParse(s.Channels[i].Obis).String() + "=" + n.String() + string(u)
			}
			all = append(all, line+" status="+s.Status)
		}
	}
	for _, e := range p.Entries {
		line := zonedText(t, e.Time, e.Zone)
		for _, f := range e.Fields {
			line += " " + obis.MustParse(f.Obis).String() + "=" + f.Value
		}
		all = append(all, line+" status="+e.Status)
	}
	return all
}

func zonedText(t *testing.T, wall, flag string) string {
	t.Helper()
	switch flag {
	case "summer":
		return wall + "+02:00"
	case "standard":
		return wall + "+01:00"
	}
	t.Fatalf("zone flag %q", flag)
	return ""
}

func rowText(r *drivers.Reading) string {
	line := r.Time.String()
	for _, v := range r.Values {
		key := v.Code.String()
		if v.Code.IsZero() {
			key = v.Name
		}
		line += " " + key + "="
		if v.Kind == drivers.Number {
			line += v.Number.String() + string(v.Unit)
		} else {
			line += v.Text
		}
		if v.Flags&drivers.Logged == 0 {
			line += " (not logged)"
		}
	}
	return line
}

func TestProfilesOfTheCorpusGiveTheirRows(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range corpusFiles(t, "profiles/*.raw") {
		name := strings.TrimSuffix(filepath.Base(file), ".raw")
		t.Run(name, func(t *testing.T) {
			var want corpusProfile
			load(t, "profiles/"+name+".json", &want)
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, text, _ := strings.Cut("\n"+string(raw), "\nP.") // one has a readout before its log
			d, err := newDecoder(iecName, newConfig(), drivers.Zones{Meter: zone})
			if err != nil {
				t.Fatal(err)
			}
			d.Feed(AppendBlock(nil, []byte("P."+text), false))
			d.Gap()
			got, lost := decodertest.Drain(t, d)
			if len(lost) != 0 {
				t.Errorf("lost %v", lost)
			}
			var rows []string
			for _, r := range got {
				rows = append(rows, rowText(r))
			}
			if diff := cmp.Diff(want.rows(t), rows); diff != "" {
				t.Error(diff)
			}
		})
	}
}
