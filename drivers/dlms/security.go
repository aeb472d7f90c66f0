package dlms

import (
	"encoding/binary"
	"encoding/hex"
	"errors"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Tags of the APDUs that carry another, ciphered one. Green Book ed. 9, 9.5.
const (
	tagGeneralGlobal    = 0xDB // general-glo-ciphering: the meter's global key
	tagGeneralDedicated = 0xDC // general-ded-ciphering: a dedicated key
	tagGeneralCiphering = 0xDD // general-ciphering: any key, and who sends to whom
)

// Title is a system title: three letters of the maker, then a number. Poland's
// meters send none: all zero.
type Title [8]byte

// Maker is the maker's FLAG identification, "KFM", or "" if the title does not
// begin with three letters.
func (t Title) Maker() string {
	for _, c := range t[:3] {
		if c < 'A' || c > 'Z' {
			return ""
		}
	}
	return string(t[:3])
}

// String is the maker and the hexadecimal digits of the rest, or all digits if
// there is no maker: KFM1010000023.
func (t Title) String() string {
	if m := t.Maker(); m != "" {
		return m + hex.EncodeToString(t[3:])
	}
	return hex.EncodeToString(t[:])
}

// Security is what a ciphered APDU says about its own protection.
type Security struct {
	Title   Title
	Control byte   // SC, the security control byte
	Counter uint32 // IC, the invocation counter
	Checked bool   // its tag was there and fitted
}

// The security control byte, Green Book ed. 9, 9.2.7.2.4.1:
//
//	bit   7           6           5          4              3 … 0
//	      compressed  broadcast   encrypted  authenticated  suite
const (
	suiteBits     = 0x0F
	authenticated = 0x10 // the last 12 bytes are the tag
	encrypted     = 0x20
	broadcast     = 0x40 // with the broadcast key
	compressed    = 0x80
)

// Suite is the security suite: 0 and 1 are AES-128-GCM, 2 is AES-256-GCM.
func (s Security) Suite() int { return int(s.Control & suiteBits) }

// Encrypted says that the content cannot be read without the key.
func (s Security) Encrypted() bool { return s.Control&encrypted != 0 }

// Authenticated says that a tag follows the content.
func (s Security) Authenticated() bool { return s.Control&authenticated != 0 }

// Why a ciphered APDU gave nothing. All but the last three wrap
// drivers.ErrAuth; each carries a hint. An *OpenError wraps one of them.
var (
	ErrNoKey         = fault("ciphered, and there is no key", "set key to the encryption key that the grid company gives for this meter (GUEK, GPK60, «key 64»)")
	ErrNoAuthKey     = fault("the encryption key fits, but there is no authentication key", `set auth_key to the authentication key (AK, GPK61, «key 65»); auth_key = "none" reads without checking the tag`)
	ErrEncryptionKey = fault("the encryption key does not fit", "key is not this meter's: compare each digit and the meter's number with what the grid company sent; keys change when a meter is exchanged")
	ErrAuthKey       = fault("the encryption key fits, the authentication key does not", `auth_key is wrong: compare each digit with what the grid company sent; auth_key = "none" reads without checking the tag`)
	ErrSwappedKeys   = fault("the two keys are swapped", "exchange key and auth_key")
	ErrSuite         = fault("the key has the wrong length for the meter's security suite", "suites 0 and 1 take a key of 32 hexadecimal digits, suite 2 one of 64")
	ErrTag           = fault("the tag does not fit, though it did with the same keys before", "a damaged telegram is refused, which costs nothing but itself; if it goes on, the meter has a new key")
	ErrCounter       = fault("the invocation counter does not rise", "a telegram that is sent again is left out; if it goes on, the meter or its key was exchanged, or someone replays telegrams")

	ErrKeyInfo    = drivers.WithHint(errors.New("ciphered with a key that comes wrapped or agreed upon, which no listener can have"), "ask the grid company for a push with the meter's global key")
	ErrCompressed = drivers.WithHint(errors.New("compressed before it was ciphered"), "please report this meter: none is known that does so")
	ErrNoSuite    = drivers.WithHint(errors.New("security suite that does not exist"), "the telegram is damaged, or the meter follows a newer standard: please report it")
)

// authError is a fault of keys: text, and drivers.ErrAuth underneath.
type authError struct{ text string }

func (f *authError) Error() string { return f.text }
func (*authError) Unwrap() error   { return drivers.ErrAuth }

func fault(text, hint string) error { return drivers.WithHint(&authError{text}, hint) }

// OpenError is a ciphered APDU that gave nothing: whose it was and, by Unwrap,
// why. It does not change, so keep it as long as you like.
type OpenError struct {
	Title Title
	Err   error
}

// Error names the system title and the cause.
func (e *OpenError) Error() string { return "system title " + e.Title.String() + ": " + e.Err.Error() }

// Unwrap is the cause.
func (e *OpenError) Unwrap() error { return e.Err }

// ciphered is a ciphered APDU, taken apart.
//
//	DB 08 title[8] LEN SC IC[4] content … tag[12]
type ciphered struct {
	Security
	nonce   [12]byte // title ‖ IC
	about   []byte   // what else the tag covers: the header of general-ciphering
	content []byte   // with the tag, if there is one
}

// minSecured is the least that LEN counts: SC and IC.
const minSecured = 5

// tagSize is the GCM tag of all suites: the first 12 bytes.
const tagSize = 12

func parseCiphered(apdu []byte) (c ciphered, err error) {
	title, about, rest, err := cipheredHeader(apdu)
	if err != nil {
		return c, err
	}
	copy(c.Title[:], title)
	body, rest, err := octets(rest)
	switch {
	case err != nil:
		return c, err
	case len(rest) > 0:
		return c, drivers.ErrLong
	case len(body) < minSecured:
		return c, drivers.ErrShort
	}
	c.Control = body[0]
	c.Counter = binary.BigEndian.Uint32(body[1:])
	copy(c.nonce[:8], c.Title[:])
	copy(c.nonce[8:], body[1:])
	c.about, c.content = about, body[minSecured:]
	if c.Authenticated() && len(c.content) < tagSize {
		return c, drivers.ErrShort
	}
	return c, nil
}

// cipheredHeader takes off what stands before LEN.
func cipheredHeader(apdu []byte) (title, about, rest []byte, err error) {
	if len(apdu) == 0 {
		return nil, nil, nil, drivers.ErrShort
	}
	switch apdu[0] {
	case tagGeneralGlobal, tagGeneralDedicated:
		title, rest, err = octets(apdu[1:])
	case tagGeneralCiphering:
		title, about, rest, err = generalHeader(apdu[1:])
	default:
		return nil, nil, nil, drivers.ErrSyntax
	}
	if err == nil && len(title) != 0 && len(title) != len(Title{}) {
		err = drivers.ErrSyntax
	}
	return title, about, rest, err
}

// generalHeader takes off the header of general-ciphering: transaction id,
// originator's title, recipient's title, date-time, other information, all octet
// strings that the tag covers with their lengths; then key information. Only a
// key that is named, or none, is of use to a listener.
func generalHeader(b []byte) (title, about, rest []byte, err error) {
	rest = b
	for field := range 5 {
		var s []byte
		if s, rest, err = octets(rest); err != nil {
			return nil, nil, nil, err
		}
		if field == 1 {
			title = s
		}
	}
	about = b[:len(b)-len(rest)]
	switch {
	case len(rest) < 1:
		return nil, nil, nil, drivers.ErrShort
	case rest[0] == 0: // no key information
		return title, about, rest[1:], nil
	case len(rest) < 3:
		return nil, nil, nil, drivers.ErrShort
	case rest[0] != 1 || rest[1] > 2:
		return nil, nil, nil, drivers.ErrSyntax
	case rest[1] != 0: // 1: wrapped key, 2: agreed key
		return nil, nil, nil, ErrKeyInfo
	}
	return title, about, rest[3:], nil // identified key: its number
}

// CipheredSize is how many bytes the ciphered APDU at the start of b has, from
// its tag DB, DC or DD to the end of what LEN counts, however many of them are
// there yet. drivers.ErrShort: b does not reach as far as LEN; anything else: no
// ciphered APDU begins here.
func CipheredSize(b []byte) (int, error) {
	_, _, rest, err := cipheredHeader(b)
	if err != nil {
		return 0, err
	}
	n, size, err := length(rest)
	switch {
	case err != nil:
		return 0, err
	case n < minSecured:
		return 0, drivers.ErrSyntax
	}
	return len(b) - len(rest) + size + n, nil
}
