package dlms

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Key is a global key of a meter: 16 bytes for suites 0 and 1, 32 for suite 2.
// It hides behind a pointer, so that no printer shows it. The zero Key is none.
type Key struct{ p *[]byte }

// ErrKey says that a text is no key. It names what was found, never the text.
var ErrKey = errors.New("not a key")

const keyHint = "a key is 32 hexadecimal digits (64 for suite 2), with or without 0x, blanks, colons and dashes; or the 16 characters themselves"

// ParseKey reads a key as people have it: 32 or 64 hexadecimal digits, perhaps
// with 0x in front or blanks, colons, dashes and commas between; or the key's 16
// or 32 bytes as printable ASCII characters, as some grid companies print them.
// "" is the zero Key. ErrKey comes with a hint.
func ParseKey(s string) (Key, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Key{}, nil
	}
	digits := hexDigits(s)
	b, isHex := wire.AppendHex(nil, digits)
	if isHex && keySize(len(b)) {
		return Key{&b}, nil
	}
	if keySize(len(s)) && isPrintable(s) {
		b = []byte(s)
		return Key{&b}, nil
	}
	return Key{}, drivers.WithHint(fmt.Errorf("%s: %w", found(s, digits), ErrKey), keyHint)
}

func keySize(n int) bool { return n == 16 || n == 32 }

// hexDigits is s without what people put between the digits of a key.
func hexDigits(s string) string {
	if len(s) > 1 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		s = s[2:]
	}
	return separators.Replace(s)
}

var separators = strings.NewReplacer(" 0x", "", ",0x", "", " ", "", "\t", "", ":", "", "-", "", ",", "")

// found describes a wrong key without showing it.
func found(s, digits string) string {
	for i := range len(digits) {
		if _, ok := wire.HexDigit(digits[i]); !ok {
			return fmt.Sprintf("%d characters that are not all hexadecimal digits", len(s))
		}
	}
	return fmt.Sprintf("%d hexadecimal digits", len(digits))
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// IsZero says that there is no key.
func (k Key) IsZero() bool { return k.p == nil }

// Equal says whether both are the same key.
func (k Key) Equal(o Key) bool { return string(k.bytes()) == string(o.bytes()) }

// String is a mask, or "" if there is no key.
func (k Key) String() string { return drivers.NewSecret(string(k.bytes())).String() }

// Format writes what String gives, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText writes what String gives.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k Key) bytes() []byte {
	if k.p == nil {
		return nil
	}
	return *k.p
}
