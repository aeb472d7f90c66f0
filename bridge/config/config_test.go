package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// keyed is a driver with a secret, a number and a rule of its own.
type keyed struct {
	Key   drivers.Secret  `koanf:"key"`
	Share drivers.Decimal `koanf:"share"`
}

func (k *keyed) Validate() error {
	var errs []error
	if k.Key.Reveal() == "short" {
		errs = append(errs, drivers.WithHint(errors.New("key: too short"), "32 hex digits"))
	}
	if k.Share.Sign() < 0 {
		errs = append(errs, fmt.Errorf("share: %w: %w", drivers.ErrDigits, drivers.ErrSyntax))
	}
	return errors.Join(errs...)
}

var keyedDriver = drivers.Driver{
	Name: "keyed", Mode: drivers.Mode{Baud: 2400, Bits: 8, Parity: drivers.EvenParity, Stop: 1},
	NewConfig: func() drivers.Config { return &keyed{} },
}

// askedDriver does not listen.
var askedDriver = drivers.Driver{
	Name: "asked", NewConfig: func() drivers.Config { return &keyed{} },
	Parameters: func(drivers.Config) []drivers.Parameter {
		return []drivers.Parameter{
			{Quantity: drivers.Quantity{Name: "clock", Kind: drivers.Moment}, Access: drivers.Readable | drivers.Writable},
			{Quantity: drivers.Quantity{Name: "reset"}, Access: drivers.Pressable},
			{Quantity: drivers.Quantity{Name: "state"}, Access: drivers.Readable},
		}
	},
	Dial: func(context.Context, drivers.Line, drivers.Config, drivers.Zones) (drivers.Session, error) {
		return nil, errors.ErrUnsupported
	},
}

var testLoader = loader{drivers: []drivers.Driver{p1.Driver, keyedDriver, askedDriver}}

// sources are what a case is made of. The files are config.toml and
// options.json, in the same folder as the extra ones.
type sources struct {
	toml, options string
	env           []string
	files         map[string]string
	app           bool // it runs as the Home Assistant app
}

// load writes the files and loads them. In mistakes the folder is left out.
func (s sources) load(t *testing.T) (Config, []Mistake) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, content := range s.files {
		write(name, content)
	}
	var path, options string
	if s.toml != "" {
		path = write("config.toml", s.toml)
	}
	if s.options != "" {
		options = write("options.json", s.options)
	}
	l := testLoader
	if s.app {
		l.token = drivers.NewSecret("supervisor's token")
	}
	c, err := l.load(path, s.env, options)
	return c, mistakes(t, err, dir)
}

func mistakes(t *testing.T, err error, dir string) []Mistake {
	t.Helper()
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got a %T, want an *Error: %v", err, err)
	}
	var found []Mistake
	for _, m := range e.Mistakes {
		for _, text := range []*string{&m.File, &m.Reason, &m.Remedy} {
			*text = strings.ReplaceAll(*text, dir+string(filepath.Separator), "")
		}
		found = append(found, m)
	}
	return found
}

// good is the shortest configuration; what a case adds comes after it.
const good = `
[[meter]]
name = "main"
driver = "p1"
port = "tcp://10.0.0.1:2001"
`

// withMQTT is good with a section [mqtt] of the given lines, from line 2 on.
func withMQTT(lines string) string { return "[mqtt]\n" + lines + "\n" + good }

var sameConfig = cmp.Options{
	cmp.Comparer(func(a, b drivers.Secret) bool { return a.Reveal() == b.Reveal() }),
	cmp.Comparer(func(a, b drivers.Driver) bool { return a.Name == b.Name }),
	cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() && (a == nil) == (b == nil) }),
	cmpopts.EquateEmpty(),
}

