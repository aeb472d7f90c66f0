package iec62056

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

const (
	tries      = 3 // how often a message is sent before the meter is given up
	maxAnswer  = 4 << 20
	slowReact  = 200 * time.Millisecond // clause 6.4.3: the least time before an answer
	fastReact  = 20 * time.Millisecond
	afterWake  = 1600 * time.Millisecond
	betweenTry = 1500 * time.Millisecond
)

// session is the conversations with one meter. Each call is a conversation of its
// own, from sign-on to break: between two of them the meter forgets.
type session struct {
	line    drivers.Line
	cfg     *Config
	driver  string
	decoder *Decoder
	named   []Register

	ident     Identification
	identLine []byte
	identity  drivers.Identity
	operand   string       // of P0
	in        []byte       // received and not looked at
	frame     drivers.Mode // without speed
	mode      drivers.Mode // as last set
	fixed     bool         // the line cannot change its speed
	keep      bool         // the meter offers a speed that it does not keep
	echoes    bool         // the reading head gives back what is sent
	inside    bool         // the meter is in programming mode
	awake     bool         // the meter was woken the fast way, and sleeps only when told
	opened    int          // lock of LIS-200 that was opened
	refused   bool         // the meter has refused the password
	fits      bool         // it has taken it
	proven    bool         // it was asked something before the password
}

// dial begins no conversation: the first call does.
func dial(driver string) func(context.Context, drivers.Line, drivers.Config, drivers.Zones) (drivers.Session, error) {
	return func(_ context.Context, line drivers.Line, c drivers.Config, z drivers.Zones) (drivers.Session, error) {
		cfg, ok := c.(*Config)
		if !ok {
			return nil, fmt.Errorf("%s: configuration is a %T", driver, c)
		}
		decoder, err := newDecoder(driver, cfg, z)
		if err != nil {
			return nil, err
		}
		named, err := cfg.parameters()
		if err != nil {
			return nil, err
		}
		frame, err := drivers.ParseFrame(cfg.Frame)
		if err != nil {
			return nil, err
		}
		s := &session{line: line, cfg: cfg, driver: driver, decoder: decoder, named: named, frame: frame}
		s.identity = drivers.Identity{Driver: driver}
		return s, nil
	}
}

// Describe says who the meter is, as far as it has said so, and what can be read
// or written by name.
func (s *session) Describe() (drivers.Identity, []drivers.Quantity, []drivers.Parameter) {
	return s.identity, nil, described(s.named, s.decoder.clock.zone != nil)
}

// Close has nothing to say: each conversation has taken leave.
func (s *session) Close(context.Context) error { return nil }

// conversation runs do between sign-on and leave, and leaves the line as it was
// found, whatever happens.
func (s *session) conversation(ctx context.Context, do func(context.Context) error) error {
	defer drivers.WakeOnEnd(ctx, s.line)()
	err := do(ctx)
	if errLeave := s.leave(ctx); err == nil {
		err = errLeave
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", s.line, ctx.Err())
	}
	return err
}

// farewell is how long taking leave may take, also after ctx has ended.
const farewell = 3 * time.Second

// leave closes what was opened, ends the programming mode and goes back to the
// first speed. What the meter may still say is dropped.
func (s *session) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	var errs []error
	if s.inside || s.awake {
		errs = append(errs, s.closeLock(ctx))
		s.inside = false
		if err := s.send(ctx, AppendCommand(nil, s.goodbye(), "", false)); err == nil {
			errs = append(errs, s.line.Flush(ctx))
		}
	}
	s.in = s.in[:0]
	errs = append(errs, s.setBaud(s.cfg.baud()), s.line.Discard())
	err := errors.Join(errs...)
	if errors.Is(err, context.DeadlineExceeded) { // our own: it is the meter that took too long
		return fmt.Errorf("%w: %w", drivers.ErrTimeout, err)
	}
	return err
}

// goodbye is the break: of a meter that was woken the fast way the one that puts it
// to sleep.
func (s *session) goodbye() string {
	if s.awake {
		s.awake = false
		return "B1"
	}
	return "B0"
}

// setBaud changes the line's speed, if it can be changed. What is being sent has
// left already.
func (s *session) setBaud(baud int) error {
	m := s.frame
	m.Baud = baud
	if s.fixed || m == s.mode {
		return nil
	}
	err := s.line.SetMode(m)
	if errors.Is(err, errors.ErrUnsupported) {
		s.fixed = true
		return nil
	}
	s.mode = m
	return err
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// react waits as long as the meter must be given before anything is sent to it.
func (s *session) react(ctx context.Context) error {
	if s.ident.Manufacturer != "" && s.ident.Fast() {
		return pause(ctx, fastReact)
	}
	return pause(ctx, slowReact)
}

// send writes a message. Its echo is taken off the line by the next receive.
func (s *session) send(ctx context.Context, message []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.in = s.in[:0]
	out := message
	if s.cfg.AddParity {
		out = append([]byte(nil), message...)
		withParity(out)
	}
	if _, err := s.line.Write(out); err != nil {
		return err
	}
	if !s.echoes {
		return nil
	}
	return s.dropEcho(ctx, message)
}

// dropEcho takes back what a reading head returns of a message.
func (s *session) dropEcho(ctx context.Context, message []byte) error {
	for i, want := range message {
		c, err := s.peek(ctx, s.cfg.CharWait)
		if errors.Is(err, drivers.ErrTimeout) {
			return nil
		}
		if err != nil {
			return err
		}
		if c != want {
			s.echoes = i > 0
			return nil
		}
		s.in = s.in[1:]
	}
	return nil
}

// peek is the next byte received without bit 7, which stays. ErrTimeout: none came for wait.
func (s *session) peek(ctx context.Context, wait time.Duration) (byte, error) {
	for len(s.in) == 0 {
		if err := s.fill(ctx, wait); err != nil {
			return 0, err
		}
	}
	return s.in[0] & 0x7F, nil
}

// next is the next byte received without bit 7.
func (s *session) next(ctx context.Context, wait time.Duration) (byte, error) {
	c, err := s.peek(ctx, wait)
	if err == nil {
		s.in = s.in[1:]
	}
	return c, err
}

// fill reads what has arrived, or waits for it.
func (s *session) fill(ctx context.Context, wait time.Duration) error {
	raw, err := s.receive(ctx, wait)
	s.in = append(s.in[:0], raw...)
	return err
}

// receive is what has arrived, as it arrived. ErrTimeout: nothing came for wait.
func (s *session) receive(ctx context.Context, wait time.Duration) ([]byte, error) {
	// The deadline is set first and ctx looked at second: a cancel in between
	// cannot be overwritten.
	if err := s.line.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	buf := make([]byte, 1024)
	n, err := s.line.Read(buf)
	switch {
	case n > 0:
		return buf[:n], nil
	case err == nil:
		return nil, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%s: nothing for %s: %w", s.line, wait, drivers.ErrTimeout)
	}
	return nil, err
}

var (
	_ drivers.Session   = (*session)(nil)
	_ drivers.Commander = (*session)(nil)
	_ drivers.Historian = (*session)(nil)
)

// wanted says whether a value was asked for.
func wanted(want []obis.Code, c obis.Code) bool {
	return len(want) == 0 || slices.Contains(want, c)
}
