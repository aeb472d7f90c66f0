package discovery

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/hass"
)

// valueTemplate takes the value of a key out of the state. A key that is missing
// or null makes the entity unknown, without a word in Home Assistant's log.
func valueTemplate(key string) string {
	return "{{ " + lookupIn(key) + " }}"
}

// textTemplate is valueTemplate for texts, cut to what a state may hold.
func textTemplate(key string) string {
	return "{{ (" + lookupIn(key) + " | string)[:" + strconv.Itoa(hass.MaxText) + "] }}"
}

func lookupIn(key string) string {
	return "value_json['" + quoted(key) + "'] | default(none)"
}

// quoted escapes what would end a string of a Jinja template, or could be taken
// for the end of the template. Meters may send such names.
func quoted(key string) string {
	if !strings.ContainsFunc(key, needsEscape) {
		return key
	}
	var b strings.Builder
	for _, c := range key {
		if needsEscape(c) {
			fmt.Fprintf(&b, `\x%02x`, c)
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

func needsEscape(c rune) bool {
	return c < 0x20 || c == 0x7f || strings.ContainsRune(`'"\{}%`, c)
}
