package iec62056

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Read reads the meter's readout, or, where the configuration names addresses or
// the device is of LIS-200, those one by one. want: only these.
func (s *session) Read(ctx context.Context, want []obis.Code, r *drivers.Reading) error {
	err := s.conversation(ctx, func(ctx context.Context) error {
		if s.cfg.Mode == string(ModeD) {
			return s.listen(ctx, r)
		}
		if len(s.cfg.Read) > 0 {
			return s.readEach(ctx, want, r)
		}
		return s.readout(ctx, r)
	})
	if err != nil {
		return err
	}
	r.Values = slices.DeleteFunc(r.Values, func(v drivers.Value) bool { return !wanted(want, v.Code) })
	s.identity = merged(s.identity, r.Meter)
	return nil
}

func merged(old, heard drivers.Identity) drivers.Identity {
	return drivers.Identity{
		Driver: old.Driver,
		ID:     cmp.Or(heard.ID, old.ID), Manufacturer: cmp.Or(heard.Manufacturer, old.Manufacturer),
		Model: cmp.Or(heard.Model, old.Model), Version: cmp.Or(heard.Version, old.Version), Medium: cmp.Or(heard.Medium, old.Medium),
	}
}

// readout signs on and takes the data message. A meter that offers a speed and
// does not keep it is called again and read at the first one.
func (s *session) readout(ctx context.Context, r *drivers.Reading) error {
	for {
		if err := s.signOn(ctx); err != nil {
			return err
		}
		err := s.takeReadout(ctx, r)
		if err == nil || !s.mayKeep(err) {
			return err
		}
		s.keep = true
		if err := s.calm(ctx); err != nil {
			return err
		}
	}
}

// mayKeep says whether an error may come from a meter that did not change its
// speed, and another try at the first one is to be made.
func (s *session) mayKeep(err error) bool {
	m := s.ident.Mode
	if m != ModeC && m != ModeE || s.keep {
		return false
	}
	if z, _ := s.agree(); z == '0' {
		return false
	}
	return errors.Is(err, drivers.ErrTimeout) || errors.Is(err, errGarbage)
}

var errGarbage = fmt.Errorf("what came is no message, as from a meter at another speed: %w", drivers.ErrSyntax)

// calm waits until the meter has fallen silent, so that it takes a new sign-on.
func (s *session) calm(ctx context.Context) error {
	if err := s.setBaud(s.cfg.baud()); err != nil {
		return err
	}
	for range 100 {
		if _, err := s.receive(ctx, betweenTry); err != nil {
			if errors.Is(err, drivers.ErrTimeout) {
				return nil
			}
			return err
		}
	}
	return nil
}

// takeReadout takes the data message that follows the identification: at once in
// modes A and B and of a table that was asked for, else after the option select.
func (s *session) takeReadout(ctx context.Context, r *drivers.Reading) error {
	var err error
	switch {
	case s.ident.Mode == ModeB:
		err = s.setBaud(s.ident.Baud())
	case s.ident.Mode == ModeA || s.cfg.Table != "":
	default:
		err = s.selectOption(ctx, cmp.Or(s.cfg.Option, "0")[0])
	}
	if err != nil {
		return err
	}
	return s.message(ctx, r)
}

// message takes one data message. One that is damaged is asked for again.
func (s *session) message(ctx context.Context, r *drivers.Reading) error {
	d := s.decoder
	d.frames, d.rest = framer{}, message{}
	d.Feed(append(slices.Clone(s.identLine), '\r', '\n'))
	for try := 0; ; try++ {
		err := s.collect(ctx, r)
		lost, damaged := errors.AsType[*drivers.FrameError](err)
		switch {
		case err == nil || !damaged || errors.Is(err, drivers.ErrRefused):
			return s.told(err)
		case try == tries-1:
			return fmt.Errorf("%s: data message, %d times: %w", s.line, tries, lost.Clone())
		}
		first := lost.Clone()
		if err := s.react(ctx); err != nil {
			return err
		}
		if err := s.send(ctx, []byte{nak}); err != nil {
			return err
		}
		d.Feed(append(slices.Clone(s.identLine), '\r', '\n'))
		if _, err := s.peek(ctx, s.cfg.AnswerWait); err != nil {
			if errors.Is(err, drivers.ErrTimeout) {
				return fmt.Errorf("%s: data message, and no repetition: %w", s.line, first)
			}
			return err
		}
	}
}

