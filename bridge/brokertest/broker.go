// Package brokertest is an MQTT broker for tests, inside the test's process: it
// can be stopped and started on its port, and remembers what was published.
package brokertest

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
)

// patience is how long Until waits for what must come.
const patience = 30 * time.Second

// Broker is a broker. Its exported fields are set before Start.
type Broker struct {
	Login     struct{ Username, Password string } // the only one that it takes; none: anyone
	Unread    string                              // a filter that nobody may subscribe to
	TLS       *tls.Config                         // nil: plain
	WebSocket bool

	t       *testing.T
	address string
	server  *mqtt.Server
	conns   *conns

	mu   sync.Mutex
	seen []Message
	more chan struct{}
}

// Message is what was published.
type Message struct {
	Topic, Payload string
	Retain         bool
}

// New is a broker that is not started, on a port of its own.
func New(t *testing.T) *Broker {
	t.Helper()
	b := &Broker{t: t, address: porttest.Address(t), more: make(chan struct{}, 1)}
	t.Cleanup(b.keep)
	return b
}

// keep keeps all that was published.
func (b *Broker) keep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all strings.Builder
	for _, m := range b.seen {
		fmt.Fprintf(&all, "%s %s\n", m.Topic, m.Payload)
	}
	canary.Keep(b.t, "mqtt", []byte(all.String()))
}

// URL is where it listens once it is started.
func (b *Broker) URL() string {
	switch {
	case b.WebSocket:
		return "ws://" + b.address
	case b.TLS != nil:
		return "mqtts://" + b.address
	}
	return "mqtt://" + b.address
}

// Start starts it, again on the same port.
func (b *Broker) Start() {
	b.t.Helper()
	listener, err := net.Listen("tcp", b.address)
	b.must(err)
	b.address = listener.Addr().String()
	if b.TLS != nil {
		listener = tls.NewListener(listener, b.TLS)
	}
	b.conns = &conns{Listener: listener}
	b.server = mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	rule := auth.AuthRule{Allow: true}
	if b.Login.Username != "" {
		rule.Username, rule.Password = auth.RString(b.Login.Username), auth.RString(b.Login.Password)
	}
	ledger := &auth.Ledger{Auth: auth.AuthRules{rule}}
	if b.Unread != "" {
		ledger.ACL = auth.ACLRules{{Filters: auth.Filters{auth.RString(b.Unread): auth.WriteOnly}}, {}} // the second is for all else
	}
	b.must(b.server.AddHook(new(auth.Hook), &auth.Options{Ledger: ledger}))
	// Before anyone can connect, so that nothing is missed.
	b.must(b.server.Subscribe("#", 1, b.see))
	if b.WebSocket {
		b.must(listener.Close())
		b.must(b.server.AddListener(listeners.NewWebsocket(listeners.Config{ID: "test", Address: b.address})))
	} else {
		b.must(b.server.AddListener(listeners.NewNet("test", b.conns)))
	}
	b.must(b.server.Serve())
}

// Stop stops it; what is retained is gone. A client that connects at this very
// moment would keep the server from ending, so connections are closed until it has.
func (b *Broker) Stop() {
	b.t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- b.server.Close() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-closed:
			b.must(err)
			return
		case <-tick.C:
			b.conns.closeAll()
		}
	}
}

// UntilAlone waits until no client is connected. One that comes back under its name
// before the server is done with its last connection may lose its subscriptions.
func (b *Broker) UntilAlone() {
	b.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if b.alone() {
			return
		}
	}
	b.t.Fatalf("a client was still there after %s", patience)
}

func (b *Broker) alone() bool {
	if b.server == nil {
		return true
	}
	for _, c := range b.server.Clients.GetAll() {
		if !c.Net.Inline {
			return false
		}
	}
	return true
}

// conns is a listener that knows its connections.
type conns struct {
	net.Listener

	mu  sync.Mutex
	all []net.Conn
}

// Accept waits for the next connection.
func (l *conns) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.all = append(l.all, c)
		l.mu.Unlock()
	}
	return c, err
}

func (l *conns) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.all {
		_ = c.Close()
	}
}

// Cut cuts every client's connection.
func (b *Broker) Cut() {
	for _, c := range b.server.Clients.GetAll() {
		if !c.Net.Inline {
			c.Stop(io.EOF)
		}
	}
}

// Publish publishes as a client would.
func (b *Broker) Publish(topic, payload string, retain bool) {
	b.t.Helper()
	b.must(b.server.Publish(topic, []byte(payload), retain, 1))
}

func (b *Broker) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *Broker) see(_ *mqtt.Client, _ packets.Subscription, p packets.Packet) {
	b.mu.Lock()
	b.seen = append(b.seen, Message{p.TopicName, string(p.Payload), p.FixedHeader.Retain})
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// Seen is all that was published since the last Forget, on a topic or, for "",
// on all.
func (b *Broker) Seen(topic string) []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []Message
	for _, m := range b.seen {
		if topic == "" || m.Topic == topic {
			found = append(found, m)
		}
	}
	return found
}

// Forget forgets what was published.
func (b *Broker) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = nil
}

// Until waits until a message satisfies ok, and returns it.
func (b *Broker) Until(what string, ok func(Message) bool) Message {
	b.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		for _, m := range b.Seen("") {
			if ok(m) {
				return m
			}
		}
		select {
		case <-b.more:
		case <-limit.C:
			b.t.Fatalf("not published within %s: %s", patience, what)
		}
	}
}

// UntilIs waits for a payload on a topic.
func (b *Broker) UntilIs(topic, payload string) Message {
	b.t.Helper()
	return b.Until(topic+" "+payload, func(m Message) bool { return m.Topic == topic && m.Payload == payload })
}
