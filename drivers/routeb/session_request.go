package routeb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	firstWait = 5 * time.Second // for the answer to the first request with several properties
	busyTries = 4               // while the module is busy
)

// talk is the request under way.
type talk struct {
	tid     uint16
	pending *request
	answer  *Frame
	sent    bool // the module has told what became of the datagram
	left    bool // it was transmitted
	taken   bool // the module has taken the request under way: it may have been carried out
	last    time.Time
}

// request is what was asked of an object.
type request struct {
	object     Object
	service    Service
	tid        uint16
	properties []Property
	gets       []Property // of SetGet
}

func (r *request) frame() Frame {
	return Frame{TID: r.tid, Source: Controller, Sink: r.object, Service: r.service, Properties: r.properties, Gets: r.gets}
}

// answeredBy says whether a frame is the answer: of the same TID, from the object
// that was asked, the service's own twin, with nothing but what was asked for, in
// any order.
func (r *request) answeredBy(f *Frame) bool {
	answer, _ := f.Service.answers(r.service)
	return answer && f.TID == r.tid && f.Sink == Controller && f.Source == r.object &&
		covers(r.properties, f.Properties) && covers(r.gets, f.Gets)
}

func covers(asked, got []Property) bool {
	for _, g := range got {
		if !slices.ContainsFunc(asked, func(a Property) bool { return a.EPC == g.EPC }) {
			return false
		}
	}
	return len(got) > 0 || len(asked) == 0
}

// refusedOf is the property that an answer to a setting gives back because it was
// refused; nil: it was accepted.
func (f *Frame) refusedOf(epc byte) *Property {
	for i, p := range f.Properties {
		if p.EPC == epc && len(p.EDT) > 0 {
			return &f.Properties[i]
		}
	}
	return nil
}

var (
	errLimited = fmt.Errorf("the module has used up its transmit time of this hour: %w", drivers.ErrTimeout)
	errGone    = errors.New("the session ended before the answer came")
)

// exchange sends a request until it is answered. A repetition keeps its TID, so
// that a late answer to an earlier try is welcome. A request whose session ended
// underneath is sent again as soon as there is one.
func (s *session) exchange(ctx context.Context, r *request, tries int, wait time.Duration) (*Frame, error) {
	s.talk.tid++
	r.tid = s.talk.tid
	var err error
	for gone := 0; tries > 0; {
		if err := s.ensure(ctx); err != nil {
			return nil, err
		}
		var f *Frame
		if f, err = s.try(ctx, r, wait); err == nil {
			return f, nil
		}
		switch {
		case errors.Is(err, errGone) && gone < s.cfg.Tries:
			gone++
			continue
		case errors.Is(err, errGone):
			return nil, fmt.Errorf("%s: %w: %w", s.line, errGone, drivers.ErrTimeout)
		case !mild(err), errors.Is(err, errLimited):
			return nil, err
		}
		tries--
	}
	return nil, fmt.Errorf("%s: the meter does not answer: %w", s.line, err)
}

// try sends a request and waits for its answer.
func (s *session) try(ctx context.Context, r *request, wait time.Duration) (*Frame, error) {
	if r.object == Meter && s.meter.object != 0 {
		r.object = s.meter.object
	}
	s.talk.pending, s.talk.answer = r, nil
	defer func() { s.talk.pending = nil }()
	if err := s.pause(ctx, time.Until(s.talk.last.Add(s.cfg.RequestGap))); err != nil {
		return nil, err
	}
	if s.talk.answer != nil {
		return s.talk.answer, nil // a late one
	}
	if err := s.waitForLimit(ctx); err != nil {
		return nil, err
	}
	f := r.frame()
	if err := s.transmit(ctx, f.AppendTo(nil)); err != nil {
		return nil, err
	}
	until := time.Now().Add(wait)
	for s.talk.answer == nil {
		switch {
		case !s.link.joined:
			return nil, errGone
		case s.talk.sent && !s.talk.left:
			// It never left: what it waits for is the air, or a session that the
			// module has lost.
			return nil, errors.Join(drivers.ErrTimeout, s.pause(ctx, s.timing.again))
		}
		if _, err := s.next(ctx, until); err != nil {
			return nil, err
		}
	}
	return s.talk.answer, nil
}

