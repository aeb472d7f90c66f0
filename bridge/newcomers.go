package bridge

import "github.com/meter2mqtt/meter2mqtt/drivers"

const (
	// maxNewcomers bounds how many keys may wait at a time.
	maxNewcomers = maxEntries
	// newcomerComes is in how many telegrams in a row a new key must be. Two are
	// too few: of 200,000 telegrams, half of them damaged, one pair was damaged
	// alike.
	newcomerComes = 3
)

// newcomers are keys that came in a telegram without any check and are not known
// yet. Damage can make up any name, and a name once announced stays; so a new
// one waits until the next telegrams have it too. The zero newcomers know
// nothing.
type newcomers struct {
	before, now map[string]int // how often in a row, up to the last telegram, and to the one at hand
}

// begin says that another telegram has come.
func (n *newcomers) begin() {
	n.before, n.now = n.now, n.before
	clear(n.now)
}

// wait says whether a key that is not known must wait, and remembers it.
func (n *newcomers) wait(key string) bool {
	comes := n.before[key] + 1
	if n.now == nil {
		n.now = map[string]int{}
	}
	if len(n.now) < maxNewcomers {
		n.now[key] = comes
	}
	return comes < newcomerComes
}

// isNewcomer says whether a value must wait because nothing vouches for its name.
// A sum that was derived so far is new as the meter's own.
func (m *meter) isNewcomer(key string, check drivers.Check) bool {
	if check > drivers.CheckNone {
		return false
	}
	i, known := m.picture.indexOf(key)
	if known && !m.picture.entries[i].quantity.Derived {
		return false
	}
	return m.newcomers.wait(key)
}
