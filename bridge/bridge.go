package bridge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/bridge/roots"
	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/bridge/supervisor"
	"github.com/meter2mqtt/meter2mqtt/discovery"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// Options are what the gateway is told besides its configuration.
type Options struct {
	Version string
	Log     zerolog.Logger
	// Observe sees every valid reading, before it is published; nil: nobody
	// looks. It must not keep the reading and must not block.
	Observe func(meter string, r *drivers.Reading)
	// Reload reads the configuration anew, when a signal comes on Hangup or a
	// request by MQTT; nil: it cannot be reloaded.
	Reload func() (config.Config, error)
	Hangup <-chan os.Signal
	// SetLogLevel changes how much Log writes; nil: it cannot be changed.
	SetLogLevel func(zerolog.Level)
	// Beat is called each second as long as the gateway does its work; nil: nobody
	// watches. It must not block.
	Beat func(now time.Time)
}

// Bridge is a gateway between configured meters and one broker.
type Bridge struct {
	config  config.Config
	options Options
	link    *mqttlink.Link
	devices *devices
	started time.Time

	mu       sync.Mutex // guards what follows
	meters   []*meter
	past     map[string][]string // meters that are no more → their topics that may be retained
	byKey    map[string]*line    // the lines of meters that are asked, by lineKey
	job      *scanJob            // the last search; nil: none
	paused   map[string]bool     // lines that were told to rest, by lineKey
	logLevel string

	// newcomer holds a token when Home Assistant has come and must be told
	// everything, requests what was asked for. Both are filled by handlers that
	// must not block.
	newcomer chan struct{}
	requests chan mqttlink.Received

	polls   chan struct{} // one for each request to poll that is not answered yet
	polling sync.WaitGroup

	housekeeping, draining pulse

	state   *state
	journal *journal.Journal
	drain   drain
	lines   lines
	crowd   *crowd
	ledger  ledger
	answers answers
	saved   time.Time     // the memory
	saving  time.Duration // how long that took
	read    time.Time     // the configuration, when that was asked for by MQTT
	late    *lateHours    // nil: Home Assistant's statistics are left alone
}

// New makes a gateway; Run starts it. An error is one of the configuration.
func New(c config.Config, o Options) (*Bridge, error) {
	b := &Bridge{
		config: c, options: o, newcomer: make(chan struct{}, 1), requests: make(chan mqttlink.Received, maxRequests),
		polls:  make(chan struct{}, maxRequests),
		crowd:  newCrowd(maxAsked),
		byKey:  map[string]*line{},
		paused: map[string]bool{}, logLevel: c.Log.Level.String(),
	}
	secure, err := c.MQTT.TLS()
	if err != nil {
		return nil, err
	}
	b.drain.more = make(chan struct{}, 1)
	b.link = newLink(c, o, secure)
	b.devices = &devices{link: b.link}
	b.answers.link = b.link
	b.tellSharedKeys(c.Meters)
	b.late = b.newLateHours()
	for _, c := range c.Meters {
		m, err := b.newMeter(c)
		if err != nil {
			return nil, err
		}
		b.meters = append(b.meters, m)
	}
	b.link.OnConnect(b.onConnect)
	b.link.OnLost(b.onLost)
	if c.HomeAssistant.Discovery {
		b.link.Subscribe(c.HomeAssistant.StatusTopic, b.onStatus)
	}
	b.link.Subscribe(requestTopic(c.MQTT.Base, "+"), b.onRequest)
	for _, filter := range commandFilters(c.MQTT.Base) {
		b.link.Subscribe(filter, b.onCommand)
	}
	return b, nil
}

func newLink(c config.Config, o Options, secure *tls.Config) *mqttlink.Link {
	return mqttlink.New(linkOptions(c, o, secure))
}

func linkOptions(c config.Config, o Options, secure *tls.Config) mqttlink.Options {
	options := mqttlink.Options{
		URL: c.MQTT.URL, ClientID: c.MQTT.ClientID, Username: c.MQTT.Username, TLS: secure,
		Will: mqttlink.Message{Topic: bridgeAvailability(c.MQTT.Base), Payload: []byte(offline), Retain: true},
		Log:  o.Log,
	}
	if !c.MQTT.Password.IsZero() {
		options.Password = c.MQTT.Password.Reveal
	}
	if c.MQTT.URL == "" {
		options.Find = supervisorsBroker(supervisor.Client{Token: c.Supervisor})
	}
	return options
}

// supervisorsBroker finds the broker of the Home Assistant that the app runs in.
func supervisorsBroker(client supervisor.Client) func(context.Context) (mqttlink.Address, error) {
	return func(ctx context.Context) (mqttlink.Address, error) {
		broker, err := client.Broker(ctx)
		if err != nil {
			return mqttlink.Address{}, err
		}
		if strings.HasPrefix(broker.URL, "mqtts:") {
			roots.Ensure()
		}
		return mqttlink.Address{URL: broker.URL, Username: broker.Username, Password: broker.Password.Reveal}, nil
	}
}

