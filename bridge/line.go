package bridge

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// unheard is how long a line may be open without a single telegram before a
// person is told what to look at.
const unheard = 60 * time.Second

// line feeds one pushing meter from its port.
type line struct {
	meter   *meter
	zones   drivers.Zones
	observe func(meter string, r *drivers.Reading)
	log     zerolog.Logger

	supervisor transport.Supervisor
}

// run keeps the line open and read until ctx ends.
func (l *line) run(ctx context.Context) error {
	l.supervisor = transport.Supervisor{
		Port:  l.meter.config.Port,
		Log:   l.log,
		State: func(s transport.State, _ error) { l.meter.setLine(s, time.Now()) },
	}
	return l.supervisor.Run(ctx, l.listen)
}

// listen decodes an open line until it fails. A line that was opened again gets
// a new decoder: what the old one half had is gone.
func (l *line) listen(ctx context.Context, open drivers.Line) error {
	driver := l.meter.config.Driver
	decoder, err := driver.NewDecoder(l.meter.config.Options, l.zones)
	if err != nil {
		return err
	}
	watch := watch{since: time.Now(), log: l.log, hint: driver.Hint}
	listener := drivers.Listener{
		Line: open, Decoder: decoder, Gap: driver.Gap, Quiet: driver.Quiet,
		Reading: func(r *drivers.Reading) error {
			watch.heard = true
			l.supervisor.Healthy()
			l.accept(r)
			return nil
		},
		Lost:  func(e *drivers.FrameError) { l.meter.refuse(e, time.Now()) },
		Bytes: watch.bytes,
	}
	return listener.Run(ctx)
}

// accept hands a reading to the meter. The observer sees it first: the bridge
// may add to it.
func (l *line) accept(r *drivers.Reading) {
	if l.observe != nil {
		l.observe(l.meter.config.Name, r)
	}
	l.meter.accept(r)
}

// watch tells once of a line on which bytes arrive and no telegram.
type watch struct {
	since time.Time
	count int
	heard bool // a telegram came, or it was told
	log   zerolog.Logger
	hint  string
}

func (w *watch) bytes(p []byte) {
	w.count += len(p)
	if w.heard || time.Since(w.since) < unheard {
		return
	}
	w.heard = true
	e := w.log.Warn().Int("bytes", w.count).Dur("took", time.Since(w.since))
	if w.hint != "" {
		e = e.Str("hint", w.hint)
	}
	e.Msg("bytes arrive, but no telegram among them")
}
