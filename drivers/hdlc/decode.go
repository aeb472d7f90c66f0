package hdlc

import (
	"bytes"
	"errors"
	"slices"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Decoder turns a stream of pushed DLMS/COSEM, in whatever frames it comes, into
// readings. It implements drivers.Decoder; its memory is bounded by the longest
// APDU.
type Decoder struct {
	buf       []byte
	pos       int  // what is before it is dealt with
	fresh     bool // nothing came since the start or the last silence but bare APDUs
	silent    bool // Gap was called; what is in buf is all for now
	retry     int  // where to go on if the bare APDU under way is none
	stuffing  bool
	unstuffed []byte
	frames    segments // of HDLC
	longs     segments // of M-Bus
	blocks    dlms.Blocks
	cipher    *dlms.Cipher
	counter   dlms.Counter
	fallen    *dlms.OpenError // the last refusal by counter, used again
	clear     []byte
	tree      dlms.Tree
	fault     drivers.FrameError
	push
}

func newDecoder(c drivers.Config, z drivers.Zones) (*Decoder, error) {
	cfg, ok := c.(*Config)
	if !ok {
		return nil, errors.New("hdlc: the configuration is another driver's")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	keys, err := cfg.keys()
	if err != nil {
		return nil, err
	}
	d := &Decoder{fresh: true, stuffing: cfg.Stuffing}
	if d.cipher, err = dlms.NewCipher(keys, d.isPush); err != nil {
		return nil, err
	}
	d.push, err = newPush(cfg, z)
	d.push.tree = &d.tree
	return d, err
}

// Inherit keeps the counter of ciphered telegrams.
func (d *Decoder) Inherit(from drivers.Decoder) {
	if old, ok := from.(*Decoder); ok {
		d.counter = old.counter
	}
}

// Next fills r with the next telegram; or gives drivers.ErrMore; or the
// *drivers.FrameError of a lost one.
func (d *Decoder) Next(r *drivers.Reading) error {
	for {
		apdu, check, err := d.nextAPDU()
		if err != nil {
			return err
		}
		err = d.read(r, apdu, check)
		if err == errNoise { //nolint:errorlint // never wrapped
			continue
		}
		if err != nil && check == drivers.CheckRelayed {
			d.refuse()
		}
		return err
	}
}

// read makes a Reading of an APDU, or gives errNoise if more blocks must come.
func (d *Decoder) read(r *drivers.Reading, apdu []byte, check drivers.Check) error {
	if dlms.IsBlock(apdu) {
		whole, size, err := d.blocks.Add(apdu)
		switch {
		case err != nil:
			return d.lose("block", 0, len(apdu), err)
		case size != len(apdu):
			return d.lose("block", size, len(apdu), drivers.ErrLong)
		case whole == nil:
			return errNoise
		}
		apdu = whole
	}
	if dlms.IsCiphered(apdu) {
		return d.readCiphered(r, apdu, check)
	}
	return d.notification(r, apdu, dlms.Security{}, check)
}

func (d *Decoder) readCiphered(r *drivers.Reading, apdu []byte, check drivers.Check) error {
	d.clear = slices.Grow(d.clear[:0], len(apdu)+12) // what Open needs
	text, security, err := d.cipher.Open(d.clear, apdu)
	if err != nil {
		return d.lose("ciphering", 0, len(apdu), err)
	}
	if security.Checked {
		check = drivers.CheckTag
	}
	if err := d.notification(r, text, security, check); err != nil {
		if security.Checked {
			d.fault.Err, d.fault.Hint = errContent, drivers.Hint(errContent)
		}
		return err
	}
	if err := d.counter.Check(security); err != nil {
		if d.fallen == nil || d.fallen.Title != security.Title {
			d.fallen = &dlms.OpenError{Title: security.Title, Err: err}
		}
		return d.lose("ciphering", 0, len(apdu), d.fallen)
	}
	return nil
}

// errContent: what a tag vouches for is whole, whatever else it is.
var errContent = drivers.WithHint(errors.New("the keys fit, but nobody knows what they open"),
	"the keys and the line are right: please report the meter's maker and model")

// isPush says whether a clear text is a notification, to its last byte.
func (d *Decoder) isPush(text []byte) bool {
	n, _, err := dlms.ParseNotification(text)
	if err != nil {
		return false
	}
	_, _, err = d.parseBody(text[n.Offset:])
	return err == nil
}

// parseBody parses a body into d.tree; only zeros may follow. A body that makes no
// sense is tried once more with descriptors without tags.
func (d *Decoder) parseBody(body []byte) (field string, offset int, err error) {
	size, offset, err := d.tree.Parse(body)
	field = "A-XDR"
	if err == nil {
		rest := bytes.TrimLeft(body[size:], "\x00")
		if len(rest) == 0 {
			return "", 0, nil
		}
		field, offset, err = "end of the body", len(body)-len(rest), drivers.ErrLong
	}
	if size, again := d.tree.ParseDescriptors(body); again == nil && size == len(body) {
		return "", 0, nil
	}
	return field, offset, err
}

var errTag = drivers.WithHint(errors.New("an APDU that no meter pushes"), "if this meter is ciphered, a key may be wrong; else please report it with a recording")

// notification makes a Reading of a clear APDU.
func (d *Decoder) notification(r *drivers.Reading, apdu []byte, s dlms.Security, check drivers.Check) error {
	if !dlms.IsNotification(apdu) {
		return d.lose("APDU tag", 0, len(apdu), errTag)
	}
	n, offset, err := dlms.ParseNotification(apdu)
	if err != nil {
		return d.lose("notification", offset, len(apdu), err)
	}
	if field, offset, err := d.parseBody(apdu[n.Offset:]); err != nil {
		return d.lose(field, n.Offset+offset, len(apdu), err)
	}
	r.Reset()
	r.Check = check
	d.push.read(r, &n, s.Title)
	if len(r.Values) == 0 {
		return d.lose("push list", n.Offset, len(apdu), errNothing)
	}
	return nil
}

var errNothing = drivers.WithHint(errors.New("no element of it is known"), `name its elements by position, as in layout = ["1-0:1.7.0 W", "1-0:1.8.0 Wh"]`)

// known is what the catalogue and the configuration say about a code.
type known struct {
	code  obis.Code
	entry obis.Entry
	scale position // as configured
	id    uint8    // how good an identification of the meter it is; 0: none
}

// knownSlots is the size of the cache before the catalogue: the codes of a
// meter's lists, each in the slot that its value groups choose.
const knownSlots = 128

func slotOf(c obis.Code) int {
	return int(c[2]*13+c[3]*5+c[4]*3+c[1]+c[0]) % knownSlots
}

// lookup is what is known of a code.
func (p *push) lookup(c obis.Code) *known {
	k := &p.known[slotOf(c)]
	if k.code != c {
		*k = known{code: c, entry: obis.Lookup(c), scale: p.scales[anyChannel(c)], id: identification(c)}
	}
	return k
}
