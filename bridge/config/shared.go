package config

import (
	"reflect"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// SharedKeys are the names of meters that have the same encryption key, a list
// for each such key.
func SharedKeys(meters []Meter) (shared [][]string) {
	byKey := map[string][]string{}
	var order []string
	for i := range meters {
		key := encryptionKey(meters[i].Options)
		if key == "" {
			continue
		}
		if byKey[key] == nil {
			order = append(order, key)
		}
		byKey[key] = append(byKey[key], meters[i].Name)
	}
	for _, key := range order {
		if len(byKey[key]) > 1 {
			shared = append(shared, byKey[key])
		}
	}
	return shared
}

// encryptionKey is what a driver's configuration has under key, however its
// digits are dressed; "" if it has none.
func encryptionKey(options drivers.Config) string {
	v := reflect.ValueOf(options)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return ""
	}
	for field, value := range v.Elem().Fields() {
		if secret, ok := reflect.TypeAssert[drivers.Secret](value); ok && field.Tag.Get("koanf") == "key" {
			return keyDress.Replace(strings.TrimPrefix(strings.ToLower(strings.TrimSpace(secret.Reveal())), "0x"))
		}
	}
	return ""
}

// keyDress is what people put between the digits of a key.
var keyDress = strings.NewReplacer(" 0x", "", ",0x", "", " ", "", "\t", "", ":", "", "-", "", ",", "")
