package corus

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Config are the keys of a [[meter]] table that Corus devices have.
type Config struct {
	// Layouts is a file of parameter maps and record layouts. What it does not have
	// is looked for among those that are shipped.
	Layouts drivers.File `koanf:"layouts"`
	// PulseWeight is what one pulse is worth. 0: parameter 1 is asked.
	PulseWeight drivers.Decimal `koanf:"pulse_weight"`
	// Databases are what history reads: interval, hourly, daily, monthly, event,
	// parameter, certification.
	Databases []string `koanf:"databases"`
	// Fields is which fields of a record to ask for: "all", or "reduced", the few
	// that another public program asks for. The mask of a layout goes before both.
	Fields string `koanf:"fields"`
	// Select is the option select: "076", "0Z7" with Z as the device says it, or
	// "auto": one after the other.
	Select string `koanf:"select"`
	// Count lets the device tell how many records it sends, so that none is lost
	// without a word.
	Count bool `koanf:"count"`
	// Resume is how an interrupted transfer goes on: "date" asks for what is older
	// than the last record, "continue" lets the device continue by itself.
	Resume string `koanf:"resume"`
	// Hold keeps the conversation open between two readings, for gateways that hang
	// up when it ends.
	Hold bool `koanf:"hold"`

	// Baud is the speed of a serial line before the option select. 0: that of the
	// port.
	Baud int `koanf:"baud"`
	// FastBaud is the speed after the option select. 0: it never changes.
	FastBaud int `koanf:"fast_baud"`

	// WakeWait is how long the device may take to answer the wake-up, which is sent
	// three times.
	WakeWait time.Duration `koanf:"wake_wait"`
	// AnswerWait is how long it may take to begin any other answer.
	AnswerWait time.Duration `koanf:"answer_wait"`
	// CharWait is how long it may be silent inside an answer.
	CharWait time.Duration `koanf:"char_wait"`
}

// Words of the keys.
const (
	wordAuto     = "auto"
	select076    = "076"
	selectEcho   = "0Z7"
	fieldsAll    = "all"
	fieldsFew    = "reduced"
	resumeDate   = "date"
	resumeDevice = "continue"
)

func newConfig() *Config {
	return &Config{
		Databases: []string{Interval.String()},
		Fields:    fieldsAll, Select: wordAuto, Count: true, Resume: resumeDate,
		WakeWait: 1500 * time.Millisecond, AnswerWait: 10 * time.Second, CharWait: 2 * time.Second,
	}
}

var lineSpeeds = []int{0, 300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200}

// Validate says which keys are wrong and what they may be; of layouts, which line or
// table of the file.
func (c *Config) Validate() error {
	errs := []error{
		word("fields", c.Fields, fieldsAll, fieldsFew),
		word("select", c.Select, wordAuto, select076, selectEcho),
		word("resume", c.Resume, resumeDate, resumeDevice),
		c.validateSpeeds(),
	}
	if _, err := c.catalogue(); err != nil {
		errs = append(errs, err)
	}
	if c.PulseWeight.Sign() < 0 {
		errs = append(errs, fmt.Errorf("pulse_weight: %s is negative", c.PulseWeight))
	}
	for _, name := range c.Databases {
		errs = append(errs, word("databases", name, databaseNames[:]...))
	}
	for _, w := range []struct {
		key string
		d   time.Duration
	}{{"wake_wait", c.WakeWait}, {"answer_wait", c.AnswerWait}, {"char_wait", c.CharWait}} {
		if w.d < 10*time.Millisecond || w.d > 5*time.Minute {
			errs = append(errs, fmt.Errorf("%s: %s is not between 10ms and 5m", w.key, w.d))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateSpeeds() error {
	var errs []error
	for _, b := range []struct {
		key  string
		baud int
	}{{"baud", c.Baud}, {"fast_baud", c.FastBaud}} {
		if !slices.Contains(lineSpeeds, b.baud) {
			errs = append(errs, fmt.Errorf("%s: %d is none of %v", b.key, b.baud, lineSpeeds))
		}
	}
	if c.FastBaud != 0 && c.Baud == 0 {
		errs = append(errs, errors.New("fast_baud: without baud nobody knows what to go back to"))
	}
	return errors.Join(errs...)
}

func word(key, s string, words ...string) error {
	if slices.Contains(words, s) {
		return nil
	}
	return fmt.Errorf("%s: %.20q is not one of %s", key, s, strings.Join(words, ", "))
}

// maxLayouts bounds a file of layouts.
const maxLayouts = 1 << 20

// catalogue is what the file of layouts and those that are shipped say together.
func (c *Config) catalogue() (*catalogue, error) {
	if c.Layouts == "" {
		return catalogueOf("")
	}
	content, err := readFile(string(c.Layouts))
	if err != nil {
		return nil, drivers.WithHint(fmt.Errorf("layouts: %w", err), "check the path; a relative one starts from the folder of the configuration")
	}
	all, err := catalogueOf(content)
	if err != nil {
		return nil, drivers.WithHint(within("layouts: "+string(c.Layouts), err), "docs/corus.md shows the form of the file")
	}
	return all, nil
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxLayouts+1))
	if err == nil && len(content) > maxLayouts {
		err = fmt.Errorf("%s: larger than %d bytes: %w", path, maxLayouts, drivers.ErrLong)
	}
	return string(content), err
}

// maskFor is which fields of a database to ask for.
func (c *Config) maskFor(all *catalogue, d Database, firmware string) uint32 {
	if l := all.find(func(l *layout) bool { return l.mask != 0 && slices.Contains(l.databases, d) }, firmware); l != nil {
		return l.mask
	}
	switch {
	case d == Events:
		return 0x00000019
	case d == ParameterLog || d == Certification:
		return 0x00000319
	case c.Fields == fieldsAll:
		return 0xFFFFFFF9
	case d == Daily || d == Monthly:
		return 0x00F00211
	}
	return 0x000893F1
}
