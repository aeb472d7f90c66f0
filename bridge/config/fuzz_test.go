package config

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
)

// loadBytes is load without files: what a source may hold is up to the fuzzer.
func loadBytes(file, form []byte, env []string) (Config, error) {
	var r report
	f, o := newTable(origin{}), newTable(origin{})
	if file != nil {
		f = parseTOML(inFile, file, &r)
	}
	if form != nil {
		o = parseOptions(inOptions, form, &r)
	}
	if err := r.err(); err != nil {
		return Config{}, err
	}
	return testLoader.assemble(f, o, env)
}

// Laws of any input: no panic; a configuration or an *Error with mistakes that
// each say something, at a line that there is.
func FuzzLoad(f *testing.F) {
	content, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content, []byte(`{"mqtt": {"base": "app"}, "meter": [{"name": "main", "device": "/dev/x"}]}`), "METER2MQTT_METER__main__EVERY=5s")
	f.Add([]byte(good), []byte(`{"meter": [[1, {}], null, ""], "log": 1e400}`), "METER2MQTT_METER__x__DRIVER=p1")
	f.Add([]byte("a.b.c = [[1], {x = 1}]\n[[meter]]\n[meter.x]\n[[meter.y]]\n"), []byte("{}"), "METER2MQTT___")
	f.Add([]byte("meter = [{name = 'a'}, {}]\n\"\\u0000/\" = 1979-05-27T07:32:00Z"), []byte(`{"meter/a": {"x/y": 1}}`), "METER2MQTT_MQTT__URL=\xff")
	f.Fuzz(func(t *testing.T, file, form []byte, variable string) {
		c, err := loadBytes(file, form, []string{variable})
		if err == nil {
			checkLoaded(t, c)
			return
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || len(e.Mistakes) == 0 {
			t.Fatalf("got %T with no mistakes: %v", err, err)
		}
		for _, m := range e.Mistakes {
			lines := 1 + strings.Count(string(file), "\n") + strings.Count(string(form), "\n")
			if m.Reason == "" || m.Line < 0 || m.Line > lines {
				t.Errorf("mistake %#v in %d lines", m, lines)
			}
		}
	})
}

func checkLoaded(t *testing.T, c Config) {
	t.Helper()
	if len(c.Meters) == 0 || c.MQTT.URL == "" || c.MQTT.ClientID == "" {
		t.Errorf("not a whole configuration: %v", c.MQTT)
	}
	for _, m := range c.Meters {
		if m.Name == "" || m.Driver.Name == "" || m.Port.Scheme == "" || m.Options == nil || m.Every < 0 || m.Factor.Sign() <= 0 {
			t.Errorf("not a whole meter: %v", m.Name)
		}
	}
}

// FuzzValue puts any text into the place of any value. A number that is taken is
// taken to the last digit.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{"0.1", "1_000.50", "1e3", "+5", "-0", "0x10", "\"40\"", "true", "[1]", "{a = 1}", "00:00:00", "'x'", "nan"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, written string) {
		if strings.ContainsAny(written, "\n\r") || !utf8.ValidString(written) {
			return
		}
		for _, key := range []string{"every", "timezone", "retain", "label", "check"} {
			_, _ = loadBytes([]byte(meterWith(key+" = "+written)), nil, nil)
		}
		document := []byte(meterWith("factor = " + written))
		c, err := loadBytes(document, nil, nil)
		if err != nil {
			return
		}
		var read struct{ Meter []struct{ Factor float64 } }
		if err := toml.Unmarshal(document, &read); err != nil {
			t.Fatal(err)
		}
		if got, want := c.Meters[0].Factor.Float64(), read.Meter[0].Factor; got != want {
			t.Errorf("factor = %s is %s, and go-toml reads %g", written, c.Meters[0].Factor, want)
		}
	})
}
