package corus

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// leftover is what came of a database before the line broke, newest record first. A
// window is given when all of its databases are there; until then it is kept here,
// for sessions end with their lines.
type leftover struct {
	answered
	database Database
	until    time.Time // end of the window
	device   drivers.Identity
	at       time.Time // when it was left
}

const (
	maxLeft    = 8 << 20 // bytes of records that are left, of all devices
	maxWindows = 16      // and databases of a device
	leftTime   = 24 * time.Hour
)

// leftBehind are the leftovers of all meters: a configuration is one meter's own.
type leftBehind struct {
	mu    sync.Mutex
	of    map[*Config][]leftover
	bytes int
}

var leftovers leftBehind

// take is what was left of a database in a window; nothing, if it is another device's
// or old.
func (b *leftBehind) take(c *Config, d Database, until time.Time, device drivers.Identity) answered {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.of[c] {
		if l.database == d && l.until.Equal(until) && l.device == device && time.Since(l.at) < leftTime {
			l.data, l.left = bytes.Clone(l.data), true
			return l.answered
		}
	}
	return answered{}
}

// put keeps what came of a database, instead of what was left of it before.
func (b *leftBehind) put(c *Config, left leftover) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := slices.DeleteFunc(b.forget(c), func(l leftover) bool { return l.database == left.database && l.until.Equal(left.until) })
	if len(kept) == maxWindows {
		kept = slices.Delete(kept, 0, 1)
	}
	if left.layout != nil && len(left.data) > 0 && left.layout.stamp >= 0 {
		kept = append(kept, left)
	}
	b.keep(c, kept)
}

// keep remembers what is left of a meter, unless that is too much: then it is read
// from the start.
func (b *leftBehind) keep(c *Config, kept []leftover) {
	size := bytesOf(kept)
	if size == 0 || size > maxLeft {
		return
	}
	if b.of == nil || b.bytes+size > maxLeft {
		b.of, b.bytes = map[*Config][]leftover{}, 0
	}
	b.of[c], b.bytes = kept, b.bytes+size
}

// drop forgets what is left of a meter's window: it was given.
func (b *leftBehind) drop(c *Config, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keep(c, slices.DeleteFunc(b.forget(c), func(l leftover) bool { return l.until.Equal(until) }))
}

func (b *leftBehind) forget(c *Config) (kept []leftover) {
	kept = b.of[c]
	b.bytes -= bytesOf(kept)
	delete(b.of, c)
	return kept
}

func bytesOf(all []leftover) (n int) {
	for _, l := range all {
		n += len(l.data)
	}
	return n
}
