package mbus

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// resealWireless puts encrypted telegrams under the key of another configuration.
func resealWireless(from, to drivers.Config, z drivers.Zones, b []byte, hide drivers.Hide) (drivers.Resealed, error) {
	out := drivers.Resealed{Bytes: bytes.Clone(b), Done: make([]bool, len(b))}
	own, ok1 := from.(*WirelessConfig)
	shown, ok2 := to.(*WirelessConfig)
	if !ok1 || !ok2 {
		return out, fmt.Errorf("%s: options of another driver: %T, %T", wirelessName, from, to)
	}
	d, err := NewWirelessDecoder(own, zoneOf(z))
	if err != nil {
		return out, err
	}
	key, err := shown.key()
	if err != nil {
		return out, err
	}
	k, err := newKeys(key)
	if err != nil {
		return out, err
	}
	e, whole := drivers.Explain(b)
	d.Feed(b)
	d.Gap()
	x := radio{d: d, pending: pending{e: e}, whole: whole}
	plain := WirelessConfig{ID: own.ID}
	for {
		telegram, check, err := d.in.next()
		switch {
		case errors.Is(err, drivers.ErrMore):
			return out, nil
		case err != nil:
			l := x.sent()
			if d.in.form == asBytes {
				l = x.whole.Cut(d.in.from, d.in.from+d.in.fault.Length)
			}
			if again := blanked(l.Data); again != nil && errors.Is(err, drivers.ErrChecksum) {
				l.Put(out.Bytes, out.Done, again)
			}
			continue
		}
		l := x.sent()
		size := len(telegram)
		again := x.resealed(telegram, check, k, func(text []byte) []byte { return hide(&plain, text) })
		if again != nil && len(x.plain(l, size, check).Data) == size {
			l.Put(out.Bytes, out.Done, x.withCRCs(l.Data, again))
		}
	}
}

// blanked is a damaged telegram of which nothing is left but how it was built: zeros
// behind its link layer, and CRCs that fit where they did. nil: it has none.
func blanked(sent []byte) []byte {
	first, size := linkHeader, blockA
	switch {
	case len(sent) > linkHeader+crcLength && sealed(sent[:linkHeader+crcLength]):
	case len(sent) > linkHeader+crcLength && sealed(sent[:min(len(sent), blockB+crcLength)]):
		first, size = blockB, 1<<8
	default:
		return nil
	}
	again := bytes.Clone(sent)
	clear(again[4:8])
	for at, n := 0, first+crcLength; at < len(sent); at, n = at+n, size+crcLength {
		n = min(n, len(sent)-at)
		block, was := again[at:at+n], sent[at:at+n]
		if n <= crcLength {
			break
		}
		data := block[:n-crcLength]
		clear(data[min(len(data), max(0, linkHeader-at)):])
		binary.BigEndian.PutUint16(block[n-crcLength:], wire.CRC13757(data))
		if !sealed(was) {
			block[n-1] ^= 1
		}
	}
	return again
}

// withCRCs is a telegram in the frame format of another one that was sent.
func (x *radio) withCRCs(sent, telegram []byte) []byte {
	if len(sent) == len(telegram) {
		return telegram
	}
	first, size := blockB, 1<<8
	if _, a := x.d.in.measure(sent); a == drivers.CheckCRC16 {
		first, size = linkHeader, blockA
	}
	again := make([]byte, 0, len(sent))
	for n := first; len(telegram) > 0; n = size {
		n = min(n, len(telegram))
		again = appendSealed(again, telegram[:n])
		telegram = telegram[n:]
	}
	return again
}

// resealed is a telegram without CRCs under another key; nil: nobody wants it, or it
// may not even be one. It is deciphered in place.
func (x *radio) resealed(b []byte, check drivers.Check, k *keys, hide func([]byte) []byte) []byte {
	sent := bytes.Clone(b)
	var r drivers.Reading
	_, f := x.d.telegram(&r, b)
	l := &x.d.layers
	switch {
	case !x.d.wants():
		return nil
	case f != nil && errors.Is(f.err, drivers.ErrAuth) && f.hint != notCiphered:
		again := hide(sent)
		clear(again[l.at:])
		return again
	case !bytes.Equal(sent, b):
	case f == nil || check != drivers.CheckNone || l.sealed:
		return hide(sent)
	default:
		return nil
	}
	again := hide(b)
	k.encipher(again, l, !bytes.Equal(sent[l.data:], b[l.data:]))
	return again
}

// encipher seals a telegram in place, as one was sealed of which was says how it was
// built.
func (k *keys) encipher(b []byte, was *layers, application bool) {
	if was.payload > 0 {
		rest := b[was.payload:]
		binary.LittleEndian.PutUint16(rest, wire.CRC13757(rest[crcLength:]))
	}
	var l layers
	if f := l.parse(b, &keys{}); f != nil || !k.set() {
		clear(b[was.at:])
		return
	}
	switch enciphered := was.payload > 0 && was.enciphered(); {
	case enciphered:
		k.counter(&l, b[was.payload:])
	case application:
		k.encrypt(&l)
	}
}

// encrypt seals the encrypted blocks of a telegram, in place.
func (k *keys) encrypt(l *layers) {
	data := l.b[l.at:]
	n := l.header.blocks() * aes.BlockSize
	if n > len(data) {
		return
	}
	if l.header.mode() == modeCBC {
		k.setIV(l)
		cipher.NewCBCEncrypter(k.block, k.iv[:]).CryptBlocks(data[:n], data[:n])
		return
	}
	enc, err1 := aes.NewCipher(k.derive(l, 0x00))
	mac, err2 := aes.NewCipher(k.derive(l, 0x01))
	if errors.Join(err1, err2) != nil {
		clear(data)
		return
	}
	k.iv = [aes.BlockSize]byte{}
	cipher.NewCBCEncrypter(enc, k.iv[:]).CryptBlocks(data[:n], data[:n])
	sum := cmac(mac, l.authenticatedBytes())
	copy(l.auth.mac, sum[:])
}
