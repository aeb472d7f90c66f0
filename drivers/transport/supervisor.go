package transport

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"
	"github.com/sony/gobreaker/v2"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// State is what a supervised line is doing.
type State string

// The states of a line.
const (
	LineOpening State = "opening"
	LineOpen    State = "open"
	LineWaiting State = "waiting" // for the next try, or for a serial device to be there
	LineClosed  State = "closed"  // for good
)

// How a line that fails is tried again: after 1 s, 2 s … 30 s, each ± 30 %;
// after ten failures in a row once a minute.
const (
	firstPause    = time.Second
	longestPause  = 30 * time.Second
	pauseJitter   = 0.3
	breakAfter    = 10
	breakPause    = time.Minute
	breakJitter   = 10 * time.Second
	lookEvery     = time.Second // at the path of a serial device
	maxToldErrors = 8           // different ones an outage
)

// errUnhealthy tells the breaker that a line came to nothing.
var errUnhealthy = errors.New("the line never became healthy")

// Supervisor keeps the line of one port open. Fill in the exported fields and
// call Run once.
type Supervisor struct {
	Port Port
	Log  zerolog.Logger

	// Open opens the port; nil: transport's own. It is where a recorder is put in.
	Open func(context.Context, Port) (drivers.Line, error)

	// State is told each change, from the goroutine of Run; err is why it is
	// LineWaiting. nil: nobody is told.
	State func(s State, err error)

	state   State
	pauses  *backoff.ExponentialBackOff
	breaker *gobreaker.CircuitBreaker[struct{}]

	mu      sync.Mutex
	healthy bool            // since the line was opened last
	lost    time.Time       // when the outage began; zero: there is none
	told    map[string]bool // errors of this outage that were logged
}

// Run opens the port and hands the line to use, again and again, with growing
// pauses, until ctx ends or use returns nil; both are no error. The line is
// closed when use returns. A recording that is over is not played again: that
// is no error either.
//
// use calls Healthy whenever the line has proved to work, as by a good telegram.
// Only that ends an outage, for a peer may accept connections and then say
// nothing. An outage is logged once, as is each different error in it, and its
// end.
//
// A serial device that is missing is looked for each second, and opened when it
// is there. A port that cannot be opened on this system at all ends Run with
// errors.ErrUnsupported.
func (s *Supervisor) Run(ctx context.Context, use func(context.Context, drivers.Line) error) error {
	s.pauses = &backoff.ExponentialBackOff{
		InitialInterval: firstPause, RandomizationFactor: pauseJitter, Multiplier: 2, MaxInterval: longestPause,
	}
	s.forget()
	defer s.enter(LineClosed, nil)
	for {
		seen := s.look()
		err := s.try(ctx, use)
		switch {
		case err == nil, ctx.Err() != nil:
			return nil
		case s.Port.Scheme == Replay && errors.Is(err, io.EOF):
			s.Log.Info().Stringer("port", s.Port).Msg("recording is over")
			return nil
		case errors.Is(err, errors.ErrUnsupported) && s.state == LineOpening:
			return err
		}
		s.report(err)
		s.enter(LineWaiting, err)
		if s.wait(ctx, s.pause(err), seen) {
			s.forget() // another adapter, or the same anew
		}
	}
}

// Healthy says that the line works. It may be called from any goroutine and
// costs next to nothing.
func (s *Supervisor) Healthy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.healthy = true
	if s.lost.IsZero() {
		return
	}
	s.Log.Info().Stringer("port", s.Port).Dur("took", time.Since(s.lost)).Msg("line back")
	s.lost, s.told = time.Time{}, nil
}

func (s *Supervisor) isHealthy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.healthy
}

// forget starts the pauses and the breaker anew.
func (s *Supervisor) forget() {
	s.pauses.Reset()
	s.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     breakPause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
	})
}

