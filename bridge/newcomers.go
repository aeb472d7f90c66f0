package bridge

import (
	"slices"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// maxNewcomers bounds how many keys may wait at a time.
const maxNewcomers = maxEntries

// newcomers are keys that came in a telegram without any check and are not known
// yet. Damage can make up any name, and a name once announced stays; so a new
// one waits until the next telegram has it too. The zero newcomers know nothing.
type newcomers struct {
	before, now []string // those of the last telegram, and of the one at hand
}

// begin says that another telegram has come.
func (n *newcomers) begin() { n.before, n.now = n.now, n.before[:0] }

// wait says whether a key that is not known must wait, and remembers it.
func (n *newcomers) wait(key string) bool {
	if len(n.now) < maxNewcomers {
		n.now = append(n.now, key)
	}
	return !slices.Contains(n.before, key)
}

// isNewcomer says whether a value must wait because nothing vouches for its name.
// A sum that was derived so far is new as the meter's own.
func (m *meter) isNewcomer(key string, check drivers.Check) bool {
	if check > drivers.CheckNone {
		return false
	}
	i, known := m.picture.index[key]
	if known && !m.picture.entries[i].quantity.Derived {
		return false
	}
	return m.newcomers.wait(key)
}
