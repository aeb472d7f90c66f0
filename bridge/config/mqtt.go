package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/meter2mqtt/meter2mqtt/bridge/roots"
	"github.com/meter2mqtt/meter2mqtt/discovery"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// MQTT says which broker, as whom, and where in its topics.
type MQTT struct {
	// URL is where the broker is: mqtt://, or mqtts:// with TLS; ws:// and wss:// for
	// WebSockets, which may have a path. Without a port it is 1883, 8883, 80 or 443.
	// It never holds a user or a password. In the Home Assistant app empty means
	// Home Assistant's own broker.
	URL string `koanf:"url"`
	// Username is the user to log in as.
	Username string `koanf:"username"`
	// Password is the user's.
	Password drivers.Secret `koanf:"password"`
	// CAFile holds the broker's CA, in PEM form, if the system does not know it.
	CAFile Path `koanf:"ca_file"`
	// CertFile is a certificate of our own, in PEM form, for brokers that want one.
	CertFile Path `koanf:"cert_file"`
	// CertKeyFile is its key, in PEM form, without a password.
	CertKeyFile Path `koanf:"cert_key_file"`
	// Base begins all topics. It is part of every id in Home Assistant too, so it is
	// chosen once.
	Base string `koanf:"base"`
	// ClientID is the name under which the broker knows us. Empty: base and host name.
	ClientID string `koanf:"client_id"`
	// Values says whether each value is also published as plain text, on its own
	// topic BASE/METER/value/KEY, for subscribers that cannot read JSON.
	Values bool `koanf:"values"`
}

// broker is what a scheme of mqtt.url means.
type broker struct {
	port   string // where the URL names none
	secure bool
	path   bool // a path may follow
}

var brokers = map[string]broker{
	"mqtt":  {port: "1883"},
	"mqtts": {port: "8883", secure: true},
	"ws":    {port: "80", path: true},
	"wss":   {port: "443", secure: true, path: true},
}

// otherNames are schemes that other programs use for ours.
var otherNames = map[string]string{
	"tcp": "mqtt", "mqtt+tcp": "mqtt",
	"ssl": "mqtts", "tls": "mqtts", "mqtt+ssl": "mqtts", "mqtt+tls": "mqtts",
	"http": "ws", "mqtt+ws": "ws", "https": "wss", "mqtt+wss": "wss",
}

const urlForm = `write url = "mqtt://HOST:1883"; there are mqtt, mqtts, ws and wss`

func (m *MQTT) validate(s *section) {
	m.validateBroker(s)
	if m.Username == "" && !m.Password.IsZero() {
		s.wrong("username", "there is a password, but no user name", "set username: MQTT knows no password without one")
	}
	if err := checkBase(m.Base); err != nil {
		s.fail("base", err)
	}
	if m.ClientID == "" {
		m.ClientID = defaultClientID(m.Base)
	}
}

// validateBroker checks the broker's address and what its scheme allows. The app
// asks the Supervisor for a broker that is not configured, and for its login.
func (m *MQTT) validateBroker(s *section) {
	if m.URL == "" && !s.given("url") && s.app {
		for _, key := range []string{"username", "password", "password_file"} {
			if s.given(key) {
				s.wrong(key, "there is no mqtt.url that it belongs to", "fill in url as well, or leave it out: the login of Home Assistant's own broker is known")
			}
		}
		return
	}
	whole, secure, err := parseBroker(m.URL)
	if err != nil {
		s.fail("url", err)
		return
	}
	m.URL = whole
	m.validateTLS(s, secure)
}

// defaultClientID is base and host name, so that two gateways of one base do not
// throw each other out.
func defaultClientID(base string) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		return base
	}
	return base + "-" + host
}

// parseBroker is a broker's URL with its port, and whether it is a TLS one. Its
// errors show nothing of a URL that may hold a password.
func parseBroker(text string) (whole string, secure bool, err error) {
	scheme, _, ok := strings.Cut(text, "://")
	switch {
	case strings.Contains(text, "@"):
		return "", false, errWanted("leave out what stands before the @, and set username and password_file", "the URL holds a user or a password, which would show in logs")
	case text == "":
		return "", false, errWanted(urlForm, "empty")
	case !ok:
		return "", false, errWanted(urlForm, "%.60q has no scheme", text)
	}
	scheme = strings.ToLower(scheme)
	kind, known := brokers[scheme]
	if !known {
		return "", false, unknownScheme(scheme)
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", false, errWanted(urlForm, "%.60q is no URL", text)
	}
	if err := kind.fit(u); err != nil {
		return "", false, err
	}
	return u.String(), kind.secure, nil
}

func unknownScheme(scheme string) error {
	if ours := otherNames[scheme]; ours != "" {
		return errWanted("write "+ours+":// instead", "the scheme %s:// is called %s:// here", scheme, ours)
	}
	return errWanted(urlForm, "unknown scheme %.20q", scheme)
}

