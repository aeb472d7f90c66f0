package routeb

import (
	"context"
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// shares says whether the module has other meters besides this one.
func (s *session) shares() bool { return s.attach.Claim != nil }

// claim gets the module from the session that has it.
func (s *session) claim(ctx context.Context) error {
	if !s.shares() {
		return nil
	}
	return s.attach.Claim(ctx)
}

// Yield takes leave of the meter and lets go of the module. Where the meter is, what it
// has, and when it is to be tried again stays known.
func (s *session) Yield(ctx context.Context) error {
	if s.module == nil {
		return nil
	}
	var err error
	if s.link.joined || s.state == stateJoining {
		err = s.part(ctx)
	}
	s.module = nil
	s.link = link{nextTry: s.link.nextTry, failures: s.link.failures}
	s.owed = nil
	return err
}

// patient says whether the meter may be tried again; otherwise, why not.
func (s *session) patient() error {
	wait := time.Until(s.link.nextTry)
	if wait <= 0 {
		return nil
	}
	return drivers.WithHint(
		fmt.Errorf("%s: no session with the meter, tried again in %s: %w", s.line, wait.Round(time.Second), drivers.ErrTimeout),
		Driver.Hint)
}

// brief is an attempt to join that leaves the module to others soon: what was tried in
// vain comes another turn, and then with more patience.
func (s *session) brief(ctx context.Context) error {
	known := s.pan
	if known != nil && s.link.failures%fullScan != fullScan-1 {
		err := s.join(ctx, known, 1)
		if err == nil || !mild(err) {
			return err
		}
		found, err := s.scan(ctx, known, firstDuration)
		if err != nil {
			return err
		}
		return s.join(ctx, found, 1)
	}
	found, err := s.scan(ctx, nil, min(firstDuration+s.link.failures, lastDuration))
	if err != nil {
		return err
	}
	return s.join(ctx, found, 1)
}
