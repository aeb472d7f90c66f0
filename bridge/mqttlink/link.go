// Package mqttlink keeps a session with an MQTT broker alive: will, login, TLS,
// reconnection for ever, QoS 1 without waiting for each acknowledgement. It is
// the only importer of the paho client.
//
// # Decision: a new client a connection
//
// paho can reconnect by itself, but its history of deadlocks lies exactly there.
// So each connection is a new client with an empty memory store, thrown away
// when the connection is lost, and the Outbox above it decides what is sent
// anew. A client that stops acknowledging is replaced the same way.
package mqttlink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	connectTimeout = 10 * time.Second
	keepAlive      = 30 * time.Second
	// ackTimeout is how long the broker may owe an acknowledgement before the
	// connection is taken for dead: a stalled broker looks the same as a slow
	// one until then, and only the newest state waits behind it.
	ackTimeout = 45 * time.Second
	// writeTimeout is how long the client may try to write one message, and
	// hangTimeout how long one call into it may take before it is replaced.
	writeTimeout = 5 * time.Second
	hangTimeout  = 2 * writeTimeout
	watchEvery   = time.Second
	// leaveTimeout is how long the broker may take to hear the last words.
	leaveTimeout = 2 * time.Second
	// maxInFlight bounds what is sent and not acknowledged.
	maxInFlight = 256
	// maxFilters go into one SUBSCRIBE: more than eight some brokers refuse.
	maxFilters = 8
	// firstPause and longestPause bound the wait between attempts.
	firstPause, longestPause = 500 * time.Millisecond, 30 * time.Second
)

// Options say which broker, and as whom.
type Options struct {
	URL      string // mqtt://, mqtts://, ws:// or wss://host:port
	ClientID string
	Username string
	Password func() string // asked at each connection; nil: none
	// Find is asked at each connection which broker it shall be, and says it in
	// place of the three above; nil: they hold.
	Find func(context.Context) (Address, error)
	TLS  *tls.Config // for mqtts and wss; nil: the system's roots
	Will Message     // published by the broker when the connection dies
	Log  zerolog.Logger
}

// Address is a broker, and how to log in to it.
type Address struct {
	URL      string
	Username string
	Password func() string // nil: none
}

// Message is one publication. Its payload belongs to the link once it was
// handed over.
type Message struct {
	Topic   string
	Payload []byte
	Retain  bool
	// Keep says that it must not be replaced by a newer one of its topic while
	// both wait: an event rather than a state.
	Keep bool
	// Acked is called with Number once the broker has acknowledged it, from the
	// link's goroutine: it must not block. A message that was replaced, dropped or
	// lost with its connection is never acknowledged. nil: nobody wants to know.
	Acked  func(number uint64)
	Number uint64
}

// Received is a message of a subscription.
type Received struct {
	Topic    string
	Payload  []byte
	Retained bool
}

// Link is a session with one broker.
type Link struct {
	options Options
	outbox  *outbox
	door    door       // before what subscriptions bring
	mu      sync.Mutex // guards what follows
	subs    []subscription
	client  paho.Client // connected; nil: there is none

	connected func()
	lost      func()
	strays    sync.WaitGroup // sessions that may still be inside a client
}

type subscription struct {
	filter string
	handle func(Received)
	line   *topicLine // that it feeds; nil: none
}

// New makes a link; Run connects it.
func New(o Options) *Link {
	return &Link{options: o, outbox: newOutbox()}
}

// Subscribe has handle called for each message of a topic filter, from the next
// connection on. handle runs on the client's own goroutine: it must not block.
// Call it before Run.
func (l *Link) Subscribe(filter string, handle func(Received)) {
	l.subs = append(l.subs, subscription{filter: filter, handle: handle})
}

// OnConnect sets what is done at each connection, once subscriptions stand:
// everything that a new broker must know is published there. Call it before Run.
func (l *Link) OnConnect(f func()) { l.connected = f }

// OnLost sets what is done when a connection is over, whatever the reason: what
// was not acknowledged by then never will be. Call it before Run.
func (l *Link) OnLost(f func()) { l.lost = f }

// Publish hands a message over and returns at once. While the broker is slow, a
// newer message of a topic takes the older one's place; while it is away,
// messages are dropped, since OnConnect publishes the present state anew. false:
// dropped.
func (l *Link) Publish(m Message) bool { return l.outbox.put(m) }