// fit checks the parts behind the scheme and puts in the usual port.
func (b broker) fit(u *url.URL) error {
	port := u.Port()
	if port == "" {
		port = b.port
	}
	number, err := strconv.ParseUint(port, 10, 16)
	switch {
	case u.Hostname() == "":
		return errWanted(urlForm, "the URL names no host")
	case err != nil || number == 0:
		return errWanted("a port is a number from 1 to 65535", "port %.20q", port)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errWanted("leave it out", "something follows a ? or a #")
	case !b.path && u.Path != "" && u.Path != "/":
		return errWanted("leave it out; topics begin with base", "a path means nothing with %s://", u.Scheme)
	}
	if !b.path {
		u.Path = ""
	}
	u.Host = net.JoinHostPort(u.Hostname(), port)
	return nil
}

// validateTLS reads the certificates once, so that what is wrong with them is
// told with all the rest.
func (m *MQTT) validateTLS(s *section, secure bool) {
	if !secure {
		for _, key := range []string{"ca_file", "cert_file", "cert_key_file"} {
			if s.given(key) {
				s.wrong(key, "it has no effect on a connection without TLS", "write mqtts:// or wss:// in url, or leave it out")
			}
		}
		return
	}
	if _, err := m.roots(); err != nil {
		s.fail("ca_file", err)
	}
	switch {
	case m.CertFile == "" && m.CertKeyFile != "":
		s.wrong("cert_file", "missing beside cert_key_file", "name the client certificate's file, or leave both out")
	case m.CertFile != "" && m.CertKeyFile == "":
		s.wrong("cert_key_file", "missing beside cert_file", "name the file of the client certificate's key, or leave both out")
	default:
		if _, err := m.certificates(); err != nil {
			s.fail("cert_file", err)
		}
	}
}

// TLS is what the connection to the broker needs, or nil if the system's roots
// are all. It reads the certificate files again.
func (m *MQTT) TLS() (*tls.Config, error) {
	if _, secure, err := parseBroker(m.URL); secure && err == nil && m.CAFile == "" {
		roots.Ensure()
	}
	if m.CAFile == "" && m.CertFile == "" {
		return nil, nil
	}
	authorities, err := m.roots()
	if err != nil {
		return nil, fmt.Errorf("mqtt.ca_file: %w", err)
	}
	own, err := m.certificates()
	if err != nil {
		return nil, fmt.Errorf("mqtt.cert_file: %w", err)
	}
	return &tls.Config{RootCAs: authorities, Certificates: own, MinVersion: tls.VersionTLS12}, nil
}

// roots are the CAs of ca_file, or nil for the system's.
func (m *MQTT) roots() (*x509.CertPool, error) {
	if m.CAFile == "" {
		return nil, nil
	}
	pem, err := readNamed(m.CAFile, maxPEM)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errWanted("it begins with -----BEGIN CERTIFICATE-----", "%s: there is no certificate in PEM form in it", m.CAFile)
	}
	return pool, nil
}

// certificates are the client's own, or none.
func (m *MQTT) certificates() ([]tls.Certificate, error) {
	if m.CertFile == "" {
		return nil, nil
	}
	cert, err := readNamed(m.CertFile, maxPEM)
	if err != nil {
		return nil, err
	}
	key, err := readNamed(m.CertKeyFile, maxPEM)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, errWanted("both are PEM files, the key without a password, and belong together", "%s and %s: %w", m.CertFile, m.CertKeyFile, err)
	}
	return []tls.Certificate{pair}, nil
}

// checkBase is checkTopic for what ids are made of too: without anything that an
// id can hold, those of all gateways would be alike.
func checkBase(base string) error {
	if err := checkTopic(base); err != nil {
		return err
	}
	if strings.HasPrefix(discovery.DeviceID(base, ""), "_") {
		return errWanted(`write it as in "meter2mqtt" or "home/meters"`, "%q has no letter of a to z and no digit, which ids are made of", base)
	}
	return nil
}

// maxTopic bounds what other parts of a topic are added to.
const maxTopic = 256

// checkTopic says why a topic cannot be published to, or be the beginning of
// such. MQTT 3.1.1, 4.7; control characters make brokers hang up (1.5.3).
func checkTopic(topic string) error {
	const form = `write it as in "meter2mqtt" or "home/meters"`
	switch {
	case topic == "":
		return errWanted(form, "empty")
	case len(topic) > maxTopic:
		return errWanted(form, "longer than %d bytes", maxTopic)
	case strings.ContainsAny(topic, "+#"):
		return errWanted(form, "%q holds a wildcard, + or #", topic)
	case strings.ContainsFunc(topic, unicode.IsControl):
		return errWanted(form, "%q holds a control character", topic)
	case strings.HasPrefix(topic, "$"):
		return errWanted(form, "%q begins with $, which brokers keep for themselves", topic)
	case slices.Contains(strings.Split(topic, "/"), ""):
		return errWanted(form, "%q begins or ends with a slash, or has two in a row", topic)
	}
	return nil
}