// told keeps an error beyond the decoder's next call.
func (s *session) told(err error) error {
	if lost, ok := errors.AsType[*drivers.FrameError](err); ok {
		return fmt.Errorf("%s: %w", s.line, lost.Clone())
	}
	return err
}

// collect feeds the decoder until it has a reading or has lost one. A block that
// is damaged is told at once, for the meter waits for our NAK; anything else when
// the meter has fallen silent.
func (s *session) collect(ctx context.Context, r *drivers.Reading) error {
	d := s.decoder
	wait := s.cfg.AnswerWait
	var lost error
	for heard := 0; heard <= maxBlock; {
		raw := s.in
		s.in = nil
		if len(raw) == 0 {
			var err error
			raw, err = s.receive(ctx, wait)
			if errors.Is(err, drivers.ErrTimeout) {
				return s.atSilence(r, heard, lost, err)
			}
			if err != nil {
				return err
			}
		}
		if len(raw) == 0 {
			continue
		}
		heard += len(raw)
		wait = s.cfg.CharWait
		d.Feed(raw)
		for {
			err := d.Next(r)
			if err == nil {
				return nil
			}
			if errors.Is(err, drivers.ErrMore) {
				break
			}
			if errors.Is(err, drivers.ErrChecksum) || errors.Is(err, drivers.ErrRefused) {
				return err
			}
			lost = s.told(err)
		}
	}
	return fmt.Errorf("%s: data message without an end: %w", s.line, drivers.ErrLong)
}

// atSilence lets the decoder end what the meter's last bytes began.
func (s *session) atSilence(r *drivers.Reading, heard int, lost, silence error) error {
	d := s.decoder
	d.Gap()
	for {
		err := d.Next(r)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, drivers.ErrMore):
			lost = err
			continue
		case heard == 0:
			return fmt.Errorf("data message: %w", silence)
		case lost == nil:
			return fmt.Errorf("%s: %d bytes: %w", s.line, heard, errGarbage)
		}
		return lost
	}
}

// pushWait is how long a meter of mode D may take from one message to the next.
const pushWait = 2 * time.Minute

// listen takes the next message of a meter that pushes.
func (s *session) listen(ctx context.Context, r *drivers.Reading) error {
	if err := s.setBaud(s.cfg.baud()); err != nil {
		return err
	}
	if err := s.line.Discard(); err != nil {
		return err
	}
	d := s.decoder
	d.frames, d.rest = framer{}, message{}
	end := time.Now().Add(pushWait)
	var lost error
	for time.Now().Before(end) {
		raw, err := s.receive(ctx, s.cfg.CharWait)
		switch {
		case errors.Is(err, drivers.ErrTimeout):
			d.Gap()
		case err != nil:
			return err
		}
		d.Feed(raw)
		for err = d.Next(r); err != nil && !errors.Is(err, drivers.ErrMore); err = d.Next(r) {
			lost = s.told(err)
		}
		if err == nil {
			return nil
		}
	}
	if lost != nil {
		return lost
	}
	return fmt.Errorf("%s: nothing was pushed for %s: %w", s.line, pushWait, drivers.ErrTimeout)
}

// readEach reads addresses one by one. One that the meter does not have is passed
// over; if it has none of them, its last refusal is the error.
func (s *session) readEach(ctx context.Context, want []obis.Code, r *drivers.Reading) error {
	if err := s.enter(ctx, s.level()); err != nil {
		return err
	}
	var body []byte
	var refusal error
	for _, address := range s.cfg.Read {
		if !s.isWanted(address, want) {
			continue
		}
		text, err := s.readAddress(ctx, address)
		if errors.Is(err, drivers.ErrRefused) && s.inside {
			refusal = err
			continue
		}
		if err != nil {
			return err
		}
		body = append(append(body, text...), '\r', '\n')
	}
	if len(body) == 0 && refusal != nil {
		return refusal
	}
	s.decoder.log = log{}
	return s.told(s.decoder.decode(message{ident: s.identLine, text: body, check: drivers.CheckBCC}, r))
}

// isWanted says whether an address is among the codes, as it is expanded.
func (s *session) isWanted(address string, want []obis.Code) bool {
	c := s.decoder.meaning([]byte(address)).code
	return wanted(want, c)
}
