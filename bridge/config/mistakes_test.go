package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
)

const (
	inFile    = "config.toml"
	inOptions = "options.json"
)

// meterWith is a meter whose line 5 is the given one.
func meterWith(line string) string {
	return "[[meter]]\nname = \"main\"\ndriver = \"p1\"\nport = \"tcp://10.0.0.1:2001\"\n" + line + "\n"
}

// askedWith is a meter with parameters, whose line 5 is the given one.
func askedWith(line string) string {
	return strings.Replace(meterWith(line), `"p1"`, `"asked"`, 1)
}

// namedMeter has its name in line 2.
func namedMeter(name string) string {
	return "[[meter]]\nname = \"" + name + "\"\ndriver = \"p1\"\nport = \"tcp://10.0.0.1:2001\"\n"
}

// onPort has its port in line 4.
func onPort(port string) string {
	return "[[meter]]\nname = \"main\"\ndriver = \"p1\"\nport = " + port + "\n"
}

// The first three fields of a want must fit exactly; its reason and its remedy
// are parts of those told. A case has exactly as many mistakes as wants.
func TestLoadTellsEveryMistake(t *testing.T) {
	tests := map[string]struct {
		sources
		want []Mistake
	}{
		// Status over HTTP.
		"a page for the whole network without a password": {
			sources{toml: good + "[http]\nlisten = \"0.0.0.0:80\""},
			[]Mistake{{inFile, 7, "http.listen", "can be reached from other machines", "set username and password_file"}},
		},
		"a page at a name": {
			sources{toml: good + "[http]\nlisten = \"nas:80\""},
			[]Mistake{{inFile, 7, "http.listen", `"nas" is no IP address`, "127.0.0.1:8099"}},
		},
		"a page without a port": {
			sources{toml: good + "[http]\nlisten = \"127.0.0.1\""},
			[]Mistake{{inFile, 7, "http.listen", "is not HOST:PORT", "127.0.0.1:8099"}},
		},
		"a page on no port": {
			sources{toml: good + "[http]\nlisten = \"127.0.0.1:http\""},
			[]Mistake{{inFile, 7, "http.listen", `port "http"`, "from 1 to 65535"}},
		},
		"half a login to the page": {
			sources{toml: good + "[http]\nusername = \"ann\""},
			[]Mistake{{inFile, 6, "http.password_file", "there is a user name, but no password", "set password_file"}},
		},
		"the other half of it": {
			sources{toml: good + "[http]\npassword = \"x\""},
			[]Mistake{{inFile, 6, "http.username", "there is a password, but no user name", "set username"}},
		},
		// Home Assistant's own API.
		"a token without an address": {
			sources{toml: good + "[homeassistant]\ntoken = \"x\""},
			[]Mistake{{inFile, 6, "homeassistant.url", "missing beside token", "ws://HOST:8123/api/websocket"}},
		},
		"an address without a token": {
			sources{toml: good + "[homeassistant]\nurl = \"ws://home:8123/api/websocket\""},
			[]Mistake{{inFile, 6, "homeassistant.token", "missing beside url", "long-lived access token of an administrator"}},
		},
		"a login in Home Assistant's address": {
			sources{toml: good + "[homeassistant]\nurl = \"ws://me:x@home:8123\"\ntoken = \"x\""},
			[]Mistake{{inFile, 7, "homeassistant.url", "would show in logs", "ws://HOST:8123/api/websocket"}},
		},
		"Home Assistant's page for its API": {
			sources{toml: good + "[homeassistant]\nurl = \"http://home:8123\"\ntoken = \"x\""},
			[]Mistake{{inFile, 7, "homeassistant.url", `"http://home:8123" is no WebSocket address`, "wss:// if it has a certificate"}},
		},
		"a Home Assistant nowhere": {
			sources{toml: good + "[homeassistant]\nurl = \"ws://:8123\"\ntoken = \"x\""},
			[]Mistake{{inFile, 7, "homeassistant.url", `"ws://:8123" is no WebSocket address`, "ws://HOST:8123"}},
		},
		// Files.
		"broken TOML": {
			sources{toml: "[mqtt]\nbase = \"x\nurl = 1"},
			[]Mistake{{inFile, 2, "", "column 10: ", "correct the TOML syntax"}},
		},
		"a TOML key twice": {
			sources{toml: "[mqtt]\nbase = \"x\"\nbase = \"y\"\n"},
			[]Mistake{{inFile, 3, "", "column 1: ", "correct the TOML syntax"}},
		},
		"broken options": {
			sources{options: "{\n\"mqtt\": {,}}"},
			[]Mistake{{inOptions, 2, "", "no JSON object: invalid character ','", "save the app's configuration page"}},
		},
		"options that are no object": {
			sources{options: "[]"}, []Mistake{{inOptions, 0, "", "no JSON object", "save the app's configuration page"}},
		},
		"an option twice": {
			sources{toml: good, options: "{\n\"mqtt\": {\"base\": \"a\",\n\"base\": \"b\"}}"},
			[]Mistake{{inOptions, 3, "base", "there twice", "leave one of them out"}},
		},
		"broken TOML and broken options": {
			sources{toml: "[", options: "{"},
			[]Mistake{{inFile, 1, "", "column 1", "correct the TOML"}, {inOptions, 1, "", "unexpected end", "save the app's"}},
		},
		"a document that is too large": {
			sources{toml: strings.Repeat("#", maxDocument+1)},
			[]Mistake{{inFile, 0, "", "larger than 1048576 bytes", "the right file"}},
		},

		// Lists.
		"a list that holds a number": {
			sources{toml: good + "exclude = [\"a\", 1]\n"},
			[]Mistake{{inFile, 6, "meter.main.exclude", "no text", "each in quotes"}},
		},
		"a number where a list goes": {
			sources{toml: good + "exclude = 1\n"},
			[]Mistake{{inFile, 6, "meter.main.exclude", "an integer", "in brackets"}},
		},
		"a pattern that is none": {
			sources{toml: good + "exclude = [\"[\"]\n"},
			[]Mistake{{inFile, 6, "meter.main.exclude", "no pattern", "1-0:32.*"}},
		},

		// Amounts.
		"a power that is none": {
			sources{toml: good + "max_power = \"much\"\n"},
			[]Mistake{{inFile, 6, "meter.main.max_power", "no number", "25kW"}},
		},
		"a power in the unit of something else": {
			sources{toml: good + "max_power = \"5 m3\"\n"},
			[]Mistake{{inFile, 6, "meter.main.max_power", "not in W", "25kW"}},
		},
		"a power without its unit": {
			sources{toml: good + "max_power = \"25\"\n"},
			[]Mistake{{inFile, 6, "meter.main.max_power", "in W", "25kW"}},
		},
		"a size that is a list": {
			sources{toml: "[state]\nmax = [64]\n" + good},
			[]Mistake{{inFile, 2, "state.max", "found a list, want a size", "64MB"}},
		},
		"a driver that there is not, and a key of none": {
			sources{toml: strings.Replace(meterWith("frob = 1"), `"p1"`, `"p7"`, 1)},
			[]Mistake{
				{inFile, 3, "meter.main.driver", `no driver "p7"`, "did you mean p1?"},
				{inFile, 5, "meter.main.frob", "unknown key", "factor, key, key_file, label"},
			},
		},
		"a driver that is a number": {
			sources{toml: strings.Replace(meterWith(""), `"p1"`, `1`, 1)},
			[]Mistake{{inFile, 3, "meter.main.driver", "", ""}},
		},
		"an unknown key as long as a line": {
			sources{toml: withMQTT(strings.Repeat("url", 30) + ` = "x"`)},
			[]Mistake{{inFile, 2, "mqtt." + strings.Repeat("url", 30), "unknown key", "there are: base"}},
		},
		"a meter of the environment beside none": {
			sources{toml: "[mqtt]\n", env: []string{"METER2MQTT_METER__main__PORT=/dev/x"}},
			[]Mistake{
				{inFile, 0, "meter", "no meter", "[[meter]]"},
				{environment, 0, "METER2MQTT_METER__main__PORT", `no meter "main"`, "METER2MQTT_METER__main__DRIVER would make one"},
			},
		},
		"a flow without its unit": {
			sources{toml: good + "max_flow = 20\n"},
			[]Mistake{{inFile, 6, "meter.main.max_flow", "an integer", "6m³/h"}},
		},
		"a flow of nothing": {
			sources{toml: good + "max_flow = \"0m3/h\"\n"},
			[]Mistake{{inFile, 6, "meter.main.max_flow", "not above 0", "6m³/h"}},
		},
		"a size without its unit": {
			sources{toml: "[state]\nmax = \"64\"\n" + good},
			[]Mistake{{inFile, 2, "state.max", "no size", "64MB"}},
		},
		"a journal too small to be one": {
			sources{toml: "[state]\nmax = \"10kB\"\n" + good},
			[]Mistake{{inFile, 2, "state.max", "less than 1MB", "1MB"}},
		},
		"a size beyond all disks": {
			sources{toml: "[state]\nmax = \"99999999GB\"\n" + good},
			[]Mistake{{inFile, 2, "state.max", "more than any disk", "64MB"}},
		},

		// Sections.
		"nothing at all": {
			sources{}, []Mistake{{"", 0, "meter", "no meter", "meter2mqtt demo"}},
		},
		"no meters": {
			sources{toml: "[mqtt]\n"}, []Mistake{{inFile, 0, "meter", "no meter", "begins with [[meter]]"}},
		},
		"an unknown section": {
			sources{toml: "[mqqt]\n" + good},
			[]Mistake{{inFile, 1, "mqqt", "unknown section", "did you mean mqtt? There are [mqtt], [homeassistant], [state], [http], [log] or [[meter]]"}},
		},
		"a section that is not there yet": {
			sources{toml: "[solar]\npanels = 8\n" + good}, []Mistake{{inFile, 1, "solar", "unknown section", "there are [mqtt]"}},
		},
		"a list of an unknown section": {
			sources{toml: "[[meters]]\n" + good}, []Mistake{{inFile, 1, "meters", "unknown section", "did you mean meter?"}},
		},
		"a key in front of all sections": {
			sources{toml: "base = \"x\"\n" + good}, []Mistake{{inFile, 1, "base", "outside of any section", "move it under [mqtt]"}},
		},
		"a section as a key": {
			sources{toml: "log = \"debug\"\n" + good}, []Mistake{{inFile, 1, "log", "a section, not a key", "under a line [log]"}},
		},
		"meters as a key": {
			sources{toml: "meter = \"p1\"\n"},
			[]Mistake{
				{inFile, 0, "meter", "no meter", "[[meter]]"},
				{inFile, 1, "meter", "a section, not a key", "[[meter]]"},
			},
		},
		"a section in double brackets": {
			sources{toml: "[[mqtt]]\nbase = \"x\"\n" + good}, []Mistake{{inFile, 1, "mqtt", "a list of tables", "write [mqtt]"}},
		},
		"meters in single brackets": {
			sources{toml: "\n[meter]\nname = \"main\"\n"},
			[]Mistake{
				{inFile, 0, "meter", "no meter", "[[meter]]"},
				{inFile, 2, "meter", "one table where a list", "in double brackets"},
			},
		},
		"a table inside of a section": {
			sources{toml: "[mqtt.login]\nusername = \"x\"\n" + good}, []Mistake{{inFile, 1, "mqtt.login", "a table where a single value", "no tables inside"}},
		},

		// Keys and types.
		"an unknown key": {
			sources{toml: withMQTT(`usrname = "x"`)},
			[]Mistake{{inFile, 2, "mqtt.usrname", "unknown key", "did you mean username? There are: base, ca_file"}},
		},
		"an unknown key that is like none": {
			sources{toml: withMQTT(`keepalive = 3`)}, []Mistake{{inFile, 2, "mqtt.keepalive", "unknown key", "there are: base"}},
		},
		"a key in capitals": {
			sources{toml: withMQTT(`URL = "mqtt://x"`)}, []Mistake{{inFile, 2, "mqtt.URL", "unknown key", "did you mean url?"}},
		},
		"parameters of a meter that only speaks": {
			sources{toml: meterWith(`write = ["clock"]`)}, []Mistake{{inFile, 5, "meter.main.write", "only speak", "leave it out"}},
		},
		"a parameter that the meter does not have": {
			sources{toml: askedWith(`write = ["clok"]`)},
			[]Mistake{{inFile, 5, "meter.main.write", `"clok" is no parameter`, "did you mean clock? There are: clock, reset"}},
		},
		"a parameter that can only be read": {
			sources{toml: askedWith(`write = ["clock", "state"]`)},
			[]Mistake{{inFile, 5, "meter.main.write", `"state" is no parameter`, "there are: clock, reset"}},
		},
		"what cannot be a parameter's name": {
			sources{toml: askedWith(`write = ["Set Clock"]`)},
			[]Mistake{{inFile, 5, "meter.main.write", `"Set Clock" cannot be a parameter's name`, `["clock"]`}},
		},
		"a key of another driver": {
			sources{toml: meterWith(`credential = "00"`)}, []Mistake{{inFile, 5, "meter.main.credential", "unknown key", "check, driver"}},
		},
		"an unknown option": {
			sources{toml: good, options: "{\"log\":\n{\"levle\": \"info\"}}"},
			[]Mistake{{inOptions, 2, "log.levle", "unknown key", "did you mean level?"}},
		},
		"a number for text": {
			sources{toml: withMQTT("base = 5")}, []Mistake{{inFile, 2, "mqtt.base", "found an integer, want text", "in quotes"}},
		},
		"a list for text": {
			sources{toml: withMQTT(`base = ["a"]`)}, []Mistake{{inFile, 2, "mqtt.base", "found a list, want text", "in quotes"}},
		},
		"an empty list for text": {
			sources{toml: withMQTT(`base = []`)}, []Mistake{{inFile, 1, "mqtt.base", "found a list, want text", "in quotes"}},
		},
		"a date for text": {
			sources{toml: withMQTT(`base = 2026-01-01`)}, []Mistake{{inFile, 2, "mqtt.base", "found a date or time, want text", "in quotes"}},
		},
		"a boolean for text": {
			sources{toml: withMQTT(`base = true`)}, []Mistake{{inFile, 2, "mqtt.base", "found true or false, want text", "in quotes"}},
		},
		"text with bytes that are no characters": {
			sources{toml: good, env: []string{"METER2MQTT_MQTT__USERNAME=\xff"}},
			[]Mistake{{environment, 0, "METER2MQTT_MQTT__USERNAME", "no characters", "UTF-8"}},
		},
		"text for true or false": {
			sources{toml: withMQTT(`values = "true"`)}, []Mistake{{inFile, 2, "mqtt.values", "found text, want true or false", "without quotes"}},
		},
		"1 for true": {
			sources{toml: withMQTT(`values = 1`)}, []Mistake{{inFile, 2, "mqtt.values", "found an integer, want true or false", "write true or false"}},
		},
		"yes for true": {
			sources{toml: good, env: []string{"METER2MQTT_MQTT__VALUES=yes"}},
			[]Mistake{{environment, 0, "METER2MQTT_MQTT__VALUES", `"yes" is neither true nor false`, "write true or false"}},
		},
		"an unknown log level": {
			sources{toml: "[log]\nlevel = \"inf\"\n" + good}, []Mistake{{inFile, 2, "log.level", `"inf" is none`, "did you mean info? There are: trace"}},
		},
		"an unknown log format": {
			sources{toml: "[log]\nformat = \"xml\"\n" + good}, []Mistake{{inFile, 2, "log.format", `"xml" is none`, "auto, text, json"}},
		},

		// The broker.
		"a URL without a scheme": {
			sources{toml: withMQTT(`url = "broker:1883"`)}, []Mistake{{inFile, 2, "mqtt.url", `"broker:1883" has no scheme`, "mqtt://HOST:1883"}},
		},
		"an empty URL": {
			sources{toml: withMQTT(`url = ""`)}, []Mistake{{inFile, 2, "mqtt.url", "empty", "mqtt://HOST:1883"}},
		},
		"a URL with another program's scheme": {
			sources{toml: withMQTT(`url = "tcp://broker:1883"`)}, []Mistake{{inFile, 2, "mqtt.url", "tcp:// is called mqtt:// here", "write mqtt://"}},
		},
		"a URL with another program's TLS scheme": {
			sources{toml: withMQTT(`url = "ssl://broker:1883"`)}, []Mistake{{inFile, 2, "mqtt.url", "ssl:// is called mqtts:// here", "write mqtts://"}},
		},
		"a URL with an unknown scheme": {
			sources{toml: withMQTT(`url = "amqp://broker"`)}, []Mistake{{inFile, 2, "mqtt.url", `unknown scheme "amqp"`, "there are mqtt, mqtts"}},
		},
		"a URL with a user": {
			sources{toml: withMQTT(`url = "mqtt://me@broker"`)}, []Mistake{{inFile, 2, "mqtt.url", "holds a user or a password", "username and password_file"}},
		},
		"a URL without a host": {
			sources{toml: withMQTT(`url = "mqtt://:1883"`)}, []Mistake{{inFile, 2, "mqtt.url", "no host", "mqtt://HOST"}},
		},
		"a URL that cannot be read": {
			sources{toml: withMQTT(`url = "mqtt://bro ker"`)}, []Mistake{{inFile, 2, "mqtt.url", "is no URL", "mqtt://HOST"}},
		},
		"a URL with port 0": {
			sources{toml: withMQTT(`url = "mqtt://broker:0"`)}, []Mistake{{inFile, 2, "mqtt.url", `port "0"`, "1 to 65535"}},
		},
		"a URL with a port that is too high": {
			sources{toml: withMQTT(`url = "mqtt://broker:65536"`)}, []Mistake{{inFile, 2, "mqtt.url", `port "65536"`, "1 to 65535"}},
		},
		"a URL with a path that means nothing": {
			sources{toml: withMQTT(`url = "mqtt://broker/home"`)}, []Mistake{{inFile, 2, "mqtt.url", "a path means nothing", "base"}},
		},
		"a URL with a query": {
			sources{toml: withMQTT(`url = "wss://broker/mqtt?token=x"`)}, []Mistake{{inFile, 2, "mqtt.url", "follows a ?", "leave it out"}},
		},
		"a password without a user": {
			sources{toml: withMQTT(`password = "x"`)}, []Mistake{{inFile, 1, "mqtt.username", "no user name", "set username"}},
		},
		"a password and its file": {
			sources{toml: withMQTT("username = \"u\"\npassword = \"x\"\npassword_file = \"pass\"")},
			[]Mistake{{inFile, 4, "mqtt.password_file", "both password and password_file", "leave one of them out"}},
		},
		"a password and its file, one in the environment": {
			sources{toml: withMQTT("username = \"u\"\npassword_file = \"pass\""), env: []string{"METER2MQTT_MQTT__PASSWORD=x"}},
			[]Mistake{{inFile, 3, "mqtt.password_file", "both password and password_file", "and in the environment"}},
		},
		"a password that is no text": {
			sources{toml: withMQTT("username = \"u\"\npassword = 1234")}, []Mistake{{inFile, 3, "mqtt.password", "found an integer, want text", "in quotes"}},
		},
		"a password's file that is not there": {
			sources{toml: withMQTT("username = \"u\"\npassword_file = \"pass\"")}, []Mistake{{inFile, 3, "mqtt.password_file", "pass: there is no such file", "check the path"}},
		},
		"a password's file that is a folder": {
			sources{toml: withMQTT("username = \"u\"\npassword_file = \".\"")}, []Mistake{{inFile, 3, "mqtt.password_file", "a folder, not a file", "inside of it"}},
		},
		"a password's file that is empty": {
			sources{toml: withMQTT("username = \"u\"\npassword_file = \"pass\""), files: map[string]string{"pass": "\n"}},
			[]Mistake{{inFile, 3, "mqtt.password_file", "pass: the file is empty", "write the secret into it"}},
		},
		"a password's file that is too large": {
			sources{toml: withMQTT("username = \"u\"\npassword_file = \"pass\""), files: map[string]string{"pass": strings.Repeat("x", maxSecret+1)}},
			[]Mistake{{inFile, 3, "mqtt.password_file", "larger than", "the right file"}},
		},
		"a CA without TLS": {
			sources{toml: withMQTT(`ca_file = "ca.pem"`)}, []Mistake{{inFile, 2, "mqtt.ca_file", "no effect", "mqtts://"}},
		},
		"a CA that is not there": {
			sources{toml: withMQTT("url = \"mqtts://x\"\nca_file = \"ca.pem\"")}, []Mistake{{inFile, 3, "mqtt.ca_file", "ca.pem: there is no such file", "check the path"}},
		},
		"a CA that is none": {
			sources{toml: withMQTT("url = \"mqtts://x\"\nca_file = \"ca.pem\""), files: map[string]string{"ca.pem": "x"}},
			[]Mistake{{inFile, 3, "mqtt.ca_file", "no certificate in PEM form", "BEGIN CERTIFICATE"}},
		},
		"a certificate without its key": {
			sources{toml: withMQTT("url = \"mqtts://x\"\ncert_file = \"a.pem\"")}, []Mistake{{inFile, 1, "mqtt.cert_key_file", "missing beside cert_file", "leave both out"}},
		},
		"a key without its certificate": {
			sources{toml: withMQTT("url = \"mqtts://x\"\ncert_key_file = \"a.pem\"")}, []Mistake{{inFile, 1, "mqtt.cert_file", "missing beside cert_key_file", "leave both out"}},
		},
		"a certificate that is none": {
			sources{
				toml:  withMQTT("url = \"mqtts://x\"\ncert_file = \"a.pem\"\ncert_key_file = \"a.key\""),
				files: map[string]string{"a.pem": "x", "a.key": "y"},
			},
			[]Mistake{{inFile, 3, "mqtt.cert_file", "a.pem and a.key", "belong together"}},
		},

		// Topics.
		"an empty base": {
			sources{toml: withMQTT(`base = ""`)}, []Mistake{{inFile, 2, "mqtt.base", "empty", "home/meters"}},
		},
		"a base with a wildcard": {
			sources{toml: withMQTT(`base = "a/+"`)}, []Mistake{{inFile, 2, "mqtt.base", "wildcard", "home/meters"}},
		},
		"a base that begins with a slash": {
			sources{toml: withMQTT(`base = "/a"`)}, []Mistake{{inFile, 2, "mqtt.base", "begins or ends with a slash", "home/meters"}},
		},
		"a base that ends with a slash": {
			sources{toml: withMQTT(`base = "a/"`)}, []Mistake{{inFile, 2, "mqtt.base", "begins or ends with a slash", "home/meters"}},
		},
		"a base with a NUL": {
			sources{toml: withMQTT(`base = "a\u0000"`)}, []Mistake{{inFile, 2, "mqtt.base", "no characters", "type it anew"}},
		},
		"a base with a control character": {
			sources{toml: withMQTT(`base = "a\t"`)}, []Mistake{{inFile, 2, "mqtt.base", "control character", "home/meters"}},
		},
		"a base of the broker": {
			sources{toml: withMQTT(`base = "$SYS"`)}, []Mistake{{inFile, 2, "mqtt.base", "begins with $", "home/meters"}},
		},
		"a base that is too long": {
			sources{toml: withMQTT(`base = "` + strings.Repeat("a", maxTopic+1) + `"`)}, []Mistake{{inFile, 2, "mqtt.base", "longer than 256 bytes", "home/meters"}},
		},
		"a base that no id can be made of": {
			sources{toml: withMQTT(`base = "水道"`)}, []Mistake{{inFile, 2, "mqtt.base", "no letter of a to z", "home/meters"}},
		},
		"a base among discovery topics": {
			sources{toml: withMQTT(`base = "homeassistant/meters"`)}, []Mistake{{inFile, 2, "mqtt.base", "below homeassistant.prefix", "another base"}},
		},
		"a prefix with a wildcard": {
			sources{toml: "[homeassistant]\nprefix = \"#\"\n" + good}, []Mistake{{inFile, 2, "homeassistant.prefix", "wildcard", "home/meters"}},
		},
		"a status topic that is empty": {
			sources{toml: "[homeassistant]\nstatus_topic = \"\"\n" + good}, []Mistake{{inFile, 2, "homeassistant.status_topic", "empty", "home/meters"}},
		},

		// Meters.
		"a meter without anything": {
			sources{toml: "\n[[meter]]\n"},
			[]Mistake{
				{inFile, 2, "meter.#1.name", "missing", "name, driver and port"},
				{inFile, 2, "meter.#1.driver", "missing", "name, driver and port"},
				{inFile, 2, "meter.#1.port", "missing", "name, driver and port"},
			},
		},
		"a name that is no text": {
			sources{toml: "[[meter]]\nname = 5\ndriver = \"p1\"\nport = \"/dev/p1\"\n"},
			[]Mistake{{inFile, 2, "meter.5.name", "found an integer, want text", "in quotes"}},
		},
		"a name in capitals":           {sources{toml: namedMeter("Main")}, badName("Main")},
		"a name that begins with 1":    {sources{toml: namedMeter("1st")}, badName("1st")},
		"a name with a hyphen":         {sources{toml: namedMeter("a-b")}, badName("a-b")},
		"a name with a slash":          {sources{toml: namedMeter("a/b")}, []Mistake{{inFile, 2, "meter.#1.name", "cannot be a meter's name", "a to z"}}},
		"a name of 33 letters":         {sources{toml: namedMeter(strings.Repeat("a", 33))}, badName(strings.Repeat("a", 33))},
		"a name with two underscores":  {sources{toml: namedMeter("a__b")}, badName("a__b")},
		"a name that ends in _":        {sources{toml: namedMeter("a_")}, badName("a_")},
		"a name like a sub-meter's":    {sources{toml: namedMeter("a_ch1")}, badName("a_ch1")},
		"the name of the bridge":       {sources{toml: namedMeter("bridge")}, badName("bridge")},
		"a name with a line end in it": {sources{toml: namedMeter(`a\n`)}, badName("a\n")},
		"a double name": {
			sources{toml: namedMeter("main") + "\n[[meter]]\nname = \"main\"\ndriver = \"p1\"\nport = \"/dev/p1\"\n"},
			[]Mistake{{inFile, 7, "meter.main.name", "the first one's stands in line 2", "a name of its own"}},
		},
		"an unknown driver": {
			sources{toml: "[[meter]]\nname = \"main\"\ndriver = \"dsmr\"\nport = \"/dev/p1\"\ncheck = \"crc\"\n"},
			[]Mistake{{inFile, 3, "meter.main.driver", `no driver "dsmr"`, "there are: p1, keyed"}},
		},
		"an unknown driver and an unknown key": {
			sources{toml: "[[meter]]\nname = \"main\"\ndriver = \"p2\"\nport = \"/dev/p1\"\nkey_file = \"x\"\nchek = \"crc\"\n"},
			[]Mistake{
				{inFile, 3, "meter.main.driver", `no driver "p2"`, "did you mean p1?"},
				{inFile, 6, "meter.main.chek", "unknown key", "did you mean check?"},
			},
		},
		"an empty port":                {sources{toml: onPort(`""`)}, []Mistake{{inFile, 4, "meter.main.port", "missing", "name, driver and port"}}},
		"a port that is no text":       {sources{toml: onPort("5")}, []Mistake{{inFile, 4, "meter.main.port", "found an integer", "in quotes"}}},
		"a port without a scheme":      {sources{toml: onPort(`"ttyUSB0"`)}, []Mistake{{inFile, 4, "meter.main.port", "neither an absolute path nor a scheme", "/dev/serial/by-id"}}},
		"a port with another scheme":   {sources{toml: onPort(`"ftp://x:1"`)}, []Mistake{{inFile, 4, "meter.main.port", `unknown scheme "ftp"`, "tcp://"}}},
		"datagrams for another driver": {sources{toml: onPort(`"udp://x:1"`)}, []Mistake{{inFile, 4, "meter.main.port", "do not speak in datagrams", "tcp://"}}},
		"a port with an unknown mode":  {sources{toml: onPort(`"/dev/x?mode=9N1"`)}, []Mistake{{inFile, 4, "meter.main.port", "mode", "8N1"}}},
		"a port that two meters listen to": {
			sources{toml: namedMeter("main") + "[[meter]]\nname = \"two\"\ndriver = \"p1\"\nport = \"tcp://10.0.0.1:2001/\"\n"},
			[]Mistake{{inFile, 8, "meter.two.port", "meter main has this port already", "a port of its own"}},
		},
		"a tap that is no port":        {sources{toml: meterWith(`tap = "all"`)}, []Mistake{{inFile, 5, "meter.main.tap", `port "all"`, "1 to 65535"}}},
		"a tap on a port out of range": {sources{toml: meterWith("tap = 70000")}, []Mistake{{inFile, 5, "meter.main.tap", `port "70000"`, "1 to 65535"}}},
		"a tap that is no text":        {sources{toml: meterWith("tap = true")}, []Mistake{{inFile, 5, "meter.main.tap", "found true or false", "in quotes"}}},
		"a tap that another meter has": {
			sources{toml: meterWith("tap = 2001") + "[[meter]]\nname = \"two\"\ndriver = \"p1\"\nport = \"/dev/x\"\ntap = \"127.0.0.1:2001\"\n"},
			[]Mistake{{inFile, 10, "meter.two.tap", "meter main has this tap already", "another port"}},
		},
		"a topic for a meter that is asked": {
			sources{toml: "[[meter]]\nname = \"main\"\ndriver = \"asked\"\nport = \"mqtt:t\"\n"},
			[]Mistake{{inFile, 4, "meter.main.port", "a meter of driver asked must be asked, and nobody hears that on a topic", "name the line that it hangs on"}},
		},
		"a tap on a meter that is asked": {
			sources{toml: "[[meter]]\nname = \"main\"\ndriver = \"asked\"\nport = \"/dev/x\"\ntap = \"2001\"\n"},
			[]Mistake{{inFile, 5, "meter.main.tap", "a meter that is asked has no tap", "leave it out"}},
		},
		"a bare number for a duration":      {sources{toml: meterWith("every = 30")}, []Mistake{{inFile, 5, "meter.main.every", "30 has no unit", `write "30s"`}}},
		"a fraction for a duration":         {sources{toml: meterWith("every = 1.5")}, []Mistake{{inFile, 5, "meter.main.every", "1.5 has no unit", `write "1.5s"`}}},
		"a bare number in quotes":           {sources{toml: meterWith(`every = "30"`)}, []Mistake{{inFile, 5, "meter.main.every", "30 has no unit", `write "30s"`}}},
		"a duration in words":               {sources{toml: meterWith(`every = "10 seconds"`)}, []Mistake{{inFile, 5, "meter.main.every", `"10 seconds" is no duration`, `"10s"`}}},
		"a negative duration":               {sources{toml: meterWith(`every = "-10s"`)}, []Mistake{{inFile, 5, "meter.main.every", "negative", "without the minus"}}},
		"a boolean for a duration":          {sources{toml: meterWith(`every = true`)}, []Mistake{{inFile, 5, "meter.main.every", "want a duration", `"10s"`}}},
		"a zone that there is not":          {sources{toml: meterWith(`timezone = "Europe/Atlantis"`)}, []Mistake{{inFile, 5, "meter.main.timezone", `no time zone "Europe/Atlantis"`, "Europe/Amsterdam"}}},
		"a number for a zone":               {sources{toml: meterWith(`timezone = 1`)}, []Mistake{{inFile, 5, "meter.main.timezone", "found an integer, want text", "in quotes"}}},
		"a factor in quotes":                {sources{toml: meterWith(`factor = "40"`)}, []Mistake{{inFile, 5, "meter.main.factor", "found text, want a number", "without quotes"}}},
		"a factor of 0":                     {sources{toml: meterWith("factor = 0.0")}, []Mistake{{inFile, 5, "meter.main.factor", "0.0 is not above 0", "200/5 A"}}},
		"a factor below 0":                  {sources{toml: meterWith("factor = -1")}, []Mistake{{inFile, 5, "meter.main.factor", "-1 is not above 0", "200/5 A"}}},
		"a voltage factor of 0":             {sources{toml: meterWith("voltage_factor = 0")}, []Mistake{{inFile, 5, "meter.main.voltage_factor", "0 is not above 0", "10000/100 V"}}},
		"a factor with an exponent":         {sources{toml: meterWith("factor = 1e3")}, []Mistake{{inFile, 5, "meter.main.factor", `"1e3"`, "plain digits"}}},
		"a factor without end":              {sources{toml: meterWith("factor = inf")}, []Mistake{{inFile, 5, "meter.main.factor", `"inf"`, "plain digits"}}},
		"a factor of too many digits":       {sources{toml: meterWith("factor = 1." + strings.Repeat("3", 38))}, []Mistake{{inFile, 5, "meter.main.factor", "kept exactly", "plain digits"}}},
		"factors of too many digits":        {sources{toml: meterWith("factor = 1." + strings.Repeat("3", 30) + "\nvoltage_factor = 1." + strings.Repeat("3", 30))}, []Mistake{{inFile, 5, "meter.main.factor", "too many digits", "on the transformers"}}},
		"text for retain":                   {sources{toml: meterWith(`retain = "always"`)}, []Mistake{{inFile, 5, "meter.main.retain", "found text, want true or false", `"auto"`}}},
		"a driver's own key":                {sources{toml: meterWith(`check = "crc32"`)}, []Mistake{{inFile, 5, "meter.main.check", `"crc32" is not one of auto, crc, none`, ""}}},
		"a driver's own key of wrong type":  {sources{toml: meterWith(`check = 1.5`)}, []Mistake{{inFile, 5, "meter.main.check", "found a decimal number, want text", "in quotes"}}},
		"a driver's own keys, told at once": {sources{toml: "[[meter]]\nname = \"a\"\ndriver = \"keyed\"\nport = \"/dev/x\"\nkey = \"short\"\nshare = -1\n"}, []Mistake{{inFile, 5, "meter.a.key", "too short", "32 hex digits"}, {inFile, 6, "meter.a.share", "kept exactly: not the form", ""}}},
		"a driver's secret and its file":    {sources{toml: "[[meter]]\nname = \"a\"\ndriver = \"keyed\"\nport = \"/dev/x\"\nkey = \"x\"\nkey_file = \"y\"\n"}, []Mistake{{inFile, 6, "meter.a.key_file", "both key and key_file", "leave one"}}},
		"an option of a meter": {
			sources{options: "{\"meter\": [\n{\"name\": \"main\", \"driver\": \"p1\",\n\"port\": \"tcp://x:1\", \"every\": 10}]}"},
			[]Mistake{{inOptions, 3, "meter.main.every", "10 has no unit", `write "10s"`}},
		},
		"an option of a meter that is an object": {
			sources{options: "{\"meter\": [\n{\"name\": \"main\", \"driver\": \"p1\",\n\"port\": \"tcp://x:1\", \"label\": {}}]}"},
			[]Mistake{{inOptions, 3, "meter.main.label", "a table where a single value", "no tables inside"}},
		},
		"device and port": {
			sources{options: `{"meter": [{"name": "main", "driver": "p1", "port": "tcp://x:1", "device": "/dev/x"}]}`},
			[]Mistake{{inOptions, 1, "meter.main.device", "both device and port", "leave one of them empty"}},
		},
		"a device that is no port": {
			sources{options: `{"meter": [{"name": "main", "driver": "p1", "device": "x"}]}`},
			[]Mistake{{inOptions, 1, "meter.main.device", "neither an absolute path", "/dev/serial"}},
		},
		"device outside of the app": {
			sources{toml: meterWith(`device = "/dev/x"`)}, []Mistake{{inFile, 5, "meter.main.device", "unknown key", "check, driver"}},
		},

		// The environment.
		"a variable of no form": {
			sources{toml: good, env: []string{"METER2MQTT_BASE=x", "METER2MQTT_MQTT__=x", "METER2MQTT_METER__NAME=x", "METER2MQTT_A__B__C=x"}},
			[]Mistake{
				{environment, 0, "METER2MQTT_A__B__C", "no variable of meter2mqtt", "METER2MQTT_SECTION__KEY"},
				{environment, 0, "METER2MQTT_BASE", "no variable of meter2mqtt", "METER2MQTT_SECTION__KEY"},
				{environment, 0, "METER2MQTT_METER__NAME", "no variable of meter2mqtt", "METER2MQTT_METER__NAME__KEY"},
				{environment, 0, "METER2MQTT_MQTT__", "no variable of meter2mqtt", "two underscores"},
			},
		},
		"a variable of an unknown section": {
			sources{toml: good, env: []string{"METER2MQTT_MQQT__URL=x"}},
			[]Mistake{{environment, 0, "METER2MQTT_MQQT__URL", `no section "mqqt"`, "did you mean mqtt?"}},
		},
		"a variable of an unknown key": {
			sources{toml: good, env: []string{"METER2MQTT_MQTT__ULR=x"}},
			[]Mistake{{environment, 0, "METER2MQTT_MQTT__ULR", "unknown key", "did you mean url?"}},
		},
		"a variable of an unknown meter": {
			sources{toml: good, env: []string{"METER2MQTT_METER__mian__EVERY=10s"}},
			[]Mistake{{environment, 0, "METER2MQTT_METER__mian__EVERY", `no meter "mian"`, "did you mean main?"}},
		},
		"a variable of a meter by position": {
			sources{toml: good, env: []string{"METER2MQTT_METER__0__PORT=x"}},
			[]Mistake{{environment, 0, "METER2MQTT_METER__0__PORT", `no meter "0"`, "there are: main"}},
		},
		"a variable that renames": {
			sources{toml: good, env: []string{"METER2MQTT_METER__main__NAME=x"}},
			[]Mistake{{environment, 0, "METER2MQTT_METER__main__NAME", "cannot be set from here", "the middle part"}},
		},
		"a variable twice": {
			sources{toml: good, env: []string{"METER2MQTT_MQTT__BASE=x", "METER2MQTT_mqtt__base=y"}},
			[]Mistake{{environment, 0, "METER2MQTT_mqtt__base", "the same as METER2MQTT_MQTT__BASE", "unset one"}},
		},
		"a service's port without Kubernetes": {
			sources{toml: good, env: []string{"METER2MQTT_PORT=/dev/x"}},
			[]Mistake{{environment, 0, "METER2MQTT_PORT", "no variable of meter2mqtt", "METER2MQTT_METER__NAME__KEY"}},
		},
		"a meter of the environment that is not whole": {
			sources{env: []string{"METER2MQTT_METER__main__DRIVER=p1"}},
			[]Mistake{{environment, 0, "meter.main.port", "missing", "name, driver and port"}},
		},

		"mistakes everywhere, told in one go": {
			sources{
				toml: `[mqtt]
url = "tcp://broker"
base = "a/#"
values = "yes"
[log]
level = "loud"
[homeasistant]
[[meter]]
name = "Main"
driver = "p1"
every = 30
factor = "2"
quiet = 1
[[meter]]
driver = "p3"
port = "COM3"
`,
				options: `{"mqtt": {"keepalive": 60}}`,
				env:     []string{"METER2MQTT_METER__main__PORT=/dev/x", "METER2MQTT_X=1"},
			},
			[]Mistake{
				{inFile, 2, "mqtt.url", "tcp:// is called", "mqtt://"},
				{inFile, 3, "mqtt.base", "wildcard", ""},
				{inFile, 4, "mqtt.values", "want true or false", ""},
				{inFile, 6, "log.level", `"loud"`, "trace"},
				{inFile, 7, "homeasistant", "unknown section", "did you mean homeassistant?"},
				{inFile, 8, "meter.Main.port", "missing", ""},
				{inFile, 9, "meter.Main.name", "cannot be a meter's name", ""},
				{inFile, 11, "meter.Main.every", "no unit", `"30s"`},
				{inFile, 12, "meter.Main.factor", "want a number", ""},
				{inFile, 13, "meter.Main.quiet", "unknown key", ""},
				{inFile, 14, "meter.#2.name", "missing", ""},
				{inFile, 15, "meter.#2.driver", "no driver", "did you mean p1?"},
				{inFile, 16, "meter.#2.port", "neither an absolute path", ""},
				{inOptions, 1, "mqtt.keepalive", "unknown key", ""},
				{environment, 0, "METER2MQTT_X", "no variable", ""},
				{environment, 0, "METER2MQTT_METER__main__PORT", `no meter "main"`, "did you mean Main? There are: Main;"},
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, got := test.load(t)
			if len(got) != len(test.want) {
				t.Fatalf("%d mistakes, want %d:\n%v", len(got), len(test.want), got)
			}
			for i, want := range test.want {
				if !fits(got[i], want) {
					t.Errorf("mistake %d:\ngot  %#v\nwant %#v", i, got[i], want)
				}
			}
		})
	}
}

