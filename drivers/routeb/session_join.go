package routeb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	joinTries   = 3
	cachedTries = 2 // with a PAN that was joined before, and before it is looked for again
	fullScan    = 3 // each so many failures the remembered PAN is done without
	maxBackoff  = 10

	firstDuration = 5 // of a scan: 28 channels in about 9 s, each more takes twice as long
	lastDuration  = 8
	scanTries     = 4
)

var (
	errRefusedUs = fmt.Errorf("the meter did not accept us: %w", drivers.ErrRefused)
	errNoMeter   = fmt.Errorf("no meter answers the scan: %w", drivers.ErrTimeout)
)

// ensure makes that there is a session with the meter, or says why not.
func (s *session) ensure(ctx context.Context) error {
	if s.module == nil {
		if err := s.patient(); err != nil {
			return err // not worth taking the module from another meter
		}
		if err := s.begin(ctx); err != nil {
			return err
		}
	}
	if s.inDatagrams {
		s.link.suspect = false // there is nothing to renew: the next request tells
		return nil
	}
	if err := s.outlast(ctx, &s.link.reauthBy); err != nil {
		return err
	}
	if err := s.outlast(ctx, &s.link.endBy); err != nil {
		return err
	}
	if s.link.joined && s.link.suspect {
		return s.renew(ctx)
	}
	if s.link.joined {
		return nil
	}
	if err := s.patient(); err != nil {
		return err
	}
	return s.connect(ctx)
}

