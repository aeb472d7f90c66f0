package mbus

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

const wirelessName = "wmbus"

// Wireless is M-Bus by radio: telegrams that a receiver hands on.
var Wireless = drivers.Driver{
	Name: wirelessName,
	Doc:  "wireless M-Bus and OMS telegrams (EN 13757-4), as a receiver hands them on",
	Mode: drivers.Mode{Baud: 9600, Bits: 8, Parity: drivers.NoParity, Stop: 1},
	Gap:  500 * time.Millisecond,
	Hint: "a receiver hands telegrams on as bytes or as lines of hex, with or without CRCs",

	Shares: shares,

	NewConfig: func() drivers.Config { return &WirelessConfig{} },
	NewDecoder: func(c drivers.Config, z drivers.Zones) (drivers.Decoder, error) {
		options, ok := c.(*WirelessConfig)
		if !ok {
			return nil, fmt.Errorf("%s: options of another driver: %T", wirelessName, c)
		}
		return NewWirelessDecoder(options, zoneOf(z))
	},
	Explain: explainWireless,
	Reseal:  resealWireless,
	Sniff:   sniffWireless,
}

// WirelessConfig are the keys of a [[meter]] table that only wireless meters
// have.
type WirelessConfig struct {
	// Key is the meter's AES key, 32 hexadecimal digits. With a key, telegrams
	// that are not encrypted are refused.
	Key drivers.Secret `koanf:"key"`
	// ID is the meter: 8 digits of its number, F for any, or all 16 of its address.
	// Other meters' telegrams are passed over. Empty: every meter's are read.
	ID string `koanf:"id"`
}

// shares says why two meters cannot have the same receiver: each takes the
// telegrams of its own id.
func shares(a, b drivers.Config) error {
	one, ok1 := a.(*WirelessConfig)
	other, ok2 := b.(*WirelessConfig)
	switch {
	case !ok1 || !ok2:
		return errors.New("they are of different drivers")
	case one.ID == "" || other.ID == "":
		return errors.New("one of them has no id, so it takes the telegrams of both")
	case strings.EqualFold(one.ID, other.ID):
		return errors.New("both have the same id")
	}
	return nil
}

// Validate says which keys are wrong and what they may be.
func (c *WirelessConfig) Validate() error {
	_, badKey := c.key()
	_, badID := c.meter()
	return errors.Join(badKey, badID)
}

// key is the configured key, or nothing.
func (c *WirelessConfig) key() ([]byte, error) {
	b, ok := wire.AppendHex(nil, c.Key.Reveal())
	if !ok || len(b) != 0 && len(b) != 16 {
		return nil, errors.New("key: want 32 hexadecimal digits, as the maker of the meter tells")
	}
	return b, nil
}

// meter is the configured meter: any if none is.
func (c *WirelessConfig) meter() (Address, error) {
	if c.ID == "" {
		return ParseAddress("FFFFFFFF")
	}
	a, err := ParseAddress(c.ID)
	if err != nil {
		return a, fmt.Errorf("id: %w", err)
	}
	return a, nil
}

// WirelessDecoder reads telegrams of a radio receiver: bytes, or lines with hex
// in them; frame formats A and B, or with their CRCs taken off. Once a telegram
// with CRCs was seen, one without is refused. A compact frame is read when a full
// one of the same make was seen before, and passed over until then.
type WirelessDecoder struct {
	in      receiver
	app     application
	layers  layers
	keys    *keys
	wanted  Address
	selects bool // there are meters that are not wanted
	formats formats
	fault   drivers.FrameError

	passed map[Address]bool // meters that were passed over
	news   []Address        // those of them that nobody was told of
}

var _ drivers.Selector = (*WirelessDecoder)(nil)

// maxPassed bounds how many other meters a decoder remembers.
const maxPassed = 256

// Overheard is a meter that is not the configured one, each once.
func (d *WirelessDecoder) Overheard() (drivers.Identity, bool) {
	if len(d.news) == 0 {
		return drivers.Identity{}, false
	}
	meter := d.news[0]
	d.news = d.news[1:]
	return identity(wirelessName, meter), true
}

// pass notes who the telegram at hand is of.
func (d *WirelessDecoder) pass() {
	meter := Address(d.layers.header.meter)
	if meter == (Address{}) {
		meter = d.layers.link
	}
	if d.passed[meter] || len(d.passed) >= maxPassed {
		return
	}
	if d.passed == nil {
		d.passed = map[Address]bool{}
	}
	d.passed[meter] = true
	d.news = append(d.news, meter)
}

// NewWirelessDecoder is a decoder for the meters that c names, whose clocks are in
// zone (nil: none is known).
func NewWirelessDecoder(c *WirelessConfig, zone *time.Location) (*WirelessDecoder, error) {
	wanted, badID := c.meter()
	key, badKey := c.key()
	if err := errors.Join(badID, badKey); err != nil {
		return nil, fmt.Errorf("%s: %w", wirelessName, err)
	}
	k, err := newKeys(key)
	if err != nil {
		return nil, fmt.Errorf("%s: key: %w", wirelessName, err)
	}
	return &WirelessDecoder{app: application{reader: reader{zone: zone}}, keys: k, wanted: wanted, selects: c.ID != ""}, nil
}

// Feed takes the next bytes.
func (d *WirelessDecoder) Feed(p []byte) { d.in.feed(p) }

// Gap says that the receiver fell silent or the input ended.
func (d *WirelessDecoder) Gap() { d.in.gap() }

// Next is the next reading, ErrMore or a *drivers.FrameError. A damaged telegram is
// the configured meter's if a CRC vouches for the header that says so; one of
// another meter is passed over, and one of which nothing is certain is stray.
func (d *WirelessDecoder) Next(r *drivers.Reading) error {
	for {
		b, check, err := d.in.next()
		switch {
		case errors.Is(err, drivers.ErrMore):
			return err
		case err != nil && d.isAnothers(d.in.head):
			continue
		case err != nil:
			d.in.fault.Stray = d.selects && len(d.in.head) < linkHeader
			return err
		}
		found, f := d.telegram(r, b)
		if !d.wants() {
			if f == nil || errors.Is(f.err, drivers.ErrAuth) {
				d.pass()
			}
			continue
		}
		if f != nil {
			return d.refuse(f, len(b))
		}
		if found {
			r.Check = max(check, d.check())
			return nil
		}
	}
}

// wants says whether the telegram at hand is of the configured meter, by any of
// the addresses that it carries.
func (d *WirelessDecoder) wants() bool {
	l := &d.layers
	return d.wanted.fits(l.link) || d.wanted.fits(l.sender) || d.wanted.fits(l.header.meter)
}

// isAnothers says whether a link header, which may be missing, names a meter that
// is not the configured one.
func (d *WirelessDecoder) isAnothers(head []byte) bool {
	return len(head) == linkHeader && !d.wanted.fits(linkAddress(head))
}

func (d *WirelessDecoder) refuse(f *flaw, length int) error {
	d.fault = drivers.FrameError{Field: f.field, Offset: f.at, Length: length, Err: f.err, Hint: f.hint}
	d.fault.Got, d.fault.Want = uint32(f.got), uint32(f.want)
	return &d.fault
}

// check is what vouches for the telegram beside its CRCs.
func (d *WirelessDecoder) check() drivers.Check {
	l := &d.layers
	switch {
	case d.keys.used && l.header.sized && l.header.mode() == modeCBCDynamic:
		return drivers.CheckTag // its MAC was checked
	case l.sealed, l.ci == ciCompact, l.ci == ciCompactShort, l.ci == ciCompactLong:
		return drivers.CheckCRC16
	}
	return drivers.CheckNone
}

// telegram reads one telegram. found: it gave a reading.
func (d *WirelessDecoder) telegram(r *drivers.Reading, b []byte) (found bool, f *flaw) {
	d.keys.used = false
	l := &d.layers
	if f := l.parse(b, d.keys); f != nil {
		return false, f
	}
	d.app.start(r)
	r.Meter = d.app.identify(wirelessName, l.header.meter)
	if l.ci >= ciMakerFirst && l.ci <= ciMakerLast {
		return true, nil // nothing but the maker's programs can read more than who it is
	}
	if f := d.keys.decipher(l); f != nil {
		return false, f
	}
	switch l.ci {
	case ciLong, ciShort, ciBare:
		return d.full(r)
	case ciCompact, ciCompactShort, ciCompactLong:
		return d.compact(r)
	case ciError, ciErrorShort, ciErrorLong:
		return false, l.wrong("application error", l.at, drivers.ErrRefused, "")
	case ciAlarm, ciAlarmShort, ciAlarmLong:
		return d.alarm(r)
	case 0x80, 0x8A, 0x8B:
		return false, nil // transport layer alone
	}
	return false, l.wrong("CI-field", l.ciAt, drivers.ErrSyntax, "")
}

// full reads the records of a full frame, and keeps their format.
func (d *WirelessDecoder) full(r *drivers.Reading) (bool, *flaw) {
	l := &d.layers
	records := l.b[l.at:]
	if _, at, f := d.app.records(r, mediumA[l.header.medium()], records); f != nil {
		return false, l.wrong(f.field, l.at+at, f.err, "")
	}
	d.formats.learn(l.header.meter, records)
	d.complete(r)
	return true, nil
}

// compact reads a compact frame whose format is known.
func (d *WirelessDecoder) compact(r *drivers.Reading) (bool, *flaw) {
	l := &d.layers
	data := l.b[l.at:]
	if opened(data) {
		data = data[2:]
	}
	from := len(l.b) - len(data)
	records, at, f := d.formats.expand(l.header.meter, data)
	switch {
	case f == badCompact:
		return false, l.mismatch(f.field, from+at, data[at:], records)
	case f != nil:
		return false, l.wrong(f.field, from+at, f.err, "")
	case records == nil:
		return false, nil
	}
	if _, _, f := d.app.records(r, mediumA[l.header.medium()], records); f != nil {
		return false, l.wrong(f.field, from, f.err, "")
	}
	d.complete(r)
	return true, nil
}

func (d *WirelessDecoder) alarm(r *drivers.Reading) (bool, *flaw) {
	l := &d.layers
	b := l.take(1)
	if b == nil {
		return false, l.short("alarm")
	}
	v := grow(r)
	*v = drivers.Value{Name: "alarm", Record: &present}
	setUint(v, uint64(b[0]), 0)
	d.complete(r)
	return true, nil
}

func (d *WirelessDecoder) complete(r *drivers.Reading) {
	d.app.status(r, &d.layers.header)
	d.app.finish(r)
}
