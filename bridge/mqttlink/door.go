package mqttlink

import "sync"

// maxHeld bounds what waits behind a shut door.
const maxHeld = 1024

// door holds messages back until their answers can be sent: the broker sends
// retained ones before it has acknowledged the subscriptions, and the outbox opens
// after that.
type door struct {
	mu     sync.Mutex
	isShut bool
	held   []func()
}

// shut begins to hold back, for a new connection: what an old one left is void.
func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.isShut, d.held = true, nil
}

// pass calls f, or has open call it. With too many of them it calls f at once: no
// answer is better than no order carried out.
func (d *door) pass(f func()) {
	if !d.hold(f) {
		f()
	}
}

func (d *door) hold(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.isShut || len(d.held) >= maxHeld {
		return false
	}
	d.held = append(d.held, f)
	return true
}

// open calls what was held back, in order: what comes meanwhile is held back too.
func (d *door) open() {
	for held := d.take(); len(held) > 0; held = d.take() {
		for _, f := range held {
			f()
		}
	}
}

// take is what is held back; with nothing the door is open.
func (d *door) take() []func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	held := d.held
	d.held, d.isShut = nil, len(held) > 0
	return held
}
