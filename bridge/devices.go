package bridge

import (
	"maps"
	"slices"
	"sync"

	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/discovery"
)

// devices remembers what was announced to Home Assistant, so that what has gone
// is taken out of it: a meter, a meter behind one, a quantity, whether it went
// while the gateway ran or while it was off. What others have announced is not
// touched.
type devices struct {
	link *mqttlink.Link

	mu        sync.Mutex
	published map[string]map[string]string // meter → topic → outline of the payload
	flying    map[string]map[string]string // the same, sent and not acknowledged yet
	changed   bool                         // since it was saved
}

// announce publishes a meter's devices and removes those of its devices and
// entities that are no more. What it remembers as published is what the broker
// has acknowledged, so that a removal which was lost on the way comes again.
func (d *devices) announce(meter string, now []discovery.Device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, flying := d.published[meter], d.flying[meter]
	after := make(map[string]string, len(now))
	var messages []mqttlink.Message
	for _, device := range now {
		for _, previous := range distinct(before[device.Topic], flying[device.Topic]) {
			if removal := discovery.Removal([]byte(previous), device.Payload); removal != nil {
				messages = append(messages, retained(device.Topic, removal))
			}
		}
		messages = append(messages, retained(device.Topic, device.Payload))
		after[device.Topic] = string(discovery.Outline(device.Payload))
	}
	for _, topic := range topicsOfBoth(before, flying) {
		if _, stays := after[topic]; !stays {
			messages = append(messages, retained(topic, nil))
		}
	}
	var landed func()
	if flying != nil || !maps.Equal(before, after) {
		d.fly(meter, after)
		landed = func() { d.land(meter, after) }
	}
	d.send(messages, landed)
}

// fly notes what was sent of a meter: it may reach Home Assistant though nobody
// says so, so it is taken back too.
func (d *devices) fly(meter string, sent map[string]string) {
	if d.flying == nil {
		d.flying = map[string]map[string]string{}
	}
	d.flying[meter] = sent
}

// land notes what the broker has.
func (d *devices) land(meter string, sent map[string]string) {
	d.published[meter] = sent
	if maps.Equal(d.flying[meter], sent) {
		delete(d.flying, meter)
	}
}

// distinct are the texts without the second if it is the first.
func distinct(a, b string) []string {
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}

// topicsOfBoth are the topics of either, sorted.
func topicsOfBoth(a, b map[string]string) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// forget removes a meter's devices, and whatever else of it the broker keeps.
// done is called once the broker has acknowledged all of it.
func (d *devices) forget(meter string, topics []string, done func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var messages []mqttlink.Message
	for _, topic := range topicsOfBoth(d.published[meter], d.flying[meter]) {
		messages = append(messages, retained(topic, nil))
	}
	delete(d.flying, meter)
	for _, topic := range topics {
		messages = append(messages, retained(topic, nil))
	}
	d.send(messages, func() {
		delete(d.published, meter)
		done()
	})
}

// retained keeps the order: no message takes another one's place.
func retained(topic string, payload []byte) mqttlink.Message {
	return mqttlink.Message{Topic: topic, Payload: payload, Retain: true, Keep: true}
}

// send publishes the messages. landed, if any, is called under the lock when the
// broker has the last of them: acknowledgements are told in order.
func (d *devices) send(messages []mqttlink.Message, landed func()) {
	if last := len(messages) - 1; last >= 0 && landed != nil {
		messages[last].Acked = func(uint64) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.changed = true
			landed()
		}
	}
	for _, m := range messages {
		d.link.Publish(m)
	}
}

// meters are the names of all of which something was announced.
func (d *devices) meters() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.published))
}

// hasChanged says whether something was published or removed since the last
// snapshot.
func (d *devices) hasChanged() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// snapshot is what is to be saved; after it nothing has changed.
func (d *devices) snapshot() map[string]map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	published := make(map[string]map[string]string, len(d.published))
	for meter, topics := range d.published {
		published[meter] = maps.Clone(topics)
	}
	d.changed = false
	return published
}
