package bridge

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/supervisor"
	"github.com/meter2mqtt/meter2mqtt/discovery"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/hass/socket"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

const (
	// lookEvery is how often open holes are looked at: Home Assistant makes a row
	// each five minutes.
	lookEvery = 20 * time.Second
	// calm is how long nothing must have come late, so that a hole is closed in
	// one go.
	calm = 5 * time.Second
	// firstState is how long after Home Assistant runs its entities may still be
	// without a state.
	firstState = 5 * time.Second
	// lateSaveEvery is how often the hours are saved, for the life of SD cards.
	lateSaveEvery = time.Hour
	// lateSaveSoon is how often they are saved while something comes late.
	lateSaveSoon = 20 * time.Second
	// longestWait is how long a hole is left alone at the most.
	longestWait = time.Hour
	// neighbour is how far from a hole Home Assistant's own row may be.
	neighbour = 31 * 24 * time.Hour
	// hopeless is how long after a hole it is still tried to be closed.
	hopeless = 10 * 24 * time.Hour
)

// lateHours puts into Home Assistant's statistics what came late. Its methods do
// nothing on nil: without a token the statistics are left alone.
type lateHours struct {
	url    string
	token  drivers.Secret
	base   string
	meters func() []*meter
	state  func() *state
	log    zerolog.Logger
	wake   chan struct{}

	mu      sync.Mutex
	away    map[string]time.Time // who is away, since when: broker, Home Assistant
	saved   time.Time
	changed bool            // since then
	told    map[string]bool // faults that were told

	next map[string]time.Time // by meter, when its holes are looked at again
}

// Who may be away.
const (
	brokerAway = "broker"
	homeAway   = "home_assistant"
)

// lateMemory is what outlives the program: statistics.json in the state folder.
type lateMemory struct {
	Meters map[string]*registers `json:"meters"`
	Away   map[string]time.Time  `json:"away,omitempty"`
}

// newLateHours says once that there is no token.
func (b *Bridge) newLateHours() *lateHours {
	c := b.config.HomeAssistant
	l := &lateHours{
		url: c.URL, token: c.Token, base: b.config.MQTT.Base, meters: b.everyMeter, state: func() *state { return b.state },
		log: b.options.Log, wake: make(chan struct{}, 1), away: map[string]time.Time{}, told: map[string]bool{},
		next: map[string]time.Time{},
	}
	if l.token.IsZero() {
		l.url, l.token = supervisor.WebSocket, b.config.Supervisor
	}
	switch {
	case !c.Discovery:
		return nil
	case l.token.IsZero():
		b.options.Log.Info().Str("hint", "set homeassistant.url and token").
			Msg("hours that an outage costs stay missing in Home Assistant's statistics")
		return nil
	}
	return l
}

func (l *lateHours) file() string {
	if dir := l.state().dir; dir != "" {
		return filepath.Join(dir, "statistics.json")
	}
	return ""
}

