package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// broker is an MQTT broker inside the program: open on loopback, with a login
// made for this run anywhere else.
type broker struct {
	server             *mqtt.Server
	address            string // host:port it listens on
	username, password string // empty on loopback
}

// startBroker listens on address, host:port. Port 0 is any free one.
func startBroker(ctx context.Context, address string) (*broker, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, drivers.WithHint(fmt.Errorf("broker on %s: %w", address, err),
			listenHint(err))
	}
	b := &broker{address: listener.Addr().String()}
	if !isLoopback(listener.Addr()) {
		b.username, b.password = "demo", rand.Text()
	}
	b.server = mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := b.server.AddHook(new(auth.Hook), &auth.Options{Ledger: b.ledger()}); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if err := b.server.AddListener(listeners.NewNet("demo", listener)); err != nil {
		return nil, fmt.Errorf("broker on %s: %w", address, err)
	}
	if err := b.server.Serve(); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return b, nil
}

// listenHint is what to change when nothing can listen there.
func listenHint(err error) string {
	if errors.Is(err, syscall.EADDRINUSE) {
		return "something else listens there: use --listen 127.0.0.1:0 for any free port"
	}
	return "give --listen an address of this machine and a port, as in 127.0.0.1:1883"
}

// ledger lets in whoever comes over loopback, elsewhere whoever has the login.
func (b *broker) ledger() *auth.Ledger {
	rule := auth.AuthRule{Allow: true}
	if b.username != "" {
		rule.Username, rule.Password = auth.RString(b.username), auth.RString(b.password)
	}
	return &auth.Ledger{Auth: auth.AuthRules{rule}}
}

func (b *broker) close() { _ = b.server.Close() }

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// dialAddress is where a client on this machine finds the broker, also when it
// listens on every address.
func (b *broker) dialAddress() string {
	host, port, err := net.SplitHostPort(b.address)
	if err != nil {
		return b.address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
