package mqttlink

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Each way in which a broker does not take us has a remedy, as errors and, where
// paho and the TLS layer give nothing else, as their text.
func TestEachRefusalHasARemedy(t *testing.T) {
	plain, secure := Options{URL: "mqtt://host:1883"}, Options{URL: "mqtts://host:8883"}
	named := Options{URL: "mqtt://host:1883", Username: "ann"}
	for name, c := range map[string]struct {
		err  error
		o    Options
		want string // "": there is nothing to change
	}{
		"a login is wanted":             {packets.ErrorRefusedNotAuthorised, plain, "set mqtt.username and mqtt.password_file"},
		"another login is wanted":       {packets.ErrorRefusedBadUsernameOrPassword, named, "check mqtt.username and mqtt.password"},
		"another name is wanted":        {packets.ErrorRefusedIDRejected, plain, "set another mqtt.client_id"},
		"a host that there is not":      {&net.DNSError{Err: "no such host", Name: "host"}, plain, "no such host: check mqtt.url"},
		"a certificate of a stranger":   {x509.UnknownAuthorityError{}, secure, "set mqtt.ca_file to its CA"},
		"a certificate of another host": {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "host"}, secure, "use that name in mqtt.url"},
		"nothing listens":               {os.NewSyscallError("connect", syscall.ECONNREFUSED), plain, "nothing listens there"},
		"nobody answers":                {errNoAnswer, plain, "is it an MQTT port"},
		"a remedy that came along":      {drivers.WithHint(errors.New("away"), "start the app"), plain, "start the app"},

		"as text: plain MQTT on a TLS URL":   {errors.New("tls: first record does not look like a TLS handshake"), secure, "use mqtt://"},
		"as text: nothing listens":           {errors.New("network Error : dial tcp: connection refused"), plain, "nothing listens there"},
		"as text: a certificate":             {errors.New("remote error: tls: bad certificate"), secure, "check mqtt.ca_file, mqtt.cert_file"},
		"closed at once, TLS":                {fmt.Errorf("connect: %w", io.EOF), secure, "if the port speaks plain MQTT"},
		"closed at once, TLS over WebSocket": {fmt.Errorf("connect: %w", io.EOF), Options{URL: "wss://host"}, "if the port speaks plain MQTT"},
		"closed at once":                     {errors.New("connect: read: connection reset by peer"), plain, "is it a TLS port"},
		"closed after it had worked":         {fmt.Errorf("connection lost: %w", io.EOF), plain, ""},
		"something else at connecting":       {errors.New("connect: the cat is on the line"), plain, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := hint(fmt.Errorf("broker: %w", c.err), c.o)
			if strings.HasPrefix(c.err.Error(), "conn") {
				got = hint(c.err, c.o) // the words with which it begins count
			}
			if !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestABrokerThatCannotBeFoundIsToldByTheCheck(t *testing.T) {
	away := errors.New("the Supervisor is asleep")
	err := Check(t.Context(), Options{Find: func(context.Context) (Address, error) { return Address{}, away }})
	if !errors.Is(err, away) || !strings.HasPrefix(err.Error(), "broker: ") {
		t.Errorf("got %v", err)
	}
}
