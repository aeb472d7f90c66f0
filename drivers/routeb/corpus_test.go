package routeb

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// corpusDir lies beside the repository.
const corpusDir = "../../../shared/corpus/routeb"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var houseFrame = (&Frame{
	TID: 1, Source: Meter, Sink: Controller, Service: GetRes,
	Properties: []Property{
		{epcOperation, []byte{0x30}},
		{epcCoefficient, []byte{0, 0, 0, 1}},
		{epcDigits, []byte{6}},
		{epcUnit, []byte{1}},
		{epcImport, []byte{0, 1, 0xE2, 0x40}},
		{epcExport, []byte{0, 0, 3, 0x15}},
		{epcPower, []byte{0xFF, 0xFF, 0xFF, 0x06}},
		{epcCurrent, []byte{0, 56, 0x7F, 0xFE}},
		{epcHalfImport, []byte{7, 0xEA, 11, 21, 10, 30, 0, 0, 1, 0xE2, 0x40}},
		{epcHalfExport, []byte{7, 0xEA, 11, 21, 10, 30, 0, 0, 0, 3, 0x15}},
		{epcTime, []byte{10, 47}},
		{epcDate, []byte{7, 0xEA, 11, 21}},
	},
}).AppendTo(nil)

// corpus reads a file of the corpus.
func corpus(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(corpusDir, file))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("no corpus: %v", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

type corpusProperty struct {
	EPC, EDT   string
	Value      json.RawMessage
	Unreadable bool
	Refused    bool
	Raw        bool
}

type corpusCase struct {
	ID, Kind, Unit string
	Coefficient    *uint32
	Request        *struct {
		ESV  string
		TID  uint16
		EPCs []string
	}
	Frame  string
	Expect struct {
		Status     string
		ESV        string
		Properties []corpusProperty
		Reply      []string
	}
}

func code(t testing.TB, s string) byte {
	t.Helper()
	return unhex(t, s)[0]
}

// request is what the case's frame answers.
func (c *corpusCase) request(t testing.TB) *request {
	t.Helper()
	r := &request{object: Meter, service: Service(code(t, c.Request.ESV)), tid: c.Request.TID}
	for _, e := range c.Request.EPCs {
		r.properties = append(r.properties, Property{EPC: code(t, e)})
	}
	return r
}

func TestCorpusFrames(t *testing.T) {
	var file struct{ Cases []corpusCase }
	corpus(t, "frames.json", &file)
	if len(file.Cases) < 100 {
		t.Fatalf("only %d cases", len(file.Cases))
	}
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) { c.check(t) })
	}
}

func (c *corpusCase) check(t *testing.T) {
	t.Helper()
	var f Frame
	_, _, err := f.Parse(unhex(t, c.Frame))
	taken := err == nil
	if c.Request != nil {
		taken = taken && c.request(t).answeredBy(&f)
	}
	if want := c.Expect.Status != "ignored"; taken != want {
		t.Fatalf("taken: %v, want %v (%v)", taken, want, err)
	}
	if !taken {
		return
	}
	if c.Expect.Status == "refused" {
		if _, refused := f.Service.answers(c.request(t).service); !refused || hasData(&f) {
			t.Errorf("service %X, properties %v: not refused", f.Service, f.Properties)
		}
		return
	}
	c.checkReply(t, &f)
	if len(f.Properties) != len(c.Expect.Properties) {
		t.Fatalf("%d properties, want %d", len(f.Properties), len(c.Expect.Properties))
	}
	var s Scale
	s.learn(Property{epcUnit, unhex(t, c.Unit)})
	if c.Coefficient != nil {
		s.Coefficient = int64(*c.Coefficient)
	}
	for i, want := range c.Expect.Properties {
		if f.Properties[i].EPC != code(t, want.EPC) || fmt.Sprintf("%X", f.Properties[i].EDT) != want.EDT {
			t.Fatalf("property %d is %X", i, f.Properties[i])
		}
		if want.Refused {
			if f.refusedOf(f.Properties[i].EPC) == nil {
				t.Error("a refused property counts as accepted")
			}
			continue
		}
		if want.Raw || want.Value == nil && !want.Unreadable {
			continue
		}
		got, fits := plain(f.Properties[i], s)
		if fits == want.Unreadable {
			t.Errorf("%s: fits %v, want %v", want.EPC, fits, !want.Unreadable)
		}
		if want.Unreadable {
			continue
		}
		if diff := cmp.Diff(normal(t, want.Value), normal(t, mustJSON(t, got))); diff != "" {
			t.Errorf("%s %s: -want +got\n%s", want.EPC, want.EDT, diff)
		}
	}
}