// try opens the line and uses it once, under the breaker's eyes.
func (s *Supervisor) try(ctx context.Context, use func(context.Context, drivers.Line) error) (err error) {
	s.mu.Lock()
	s.healthy = false
	s.mu.Unlock()
	_, broken := s.breaker.Execute(func() (struct{}, error) {
		err = s.session(ctx, use)
		if err == nil || s.isHealthy() || s.onlySilent(err) {
			return struct{}{}, nil
		}
		return struct{}{}, errUnhealthy
	})
	if err == nil && errors.Is(broken, gobreaker.ErrOpenState) {
		return broken
	}
	return err
}

// session is one life of the line.
func (s *Supervisor) session(ctx context.Context, use func(context.Context, drivers.Line) error) error {
	s.enter(LineOpening, nil)
	open := s.Open
	if open == nil {
		open = Open
	}
	var line drivers.Line
	var err error
	Apart(func() { line, err = open(ctx, s.Port) })
	if err != nil {
		return err
	}
	s.enter(LineOpen, nil)
	s.Log.Debug().Stringer("port", s.Port).Msg("line open")
	err = use(ctx, line)
	if closing := line.Close(); closing != nil && !errors.Is(closing, os.ErrClosed) {
		s.Log.Debug().Stringer("port", s.Port).Err(closing).Msg("line closed badly")
	}
	return err
}

// enter tells a change of state.
func (s *Supervisor) enter(state State, err error) {
	if s.state == state {
		return
	}
	s.state = state
	if s.State != nil {
		s.State(state, err)
	}
}

// report logs what is new about an outage as a warning, the rest for debugging.
func (s *Supervisor) report(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost.IsZero() {
		s.lost, s.told = time.Now(), make(map[string]bool)
	}
	level := zerolog.DebugLevel
	if text := err.Error(); !s.told[text] && len(s.told) < maxToldErrors {
		s.told[text] = true
		level = zerolog.WarnLevel
	}
	e := s.Log.WithLevel(level).Stringer("port", s.Port).Err(err)
	if hint := drivers.Hint(err); hint != "" {
		e = e.Str("hint", hint)
	}
	e.Msg("line lost")
}

// onlySilent says that a local port was opened and nothing came: to open it again
// at once hammers nobody, and whatever comes next is not missed.
func (s *Supervisor) onlySilent(err error) bool {
	return s.Port.Scheme == Serial && errors.Is(err, drivers.ErrTimeout)
}

// pause is how long to wait before the next try. A line that worked begins with
// the shortest.
func (s *Supervisor) pause(err error) time.Duration {
	if s.isHealthy() || s.onlySilent(err) {
		s.pauses.Reset()
	}
	next := s.pauses.NextBackOff()
	if s.breaker.State() == gobreaker.StateOpen {
		return breakPause + time.Second + rand.N(breakJitter) //nolint:gosec // G404: a pause is no secret
	}
	return next
}

// look is what stands at the path of a serial device, nil if nothing does or the
// port is of another kind.
func (s *Supervisor) look() os.FileInfo {
	if s.Port.Scheme != Serial {
		return nil
	}
	info, err := os.Stat(s.Port.Path)
	if err != nil {
		return nil
	}
	return info
}

// wait waits for d, or until something else stands at the path of a serial
// device than was seen there: then it is true. While nothing stands there, it
// goes on waiting.
func (s *Supervisor) wait(ctx context.Context, d time.Duration, seen os.FileInfo) bool {
	if s.Port.Scheme != Serial {
		_ = sleep(ctx, d)
		return false
	}
	for end := time.Now().Add(d); ctx.Err() == nil; {
		_ = sleep(ctx, lookEvery)
		found := s.look()
		switch {
		case found == nil:
			seen = nil
		case changed(seen, found):
			return true
		case !time.Now().Before(end):
			return false
		}
	}
	return false
}

// changed says whether it is another device than before, or one that others may
// open now.
func changed(seen, found os.FileInfo) bool {
	return seen == nil || !os.SameFile(seen, found) || seen.Mode() != found.Mode()
}

// sleep waits for d or the end of ctx, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
