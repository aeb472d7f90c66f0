package mbus

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Config are the keys of a [[meter]] table that only M-Bus meters have. How often
// a meter is read is the common key every: each readout of a battery meter costs
// life, and some refuse more than one an hour, so that is the default.
type Config struct {
	// Address is the primary address, 0 to 250. Without it and without secondary
	// 254 is asked, where whoever is on the line answers: for a meter that is alone.
	Address drivers.Address `koanf:"address"`
	// Secondary is the secondary address: the 8 digits of the meter's number, with
	// F for any, or all 16.
	Secondary string `koanf:"secondary"`
	// Fabrication is the fabrication number, 8 digits with F for any, where several
	// meters have the same secondary address.
	Fabrication string `koanf:"fabrication"`
	// Baud is the meter's speed where the line's meters differ. 0 stands for the
	// speed of the port.
	Baud int `koanf:"baud"`
	// Wake is how long to send 55 before the first request, for meters that sleep:
	// "2.2s" is usual with optical heads.
	Wake time.Duration `koanf:"wake"`
	// Reset sends an application reset before each readout: "plain", or its
	// sub-code as two hexadecimal digits, as "50" for instantaneous values.
	Reset string `koanf:"application_reset"`
	// Readout chooses what the meter shall send, by VIF in hexadecimal with its
	// extensions: ["06", "13", "FD17"]; ["all"] for everything it has.
	Readout []string `koanf:"readout"`
	// Requests are frames of one's own in hexadecimal, sent in order before the
	// readout. What answers with data is the reading; if none does, it is asked for
	// as usual.
	Requests []string `koanf:"requests"`
	// Records are the data records that can be read and written by name: a name of
	// yours, DIB and VIB in hexadecimal, then what else is known: limits MIN..MAX,
	// switch for 0 and 1, read-only, write-only. With press whole data records follow
	// the name.
	Records []string `koanf:"records"`
	// Alarm asks for class 1 data too: the value alarm, 0 if there is none.
	Alarm bool `koanf:"alarm"`
	// Telegrams is how many telegrams of a readout to read. 0 stands for all.
	Telegrams int `koanf:"telegrams"`
	// Timeout is how long an answer may take to begin. 0 stands for 500 ms, and
	// 1.5 s over a network.
	Timeout time.Duration `koanf:"timeout"`
	// Pause is the longest silence inside an answer. 0 stands for three characters
	// and 50 ms, and 300 ms over a network.
	Pause time.Duration `koanf:"pause"`
	// Retries is how often a request is repeated that had no good answer.
	Retries int `koanf:"retries"`
}

var _ drivers.Config = (*Config)(nil)

func newConfig() *Config { return &Config{Retries: 2} }

// Limits of the keys.
const (
	longestWake    = 10 * time.Second
	longestTimeout = 30 * time.Second
	mostRetries    = 10
	resetPlain     = "plain"
	readoutAll     = "all"
)

// Validate says which keys are wrong and what they may be.
func (c *Config) Validate() error {
	_, err := c.target()
	errs := []error{err}
	_, err = c.preparation(Everyone)
	errs = append(errs, err)
	_, err = c.requests()
	errs = append(errs, err)
	_, err = c.records(nil)
	errs = append(errs, err)
	if c.Baud != 0 && !slices.Contains(baudRates[:], c.Baud) {
		errs = append(errs, fmt.Errorf("baud: %d is none of %v", c.Baud, baudRates))
	}
	if c.Retries < 0 || c.Retries > mostRetries {
		errs = append(errs, fmt.Errorf("retries: %d is not 0 to %d", c.Retries, mostRetries))
	}
	if c.Telegrams < 0 || c.Telegrams > maxTelegrams {
		errs = append(errs, fmt.Errorf("telegrams: %d is not 0 to %d", c.Telegrams, maxTelegrams))
	}
	for _, d := range [...]struct {
		key  string
		d    time.Duration
		most time.Duration
	}{{"wake", c.Wake, longestWake}, {"timeout", c.Timeout, longestTimeout}, {"pause", c.Pause, longestTimeout}} {
		if d.d < 0 || d.d > d.most {
			errs = append(errs, fmt.Errorf("%s: %s is not 0s to %s", d.key, d.d, d.most))
		}
	}
	return errors.Join(errs...)
}

