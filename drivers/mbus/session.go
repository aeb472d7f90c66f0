package mbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// session is a conversation with one meter, of the many on a line. It outlives
// readouts that fail.
type session struct {
	bus     *bus
	config  *Config
	to      target
	prepare []Frame  // SND_UD before each readout
	own     [][]byte // requests of the configuration
	records []namedRecord
	decoder *Decoder

	fcb      bool // of the next new request
	selected bool // the meter may still take itself for selected
	failed   bool // the last readout found nobody
	sent     bool // the write under way, and the meter may have taken it
	who      drivers.Identity
	bodies   [][]byte // of the readout's telegrams so far, without access numbers
}

// errBusy is the meter's wish to be asked later.
var errBusy = errors.New("busy")

// busyPause is how long a busy meter is left alone.
const busyPause = time.Second

// patience is what reaching a dead meter may cost.
const patience = 2900 * time.Millisecond

// mostTries is how often a meter that may sleep is called.
const mostTries = 3

// dial makes a session; nothing is sent yet.
func dial(_ context.Context, line drivers.Line, c drivers.Config, z drivers.Zones) (drivers.Session, error) {
	config, ok := c.(*Config)
	if !ok {
		return nil, fmt.Errorf("configuration of another driver: %T", c)
	}
	to, err := config.target()
	if err != nil {
		return nil, err
	}
	prepare, err := config.preparation(to.primary)
	if err != nil {
		return nil, err
	}
	own, err := config.requests()
	if err != nil {
		return nil, err
	}
	records, err := config.records(zoneOf(z))
	if err != nil {
		return nil, err
	}
	return &session{
		bus:     newBus(line, paceOf(config, line, config.Baud)),
		config:  config,
		to:      to,
		prepare: prepare,
		own:     own,
		records: records,
		decoder: NewDecoder(zoneOf(z)),
		who:     drivers.Identity{Driver: driverName},
	}, nil
}

// Describe is what the last readout told of the meter. Its quantities are known
// by its readings alone.
func (s *session) Describe() (drivers.Identity, []drivers.Quantity, []drivers.Parameter) {
	return s.who, nil, s.parameters()
}

// Read is one whole readout: all its telegrams, or an error.
func (s *session) Read(ctx context.Context, want []obis.Code, r *drivers.Reading) error {
	err := s.converse(ctx, func() error {
		return s.patiently(ctx, func() error { return s.readout(ctx, r) })
	})
	if err != nil {
		return err
	}
	s.who = r.Meter
	if want != nil {
		r.Values = slices.DeleteFunc(r.Values, func(v drivers.Value) bool { return !slices.Contains(want, v.Code) })
	}
	return nil
}

// converse has the line at the meter's speed while do talks to it.
func (s *session) converse(ctx context.Context, do func() error) error {
	defer drivers.WakeOnEnd(ctx, s.bus.line)()
	giveBack, err := s.bus.lend()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	defer giveBack()
	return s.tell(do())
}

// patiently asks a meter that is busy again from the start, a while later.
func (s *session) patiently(ctx context.Context, do func() error) error {
	err := do()
	for again := 0; errors.Is(err, errBusy) && again < s.config.Retries; again++ {
		if err = sleepUntil(ctx, time.Now().Add(busyPause)); err == nil {
			err = do()
		}
	}
	return err
}

// Close deselects the meter, if it was selected.
func (s *session) Close(ctx context.Context) error {
	if !s.selected {
		return nil
	}
	return s.converse(ctx, func() error {
		s.selected = false
		_, err := s.bus.ask(ctx, mustFrame(LinkReset(Selected)), acknowledged, s.bus.window)
		return err
	})
}

// tell says which meter an error is of. Errors of the line and of ctx stay.
func (s *session) tell(err error) error {
	for _, meters := range [...]error{drivers.ErrTimeout, drivers.ErrRefused, drivers.ErrSyntax, drivers.ErrShort, drivers.ErrLong, drivers.ErrChecksum, drivers.ErrAuth} {
		if errors.Is(err, meters) {
			return fmt.Errorf("%s: %w", &s.to, err)
		}
	}
	return err
}

// readout is one try to read all telegrams.
func (s *session) readout(ctx context.Context, r *drivers.Reading) error {
	if err := s.bus.wake(ctx, s.config.Wake); err != nil {
		return err
	}
	if err := s.reach(ctx); err != nil {
		return err
	}
	if err := s.arrange(ctx); err != nil {
		return err
	}
	if err := s.telegrams(ctx, r); err != nil {
		return err
	}
	if s.config.Alarm {
		return s.alarm(ctx, r)
	}
	return nil
}

