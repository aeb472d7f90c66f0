package transport

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Scheme is the kind of a port.
type Scheme string

// The kinds of ports.
const (
	Serial  Scheme = "serial"  // a tty of this machine
	TCP     Scheme = "tcp"     // a converter, or a meter with a network socket
	RFC2217 Scheme = "rfc2217" // a converter that lets its clients set its port
	UDP     Scheme = "udp"     // a meter that speaks in datagrams
	Replay  Scheme = "replay"  // a recording
	MQTT    Scheme = "mqtt"    // telegrams that another program publishes
)

// Signal is what a modem line of a serial port is set to.
type Signal string

// The settings of a modem line.
const (
	Raised Signal = ""    // raised where the port has it: the default
	On     Signal = "on"  // raised; a port without it is an error
	Off    Signal = "off" // let go; a port without it is an error
)

// Port says where a meter's line is. Ports are comparable with ==.
type Port struct {
	Scheme   Scheme
	Path     string       // serial: the device; replay: the file; mqtt: the topic
	Mode     drivers.Mode // serial, rfc2217
	RTS, DTR Signal       // serial, rfc2217; P1 adapters wire the data request to one of them
	Address  string       // tcp, rfc2217, udp: host:port, or [IPv6]:port
	Speed    float64      // replay: times the recorded pace; 0: without any pause
	Meter    string       // replay: whose entries of a report; "": all
}

// bauds are the speeds that tarm/serial can set.
var bauds = []int{
	50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400,
	460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000,
}

const (
	maxPortText = 4096 // bytes: no path is longer
	minSpeed    = 1e-3
	maxSpeed    = 1e6

	acceptedPorts = "a port is a path such as /dev/serial/by-id/…, serial:///dev/…?baud=9600&mode=7E1, " +
		"tcp://host:port, rfc2217://host:port?baud=9600, udp://host:port, replay:FILE or mqtt:TOPIC"

	echonetPort = "3610" // of UDP, where ECHONET Lite is spoken
)

// ParsePort reads the text that names a port:
//
//	/dev/serial/by-id/…                            a serial port
//	serial:///dev/ttyUSB0?baud=115200&mode=8N1     the same; also rts=on, dtr=off
//	tcp://host:port                                host: name, IPv4 or [IPv6]
//	rfc2217://host:port?baud=9600&mode=7E1         the same with the keys of a serial port
//	udp://host                                     a meter that speaks in datagrams; also host:port, else 3610, ECHONET Lite's
//	replay:FILE?speed=10                           a recording; speed: a factor or max; meter: whose part of a report
//	mqtt:TOPIC                                     each message of the topic is one telegram
//
// A path is taken as it stands: nothing in it is percent-decoded. What a serial
// port, here or at a converter, does not say about its mode comes from def. Every error carries its
// remedy and shows nothing of a password that was put into the text.
func ParsePort(text string, def drivers.Mode) (Port, error) {
	text = strings.TrimSpace(text)
	if err := checkPortText(text); err != nil {
		return Port{}, err
	}
	if strings.HasPrefix(text, "/") {
		return parseSerial(text, def)
	}
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok {
		return Port{}, portError(acceptedPorts, "port %.60q: neither an absolute path nor a scheme", text)
	}
	switch Scheme(strings.ToLower(scheme)) {
	case Serial:
		return parseSerialURL(rest, def)
	case TCP:
		return parseTCP(rest)
	case RFC2217:
		return parseRFC2217(rest, def)
	case UDP:
		return parseUDP(rest)
	case Replay:
		return parseReplay(rest)
	case MQTT:
		return parseTopic(rest)
	}
	return Port{}, unknownScheme(scheme, rest)
}

// portError is an error about a port's text with its remedy.
func portError(hint, format string, args ...any) error {
	return drivers.WithHint(fmt.Errorf(format, args...), hint)
}