func TestLoadTakesATapInEveryForm(t *testing.T) {
	for text, want := range map[string]transport.TapAddress{
		`2001`: "127.0.0.1:2001", `"2001"`: "127.0.0.1:2001", `":2001"`: "127.0.0.1:2001", `"0.0.0.0:2001"`: "0.0.0.0:2001", `""`: "",
	} {
		c, mistakes := sources{toml: good + "tap = " + text}.load(t)
		if len(mistakes) > 0 || c.Meters[0].Tap != want {
			t.Errorf("tap = %s is %q, mistakes %v", text, c.Meters[0].Tap, mistakes)
		}
	}
	c, mistakes := sources{toml: good, env: []string{"METER2MQTT_METER__main__TAP=2001"}}.load(t)
	if len(mistakes) > 0 || c.Meters[0].Tap != "127.0.0.1:2001" {
		t.Errorf("in the environment it is %q, mistakes %v", c.Meters[0].Tap, mistakes)
	}
}

// usualPower and usualFlow are the limits of a meter that names none.
var (
	usualPower = Power{drivers.NewDecimal(100, 3)}
	usualFlow  = Flow{drivers.NewDecimal(20, 0)}
)

func TestLoadTakesEveryKey(t *testing.T) {
	s := sources{
		files: map[string]string{"broker.pass": "hunter2\r\n"},
		toml: `
[mqtt]
url = "mqtt://Broker.lan"
username = "meters"
password_file = "broker.pass"
base = "home/meters"
client_id = "cellar"
values = true

[homeassistant]
discovery = false
prefix = "ha"
status_topic = "ha/status"

[state]
dir = "kept"
max = "8MB"

[log]
level = "debug"
format = "json"

[[meter]]
name = "main"
label = "Mains meter"
driver = "p1"
port = "/dev/serial/by-id/p1"
every = "10s"
timezone = "Europe/Amsterdam"
factor = 0.1
voltage_factor = 1_000
max_power = "17.25 kW"
max_flow = "2500l/h"
exclude = ["1-0:99.97.0*", "0-2:*"]
retain = true
check = "crc"

[[meter]]
name = "heat"
driver = "keyed"
port = "serial:///dev/ttyUSB0?baud=300"
retain = "auto"
key = "secret"
share = 33.333333333333333333333333333333333333
`,
	}
	got, wrong := s.load(t)
	if wrong != nil {
		t.Fatal(wrong)
	}
	got.State.Dir = Path(filepath.Base(string(got.State.Dir)))
	share, err := drivers.ParseDecimal("33.333333333333333333333333333333333333")
	if err != nil {
		t.Fatal(err)
	}
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := Config{
		MQTT: MQTT{
			URL: "mqtt://Broker.lan:1883", Username: "meters", Password: drivers.NewSecret("hunter2"),
			Base: "home/meters", ClientID: "cellar", Values: true,
		},
		HomeAssistant: HomeAssistant{Prefix: "ha", StatusTopic: "ha/status"},
		State:         State{Dir: "kept", Max: 8e6},
		Log:           Log{Level: zerolog.DebugLevel, Format: FormatJSON},
		Meters: []Meter{
			{
				Name: "main", Label: "Mains meter", Driver: p1.Driver, Every: 10 * time.Second, Timezone: amsterdam,
				Port:   transport.Port{Scheme: transport.Serial, Path: "/dev/serial/by-id/p1", Mode: p1.Driver.Mode},
				Factor: drivers.NewDecimal(1, -1), VoltageFactor: drivers.NewDecimal(1000, 0), Retain: &yes,
				MaxPower: Power{drivers.NewDecimal(1725, 1)}, MaxFlow: Flow{drivers.NewDecimal(2500, -3)},
				Exclude: []string{"1-0:99.97.0*", "0-2:*"},
				Options: &p1.Config{Check: "crc"},
			},
			{
				Name: "heat", Driver: keyedDriver,
				Port: transport.Port{
					Scheme: transport.Serial, Path: "/dev/ttyUSB0",
					Mode: drivers.Mode{Baud: 300, Bits: 8, Parity: drivers.EvenParity, Stop: 1},
				},
				Factor: drivers.NewDecimal(1, 0), VoltageFactor: drivers.NewDecimal(1, 0),
				MaxPower: usualPower, MaxFlow: usualFlow,
				Options: &keyed{Key: drivers.NewSecret("secret"), Share: share},
			},
		},
	}
	if diff := cmp.Diff(want, got, sameConfig); diff != "" {
		t.Error(diff)
	}
}

