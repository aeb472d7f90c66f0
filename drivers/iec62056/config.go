package iec62056

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Config are the keys of a [[meter]] table that meters of IEC 62056-21 and
// LIS-200 have.
type Config struct {
	// Address is the device address of the sign-on, up to 32 digits, letters and
	// blanks; "": whoever is on the line.
	Address drivers.Address `koanf:"address"`
	// Password opens the programming mode; of LIS-200 devices it is the code of a
	// lock. Empty: no password is sent, which some meters accept.
	Password drivers.Secret `koanf:"password"`
	// Level is the password's: the digit of the P command, 1 to 9, or the lock of
	// LIS-200: 3 supplier, 4 customer, 5 data reader. 0 is 1, or 4.
	Level drivers.Decimal `koanf:"level"`

	// Medium is what the meter measures, for the value group A that reduced codes
	// leave out: electricity, heat, cooling, gas, water, warm_water, hca. Empty is
	// electricity, or heat where the addresses are those of EN 1434.
	Medium string `koanf:"medium"`
	// Channel is the value group B that reduced codes leave out.
	Channel drivers.Decimal `koanf:"channel"`

	// Mode is "auto", or "A", "B", "C", "D" for meters that must be told: "D"
	// waits for what the meter pushes.
	Mode string `koanf:"mode"`
	// Frame is how characters are sent on a serial line: "7E1", or "8N1" where
	// something between takes care of the parity.
	Frame string `koanf:"frame"`
	// Baud is the speed of the sign-on; on a TCP line it is the converter's. 0 is
	// 300, in mode D 2400.
	Baud drivers.Decimal `koanf:"baud"`
	// MaxBaud is the highest speed that is agreed on: the meter's own, if that is
	// not above. 0: any. The same as Baud: the speed never changes.
	MaxBaud drivers.Decimal `koanf:"max_baud"`
	// Wake is how a battery meter is woken: "" not at all, "normal", "fast", or
	// "short": the request right behind 40 NULs, as UltraHeat meters take it.
	Wake string `koanf:"wake"`
	// AddParity puts even parity into bit 7 of what is sent, for converters that
	// pass on 8N1 to a meter of 7E1.
	AddParity bool `koanf:"add_parity"`
	// Table asks for another readout than the usual: the digit of /2!.
	Table string `koanf:"table"`
	// Option is the last digit of the option select for a readout: "0", or a
	// maker's own "6" to "9".
	Option string `koanf:"option"`

	// IdentWait is how long the meter may take to answer the sign-on.
	IdentWait time.Duration `koanf:"ident_wait"`
	// AnswerWait is how long it may take to begin any other answer.
	AnswerWait time.Duration `koanf:"answer_wait"`
	// CharWait is how long it may be silent inside an answer.
	CharWait time.Duration `koanf:"char_wait"`
	// SwitchWait is a pause between the option select and the change of speed, for
	// converters that need one.
	SwitchWait time.Duration `koanf:"switch_wait"`

	// Command is how registers are read: "R1", "R2" or "R5"; "": R5 for a meter
	// that says it knows it, else R1.
	Command string `koanf:"command"`
	// Argument stands in the brackets of a read: "" for most, "1" for LIS-200.
	Argument string `koanf:"argument"`
	// Repeat sends the password again as second value of each write.
	Repeat bool `koanf:"write_with_password"`
	// SetClock is how the clock is set: "0.9.1" (time and date, one by one),
	// "0.9.129" (both at once), "C000" (formatted), "1:400" (LIS-200). "": as the
	// maker does it.
	SetClock string `koanf:"set_clock"`

	// Read are addresses that are read one by one in programming mode, instead of
	// a readout.
	Read []string `koanf:"read"`
	// Registers are the parameters that may be read or written by name: a name of
	// yours, the address, the type (number, text, bool, time), then what else is
	// known: a unit, limits MIN..MAX, options A|B|C, level=N, read-only, press.
	Registers []string `koanf:"registers"`
	// Profiles are the logs that history asks for: P.01, P.98, or the number of a
	// LIS-200 archive.
	Profiles []string `koanf:"profiles"`
	// Block is how many rows of a log come in one partial block, where the meter
	// can do that; 0: all in one block.
	Block drivers.Decimal `koanf:"block"`
}

func newConfig() *Config {
	return &Config{
		Mode: "auto", Option: "0", Frame: "7E1",
		IdentWait: 5 * time.Second, AnswerWait: 4 * time.Second, CharWait: 1500 * time.Millisecond,
		Profiles: []string{"P.01"},
		Block:    drivers.NewDecimal(0, 0),
	}
}

func newLISConfig() *Config {
	c := newConfig()
	c.Argument, c.SetClock, c.Command = "1", "1:400", "R1"
	c.Read = []string{"1:400.0", "1:180.0", "3:180.0", "2:300.0", "4:300.0", "7:310_1.0", "6:310_1.0"}
	c.Profiles = []string{"3"}
	c.Block = drivers.NewDecimal(10, 0)
	return c
}

// media are the words for value group A.
var media = map[string]byte{
	obis.MediumElectricity: 1, obis.MediumHeatCost: 4, obis.MediumCooling: 5, obis.MediumHeat: 6,
	obis.MediumGas: 7, obis.MediumWater: 8, obis.MediumWarmWater: 9,
}

