// Package hass knows what Home Assistant accepts: which device class, state
// class and unit go together, and how a quantity is best shown. It knows no meter
// and no MQTT; discovery makes payloads of what it says.
//
// Home Assistant is strict: a unit that does not fit the device class loses the
// entity, a state class that does not fit spoils its statistics. So a class is
// given only where the unit fits it, and a state class only where the device
// class allows it. All that is used here exists since Home Assistant 2025.11.
package hass
