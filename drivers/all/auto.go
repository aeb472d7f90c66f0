package all

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

// Auto is no protocol: it listens to a meter that speaks by itself until it knows
// which protocol and which mode that is, and then leaves it to that driver.
var Auto = drivers.Driver{
	Name:  "auto",
	Doc:   "finds the protocol, speed and parity of a meter that speaks by itself, and says what to write into the configuration",
	Mode:  modes[0],
	Gap:   1500 * time.Millisecond,
	Quiet: 2 * time.Minute,
	Hint:  "auto knows meters that speak by themselves: P1, DLMS push, mode D and radio receivers; one that must be asked needs its driver",

	NewConfig: func() drivers.Config { return &AutoConfig{} },
	NewDecoder: func(c drivers.Config, z drivers.Zones) (drivers.Decoder, error) {
		own, ok := c.(*AutoConfig)
		if !ok {
			return nil, fmt.Errorf("auto: configuration is a %T", c)
		}
		return &autoDecoder{config: own, zones: z}, own.Validate()
	},
	Explain: explainAuto,
	Tune: func(ctx context.Context, line drivers.Line) (drivers.Mode, error) {
		f, err := Listen(ctx, line, 0)
		return f.Mode, err
	},
}

// AutoConfig are the keys that drivers which Auto may find have.
type AutoConfig struct {
	// Key is the encryption key of a meter that ciphers.
	Key drivers.Secret `koanf:"key"`
	// AuthKey is its authentication key; "none" reads without checking tags.
	AuthKey drivers.Secret `koanf:"auth_key"`
}

// Validate says whether any driver takes the keys: each has its own form.
func (c *AutoConfig) Validate() error {
	if c.Key.IsZero() && !c.AuthKey.IsZero() {
		return drivers.WithHint(errors.New("auth_key: it is set, and key is not"), "set key to the encryption key; the authentication key alone opens nothing")
	}
	if c.Key.IsZero() {
		return nil
	}
	return c.of(hdlc.Driver).Validate()
}

// of is the configuration of a driver that was found.
func (c *AutoConfig) of(d drivers.Driver) drivers.Config {
	found := d.NewConfig()
	switch found := found.(type) {
	case *p1.Config:
		found.Key, found.AuthKey = c.Key, c.AuthKey
	case *hdlc.Config:
		found.Key, found.AuthKey = c.Key, c.AuthKey
	case *mbus.WirelessConfig:
		found.Key = c.Key
	}
	return found
}

// autoDecoder keeps what a line says until it knows whose it is.
type autoDecoder struct {
	config *AutoConfig
	zones  drivers.Zones
	buf    []byte
	tried  int // bytes that were looked at in vain
	found  drivers.Decoder
	note   string
	told   bool // that every frame is damaged
	fault  drivers.FrameError
}

// mostUnknown bounds what is kept while nothing is known.
const mostUnknown = 32 << 10

// Feed takes the next bytes.
func (d *autoDecoder) Feed(p []byte) {
	if d.found != nil {
		d.found.Feed(p)
		return
	}
	d.buf = append(d.buf, p...)
	if n := len(d.buf) - mostUnknown; n > 0 {
		d.buf = append(d.buf[:0], d.buf[n:]...)
		d.tried = max(0, d.tried-n)
	}
}

// Gap says that the line fell silent: the moment to look at what it said.
func (d *autoDecoder) Gap() {
	if d.found == nil {
		d.look()
	}
	if d.found != nil {
		d.found.Gap()
	}
}

// look asks the drivers.
func (d *autoDecoder) look() {
	if len(d.buf) == d.tried {
		return
	}
	d.tried = len(d.buf)
	m, known := Sniff(d.buf)
	if m.Telegrams == 0 {
		if known && !d.told {
			d.told = true
			d.fault = m.damaged(len(d.buf))
		}
		return
	}
	found, err := m.Driver.NewDecoder(d.config.of(m.Driver), d.zones)
	if err != nil {
		d.fault = drivers.FrameError{Field: "configuration of " + m.Driver.Name, Length: len(d.buf), Err: err, Hint: drivers.Hint(err)}
		return
	}
	b := d.buf
	if m.Parity {
		b, _ = strip(b)
		found = &stripped{found}
		d.note = "looks like 7E1: set mode=7E1 on the port. "
	}
	d.note += "found " + m.Driver.Name + "; write into the meter's table: " + strings.Join(m.Lines(), ", ")
	d.found, d.buf = found, nil
	d.found.Feed(b)
}

// Nearly says what to look at where frames are there and none is whole.
func (m Match) Nearly() string {
	return "looks like " + m.Driver.Name + ", and no frame is whole: speed or parity of the line is nearly right, or the cable is bad"
}

// damaged is the loss of n bytes in which no frame is whole.
func (m Match) damaged(n int) drivers.FrameError {
	return drivers.FrameError{Field: m.Driver.Name + " frame", Length: n, Err: drivers.ErrChecksum, Hint: m.Nearly()}
}

// Lines are the lines of the [[meter]] table that say what was found.
func (m Match) Lines() []string {
	lines := []string{fmt.Sprintf("driver = %q", m.Driver.Name)}
	for _, s := range m.Settings {
		lines = append(lines, fmt.Sprintf("%s = %q", s.Key, s.Value))
	}
	return lines
}

// stripped is a decoder of a line whose parity is left in bit 7.
type stripped struct{ drivers.Decoder }

// Feed takes the next bytes, parity and all.
func (s *stripped) Feed(p []byte) {
	b := make([]byte, len(p))
	for i, c := range p {
		b[i] = c & 0x7F
	}
	s.Decoder.Feed(b)
}

// Next is what the decoder that was found says. Before, a line that never falls
// silent is looked at now and then.
func (d *autoDecoder) Next(r *drivers.Reading) error {
	if d.found == nil && len(d.buf) >= 2*d.tried+4096 {
		d.look()
	}
	switch {
	case d.fault.Err != nil:
		told := d.fault
		d.fault, d.buf, d.tried = drivers.FrameError{}, nil, 0
		return &told
	case d.found == nil:
		return drivers.ErrMore
	}
	err := d.found.Next(r)
	if err == nil && d.note != "" {
		r.Note, d.note = strings.TrimSpace(d.note+" "+r.Note), ""
	}
	return err
}

// explainAuto explains with the driver that is found.
func explainAuto(c drivers.Config, z drivers.Zones, b []byte) ([]drivers.Span, error) {
	own, ok := c.(*AutoConfig)
	if !ok {
		return nil, fmt.Errorf("auto: configuration is a %T", c)
	}
	m, known := Sniff(b)
	if m.Telegrams == 0 || m.Driver.Explain == nil {
		e, whole := drivers.Explain(b)
		if m.Telegrams == 0 && known {
			lost := m.damaged(len(b))
			whole.Blame(0, &lost)
		}
		return e.Spans(), nil
	}
	if m.Parity {
		b, _ = strip(b)
	}
	return m.Driver.Explain(own.of(m.Driver), z, b)
}
