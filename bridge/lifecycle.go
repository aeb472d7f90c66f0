package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// recall loads what was known before a restart. Meters that have gone from the
// configuration since are taken out of the broker and Home Assistant once both
// are there.
func (b *Bridge) recall() {
	known, err := b.state.recall()
	if err != nil {
		b.options.Log.Error().Err(err).Msg("what was learned before is forgotten")
	}
	b.saved = b.started
	b.devices.published = known.Devices
	b.past = map[string][]string{}
	maps.Copy(b.past, known.Past)
	configured := map[string]bool{ourselves: true}
	for _, m := range b.meters {
		configured[m.config.Name] = true
		m.recall(known.Meters[m.config.Name])
	}
	for name, m := range known.Meters {
		if !configured[name] {
			b.past[name] = retainedOf(topicsOf(b.config.MQTT.Base, name), m)
		}
	}
	maps.DeleteFunc(b.past, func(name string, _ []string) bool { return configured[name] })
	for name := range known.Devices {
		if _, known := b.past[name]; !configured[name] && !known {
			b.past[name] = topicsOf(b.config.MQTT.Base, name).retained()
		}
	}
}

// retainedOf are all topics on which the broker may keep something of a meter.
func retainedOf(t topics, m meterMemory) []string {
	all := t.retained()
	for _, q := range m.Quantities {
		all = append(all, t.value+topicLevel(q.Key))
	}
	for _, name := range m.Shown {
		all = append(all, t.parameter+topicLevel(name))
	}
	return all
}

// sweep takes out what has gone. Without discovery that is everything that was
// ever announced.
func (b *Bridge) sweep() {
	for name, topics := range b.pending() {
		b.devices.forget(name, topics, func() { b.swept(name) })
	}
	if b.config.HomeAssistant.Discovery {
		return
	}
	for _, name := range b.devices.meters() {
		b.devices.forget(name, nil, func() {})
	}
}

// swept notes that the broker has forgotten a meter.
func (b *Bridge) swept(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.past, name)
}

// savingShare is how many times as long as it took to save the memory it then
// rests: that of thousands of meters, which learn as they come, takes a second.
const savingShare = 20

// saveIfDue saves the memory when something was learned, and now and then for
// the totals.
func (b *Bridge) saveIfDue(now time.Time) {
	if now.Sub(b.saved) < savingShare*b.saving {
		return
	}
	due := b.devices.hasChanged() || b.ledger.isDue()
	for _, m := range b.everyMeter() {
		due = m.hasLearned() || due
	}
	if due || now.Sub(b.saved) >= totalsEvery {
		b.save(now)
	}
}

func (b *Bridge) save(now time.Time) {
	b.saved = now
	start := time.Now()
	if err := b.ledger.saveIfDue(); err != nil {
		b.options.Log.Error().Err(err).Msg("which writes were answered cannot be saved")
	}
	if err := b.state.remember(b.writeMemory); err != nil {
		b.options.Log.Error().Err(err).Str("hint", "is the disk full, may state.dir be written to?").
			Msg("what was learned cannot be saved")
	}
	b.saving = time.Since(start)
}

// pending are the meters that have gone and are not swept yet.
func (b *Bridge) pending() map[string][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.past)
}

// hasLearned says whether something was learned since it was asked last.
func (m *meter) hasLearned() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	learned := m.learned
	m.learned = false
	return learned
}

// errRestart says that a change cannot be taken over by a running gateway.
var errRestart = errors.New("only [[meter]] tables are taken over while the gateway runs")

// reloadEvery is the least time between two reloads that were asked for by MQTT:
// each reads and writes files, and anyone can ask.
const reloadEvery = 5 * time.Second

// reloadAsAsked reloads on a request by MQTT.
func (b *Bridge) reloadAsAsked(ctx context.Context) error {
	if wait := reloadEvery - time.Since(b.read); wait > 0 {
		return fmt.Errorf("the configuration has just been read again: ask again in %s", wait.Round(time.Second))
	}
	b.read = time.Now()
	return b.reload(ctx)
}

// reload takes over a changed configuration. Meters that have not changed keep
// their sessions.
func (b *Bridge) reload(ctx context.Context) error {
	if b.options.Reload == nil {
		return errors.New("there is no configuration file to read again")
	}
	c, err := b.options.Reload()
	if err == nil {
		err = b.takeOver(ctx, c)
	}
	if err != nil {
		b.options.Log.Error().Err(err).Str("hint", drivers.Hint(err)).Msg("configuration not taken over")
		return err
	}
	b.options.Log.Info().Int("meters", len(c.Meters)).Msg("configuration taken over")
	return nil
}

func (b *Bridge) takeOver(ctx context.Context, c config.Config) error {
	if !reflect.DeepEqual([]any{c.MQTT, c.HomeAssistant, c.State, c.HTTP, c.Log},
		[]any{b.config.MQTT, b.config.HomeAssistant, b.config.State, b.config.HTTP, b.config.Log}) {
		return drivers.WithHint(errRestart, "restart the gateway to take over the other sections")
	}
	next := make([]*meter, 0, len(c.Meters))
	var fresh []*meter
	old := b.everyMeter()
	for _, mc := range c.Meters {
		i := slices.IndexFunc(old, func(m *meter) bool { return m.config.Name == mc.Name })
		if i >= 0 && sameMeter(old[i].config, mc) {
			next = append(next, old[i])
			continue
		}
		m, err := b.newMeter(mc)
		if err != nil {
			return err
		}
		if i >= 0 {
			m.recall(old[i].memory())
			m.registers = old[i].registers
		}
		next, fresh = append(next, m), append(fresh, m)
	}
	b.tellSharedKeys(c.Meters)
	b.exchange(ctx, old, next, fresh)
	return nil
}

// sameMeter says whether two configurations of a meter mean the same. Drivers
// are compared by name: they hold functions.
func sameMeter(a, b config.Meter) bool {
	if a.Driver.Name != b.Driver.Name {
		return false
	}
	a.Driver, b.Driver = drivers.Driver{}, drivers.Driver{}
	return reflect.DeepEqual(a, b)
}

// exchange stops the lines of meters that go or change, and starts those of the
// fresh ones. A meter that has not changed is disturbed only if it shares its
// line with one that has.
func (b *Bridge) exchange(ctx context.Context, old, next, fresh []*meter) {
	touched := map[string]bool{}
	for _, m := range fresh {
		touched[m.lineKey()] = true
	}
	gone := map[string][]string{}
	for _, m := range old {
		if !slices.Contains(next, m) {
			touched[m.lineKey()] = true
		}
		if !slices.ContainsFunc(next, func(n *meter) bool { return n.config.Name == m.config.Name }) {
			gone[m.config.Name] = retainedOf(m.topics, m.memory())
		}
	}
	if len(touched) == 0 {
		return
	}
	for key := range touched {
		b.lines.stop(key)
	}
	b.mu.Lock()
	maps.DeleteFunc(b.byKey, func(key string, _ *line) bool { return touched[key] })
	for key := range touched {
		delete(b.paused, key)
	}
	b.meters = next
	maps.Copy(b.past, gone)
	for _, m := range next {
		delete(b.past, m.config.Name)
	}
	b.mu.Unlock()
	b.startLines(ctx, slices.DeleteFunc(slices.Clone(next), func(m *meter) bool { return !touched[m.lineKey()] }))
	b.announce()
	for _, m := range fresh {
		m.introduce(time.Now())
	}
	b.sweep()
	b.publishInfo(time.Now())
	b.save(time.Now())
}
