package corus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	wakeUp    = 200 // bytes 00; the device needs at least 12
	wakeReply = 3   // bytes 00 that it answers at least
	maxIdent  = 64
)

// errGarbled says that what the device sent on the way into a conversation was
// damaged, so that it is worth another try.
var errGarbled = errors.New("sign-on")

// signOn wakes the device and begins a conversation. Where the option select is not
// configured, the other one is tried when there is no password to the first.
func (s *session) signOn(ctx context.Context) error {
	s.open = false
	var err error
	for _, option := range s.options() {
		for range tries {
			if err = s.signOnWith(ctx, option); !errors.Is(err, errGarbled) {
				break
			}
		}
		if err == nil {
			s.option, s.open, s.heard = option, true, time.Now()
			return nil
		}
		if !errors.Is(err, errNoPassword) {
			return err
		}
	}
	return err
}

// options are the option selects to try.
func (s *session) options() []string {
	switch {
	case s.cfg.Select != wordAuto:
		return []string{s.cfg.Select}
	case s.option == selectEcho:
		return []string{selectEcho, select076}
	}
	return []string{select076, selectEcho}
}

func (s *session) signOnWith(ctx context.Context, option string) error {
	if err := s.setBaud(s.cfg.Baud); err != nil {
		return err
	}
	if err := s.wake(ctx); err != nil {
		return err
	}
	ident, err := s.identification(ctx)
	if err != nil {
		return err
	}
	s.setIdentity(ident)
	if option == selectEcho {
		option = "0" + string(ident[4:5]) + "7"
	}
	if err := s.send(ctx, append([]byte{ack}, option+"\r\n"...)); err != nil {
		return err
	}
	if s.cfg.FastBaud != 0 {
		if err := s.line.Flush(ctx); err != nil {
			return err
		}
		if err := s.setBaud(s.cfg.FastBaud); err != nil {
			return err
		}
	}
	return s.password(ctx)
}

// wake sends NULs until the device answers with some.
func (s *session) wake(ctx context.Context) error {
	var odd []byte
	for range tries {
		if err := s.send(ctx, make([]byte, wakeUp)); err != nil {
			return err
		}
		nulls := 0
		for nulls < wakeReply {
			c, err := s.next(ctx, s.cfg.WakeWait)
			if errors.Is(err, drivers.ErrTimeout) {
				break
			}
			if err != nil {
				return err
			}
			if c == 0 {
				nulls++
			} else if odd = append(odd, c); len(odd) >= maxIdent {
				break
			}
		}
		if nulls >= wakeReply {
			return nil
		}
	}
	if len(odd) > 0 {
		return fmt.Errorf("%s: the answer to the wake-up is % x instead of 00: %w", s.line, odd[:min(8, len(odd))], drivers.ErrSyntax)
	}
	return drivers.WithHint(fmt.Errorf("%s: no answer to %d wake-ups: %w", s.line, tries, drivers.ErrTimeout), Driver.Hint)
}

// identification calls the device and takes /XXXZ and its name.
func (s *session) identification(ctx context.Context) ([]byte, error) {
	if err := s.send(ctx, signOn); err != nil {
		return nil, err
	}
	var line []byte
	for {
		c, err := s.next(ctx, s.cfg.AnswerWait)
		switch {
		case errors.Is(err, drivers.ErrTimeout):
			return nil, fmt.Errorf("%w: identification: %w", errGarbled, err)
		case err != nil:
			return nil, err
		case len(line) == 0 && c != '/': // further NULs of the wake-up
		case c == '\n':
			return s.checked(bytes.TrimRight(line, "\r"))
		case len(line) == maxIdent:
			return nil, fmt.Errorf("%s: identification of more than %d bytes: %w", s.line, maxIdent, drivers.ErrLong)
		default:
			line = append(line, c)
		}
	}
}

func (s *session) checked(ident []byte) ([]byte, error) {
	for _, c := range ident {
		if c < ' ' || c > '~' {
			return nil, fmt.Errorf("%w: %s: identification %q: %w", errGarbled, s.line, ident, drivers.ErrSyntax)
		}
	}
	if len(ident) < 5 {
		return nil, fmt.Errorf("%w: %s: identification %q is too short: %w", errGarbled, s.line, ident, drivers.ErrSyntax)
	}
	return ident, nil
}

func (s *session) setIdentity(ident []byte) {
	s.identity.Manufacturer = strings.ToUpper(string(ident[1:4]))
	s.identity.Model = strings.TrimSpace(string(ident[5:]))
}

// errNoPassword says that the device did not go on to the password.
var errNoPassword = fmt.Errorf("no PASS after the option select: %w", drivers.ErrTimeout)

// password takes PASS, a fixed text, with its check, and says it back.
func (s *session) password(ctx context.Context) error {
	var got []byte
	for len(got) < len(passMessage) {
		c, err := s.next(ctx, s.cfg.AnswerWait)
		if errors.Is(err, drivers.ErrTimeout) || err == nil && c == nak && len(got) == 0 {
			return fmt.Errorf("%s: %w", s.line, errNoPassword)
		}
		if err != nil {
			return err
		}
		if len(got) > 0 || c == passMessage[0] {
			got = append(got, c)
		}
	}
	if !bytes.Equal(got, passMessage) {
		return fmt.Errorf("%w: %s: % x instead of PASS and its check: %w", errGarbled, s.line, got, drivers.ErrChecksum)
	}
	if err := s.send(ctx, passMessage); err != nil {
		return err
	}
	return s.accepted(ctx)
}

// accepted waits for an ACK.
func (s *session) accepted(ctx context.Context) error {
	for began := time.Now(); time.Since(began) <= s.cfg.AnswerWait; {
		c, err := s.next(ctx, s.cfg.AnswerWait)
		switch {
		case err != nil:
			return fmt.Errorf("sign-on: %w", err)
		case c == ack:
			return nil
		case c == nak:
			return drivers.WithHint(fmt.Errorf("%s: sign-on: %w", s.line, errNAK), "is another reader connected to the device?")
		}
	}
	return fmt.Errorf("%s: sign-on: noise, and no ACK: %w", s.line, drivers.ErrTimeout)
}
