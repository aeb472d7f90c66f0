package routeb

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// maxUnasked bounds the readings that wait for Notify, maxOwed the answers.
const (
	maxUnasked = 32
	maxOwed    = 8
)

// notice takes note of what a message says by itself, whatever is being awaited.
func (s *session) notice(item *Item) {
	switch item.Form {
	case TextLine:
		if e, ok := ParseEvent(item.Text); ok && e.Side <= 0 {
			s.happened(e)
		}
	case UDPLine:
		s.arrived(&item.Datagram)
	case J11Frame:
		s.noticeJ11(item)
	case Bare:
		if s.inDatagrams {
			s.frame(item.Datagram.Data)
		}
	}
}

// happened is what an event changes.
func (s *session) happened(e Event) {
	switch e.Number {
	case evSent:
		if told, left := e.sends(); told {
			s.talk.sent, s.talk.left = true, left
		}
	case evScanned:
		s.link.scanned = true
	case evJoined:
		s.up()
	case evNotJoined:
		s.down()
		s.link.refused = true
	case evEnding:
		s.down()
		s.link.endBy = time.Now().Add(s.timing.end)
	case evEnded, evEndedMute:
		s.down()
	case evExpired:
		s.down()
		s.link.reauthBy = time.Now().Add(s.cfg.JoinWait)
	case evLimited:
		s.link.limited, s.link.askLimit = true, time.Now().Add(s.timing.limit)
		s.showLink()
	case evLifted:
		s.link.limited = false
		s.showLink()
	}
}

// up notes that the meter has accepted us, or renewed the session.
func (s *session) up() {
	now := time.Now()
	l := &s.link
	l.joined, l.refused, l.suspect = true, false, false
	l.reauthBy, l.endBy, l.renewAt = time.Time{}, time.Time{}, time.Time{}
	if l.lifetime > 0 {
		l.renewAt = now.Add(l.lifetime / 5 * 4)
	}
	s.meter.heard = now
	s.showLink()
}

// down notes that there is no session. What was asked gets no answer any more.
func (s *session) down() {
	if s.link.joined && !s.link.leaving {
		s.setState(stateJoining)
	}
	s.link.joined = false
	s.link.reauthBy, s.link.endBy = time.Time{}, time.Time{}
}

// arrived takes a datagram: the answer that is awaited, what the meter says or asks
// by itself, or the lifetime of the session. Anything else, and whatever comes from
// another node, is dropped.
func (s *session) arrived(d *Datagram) {
	if d.Side > 0 || s.pan == nil || d.MAC != s.pan.MAC && d.Sender != LinkLocal(s.pan.MAC) {
		return
	}
	if d.From == panaPort {
		if life, ok := sessionLifetime(d.Data); ok {
			s.link.lifetime = life
		}
		return
	}
	if d.From != port || d.To != port || !d.Secured {
		return
	}
	if s.frame(d.Data) && d.RSSI != 0 {
		s.meter.rssi = d.RSSI
	}
}

// frame takes an ECHONET Lite frame of the meter; false: it is none.
func (s *session) frame(b []byte) bool {
	var f Frame
	if _, _, err := f.Parse(append([]byte(nil), b...)); err != nil {
		return false
	}
	s.heard(&f)
	return true
}

// heard takes a frame of the meter.
func (s *session) heard(f *Frame) {
	if p := s.talk.pending; p != nil && p.answeredBy(f) {
		s.talk.answer, s.talk.pending = f, nil
		s.link.renewed = false
		return
	}
	if f.Service == Inf || f.Service == InfC {
		s.told(f)
	}
	if f.Service == Get || f.Service == InfReq {
		s.asked(f)
	}
}

// told takes what the meter announces.
func (s *session) told(f *Frame) {
	if reply, wanted := f.reply(); wanted {
		s.owe(reply)
	}
	s.learnInstances(f)
	other := s.meter.object != 0 && f.Source != s.meter.object
	if f.Source.class() != Meter.class() || other {
		return
	}
	r := new(drivers.Reading)
	if !s.decode(f.Properties, r) {
		return
	}
	for _, p := range f.Properties {
		s.meter.saw(p)
	}
	r.Received = time.Now()
	if len(s.unasked) >= maxUnasked {
		s.unasked = s.unasked[1:]
	}
	s.unasked = append(s.unasked, r)
}

func (s *session) owe(f Frame) {
	if len(s.owed) < maxOwed {
		s.owed = append(s.owed, f)
	}
}

// ourNode is what we say of ourselves when the meter asks: a controller, and
// nothing that can be set.
var ourNode = map[byte][]byte{
	epcOperation:      {0x30},
	epcVersion:        {1, 0x0D, 1, 0},
	epcIdentification: {0xFE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
	epcMaker:          {0, 0, 0},
	epcMapInf:         {1, epcInstanceInf},
	epcMapSet:         {0},
	epcCoefficient:    {0, 0, 1},
	epcClasses:        {0, 2},
	epcInstances:      {1, 0x05, 0xFF, 0x01},
	epcDigits:         {1, 0x05, 0xFF},
	epcMapGet: {
		10, epcOperation, epcVersion, epcIdentification, epcMaker, epcMapInf, epcMapSet, epcMapGet,
		epcCoefficient, epcClasses, epcInstances,
	},
}

// asked answers what the meter asks of us.
func (s *session) asked(f *Frame) {
	if c := f.Sink.class(); c != NodeProfile.class() && c != Controller.class() {
		return
	}
	r := Frame{TID: f.TID, Source: f.Sink, Sink: f.Source, Service: f.Service + 0x10}
	for _, p := range f.Properties {
		edt := ourNode[p.EPC]
		if edt == nil {
			r.Service = f.Service - 0x10
		}
		r.Properties = append(r.Properties, Property{p.EPC, edt})
	}
	s.owe(r)
}

// decode fills r with what properties of the meter say. false: nothing.
func (s *session) decode(list []Property, r *drivers.Reading) bool {
	f := Frame{Source: Meter, Service: GetRes, Properties: list}
	ok := s.decoder.read(&f, r)
	r.Check = s.module.check()
	s.meter.identity = merged(s.meter.identity, r.Meter)
	r.Meter = s.meter.identity
	return ok
}

// merged is an identity with what is newly known of it.
func merged(known, said drivers.Identity) drivers.Identity {
	if said.ID != "" {
		known.ID = said.ID
	}
	if said.Manufacturer != "" {
		known.Manufacturer = said.Manufacturer
	}
	if said.Version != "" {
		known.Version = said.Version
	}
	return known
}
