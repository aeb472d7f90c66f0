package discovery

import "github.com/meter2mqtt/meter2mqtt/hass"

// The components of ours have keys that no value can have.
const (
	lineKey      = "diagnostic_line"
	sessionKey   = "diagnostic_session"
	eventKey     = "diagnostic_event"
	lastKey      = "diagnostic_last"
	goodKey      = "diagnostic_good"
	refusedKey   = "diagnostic_refused"
	heldBackKey  = "diagnostic_held_back"
	roundTripKey = "diagnostic_round_trip"
	damagedKey   = "diagnostic_damaged"
	retriesKey   = "diagnostic_retries"
)

// EventTypes are what BASE/METER/event can tell. Home Assistant refuses others.
var EventTypes = []string{"exchanged", "held_back", "clock_off", "write_ok", "write_failed"}

// SessionStates are what the diagnostic topic can tell of a session. Home Assistant
// refuses others.
var SessionStates = []string{"starting", "scanning", "joining", "joined", "limited", "waiting", "closed"}

// addDiagnostics adds what tells how well the meter is heard. What only experts
// chart is there, but switched off.
func (t Topics) addDiagnostics(all map[string]component, id string, m Meter) {
	topic := t.Base + "/" + m.Name + "/diagnostic"
	add := func(key, name, field string, s hass.Sensor) {
		s.Component, s.Category = "sensor", category
		c := entity(UniqueID(id, key), name, s)
		c.Availability = t.whileWeRun()
		c.StateTopic = topic
		c.Template = valueTemplate(field)
		all[key] = c
	}
	count := hass.Sensor{StateClass: "total_increasing", Enabled: true}
	rare := hass.Sensor{StateClass: "total_increasing"}
	add(lineKey, "Line", "line", hass.Enum("opening", "open", "waiting", "paused", "closed"))
	add(lastKey, "Last telegram", "last", hass.Sensor{DeviceClass: "timestamp", Enabled: true})
	add(goodKey, "Good telegrams", "good", rare)
	add(refusedKey, "Refused telegrams", "refused", count)
	add(heldBackKey, "Totals held back", "held_back", count)
	if m.Session {
		add(sessionKey, "Session", "session", hass.Enum(SessionStates...))
	}
	add(damagedKey, "Damaged telegrams", "damaged", hass.Sensor{StateClass: "measurement", Unit: "%"})
	if m.Asked {
		add(retriesKey, "Retries", "retries", rare)
		add(roundTripKey, "Round trip", "round_trip", hass.Sensor{DeviceClass: "duration", StateClass: "measurement", Unit: "s"})
	}
	all[refusedKey] = withCauses(all[refusedKey])
	all[eventKey] = t.event(id, m.Name)
}

const category = "diagnostic"

// whileWeRun is the availability of what must live on when the meter is offline,
// for then it says why.
func (t Topics) whileWeRun() []availability {
	return []availability{{t.Base + "/bridge/availability"}}
}

// withCauses shows the counts by cause beside their sum, as attributes.
func withCauses(c component) component {
	c.AttributesTopic = c.StateTopic
	c.AttributesTemplate = "{{ value_json['causes'] | default({}) | tojson }}"
	return c
}

// event shows what happened to the meter: an exchange, a total that was held
// back, a clock that is off.
func (t Topics) event(id, name string) component {
	return component{
		Platform:     "event",
		UniqueID:     UniqueID(id, eventKey),
		Name:         "Event",
		Category:     category,
		EventTypes:   EventTypes,
		Availability: t.whileWeRun(),
		StateTopic:   t.Base + "/" + name + "/event",
	}
}

// bridgeCount shows a count of the journal.
func (t Topics) bridgeCount(id, field, name, stateClass string) component {
	return component{
		Platform:     "sensor",
		UniqueID:     UniqueID(id, field),
		Name:         name,
		StateClass:   stateClass,
		Category:     category,
		Availability: t.whileWeRun(),
		StateTopic:   t.bridgeInfo(),
		Template:     "{{ (value_json['journal'] | default({}))['" + field + "'] | default(none) }}",
	}
}

// bridgeStart shows since when the gateway runs.
func (t Topics) bridgeStart(id string) component {
	return component{
		Platform:     "sensor",
		UniqueID:     UniqueID(id, "started"),
		Name:         "Started",
		DeviceClass:  "timestamp",
		Category:     category,
		Availability: t.whileWeRun(),
		StateTopic:   t.bridgeInfo(),
		Template:     valueTemplate("started"),
	}
}

func (t Topics) bridgeInfo() string { return t.Base + "/bridge/info" }
