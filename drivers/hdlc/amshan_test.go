package hdlc

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// amshanNames are the names of amshan's dictionary for DLMS meters, each with the
// code under which the value is published here. amshan counts energy in Wh.
var amshanNames = map[string]string{
	"active_power_import": "1.7.0", "active_power_import_l1": "21.7.0", "active_power_import_l2": "41.7.0", "active_power_import_l3": "61.7.0",
	"active_power_export": "2.7.0", "active_power_export_l1": "22.7.0", "active_power_export_l2": "42.7.0", "active_power_export_l3": "62.7.0",
	"reactive_power_import": "3.7.0", "reactive_power_import_l1": "23.7.0", "reactive_power_import_l2": "43.7.0", "reactive_power_import_l3": "63.7.0",
	"reactive_power_export": "4.7.0", "reactive_power_export_l1": "24.7.0", "reactive_power_export_l2": "44.7.0", "reactive_power_export_l3": "64.7.0",
	"current_l1": "31.7.0", "current_l2": "51.7.0", "current_l3": "71.7.0",
	"voltage_l1": "32.7.0", "voltage_l2": "52.7.0", "voltage_l3": "72.7.0",
	"active_power_import_total": "1.8.0", "active_power_export_total": "2.8.0",
	"reactive_power_import_total": "3.8.0", "reactive_power_export_total": "4.8.0",
}

// amshanIdentity are the names that say who the meter is.
var amshanIdentity = map[string]func(r *drivers.Reading) string{
	"list_ver_id": func(r *drivers.Reading) string { return r.Meter.Version },
	"meter_id":    func(r *drivers.Reading) string { return r.Meter.ID },
	"meter_type":  func(r *drivers.Reading) string { return r.Meter.Model },
	"meter_manufacturer": func(r *drivers.Reading) string {
		return map[string]string{"ADN": "Aidon", "KFM": "Kaifa", "KAM": "Kamstrup"}[r.Meter.Manufacturer]
	},
	"meter_datetime": func(r *drivers.Reading) string { return r.Time.String() },
}

// amshanErrs are where amshan has something else than the wire says, each with
// what tells such a value: docs/hdlc.md tells people.
var amshanErrs = []struct {
	why string
	is  func(s *sample, name, ours, theirs string) bool
}{
	{"it took the list for another maker's", func(s *sample, _, _, _ string) bool {
		return strings.HasPrefix(s.Layout, "iskra") || strings.Contains(s.name, "iskraemeco") || strings.Contains(s.name, "sagemcom")
	}},
	{"it keeps the zeros that fill a text", func(_ *sample, _, _, theirs string) bool { return strings.HasSuffix(theirs, "\x00") }},
	{"it calls every list of Aidon's form Aidon, also without a list id", func(_ *sample, name, ours, theirs string) bool {
		return name == "meter_manufacturer" && ours == "" && theirs == "Aidon"
	}},
	{"it has no offset, or UTC for standard time, where a maker's rule gives one", func(_ *sample, name, ours, theirs string) bool {
		const digits = len("2006-01-02T15:04:05")
		return name == "meter_datetime" && len(ours) > digits && ours[:digits] == theirs[:digits] && (len(theirs) == digits || theirs[digits:] == "+00:00")
	}},
	{"it takes 0.01 V for volts", func(_ *sample, name, ours, theirs string) bool {
		return strings.HasPrefix(name, "voltage") && strings.ReplaceAll(ours, ".", "") == theirs
	}},
	{"it computes in floats", func(_ *sample, _, ours, theirs string) bool {
		mine, err := strconv.ParseFloat(ours, 64)
		float, errTheirs := strconv.ParseFloat(theirs, 64)
		return err == nil && errTheirs == nil && math.Abs(mine-float) < 1e-9*math.Abs(float)
	}},
}

// amshanCase is what amshan made of a case of the corpus.
func amshanCase(t *testing.T, name string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(corpusDir, name+".expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e struct{ Amshan map[string]any }
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&e); err != nil {
		t.Fatal(err)
	}
	return e.Amshan
}

// Every value that amshan finds in the corpus is here under its code, and the same
// but for what amshan is known to have wrong.
func TestWhateverAmshanNamesIsHere(t *testing.T) {
	equal, wrong := 0, map[string]int{}
	for _, s := range loadSamples(t, "") {
		theirs := amshanCase(t, s.name)
		if len(theirs) == 0 {
			continue
		}
		o := decode(t, s.config(), s.stream)
		if len(o.whole) != 1 {
			t.Fatalf("%s: %d readings", s.name, len(o.whole))
		}
		for name, value := range theirs {
			ours, want := asAmshan(t, o.whole[0], name), fmt.Sprint(value)
			if isSame(ours, want) {
				equal++
				continue
			}
			why := amshanErr(&s, name, ours, want)
			if wrong[why]++; why == "" {
				t.Errorf("%s: %s is %q, amshan has %q", s.name, name, ours, want)
			}
		}
	}
	if equal < 600 {
		t.Errorf("only %d values are the same", equal)
	}
	for _, e := range amshanErrs {
		if wrong[e.why] == 0 {
			t.Errorf("no case shows that %s", e.why)
		}
	}
	t.Logf("%d values are the same; of the others: %v", equal, wrong)
}

func amshanErr(s *sample, name, ours, theirs string) string {
	for _, e := range amshanErrs {
		if e.is(s, name, ours, theirs) {
			return e.why
		}
	}
	return ""
}

// isSame compares numbers by what they are worth, the rest as text.
func isSame(ours, theirs string) bool {
	mine, err := drivers.ParseDecimal(ours)
	other, errOther := drivers.ParseDecimal(theirs)
	if err != nil || errOther != nil {
		return ours == theirs
	}
	return mine.Cmp(other) == 0
}

// asAmshan is a value under amshan's name, in its unit; "" if there is none.
func asAmshan(t *testing.T, r *drivers.Reading, name string) string {
	t.Helper()
	if of := amshanIdentity[name]; of != nil {
		return of(r)
	}
	code, known := amshanNames[name]
	if !known {
		t.Errorf("%s has no counterpart", name)
		return ""
	}
	for i := range r.Values {
		v := &r.Values[i]
		if anyChannel(v.Code) != anyChannel(obis.MustParse(code)) {
			continue
		}
		n := v.Number
		if strings.HasPrefix(string(v.Unit), "k") {
			n, _ = n.Shift(3)
		}
		return n.String()
	}
	return ""
}
