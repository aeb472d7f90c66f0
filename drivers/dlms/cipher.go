package dlms

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Keys are what a listener knows of a meter.
type Keys struct {
	Encryption     Key // GUEK
	Authentication Key // AK
	// Unchecked reads without the authentication key: tags are there and are not
	// looked at. What comes out is as good as whatever else vouches for it.
	Unchecked bool
}

// Cipher opens the ciphered APDUs of one meter, with AES-GCM of suites 0, 1 and
// 2. It is built once a key; Open allocates nothing. One caller at a time.
type Cipher struct {
	keys       Keys
	plausible  func(text []byte) bool
	encryption cipher.AEAD // nil: no key
	swapped    cipher.AEAD // what the authentication key would do in the other's place
	nonce      [12]byte
	covered    []byte // additional data: what the tag covers beside the ciphertext
	scratch    []byte // of diagnosis
	proven     int    // how many more failures are taken for damage: the keys fitted before
	last       *OpenError
}

// provenFor is how many tags in a row may fail before keys that once fitted are
// doubted.
const provenFor = 3

// NewCipher makes a Cipher. plausible says whether a text can be the clear text
// of such a meter: IsPush for DLMS, something that begins with / for P1. It is
// asked where there is no tag to ask, and to tell which of two keys is wrong.
// Keys may be none: then every ciphered APDU is refused with a reason.
func NewCipher(k Keys, plausible func(text []byte) bool) (*Cipher, error) {
	c := &Cipher{keys: k, plausible: plausible}
	var err error
	if c.encryption, err = newGCM(k.Encryption); err != nil {
		return nil, err
	}
	c.swapped, err = newGCM(k.Authentication)
	return c, err
}