func checkPortText(text string) error {
	switch {
	case text == "":
		return portError(acceptedPorts, "port: empty")
	case len(text) > maxPortText:
		return portError(acceptedPorts, "port: %d bytes long, more than %d", len(text), maxPortText)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return portError("type it anew: it may have been copied with something invisible", "port: holds control characters")
	}
	return nil
}

// unknownScheme shows the scheme only: behind it there may be a password.
func unknownScheme(scheme, rest string) error {
	if _, err := strconv.ParseUint(rest, 10, 16); err == nil {
		return portError("for a TCP converter write tcp://"+shortened(scheme)+":"+rest, "port %.60q: no scheme", scheme+":"+rest)
	}
	return portError(acceptedPorts, "port: unknown scheme %.20q", scheme)
}

func shortened(s string) string {
	if len(s) > 60 {
		return s[:60]
	}
	return s
}

// parseSerialURL reads what follows serial: .
func parseSerialURL(rest string, def drivers.Mode) (Port, error) {
	path, authority := strings.CutPrefix(rest, "//")
	if !strings.HasPrefix(path, "/") {
		if authority {
			return Port{}, portError("write three slashes: serial:///dev/ttyUSB0", "port serial: the path does not begin with /")
		}
		return Port{}, portError("write serial:///dev/ttyUSB0", "port serial: no absolute path")
	}
	return parseSerial(path, def)
}

func parseSerial(text string, def drivers.Mode) (Port, error) {
	path, q, err := splitQuery(text, serialKeys...)
	if err != nil {
		return Port{}, err
	}
	p := Port{Scheme: Serial, Path: filepath.Clean(path), Mode: def}
	if p.Path == "/" {
		return Port{}, portError("name a device: `meter2mqtt ports` lists them", "port serial: no device named")
	}
	return p, p.parseSettings(p.Path, q)
}

// serialKeys are what may stand behind the ? of a port that can be set.
var serialKeys = []string{"baud", "mode", "rts", "dtr"}

// parseSettings takes them, for the port that errors call name. Its Mode is what
// is usual.
func (p *Port) parseSettings(name string, q map[string]string) (err error) {
	if p.Mode, err = parseMode(name, q, p.Mode); err != nil {
		return err
	}
	if p.RTS, err = parseSignal(name, q, "rts"); err != nil {
		return err
	}
	p.DTR, err = parseSignal(name, q, "dtr")
	return err
}

// parseMode is def with what the query says instead.
func parseMode(path string, q map[string]string, def drivers.Mode) (drivers.Mode, error) {
	m := def
	if text, ok := q["mode"]; ok {
		frame, err := drivers.ParseFrame(text)
		if err != nil {
			return m, portError("write mode=8N1, 8E1 or 7E1", "port %s: %w", path, err)
		}
		frame.Baud = m.Baud
		m = frame
	}
	if text, ok := q["baud"]; ok {
		baud, err := strconv.Atoi(text)
		if err != nil {
			return m, portError("write baud=9600", "port %s: baud %.20q is no number", path, text)
		}
		m.Baud = baud
	}
	return m, checkMode(path, m)
}

// checkMode refuses what no serial port can be set to.
func checkMode(path string, m drivers.Mode) error {
	if m.Baud == 0 {
		return portError("add its speed: ?baud=9600", "port %s: no speed", path)
	}
	if !slices.Contains(bauds, m.Baud) {
		return portError("usual are 300, 2400, 9600, 19200, 38400, 57600 and 115200", "port %s: a serial line cannot be set to %d baud", path, m.Baud)
	}
	if _, err := drivers.ParseFrame(m.Frame()); err != nil {
		return portError("add its frame: mode=8N1", "port %s: no frame", path)
	}
	return nil
}

func parseSignal(path string, q map[string]string, key string) (Signal, error) {
	s := Signal(q[key])
	if _, given := q[key]; given && s != On && s != Off {
		return s, portError("write "+key+"=on or "+key+"=off", "port %s: %s is %.20q", path, key, s)
	}
	return s, nil
}