func (b *Bridge) newMeter(c config.Meter) (*meter, error) {
	f, err := newFactors(c.Factor, c.VoltageFactor)
	if err != nil {
		return nil, fmt.Errorf("meter %s: factor × voltage_factor: %w", c.Name, err)
	}
	m := &meter{
		config: c, base: b.config.MQTT.Base, version: b.options.Version, values: b.config.MQTT.Values,
		topics: topicsOf(b.config.MQTT.Base, c.Name), link: b.link, devices: b.devices,
		ledger: &b.ledger, answers: &b.answers, shown: map[string]string{},
		factors: f, guard: plausible.New(limitsOf(c)),
		log: b.options.Log.With().Str("meter", c.Name).Logger(),
	}
	if b.config.HomeAssistant.Discovery {
		m.prefix = b.config.HomeAssistant.Prefix
	}
	if b.late != nil {
		m.registers = &registers{}
	}
	if b.config.HTTP.Listen != "" || b.config.HTTP.Ingress != "" {
		m.trend = &trend{}
	}
	if known := c.Driver.Parameters; known != nil {
		m.parameters = sharedParameters(known(c.Options))
	}
	return m, nil
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
	b.state = state
	if err := b.openJournal(); err != nil {
		return err
	}
	b.recall()
	b.late.recall(b.everyMeter())
	b.recallCommands()
	linkCtx, endLink := context.WithCancel(context.WithoutCancel(ctx))
	defer endLink()
	var broker errgroup.Group
	broker.Go(func() error { return b.link.Run(linkCtx, b.lastWords) })
	broker.Go(func() error { b.serveWeb(linkCtx); return nil })

	b.startLines(ctx, b.everyMeter())
	var keepers errgroup.Group
	keepers.Go(func() error { b.keepHouse(ctx); return nil })
	keepers.Go(func() error { b.keepDraining(ctx); return nil })
	keepers.Go(func() error { b.late.run(ctx); return nil })
	b.options.Log.Info().Str("version", b.options.Version).Int("meters", len(b.config.Meters)).Msg("gateway started")
	err = keepers.Wait()
	b.lines.wait()
	b.polling.Wait()
	endLink()
	err = errors.Join(err, broker.Wait(), b.journal.Close())
	b.save(time.Now())
	b.late.save(time.Now())
	b.options.Log.Info().Msg("gateway stopped")
	return err
}

// startLines reads meters until their lines are stopped or ctx ends: one line a
// port.
func (b *Bridge) startLines(ctx context.Context, meters []*meter) { b.startLinesWith(ctx, meters, nil) }

// startLinesWith has the lines recorded, if r is not nil.
func (b *Bridge) startLinesWith(ctx context.Context, meters []*meter, r *recording) {
	var order []string
	byPort := map[string][]*meter{}
	for _, m := range meters {
		m.journal, m.acked = b.journal, b.journal.Acked
		m.caution()
		key := m.lineKey()
		if byPort[key] == nil {
			order = append(order, key)
		}
		byPort[key] = append(byPort[key], m)
	}
	for _, key := range order {
		l := newLine(byPort[key], zonesOf, b.options.Observe)
		l.recording, l.crowd = r, b.crowd
		if len(l.meters) > 1 {
			l.log = b.options.Log // what the line does is not the doing of its first meter
		}
		b.startLine(ctx, key, l)
	}
}

// caution says what the meter's configuration gives up.
func (m *meter) caution() {
	if f := m.config.Driver.Caution; f != nil {
		if given := f(m.config.Options); given != "" {
			m.log.Warn().Msg(given)
		}
	}
}

func (b *Bridge) startLine(ctx context.Context, key string, l *line) {
	if len(l.asked) > 0 {
		b.mu.Lock()
		b.byKey[key] = l
		b.mu.Unlock()
	}
	b.lines.start(ctx, key, func(ctx context.Context) {
		defer l.recording.close()
		if err := l.run(ctx); err != nil {
			l.log.Error().Stringer("port", l.meters[0].config.Port).Err(err).Str("hint", drivers.Hint(err)).Msg("the line cannot be used")
		}
	})
}

// lineKey tells lines apart: by their ports, but each meter replays a recording
// for itself.
func (m *meter) lineKey() string {
	if m.config.Port.Scheme == transport.Replay {
		return "replay " + m.config.Name
	}
	return m.config.Port.Key()
}

func zonesOf(m *meter) drivers.Zones {
	return drivers.Zones{Meter: m.config.Timezone, Host: time.Local}
}

