package discovery

import (
	"slices"
	"strconv"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/hass"
)

// Topics are where the bridge and Home Assistant speak.
type Topics struct {
	Base   string // of the bridge: "meter2mqtt"
	Prefix string // of Home Assistant's discovery: "homeassistant"
}

// Meter is all that discovery needs to know of a meter.
type Meter struct {
	Name       string // as configured
	Label      string // what people see; "" Name
	Identity   drivers.Identity
	Channels   []drivers.Channel // meters behind this one
	Quantities []drivers.Quantity
	Parameters []drivers.Parameter // that may be written
	Asked      bool                // it is read by asking, so that an exchange takes a time
	Version    string              // of this program
	Session    bool                // its session has states that the diagnostic topic tells
}

// Device is one retained message, QoS 1.
type Device struct {
	ID      string
	Topic   string
	Payload []byte
}

// Devices describes the meter, then the meters behind it by channel. A channel
// without a quantity gives no device; a row of a meter's log (Logged) gives no
// entity, for it has no present state. Of two keys that map to the same id, the
// first in m.Quantities gets the entity: an entity never changes over to another
// quantity as long as the order is kept.
func Devices(t Topics, m Meter) []Device {
	id := DeviceID(t.Base, m.Name)
	main := t.meter(m)
	main.Device = deviceOf(id, m.label(), m.Identity)
	main.Device.ViaDevice = bridgeID(t)
	t.addDiagnostics(main.Components, id, m)
	t.addControls(main.Components, id, m.Name, m.Parameters)
	addQuantities(main.Components, id, m.Identity.Medium, m.of(0))
	all := []Device{t.message(id, main)}
	for _, c := range m.channels() {
		p := t.meter(m)
		p.Device = deviceOf(ChannelID(id, c.Number), m.channelLabel(c), c.Meter)
		p.Device.ViaDevice = id
		addQuantities(p.Components, ChannelID(id, c.Number), c.Meter.Medium, m.of(c.Number))
		all = append(all, t.message(ChannelID(id, c.Number), p))
	}
	return all
}

// Bridge describes the bridge itself. It must be published before the meters, or
// Home Assistant invents a device without a name that they hang on.
func Bridge(t Topics, version string, o Operation) Device {
	id := bridgeID(t)
	p := payload{
		Device: device{
			Identifiers:  []string{id},
			Name:         program,
			Manufacturer: program,
			SWVersion:    version,
		},
		Origin: originOf(version),
		QoS:    1,
		Components: map[string]component{
			"connection": {
				Platform:    "binary_sensor",
				UniqueID:    UniqueID(id, "connection"),
				Name:        "Connection",
				DeviceClass: "connectivity",
				Category:    "diagnostic",
				StateTopic:  t.Base + "/bridge/availability",
				PayloadOn:   "online",
				PayloadOff:  "offline",
			},
			"waiting": t.bridgeCount(id, "waiting", "Readings waiting for the broker", "measurement"),
			"dropped": t.bridgeCount(id, "dropped", "Readings dropped", "total_increasing"),
			"started": t.bridgeStart(id),
		},
	}
	t.addOperation(p.Components, id, o)
	return t.message(id, p)
}

const (
	program = "meter2mqtt"
	home    = "https://github.com/meter2mqtt/meter2mqtt"
)

func originOf(version string) origin {
	return origin{Name: program, SWVersion: version, SupportURL: home}
}

func bridgeID(t Topics) string { return DeviceID(t.Base, "bridge") }

func (t Topics) message(id string, p payload) Device {
	return Device{ID: id, Topic: t.Prefix + "/device/" + id + "/config", Payload: p.encode()}
}

// meter is what the devices of one meter have in common: they live and die with
// its telegrams.
func (t Topics) meter(m Meter) payload {
	return payload{
		Origin: originOf(m.Version),
		Availability: []availability{
			{t.Base + "/bridge/availability"},
			{t.Base + "/" + m.Name + "/availability"},
		},
		AvailabilityMode: "all",
		StateTopic:       t.Base + "/" + m.Name + "/state",
		QoS:              1,
		Components:       map[string]component{},
	}
}

func deviceOf(id, name string, who drivers.Identity) device {
	return device{
		Identifiers:  []string{id},
		Name:         name,
		Manufacturer: Maker(who.Manufacturer),
		Model:        who.Model,
		SerialNumber: who.ID,
		SWVersion:    who.Version,
	}
}

