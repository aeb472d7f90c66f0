package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

const appMeter = `"meter":[{"name":"main","driver":"p1","device":"/dev/ttyUSB0","port":"","label":null}]`

func TestTheAppAsksTheSupervisorForABrokerThatIsNotFilledIn(t *testing.T) {
	c, mistakes := sources{app: true, options: `{"mqtt":{"url":"","username":""},` + appMeter + `}`}.load(t)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	if c.MQTT.URL != "" || c.Supervisor.Reveal() != "supervisor's token" || c.HTTP.Ingress != ":8099" || c.Log.Format != FormatText {
		t.Errorf("got broker %q, ingress %q, log %q", c.MQTT.URL, c.HTTP.Ingress, c.Log.Format)
	}
	if m := c.Meters[0]; m.Port.Scheme != transport.Serial || m.Port.Path != "/dev/ttyUSB0" {
		t.Errorf("got port %+v", m.Port)
	}
}

func TestTheAppTakesABrokerThatIsFilledIn(t *testing.T) {
	for name, s := range map[string]sources{
		"in the form": {options: `{"mqtt":{"url":"mqtt://nas","username":"ann","password":"x"},` + appMeter + `}`},
		"in the file": {toml: "[mqtt]\nurl = \"mqtt://nas\"\nusername = \"ann\"\npassword = \"x\"\n", options: `{` + appMeter + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			s.app = true
			c, mistakes := s.load(t)
			if len(mistakes) > 0 || c.MQTT.URL != "mqtt://nas:1883" || c.MQTT.Username != "ann" {
				t.Errorf("got %q as %q, %v", c.MQTT.URL, c.MQTT.Username, mistakes)
			}
		})
	}
}

func TestTheFormStandsOverTheFileAndAddsToIt(t *testing.T) {
	c, mistakes := sources{
		app:     true,
		toml:    "[mqtt]\nvalues = true\n[[meter]]\nname = \"main\"\ndriver = \"p1\"\nport = \"tcp://a:1\"\nlabel = \"From the file\"\n[[meter]]\nname = \"gas\"\ndriver = \"p1\"\nport = \"tcp://b:1\"\n",
		options: `{"log":{"level":"debug"},"meter":[{"name":"main","driver":"p1","port":"tcp://c:1"}]}`,
	}.load(t)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	var got [][]string
	for _, m := range c.Meters {
		got = append(got, []string{m.Name, m.Port.String(), m.Label})
	}
	want := [][]string{{"main", "tcp://c:1", "From the file"}, {"gas", "tcp://b:1", ""}}
	if diff := cmp.Diff(want, got); diff != "" || !c.MQTT.Values {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAppMistakesSayWhereInHomeAssistantToMendThem(t *testing.T) {
	for name, c := range map[string]struct {
		options string
		want    Mistake
	}{
		"no meter": {`{"meter":[]}`, Mistake{Key: "meter", Reason: "there is no meter", Remedy: "add one on the Configuration page of this app, with name, driver and device or port"}},
		"a login without a broker": {
			`{"mqtt":{"username":"ann","password":"x"},"meter":[{"name":"main","driver":"p1","port":"tcp://a:1"}]}`,
			Mistake{Key: "mqtt.username", Reason: "there is no mqtt.url that it belongs to", Remedy: "fill in url as well, or leave it out: the login of Home Assistant's own broker is known"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, mistakes := sources{app: true, options: c.options}.load(t)
			if len(mistakes) == 0 {
				t.Fatal("no mistake was found")
			}
			got := mistakes[0]
			got.File, got.Line = "", 0
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestPathsOfTheFormStartInTheAppsFolder(t *testing.T) {
	path, err := toPath(value{Kind: text, Text: "corus-layouts.toml", From: origin{File: appOptions}})
	if err != nil || path != "/config/corus-layouts.toml" {
		t.Errorf("got %q, %v", path, err)
	}
}
