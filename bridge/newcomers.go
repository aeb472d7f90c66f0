package bridge

import (
	"maps"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	// newcomerSpan is within how many telegrams a new key must come again.
	newcomerSpan = 8
	// maxNewcomers bounds how many keys may wait at a time.
	maxNewcomers = 256
)

// newcomers are keys that came in telegrams without any check and are not known
// yet. Damage can make up any name, and a name once announced stays; so a new
// one waits until another telegram has it too. The zero newcomers know nothing.
type newcomers struct {
	telegram uint64
	seen     map[string]uint64 // key → telegram that had it last
}

// begin says that another telegram has come.
func (n *newcomers) begin() {
	n.telegram++
	if len(n.seen) >= maxNewcomers {
		maps.DeleteFunc(n.seen, func(_ string, at uint64) bool { return n.telegram-at > newcomerSpan })
	}
}

// wait says whether a key that is not known must wait, and remembers it.
func (n *newcomers) wait(key string) bool {
	at, seen := n.seen[key]
	if !seen && len(n.seen) >= maxNewcomers {
		return true
	}
	if n.seen == nil {
		n.seen = map[string]uint64{}
	}
	n.seen[key] = n.telegram
	return !seen || n.telegram-at > newcomerSpan
}

// isNewcomer says whether a value must wait because nothing vouches for its name.
func (m *meter) isNewcomer(key string, check drivers.Check) bool {
	if _, known := m.picture.index[key]; known || check > drivers.CheckNone {
		return false
	}
	return m.newcomers.wait(key)
}
