package p1

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// corpusDir holds captured telegrams and what foreign decoders read from them; it
// lies beside the repository.
const corpusDir = "../../../shared/corpus/p1"

// corpusCase is NAME.expected.json.
type corpusCase struct {
	Name        string
	Valid       bool
	Protocol    string
	Unverified  bool
	Stream      bool
	Readings    []string
	Rejected    int
	MeterID     *string `json:"meter_id"`
	Time        *string
	Ambiguous   string `json:"time_ambiguous"`
	CRC         struct{ OK *bool }
	Key         struct{ Encryption, Authentication string }
	Values      []corpusValue
	telegram    []byte
	isEncrypted bool
}

// config is how a meter of the case is configured. Luxembourg's authentication key
// is known without being told.
func (c *corpusCase) config(check string) *Config {
	cfg := Config{Check: check, Key: drivers.NewSecret(c.Key.Encryption)}
	if c.Key.Authentication != LuxembourgAuthKey {
		cfg.AuthKey = drivers.NewSecret(c.Key.Authentication)
	}
	return &cfg
}

type corpusValue struct {
	Obis    *string
	Name    string
	Kind    string
	Value   string
	Text    *string
	Unit    *string
	Time    *string
	TimeRaw string `json:"time_raw"`
	List    []string
	Entries []corpusValue
}

// loadCorpus reads all cases of a folder, or skips the test where there is none.
func loadCorpus(t testing.TB, dir string) []corpusCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no corpus at %s", dir)
		}
		t.Skipf("no corpus at %s", dir)
	}
	cases := make([]corpusCase, 0, len(files))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c corpusCase
		if err := json.Unmarshal(b, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		c.Name = strings.TrimSuffix(filepath.Base(file), ".expected.json")
		if c.telegram, err = os.ReadFile(filepath.Join(dir, c.Name+".telegram")); err != nil {
			t.Fatal(err)
		}
		c.isEncrypted = c.Protocol == "p1-encrypted" || strings.Contains(c.Name, "-enc")
		cases = append(cases, c)
	}
	return cases
}

func TestEveryGoodTelegramOfTheCorpusGivesItsValues(t *testing.T) {
	for _, c := range loadCorpus(t, corpusDir) {
		if c.Unverified {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			check := checkAuto
			if c.Name == "p1-amsreader-sagemcom-gh264-1" {
				check = checkNone // it has no end line: doc.go
			}
			got, lost := decodeWith(t, c.config(check), c.telegram)
			if len(got) != 1 || len(lost) != 0 {
				t.Fatalf("%d readings, lost %v; want one reading", len(got), lost)
			}
			c.compare(t, got[0])
		})
	}
}

// compare holds a reading against all that the corpus says of it.
func (c *corpusCase) compare(t *testing.T, r *drivers.Reading) {
	t.Helper()
	if c.MeterID != nil && r.Meter.ID != *c.MeterID {
		t.Errorf("meter %q, want %q", r.Meter.ID, *c.MeterID)
	}
	if c.Time != nil && c.Ambiguous == "" {
		sameTime(t, "clock", r.Time, *c.Time)
	}
	wantCheck := drivers.CheckNone
	switch {
	case c.isEncrypted && c.Key.Authentication != "":
		wantCheck = drivers.CheckTag
	case c.CRC.OK != nil:
		wantCheck = drivers.CheckCRC16
	}
	if r.Check != wantCheck {
		t.Errorf("check %v, want %v", r.Check, wantCheck)
	}
	want := c.flat()
	if len(r.Values) != len(want) {
		t.Fatalf("%d values, want %d\n%s", len(r.Values), len(want), r.AppendJSON(nil))
	}
	for i := range want {
		want[i].compare(t, c, &r.Values[i])
	}
}

// flat are the values that must come out, one each: profiles and lists taken
// apart, empty groups left out.
func (c *corpusCase) flat() []corpusValue {
	var all []corpusValue
	for _, v := range c.Values {
		switch {
		case v.Kind == "text" && v.Value == "":
		case v.Kind == "time" && v.Time == nil:
		case v.Kind == "profile":
			for _, e := range v.Entries {
				e.Obis, e.Kind = v.Obis, "number"
				all = append(all, e)
			}
		case v.Kind == "list":
			for _, cell := range v.List[1:] {
				number, unit, _ := strings.Cut(cell, "*")
				number = strings.TrimLeft(number, "0")
				if number[0] == '.' {
					number = "0" + number
				}
				all = append(all, corpusValue{Obis: v.Obis, Kind: "number", Value: number, Unit: &unit, TimeRaw: v.List[0]})
			}
		default:
			all = append(all, v)
		}
	}
	return all
}

