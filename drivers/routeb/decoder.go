package routeb

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// port is UDP 3610, where ECHONET Lite is spoken.
const port = 0x0E1A

// Decoder turns what a module sent into readings: those of its frames that carry
// values of a meter.
type Decoder struct {
	scanner Scanner
	item    Item
	frame   Frame
	values  values
	id      string // of the configuration, so that it is not told
	lost    drivers.FrameError
}

var _ drivers.Decoder = (*Decoder)(nil)

// NewDecoder is a decoder for the module of a configuration.
func NewDecoder(c *Config) *Decoder { return &Decoder{id: c.ID.Reveal()} }

// Feed takes the next bytes.
func (d *Decoder) Feed(p []byte) { d.scanner.Feed(p) }

// Gap says that the line fell silent.
func (d *Decoder) Gap() { d.scanner.Gap() }

// Next fills r with the next frame that has values.
func (d *Decoder) Next(r *drivers.Reading) error {
	for {
		err := d.scanner.Next(&d.item)
		if errors.Is(err, drivers.ErrMore) && d.scanner.Held() == 0 {
			return drivers.ErrIdle
		}
		if err != nil {
			return err
		}
		if !d.item.carries() {
			continue
		}
		if field, at, err := d.frame.Parse(d.item.Datagram.Data); err != nil {
			d.lost = drivers.FrameError{Field: field, Offset: at, Length: len(d.item.Datagram.Data), Err: err}
			return &d.lost
		}
		if d.read(&d.frame, r) {
			r.Check = d.item.check()
			d.addStrength(r)
			return nil
		}
	}
}

// carries says whether a message brought a datagram of ECHONET Lite from the
// meter's side.
func (i *Item) carries() bool {
	if i.Form == Bare {
		return true
	}
	if i.Form == TextLine || i.Form == J11Frame && i.Command != j11Received {
		return false
	}
	d := &i.Datagram
	return d.From == port && d.To == port && d.Secured && d.Side <= 0
}

// check is what vouches for a message. A module has looked at the radio frame's
// tag; its text lines carry none of their own.
func (i *Item) check() drivers.Check {
	switch i.Form {
	case J11Frame:
		return drivers.CheckSum8
	case UDPLine:
		return drivers.CheckRelayed
	case TextLine, Bare:
	}
	return drivers.CheckNone
}

// tellers are the services that tell values.
var tellers = []Service{GetRes, GetSNA, Inf, InfC, SetGetRes, SetGetSNA}

// speaks says whether a frame tells values of a meter.
func (f *Frame) speaks() bool {
	if f.Source.class() != Meter.class() {
		return false
	}
	return slices.Contains(tellers, f.Service)
}

// told is the list of a frame that tells values.
func (f *Frame) told() []Property {
	if f.Service.twoLists() {
		return f.Gets
	}
	return f.Properties
}

// read fills r with the values of a frame. false: there are none.
func (d *Decoder) read(f *Frame, r *drivers.Reading) bool {
	if !f.speaks() {
		return false
	}
	r.Reset()
	d.values.list, d.values.date, d.values.clock = r.Values, nil, nil
	for _, p := range f.told() {
		d.values.scale.learn(p)
	}
	for _, p := range f.told() {
		if p.EPC == epcRouteB && !d.mayTell(p) {
			continue
		}
		d.values.add(p)
	}
	r.Values = d.values.list
	if r.Time = d.values.stamp(); !r.Time.IsZero() {
		r.Values = append(r.Values, aClock)
		r.Values[len(r.Values)-1].Moment = r.Time
	}
	r.Meter = identify(r.Values)
	return len(r.Values) > 0
}

// mayTell says whether the meter's Route B identification may be told: with many
// power companies it is the Route B id itself, which is a secret. Without the id it
// cannot be told apart.
func (d *Decoder) mayTell(p Property) bool {
	return d.id != "" && !strings.EqualFold(d.id, fmt.Sprintf("%X", p.EDT))
}

func (d *Decoder) addStrength(r *drivers.Reading) {
	d.values.list = r.Values
	d.values.strength(d.item.Datagram.RSSI)
	r.Values = d.values.list
}

// identify is who the meter is, as far as its values tell.
func identify(list []drivers.Value) drivers.Identity {
	id := drivers.Identity{Driver: driverName, Medium: obis.MediumElectricity}
	for i := range list {
		switch list[i].Code {
		case codeSerial:
			id.ID = list[i].Text
		case codeMaker:
			id.Manufacturer = list[i].Text
		case codeVersion:
			id.Version = list[i].Text
		}
	}
	return id
}

var errForeignConfig = errors.New("the configuration is another driver's")
