package mqttlink

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
)

// authority is a certificate authority of a test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, cert := sign(t, template, nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return authority{cert, key, pool}
}

// issue is a certificate for 127.0.0.1, good for a server and for a client.
func (a authority) issue(t *testing.T) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key, cert := sign(t, template, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func sign(t *testing.T, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func TestALinkOverTLSWithACertificateOfItsOwn(t *testing.T) {
	ca := newAuthority(t)
	b := brokertest.New(t)
	b.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t)}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert}
	b.Start()
	defer b.Stop()
	o := options(b)
	o.TLS = &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue(t)}}
	l := New(o)
	l.OnConnect(func() { l.Publish(Message{Topic: "t/tls", Payload: []byte("1")}) })
	run(t, l, nothing)
	b.UntilIs("t/tls", "1")
}

func TestATLSMistakeSaysWhatToDo(t *testing.T) {
	ca := newAuthority(t)
	for name, c := range map[string]struct {
		server, client *tls.Config
		scheme, remedy string
	}{
		"an unknown authority": {
			&tls.Config{Certificates: []tls.Certificate{ca.issue(t)}}, nil, "mqtts://", "set mqtt.ca_file",
		},
		"plain MQTT to a TLS port": {
			&tls.Config{Certificates: []tls.Certificate{ca.issue(t)}}, nil, "mqtt://", "then mqtts://",
		},
		"TLS to a plain port": {nil, &tls.Config{RootCAs: ca.pool}, "mqtts://", "use mqtt://"},
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.New(t)
			b.TLS = c.server
			b.Start()
			defer b.Stop()
			var log brokertest.Log
			o := options(b)
			o.Log, o.TLS = zerolog.New(&log), c.client
			_, address, _ := strings.Cut(b.URL(), "://")
			o.URL = c.scheme + address
			run(t, New(o), nothing)
			waitFor(t, func() bool { return strings.Contains(log.String(), "broker away") })
			if !strings.Contains(log.String(), c.remedy) {
				t.Errorf("no %q in\n%s", c.remedy, log.String())
			}
		})
	}
}

func TestALinkOverWebSocket(t *testing.T) {
	b := brokertest.New(t)
	b.WebSocket = true
	b.Start()
	defer b.Stop()
	l := New(options(b))
	l.OnConnect(func() { l.Publish(Message{Topic: "t/ws", Payload: []byte("1")}) })
	run(t, l, nothing)
	b.UntilIs("t/ws", "1")
}