func (want *corpusValue) compare(t *testing.T, c *corpusCase, got *drivers.Value) {
	t.Helper()
	name := want.Name
	if want.Obis != nil {
		name = *want.Obis
		if code := obis.MustParse(name); got.Code != code {
			t.Errorf("%s: got %s", name, got.Code)
			return
		}
	} else if got.Name != want.Name || !got.Code.IsZero() {
		t.Errorf("%s: got %q with code %s", want.Name, got.Name, got.Code)
	}
	switch want.Kind {
	case "number":
		sameNumber(t, name, want, got)
	case "code":
		if got.Kind == drivers.Number {
			sameNumber(t, name, want, got)
		} else if got.Text != want.Value {
			t.Errorf("%s: text %q, want %q", name, got.Text, want.Value)
		}
	case "text":
		text := want.Value
		if want.Text != nil {
			text = *want.Text
		}
		if got.Kind != drivers.Text || got.Text != text {
			t.Errorf("%s: %v %q, want text %q", name, got.Kind, got.Text, text)
		}
	case "time":
		if c.Ambiguous == "" {
			sameTime(t, name, got.Moment, *want.Time)
		}
	default:
		t.Errorf("%s: unknown kind %q", name, want.Kind)
	}
}

func sameNumber(t *testing.T, name string, want *corpusValue, got *drivers.Value) {
	t.Helper()
	number, err := drivers.ParseDecimal(want.Value)
	if err != nil {
		t.Fatal(err)
	}
	unit := obis.Unit("")
	if want.Unit != nil {
		u, shift, known := obis.ParseUnit(*want.Unit)
		if !known {
			t.Fatalf("%s: unknown unit %q", name, *want.Unit)
		}
		unit = u
		if number, err = number.Shift(shift); err != nil {
			t.Fatal(err)
		}
	}
	if got.Kind != drivers.Number || !got.Number.Equal(number) || got.Unit != unit {
		t.Errorf("%s: %v %s %q, want %s %q", name, got.Kind, got.Number, got.Unit, number, unit)
	}
	if want.Time != nil && want.TimeRaw != "" {
		sameTime(t, name, got.Time, *want.Time)
	}
	if want.Time == nil && want.TimeRaw == "" && !got.Time.IsZero() {
		t.Errorf("%s: time %s, want none", name, got.Time)
	}
}

// sameTime compares moment and offset.
func sameTime(t *testing.T, name string, got drivers.Stamp, want string) {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, want)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Zoned || got.String() != moment.Format(time.RFC3339) {
		t.Errorf("%s: time %s, want %s", name, got, want)
	}
}

func TestNoBadTelegramOfTheCorpusGivesAReading(t *testing.T) {
	for _, c := range loadCorpus(t, filepath.Join(corpusDir, "bad")) {
		if c.Valid {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			got, lost := decodeWith(t, c.config(checkAuto), c.telegram)
			if len(got) != 0 {
				t.Fatalf("got a reading: %s", got[0].AppendJSON(nil))
			}
			if len(lost) == 0 && c.Name != "bad-only-noise" {
				t.Error("no loss was reported")
			}
			if want := badCiphered[c.Name]; c.isEncrypted && (len(lost) != 1 || !errors.Is(lost[0], want)) {
				t.Errorf("lost %v, want only %v", lost, want)
			}
		})
	}
}

// badCiphered are the reasons for which ciphered telegrams must be refused.
var badCiphered = map[string]error{
	"bad-enc-no-key":           dlms.ErrNoKey,
	"bad-enc-tag":              errDamaged,
	"bad-enc-truncated":        errCut,
	"bad-enc-wrong-key":        dlms.ErrEncryptionKey,
	"bad-enc-wrong-key-no-tag": dlms.ErrEncryptionKey,
}

func TestStreamsOfTheCorpusGiveTheirTelegrams(t *testing.T) {
	good := map[string]corpusCase{}
	for _, c := range loadCorpus(t, corpusDir) {
		good[c.Name] = c
	}
	for _, c := range loadCorpus(t, filepath.Join(corpusDir, "bad")) {
		if !c.Stream {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			got, lost := decodeWith(t, c.config(checkAuto), c.telegram)
			names := c.Readings
			if c.Name == "stream-bang-and-slash-in-text" {
				names = []string{"p1-dsmrparser-v5"}
			}
			if len(got) != len(names) {
				t.Fatalf("%d readings, want %d; lost %v", len(got), len(names), lost)
			}
			if len(lost) > 1 || len(lost) < c.Rejected {
				t.Errorf("lost %v, want %d", lost, c.Rejected)
			}
			for i, name := range names {
				want := good[name]
				if c.Name == "stream-bang-and-slash-in-text" {
					want = want.withMessage("HELLO! 1/2")
				}
				want.compare(t, got[i])
			}
		})
	}
}

// withMessage is c with another text message.
func (c corpusCase) withMessage(text string) corpusCase {
	c.Values = append([]corpusValue(nil), c.Values...)
	for i, v := range c.Values {
		if v.Obis != nil && *v.Obis == "0-0:96.13.0*255" {
			c.Values[i].Value = text
		}
	}
	return c
}

// decodeAll feeds b at once and gives all readings and losses.
func decodeAll(t testing.TB, check string, b []byte) (got []*drivers.Reading, lost []*drivers.FrameError) {
	t.Helper()
	return decodeWith(t, &Config{Check: check}, b)
}

func decodeWith(t testing.TB, c *Config, b []byte) (got []*drivers.Reading, lost []*drivers.FrameError) {
	t.Helper()
	d, err := newDecoder(c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	d.Feed(b)
	d.Gap()
	return decodertest.Drain(t, d)
}
