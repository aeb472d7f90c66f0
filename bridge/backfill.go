package bridge

import (
	"context"
	"errors"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

const (
	// fillChunk is how much of a log is asked for at a time.
	fillChunk = 24 * time.Hour
	// longestFill bounds one such request: polling waits meanwhile.
	longestFill = 2 * time.Minute
	// fillPause is the rest between two requests, and fillRetry after one that
	// failed.
	fillPause = 20 * time.Second
	fillRetry = 30 * time.Minute
	// fillTries is how often a gap is tried that cannot be filled.
	fillTries = 4
	// fillRoom is how long nobody must be due for a request to be made at once;
	// after fillPatience turns without it is made all the same.
	fillRoom     = 5 * time.Second
	fillPatience = 10
)

// filling is how far the gaps of an asked meter have come.
type filling struct {
	next   time.Time // not before
	missed int       // turns without room
	failed int       // in a row
	// first says that it comes before the next reading: the line seems to end with
	// each conversation, as behind gateways that hang up.
	first bool
}

// fillFirst asks for a piece of a gap in place of the reading that is due, which comes
// next.
func (l *line) fillFirst(ctx context.Context, open drivers.Line, a *asked) error {
	defer func() { a.filling.first = false }()
	if err := l.dial(ctx, open, a); err != nil {
		return err
	}
	return l.fillGap(ctx, a)
}

// fillGap asks a meter for a piece of what its log has of a gap. It comes after a
// good reading, gives way to whoever is due, and takes up where it ended. While a
// total is doubtful it waits: rows are held against what the meter shows now. Its
// error is one that ends the line.
func (l *line) fillGap(ctx context.Context, a *asked) error {
	gap, waits := a.meter.firstGap()
	historian, can := a.session.(drivers.Historian)
	if !waits || !can || time.Now().Before(a.filling.next) || a.meter.doubts() || !a.filling.first && !l.hasRoom(a) {
		return nil
	}
	end := gap.From.Add(fillChunk)
	if end.After(gap.To) {
		end = gap.To
	}
	limited, cancel := context.WithTimeout(ctx, longestFill)
	defer cancel()
	upTo, rows := gap.From, 0
	err := historian.History(limited, gap.From, end, func(r *drivers.Reading) error {
		rows++
		r.Received = time.Now()
		if at := a.meter.acceptHistory(r, gap); at.After(upTo) {
			upTo = at
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	a.filling.next = time.Now().Add(fillPause)
	switch {
	case err == nil:
		a.filling.failed = 0
		a.meter.fillGap(gap, end)
		a.meter.log.Info().Int("rows", rows).Time("from", gap.From).Time("to", end).Msg("read what was missed from the meter's log")
	case errors.Is(err, context.DeadlineExceeded) && upTo.After(gap.From):
		a.meter.fillGap(gap, upTo) // it was long: the rest comes next
		err = nil
	case lineFailed(err) && !a.filling.first:
		a.filling = filling{first: true, failed: a.filling.failed}
	default:
		l.notFilled(a, gap, err)
	}
	return err
}

// notFilled tries again later, a few times.
func (l *line) notFilled(a *asked, gap statistics.Hole, err error) {
	a.filling.next = time.Now().Add(fillRetry)
	if a.filling.failed++; a.filling.failed < fillTries {
		a.meter.log.Debug().Err(err).Msg("the meter's log could not be read")
		return
	}
	a.filling.failed = 0
	a.meter.fillGap(gap, gap.To)
	a.meter.log.Warn().Err(err).Str("hint", drivers.Hint(err)).Time("from", gap.From).Time("to", gap.To).
		Msg("the meter's log cannot be read: the gap stays")
}

// hasRoom says whether no meter of the line is due soon, or that this one has
// waited long enough.
func (l *line) hasRoom(a *asked) bool {
	next := l.nextAsked()
	if next == nil || time.Until(next.due) >= fillRoom || a.filling.missed >= fillPatience {
		a.filling.missed = 0
		return true
	}
	a.filling.missed++
	return false
}

// firstGap is the oldest gap that waits to be filled.
func (m *meter) firstGap() (statistics.Hole, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.gaps) == 0 || !m.config.Backfill {
		return statistics.Hole{}, false
	}
	return m.gaps[0], true
}

// fillGap notes that a gap is filled up to a moment.
func (m *meter) fillGap(gap statistics.Hole, upTo time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learned = true
	if len(m.gaps) == 0 || !m.gaps[0].From.Equal(gap.From) {
		return
	}
	if m.gaps[0].From = upTo; !upTo.Before(m.gaps[0].To) {
		m.gaps = m.gaps[1:]
	}
}

// acceptHistory takes a row of the meter's own log: it is published as history, and
// its totals go into the statistics. It says when the row was written; zero: its
// stamp cannot be dated, and the row is left out.
func (m *meter) acceptHistory(r *drivers.Reading, gap statistics.Hole) time.Time {
	if !r.Time.Zoned {
		return time.Time{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := r.Time.Wall
	values := m.factors.apply(r.Values)
	m.keys.Begin()
	payload := append([]byte(`{"time":"`), r.Time.String()...)
	payload = append(payload, `","source":"meter"`...)
	for i := range values {
		v := &values[i]
		key, _ := m.keys.Key(v)
		if m.excluded(key) {
			continue
		}
		m.keepLogged(key, v, at)
		payload = append(payload, ',')
		payload = append(drivers.AppendJSONString(payload, key), ':')
		payload = v.AppendPayload(payload)
	}
	m.link.Publish(mqttlink.Message{Topic: m.topics.history, Payload: append(payload, '}'), Keep: true})
	if m.registers != nil {
		m.registers.hole(gap)
	}
	return at
}

// keepLogged notes a register of a row. One above what the meter shows now cannot
// be of this meter, or is damaged.
func (m *meter) keepLogged(key string, v *drivers.Value, at time.Time) {
	if m.registers == nil || v.Kind != drivers.Number {
		return
	}
	log := m.registers.Logs[key]
	last, known := m.guard.Last(key)
	if log == nil || !log.Falls && (!known || v.Number.Cmp(last) > 0) || v.Flags&(drivers.MeterError|drivers.Overflow) != 0 {
		return
	}
	log.Add(at, v.Number)
}
