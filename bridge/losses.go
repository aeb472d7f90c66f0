package bridge

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// summary is how often lost frames are told at most.
const summary = time.Hour

// losses tells of lost frames without filling the log: the first at once, the
// rest summed up once an hour.
type losses struct {
	told  time.Time // the last warning
	count int       // since then
	last  string
}

// lost notes a lost frame.
func (l *losses) lost(e *drivers.FrameError, now time.Time, log zerolog.Logger) {
	log.Debug().Err(e).Msg("frame lost")
	l.count++
	if l.told.IsZero() || now.Sub(l.told) >= summary {
		l.tell(e.Error(), e.Hint, now, log)
		return
	}
	l.last = e.Error()
}

// tick tells what the hour brought.
func (l *losses) tick(now time.Time, log zerolog.Logger) {
	if l.count > 0 && now.Sub(l.told) >= summary {
		l.tell(l.last, "", now, log)
	}
}

func (l *losses) tell(reason, hint string, now time.Time, log zerolog.Logger) {
	e := log.Warn().Int("count", l.count).Str("err", reason)
	if hint != "" {
		e = e.Str("hint", hint)
	}
	e.Msg("frames lost")
	l.told, l.count = now, 0
}
