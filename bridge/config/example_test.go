package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
)

const example = "../../config.example.toml"

// switchedOff is a line of the example that shows a key with its default.
var switchedOff = regexp.MustCompile(`(?m)^#([^#])`)

func readExample(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func loadText(t *testing.T, content string) Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestExampleShowsTheDefaults(t *testing.T) {
	content := readExample(t)
	asItIs, uncommented := loadText(t, content), loadText(t, switchedOff.ReplaceAllString(content, "$1"))
	for _, m := range uncommented.Meters[len(asItIs.Meters):] { // switched off as a whole
		least := fmt.Sprintf("[[meter]]\nname = %q\ndriver = %q\nport = %q\n", m.Name, m.Driver.Name, m.Port)
		asItIs.Meters = append(asItIs.Meters, loadText(t, least).Meters...)
	}
	if diff := cmp.Diff(asItIs, uncommented, sameConfig); diff != "" {
		t.Errorf("what the example shows as defaults are none:\n%s", diff)
	}
}

// That the structs have every key of the example, loading it has shown.
func TestExampleShowsEveryKey(t *testing.T) {
	shown := keysBySection(switchedOff.ReplaceAllString(readExample(t), "$1"))
	var c Config
	for _, p := range c.parts() {
		wantKeys(t, p.name, shown[p.name], p.part)
	}
	wantKeys(t, meterSection, shown[meterSection], &Meter{})
	for _, d := range all.Drivers {
		wantKeys(t, meterSection, shown[meterSection], d.NewConfig())
	}
}

var (
	header = regexp.MustCompile(`^\[+(\w+)\]+$`)
	keyOf  = regexp.MustCompile(`^(\w+) = `)
)

func keysBySection(toml string) map[string][]string {
	shown := map[string][]string{}
	section := ""
	for line := range strings.Lines(toml) {
		line = strings.TrimSpace(line)
		if m := header.FindStringSubmatch(line); m != nil {
			section = m[1]
		}
		if m := keyOf.FindStringSubmatch(line); m != nil {
			shown[section] = append(shown[section], m[1])
		}
	}
	return shown
}

func wantKeys(t *testing.T, name string, shown []string, of any) {
	t.Helper()
	var s section
	s.allow(of)
	if len(s.keys) == 0 && name != meterSection {
		t.Fatalf("[%s] has no keys", name)
	}
	for _, key := range s.keys {
		if !slices.Contains(shown, key) {
			t.Errorf("%s.%s is missing from %s", name, key, example)
		}
	}
}

// A field without a converter would refuse every value of its key.
func TestEveryKeyOfEveryDriverCanBeRead(t *testing.T) {
	common := newSection("", origin{}, nil, nil)
	common.allow(&Meter{})
	for _, d := range all.Drivers {
		made := reflect.TypeOf(d.NewConfig()).Elem()
		for field := range made.Fields() {
			key := field.Tag.Get("koanf")
			if key == "" || slices.Contains(common.keys, key) {
				t.Errorf("%s: field %s has the key %q, which is empty or that of every meter", d.Name, field.Name, key)
			}
		}
		wantConverters(t, d.Name, made)
	}
}

func TestEveryKeyOfEverySectionCanBeRead(t *testing.T) {
	var c Config
	for _, p := range c.parts() {
		wantConverters(t, p.name, reflect.TypeOf(p.part).Elem())
	}
}

func wantConverters(t *testing.T, name string, of reflect.Type) {
	t.Helper()
	for field := range of.Fields() {
		if _, ok := converters[field.Type]; !ok && field.Type != reflect.TypeFor[drivers.Secret]() {
			t.Errorf("%s: field %s has the type %s, which has no converter", name, field.Name, field.Type)
		}
	}
}
