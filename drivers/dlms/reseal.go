package dlms

import (
	"bytes"
	"crypto/cipher"
)

// Resealer puts ciphered APDUs of one meter under other keys, so that they can be
// shown to somebody: what the meter's own keys open is not in them any more.
type Resealer struct{ from, to *Cipher }

// NewResealer makes a Resealer from a meter's keys to others of the same lengths.
// plausible is that of NewCipher.
func NewResealer(from, to Keys, plausible func(text []byte) bool) (*Resealer, error) {
	own, err := NewCipher(from, plausible)
	if err != nil {
		return nil, err
	}
	shown, err := NewCipher(to, plausible)
	return &Resealer{own, shown}, err
}

// APDU is a ciphered APDU under the other keys, byte for byte as long. The numbers
// of its system titles are zeros. Its clear text is what hide makes of it, which
// must be as long; a tag that fitted fits, and one that did not does not. Where the
// meter's keys open nothing, all behind the invocation counter is zero. An APDU that
// was cut is dealt with as far as it goes.
func (r *Resealer) APDU(apdu []byte, hide func(text []byte) []byte) []byte {
	out := bytes.Clone(apdu)
	at := hideTitles(out)
	in, err := parseCiphered(apdu)
	if err != nil {
		clear(out[min(at, len(out)):])
		return out
	}
	at = len(apdu) - len(in.content)
	o := r.from.attempt(&in)
	if o.text == nil {
		clear(out[at:])
		return out
	}
	return r.to.again(out, at, hide(o.text), o)
}

// hideTitles makes zeros of what the header says beside makers, and gives where the
// content begins: behind SC and invocation counter. Of a header that was cut or is
// none, that is behind as much of it as is there.
func hideTitles(b []byte) (content int) {
	const maker = 3
	fields := 1
	if len(b) > 0 && b[0] == tagGeneralCiphering {
		fields = 5
	}
	at := 1
	for field := range fields {
		n, size, err := length(b[min(at, len(b)):])
		if err != nil {
			return at
		}
		from := at + size
		at = from + n
		if n == len(Title{}) && (fields == 1 || field == 1 || field == 2) {
			from += maker
		}
		clear(b[min(from, len(b)):min(at, len(b))])
	}
	if fields > 1 { // key information: none, or the number of a key
		at++
		if at <= len(b) && b[at-1] != 0 {
			at += 2
		}
	}
	_, size, err := length(b[min(at, len(b)):])
	if err != nil {
		return at
	}
	return at + size + minSecured
}

// opened is what comes out of a ciphered APDU, whether its tag fits or not.
type opened struct {
	text    []byte // nil: nothing that makes sense
	fits    bool   // the tag does
	swapped bool   // the authentication key opened it
}

// attempt opens an APDU as far as the keys go.
func (c *Cipher) attempt(in *ciphered) opened {
	c.nonce = in.nonce
	if text, err := c.open(nil, in); err == nil {
		return opened{text: text, fits: in.Checked}
	}
	if in.Control&compressed != 0 || c.fits(in.Suite()) != nil {
		return opened{}
	}
	sealed := in.content
	if in.Authenticated() {
		sealed = sealed[:len(sealed)-tagSize]
	}
	if !in.Encrypted() {
		return opened{text: bytes.Clone(sealed)}
	}
	for _, key := range []cipher.AEAD{c.encryption, c.swapped} {
		if key == nil {
			continue
		}
		text := key.Seal(nil, c.nonce[:], sealed, nil)[:len(sealed)]
		if c.plausible(text) {
			return opened{text: text, swapped: key != c.encryption}
		}
	}
	return opened{}
}

// again puts a text behind the header of an APDU, sealed as it was before. Of apdu
// only the header counts, which ends at an offset.
func (c *Cipher) again(apdu []byte, at int, text []byte, o opened) []byte {
	in, err := parseCiphered(apdu)
	if err != nil {
		return apdu
	}
	key, header := c.encryption, apdu[:at:at]
	if o.swapped {
		key = c.swapped
	}
	c.nonce = in.nonce
	c.cover(in.Control, c.keys.Authentication, in.about)
	switch {
	case !in.Encrypted() && !in.Authenticated():
		return append(header, text...)
	case key == nil:
		return append(header, make([]byte, len(in.content))...)
	case !in.Authenticated():
		return key.Seal(header, c.nonce[:], text, nil)[:len(apdu)]
	case in.Encrypted():
		apdu = key.Seal(header, c.nonce[:], text, c.covered)
	default:
		c.covered = append(c.covered, text...)
		apdu = key.Seal(append(header, text...), c.nonce[:], nil, c.covered)
	}
	if !o.fits {
		apdu[len(apdu)-1] ^= 1
	}
	return apdu
}
