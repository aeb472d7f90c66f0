package drivers

import (
	"fmt"
	"io"
)

// masked is what anyone but Reveal sees of a Secret.
const masked = "***"

// Secret is a password or a key. It hides behind a pointer, so that even a
// printer that walks through unexported fields shows an address; Reveal is the
// only way in. The zero Secret is none.
type Secret struct{ p *string }

// NewSecret hides s; "" gives the zero Secret.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// Reveal is the secret itself, or "" if there is none.
func (s Secret) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// IsZero says that there is no secret.
func (s Secret) IsZero() bool { return s.p == nil }

// String is a mask, or "" if there is no secret.
func (s Secret) String() string {
	if s.p == nil {
		return ""
	}
	return masked
}

// GoString is what String gives, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format writes what String gives, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText writes what String gives.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON writes what String gives, as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }
