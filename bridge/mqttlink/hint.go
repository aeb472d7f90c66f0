package mqttlink

import (
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// hint is what a person can do about a broker that does not take us, or "".
func hint(err error, o Options) string {
	var (
		dns     *net.DNSError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
	)
	switch {
	case drivers.Hint(err) != "":
		return drivers.Hint(err)
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		if o.Username == "" {
			return "the broker wants a login: set mqtt.username and mqtt.password_file"
		}
		return "the broker refuses this login: check mqtt.username and mqtt.password, and what the user may publish"
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return "the broker refuses the client id: set another mqtt.client_id"
	case errors.As(err, &dns):
		return "no such host: check mqtt.url"
	case errors.As(err, &unknown):
		return "the broker's certificate is signed by someone unknown: set mqtt.ca_file to its CA"
	case errors.As(err, &name):
		return "the broker's certificate is for another name: use that name in mqtt.url"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: is the broker running, are host and port in mqtt.url right?"
	case errors.Is(err, errNoAnswer):
		return "check mqtt.url and the network; is it an MQTT port, and with mqtts:// a TLS one?"
	}
	return hintByText(err.Error(), strings.HasPrefix(o.URL, "mqtts:") || strings.HasPrefix(o.URL, "wss:"))
}

// hintByText is for what paho and the TLS layer give as text only.
func hintByText(text string, secure bool) string {
	switch {
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		return "the port speaks plain MQTT: use mqtt://, or the broker's TLS port"
	case strings.Contains(text, "connection refused"):
		return "nothing listens there: is the broker running, are host and port in mqtt.url right?"
	case strings.Contains(text, "certificate"):
		return "the TLS certificate was not accepted: check mqtt.ca_file, mqtt.cert_file and mqtt.cert_key_file"
	case !strings.HasPrefix(text, "connect:"):
		return "" // it worked before: nothing is to be changed
	case !strings.Contains(text, "EOF") && !strings.Contains(text, "reset by peer"):
		return ""
	case secure:
		return "the broker closed the connection: if the port speaks plain MQTT, use mqtt://; if it wants a certificate of ours, set mqtt.cert_file and mqtt.cert_key_file"
	default:
		return "the broker closed the connection: is it a TLS port (then mqtts://), or is the same mqtt.client_id in use elsewhere?"
	}
}
