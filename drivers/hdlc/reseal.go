package hdlc

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// reseal puts the ciphered APDUs of an input under the keys of another
// configuration. With octet stuffing that cannot be had: a frame would change its
// length.
func reseal(from, to drivers.Config, z drivers.Zones, b []byte, hide drivers.Hide) (drivers.Resealed, error) {
	out := drivers.Resealed{Bytes: bytes.Clone(b), Done: make([]bool, len(b))}
	own, ok1 := from.(*Config)
	shown, ok2 := to.(*Config)
	if !ok1 || !ok2 {
		return out, fmt.Errorf("hdlc: options of another driver: %T, %T", from, to)
	}
	x, err := explained(from, z, b)
	if err != nil || own.Stuffing {
		return out, err
	}
	keys, err1 := own.keys()
	standIn, err2 := shown.keys()
	if err := errors.Join(err1, err2); err != nil {
		return out, err
	}
	r, err := dlms.NewResealer(keys, standIn, x.d.isPush)
	if err != nil {
		return out, err
	}
	plain := *own
	plain.Key, plain.AuthKey = drivers.Secret{}, drivers.Secret{}
	for _, l := range x.seals {
		apdu := r.APDU(l.Data, func(text []byte) []byte { return hide(&plain, text) })
		l.Put(out.Bytes, out.Done, apdu)
	}
	return out, nil
}
