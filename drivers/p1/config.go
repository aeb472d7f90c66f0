package p1

import (
	"errors"
	"fmt"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// Config are the keys of a [[meter]] table that only P1 meters have.
type Config struct {
	// Check says how telegrams without a CRC are met. "auto" takes them until the
	// meter has shown a CRC, "crc" never, "none" always. A CRC that is there must
	// fit in all three.
	Check string `koanf:"check"`
	// Key is the encryption key (GUEK) of a meter that ciphers: 32 hexadecimal
	// digits, or 16 characters.
	Key drivers.Secret `koanf:"key"`
	// AuthKey is the authentication key (AK), in the same form. Empty stands for
	// the one that all meters of Luxembourg share. "none" reads without it: tags
	// are then not checked.
	AuthKey drivers.Secret `koanf:"auth_key"`
}

// The values of Config.Check.
const (
	checkAuto = "auto"
	checkCRC  = "crc"
	checkNone = "none"
)

// noAuthKey is the auth_key that says that there is none.
const noAuthKey = "none"

// Validate says which keys are wrong and what they may be.
func (c *Config) Validate() error {
	_, _, err := c.keys()
	switch c.Check {
	case "", checkAuto, checkCRC, checkNone:
		return err
	}
	return errors.Join(err, fmt.Errorf("check: %.20q is not one of auto, crc, none", c.Check))
}

// keys are the ciphering's. public: the authentication key is Luxembourg's, for
// none was given.
func (c *Config) keys() (k dlms.Keys, public bool, err error) {
	var errKey, errAuth error
	k.Encryption, errKey = parseKey("key", c.Key.Reveal())
	auth := strings.TrimSpace(c.AuthKey.Reveal())
	switch {
	case strings.EqualFold(auth, noAuthKey):
		k.Unchecked = true
	case auth == "" && !c.Key.IsZero():
		public = true
		k.Authentication, errAuth = parseKey("auth_key", LuxembourgAuthKey)
	default:
		k.Authentication, errAuth = parseKey("auth_key", auth)
	}
	if auth != "" && c.Key.IsZero() {
		errAuth = errors.Join(errAuth, errOnlyAuth)
	}
	return k, public, errors.Join(errKey, errAuth)
}

var errOnlyAuth = drivers.WithHint(errors.New("auth_key: it is set, and key is not"),
	"set key to the encryption key; the authentication key alone opens nothing")

// parseKey reads a key of suite 0, which is all that P1 meters use.
func parseKey(name, s string) (dlms.Key, error) {
	k, err := dlms.ParseKey(s)
	if err == nil && !k.IsZero() && !fitsSuite0(k) {
		err = errKeySize
	}
	if err != nil {
		return k, fmt.Errorf("%s: %w", name, err)
	}
	return k, nil
}

var errKeySize = drivers.WithHint(fmt.Errorf("neither 32 hexadecimal digits nor 16 characters: %w", dlms.ErrKey),
	"look for letters that are no hexadecimal digits, O for 0 or I for 1, and count the digits")

// fitsSuite0 says whether a key has the length that suite 0 takes.
func fitsSuite0(k dlms.Key) bool {
	cipher, err := dlms.NewCipher(dlms.Keys{Encryption: k}, nil)
	if err != nil {
		return false
	}
	_, err = cipher.Seal(nil, dlms.Security{Control: withoutTag}, nil)
	return err == nil
}

// LuxembourgAuthKey is the authentication key of every meter in Luxembourg, which
// its grid companies have made public.
const LuxembourgAuthKey = "00112233445566778899AABBCCDDEEFF"

// caution says what auth_key = "none" gives up.
func caution(c drivers.Config) string {
	cfg, ok := c.(*Config)
	if !ok || !strings.EqualFold(strings.TrimSpace(cfg.AuthKey.Reveal()), noAuthKey) {
		return ""
	}
	return `auth_key = "none": the tags of this meter are not checked, so a telegram is only as sure as its CRC`
}