func (m Meter) label() string {
	if m.Label != "" {
		return m.Label
	}
	return m.Name
}

// of are the quantities of one channel that have a present state.
func (m Meter) of(channel uint8) []drivers.Quantity {
	var of []drivers.Quantity
	for _, q := range m.Quantities {
		if q.Channel == channel && !q.Logged {
			of = append(of, q)
		}
	}
	return of
}

// channels are those that give a quantity, lowest first, each once: a channel
// that is announced twice is the meter that was announced last.
func (m Meter) channels() []drivers.Channel {
	var gives [256]bool
	for _, q := range m.Quantities {
		gives[q.Channel] = gives[q.Channel] || !q.Logged
	}
	var all []drivers.Channel
	for n := 1; n < len(gives); n++ {
		if !gives[n] {
			continue
		}
		c := drivers.Channel{Number: uint8(n)}
		for _, known := range m.Channels {
			if known.Number == c.Number {
				c = known
			}
		}
		all = append(all, c)
	}
	return all
}

// channelLabel is the meter's label with the medium: "House meter" becomes
// "House gas meter". A second meter of the same medium says its channel.
func (m Meter) channelLabel(c drivers.Channel) string {
	channel := " channel " + strconv.Itoa(int(c.Number))
	medium := obis.MediumLabel(c.Meter.Medium)
	if medium == "" {
		return m.label() + channel
	}
	words := m.label()
	if n := len(words) - len(" meter"); n >= 0 && strings.EqualFold(words[n:], " meter") {
		words = words[:n]
	}
	words += " " + strings.ToLower(medium) + " meter"
	for _, other := range m.channels() {
		if other.Number < c.Number && obis.MediumLabel(other.Meter.Medium) == medium {
			return words + channel
		}
	}
	return words
}

// addQuantities adds an entity for each quantity whose id is still free.
func addQuantities(all map[string]component, id, medium string, quantities []drivers.Quantity) {
	names := namesOf(quantities, medium)
	for i, q := range quantities {
		key := componentID(q.Key)
		if _, taken := all[key]; taken {
			continue
		}
		all[key] = quantity(UniqueID(id, q.Key), names[i], q, describe(q, medium))
	}
}

// namesOf labels the quantities so that no two of one device are named alike:
// of the same quantity of two channels (value group B), the lowest channel has the
// plain name.
func namesOf(quantities []drivers.Quantity, medium string) []string {
	names := make([]string, len(quantities))
	lowest := map[string]byte{}
	for i, q := range quantities {
		names[i] = label(q, describe(q, medium))
		if b, seen := lowest[names[i]]; !seen || q.Code.B() < b {
			lowest[names[i]] = q.Code.B()
		}
	}
	for i, q := range quantities {
		if b := q.Code.B(); b != lowest[names[i]] {
			names[i] += " channel " + strconv.Itoa(int(b))
		}
	}
	for i, q := range quantities {
		if first := slices.Index(names, names[i]); first != i {
			names[i] += " (" + q.Key + ")"
		}
	}
	return names
}

func quantity(uniqueID, name string, q drivers.Quantity, e obis.Entry) component {
	s := shown(q, e)
	c := entity(uniqueID, name, s)
	c.Template = valueTemplate(q.Key)
	switch q.Kind {
	case drivers.Bool:
		c.PayloadOn, c.PayloadOff = "True", "False" // how a template prints true and false
	case drivers.Text:
		c.Template = textTemplate(q.Key)
	case drivers.Number:
		if s.Numeric {
			c.Precision = new(q.Digits)
		}
	case drivers.Moment:
	}
	return c
}

func shown(q drivers.Quantity, e obis.Entry) hass.Sensor {
	return hass.Describe(hass.Quantity{Entry: e, Kind: q.Kind, Unit: q.Unit, Zoned: q.Zoned})
}

// SensorOf is how a quantity of a meter of that medium is shown, as Devices
// announces it.
func SensorOf(q drivers.Quantity, medium string) hass.Sensor { return shown(q, describe(q, medium)) }

func entity(uniqueID, name string, s hass.Sensor) component {
	c := component{
		Platform:    s.Component,
		UniqueID:    uniqueID,
		Name:        name,
		DeviceClass: s.DeviceClass,
		StateClass:  s.StateClass,
		Unit:        string(s.Unit),
		Category:    s.Category,
		Options:     s.Options,
	}
	if !s.Enabled {
		c.Enabled = new(false)
	}
	return c
}