// Connected says whether a broker is there at the moment.
func (l *Link) Connected() bool { return l.outbox.isOpen() }

// Run connects and reconnects until ctx ends; then it publishes last, takes
// leave and returns nil.
func (l *Link) Run(ctx context.Context, last func() []Message) error {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: firstPause, MaxInterval: longestPause,
		Multiplier: 2, RandomizationFactor: 0.3,
	}
	pause.Reset()
	defer l.strays.Wait()
	told := "" // what was last said about a broker that is not there
	for ctx.Err() == nil {
		lost := make(chan error, 1)
		client, err := l.connect(ctx, lost)
		if err == nil {
			pause.Reset()
			l.tellReturn(&told)
			err = l.session(ctx, client, lost)
			if ctx.Err() != nil {
				l.leave(ctx, client, last())
			}
			l.outbox.close()
			l.setClient(nil)
			if l.lost != nil {
				l.lost()
			}
			client.Disconnect(0)
		}
		if ctx.Err() != nil {
			return nil
		}
		l.tellLoss(&told, err)
		wait(ctx, pause.NextBackOff())
	}
	return nil
}

func (l *Link) tellReturn(told *string) {
	l.options.Log.Info().Str("broker", l.options.URL).Msg("broker connected")
	*told = ""
}

// tellLoss says once why there is no broker, and again only when the reason
// changes.
func (l *Link) tellLoss(told *string, err error) {
	if err.Error() == *told {
		l.options.Log.Debug().Err(err).Msg("broker still away")
		return
	}
	*told = err.Error()
	e := l.options.Log.Warn().Str("broker", l.options.URL).Err(err)
	if h := hint(err, l.options); h != "" {
		e = e.Str("hint", h)
	}
	e.Msg("broker away, trying again until it is back")
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// find asks which broker it shall be.
func (l *Link) find(ctx context.Context) error {
	if l.options.Find == nil {
		return nil
	}
	a, err := l.options.Find(ctx)
	if err != nil {
		return err
	}
	l.options.URL, l.options.Username, l.options.Password = a.URL, a.Username, a.Password
	return nil
}

// connect makes a client, connects it and subscribes.
func (l *Link) connect(ctx context.Context, lost chan<- error) (paho.Client, error) {
	if err := l.find(ctx); err != nil {
		return nil, err
	}
	client := paho.NewClient(l.clientOptions(lost))
	l.door.shut()
	if err := await(ctx, client.Connect(), connectTimeout); err != nil {
		client.Disconnect(0)
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := l.subscribeAll(ctx, client, l.subscriptions(client)); err != nil {
		l.setClient(nil)
		client.Disconnect(0)
		return nil, err
	}
	return client, nil
}

// subscriptions are those that a client which has just connected must make; what
// is added from now on, whoever adds it subscribes to.
func (l *Link) subscriptions(client paho.Client) []subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client = client
	return slices.Clone(l.subs)
}

func (l *Link) setClient(client paho.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client = client
}

// drop forgets the subscription of a line, and gives the client that still has it:
// none if another line has the same topic.
func (l *Link) drop(t *topicLine) paho.Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subs = slices.DeleteFunc(l.subs, func(s subscription) bool { return s.line == t })
	if slices.ContainsFunc(l.subs, func(s subscription) bool { return s.filter == t.topic }) {
		return nil
	}
	return l.client
}

// subscribeAll asks for all before it waits for the first answer. What the broker
// does not grant is told and done without: readings matter more.
//
// Many filters go into one packet: answers to small packets one behind the other wait
// for the acknowledgement of the first in many brokers, which costs 40 ms.
func (l *Link) subscribeAll(ctx context.Context, client paho.Client, subs []subscription) error {
	packets := slices.Collect(slices.Chunk(subs, maxFilters))
	answers := make([]paho.Token, len(packets))
	for i, some := range packets {
		answers[i] = l.ask(client, some...)
	}
	for i, some := range packets {
		if err := await(ctx, answers[i], connectTimeout); err != nil {
			return fmt.Errorf("subscribe to %s and what else is heard: %w", some[0].filter, err)
		}
		for j := range some {
			if err := some[j].granted(answers[i]); err != nil {
				l.options.Log.Warn().Err(err).Str("hint", drivers.Hint(err)).Msg("not heard of the broker")
			}
		}
	}
	return nil
}