// recall loads what waited before a restart.
func (l *lateHours) recall(meters []*meter) {
	if l == nil {
		return
	}
	known := lateMemory{}
	if file := l.file(); file != "" {
		if err := journal.Load(file, &known); err != nil {
			l.log.Error().Err(err).Msg("hours that waited for Home Assistant's statistics are forgotten")
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = time.Now()
	maps.Copy(l.away, known.Away)
	for _, m := range meters {
		if g := known.Meters[m.config.Name]; g != nil {
			m.mu.Lock()
			m.registers = g
			m.mu.Unlock()
		}
	}
}

// saveIfDue saves once an hour, and when somebody went or came.
func (l *lateHours) saveIfDue(now time.Time) {
	if l == nil {
		return
	}
	l.mu.Lock()
	saved := l.saved
	due := l.changed || now.Sub(saved) >= lateSaveEvery
	l.mu.Unlock()
	if now.Sub(saved) >= lateSaveSoon {
		for _, m := range l.meters() {
			due = due || m.touchedSince(saved)
		}
	}
	if due {
		l.save(now)
	}
}

// touchedSince says whether something came late since then.
func (m *meter) touchedSince(t time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.registers.touched.After(t)
}

// save keeps what waits.
func (l *lateHours) save(now time.Time) {
	if l == nil || l.file() == "" {
		return
	}
	l.mu.Lock()
	l.saved, l.changed = now, false
	keep := lateMemory{Meters: map[string]*registers{}, Away: maps.Clone(l.away)}
	l.mu.Unlock()
	for _, m := range l.meters() {
		keep.Meters[m.config.Name] = m.copyRegisters(now)
	}
	if err := journal.Save(l.file(), keep); err != nil {
		l.log.Error().Err(err).Str("hint", "is the disk full, may state.dir be written to?").
			Msg("hours that wait for Home Assistant's statistics cannot be saved")
	}
}

// copyRegisters is what may be read without the meter's lock.
func (m *meter) copyRegisters(now time.Time) *registers {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.registers.looked = now
	m.registers.prune(now)
	c := &registers{
		Logs: map[string]*statistics.Log{}, Holes: slices.Clone(m.registers.Holes),
		Exchanges: map[string][]statistics.Exchange{}, touched: m.registers.touched,
	}
	for key, log := range m.registers.Logs {
		c.Logs[key] = &statistics.Log{Hours: slices.Clone(log.Hours), Falls: log.Falls}
	}
	for key, x := range m.registers.Exchanges {
		c.Exchanges[key] = slices.Clone(x)
	}
	return c
}

// brokerIs notes that the broker came or went.
func (l *lateHours) brokerIs(there bool, now time.Time) {
	if l == nil {
		return
	}
	l.is(brokerAway, there, now)
}

// is notes that one of those between the meter and the statistics came or went.
// What it left out is a hole of every meter.
func (l *lateHours) is(who string, there bool, now time.Time) {
	l.mu.Lock()
	since, wasAway := l.away[who]
	if there {
		delete(l.away, who)
	} else if !wasAway {
		l.away[who] = now
	}
	l.changed = l.changed || there == wasAway
	l.mu.Unlock()
	if !there || !wasAway {
		return
	}
	for _, m := range l.meters() {
		m.mu.Lock()
		m.registers.hole(statistics.Hole{From: since, To: now})
		m.mu.Unlock()
	}
	l.nudge()
}

// note has what waits saved soon.
func (l *lateHours) note() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = true
}

// nudge has the holes looked at soon.
func (l *lateHours) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run keeps a connection to Home Assistant until ctx ends. A Home Assistant that
// is not there is told once, and when it is back.
func (l *lateHours) run(ctx context.Context) {
	if l == nil {
		return
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = time.Second, time.Minute
	for ctx.Err() == nil {
		err := l.connected(ctx, pause.Reset)
		if ctx.Err() != nil {
			return
		}
		l.is(homeAway, false, time.Now())
		if errors.Is(err, statistics.ErrVersion) {
			l.log.Warn().Err(err).Str("hint", "update Home Assistant").Msg("its statistics are left alone")
			return
		}
		l.tell("connection", err)
		if !sleepUntil(ctx, time.Now().Add(pause.NextBackOff())) {
			return
		}
	}
}

// tell logs a fault once.
func (l *lateHours) tell(what string, err error) {
	l.mu.Lock()
	told := l.told[what]
	l.told[what] = true
	l.mu.Unlock()
	if !told && err != nil {
		l.log.Warn().Err(err).Str("hint", drivers.Hint(err)).Str("what", what).
			Msg("late hours cannot be put into Home Assistant's statistics now")
	}
}

// recovered forgets that a fault was told.
func (l *lateHours) recovered(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.told, what)
}

// connected serves one connection until it ends. healthy is called once it stands.
func (l *lateHours) connected(ctx context.Context, healthy func()) error {
	conn, err := socket.Dial(ctx, l.url, l.token)
	if err != nil {
		return err
	}
	defer conn.Close()
	version, err := statistics.ParseVersion(conn.Version)
	if err != nil {
		return err
	}
	home := &homeStatistics{conn: conn, version: version}
	if err := home.waitUntilRunning(ctx); err != nil {
		return err
	}
	// Home Assistant runs, but its entities may still be without a state.
	if !sleepUntil(ctx, time.Now().Add(firstState)) {
		return nil
	}
	healthy()
	l.recovered("connection")
	l.log.Debug().Str("version", conn.Version).Msg("connected with Home Assistant")
	l.is(homeAway, true, time.Now())
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		l.look(ctx, home, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-conn.Done():
			return errors.New("home assistant ended the connection")
		case <-l.wake:
		case <-tick.C:
		}
	}
}

// look closes what holes can be closed.
func (l *lateHours) look(ctx context.Context, home *homeStatistics, now time.Time) {
	home.entities = nil // they may have been renamed
	for _, m := range l.meters() {
		name := m.config.Name
		if !m.hasLateHours(now, l.next[name]) {
			continue
		}
		wait, err := l.settle(ctx, home, m, m.copyRegisters(now), now)
		l.next[name] = now.Add(wait)
		if err != nil && ctx.Err() == nil {
			l.tell(name, err)
			continue
		}
		l.recovered(name)
	}
}

// hasLateHours says whether there is something to be done for the meter: when it
// is due, or at once if something came late since.
func (m *meter) hasLateHours(now, due time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.registers
	if len(g.Holes) == 0 && len(g.Exchanges) == 0 || now.Sub(g.touched) < calm {
		return false
	}
	return !now.Before(due) || g.touched.After(g.looked)
}

