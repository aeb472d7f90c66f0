package hdlc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Config are the keys of a [[meter]] table that only DLMS meters have.
type Config struct {
	// Key is the encryption key (GUEK, GPK60) of a meter that ciphers: 32
	// hexadecimal digits, 64 for suite 2, or 16 characters.
	Key drivers.Secret `koanf:"key"`
	// AuthKey is the authentication key (AK, GPK61), in the same form. "none"
	// reads without it: tags are then not checked.
	AuthKey drivers.Secret `koanf:"auth_key"`
	// Clock says what a clock without an offset shows: "utc+1", "local" or "utc";
	// "auto" goes by the meter's maker.
	Clock string `koanf:"clock"`
	// Stuffing is for lines with octet stuffing (7D) in their HDLC frames. No
	// known meter has it.
	Stuffing bool `koanf:"stuffing"`
	// Layout names the positions of a push list without codes, from the first
	// on: an OBIS code and what one step of its number is worth, as in
	// ["1-0:1.7.0 W", "-", "1-0:32.7.0 0.1 V"]. A position named - is left out. It
	// is used for lists with just that many elements.
	Layout []string `koanf:"layout"`
	// Scale says what one step of a number is worth where a list with codes does
	// not: ["1.8.0 Wh", "31.7.0 0.001 A"]. It wins over what is known of the maker.
	// The channel (value group B) does not count.
	Scale []string `koanf:"scale"`
}

// The values of Config.Clock.
const (
	clockAuto     = "auto"
	clockStandard = "utc+1"
	clockLocal    = "local"
	clockUTC      = "utc"
)

// noAuthKey is the auth_key that says that there is none.
const noAuthKey = "none"

// Validate says which keys are wrong and what they may be.
func (c *Config) Validate() error {
	var errs []error
	_, err := c.keys()
	errs = append(errs, err)
	if c.Key.IsZero() && !c.AuthKey.IsZero() {
		errs = append(errs, drivers.WithHint(errors.New("key: missing, and auth_key alone opens nothing"), "set key to the encryption key (GUEK, GPK60, «key 64»)"))
	}
	switch strings.ToLower(c.Clock) {
	case "", clockAuto, clockStandard, clockLocal, clockUTC:
	default:
		errs = append(errs, fmt.Errorf("clock: %.20q is not one of auto, utc+1, local, utc", c.Clock))
	}
	_, err = parsePositions(c.Layout)
	errs = append(errs, err)
	_, err = parseScales(c.Scale)
	return errors.Join(append(errs, err)...)
}

// keys are the ciphering's.
func (c *Config) keys() (k dlms.Keys, err error) {
	var errKey, errAuth error
	if k.Encryption, errKey = dlms.ParseKey(c.Key.Reveal()); errKey != nil {
		errKey = fmt.Errorf("key: %w", errKey)
	}
	auth := strings.TrimSpace(c.AuthKey.Reveal())
	if strings.EqualFold(auth, noAuthKey) {
		k.Unchecked = true
	} else if k.Authentication, errAuth = dlms.ParseKey(auth); errAuth != nil {
		errAuth = fmt.Errorf("auth_key: %w", errAuth)
	}
	return k, errors.Join(errKey, errAuth)
}

// caution says what auth_key = "none" gives up.
func caution(c drivers.Config) string {
	cfg, ok := c.(*Config)
	if !ok {
		return ""
	}
	if k, err := cfg.keys(); err != nil || !k.Unchecked {
		return ""
	}
	return `auth_key = "none": the tags of this meter are not checked, so a telegram is only as sure as its frame`
}

// position is one place of a push list: what stands there, and what one step of
// its number is worth.
type position struct {
	code   obis.Code // zero: not wanted
	factor drivers.Decimal
	unit   obis.Unit
	scaled bool // factor and unit count, else those of the maker
}

var one = drivers.NewDecimal(1, 0)

// parsePositions reads Config.Layout.
func parsePositions(texts []string) ([]position, error) {
	var all []position
	for i, text := range texts {
		p, err := parsePosition(text)
		if err != nil {
			return nil, fmt.Errorf("layout: position %d: %w", i+1, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// parseScales reads Config.Scale.
func parseScales(texts []string) (map[obis.Code]position, error) {
	all := map[obis.Code]position{}
	for _, text := range texts {
		p, err := parsePosition(text)
		if err == nil && !p.scaled {
			err = fmt.Errorf("%q: a unit is missing, as in 1.8.0 Wh", strings.TrimSpace(text))
		}
		if err != nil {
			return nil, fmt.Errorf("scale: %w", err)
		}
		all[anyChannel(p.code)] = p
	}
	return all, nil
}

// anyChannel is a code whatever its value group B.
func anyChannel(c obis.Code) obis.Code {
	c[1] = 0
	return c
}

// parsePosition reads "-", "CODE", "CODE UNIT" or "CODE FACTOR UNIT"; the unit "1"
// stands for none.
func parsePosition(text string) (position, error) {
	fields := strings.Fields(text)
	if len(fields) == 1 && fields[0] == "-" {
		return position{}, nil
	}
	if len(fields) == 0 || len(fields) > 3 {
		return position{}, fmt.Errorf("%q: want a code, a factor and a unit, as in 1-0:32.7.0 0.1 V", strings.TrimSpace(text))
	}
	code, err := obis.Parse(fields[0])
	if err != nil || len(fields) == 1 {
		return position{code: code}, err
	}
	factor := one
	if len(fields) == 3 {
		if factor, err = drivers.ParseDecimal(fields[1]); err != nil {
			return position{}, fmt.Errorf("factor %q: %w", fields[1], err)
		}
	}
	return scaledPosition(code, factor, fields[len(fields)-1])
}

func scaledPosition(code obis.Code, factor drivers.Decimal, unit string) (position, error) {
	if unit == "1" {
		return position{code: code, factor: factor, scaled: true}, nil
	}
	u, shift, known := obis.ParseUnit(unit)
	if !known {
		return position{}, fmt.Errorf("unit %.20q is not known", unit)
	}
	factor, err := factor.Shift(shift)
	return position{code: code, factor: factor, unit: u, scaled: true}, err
}
