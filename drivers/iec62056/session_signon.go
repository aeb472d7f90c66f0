package iec62056

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Wake-up of battery meters, clause 6.4.7 and annex B.
const (
	wakeFor   = 2200 * time.Millisecond // of NULs, at most 5 ms between two
	wakeBurst = 550 * time.Millisecond  // the fast one's
	wakeTries = 8                       // bursts: at least 4.5 s
	maxNoise  = 4 << 10                 // bytes before an identification
	shortWake = 40                      // NULs, the request right behind: Landis+Gyr UltraHeat
)

// signOn wakes the meter, calls it and reads its identification. A meter that is
// silent is called again.
func (s *session) signOn(ctx context.Context) error {
	if err := s.setBaud(s.cfg.baud()); err != nil {
		return err
	}
	if err := s.line.Discard(); err != nil {
		return err
	}
	s.inside, s.operand = false, ""
	var err error
	for try := range tries {
		if try > 0 {
			if err := pause(ctx, betweenTry); err != nil {
				return err
			}
		}
		if err = s.call(ctx); err == nil || !errors.Is(err, drivers.ErrTimeout) {
			return err
		}
	}
	return fmt.Errorf("sign-on: %w", err)
}

// call sends the request once.
func (s *session) call(ctx context.Context) error {
	if err := s.wake(ctx); err != nil {
		return err
	}
	table := byte('?')
	if s.cfg.Table != "" {
		table = s.cfg.Table[0]
	}
	request := appendRequest(nil, table, string(s.cfg.Address))
	s.echoes = false // the first message tells
	if err := s.send(ctx, request); err != nil {
		return err
	}
	return s.identify(ctx, request)
}

// identify waits for the identification line.
func (s *session) identify(ctx context.Context, request []byte) error {
	var line []byte
	wait := s.cfg.IdentWait
	for range maxNoise {
		c, err := s.next(ctx, wait)
		if err != nil {
			return err
		}
		wait = max(s.cfg.CharWait, s.cfg.IdentWait/2) // a request's echo may end before the answer begins
		switch {
		case c == '/':
			line = append(line[:0], c)
		case c == '\r' || c == '\n':
			if bytes.HasPrefix(request, append(line, '\r')) {
				s.echoes = true
			}
			if isIdentification(line) {
				return s.learn(line)
			}
			line = line[:0]
		case c >= ' ' && c <= '~' && len(line) > 0 && len(line) <= maxIdent:
			line = append(line, c)
		}
	}
	return fmt.Errorf("%s: no identification in %d bytes: %w", s.line, maxNoise, drivers.ErrLong)
}

// learn keeps who the meter is.
func (s *session) learn(line []byte) error {
	id, err := ParseIdentification(line)
	if err != nil {
		return err
	}
	if !bytes.Equal(line, s.identLine) {
		s.keep = false
	}
	s.ident, s.identLine = id, append(s.identLine[:0], line...)
	if m := Protocol(0); s.cfg.Mode != "" && s.cfg.Mode != "auto" {
		m = Protocol(s.cfg.Mode[0])
		s.ident.Mode = m
	}
	who := s.decoder.identity(line)
	s.identity.Manufacturer, s.identity.Model = who.Manufacturer, who.Model
	return nil
}

// wake sends NULs to a meter that sleeps.
func (s *session) wake(ctx context.Context) error {
	switch s.cfg.Wake {
	case "normal":
		if err := s.nulls(ctx, wakeFor); err != nil {
			return err
		}
		return pause(ctx, afterWake)
	case "fast":
		return s.wakeFast(ctx)
	case "short":
		_, err := s.line.Write(make([]byte, shortWake))
		return err
	}
	return nil
}

// nulls sends NULs without a gap for as long as d. A serial line takes as many as
// go into that time and is busy with them. Anything that takes them at once, a
// network or a pseudo-terminal, is fed in their time.
func (s *session) nulls(ctx context.Context, d time.Duration) error {
	each := 10 * time.Second / time.Duration(s.cfg.baud()) // ten bits
	began := time.Now()
	if !s.fixed {
		if _, err := s.line.Write(make([]byte, d/each)); err != nil {
			return err
		}
		if err := s.line.Flush(ctx); err != nil {
			return err
		}
		if time.Since(began) > d/2 {
			return nil
		}
		each = min(each, 2*time.Millisecond)
	}
	for sent := 0; time.Since(began) < d; {
		if due := int(time.Since(began)/each) + 1; due > sent {
			if _, err := s.line.Write(make([]byte, due-sent)); err != nil {
				return err
			}
			sent = due
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// wakeFast sends bursts until the meter says ACK in a pause between them.
func (s *session) wakeFast(ctx context.Context) error {
	for range wakeTries {
		if err := s.nulls(ctx, wakeBurst); err != nil {
			return err
		}
		between := 20*time.Second/time.Duration(s.cfg.baud()) + 30*time.Millisecond
		c, err := s.next(ctx, between)
		if err == nil && c == ack {
			s.awake = true
			return pause(ctx, slowReact)
		}
		if err != nil && !errors.Is(err, drivers.ErrTimeout) {
			return err
		}
	}
	return fmt.Errorf("%s: the meter does not wake up: %w", s.line, drivers.ErrTimeout)
}

// selectOption answers the identification and goes to the agreed speed at once:
// the meter may speak 20 ms later.
func (s *session) selectOption(ctx context.Context, option byte) error {
	if err := s.react(ctx); err != nil {
		return err
	}
	z, baud := s.agree()
	if err := s.send(ctx, appendOption(nil, '0', z, option)); err != nil {
		return err
	}
	if err := s.line.Flush(ctx); err != nil {
		return err
	}
	if s.cfg.SwitchWait > 0 {
		if err := pause(ctx, s.cfg.SwitchWait); err != nil {
			return err
		}
	}
	return s.setBaud(baud)
}

// agree is the speed to select: the meter's, unless it is above the highest that
// is configured or did not work.
func (s *session) agree() (z byte, baud int) {
	baud = s.ident.Baud()
	limit := small(s.cfg.MaxBaud)
	if s.ident.Speed < '0' || s.ident.Speed > '6' || s.keep || limit > 0 && baud > limit {
		return '0', s.cfg.baud()
	}
	return s.ident.Speed, baud
}