// outlast waits for the end of a time in which the session comes back, or ends, by
// itself.
func (s *session) outlast(ctx context.Context, until *time.Time) error {
	for !until.IsZero() && !s.link.joined {
		_, err := s.next(ctx, *until)
		if errors.Is(err, drivers.ErrTimeout) {
			*until = time.Time{}
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// renew asks the meter to renew a session that may be lost without a word. If it
// does not, the session counts as lost.
func (s *session) renew(ctx context.Context) error {
	s.link.suspect, s.link.renewAt = false, time.Time{}
	if !s.link.renewed {
		s.link.renewed = true
		s.setState(stateJoining)
		err := s.module.rejoin(ctx)
		if err == nil {
			s.showLink()
			return nil
		}
		if !mild(err) {
			return err
		}
	}
	s.down()
	return s.connect(ctx)
}

// mild says whether an error is the meter's or the module's word, not the line's.
func mild(err error) bool {
	return errors.Is(err, drivers.ErrTimeout) || errors.Is(err, drivers.ErrRefused)
}

// connect finds and joins the meter. After a failure it is not tried again for a
// while that gets longer.
func (s *session) connect(ctx context.Context) error {
	try := s.attempt
	if s.shares() {
		try = s.brief
	}
	err := try(ctx)
	switch {
	case err == nil:
		s.link.failures = 0
		s.link.nextTry = time.Time{}
		return s.settle(ctx)
	case !mild(err) || ctx.Err() != nil:
		return err
	}
	wait := s.cfg.RetryWait * time.Duration(min(1<<min(s.link.failures, 10), maxBackoff))
	s.link.failures++
	s.link.nextTry = time.Now().Add(wait)
	s.setState(stateWaiting)
	hint := Driver.Hint
	if errors.Is(err, errRefusedUs) {
		hint = "check id and password against the power company's letter; where the signal is weak it looks the same, so it is tried again"
	}
	return drivers.WithHint(fmt.Errorf("%s: %w", s.line, err), hint)
}

// settle remembers the PAN and asks whether the module may transmit.
func (s *session) settle(ctx context.Context) error {
	if s.attach.Keep != nil {
		s.attach.Keep(s.pan.remember())
	}
	limited, err := s.module.restricted(ctx)
	if err != nil && !mild(err) {
		return err
	}
	s.link.limited = limited
	s.link.askLimit = time.Now().Add(s.timing.limit)
	s.showLink()
	return nil
}

// attempt joins the PAN that is known, or looks for it.
func (s *session) attempt(ctx context.Context) error {
	known := s.pan
	if known != nil && s.link.failures%fullScan != fullScan-1 {
		err := s.join(ctx, known, cachedTries)
		if err == nil || !mild(err) {
			return err
		}
		found, err := s.scan(ctx, known, firstDuration)
		if err == nil {
			return s.join(ctx, found, joinTries)
		}
		if !mild(err) {
			return err
		}
	}
	duration := firstDuration
	if s.link.failures > 0 {
		duration++
	}
	for range scanTries {
		found, err := s.scan(ctx, nil, min(duration, lastDuration))
		if err == nil {
			return s.join(ctx, found, joinTries)
		}
		if !mild(err) {
			return err
		}
		duration++
	}
	return errNoMeter
}

// scan looks for the meter's PAN, on all channels or on that of a known one.
func (s *session) scan(ctx context.Context, only *PAN, duration int) (*PAN, error) {
	s.setState(stateScanning)
	pans, err := s.module.scan(ctx, only, duration)
	if err != nil {
		return nil, err
	}
	found, ok := choose(pans, s.cfg.ID.Reveal())
	if !ok {
		return nil, errNoMeter
	}
	return &found, nil
}

// join joins a PAN, in several tries.
func (s *session) join(ctx context.Context, p *PAN, tries int) (err error) {
	s.setState(stateJoining)
	s.pan = p
	for range tries {
		s.link.refused, s.link.lifetime = false, 0
		if err = s.module.join(ctx, p); err == nil || !mild(err) {
			return err
		}
	}
	return err
}

// awaitJoin waits until the meter has accepted or refused us.
func (s *session) awaitJoin(ctx context.Context) error {
	until := time.Now().Add(s.cfg.JoinWait)
	for !s.link.joined && !s.link.refused {
		if _, err := s.next(ctx, until); err != nil {
			return err
		}
	}
	if s.link.refused {
		return errRefusedUs
	}
	return nil
}

// scanTime is how long a scan may take.
func scanTime(channels, duration int) time.Duration {
	step := 10 * time.Millisecond
	return time.Duration(channels)*step*time.Duration(1<<duration+1)*3/2 + 10*time.Second
}

// begin finds out which module it is and sets it up. A module that says nothing is
// an error of the line: it is opened anew.
func (s *session) begin(ctx context.Context) error {
	if s.inDatagrams {
		s.module, s.link.joined = &network{s: s}, true
		return nil
	}
	if err := s.claim(ctx); err != nil {
		return err
	}
	s.setState(stateStarting)
	if err := s.drain(ctx); err != nil {
		return err
	}
	for range 2 {
		for _, m := range s.kinds() {
			err := m.present(ctx)
			if err == nil {
				s.module = m
				_, s.binary = m.(*j11Module)
				return s.prepare(ctx)
			}
			if !mild(err) {
				return err
			}
		}
	}
	return drivers.WithHint(fmt.Errorf("%s: %w", s.line, errNoModule), Driver.Hint)
}

// candidate is a module that may be there.
type candidate interface {
	module
	present(ctx context.Context) error
}

// kinds are the modules that there are, the one that was found last first.
func (s *session) kinds() [2]candidate {
	sk, j11 := &skModule{s: s}, &j11Module{s: s}
	if s.binary {
		return [...]candidate{j11, sk}
	}
	return [...]candidate{sk, j11}
}

func (s *session) prepare(ctx context.Context) error {
	err := s.module.prepare(ctx)
	if err != nil {
		s.module = nil
		return fmt.Errorf("%s: setting up the module: %w", s.line, err)
	}
	return nil
}

var errNoModule = errors.New("no Wi-SUN module answers")

// drain ends a command that was half typed, and lets what is on its way pass by.
func (s *session) drain(ctx context.Context) error {
	if err := s.write(ctx, []byte("\r\n")); err != nil {
		return err
	}
	for range 10 { // a module that tells of a scan or a meter does not fall silent
		err := s.receive(ctx, time.Now().Add(s.timing.quiet))
		if errors.Is(err, drivers.ErrTimeout) {
			break
		}
		if err != nil {
			return err
		}
	}
	s.in = Scanner{}
	return nil
}
