package mbus

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// telegramCase is one case of the shared corpus.
type telegramCase struct {
	Name     string
	Protocol string
	Valid    bool
	Reason   string
	Offset   int
	Key      string
	Frame    struct {
		Type    string
		Control int
		CI      int
	}
	Header *struct {
		ID           string
		Manufacturer string
		Version      int
		Medium       int
		Status       *int
	}
	Encrypted        bool
	Encryption       string
	TplCI            int              `json:"tpl_ci"`
	ApplicationError *json.RawMessage `json:"application_error"`
	Compact          *struct{}
	CompactValues    string `json:"compact_values"`
	Records          []recordCase
	lines            [][]byte
}

// recordCase is one record that the corpus expects.
type recordCase struct {
	DIB, VIB, Data string
	Function       string
	Storage        uint64
	Tariff         uint32
	Subunit        uint16
	Coding         string
	Quantity       string
	Unit           string
	VIFE           []string
	Kind           string
	Value          *string
	Invalid        bool
	Ambiguous      string
	Canonical      *struct{ Value, Unit string }
}

// corpus loads the cases of a protocol; bad: those that must give no reading.
func corpus(t testing.TB, protocol string, bad bool) []telegramCase {
	t.Helper()
	folder := shared(t, "corpus/mbus")
	if bad {
		folder = filepath.Join(folder, "bad")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []telegramCase
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c telegramCase
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if c.Protocol != protocol {
			continue
		}
		c.lines = hexLines(t, strings.TrimSuffix(file, ".expected.json")+".hex")
		cases = append(cases, c)
	}
	if len(cases) < 5 {
		t.Fatalf("%d cases of %s in %s: the corpus is not what it was", len(cases), protocol, folder)
	}
	return cases
}

func hexLines(t testing.TB, file string) (lines [][]byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		lines = append(lines, unhex(t, line))
	}
	return lines
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatalf("%.40q: %v", s, err)
	}
	return b
}

// shared is the path of what lies beside the repository. Without it the test is
// skipped, but not in CI.
func shared(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: CI needs it", err)
		}
		t.Skipf("not here: %v", err)
	}
	return path
}

// decoded is all that came out of a decoder.
type decoded struct {
	readings []drivers.Reading
	lost     []drivers.FrameError
}

// drain asks d until it is dry.
func (all *decoded) drain(t testing.TB, d drivers.Decoder) {
	t.Helper()
	var r drivers.Reading
	for {
		err := d.Next(&r)
		if err == nil {
			all.readings = append(all.readings, *r.Clone())
			continue
		}
		if errors.Is(err, drivers.ErrMore) {
			return
		}
		var f *drivers.FrameError
		if !errors.As(err, &f) {
			t.Fatalf("%v is neither ErrMore nor a FrameError", err)
		}
		all.lost = append(all.lost, *f.Clone())
	}
}

// decode feeds the chunks one by one, with a Gap at the end.
func decode(t testing.TB, d drivers.Decoder, chunks ...[]byte) (all decoded) {
	t.Helper()
	for _, c := range chunks {
		d.Feed(c)
		all.drain(t, d)
	}
	d.Gap()
	all.drain(t, d)
	return all
}

func TestDecodeWiredCorpus(t *testing.T) {
	for _, c := range corpus(t, "mbus", false) {
		t.Run(c.Name, func(t *testing.T) {
			all := decode(t, NewDecoder(nil), c.lines...)
			switch {
			case c.Header == nil && len(c.Records) == 0 && c.Frame.CI != ciError:
				if len(all.readings)+len(all.lost) != 0 {
					t.Errorf("this is no answer, yet it gave %+v", all)
				}
			case c.Frame.CI == ciError:
				if len(all.readings) != 0 || len(all.lost) != 1 || !errors.Is(&all.lost[0], drivers.ErrRefused) {
					t.Errorf("an application error gave %+v", all)
				}
			default:
				all.expectOne(t, &c)
			}
		})
	}
}