func TestLoadFillsInDefaults(t *testing.T) {
	got, wrong := sources{toml: good}.load(t)
	if wrong != nil {
		t.Fatal(wrong)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	one := drivers.NewDecimal(1, 0)
	want := Config{
		MQTT:          MQTT{URL: "mqtt://127.0.0.1:1883", Base: "meter2mqtt", ClientID: "meter2mqtt-" + host},
		HomeAssistant: HomeAssistant{Discovery: true, Prefix: "homeassistant", StatusTopic: "homeassistant/status"},
		State:         State{Max: 64e6},
		Log:           Log{Level: zerolog.InfoLevel, Format: FormatAuto},
		Meters: []Meter{{
			Name: "main", Driver: p1.Driver, Port: transport.Port{Scheme: transport.TCP, Address: "10.0.0.1:2001"},
			Factor: one, VoltageFactor: one, MaxPower: usualPower, MaxFlow: usualFlow,
			Options: &p1.Config{Check: "auto"},
		}},
	}
	if diff := cmp.Diff(want, got, sameConfig); diff != "" {
		t.Error(diff)
	}
}

func TestLaterLayersWin(t *testing.T) {
	two := good + "[[meter]]\nname = \"gas_2\"\ndriver = \"keyed\"\nport = \"tcp://10.0.0.2:1\"\nkey = \"old\"\n"
	tests := map[string]struct {
		sources
		want string
	}{
		"the environment over the file": {
			sources{toml: withMQTT(`base = "file"`), env: []string{"METER2MQTT_MQTT__BASE=env"}},
			"env main=tcp://10.0.0.1:2001",
		},
		"the app's options over the file": {
			sources{toml: withMQTT(`base = "file"`), options: `{"mqtt": {"base": "app"}}`},
			"app main=tcp://10.0.0.1:2001",
		},
		"the environment over the app's options": {
			sources{toml: good, options: `{"mqtt": {"base": "app"}}`, env: []string{"METER2MQTT_MQTT__BASE=env"}},
			"env main=tcp://10.0.0.1:2001",
		},
		"a meter's variable leaves its other keys and the other meters alone": {
			sources{toml: two, env: []string{"METER2MQTT_METER__gas_2__KEY=new", "METER2MQTT_METER__MAIN__PORT=tcp://10.0.0.9:9"}},
			"meter2mqtt main=tcp://10.0.0.9:9 gas_2=tcp://10.0.0.2:1/new",
		},
		"a meter of the app is merged with the file's by name": {
			sources{toml: two, options: `{"meter": [{"name": "gas_2", "key": "app"}, {"name": "third", "driver": "p1", "port": "tcp://10.0.0.3:3"}]}`},
			"meter2mqtt main=tcp://10.0.0.1:2001 gas_2=tcp://10.0.0.2:1/app third=tcp://10.0.0.3:3",
		},
		"device stands for port in the app": {
			sources{options: `{"meter": [{"name": "main", "driver": "p1", "device": "/dev/ttyUSB0", "port": ""}]}`},
			"meter2mqtt main=serial:///dev/ttyUSB0?baud=115200&mode=8N1",
		},
		"what the app's form leaves empty is not given": {
			sources{toml: good, options: `{"mqtt": {"base": "", "url": null}, "meter": []}`},
			"meter2mqtt main=tcp://10.0.0.1:2001",
		},
		"a variable that names a driver makes a meter": {
			sources{env: []string{"METER2MQTT_METER__main__DRIVER=p1", "METER2MQTT_METER__main__PORT=tcp://10.0.0.1:1"}},
			"meter2mqtt main=tcp://10.0.0.1:1",
		},
		"other programs' variables are none of ours": {
			sources{toml: good, env: []string{"MQTT__BASE=x", "meter2mqtt_x=y", "METER2MQTTX=1", "=C:=x", ""}},
			"meter2mqtt main=tcp://10.0.0.1:2001",
		},
		"Kubernetes' service links are none of ours": {
			sources{toml: good, env: []string{
				"METER2MQTT_SERVICE_HOST=10.0.0.1", "METER2MQTT_SERVICE_PORT_HTTP=80", "METER2MQTT_PORT=tcp://10.0.0.1:80",
				"METER2MQTT_PORT_80_TCP_ADDR=10.0.0.1",
			}},
			"meter2mqtt main=tcp://10.0.0.1:2001",
		},
		"meters may be written inline, and keys quoted or dotted": {
			sources{toml: "mqtt.\"base\" = 'x'\nmeter = [{name = \"main\", driver = \"p1\", port = \"tcp://10.0.0.1:1\"}]"},
			"x main=tcp://10.0.0.1:1",
		},
		"a byte order mark is skipped": {
			sources{toml: "\ufeff" + good}, "meter2mqtt main=tcp://10.0.0.1:2001",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, wrong := test.load(t)
			if wrong != nil {
				t.Fatal(wrong)
			}
			got := c.MQTT.Base
			for _, m := range c.Meters {
				got += " " + m.Name + "=" + m.Port.String()
				if k, ok := m.Options.(*keyed); ok {
					got += "/" + k.Key.Reveal()
				}
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestVariablesTakeTheTypeOfTheirKey(t *testing.T) {
	c, wrong := sources{toml: good, env: []string{
		"METER2MQTT_MQTT__VALUES=true", "METER2MQTT_HOMEASSISTANT__DISCOVERY=false", "METER2MQTT_LOG__LEVEL=warn",
		"METER2MQTT_MQTT__USERNAME=007", "METER2MQTT_MQTT__PASSWORD=true",
		"METER2MQTT_METER__main__EVERY=1m30s", "METER2MQTT_METER__main__FACTOR=0.10", "METER2MQTT_METER__main__RETAIN=false",
		"METER2MQTT_METER__main__TIMEZONE=UTC",
	}}.load(t)
	if wrong != nil {
		t.Fatal(wrong)
	}
	m := c.Meters[0]
	got := fmt.Sprint(c.MQTT.Values, c.HomeAssistant.Discovery, c.Log.Level, " ", c.MQTT.Username, " ", c.MQTT.Password.Reveal(),
		m.Every, m.Factor, *m.Retain, m.Timezone)
	if want := "true false warn 007 true1m30s 0.10 false UTC"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBrokerURLIsWrittenOut(t *testing.T) {
	for given, want := range map[string]string{
		"mqtt://host":            "mqtt://host:1883",
		"MQTT://host/":           "mqtt://host:1883",
		"mqtts://host":           "mqtts://host:8883",
		"ws://host/mqtt":         "ws://host:80/mqtt",
		"wss://host:9001/a/b":    "wss://host:9001/a/b",
		"mqtt://[fd00::5]":       "mqtt://[fd00::5]:1883",
		"mqtt://[fd00::5]:1884/": "mqtt://[fd00::5]:1884",
	} {
		c, wrong := sources{toml: withMQTT(fmt.Sprintf("url = %q", given))}.load(t)
		if wrong != nil {
			t.Errorf("%s: %v", given, wrong)
			continue
		}
		if c.MQTT.URL != want {
			t.Errorf("%s: got %s, want %s", given, c.MQTT.URL, want)
		}
	}
}

// certificate is a self-signed one and its key, in PEM form.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return inPEM("CERTIFICATE", der), inPEM("PRIVATE KEY", pkcs8)
}

func TestTLSIsMadeOfTheFiles(t *testing.T) {
	cert, key := certificate(t)
	c, wrong := sources{
		files: map[string]string{"ca.pem": cert, "own.pem": cert, "own.key": key},
		toml:  withMQTT("url = \"mqtts://host\"\nca_file = \"ca.pem\"\ncert_file = \"own.pem\"\ncert_key_file = \"own.key\""),
	}.load(t)
	if wrong != nil {
		t.Fatal(wrong)
	}
	made, err := c.MQTT.TLS()
	if err != nil {
		t.Fatal(err)
	}
	if made.RootCAs == nil || len(made.Certificates) != 1 {
		t.Errorf("got roots %v and %d certificates, want roots and one", made.RootCAs, len(made.Certificates))
	}
}

// The files may have changed since the configuration was read.
func TestTLSFilesThatChangedAreToldByTheirKey(t *testing.T) {
	cert, key := certificate(t)
	otherCert, _ := certificate(t)
	for name, c := range map[string]struct{ file, content, says string }{
		"the CAs are gone":             {"ca.pem", "", "mqtt.ca_file: "},
		"the CAs are no CAs any more":  {"ca.pem", "x", "mqtt.ca_file: "},
		"the certificate is gone":      {"own.pem", "", "mqtt.cert_file: "},
		"the certificate is another's": {"own.pem", otherCert, "mqtt.cert_file: "},
		"the key is gone":              {"own.key", "", "mqtt.cert_file: "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := MQTT{URL: "mqtts://host:8883", CAFile: Path(filepath.Join(dir, "ca.pem")), CertFile: Path(filepath.Join(dir, "own.pem")), CertKeyFile: Path(filepath.Join(dir, "own.key"))}
			for file, content := range map[string]string{"ca.pem": cert, "own.pem": cert, "own.key": key, c.file: c.content} {
				if content == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			made, err := m.TLS()
			if made != nil || err == nil || !strings.HasPrefix(err.Error(), c.says) || drivers.Hint(err) == "" {
				t.Errorf("got %v, hint %q", err, drivers.Hint(err))
			}
		})
	}
}

func TestNumbersAndAddressesAreTakenAsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		v    value
		want string // of the number or the address; "": it is refused
	}{
		"an integer":                      {value{Kind: integer, Text: "1_000"}, "1000"},
		"of the environment":              {value{Kind: loose, Text: "2400"}, "2400"},
		"of the environment, with a line": {value{Kind: loose, Text: "2_400"}, ""},
		"a text":                          {value{Kind: text, Text: "2400"}, ""},
		"beyond all numbers":              {value{Kind: integer, Text: "99999999999999999999"}, ""},
	} {
		got, err := toWhole(c.v)
		if (err == nil) != (c.want != "") || err == nil && fmt.Sprint(got) != c.want {
			t.Errorf("%s: got %d, %v", name, got, err)
		}
		if err != nil && drivers.Hint(err) == "" {
			t.Errorf("%s: no remedy for %v", name, err)
		}
	}
	for v, want := range map[value]string{
		{Kind: integer, Text: "5"}:    "5",
		{Kind: text, Text: "007"}:     "007",
		{Kind: loose, Text: "254"}:    "254",
		{Kind: boolean, Text: "true"}: "",
		{Kind: list, Text: "5"}:       "",
	} {
		got, err := toAddress(v)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%+v: got %q, %v", v, got, err)
		}
	}
}

func TestTheAppsFormHasSwitchesAndDecimals(t *testing.T) {
	c, wrong := sources{options: `{"mqtt":{"values":true},"meter":[{"name":"main","driver":"p1","port":"/dev/x","factor":0.1,"retain":false}]}`}.load(t)
	if wrong != nil {
		t.Fatal(wrong)
	}
	if m := c.Meters[0]; !c.MQTT.Values || m.Factor.String() != "0.1" || m.Retain == nil || *m.Retain {
		t.Errorf("got values %t, factor %s, retain %v", c.MQTT.Values, m.Factor, m.Retain)
	}
}

func TestTLSWithoutFilesIsLeftToTheSystem(t *testing.T) {
	c, wrong := sources{toml: withMQTT(`url = "mqtts://host"`)}.load(t)
	if wrong != nil {
		t.Fatal(wrong)
	}
	if made, err := c.MQTT.TLS(); made != nil || err != nil {
		t.Errorf("got %v, %v, want nothing", made, err)
	}
}