// hasData says whether a refusal of Get gave some properties all the same.
func hasData(f *Frame) bool {
	for _, p := range f.Properties {
		if f.Service == GetSNA && len(p.EDT) > 0 {
			return true
		}
	}
	return false
}

func (c *corpusCase) checkReply(t *testing.T, f *Frame) {
	t.Helper()
	if c.Kind != "notification" {
		return
	}
	got := []string{}
	if r, wanted := f.reply(); wanted {
		got = append(got, fmt.Sprintf("%X", r.AppendTo(nil)))
	}
	if diff := cmp.Diff(c.Expect.Reply, got); diff != "" {
		t.Error(diff)
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// normal is JSON without differences of form: 0 and 0.0 are the same number.
func normal(t testing.TB, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}

// kWh is a count as a number, or nil.
func kWh(s Scale, c Count) any {
	var v drivers.Value
	if !s.energy(&v, c) {
		return nil
	}
	return json.RawMessage(v.Number.String())
}

func local(s drivers.Stamp) string { return s.Wall.Format("2006-01-02T15:04:05") }

func sides(s Scale, r Row) map[string]any {
	return map[string]any{"timestamp": local(r.At), "normal direction": kWh(s, r.Import), "reverse direction": kWh(s, r.Export)}
}

// plain is a property's value in the corpus' form.
func plain(p Property, s Scale) (value any, fits bool) {
	if len(p.EDT) == 0 {
		return nil, true
	}
	switch p.EPC {
	case epcMapInf, epcMapSet, epcMapGet:
		m, err := ParseCodes(p.EDT)
		list := []string{}
		for _, c := range m.All() {
			list = append(list, fmt.Sprintf("%02X", c))
		}
		return list, err == nil
	case epcDigits, epcDay:
		return p.EDT[0], len(p.EDT) == 1
	case epcInstanceInf:
		list := []string{} // a count, then three bytes each
		for o := range slices.Chunk(p.EDT[1:], 3) {
			list = append(list, fmt.Sprintf("%06X", o))
		}
		return list, len(p.EDT) == 1+3*int(p.EDT[0])
	case epcUnit:
		e, ok := parseUnit(p.EDT)
		d, _ := drivers.Scaled(1, int(e))
		return json.RawMessage(d.String()), ok
	case epcTime, epcDate:
		return plainClock(p)
	case epcRouteB:
		text, ok := hexOf(16)(p.EDT)
		return map[string]any{"manufacturer code": text[2:8], "authentication id": text[8:]}, ok
	case epcHalfImport, epcHalfExport:
		l, ok := parseLatch(p.EDT)
		return map[string]any{"timestamp": local(l.At), "cumulative energy": kWh(s, l.Count)}, ok
	case epcMinute:
		r, ok := parseMinute(p.EDT)
		return sides(s, r), ok
	case epcHalvesSelect, epcMinutesSelect:
		sel, err := ParseSelection(p.EDT)
		var at any
		if !sel.Newest.IsZero() {
			at = sel.Newest.Format("2006-01-02T15:04:05")
		}
		return map[string]any{"timestamp": at, "number of data points": sel.Rows}, err == nil
	case epcDayImport, epcDayExport:
		d, err := ParseDay(p.EDT)
		var slots []any
		for _, c := range d.Counts {
			slots = append(slots, kWh(s, c))
		}
		return map[string]any{"day": d.Back, "slots": slots}, err == nil
	case epcHalves, epcMinutes:
		step := 30 * time.Minute
		if p.EPC == epcMinutes {
			step = time.Minute
		}
		rows, err := ParseRows(p.EDT, step)
		if rows == nil {
			return nil, err == nil
		}
		list := []any{}
		for _, r := range rows {
			list = append(list, sides(s, r))
		}
		return list, err == nil
	}
	return plainValue(p, s)
}

func plainClock(p Property) (any, bool) {
	if p.EPC == epcTime {
		if !new(values).add(p) {
			return nil, false
		}
		return fmt.Sprintf("%02d:%02d", p.EDT[0], p.EDT[1]), true
	}
	text, _ := parseDate(p.EDT)
	return text, new(values).add(p)
}

// plainValue is what a reading has of a property.
func plainValue(p Property, s Scale) (any, bool) {
	v := values{scale: s}
	fits := v.add(p)
	by := map[obis.Code]any{}
	for _, x := range v.list {
		switch x.Kind {
		case drivers.Text:
			by[x.Code] = x.Text
		case drivers.Bool:
			by[x.Code] = x.Number.Sign() != 0
		default:
			by[x.Code] = json.RawMessage(x.Number.String())
		}
	}
	if p.EPC == epcCurrent {
		return map[string]any{"r phase current": by[codeR], "t phase current": by[codeT]}, fits
	}
	if len(v.list) == 0 {
		return nil, fits
	}
	return by[v.list[0].Code], fits
}
