package config

import (
	"encoding/hex"
	"reflect"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Secrets are all secrets of a meter in the forms that its line may carry: as they
// are written and, of keys, the bytes that their digits mean.
func Secrets(m Meter) (forms [][]byte) {
	v := reflect.ValueOf(m.Options)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil
	}
	for _, value := range v.Elem().Fields() {
		secret, ok := reflect.TypeAssert[drivers.Secret](value)
		if !ok || secret.IsZero() {
			continue
		}
		text := secret.Reveal()
		forms = append(forms, []byte(text))
		if key, err := hex.DecodeString(keyDress.Replace(text)); err == nil && len(key) > 0 {
			forms = append(forms, key)
		}
	}
	return forms
}