func newGCM(k Key) (cipher.AEAD, error) {
	if k.IsZero() {
		return nil, nil
	}
	block, err := aes.NewCipher(k.bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return cipher.NewGCMWithTagSize(block, tagSize)
}

// Open deciphers one general-glo-, general-ded- or general-ciphering APDU, the
// whole of apdu, and appends the clear text to dst, which must not overlap it.
// With room for len(apdu)+12 bytes in dst it allocates nothing.
//
// An error is an *OpenError once the system title is known, with one of the
// faults of this package underneath; before that it is drivers.ErrShort, ErrLong
// or ErrSyntax. dst is then returned as it was. The clear text of an APDU without
// tag, or of one that was not checked, is only plausible: the caller must parse
// it to its last byte.
func (c *Cipher) Open(dst, apdu []byte) (text []byte, info Security, err error) {
	in, err := parseCiphered(apdu)
	if err != nil {
		return dst, in.Security, err
	}
	c.nonce = in.nonce
	text, err = c.open(dst, &in)
	if err != nil {
		return dst, in.Security, c.refusal(in.Title, err)
	}
	return text, in.Security, nil
}

func (c *Cipher) open(dst []byte, in *ciphered) ([]byte, error) {
	if in.Control&compressed != 0 {
		return dst, ErrCompressed
	}
	if !in.Encrypted() && !in.Authenticated() {
		return append(dst, in.content...), nil
	}
	if err := c.fits(in.Suite()); err != nil {
		return dst, err
	}
	switch {
	case !in.Authenticated():
		return c.stream(dst, in.content)
	case c.keys.Unchecked && in.Encrypted():
		return c.stream(dst, in.content[:len(in.content)-tagSize])
	case c.keys.Unchecked:
		return append(dst, in.content[:len(in.content)-tagSize]...), nil
	case c.keys.Authentication.IsZero():
		return dst, c.withoutAuthKey(in)
	}
	text, err := c.checked(dst, in)
	if err != nil {
		return dst, c.diagnose(in)
	}
	in.Checked, c.proven = true, provenFor
	return text, nil
}

// fits says whether the key can be one of the suite.
func (c *Cipher) fits(suite int) error {
	want := 16
	switch suite {
	case 0, 1:
	case 2:
		want = 32
	default:
		return ErrNoSuite
	}
	switch {
	case c.encryption == nil:
		return ErrNoKey
	case len(c.keys.Encryption.bytes()) != want:
		return ErrSuite
	}
	return nil
}

// checked deciphers with the tag's word. The tag of what is only authenticated
// covers the clear text as additional data, of nothing.
func (c *Cipher) checked(dst []byte, in *ciphered) ([]byte, error) {
	c.cover(in.Control, c.keys.Authentication, in.about)
	if in.Encrypted() {
		return c.encryption.Open(dst, c.nonce[:], in.content, c.covered)
	}
	n := len(in.content) - tagSize
	c.covered = append(c.covered, in.content[:n]...)
	if _, err := c.encryption.Open(nil, c.nonce[:], in.content[n:], c.covered); err != nil {
		return dst, err
	}
	return append(dst, in.content[:n]...), nil
}

// cover sets the additional data: SC ‖ AK, then the header of general-ciphering.
func (c *Cipher) cover(control byte, ak Key, about []byte) {
	c.covered = append(c.covered[:0], control)
	c.covered = append(c.covered, ak.bytes()...)
	c.covered = append(c.covered, about...)
}

// stream deciphers without a tag. GCM is counter mode from block 2 on, its own
// inverse, so sealing the ciphertext gives the clear text, at full speed and
// without an allocation; the tag of that is thrown away.
func (c *Cipher) stream(dst, content []byte) ([]byte, error) {
	text := c.encryption.Seal(dst, c.nonce[:], content, nil)[:len(dst)+len(content)]
	if !c.plausible(text[len(dst):]) {
		return dst, ErrEncryptionKey
	}
	return text, nil
}

// withoutAuthKey tells whether the authentication key is all that is missing.
func (c *Cipher) withoutAuthKey(in *ciphered) error {
	if in.Encrypted() && !c.reads(c.encryption, in) {
		return ErrEncryptionKey
	}
	return ErrNoAuthKey
}

// diagnose says why a tag did not fit.
func (c *Cipher) diagnose(in *ciphered) error {
	switch {
	case c.proven > 0:
		c.proven--
		return ErrTag
	case !in.Encrypted():
		return ErrAuthKey
	case c.reads(c.encryption, in):
		return ErrAuthKey
	case len(c.keys.Authentication.bytes()) == len(c.keys.Encryption.bytes()) && c.reads(c.swapped, in):
		return ErrSwappedKeys
	}
	return ErrEncryptionKey
}

// reads says whether a key makes something plausible of the ciphertext.
func (c *Cipher) reads(key cipher.AEAD, in *ciphered) bool {
	content := in.content[:len(in.content)-tagSize]
	c.scratch = key.Seal(c.scratch[:0], c.nonce[:], content, nil)
	return c.plausible(c.scratch[:len(content)])
}

// refusal is the error for a title and a cause. The same as last time is the same
// error, so that a meter whose key is wrong costs no memory telegram by telegram.
func (c *Cipher) refusal(t Title, cause error) error {
	if c.last == nil || c.last.Title != t || !errors.Is(c.last.Err, cause) {
		c.last = &OpenError{Title: t, Err: cause}
	}
	return c.last
}

// Seal appends the general-glo-ciphering APDU of text to dst: what a meter with
// these keys sends. s gives title, security control and counter; its Checked does
// not count. ErrSuite, ErrNoKey, ErrNoAuthKey and the like: the keys do not fit
// the security control.
func (c *Cipher) Seal(dst []byte, s Security, text []byte) ([]byte, error) {
	if s.Control&compressed != 0 {
		return dst, ErrCompressed
	}
	protected := s.Encrypted() || s.Authenticated()
	if err := c.fits(s.Suite()); protected && err != nil {
		return dst, err
	}
	size := minSecured + len(text)
	if s.Authenticated() {
		size += tagSize
		if c.keys.Authentication.IsZero() {
			return dst, ErrNoAuthKey
		}
	}
	if size > MaxAPDU {
		return dst, drivers.ErrLong
	}
	dst = append(dst, tagGeneralGlobal, byte(len(s.Title)))
	dst = append(dst, s.Title[:]...)
	dst = appendLength(dst, size)
	dst = append(dst, s.Control)
	dst = binary.BigEndian.AppendUint32(dst, s.Counter)
	copy(c.nonce[:], s.Title[:])
	binary.BigEndian.PutUint32(c.nonce[8:], s.Counter)
	return c.seal(dst, s, text), nil
}

func (c *Cipher) seal(dst []byte, s Security, text []byte) []byte {
	c.cover(s.Control, c.keys.Authentication, nil)
	switch {
	case s.Encrypted() && s.Authenticated():
		return c.encryption.Seal(dst, c.nonce[:], text, c.covered)
	case s.Encrypted():
		return c.encryption.Seal(dst, c.nonce[:], text, nil)[:len(dst)+len(text)]
	case s.Authenticated():
		c.covered = append(c.covered, text...)
		return c.encryption.Seal(append(dst, text...), c.nonce[:], nil, c.covered)
	}
	return append(dst, text...)
}