// parseTCP reads what follows tcp: .
func parseTCP(rest string) (Port, error) {
	text, _, err := splitQuery(rest)
	if err != nil {
		return Port{}, err
	}
	address, err := parseAddress(TCP, text)
	return Port{Scheme: TCP, Address: address}, err
}

// parseUDP reads what follows udp: . Without a port it is that of ECHONET Lite.
func parseUDP(rest string) (Port, error) {
	text, _, err := splitQuery(rest)
	if err != nil {
		return Port{}, err
	}
	host, ok := strings.CutPrefix(strings.TrimSuffix(text, "/"), "//")
	_, errAddress := netip.ParseAddr(host)
	switch bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"); {
	case !ok || host == "":
	case errAddress == nil, bare != host:
		if !strings.Contains(host, "]:") {
			text = "//" + net.JoinHostPort(bare, echonetPort)
		}
	case !strings.Contains(host, ":"):
		text = "//" + net.JoinHostPort(host, echonetPort)
	}
	address, err := parseAddress(UDP, text)
	return Port{Scheme: UDP, Address: address}, err
}

// parseRFC2217 reads what follows rfc2217: .
func parseRFC2217(rest string, def drivers.Mode) (Port, error) {
	text, q, err := splitQuery(rest, serialKeys...)
	if err != nil {
		return Port{}, err
	}
	p := Port{Scheme: RFC2217, Mode: def}
	if p.Address, err = parseAddress(RFC2217, text); err != nil {
		return Port{}, err
	}
	return p, p.parseSettings(p.Key(), q)
}