// everyMeter is a copy of the list, for it may change while one works on it.
func (b *Bridge) everyMeter() []*meter {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.meters)
}

// openJournal opens what keeps readings until the broker has them.
func (b *Bridge) openJournal() error {
	j, err := journal.Open(b.state.journalDir(), int64(b.config.State.Max), b.started, func(err error) {
		b.options.Log.Error().Err(err).Str("hint", drivers.Hint(err)).Msg("journal")
	})
	if err != nil {
		return drivers.WithHint(fmt.Errorf("state.dir: %w", err), "name a folder that can be written to")
	}
	b.journal = j
	return nil
}

// onConnect runs when a broker has come, onLost when it has gone, both on the
// link's goroutine.
func (b *Bridge) onConnect() {
	b.journal.Back()
	b.late.brokerIs(true, time.Now())
	b.introduce(time.Now())
	b.answers.resend()
	b.sweep()
}

func (b *Bridge) onLost() {
	b.drain.reset()
	b.answers.lost()
	b.journal.Away()
	b.late.brokerIs(false, time.Now())
}

// introduceEvery is the least time between two introductions that were asked for.
const introduceEvery = time.Second

// keepHouse does what only time brings, introduces the gateway to Home Assistant
// when that has come, and answers requests.
func (b *Bridge) keepHouse(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	// Home Assistant is served at once, but only so often: anyone can publish its
	// birth, and what is sent then would crowd out all else.
	var introduced time.Time
	newcomer := b.newcomer
	var thrift thrift
	for minutes := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-newcomer:
			introduced, newcomer = time.Now(), nil
			b.introduce(introduced)
		case <-b.options.Hangup:
			_ = b.reload(ctx) // it has logged what is wrong
		case r := <-b.requests:
			b.answer(ctx, r)
		case now := <-tick.C:
			if b.options.Beat != nil {
				b.options.Beat(now)
			}
			b.housekeeping.beat(now.Sub(b.started))
			for _, m := range b.everyMeter() {
				m.tick(now)
			}
			b.saveIfDue(now)
			b.late.saveIfDue(now)
			thrift.tick(now, b.saved)
			if now.Sub(introduced) >= introduceEvery {
				newcomer = b.newcomer
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
	b.announce()
	for _, m := range b.everyMeter() {
		m.introduce(now)
	}
}

// announce publishes the bridge's own device: a meter a line stands for the line.
func (b *Bridge) announce() {
	if !b.config.HomeAssistant.Discovery {
		return
	}
	o := discovery.Operation{}
	if b.options.SetLogLevel != nil {
		o.LogLevels = LogLevels
	}
	seen := map[string]bool{}
	for _, m := range b.everyMeter() {
		if key := m.lineKey(); !seen[key] {
			seen[key] = true
			o.Lines = append(o.Lines, m.config.Name)
		}
	}
	topics := discovery.Topics{Base: b.config.MQTT.Base, Prefix: b.config.HomeAssistant.Prefix}
	b.devices.announce(ourselves, []discovery.Device{discovery.Bridge(topics, b.options.Version, o)})
}

// ourselves stands for a meter's name where the bridge's own device is meant.
const ourselves = ""

func (b *Bridge) publish(topic string, payload []byte) {
	b.link.Publish(mqttlink.Message{Topic: topic, Payload: payload, Retain: true})
}

// bridgeInfoPayload is the payload of BASE/bridge/info.
type bridgeInfoPayload struct {
	Version string         `json:"version"`
	Meters  []string       `json:"meters"`
	Started string         `json:"started"`
	Uptime  int64          `json:"uptime"` // seconds
	Journal status.Journal `json:"journal"`
	Level   string         `json:"log_level"`
}

func (b *Bridge) publishInfo(now time.Time) {
	info := bridgeInfoPayload{
		Version: b.options.Version, Meters: []string{},
		Started: b.started.UTC().Format(time.RFC3339), Uptime: int64(now.Sub(b.started) / time.Second),
	}
	info.Journal.Waiting, info.Journal.Bytes, info.Journal.Dropped = b.journal.Depth()
	b.mu.Lock()
	info.Level = b.logLevel
	b.mu.Unlock()
	for _, m := range b.everyMeter() {
		info.Meters = append(info.Meters, m.config.Name)
	}
	b.publish(bridgeInfo(b.config.MQTT.Base), mustJSON(info))
}

// lastWords are published before a clean disconnect, which sends no will.
func (b *Bridge) lastWords() []mqttlink.Message {
	var last []mqttlink.Message
	for _, m := range b.everyMeter() {
		last = append(last, mqttlink.Message{Topic: m.topics.availability, Payload: []byte(offline), Retain: true})
	}
	return append(last, mqttlink.Message{
		Topic: bridgeAvailability(b.config.MQTT.Base), Payload: []byte(offline), Retain: true,
	})
}
