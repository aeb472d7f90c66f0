package bridge

import (
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// summary is how often lost frames of one kind are told at most.
const summary = time.Hour

// maxCauses bounds the kinds of loss that are told apart.
const maxCauses = 16

// losses tells of lost frames without filling the log: the first of each kind at
// once, the rest summed up once an hour.
type losses struct{ causes map[string]*cause }

// cause is one kind of loss.
type cause struct {
	told  time.Time // the last warning
	count int       // since then
	last  string
	hint  string
}

// kindOf is what two losses have in common that need the same remedy. Where a
// frame broke, and what its check was, differ from frame to frame.
func kindOf(e *drivers.FrameError) string {
	if e.Err == nil {
		return e.Field
	}
	return e.Field + ": " + e.Err.Error()
}

// lost notes a lost frame.
func (l *losses) lost(e *drivers.FrameError, now time.Time, log zerolog.Logger) {
	log.Debug().Err(e).Msg("frame lost")
	c := l.cause(kindOf(e))
	c.count++
	c.last, c.hint = e.Error(), e.Hint
	if c.told.IsZero() {
		c.tell(now, log)
	}
}

// cause finds the kind, or adds it; when there are too many, the rest are one.
func (l *losses) cause(kind string) *cause {
	if c := l.causes[kind]; c != nil {
		return c
	}
	if l.causes == nil {
		l.causes = map[string]*cause{}
	}
	if len(l.causes) >= maxCauses {
		kind = ""
		if c := l.causes[kind]; c != nil {
			return c
		}
	}
	c := &cause{}
	l.causes[kind] = c
	return c
}

// tick tells what the hour brought. A kind that brought nothing is forgotten, so
// that its next one is told at once.
func (l *losses) tick(now time.Time, log zerolog.Logger) {
	for kind, c := range l.causes {
		switch {
		case now.Sub(c.told) < summary:
		case c.count == 0:
			delete(l.causes, kind)
		default:
			c.tell(now, log)
		}
	}
}

func (c *cause) tell(now time.Time, log zerolog.Logger) {
	e := log.Warn().Int("count", c.count).Str("err", c.last)
	if c.hint != "" {
		e = e.Str("hint", c.hint)
	}
	e.Msg("frames lost")
	c.told, c.count = now, 0
}

// isDamage says that a frame was lost as a bad line loses them. Anything else was
// a whole frame: what is wrong is not the line.
func isDamage(e *drivers.FrameError) bool {
	for _, damage := range [...]error{drivers.ErrChecksum, drivers.ErrShort, drivers.ErrLong, drivers.ErrSyntax} {
		if errors.Is(e.Err, damage) {
			return true
		}
	}
	return false
}