// parseAddress reads //host:port in its canonical spelling.
func parseAddress(scheme Scheme, rest string) (string, error) {
	form := strings.ReplaceAll("write X://host:port, as in X://192.168.1.5:2001 or X://[fd00::5]:2001", "X", string(scheme))
	text, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return "", portError(form, "port %s: no // behind the scheme", scheme)
	}
	if strings.Contains(text, "@") {
		return "", portError("such a line knows no log-in: leave out what stands before the @", "port %s: user or password in front of the host", scheme)
	}
	host, number, err := net.SplitHostPort(strings.TrimSuffix(text, "/"))
	if err != nil {
		return "", portError(form, "port %s://%.60s: %s", scheme, text, addrProblem(err))
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return "", portError("such a port is a number from 1 to 65535", "port %s://%.60s: port %.20q", scheme, text, number)
	}
	if host, err = canonicalHost(host); err != nil {
		return "", portError(form, "port %s://%.60s: %w", scheme, text, err)
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// addrProblem is the reason in a *net.AddrError, without the text again.
func addrProblem(err error) string {
	if e, ok := errors.AsType[*net.AddrError](err); ok {
		return e.Err
	}
	return err.Error()
}

// canonicalHost is one spelling of each host: addresses as netip prints them,
// names in lower case.
func canonicalHost(host string) (string, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		if strings.ContainsAny(a.Zone(), "/?@[]") {
			return "", fmt.Errorf("%.60q is no address", host)
		}
		return a.String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "" || len(name) > 253 {
		return "", fmt.Errorf("%.60q is no host name", host)
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.ContainsFunc(l, notHostRune) {
			return "", fmt.Errorf("%.60q is no host name", host)
		}
	}
	if last := labels[len(labels)-1]; !strings.ContainsFunc(last, notDigit) {
		return "", fmt.Errorf("%.60q is no IPv4 address", host)
	}
	return name, nil
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

func notHostRune(r rune) bool {
	return notDigit(r) && (r < 'a' || r > 'z') && r != '-' && r != '_'
}

// parseReplay reads what follows replay: .
func parseReplay(rest string) (Port, error) {
	path, q, err := splitQuery(rest, "speed", "meter")
	if err != nil {
		return Port{}, err
	}
	if path == "" {
		return Port{}, portError("write replay:FILE, with a file that `meter2mqtt record` made", "port replay: no file named")
	}
	p := Port{Scheme: Replay, Path: filepath.Clean(path), Speed: 1, Meter: q["meter"]}
	text, ok := q["speed"]
	switch {
	case !ok:
		return p, nil
	case text == "max":
		p.Speed = 0
		return p, nil
	}
	p.Speed, err = strconv.ParseFloat(text, 64)
	if err != nil || !(p.Speed >= minSpeed && p.Speed <= maxSpeed) {
		return Port{}, portError("write speed=10 for ten times as fast, or speed=max", "port replay:%.60s: speed %.20q", path, text)
	}
	return p, nil
}

// parseTopic reads what follows mqtt: .
func parseTopic(topic string) (Port, error) {
	const form = "write mqtt:TOPIC, with a topic of the broker that [mqtt] names: mqtt:han/telegram"
	switch {
	case topic == "":
		return Port{}, portError(form, "port mqtt: no topic named")
	case strings.HasPrefix(topic, "//"):
		return Port{}, portError(form, "port mqtt: a broker's address, not a topic")
	case strings.ContainsAny(topic, "#+"):
		return Port{}, portError("name one topic: two meters must not be mixed", "port mqtt:%.60s: # and + stand for many topics", topic)
	}
	return Port{Scheme: MQTT, Path: topic}, nil
}

// splitQuery cuts off what follows the last question mark. Only the accepted
// keys may stand there, each once.
func splitQuery(text string, accepted ...string) (string, map[string]string, error) {
	i := strings.LastIndexByte(text, '?')
	if i < 0 {
		return strings.TrimSpace(text), nil, nil
	}
	values, err := url.ParseQuery(text[i+1:])
	if err != nil {
		return "", nil, portError("write ?key=value&key=value", "port: what follows the ? cannot be read")
	}
	q := make(map[string]string, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(accepted, key) {
			return "", nil, portError(acceptedKeys(accepted), "port: unknown key %.20q behind the ?", key)
		}
		if len(values[key]) > 1 {
			return "", nil, portError("leave one of them", "port: %s is given more than once", key)
		}
		q[key] = values[key][0]
	}
	return strings.TrimSpace(text[:i]), q, nil
}

func acceptedKeys(keys []string) string {
	if len(keys) == 0 {
		return "this kind of port takes none"
	}
	return "this kind of port takes " + strings.Join(keys, ", ")
}

// String is the port's canonical text: ParsePort reads it back as the same Port.
// No port holds a secret.
func (p Port) String() string {
	switch p.Scheme {
	case Serial:
		return "serial://" + p.Path + p.settingsText()
	case TCP, UDP:
		return p.Key()
	case RFC2217:
		return p.Key() + p.settingsText()
	case Replay:
		return p.replayText()
	case MQTT:
		return p.Key()
	}
	return ""
}

func (p Port) settingsText() string {
	s := "?baud=" + strconv.Itoa(p.Mode.Baud) + "&mode=" + p.Mode.Frame()
	if p.RTS != Raised {
		s += "&rts=" + string(p.RTS)
	}
	if p.DTR != Raised {
		s += "&dtr=" + string(p.DTR)
	}
	return s
}

func (p Port) replayText() string {
	text := "replay:" + p.Path
	switch {
	case p.Speed == 0:
		text += "?speed=max"
	case p.Speed == 1 && p.Meter == "" && !strings.Contains(p.Path, "?"):
		return text
	default:
		text += "?speed=" + strconv.FormatFloat(p.Speed, 'f', -1, 64)
	}
	if p.Meter != "" {
		text += "&meter=" + p.Meter
	}
	return text
}

// Key tells ports apart: meters whose ports have one key share its line. The
// mode is not in it, nor what a symbolic link leads to, which changes when an
// adapter is plugged in again.
func (p Port) Key() string {
	if p.Scheme == TCP || p.Scheme == RFC2217 || p.Scheme == UDP {
		return string(p.Scheme) + "://" + p.Address
	}
	return string(p.Scheme) + ":" + p.Path
}
