package routeb

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// ARIB STD-T108 lets a module transmit for 360 s an hour; then it sends nothing more.
const (
	airSpan  = time.Hour
	airMost  = 360 * time.Second
	airCare  = airMost / 5 * 4 // from here on readings are halved
	airEvery = time.Minute     // between two looks at the module's counter, which cost no air time
)

// air is how long a module has transmitted within the last hour.
type air struct {
	looks []airLook // oldest first
	mute  bool      // the module does not tell
}

// airLook is what the module's counter showed.
type airLook struct {
	at   time.Time
	sent time.Duration
}

func (a *air) due(now time.Time) bool {
	return !a.mute && (len(a.looks) == 0 || now.Sub(a.looks[len(a.looks)-1].at) >= airEvery)
}

// saw notes what the counter shows. One that fell began anew.
func (a *air) saw(now time.Time, sent time.Duration) {
	if n := len(a.looks); n > 0 && sent < a.looks[n-1].sent {
		a.looks = a.looks[:0]
	}
	a.looks = slices.DeleteFunc(a.looks, func(l airLook) bool { return now.Sub(l.at) > airSpan })
	a.looks = append(a.looks, airLook{now, sent})
}

// used is what was transmitted between the oldest look and the last one.
func (a *air) used() time.Duration {
	if len(a.looks) == 0 {
		return 0
	}
	return a.looks[len(a.looks)-1].sent - a.looks[0].sent
}

var _ drivers.Sparing = (*session)(nil)

// Rest is 2 once four fifths of the hour's transmit time are used: the rest is kept
// for what cannot wait.
func (s *session) Rest() int {
	if s.air.used() >= airCare {
		return 2
	}
	return 1
}

// lookAtAir asks the module now and then how long it has transmitted.
func (s *session) lookAtAir(ctx context.Context) error {
	if !s.air.due(time.Now()) {
		return nil
	}
	sent, err := s.module.transmitted(ctx)
	switch {
	case err == nil:
		s.air.saw(time.Now(), sent)
	case errors.Is(err, drivers.ErrRefused):
		s.air.mute = true
	case !errors.Is(err, drivers.ErrTimeout):
		return err
	}
	return nil
}

// transmitted reads register SFD: milliseconds.
func (m *skModule) transmitted(ctx context.Context) (sent time.Duration, err error) {
	known := false
	err = m.command(ctx, "SKSREG SFD", func(line []byte) {
		words := bytes.Fields(line)
		if len(words) != 2 || string(words[0]) != "ESREG" {
			return
		}
		var n uint64
		if n, known = number(words[1]); known {
			sent = time.Duration(min(n, 1<<40)) * time.Millisecond
		}
	})
	if err == nil && !known {
		err = drivers.ErrRefused
	}
	return sent, err
}

// transmitted: these modules have no way to ask.
func (m *j11Module) transmitted(context.Context) (time.Duration, error) { return 0, drivers.ErrRefused }