// expectOne checks the last reading against the case.
func (all decoded) expectOne(t *testing.T, c *telegramCase) {
	t.Helper()
	for _, f := range all.lost {
		t.Errorf("lost: %v", &f)
	}
	if len(all.readings) != len(c.lines) {
		t.Fatalf("%d readings of %d telegrams", len(all.readings), len(c.lines))
	}
	c.check(t, &all.readings[len(all.readings)-1])
}

func (c *telegramCase) check(t *testing.T, r *drivers.Reading) {
	t.Helper()
	c.checkMeter(t, r.Meter)
	values := r.Values
	for i := range c.Records {
		want := &c.Records[i]
		if want.gives() == "" {
			continue
		}
		if len(values) == 0 {
			t.Errorf("record %d (%s %s): no value", i, want.DIB, want.VIB)
			continue
		}
		want.check(t, &values[0])
		values = values[1:]
	}
	for _, v := range values {
		if v.Name != "status" {
			t.Errorf("unexpected: %s", v.AppendPayload([]byte(v.Name+" ")))
		}
	}
}

func (c *telegramCase) checkMeter(t *testing.T, got drivers.Identity) {
	t.Helper()
	h := c.Header
	if h == nil || h.ID == "" {
		return
	}
	if got.ID != h.ID || (h.Manufacturer != "" && (got.Manufacturer != h.Manufacturer || got.Version != strconv.Itoa(h.Version))) {
		t.Errorf("meter is %+v, want %+v", got, *h)
	}
}

// gives is the kind of value that the record must give, "" for none.
func (r *recordCase) gives() string {
	switch {
	case r.Invalid, r.Kind == "invalid", r.Kind == "none", strings.HasPrefix(r.Quantity, "access_code"),
		r.Quantity == "password", r.Quantity == "security_key":
		return ""
	case r.Kind == "manufacturer" && r.Data == "":
		return ""
	case r.Kind != "manufacturer" && r.Value == nil:
		return ""
	}
	return r.Kind
}

func (r *recordCase) check(t *testing.T, v *drivers.Value) {
	t.Helper()
	at := r.DIB + " " + r.VIB + " " + r.Data
	if r.Kind == "manufacturer" {
		if v.Name != nameManufacturer || v.Text != r.Data {
			t.Errorf("%s: got %s %s", at, v.Name, v.Text)
		}
		return
	}
	where := drivers.Record{Storage: r.Storage, Tariff: r.Tariff, Subunit: r.Subunit, Function: functionNamed(r.Function)}
	if *v.Record != where {
		t.Errorf("%s: stands at %+v, want %+v", at, *v.Record, where)
	}
	if r.Ambiguous != "" {
		return
	}
	if v.Code.IsZero() && r.Quantity != "" && r.Quantity != "unknown" && !strings.HasPrefix(v.Name, r.Quantity) {
		t.Errorf("%s: is %s, want %s", at, v.Name, r.Quantity)
	}
	dataError := len(r.VIFE) > 0 && r.VIFE[0] == "18"
	if (dataError || where.Function == drivers.DuringError) != (v.Flags&drivers.MeterError != 0) {
		t.Errorf("%s: flags %b", at, v.Flags)
	}
	switch r.Kind {
	case "number":
		r.checkNumber(t, at, v)
	case "date", "datetime":
		got := v.Moment.String()
		want := *r.Value
		if len(want) == len("2006-01-02") {
			want += "T00:00"
		}
		if len(want) == len("2006-01-02T15:04") {
			want += ":00"
		}
		if v.Kind != drivers.Moment || got != want {
			t.Errorf("%s: got %s, want %s", at, got, want)
		}
	default:
		if v.Kind != drivers.Text || v.Text != *r.Value {
			t.Errorf("%s: got %q, want %q", at, v.Text, *r.Value)
		}
	}
}

func functionNamed(s string) drivers.Function {
	switch s {
	case "max":
		return drivers.Maximum
	case "min":
		return drivers.Minimum
	case "error":
		return drivers.DuringError
	}
	return drivers.Instantaneous
}