// Validate says which keys are wrong and what they may be.
func (c *Config) Validate() error {
	_, errRegisters := c.parameters()
	return errors.Join(
		c.validateAddress(), c.validateLine(), errRegisters,
		whole("level", c.Level, 0, 9),
		whole("channel", c.Channel, 0, 255),
		whole("block", c.Block, 0, 99),
		word("medium", c.Medium, append([]string{""}, sortedMedia()...)...),
		word("mode", c.Mode, "", "auto", "A", "B", "C", "D"),
		word("wake", c.Wake, "", "normal", "fast", "short"),
		word("command", c.Command, "", "R1", "R2", "R5"),
		word("set_clock", c.SetClock, "", "0.9.1", "0.9.129", "C000", "1:400"),
		word("option", c.Option, "", "0", "6", "7", "8", "9"),
		c.validateTexts(),
	)
}

func sortedMedia() []string {
	var names []string
	for name := range media {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *Config) validateAddress() error {
	if len(c.Address) > 32 {
		return fmt.Errorf("address: %d characters, at most 32 are allowed", len(c.Address))
	}
	for _, r := range string(c.Address) {
		if r != ' ' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') {
			return fmt.Errorf("address: %.40q: only digits, letters and blanks are allowed", c.Address)
		}
	}
	return nil
}

func (c *Config) validateLine() error {
	var errs []error
	if _, err := drivers.ParseFrame(c.Frame); err != nil {
		errs = append(errs, fmt.Errorf("frame: %w", err))
	}
	for _, b := range []struct {
		key string
		d   drivers.Decimal
	}{{"baud", c.Baud}, {"max_baud", c.MaxBaud}} {
		if n := small(b.d); n != 0 && !slices.Contains(lineSpeeds, n) {
			errs = append(errs, fmt.Errorf("%s: %s is none of 300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200", b.key, b.d))
		}
	}
	for _, w := range []struct {
		key string
		d   time.Duration
	}{{"ident_wait", c.IdentWait}, {"answer_wait", c.AnswerWait}, {"char_wait", c.CharWait}} {
		if w.d < 10*time.Millisecond || w.d > 5*time.Minute {
			errs = append(errs, fmt.Errorf("%s: %s is not between 10ms and 5m", w.key, w.d))
		}
	}
	if c.SwitchWait > time.Second {
		errs = append(errs, fmt.Errorf("switch_wait: %s is more than 1s: the meter would have spoken by then", c.SwitchWait))
	}
	return errors.Join(errs...)
}

var lineSpeeds = []int{300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200}

// validateTexts holds what is sent to the characters that may be: none of them
// may end a message or a bracket.
func (c *Config) validateTexts() error {
	var errs []error
	if c.Password.Reveal() != "" && !sendable(c.Password.Reveal()) {
		errs = append(errs, errors.New("password: it holds a bracket or a character that cannot be sent"))
	}
	if len(c.Table) > 1 || !sendable(c.Table) || c.Table == "!" || c.Table == "?" {
		errs = append(errs, fmt.Errorf("table: %.20q is not one digit or letter", c.Table))
	}
	if !sendable(c.Argument) {
		errs = append(errs, fmt.Errorf("argument: %.40q holds a bracket or a character that cannot be sent", c.Argument))
	}
	for _, list := range []struct {
		key   string
		texts []string
	}{{"read", c.Read}, {"profiles", c.Profiles}} {
		for _, s := range list.texts {
			if !isAddress(s) {
				errs = append(errs, fmt.Errorf("%s: %.40q is no address", list.key, s))
			}
		}
	}
	return errors.Join(errs...)
}

// sendable says whether s may stand in a bracket.
func sendable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '(' || r == ')' })
}

// isAddress says whether s may stand before a bracket.
func isAddress(s string) bool {
	return s != "" && len(s) <= 32 && sendable(s) && !strings.ContainsAny(s, "/! *&") ||
		s != "" && len(s) <= 32 && strings.ContainsAny(s, "*&") && obisLike(s)
}

func obisLike(s string) bool {
	_, ok := obis.Scan(s, obis.Electricity)
	return ok
}

func whole(key string, d drivers.Decimal, low, high int) error {
	if n, err := strconv.Atoi(d.String()); err != nil || n < low || n > high {
		return fmt.Errorf("%s: %s is not a whole number from %d to %d", key, d, low, high)
	}
	return nil
}

func word(key, s string, words ...string) error {
	if slices.Contains(words, s) {
		return nil
	}
	return fmt.Errorf("%s: %.20q is not one of %s", key, s, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ", "))
}

// small is a validated whole number.
func small(d drivers.Decimal) int {
	n, err := strconv.Atoi(d.String())
	if err != nil {
		return -1
	}
	return n
}

// baud is the speed of the sign-on.
func (c *Config) baud() int {
	if c.Mode == string(ModeD) {
		return cmp.Or(small(c.Baud), 2400)
	}
	return cmp.Or(small(c.Baud), 300)
}

// defaults are the value groups that reduced codes leave out.
func (c *Config) defaults() obis.Defaults {
	return obis.Defaults{A: media[cmp.Or(c.Medium, obis.MediumElectricity)], B: byte(small(c.Channel))}
}
