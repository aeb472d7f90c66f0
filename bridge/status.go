package bridge

import (
	"cmp"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// stuckAfter is how long a loop that turns each second may stand still. To take
// over a configuration it waits until ports are free, which takes seconds.
const stuckAfter = time.Minute

// pulse is when a loop turned last, since the start. That is a time of the
// monotonic clock: a clock that is set right does not look like a loop that hangs.
type pulse struct{ at atomic.Int64 }

func (p *pulse) beat(sinceStart time.Duration) { p.at.Store(int64(sinceStart)) }

// still is how long the loop has not turned.
func (p *pulse) still(sinceStart time.Duration) time.Duration {
	return sinceStart - time.Duration(p.at.Load())
}

// Status is what the gateway says of itself. It may be called while Run runs.
func (b *Bridge) Status() status.Gateway {
	g := b.statusAlone()
	if g.Problem != "" {
		return g // what hangs may hold the locks of all the rest
	}
	for _, m := range b.everyMeter() {
		g.Meters = append(g.Meters, m.status())
	}
	return g
}

// statusAlone is the status without the meters.
func (b *Bridge) statusAlone() status.Gateway {
	g := status.Gateway{Version: b.options.Version, Started: b.started, Broker: b.link.Connected(), Meters: []status.Meter{}}
	if g.Problem = b.problem(time.Since(b.started)); g.Problem == "" {
		g.Journal.Waiting, g.Journal.Bytes, g.Journal.Dropped = b.journal.Depth()
	}
	return g
}

// problem is why the gateway must be restarted, or "".
func (b *Bridge) problem(sinceStart time.Duration) string {
	for name, p := range map[string]*pulse{"housekeeping": &b.housekeeping, "journal": &b.draining} {
		if still := p.still(sinceStart); still > stuckAfter {
			return fmt.Sprintf("%s stands still since %s", name, still.Round(time.Second))
		}
	}
	return ""
}

func (m *meter) status() status.Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return status.Meter{
		Name: m.config.Name, Label: m.config.Label, Driver: m.config.Driver.Name,
		Online: m.up, Line: cmp.Or(m.line, transport.LineOpening),
		Good: m.counts.good, Refused: maps.Clone(m.refused), HeldBack: m.counts.heldBack,
		RoundTrip: m.roundTrip, Last: m.pace.last,
	}
}

// countRefused counts a telegram or an exchange that gave no reading.
func (m *meter) countRefused(err error) {
	m.counts.refused++
	if m.refused == nil {
		m.refused = map[status.Cause]uint64{}
	}
	m.refused[status.CauseOf(err)]++
}