// settle corrects a meter's exchanges and closes its holes. What is done is
// forgotten; what was written is looked at once more. wait is how long to leave
// alone what could not be done yet.
func (l *lateHours) settle(
	ctx context.Context, home *homeStatistics, m *meter, g *registers, now time.Time,
) (wait time.Duration, err error) {
	targets, err := l.targets(ctx, home, m, g)
	if err != nil {
		return lookEvery, err
	}
	for key, waiting := range g.Exchanges {
		if err := l.settleExchanges(ctx, home, m, key, targets[key], waiting, now); err != nil {
			return lookEvery, err
		}
	}
	wait = longestWait
	for _, hole := range g.Holes {
		closed := !hole.HasHour()
		if !closed && !hole.To.After(now) {
			if closed, err = l.closeHole(ctx, home, m, hole, g, targets); err != nil {
				return lookEvery, err
			}
		}
		if closed || now.Sub(hole.To) > hopeless {
			m.forgetHole(hole)
			l.note()
			continue
		}
		wait = min(wait, now.Sub(hole.To)/4) // the longer it lasts, the less it is looked at
	}
	if len(g.Exchanges) > 0 {
		wait = min(wait, lookEvery)
	}
	return wait, nil
}

// forgetHole removes a hole that has not grown meanwhile.
func (m *meter) forgetHole(hole statistics.Hole) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.registers.Holes = slices.DeleteFunc(m.registers.Holes, func(h statistics.Hole) bool {
		return h.From.Equal(hole.From) && h.To.Equal(hole.To)
	})
}

// forgetExchange removes the one that was corrected.
func (m *meter) forgetExchange(key string, x statistics.Exchange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := slices.DeleteFunc(m.registers.Exchanges[key], func(o statistics.Exchange) bool { return o.At.Equal(x.At) })
	if len(left) == 0 {
		delete(m.registers.Exchanges, key)
		return
	}
	m.registers.Exchanges[key] = left
}

// targets are the statistics of a meter's registers, by key. A register without
// an entity, or one of which Home Assistant keeps nothing, has none.
func (l *lateHours) targets(ctx context.Context, home *homeStatistics, m *meter, g *registers) (map[string]target, error) {
	found := map[string]target{}
	for key, log := range g.Logs {
		m.mu.Lock()
		unit, channel, digits := m.unitOf(key)
		m.mu.Unlock()
		device := discovery.DeviceID(l.base, m.config.Name)
		if channel > 0 {
			device = discovery.ChannelID(device, channel)
		}
		t, ok, err := home.target(ctx, discovery.UniqueID(device, key))
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		power, ok := statistics.Power(unit, t.unit())
		if !ok {
			l.tell(t.ID, errors.New("statistic "+t.ID+" is kept in "+string(t.unit())+", the meter counts "+string(unit)))
			continue
		}
		t.power = power
		t.register = statistics.Register{Digits: max(0, digitsOf(log, digits)-power), Falls: log.Falls}
		found[key] = t
	}
	return found, nil
}

// digitsOf are the decimals of a register.
func digitsOf(log *statistics.Log, digits int) int {
	for _, h := range log.Hours {
		digits = max(digits, h.Last.Decimals())
	}
	return digits
}

func (l *lateHours) settleExchanges(
	ctx context.Context, home *homeStatistics, m *meter, key string, t target, waiting []statistics.Exchange, now time.Time,
) error {
	for _, x := range waiting {
		if t.ID == "" && now.Sub(x.At) < time.Hour {
			continue // there may be an entity yet
		}
		done, err := t.ID == "" || now.Sub(x.At) > hopeless, error(nil)
		if !done {
			done, err = home.correct(ctx, t, x)
		}
		if err != nil {
			return err
		}
		if done {
			m.forgetExchange(key, x)
			l.note()
			l.log.Info().Str("meter", m.config.Name).Str("obis", key).Str("statistic", t.ID).
				Msg("the exchange is no consumption in Home Assistant's statistics")
		}
	}
	return nil
}

// closeHole closes a hole of all of a meter's registers. true: nothing is left to
// be done.
func (l *lateHours) closeHole(
	ctx context.Context, home *homeStatistics, m *meter, hole statistics.Hole, g *registers, targets map[string]target,
) (closed bool, err error) {
	closed = true
	for _, key := range slices.Sorted(maps.Keys(targets)) {
		plan, done, err := home.close(ctx, targets[key], hole, g.Logs[key].Hours)
		if err != nil {
			return false, err
		}
		if plan.Writes() {
			l.log.Info().Str("meter", m.config.Name).Str("obis", key).Str("statistic", targets[key].ID).
				Int("hours", len(plan.Import)).Stringer("shift", plan.Shift).Msg("late hours put into Home Assistant's statistics")
		}
		closed = closed && done
	}
	return closed, nil
}
