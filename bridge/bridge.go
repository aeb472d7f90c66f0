package bridge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/discovery"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Options are what the gateway is told besides its configuration.
type Options struct {
	Version string
	Log     zerolog.Logger
	// Observe sees every valid reading, before it is published; nil: nobody
	// looks. It must not keep the reading and must not block.
	Observe func(meter string, r *drivers.Reading)
}

// Bridge is a gateway between configured meters and one broker.
type Bridge struct {
	config  config.Config
	options Options
	link    *mqttlink.Link
	meters  []*meter
	started time.Time

	// newcomer holds a token when Home Assistant or a broker has come and must
	// be told everything. Filled from handlers that must not block.
	newcomer chan struct{}

	journal *journal.Journal
	drain   drain
}

// New makes a gateway; Run starts it. An error is one of the configuration.
func New(c config.Config, o Options) (*Bridge, error) {
	b := &Bridge{config: c, options: o, newcomer: make(chan struct{}, 1)}
	secure, err := c.MQTT.TLS()
	if err != nil {
		return nil, err
	}
	b.link = newLink(c, o, secure)
	for _, m := range c.Meters {
		f, err := newFactors(m.Factor, m.VoltageFactor)
		if err != nil {
			return nil, fmt.Errorf("meter %s: factor × voltage_factor: %w", m.Name, err)
		}
		b.meters = append(b.meters, b.newMeter(m, f))
	}
	b.link.OnConnect(b.onConnect)
	b.link.OnLost(b.onLost)
	if c.HomeAssistant.Discovery {
		b.link.Subscribe(c.HomeAssistant.StatusTopic, b.onStatus)
	}
	return b, nil
}

func newLink(c config.Config, o Options, secure *tls.Config) *mqttlink.Link {
	options := mqttlink.Options{
		URL: c.MQTT.URL, ClientID: c.MQTT.ClientID, Username: c.MQTT.Username, TLS: secure,
		Will: mqttlink.Message{Topic: bridgeAvailability(c.MQTT.Base), Payload: []byte(offline), Retain: true},
		Log:  o.Log,
	}
	if !c.MQTT.Password.IsZero() {
		options.Password = c.MQTT.Password.Reveal
	}
	return mqttlink.New(options)
}

func (b *Bridge) newMeter(c config.Meter, f factors) *meter {
	m := &meter{
		config: c, base: b.config.MQTT.Base, version: b.options.Version, values: b.config.MQTT.Values,
		topics: topicsOf(b.config.MQTT.Base, c.Name), link: b.link, factors: f, guard: plausible.New(limitsOf(c)),
		log: b.options.Log.With().Str("meter", c.Name).Logger(),
	}
	if b.config.HomeAssistant.Discovery {
		m.prefix = b.config.HomeAssistant.Prefix
	}
	return m
}

// limitsOf are what the meter's connection can deliver.
func limitsOf(c config.Meter) plausible.Limits {
	return plausible.Limits{Power: c.MaxPower.Float64() / 1000, Flow: c.MaxFlow.Float64()}
}

// Run runs the gateway until ctx ends, which is no error. Lines end first, so
// that the broker hears the last of them.
func (b *Bridge) Run(ctx context.Context) error {
	b.started = time.Now()
	state, err := openState(string(b.config.State.Dir), b.options.Log)
	if err != nil {
		return err
	}
	defer state.close()
	if err := b.openJournal(state); err != nil {
		return err
	}
	linkCtx, endLink := context.WithCancel(context.WithoutCancel(ctx))
	defer endLink()
	var broker errgroup.Group
	broker.Go(func() error { return b.link.Run(linkCtx, b.lastWords) })

	lines, ctx := errgroup.WithContext(ctx)
	for _, m := range b.meters {
		l := line{
			meter: m, observe: b.options.Observe, log: m.log,
			zones: drivers.Zones{Meter: m.config.Timezone, Host: time.Local},
		}
		lines.Go(func() error { return l.run(ctx) })
	}
	lines.Go(func() error { b.keepHouse(ctx); return nil })
	lines.Go(func() error { b.keepDraining(ctx); return nil })
	b.options.Log.Info().Str("version", b.options.Version).Int("meters", len(b.meters)).Msg("gateway started")
	err = lines.Wait()
	endLink()
	err = errors.Join(err, broker.Wait(), b.journal.Close())
	b.options.Log.Info().Msg("gateway stopped")
	return err
}