// ask sends one packet for all subs.
func (l *Link) ask(client paho.Client, subs ...subscription) paho.Token {
	filters := make(map[string]byte, len(subs))
	for _, s := range subs {
		filters[s.filter] = 1
		client.AddRoute(s.filter, func(_ paho.Client, m paho.Message) {
			l.door.pass(func() { s.handle(Received{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained()}) })
		})
	}
	return client.SubscribeMultiple(filters, nil)
}

// granted tells whether the broker's answer is a yes.
func (s *subscription) granted(answer paho.Token) error {
	if t, ok := answer.(*paho.SubscribeToken); ok && t.Result()[s.filter] == refused {
		return drivers.WithHint(fmt.Errorf("subscribe to %s: %w", s.filter, errNotGranted),
			"let the user that mqtt.username names read it, in the broker's access list")
	}
	return nil
}

// refused is the return code of a subscription that failed, MQTT 3.1.1, 3.9.3.
const refused = 0x80

var errNotGranted = errors.New("the broker does not grant it")

func (l *Link) clientOptions(lost chan<- error) *paho.ClientOptions {
	o := paho.NewClientOptions().
		AddBroker(pahoURL(l.options.URL)).
		SetClientID(l.options.ClientID).
		SetCleanSession(true).
		SetProtocolVersion(4).
		SetKeepAlive(keepAlive).
		SetPingTimeout(connectTimeout).
		SetConnectTimeout(connectTimeout).
		SetWriteTimeout(writeTimeout).
		SetAutoReconnect(false).
		SetConnectRetry(false)
	if w := l.options.Will; w.Topic != "" { // without a will its retain flag must not be set either
		o.SetBinaryWill(w.Topic, w.Payload, 1, w.Retain)
	}
	o.SetConnectionLostHandler(func(_ paho.Client, err error) {
		select {
		case lost <- err:
		default:
		}
	})
	if l.options.Username != "" {
		o.SetUsername(l.options.Username)
	}
	if l.options.Password != nil {
		o.SetPassword(l.options.Password())
	}
	if l.options.TLS != nil {
		o.SetTLSConfig(l.options.TLS)
	}
	return o
}

// pahoURL writes a URL the way paho's dialer knows it.
func pahoURL(u string) string {
	switch {
	case len(u) > 7 && u[:7] == "mqtt://":
		return "tcp://" + u[7:]
	case len(u) > 8 && u[:8] == "mqtts://":
		return "ssl://" + u[8:]
	}
	return u
}

var errNoAnswer = errors.New("no answer in time")

// await waits for a token, the context or the limit, whichever is first.
func await(ctx context.Context, t paho.Token, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errNoAnswer
	}
}

// session sends what the outbox holds until the connection is lost, the broker
// stops acknowledging, the client hangs, or ctx ends.
//
// A call into a client whose connection has just gone can block until its own
// time-out for writing. Nobody waits for that here: the goroutine is left
// behind, finds its turn over when it wakes, and Run waits for it at its end.
func (l *Link) session(ctx context.Context, client paho.Client, lost <-chan error) error {
	s := &session{link: l, client: client, quit: make(chan struct{})}
	s.turn, s.filled = l.outbox.open()
	if l.connected != nil {
		l.connected()
	}
	l.door.open()
	ended := make(chan error, 1)
	l.strays.Go(func() { ended <- s.run(ctx) })
	watch := time.NewTicker(watchEvery)
	defer watch.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case err := <-lost:
			s.giveUp()
			return fmt.Errorf("connection lost: %w", err)
		case <-watch.C:
			if err := s.check(); err != nil {
				s.giveUp()
				return err
			}
		}
	}
}

// leave sends what still waits and the last words, though ctx has ended. A clean
// disconnect sends no will, so they take its place.
func (l *Link) leave(ctx context.Context, client paho.Client, last []Message) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	for _, m := range append(l.outbox.drain(), last...) {
		if err := await(ctx, client.Publish(m.Topic, 1, m.Retain, m.Payload), leaveTimeout); err != nil {
			l.options.Log.Warn().Err(err).Msg("last words did not reach the broker")
			return
		}
		if m.Acked != nil {
			m.Acked(m.Number)
		}
	}
}
