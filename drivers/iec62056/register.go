package iec62056

import (
	"errors"
	"fmt"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Register is a register that the configuration describes: a Parameter and where
// it is in the meter.
type Register struct {
	drivers.Parameter
	Address string
	Level   int // of the password it takes; 0: the meter's
}

var errRegister = errors.New("not a register")

const registerForm = `write NAME ADDRESS TYPE and what else is known, as in "limit 0-0:17.0.0 number kW 0..10 level=2": ` +
	"TYPE is number, text, bool or time; then a unit, limits MIN..MAX, options A|B|C, level=N, read-only, press"

// ParseRegister reads how the configuration describes a register:
//
//	NAME ADDRESS TYPE [UNIT] [MIN..MAX] [A|B|C] [level=N] [read-only] [press]
//
// NAME is what it is called in topics, TYPE number, text, bool or time. A number
// is sent with as many decimals as MIN has. press makes it an action: E2 with
// what the address names.
func ParseRegister(s string) (Register, error) {
	words := strings.Fields(s)
	if len(words) < 3 {
		return Register{}, drivers.WithHint(fmt.Errorf("%w: %.60q", errRegister, s), registerForm)
	}
	r := Register{Address: words[1]}
	r.Name, r.Key = words[0], words[0]
	r.Access = drivers.Readable | drivers.Writable
	if !isName(r.Name) || !isAddress(r.Address) {
		return r, drivers.WithHint(fmt.Errorf("%w: %.60q: name or address", errRegister, s), registerForm)
	}
	if r.Code, _ = obis.Scan(r.Address, obis.Electricity); r.Code.IsZero() {
		r.Code = lisCode(r.Address)
	}
	if r.Kind = drivers.ParseKind(words[2]); r.Kind.String() != words[2] {
		return r, drivers.WithHint(fmt.Errorf("%w: %.60q: type %.20q", errRegister, s, words[2]), registerForm)
	}
	for _, w := range words[3:] {
		if err := r.add(w); err != nil {
			return r, drivers.WithHint(fmt.Errorf("%w: %.60q: %.20q: %w", errRegister, s, w, err), registerForm)
		}
	}
	return r, nil
}

func isName(s string) bool {
	for i, c := range s {
		if (c < 'a' || c > 'z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return len(s) <= 32
}

// add takes one word behind the type.
func (r *Register) add(w string) error {
	low, high, limits := strings.Cut(w, "..")
	level, leveled := strings.CutPrefix(w, "level=")
	switch {
	case w == "read-only":
		r.Access = drivers.Readable
	case w == "press":
		r.Access = drivers.Pressable
	case leveled:
		if len(level) != 1 || level[0] < '1' || level[0] > '9' {
			return drivers.ErrSyntax
		}
		r.Level = int(level[0] - '0')
	case limits && r.Kind == drivers.Number:
		return r.limit(low, high)
	case strings.Contains(w, "|") && r.Kind == drivers.Text:
		r.Options = strings.Split(w, "|")
	case r.Kind == drivers.Number && r.Unit == "":
		r.Unit = obis.Unit(w)
	default:
		return drivers.ErrSyntax
	}
	return nil
}

func (r *Register) limit(low, high string) (err error) {
	if r.Min, err = drivers.ParseDecimal(low); err != nil {
		return err
	}
	if r.Max, err = drivers.ParseDecimal(high); err != nil {
		return err
	}
	r.Digits = r.Min.Decimals()
	if r.Min.Cmp(r.Max) >= 0 {
		return drivers.ErrSyntax
	}
	return nil
}

// lisCode is the code of a LIS-200 address; zero: it has none.
func lisCode(address string) obis.Code {
	key, n, ok := lisAddress([]byte(address))
	if !ok {
		return obis.Code{}
	}
	return lis200[string(key[:n])].code
}

// parameters are the registers of the configuration, each mistake joined.
func (c *Config) parameters() ([]Register, error) {
	var (
		all  []Register
		errs []error
		seen = map[string]bool{"clock": true}
	)
	for _, s := range c.Registers {
		r, err := ParseRegister(s)
		if err == nil && seen[r.Name] {
			err = fmt.Errorf("%.32s is named twice, or is the clock", r.Name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("registers: %w", err))
			continue
		}
		seen[r.Name] = true
		all = append(all, r)
	}
	return all, errors.Join(errs...)
}