// openJournal opens what keeps readings until the broker has them.
func (b *Bridge) openJournal(s *state) error {
	j, err := journal.Open(s.journalDir(), int64(b.config.State.Max), b.started, func(err error) {
		b.options.Log.Error().Err(err).Str("hint", drivers.Hint(err)).Msg("journal")
	})
	if err != nil {
		return drivers.WithHint(fmt.Errorf("state.dir: %w", err), "name a folder that can be written to")
	}
	b.journal = j
	acked := j.Acked
	for _, m := range b.meters {
		m.journal, m.acked = j, acked
	}
	return nil
}

// onConnect runs when a broker has come, onLost when it has gone, both on the
// link's goroutine.
func (b *Bridge) onConnect() {
	b.journal.Back()
	b.introduce(time.Now())
}

func (b *Bridge) onLost() {
	b.drain.reset()
	b.journal.Away()
}

// keepHouse does what only time brings, and introduces the gateway to Home
// Assistant when that has come.
func (b *Bridge) keepHouse(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for minutes := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-b.newcomer:
			b.introduce(time.Now())
		case now := <-tick.C:
			for _, m := range b.meters {
				m.tick(now)
			}
			if m := int(now.Sub(b.started) / time.Minute); m != minutes {
				minutes = m
				b.publishInfo(now)
			}
		}
	}
}

// onStatus hears Home Assistant's birth. It runs on the client's goroutine.
func (b *Bridge) onStatus(m mqttlink.Received) {
	if string(m.Payload) != online {
		return
	}
	select {
	case b.newcomer <- struct{}{}:
	default: // one is waiting already
	}
}

// introduce publishes everything that a new broker or Home Assistant must know:
// the bridge's own device before those that hang on it.
func (b *Bridge) introduce(now time.Time) {
	b.publish(bridgeAvailability(b.config.MQTT.Base), []byte(online))
	b.publishInfo(now)
	if b.config.HomeAssistant.Discovery {
		d := discovery.Bridge(b.discoveryTopics(), b.options.Version)
		b.publish(d.Topic, d.Payload)
	}
	for _, m := range b.meters {
		m.introduce(now)
	}
}

func (b *Bridge) discoveryTopics() discovery.Topics {
	return discovery.Topics{Base: b.config.MQTT.Base, Prefix: b.config.HomeAssistant.Prefix}
}

func (b *Bridge) publish(topic string, payload []byte) {
	b.link.Publish(mqttlink.Message{Topic: topic, Payload: payload, Retain: true})
}

// bridgeInfoPayload is the payload of BASE/bridge/info.
type bridgeInfoPayload struct {
	Version string   `json:"version"`
	Meters  []string `json:"meters"`
	Started string   `json:"started"`
	Uptime  int64    `json:"uptime"` // seconds
}

func (b *Bridge) publishInfo(now time.Time) {
	info := bridgeInfoPayload{
		Version: b.options.Version, Meters: make([]string, 0, len(b.meters)),
		Started: b.started.UTC().Format(time.RFC3339), Uptime: int64(now.Sub(b.started) / time.Second),
	}
	for _, m := range b.meters {
		info.Meters = append(info.Meters, m.config.Name)
	}
	b.publish(bridgeInfo(b.config.MQTT.Base), mustJSON(info))
}

// lastWords are published before a clean disconnect, which sends no will.
func (b *Bridge) lastWords() []mqttlink.Message {
	var last []mqttlink.Message
	for _, m := range b.meters {
		last = append(last, mqttlink.Message{Topic: m.topics.availability, Payload: []byte(offline), Retain: true})
	}
	return append(last, mqttlink.Message{
		Topic: bridgeAvailability(b.config.MQTT.Base), Payload: []byte(offline), Retain: true,
	})
}
