package mbus

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Encryption modes of the configuration word, EN 13757-7:2018, 7.6.
const (
	modePlain      = 0
	modeCBC        = 5 // AES-128-CBC, the IV from address and access number
	modeCBCDynamic = 7 // AES-128-CBC with keys derived for each message
)

// What a person can do about a telegram that cannot be read.
const (
	missingKey  = `the telegram is encrypted: set the meter's key, as in key = "00112233445566778899AABBCCDDEEFF"`
	wrongKey    = "the key is not this meter's, or the telegram was damaged"
	notCiphered = "a key is configured, so a telegram that is not encrypted is not believed"
	otherMode   = "this encryption mode is not known"
)

// keys decipher the telegrams of one meter. Without a key they decipher none.
type keys struct {
	block cipher.Block // of the meter's key; nil: there is none
	used  bool         // the telegram at hand was deciphered
	iv    [aes.BlockSize]byte
	out   [aes.BlockSize]byte
}

// newKeys takes a key of 16 bytes, or none.
func newKeys(key []byte) (*keys, error) {
	if len(key) == 0 {
		return &keys{}, nil
	}
	block, err := aes.NewCipher(key)
	return &keys{block: block}, err
}

func (k *keys) set() bool { return k.block != nil }

// counter applies AES-128-CTR of the extended link layer: EN 13757-4, 13.2.9. The
// counter block is M, ID, V, T, CC without its hop bits, session, frame 00 00 and
// the block's number.
func (k *keys) counter(l *layers, data []byte) {
	a := l.link
	k.iv = [aes.BlockSize]byte{a[4], a[5], a[0], a[1], a[2], a[3], a[6], a[7], l.cc &^ 0x12}
	copy(k.iv[9:], l.session)
	for ; len(data) > 0; k.iv[15]++ {
		k.block.Encrypt(k.out[:], k.iv[:])
		n := subtle.XORBytes(data, data, k.out[:])
		data = data[n:]
	}
}

// decipher opens the encrypted blocks of the telegram, in place.
func (k *keys) decipher(l *layers) *flaw {
	mode := l.header.mode()
	l.data = l.at
	data := l.b[l.at:]
	switch {
	case !l.header.sized || mode == modePlain:
		if k.set() && !k.used {
			return l.wrong("configuration", l.at, drivers.ErrAuth, notCiphered)
		}
		return nil
	case mode != modeCBC && mode != modeCBCDynamic:
		return l.wrong("configuration", l.at, drivers.ErrAuth, otherMode)
	}
	n := l.header.blocks() * aes.BlockSize
	if n > len(data) {
		return l.short("enciphered payload")
	}
	if n == 0 {
		if k.set() && !k.used {
			return l.wrong("configuration", l.at, drivers.ErrAuth, notCiphered)
		}
		return nil
	}
	if !k.set() {
		if opened(data) {
			return nil // whoever received it has deciphered it
		}
		return l.wrong("enciphered payload", l.at, drivers.ErrAuth, missingKey)
	}
	if mode == modeCBC {
		k.classic(l, data[:n])
	} else if f := k.dynamic(l, data[:n]); f != nil {
		return f
	}
	if !opened(data) {
		return l.wrong("enciphered payload", l.at, drivers.ErrAuth, wrongKey)
	}
	k.used = true
	return nil
}

// opened says whether data begins with the two fillers that show the right key.
func opened(data []byte) bool {
	return len(data) >= 2 && data[0] == difFiller && data[1] == difFiller
}

// classic is mode 5: the IV is M, ID, V, T and eight times the access number.
func (k *keys) classic(l *layers, data []byte) {
	k.setIV(l)
	k.chain(k.block, data)
}

// setIV is the IV of mode 5.
func (k *keys) setIV(l *layers) {
	a := l.header.meter
	if !l.header.named {
		a = l.link
	}
	k.iv = [aes.BlockSize]byte{a[4], a[5], a[0], a[1], a[2], a[3], a[6], a[7]}
	for i := 8; i < aes.BlockSize; i++ {
		k.iv[i] = l.header.access
	}
}

// dynamic is mode 7: keys are derived from the message counter, and the MAC over
// all from the transport layer on must fit before anything is deciphered.
func (k *keys) dynamic(l *layers, data []byte) *flaw {
	if l.extra>>4&3 != 1 {
		return l.wrong("key derivation", l.at-1, drivers.ErrAuth, otherMode)
	}
	if len(l.auth.counter) != 4 || len(l.auth.mac) == 0 || l.auth.control&0x0F > 7 {
		return l.wrong("authentication layer", l.ciAt, drivers.ErrAuth, "mode 7 without a counter and a MAC that can be checked")
	}
	mac, err := aes.NewCipher(k.derive(l, 0x01))
	if err != nil {
		return l.wrong("key derivation", l.at, drivers.ErrAuth, otherMode)
	}
	sum := cmac(mac, l.authenticatedBytes())
	if subtle.ConstantTimeCompare(sum[:len(l.auth.mac)], l.auth.mac) != 1 {
		return l.wrong("MAC", l.ciAt, drivers.ErrAuth, wrongKey)
	}
	enc, err := aes.NewCipher(k.derive(l, 0x00))
	if err != nil {
		return l.wrong("key derivation", l.at, drivers.ErrAuth, otherMode)
	}
	k.iv = [aes.BlockSize]byte{}
	k.chain(enc, data)
	return nil
}

// authenticatedBytes are what the MAC of mode 7 covers.
func (l *layers) authenticatedBytes() []byte {
	return append(append([]byte{l.auth.control}, l.auth.counter...), l.b[l.ciAt:]...)
}

// derive is the key of a message: the CMAC of its purpose, the counter, the ID
// and seven times 07.
func (k *keys) derive(l *layers, purpose byte) []byte {
	a := l.header.meter
	if !l.header.named {
		a = l.link
	}
	message := append([]byte{purpose}, l.auth.counter...)
	message = append(message, a[:4]...)
	message = append(message, bytes.Repeat([]byte{0x07}, 7)...)
	key := cmac(k.block, message)
	return key[:]
}

// chain deciphers AES-CBC from k.iv on, in place, without the allocations of
// crypto/cipher's CBC.
func (k *keys) chain(block cipher.Block, data []byte) {
	for ; len(data) >= aes.BlockSize; data = data[aes.BlockSize:] {
		block.Decrypt(k.out[:], data)
		subtle.XORBytes(k.out[:], k.out[:], k.iv[:])
		copy(k.iv[:], data)
		copy(data, k.out[:])
	}
}

// cmac is AES-CMAC, RFC 4493.
func cmac(block cipher.Block, message []byte) (sum [aes.BlockSize]byte) {
	var sub [aes.BlockSize]byte
	block.Encrypt(sub[:], sub[:])
	double(&sub)
	for ; len(message) > aes.BlockSize; message = message[aes.BlockSize:] {
		subtle.XORBytes(sum[:], sum[:], message[:aes.BlockSize])
		block.Encrypt(sum[:], sum[:])
	}
	var last [aes.BlockSize]byte
	if n := copy(last[:], message); n < aes.BlockSize {
		last[n] = 0x80
		double(&sub)
	}
	subtle.XORBytes(last[:], last[:], sub[:])
	subtle.XORBytes(sum[:], sum[:], last[:])
	block.Encrypt(sum[:], sum[:])
	return sum
}

// double multiplies by x in GF(2^128).
func double(b *[aes.BlockSize]byte) {
	carry := b[0] >> 7
	for i := range aes.BlockSize - 1 {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	b[aes.BlockSize-1] = b[aes.BlockSize-1]<<1 ^ carry*0x87
}
