package discovery

import (
	"strconv"
	"strings"
)

// DeviceID is the id of a meter's device: the slug of the base topic, _, the
// configured name.
func DeviceID(base, name string) string { return slug(base) + "_" + name }

// ChannelID is the id of the device of a meter behind another one.
func ChannelID(deviceID string, channel uint8) string {
	return deviceID + "_ch" + strconv.Itoa(int(channel))
}

// UniqueID is the id of an entity. Two keys of one device can map alike
// ("a b" and "a-b"); what comes of that, Devices says.
func UniqueID(deviceID, key string) string { return deviceID + "_" + componentID(key) }

// componentID is the key with # as _n and every other run of characters that are
// no letters or digits of ASCII as _.
func componentID(key string) string {
	var b strings.Builder
	run := false
	for _, c := range key {
		switch {
		case c == '#':
			b.WriteString("_n")
			run = false
		case alphanumeric(c):
			b.WriteRune(c)
			run = false
		case !run:
			b.WriteByte('_')
			run = true
		}
	}
	return b.String()
}

// slug is s in small letters with every run of other characters as _, none at
// the ends.
func slug(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(c rune) bool { return !alphanumeric(c) })
	return strings.Join(words, "_")
}

func alphanumeric(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