func badName(name string) []Mistake {
	return []Mistake{{inFile, 2, "meter." + name + ".name", "cannot be a meter's name", "a to z"}}
}

func fits(got, want Mistake) bool {
	return got.File == want.File && got.Line == want.Line && got.Key == want.Key &&
		strings.Contains(got.Reason, want.Reason) && strings.Contains(got.Remedy, want.Remedy)
}

func TestMissingFileNamesARemedy(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(filepath.Join(dir, "nowhere.toml"), nil, filepath.Join(dir, "nowhere.json"))
	want := []Mistake{
		{"nowhere.json", 0, "", "there is no such file", "the app's options are expected there"},
		{"nowhere.toml", 0, "", "there is no such file", "name the configuration with -c, or see `meter2mqtt demo`, which needs none"},
	}
	if diff := cmp.Diff(want, mistakes(t, err, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestFileWithoutPermissionIsToldApart(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(good), 0o200); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path, nil, "")
	want := []Mistake{{"config.toml", 0, "", "no permission to read the file", "let the user that runs meter2mqtt read it"}}
	if diff := cmp.Diff(want, mistakes(t, err, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestMistakeReadsAsOneLine(t *testing.T) {
	for want, m := range map[string]Mistake{
		"config.toml:12: mqtt.url: empty; write it": {"config.toml", 12, "mqtt.url", "empty", "write it"},
		"environment: METER2MQTT_X: unknown":        {environment, 0, "METER2MQTT_X", "unknown", ""},
		"config.toml: there is no such file":        {"config.toml", 0, "", "there is no such file", ""},
		"meter: there is no meter; add one":         {"", 0, "meter", "there is no meter", "add one"},
	} {
		if got := m.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	e := Error{[]Mistake{{"a", 1, "b", "c", ""}, {"d", 0, "", "e", "f"}}}
	if got, want := e.Error(), "a:1: b: c\nd: e; f"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever is wrong, and wherever in a file the secret stands: it is not told.
func TestNoMistakeTellsASecret(t *testing.T) {
	const secret = canary.MQTTPassword
	keyedMeter := "[[meter]]\nname = \"a\"\ndriver = \"keyed\"\nport = \"/dev/x\"\n"
	for name, s := range map[string]sources{
		"broken syntax beside it":       {toml: "[mqtt]\npassword = \"$SECRET\"\nbase = \n"},
		"broken syntax in it":           {toml: "[mqtt]\npassword = $SECRET\n"},
		"without its closing quote":     {toml: "[mqtt]\npassword = \"$SECRET\n"},
		"without a user":                {toml: withMQTT(`password = "$SECRET"`)},
		"beside its twin":               {toml: withMQTT("password = \"$SECRET\"\npassword_file = \"x\"\nusername = \"u\"")},
		"in a list":                     {toml: withMQTT(`password = ["$SECRET"]`)},
		"in a table":                    {toml: withMQTT(`password = {x = "$SECRET"}`)},
		"under a wrong key":             {toml: withMQTT(`passwort = "$SECRET"`)},
		"in the URL":                    {toml: withMQTT(`url = "mqtt://me:$SECRET@broker"`)},
		"in a URL that cannot be read":  {toml: withMQTT(`url = "mqtt://me:$SECRET%@bro ker"`)},
		"in a URL behind a #":           {toml: withMQTT(`url = "mqtt://me:$SECRET#x@broker"`)},
		"in a URL without a scheme":     {toml: withMQTT(`url = "me:$SECRET@broker"`)},
		"in a URL's query":              {toml: withMQTT(`url = "wss://broker/?password=$SECRET"`)},
		"in the environment":            {toml: good, env: []string{"METER2MQTT_MQTT__PASSWORD=$SECRET\xff"}},
		"in an unknown variable":        {toml: good, env: []string{"METER2MQTT_PASSWORD=$SECRET"}},
		"in the options":                {options: `{"mqtt": {"password": ["$SECRET"]}}`},
		"in broken options":             {options: `{"mqtt": {"password": "$SECRET}}`},
		"refused by a driver":           {toml: keyedMeter + "key = \"$SECRET\"\nkey_file = \"x\"\n"},
		"in the file of an unused twin": {toml: withMQTT(`password_file = "p"`), files: map[string]string{"p": "$SECRET"}},
	} {
		t.Run(name, func(t *testing.T) {
			filled := strings.NewReplacer("$SECRET", secret)
			s.toml, s.options = filled.Replace(s.toml), filled.Replace(s.options)
			for i := range s.env {
				s.env[i] = filled.Replace(s.env[i])
			}
			for file := range s.files {
				s.files[file] = filled.Replace(s.files[file])
			}
			_, got := s.load(t)
			if len(got) == 0 {
				t.Fatal("no mistake found")
			}
			canary.Keep(t, "mistakes", fmt.Append(nil, got))
			for _, m := range got {
				if strings.Contains(m.String(), secret) {
					t.Errorf("told: %s", m)
				}
			}
		})
	}
}