// target is whom a session asks.
type target struct {
	primary     byte    // Selected with a secondary address
	mask        Address // with a secondary address
	secondary   string  // the same, as it was configured
	fabrication string
}

// selects says whether the meter is reached by its secondary address.
func (t *target) selects() bool { return t.primary == Selected }

// String is the address as the configuration has it.
func (t *target) String() string {
	switch {
	case !t.selects():
		return "address " + strconv.Itoa(int(t.primary))
	case t.fabrication != "":
		return "secondary address " + t.secondary + ", fabrication number " + t.fabrication
	}
	return "secondary address " + t.secondary
}

func (c *Config) target() (target, error) {
	if c.Secondary == "" {
		if c.Fabrication != "" {
			return target{}, errors.New("fabrication: it is set, and secondary is not: it tells apart meters with the same secondary address")
		}
		return c.primaryTarget()
	}
	if c.Address != "" {
		return target{}, errors.New("address: it is set, and secondary too: want one of them")
	}
	mask, err := ParseAddress(c.Secondary)
	if err != nil {
		return target{}, fmt.Errorf("secondary: %w", err)
	}
	if c.Fabrication != "" {
		if _, err := Select(mask, false, c.Fabrication); err != nil {
			return target{}, fmt.Errorf("fabrication: %.20q: want 8 digits, F for any", c.Fabrication)
		}
	}
	return target{Selected, mask, c.Secondary, c.Fabrication}, nil
}

func (c *Config) primaryTarget() (target, error) {
	if c.Address == "" {
		return target{primary: Everyone}, nil
	}
	n, err := strconv.ParseUint(string(c.Address), 10, 8)
	if err != nil || byte(n) > MaxPrimary && byte(n) != Everyone {
		return target{}, fmt.Errorf("address: %.20q: want 0 to 250, or 254 for the only meter of a line", string(c.Address))
	}
	return target{primary: byte(n)}, nil
}

// preparation are the SND_UD to send before a readout. Their frame count bits are
// set when they are sent.
func (c *Config) preparation(a byte) ([]Frame, error) {
	var frames []Frame
	if c.Reset != "" {
		reset, err := resetOf(a, c.Reset)
		if err != nil {
			return nil, fmt.Errorf("application_reset: %w", err)
		}
		frames = append(frames, reset)
	}
	if len(c.Readout) == 0 {
		return frames, nil
	}
	choice, err := choiceOf(a, c.Readout)
	if err != nil {
		return nil, fmt.Errorf("readout: %w", err)
	}
	return append(frames, choice), nil
}

// resetOf is the application reset that a text names.
func resetOf(a byte, text string) (Frame, error) {
	if text == resetPlain {
		return Reset(a, false, -1), nil
	}
	code, err := strconv.ParseUint(text, 16, 8)
	if err != nil || len(text) != 2 {
		return Frame{}, fmt.Errorf("%.20q: want plain, or a sub-code of two hexadecimal digits", text)
	}
	return Reset(a, false, int(code)), nil
}

// choiceOf is the frame that says what the meter shall send.
func choiceOf(a byte, wanted []string) (Frame, error) {
	if slices.Equal(wanted, []string{readoutAll}) {
		return ReadEverything(a, false), nil
	}
	var vibs [][]byte
	for _, text := range wanted {
		vib, ok := wire.AppendHex(nil, text)
		if n, f := scanVIB(vib); !ok || f != nil || n != len(vib) {
			return Frame{}, fmt.Errorf("%.20q: want a VIF with its extensions in hexadecimal, or all alone", text)
		}
		vibs = append(vibs, vib)
	}
	return Choose(a, false, vibs...)
}

// requests are the frames of one's own, each whole.
func (c *Config) requests() ([][]byte, error) {
	var all [][]byte
	for i, text := range c.Requests {
		raw, ok := wire.AppendHex(nil, strings.ReplaceAll(text, " ", ""))
		var f Frame
		if !ok || !wholeRequest(raw, &f) {
			return nil, fmt.Errorf("requests: the frame number %d is none that a master sends: check start, length, C-field, checksum and end", i+1)
		}
		all = append(all, raw)
	}
	return all, nil
}

// wholeRequest says whether b is just one frame of a master.
func wholeRequest(b []byte, f *Frame) bool {
	var framer Framer
	framer.Feed(b)
	return framer.Next(f) == nil && len(f.Raw) == len(b) && f.FromMaster()
}
