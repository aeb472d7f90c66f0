package report

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// idKeys are keys whose values tell which meter or which connection is meant.
var idKeys = map[string]bool{"secondary": true, "fabrication": true, "id": true, "address": true}

// standIns are the digits of which the keys that a report shows are made. They
// differ, so that two keys that are told apart still are.
var standIns = map[string]string{"key": "0", "auth_key": "1"}

// standIn is what a report shows in place of a secret: of a cipher's key another
// key of the same length, so that the report can be played back; of anything else
// a mask. "none" says that there is no key.
func standIn(name, secret string) string {
	digit, isKey := standIns[name]
	switch {
	case isKey && strings.EqualFold(strings.TrimSpace(secret), "none"):
		return "none"
	case isKey:
		return strings.Repeat(digit, keyLength(secret))
	}
	return strings.Repeat("*", len(secret))
}

// keyLength is how long a key is without what people write between its digits.
func keyLength(key string) int {
	digits := 0
	for _, c := range strings.TrimPrefix(strings.ToLower(key), "0x") {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			digits++
		}
	}
	if digits == 32 || digits == 64 {
		return digits
	}
	return len(key)
}

// hasKey says whether a driver's keys hold one of a cipher.
func hasKey(c drivers.Config) bool {
	value := reflect.ValueOf(c)
	if value.Kind() != reflect.Pointer || value.Elem().Kind() != reflect.Struct {
		return false
	}
	for i := range value.Elem().NumField() {
		field := value.Elem().Type().Field(i)
		if standIns[field.Tag.Get("koanf")] == "" || !field.IsExported() {
			continue
		}
		if secret, ok := reflect.TypeAssert[drivers.Secret](value.Elem().Field(i)); ok && !secret.IsZero() {
			return true
		}
	}
	return false
}

// StandIn is a copy of a driver's keys with those secrets and ids in it that a
// report shows.
func StandIn(c drivers.Config) drivers.Config {
	from := reflect.ValueOf(c)
	if from.Kind() != reflect.Pointer || from.Elem().Kind() != reflect.Struct {
		return c
	}
	to := reflect.New(from.Elem().Type())
	to.Elem().Set(from.Elem())
	for i := range to.Elem().NumField() {
		field := to.Elem().Type().Field(i)
		key := field.Tag.Get("koanf")
		if key == "" || !field.IsExported() {
			continue
		}
		at := to.Elem().Field(i)
		secret, ok := reflect.TypeAssert[drivers.Secret](at)
		switch {
		case ok && !secret.IsZero():
			at.Set(reflect.ValueOf(drivers.NewSecret(standIn(key, secret.Reveal()))))
		case at.Kind() == reflect.String && idKeys[key] && at.Len() > 3:
			at.SetString(Zeros(at.String()))
		}
	}
	shown, _ := reflect.TypeAssert[drivers.Config](to) // it is of c's type
	return shown
}

// Options are a driver's keys as a report shows them, those that differ from the
// driver's own: with a stand-in for each key of a cipher, other secrets and ids
// masked by as many characters. hidden are those secrets and ids.
func Options(c, usual drivers.Config) (shown map[string]string, hidden []string) {
	shown = map[string]string{}
	value, unset := reflect.ValueOf(c), reflect.ValueOf(usual)
	if value.Kind() != reflect.Pointer || value.Elem().Kind() != reflect.Struct || unset.Type() != value.Type() {
		return shown, nil
	}
	for i := range value.Elem().NumField() {
		field := value.Elem().Type().Field(i)
		key := field.Tag.Get("koanf")
		if key == "" || !field.IsExported() {
			continue
		}
		v := value.Elem().Field(i).Interface()
		if secret, ok := v.(drivers.Secret); ok {
			if !secret.IsZero() {
				shown[key] = standIn(key, secret.Reveal())
				if shown[key] != "none" {
					hidden = append(hidden, secret.Reveal())
				}
			}
			continue
		}
		text := fmt.Sprint(v)
		switch {
		case text == fmt.Sprint(unset.Elem().Field(i).Interface()):
		case idKeys[key] && len(text) > 3:
			shown[key] = Zeros(text)
			hidden = append(hidden, text)
		default:
			shown[key] = text
		}
	}
	return shown, hidden
}

// Zeros is a text with a zero for each letter and digit.
func Zeros(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' {
			return '0'
		}
		return r
	}, text)
}
