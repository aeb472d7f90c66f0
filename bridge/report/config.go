package report

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// idKeys are keys whose values tell which meter or which connection is meant.
var idKeys = map[string]bool{"secondary": true, "fabrication": true, "id": true, "address": true}

// Options are a driver's keys as a report shows them, those that differ from the
// driver's own: secrets and ids masked by as many characters. hidden are those
// secrets and ids.
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
				shown[key] = strings.Repeat("*", len(secret.Reveal()))
				hidden = append(hidden, secret.Reveal())
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
