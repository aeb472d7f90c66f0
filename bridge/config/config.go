package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
)

// Config is a whole configuration, valid in itself: nothing of it was tried on a
// port or a broker.
type Config struct {
	MQTT          MQTT
	HomeAssistant HomeAssistant
	State         State
	HTTP          HTTP
	Log           Log
	Meters        []Meter // at least one, in the order of the file

	// Supervisor is the token of the Home Assistant app for its Supervisor, zero
	// outside of the app. An empty MQTT.URL means the Supervisor's broker.
	Supervisor drivers.Secret
}

// HomeAssistant says whether and where meters are announced.
type HomeAssistant struct {
	// Discovery says whether meters are announced to Home Assistant.
	Discovery bool `koanf:"discovery"`
	// Prefix is that of its discovery topics, as set in its MQTT integration.
	Prefix string `koanf:"prefix"`
	// StatusTopic is where Home Assistant says that it is there, as set in its MQTT
	// integration.
	StatusTopic string `koanf:"status_topic"`
	// URL is its WebSocket API. With Token, hours that an outage cost come into its
	// statistics, and an exchanged meter is no consumption. Empty: its statistics
	// are left alone; the Home Assistant app needs neither.
	URL string `koanf:"url"`
	// Token is a long-lived access token of an administrator: Profile, Security.
	Token drivers.Secret `koanf:"token"`
}

// State says where readings wait that the broker has not taken, and what is
// remembered over a restart.
type State struct {
	// Dir is the folder. Empty: $STATE_DIRECTORY, which systemd sets, or /data in
	// the Home Assistant app, or else meter2mqtt in the user's state folder.
	Dir Path `koanf:"dir"`
	// Max is how much is kept; beyond it the oldest go. The file may be twice that.
	Max Size `koanf:"max"`
}

// minJournal is the least that lets the journal work in segments.
const minJournal = 1e6

func (st *State) validate(s *section) {
	if st.Max < minJournal {
		s.wrong("max", "less than 1MB, which a night without a broker fills", `write "1MB" or more`)
	}
}

// Log says what is logged, and how.
type Log struct {
	// Level is how much is logged. The request log_level changes it while the
	// gateway runs.
	Level zerolog.Level `koanf:"level"`
	// Format is the form of the log: auto is text on a terminal, else json.
	Format Format `koanf:"format"`
}

// Format is the form of the log.
type Format string

// The forms of the log.
const (
	FormatAuto Format = "auto" // text on a terminal, else JSON
	FormatText Format = "text"
	FormatJSON Format = "json"
)

func defaults() Config {
	return Config{
		MQTT:          MQTT{URL: "mqtt://127.0.0.1:1883", Base: "meter2mqtt"},
		HomeAssistant: HomeAssistant{Discovery: true, Prefix: "homeassistant", StatusTopic: "homeassistant/status"},
		State:         State{Max: 64e6},
		Log:           Log{Level: zerolog.InfoLevel, Format: FormatAuto},
	}
}

// namedPart is a section and what it fills.
type namedPart struct {
	name string
	part
}

// parts are all sections that there are once.
func (c *Config) parts() []namedPart {
	return []namedPart{
		{"mqtt", &c.MQTT},
		{"homeassistant", &c.HomeAssistant},
		{"state", &c.State},
		{"http", &c.HTTP},
		{"log", &c.Log},
	}
}

func (c *Config) sections() []string {
	var names []string
	for _, p := range c.parts() {
		names = append(names, p.name)
	}
	return names
}

func (h *HomeAssistant) validate(s *section) {
	if err := checkTopic(h.Prefix); err != nil {
		s.fail("prefix", err)
	}
	if err := checkTopic(h.StatusTopic); err != nil {
		s.fail("status_topic", err)
	}
	h.validateAPI(s)
}

// validateAPI wants both of URL and token, or neither.
func (h *HomeAssistant) validateAPI(s *section) {
	const form = `write url = "ws://HOST:8123/api/websocket"; wss:// if it has a certificate`
	u, err := url.Parse(h.URL)
	switch {
	case h.URL == "" && h.Token.IsZero():
	case h.URL == "":
		s.wrong("url", "missing beside token", form)
	case h.Token.IsZero():
		s.wrong("token", "missing beside url", "make a long-lived access token of an administrator: Profile, Security; set token or token_file")
	case strings.Contains(h.URL, "@"):
		s.wrong("url", "it holds a user or a password, which would show in logs", form)
	case err != nil, u.Scheme != "ws" && u.Scheme != "wss", u.Hostname() == "":
		s.wrong("url", fmt.Sprintf("%.60q is no WebSocket address", h.URL), form)
	}
}

func (*Log) validate(*section) {} // its converters have said everything

// Load reads the configuration at path, what env (as of os.Environ) says instead
// and the app's options, which stand between the two. path and options may be ""
// for none. An error is always an *Error with every mistake in it.
func Load(path string, env []string, options string) (Config, error) {
	l := loader{drivers: all.Drivers}
	if options != "" {
		l.token = tokenIn(env)
	}
	return l.load(path, env, options)
}

// loader knows which drivers a meter may name, and whether we are the app.
type loader struct {
	drivers []drivers.Driver
	token   drivers.Secret // for the Supervisor; zero: we are not the app
}

func (l loader) load(path string, env []string, options string) (Config, error) {
	var r report
	file := readDocument(path, "name the configuration with -c, or see `meter2mqtt demo`, which needs none", parseTOML, &r)
	form := readDocument(options, "the app's options are expected there", parseOptions, &r)
	if err := r.err(); err != nil {
		return Config{}, err
	}
	return l.assemble(file, form, env)
}

// readDocument is the table in a file: an empty one if there is no file, none if
// it cannot be read, and then r says why. missing is the remedy for a file that
// is not there.
func readDocument(path, missing string, parse func(string, []byte, *report) *table, r *report) *table {
	if path == "" {
		return newTable(origin{})
	}
	document, err := readLimited(path, maxDocument)
	if err != nil {
		remedy := drivers.Hint(err)
		if errors.Is(err, errNoFile) {
			remedy = missing
		}
		r.add(origin{File: path}, err.Error(), remedy)
		return nil
	}
	return parse(path, document, r)
}

// assemble merges the TOML file, the app's form and the environment, later ones
// over earlier ones, and fills a Config.
func (l loader) assemble(file, form *table, env []string) (Config, error) {
	var r report
	c := l.defaults()
	merged := newLayers(c.sections(), &r)
	deviceMeansPort(form, &r)
	merged.addFile(file)
	merged.addFile(form)
	merged.addEnvironment(parseEnvironment(env, &r))
	for _, p := range c.parts() {
		s := merged.section(p.name)
		s.app = l.isApp()
		s.fill(p.part)
		s.refuseUnknown()
		p.validate(s)
	}
	c.keepApart(merged.section("mqtt"))
	c.Meters = l.meters(merged)
	if err := r.err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// keepApart refuses a base that lies where Home Assistant looks for discovery
// payloads.
func (c *Config) keepApart(s *section) {
	if c.HomeAssistant.Discovery && strings.HasPrefix(c.MQTT.Base+"/", c.HomeAssistant.Prefix+"/") {
		s.wrong("base", "it lies below homeassistant.prefix, where Home Assistant takes every topic for a discovery payload", "choose another base")
	}
}
