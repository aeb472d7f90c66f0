package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/meter2mqtt/meter2mqtt/drivers/all"
)

const addon = "../../addon"

// form is what the app's Configuration page asks for.
type form struct {
	Ingress  int            `yaml:"ingress_port"`
	Options  map[string]any `yaml:"options"`
	Schema   formSchema     `yaml:"schema"`
	Watchdog string         `yaml:"watchdog"`
}

type formSchema struct {
	Log, MQTT map[string]string
	Meter     []map[string]string
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(addon, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func readForm(t *testing.T) form {
	t.Helper()
	var f form
	readYAML(t, "config.yaml", &f)
	return f
}

// A field that no configuration knows would stop the app when it is filled in.
func TestEveryFieldOfTheAppsFormIsAKey(t *testing.T) {
	f := readForm(t)
	var c Config
	for _, p := range c.parts() {
		var s section
		s.allow(p.part)
		for key := range map[string]map[string]string{"log": f.Schema.Log, "mqtt": f.Schema.MQTT}[p.name] {
			if !slices.Contains(s.keys, key) {
				t.Errorf("%s.%s is no key", p.name, key)
			}
		}
	}
	var meter section
	meter.allow(&Meter{})
	for _, d := range all.Drivers {
		meter.allow(d.NewConfig())
	}
	for key := range f.Schema.Meter[0] {
		if key != "device" && !slices.Contains(meter.keys, key) {
			t.Errorf("meter.%s is no key", key)
		}
	}
}

func TestTheAppsFormOffersEveryDriverAndNoOther(t *testing.T) {
	list := strings.TrimSuffix(strings.TrimPrefix(readForm(t).Schema.Meter[0]["driver"], "list("), ")")
	offered := strings.Split(list, "|")
	var have []string
	for _, d := range all.Drivers {
		have = append(have, d.Name)
	}
	slices.Sort(offered)
	slices.Sort(have)
	if !slices.Equal(offered, have) {
		t.Errorf("offered are %v, there are %v", offered, have)
	}
}

func TestTheAppServesWhereTheSupervisorLooks(t *testing.T) {
	f := readForm(t)
	if appIngress != ":8099" || f.Ingress != 8099 || f.Watchdog != "http://[HOST]:[PORT:8099]/healthz" {
		t.Errorf("the program serves at %s, the Supervisor looks at %d and %s", appIngress, f.Ingress, f.Watchdog)
	}
}

// words are the texts of one option.
type words struct {
	Name, Description string
	Fields            map[string]words
}

func TestEveryFieldOfTheAppsFormIsExplainedInEveryLanguage(t *testing.T) {
	f := readForm(t)
	want := map[string][]string{
		"log":   slices.Sorted(maps.Keys(f.Schema.Log)),
		"mqtt":  slices.Sorted(maps.Keys(f.Schema.MQTT)),
		"meter": slices.Sorted(maps.Keys(f.Schema.Meter[0])),
	}
	for _, language := range []string{"en", "de", "nl", "nb", "sv", "ja"} {
		var texts struct{ Configuration map[string]words }
		readYAML(t, "translations/"+language+".yaml", &texts)
		for option, fields := range want {
			w := texts.Configuration[option]
			if w.Name == "" || w.Description == "" {
				t.Errorf("%s: %s has no text", language, option)
			}
			if got := slices.Sorted(maps.Keys(w.Fields)); !slices.Equal(got, fields) {
				t.Errorf("%s: %s explains %v, there are %v", language, option, got, fields)
			}
			for name, field := range w.Fields {
				if field.Name == "" || field.Description == "" {
					t.Errorf("%s: %s.%s has no text", language, option, name)
				}
			}
		}
	}
}

// What the form holds before anything is filled in must only lack a meter.
func TestTheAppsFormAsItComesLacksAMeterOnly(t *testing.T) {
	_, mistakes := sources{app: true, options: `{"log":{"level":"info"},"mqtt":{},"meter":[]}`}.load(t)
	if len(mistakes) != 1 || mistakes[0].Key != "meter" {
		t.Errorf("got %v", mistakes)
	}
	options := readForm(t).Options
	if got := slices.Sorted(maps.Keys(options)); !slices.Equal(got, []string{"log", "meter", "mqtt"}) {
		t.Errorf("the form comes with %v", got)
	}
}