// mustFrame is a frame of which all parts were checked before.
func mustFrame(f Frame) []byte {
	b, err := f.AppendTo(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// reach begins anew with the meter: its next frame count bit is 1, its readout
// starts with the first telegram. A meter that sleeps may need several calls, one
// that was dead in the last round gets one.
func (s *session) reach(ctx context.Context) error {
	s.fcb = true
	request := LinkReset(s.to.primary)
	if s.to.selects() {
		var err error
		if request, err = Select(s.to.mask, false, s.to.fabrication); err != nil {
			return err
		}
	}
	raw, began, tries := mustFrame(request), time.Now(), 0
	for {
		left := patience - time.Since(began) - s.bus.bytes(len(raw))
		if tries > 0 && (tries == mostTries || s.failed || left < s.bus.first/2) {
			s.failed = true
			return silence(tries)
		}
		wait := s.bus.first
		if tries > 0 {
			wait = min(wait, left)
		}
		got, err := s.bus.ask(ctx, raw, acknowledged, wait)
		if err != nil {
			return err
		}
		if got != silent {
			s.failed, s.selected = false, s.to.selects()
			return nil // any byte is somebody; the readout tells what they can say
		}
		tries++
	}
}

// silence is the error of a meter that does not answer.
func silence(tries int) error {
	return drivers.WithHint(fmt.Errorf("%w (asked %d times)", drivers.ErrTimeout, tries),
		"is the address right (`meter2mqtt scan --driver mbus` lists who is there), is the line 8E1 at the meter's speed, and has the level converter its 36 V?")
}

// arrange sends what shall happen before a readout. Some meters count the frames
// of SND_UD and REQ_UD2 together and some apart, so the link begins anew behind.
func (s *session) arrange(ctx context.Context) error {
	if len(s.prepare) == 0 {
		return nil
	}
	for _, f := range s.prepare {
		f.C, f.A = withFCB(f.C, s.fcb), s.to.primary
		if got, err := s.exchange(ctx, mustFrame(f), acknowledged); err != nil {
			return err
		} else if got != acknowledged {
			return s.refused("application reset or choice of records")
		}
		s.fcb = !s.fcb
	}
	return s.reach(ctx)
}

func (s *session) refused(what string) error {
	if err := s.applicationError(); err != nil {
		return err
	}
	return drivers.WithHint(fmt.Errorf("%s: %w", what, drivers.ErrRefused), "not every meter can do that: see its manual")
}

// applicationError is what the telegram at hand says, if it is an error.
func (s *session) applicationError() error {
	switch s.bus.frame.CI {
	case ciError, ciErrorShort, ciErrorLong:
	default:
		return nil
	}
	var r drivers.Reading
	s.decoder.Feed(s.bus.frame.Raw)
	err := s.decoder.Next(&r)
	if errors.Is(err, drivers.ErrRefused) && isBusy(&s.bus.frame) {
		return fmt.Errorf("%w: %w", errBusy, drivers.ErrRefused)
	}
	return keepFault(err)
}

// keepFault makes a decoder's error outlive its next call.
func keepFault(err error) error {
	if f, ok := errors.AsType[*drivers.FrameError](err); ok {
		return f.Clone()
	}
	return err
}

// isBusy says whether the frame is application error 8.
func isBusy(f *Frame) bool {
	at := map[byte]int{ciError: 0, ciErrorShort: shortHeader, ciErrorLong: longHeader}[f.CI]
	return len(f.Data) > at && f.Data[at] == 8
}

// exchange asks until something whole has come: the same bytes again, so that the
// meter knows a repetition.
func (s *session) exchange(ctx context.Context, request []byte, want reply) (reply, error) {
	var fault error
	for range 1 + s.config.Retries {
		got, err := s.bus.ask(ctx, request, want, s.bus.first)
		if err != nil {
			return silent, err
		}
		switch {
		case got == acknowledged, got == telegram && !s.foreign():
			return got, nil
		case got == telegram:
			fault = errForeign
		case got == garbled:
			fault = s.garble()
		}
	}
	if fault != nil {
		return silent, fault
	}
	return silent, silence(1 + s.config.Retries)
}

var errForeign = drivers.WithHint(fmt.Errorf("another meter's answer came: %w", drivers.ErrSyntax),
	"several meters may share this address, or an answer comes later than timeout allows")

// foreign says whether the telegram at hand is another meter's.
func (s *session) foreign() bool {
	if !s.to.selects() {
		return s.to.primary != Everyone && s.bus.frame.A != s.to.primary
	}
	meter, named := meterOf(&s.bus.frame, s.to.mask)
	return named && !s.to.mask.fits(meter)
}

// garble says what is wrong with bytes that are no frame.
func (s *session) garble() error {
	cause := s.bus.fault
	if cause == nil {
		cause = drivers.ErrSyntax
	}
	return drivers.WithHint(fmt.Errorf("%d bytes came that are no whole answer: %w", len(s.bus.heard), cause),
		"several meters may share this address (then read them by their secondary ones), or the line is noisy or not 8E1")
}

// meterOf is the address that a frame names its sender by. What the fixed
// structure leaves open is taken from rest.
func meterOf(f *Frame, rest Address) (meter Address, named bool) {
	turned := f.CI == ciLongMSB || f.CI == ciFixedMSB
	switch f.CI {
	case ciLong, ciLongMSB, ciErrorLong, ciAlarmLong:
		if len(f.Data) < longHeader {
			return meter, false
		}
		meter = Address(f.Data)
	case ciFixed, ciFixedMSB:
		if len(f.Data) != fixedLength {
			return meter, false
		}
		meter = rest
		copy(meter[:4], f.Data)
	default:
		return meter, false
	}
	if turned && f.CI == ciLongMSB {
		return turnedMeter(meter), true
	}
	if turned {
		meter[0], meter[1], meter[2], meter[3] = meter[3], meter[2], meter[1], meter[0]
	}
	return meter, true
}

// telegrams reads until a telegram that no other follows.
func (s *session) telegrams(ctx context.Context, r *drivers.Reading) error {
	s.decoder.forget()
	s.bodies = s.bodies[:0]
	done, err := s.askOwn(ctx, r)
	for err == nil && !done {
		var got reply
		got, err = s.exchange(ctx, mustFrame(RequestData(s.to.primary, s.fcb)), telegram)
		if err != nil {
			break
		}
		if got == acknowledged {
			return s.empty()
		}
		s.fcb = !s.fcb
		done, err = s.join(r)
	}
	return err
}

// askOwn sends the configuration's own requests.
func (s *session) askOwn(ctx context.Context, r *drivers.Reading) (done bool, err error) {
	for _, raw := range s.own {
		var f Frame
		want := acknowledged
		if wholeRequest(raw, &f) && f.Kind == Short && f.C != cNKE {
			want = telegram
		}
		got, err := s.exchange(ctx, raw, want)
		if err != nil {
			return false, fmt.Errorf("own request % X: %w", raw, err)
		}
		if got != telegram {
			continue
		}
		if done, err = s.join(r); err != nil || done {
			return done, err
		}
	}
	return false, nil
}

// empty is the error of a meter that acknowledges instead of sending data.
func (s *session) empty() error {
	if len(s.bodies) > 0 {
		return fmt.Errorf("the readout ended without its last telegram: %w", drivers.ErrShort)
	}
	return fmt.Errorf("the meter has no data: %w", drivers.ErrRefused)
}

// join adds the telegram at hand to the reading. done: it was the last.
func (s *session) join(r *drivers.Reading) (done bool, err error) {
	if err := s.applicationError(); err != nil {
		return false, err
	}
	body := bodyOf(&s.bus.frame)
	if slices.ContainsFunc(s.bodies, func(b []byte) bool { return slices.Equal(b, body) }) {
		return false, drivers.WithHint(fmt.Errorf("the telegram number %d came again when the next was asked for: %w", len(s.bodies), drivers.ErrSyntax),
			fmt.Sprintf("telegrams = %d reads what it has given so far", len(s.bodies)))
	}
	s.bodies = append(s.bodies, body)
	s.decoder.Feed(s.bus.frame.Raw)
	err = s.decoder.Next(r)
	if !errors.Is(err, drivers.ErrMore) {
		return err == nil, keepFault(err)
	}
	if len(s.bodies) == s.config.Telegrams {
		s.decoder.Gap()
		return true, keepFault(s.decoder.Next(r))
	}
	return false, nil
}

// bodyOf is what a telegram says, without its access number.
func bodyOf(f *Frame) []byte {
	body := append([]byte{f.CI}, f.Data...)
	at := map[byte]int{ciLong: 9, ciLongMSB: 9, ciShort: 1}[f.CI]
	if at > 0 && at < len(body) {
		body[at] = 0
	}
	return body
}

// alarm asks for class 1 data and adds it to the reading.
func (s *session) alarm(ctx context.Context, r *drivers.Reading) error {
	got, err := s.exchange(ctx, mustFrame(RequestAlarm(s.to.primary, s.fcb)), telegram)
	if err != nil {
		return err
	}
	if got == acknowledged {
		r.Values = append(r.Values, drivers.Value{Name: nameAlarm, Record: &present})
		return nil
	}
	if err := s.applicationError(); err != nil {
		return err
	}
	var class1 drivers.Reading
	d := NewDecoder(s.decoder.app.zone)
	d.Feed(s.bus.frame.Raw)
	if err := d.Next(&class1); err != nil && !errors.Is(err, drivers.ErrMore) {
		return keepFault(err)
	}
	r.Values = append(r.Values, class1.Values...)
	return nil
}
