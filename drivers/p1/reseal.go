package p1

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// reseal puts the ciphered telegrams of an input under the keys of another
// configuration.
func reseal(from, to drivers.Config, z drivers.Zones, b []byte, hide drivers.Hide) (drivers.Resealed, error) {
	out := drivers.Resealed{Bytes: bytes.Clone(b), Done: make([]bool, len(b))}
	own, ok1 := from.(*Config)
	shown, ok2 := to.(*Config)
	if !ok1 || !ok2 {
		return out, fmt.Errorf("p1: options of another driver: %T, %T", from, to)
	}
	x, err := explained(from, z, b)
	if err != nil {
		return out, err
	}
	r, err := newResealer(own, shown)
	if err != nil {
		return out, err
	}
	plain := *own
	plain.Key, plain.AuthKey = drivers.Secret{}, drivers.Secret{}
	for _, s := range x.seals {
		apdu := r.APDU(s.apdu.Data, func(text []byte) []byte {
			return hide(&plain, append(bytes.Clone(s.head), text...))[len(s.head):]
		})
		s.apdu.Put(out.Bytes, out.Done, apdu)
	}
	return out, nil
}

func newResealer(own, shown *Config) (*dlms.Resealer, error) {
	keys, _, err1 := own.keys()
	standIn, _, err2 := shown.keys()
	u, err3 := newUnsealer(own)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	return dlms.NewResealer(keys, standIn, u.plausible)
}
