package hdlc

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

const corpusDir = "../../../shared/corpus/hdlc"

// sample is one case of the corpus.
type sample struct {
	name     string
	stream   []byte
	Protocol string
	Valid    bool
	Layout   string
	Note     string
	Time     *string
	Local    *string         `json:"time_local"`
	MeterID  *string         `json:"meter_id"`
	Readings []string        `json:"readings"`
	Rejected *int            `json:"rejected"`
	Values   []expectedValue `json:"values"`
	Known    *bool           `json:"values_known"`
	Key      struct{ Encryption, Authentication string }
}

type expectedValue struct {
	OBIS, Name, Kind, Value, Unit, Local string
}

func loadSamples(t testing.TB, dir string) []sample {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpusDir, dir, "*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no corpus at %s", corpusDir)
		}
		t.Skipf("no corpus at %s: captures are not part of the repository", corpusDir)
	}
	all := make([]sample, 0, len(files))
	for _, f := range files {
		all = append(all, loadSample(t, f))
	}
	return all
}

func loadSample(t testing.TB, file string) sample {
	t.Helper()
	s := sample{name: strings.TrimSuffix(filepath.Base(file), ".hex")}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if s.stream, err = hex.DecodeString(strings.TrimSpace(string(text))); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	expected, err := os.ReadFile(strings.TrimSuffix(file, ".hex") + ".expected.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(expected, &s); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return s
}

func (s sample) config() *Config {
	c := Driver.NewConfig().(*Config)
	c.Key, c.AuthKey = drivers.NewSecret(s.Key.Encryption), drivers.NewSecret(s.Key.Authentication)
	c.Stuffing = strings.Contains(s.name, "stuffing")
	return c
}

func newTestDecoder(t testing.TB, c *Config) *Decoder {
	t.Helper()
	d, err := newDecoder(c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// outcome is all that a stream gave: readings as they are printed, with their
// check, and losses.
type outcome struct {
	readings []string
	whole    []*drivers.Reading
	lost     []string
}

func (o *outcome) drain(t testing.TB, d *Decoder) {
	t.Helper()
	var r drivers.Reading
	for {
		err := d.Next(&r)
		if err == nil {
			o.readings = append(o.readings, r.Check.String()+" "+string(r.AppendJSON(nil)))
			o.whole = append(o.whole, r.Clone())
			continue
		}
		if errors.Is(err, drivers.ErrMore) {
			return
		}
		lost, ok := errors.AsType[*drivers.FrameError](err)
		if !ok {
			t.Fatalf("an error that is no FrameError: %v", err)
		}
		o.lost = append(o.lost, lost.Error())
	}
}

// decode feeds chunks, then a gap.
func decode(t testing.TB, c *Config, chunks ...[]byte) (o outcome) {
	t.Helper()
	d := newTestDecoder(t, c)
	for _, chunk := range chunks {
		d.Feed(chunk)
		o.drain(t, d)
	}
	d.Gap()
	o.drain(t, d)
	return o
}

func TestCorpusGivesItsValues(t *testing.T) {
	for _, s := range loadSamples(t, "") {
		t.Run(s.name, func(t *testing.T) {
			o := decode(t, s.config(), s.stream)
			if len(o.readings) != 1 || len(o.lost) != 0 {
				t.Fatalf("%d readings, lost %q", len(o.readings), o.lost)
			}
			s.compare(t, o.whole[0])
		})
	}
}

// compare holds a reading against what is expected, value by value.
func (s sample) compare(t *testing.T, r *drivers.Reading) {
	t.Helper()
	found := map[string]*drivers.Value{}
	for i := range r.Values {
		v := &r.Values[i]
		found[keyOf(v)] = v
	}
	for _, want := range s.Values {
		key := strings.TrimSuffix(want.OBIS, "*255")
		if key == "" {
			key = want.Name
		}
		v := found[key]
		if v == nil {
			t.Errorf("%s is missing, want %s %s", key, want.Value, want.Unit)
			continue
		}
		delete(found, key)
		if err := want.differs(v); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	for key := range found {
		if !s.mayHave(key) {
			t.Errorf("%s was not expected", key)
		}
	}
	s.compareTime(t, r)
	if s.MeterID != nil && r.Meter.ID != *s.MeterID {
		t.Errorf("meter %q, want %q", r.Meter.ID, *s.MeterID)
	}
}

// mayHave says which values are right though the case does not list them: the
// number of the Croatian meter, and elements that nobody knows.
func (s sample) mayHave(key string) bool {
	return s.Layout == "iskra-isk33" && (key == "0-0:96.1.3" || strings.HasPrefix(key, "item-"))
}

func keyOf(v *drivers.Value) string {
	if v.Code.IsZero() {
		return v.Name
	}
	return v.Code.String()
}

// differs compares a value with what is expected, in canonical units.
func (want expectedValue) differs(v *drivers.Value) error {
	switch want.Kind {
	case "number", "code":
		n, err := drivers.ParseDecimal(want.Value)
		if err != nil {
			return err
		}
		unit, shift, known := obis.ParseUnit(want.Unit)
		if want.Unit == "" {
			unit, shift, known = "", 0, true
		}
		if !known {
			return fmt.Errorf("unit %q is not known", want.Unit)
		}
		if n, err = n.Shift(shift); err != nil {
			return fmt.Errorf("unit %q: %w", want.Unit, err)
		}
		if v.Kind != drivers.Number || v.Number.Cmp(n) != 0 || v.Unit != unit {
			return fmt.Errorf("%s %s %s, want %s %s", v.Kind, v.Number, v.Unit, n, unit)
		}
	case "text":
		if v.Kind != drivers.Text || v.Text != want.Value {
			return fmt.Errorf("%s %q, want %q", v.Kind, v.Text, want.Value)
		}
	case "time":
		if v.Kind != drivers.Moment || !strings.HasPrefix(v.Moment.String(), want.Local) {
			return fmt.Errorf("%s %s, want %s", v.Kind, v.Moment, want.Local)
		}
	default:
		return fmt.Errorf("kind %q is not known to this test", want.Kind)
	}
	return nil
}

func (s sample) compareTime(t *testing.T, r *drivers.Reading) {
	t.Helper()
	got := r.Time.String()
	switch {
	case s.Time != nil && got != *s.Time:
		t.Errorf("time %q, want %q", got, *s.Time)
	case s.Local != nil && !strings.HasPrefix(got, *s.Local):
		t.Errorf("time %q, want the digits %q", got, *s.Local)
	case s.Local == nil && got != "":
		t.Errorf("time %q, want none", got)
	}
}

func TestCorpusOfBadFramesGivesNothing(t *testing.T) {
	for _, s := range loadSamples(t, "bad") {
		if s.Valid || len(s.Readings) > 0 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			o := decode(t, s.config(), s.stream)
			if len(o.readings) != 0 {
				t.Errorf("gave %q", o.readings)
			}
			if len(o.lost) == 0 && s.name != "bad-format-type" { // that one is noise
				t.Errorf("nothing was said about it")
			}
		})
	}
}

func TestStreamsGiveTheirGoodFrames(t *testing.T) {
	good := map[string]sample{}
	for _, s := range loadSamples(t, "") {
		good[s.name] = s
	}
	for _, s := range loadSamples(t, "bad") {
		if !strings.HasPrefix(s.name, "stream-") {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			o := decode(t, s.config(), s.stream)
			if s.Rejected != nil && len(o.lost) != *s.Rejected {
				t.Errorf("lost %q, want %d", o.lost, *s.Rejected)
			}
			want := max(len(s.Readings), min(len(s.Values), 1))
			if len(o.whole) != want {
				t.Fatalf("%d readings, want %d; lost %q", len(o.whole), want, o.lost)
			}
			for i, name := range s.Readings {
				good[name].compare(t, o.whole[i])
			}
			if len(s.Values) > 0 {
				s.Local = nil
				checkValues(t, s, o.whole[0])
			}
		})
	}
}

func checkValues(t *testing.T, s sample, r *drivers.Reading) {
	t.Helper()
	for i, want := range s.Values {
		if err := want.differs(&r.Values[i]); err != nil {
			t.Error(err)
		}
	}
}