// bases lead from our units to the corpus's: unit and factor.
var bases = map[string]struct{ unit, factor string }{
	"kWh": {"Wh", "1000"}, "MJ": {"J", "1000000"}, "GJ": {"J", "1000000000"},
	"Mcal": {"cal", "1000000"}, "kvarh": {"varh", "1000"}, "kVAh": {"VAh", "1000"},
	"m³": {"m3", "1"}, "m³/h": {"m3/h", "1"}, "m³/min": {"m3/min", "1"}, "m³/s": {"m3/s", "1"},
	"min": {"s", "60"}, "h": {"s", "3600"}, "d": {"s", "86400"},
	"GJ/h": {"J/h", "1000000000"}, "ft³": {"ft3", "1"},
	"gal": {"gal_us", "1"}, "gal/min": {"gal_us/min", "1"}, "gal/h": {"gal_us/h", "1"},
}

func (r *recordCase) checkNumber(t *testing.T, at string, v *drivers.Value) {
	t.Helper()
	if v.Kind != drivers.Number {
		t.Errorf("%s: is a %s, want %s", at, v.Kind, *r.Value)
		return
	}
	if c := r.Canonical; c != nil && (v.Number.String() != c.Value || string(v.Unit) != c.Unit) {
		if v.Unit != "GJ" { // the contract leaves gigajoules as sent
			t.Errorf("%s: got %s %s, want %s %s", at, v.Number, v.Unit, c.Value, c.Unit)
		}
	}
	want, err := drivers.ParseDecimal(*r.Value)
	if err != nil {
		t.Fatal(err)
	}
	got, unit := v.Number, string(v.Unit)
	if b, ok := bases[unit]; ok && (unit != "d" || r.Unit != "d") {
		factor, err := drivers.ParseDecimal(b.factor)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = got.Mul(factor); err != nil {
			t.Fatal(err)
		}
		unit = b.unit
	}
	if strings.HasSuffix(v.Name, "_count") {
		unit = r.Unit // how often a limit was passed has no unit, whatever the limit's
	}
	if got.Cmp(want) != 0 || unit != r.Unit && r.Unit != "currency" && !strings.HasPrefix(v.Name, nameText) {
		t.Errorf("%s: got %s %q, want %s %q", at, got, unit, want, r.Unit)
	}
}

func TestBadWiredCorpusGivesNoReading(t *testing.T) {
	for _, c := range corpus(t, "mbus", true) {
		t.Run(c.Name, func(t *testing.T) {
			all := decode(t, NewDecoder(nil), c.lines...)
			if c.Name == "bad-trailing" {
				// What follows a good frame in a stream is noise and takes nothing from it.
				if len(all.readings) != 1 || len(all.lost) != 0 {
					t.Errorf("got %+v", all)
				}
				return
			}
			if len(all.readings) != 0 {
				t.Fatalf("gave %s", all.readings[0].AppendJSON(nil))
			}
			if len(all.lost) == 0 {
				if noise := len(c.lines) == 0 || len(c.lines[0]) < 3; !noise {
					t.Error("was passed over without a word")
				}
				return
			}
			if got := all.lost[0].Offset; got != c.Offset {
				t.Errorf("%v, want byte %d: %s", &all.lost[0], c.Offset, c.Reason)
			}
		})
	}
}

func TestFramerStreams(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared(t, "corpus/mbus/stream"), "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("%d streams: the corpus is not what it was", len(files))
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Name           string
			Chunks, Frames []string
		}
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		t.Run(c.Name, func(t *testing.T) {
			var f Framer
			var got []string
			for _, chunk := range c.Chunks {
				f.Feed(unhex(t, chunk))
				got = append(got, framesOf(&f)...)
			}
			f.Gap()
			got = append(got, framesOf(&f)...)
			if strings.Join(got, " ") != strings.Join(c.Frames, " ") {
				t.Errorf("got  %v\nwant %v", got, c.Frames)
			}
		})
	}
}

// framesOf asks f until it is dry.
func framesOf(f *Framer) (frames []string) {
	for {
		var frame Frame
		err := f.Next(&frame)
		if errors.Is(err, drivers.ErrMore) {
			return frames
		}
		if err == nil {
			frames = append(frames, strings.ToUpper(hex.EncodeToString(frame.Raw)))
		}
	}
}