// waitForLimit waits a while for the transmit-time limit to be lifted.
func (s *session) waitForLimit(ctx context.Context) error {
	if !s.link.limited {
		return nil
	}
	until := time.Now().Add(s.cfg.AnswerWait)
	for s.link.limited {
		_, err := s.next(ctx, until)
		if errors.Is(err, drivers.ErrTimeout) {
			return fmt.Errorf("%s: %w", s.line, errLimited)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// transmit gives a frame to the module, again while it is busy.
func (s *session) transmit(ctx context.Context, frame []byte) error {
	for try := 1; ; try++ {
		s.talk.sent, s.talk.left, s.talk.taken = false, false, true
		s.talk.last = time.Now()
		err := s.module.send(ctx, frame)
		if !errors.Is(err, errBusy) || try == busyTries {
			return err
		}
		if err := s.pause(ctx, s.timing.again); err != nil {
			return err
		}
	}
}

// pay sends what is owed to the meter. It is sent once: that it arrived nobody says.
func (s *session) pay(ctx context.Context) error {
	for len(s.owed) > 0 && s.link.joined && !s.link.limited {
		f := s.owed[0]
		s.owed = s.owed[1:]
		if err := s.module.send(ctx, f.AppendTo(nil)); err != nil && !mild(err) {
			return err
		}
	}
	return nil
}

// ask is a request with the usual patience. A meter that answers none of the tries
// may have lost the session: then it is renewed before the next request.
func (s *session) ask(ctx context.Context, r *request) (*Frame, error) {
	f, err := s.exchange(ctx, r, s.cfg.Tries, s.cfg.AnswerWait)
	if errors.Is(err, drivers.ErrTimeout) && s.link.joined && !s.link.limited {
		s.link.suspect = true
	}
	return f, err
}

// several is what is known of a meter's taste for requests with several properties.
type several struct {
	works   bool
	refused int // in a row
}

// get reads properties: in one request if the meter takes that, else one by one.
// What it refuses is left out and not asked for again.
func (s *session) get(ctx context.Context, o Object, codes ...byte) (got []Property, err error) {
	r := request{object: o, service: Get}
	for _, epc := range codes {
		if o != Meter || s.meter.gives(epc) {
			r.properties = append(r.properties, Property{EPC: epc})
		}
	}
	if len(r.properties) > 1 && s.meter.several.refused < 2 {
		f, err := s.askSeveral(ctx, &r)
		if err == nil {
			return s.good(o, f), nil
		}
		if s.meter.several.works || !errors.Is(err, drivers.ErrTimeout) || !s.link.joined || s.link.limited {
			return nil, err
		}
		s.meter.several.refused++
	}
	for _, p := range r.properties {
		f, err := s.ask(ctx, &request{object: o, service: Get, properties: []Property{p}})
		if err != nil {
			return got, err
		}
		got = append(got, s.good(o, f)...)
	}
	return got, nil
}

// askSeveral asks for several properties at once: with less patience while it is not
// known whether the meter can do that.
func (s *session) askSeveral(ctx context.Context, r *request) (*Frame, error) {
	if s.meter.several.works {
		return s.ask(ctx, r)
	}
	f, err := s.exchange(ctx, r, 1, min(firstWait, s.cfg.AnswerWait))
	if err == nil {
		s.meter.several = several{works: true}
	}
	return f, err
}

// good are the properties of an answer that carry data. The others are remembered
// as refused.
func (s *session) good(o Object, f *Frame) (good []Property) {
	_, refusal := f.Service.answers(Get)
	for _, p := range f.Properties {
		switch {
		case len(p.EDT) > 0:
			good = append(good, p)
			if o == Meter {
				s.meter.saw(p)
				s.decoder.values.scale.learn(p)
			}
		case o == Meter && refusal:
			s.meter.refuses.Add(p.EPC)
		}
	}
	return good
}

// set writes properties that say what is read next: they may be sent again.
func (s *session) set(ctx context.Context, list ...Property) error {
	f, err := s.ask(ctx, &request{object: Meter, service: SetC, properties: list})
	if err != nil {
		return err
	}
	return s.accepted(f, list)
}

// accepted is ErrRefused, with the first of the properties that a meter did not take.
func (s *session) accepted(f *Frame, list []Property) error {
	refusal := f.Service == SetCSNA || f.Service == SetISNA || f.Service == SetGetSNA
	for _, p := range list {
		if refusal && f.refusedOf(p.EPC) != nil {
			return fmt.Errorf("%s: property %02X: %w", s.line, p.EPC, drivers.ErrRefused)
		}
	}
	return nil
}

// quietWait is how long a refusal of a setting may take that is not answered otherwise.
const quietWait = 2 * time.Second

// order writes properties once. What went wrong before the module had them is
// ErrUnsent, as is a datagram that the module says it did not transmit; behind that
// nobody knows: ErrUnconfirmed. What was read back with the same exchange it gives.
func (s *session) order(ctx context.Context, list ...Property) (back []Property, err error) {
	r := &request{object: Meter, service: cmp.Or(setServices[s.cfg.SetWith], SetC), properties: list}
	wait := s.cfg.AnswerWait
	if r.service == SetI {
		wait = min(wait, quietWait)
	}
	if r.service == SetGet {
		for _, p := range list {
			r.gets = append(r.gets, Property{EPC: p.EPC})
		}
	}
	if err := s.ensure(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", drivers.ErrUnsent, err)
	}
	s.talk.tid++
	r.tid, s.talk.taken = s.talk.tid, false
	f, err := s.try(ctx, r, wait)
	unsent := !s.talk.taken || s.talk.sent && !s.talk.left || errors.Is(err, errBusy)
	switch {
	case err == nil:
		return f.Gets, s.accepted(f, list)
	case unsent:
		return nil, fmt.Errorf("%s: %w: %w", s.line, drivers.ErrUnsent, err)
	case r.service == SetI && s.talk.left && errors.Is(err, drivers.ErrTimeout):
		return nil, nil // not to hear of it is the answer
	}
	return nil, fmt.Errorf("%s: %w: %w", s.line, drivers.ErrUnconfirmed, err)
}
