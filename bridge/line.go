package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// unheard is how long a line may be open without a single telegram before a
// person is told what to look at.
const unheard = 60 * time.Second

// line serves the meters of one port: those that speak unasked all hear every
// byte, those that are asked take turns.
type line struct {
	meters  []*meter
	asked   []*asked // the same meters, if they are asked
	holder  *asked   // the one whose session has what these have only one of; nil: none
	taps    []*transport.Tap
	zones   func(*meter) drivers.Zones
	observe func(meter string, r *drivers.Reading)
	log     zerolog.Logger
	flight  flight
	ears    *ears // as the line was open last; nil: it was not

	crowd      *crowd // of all lines that ask; nil: this one need not wait for others
	supervisor transport.Supervisor
	recording  *recording // nil: the line is not recorded
	queue      *queue     // of commands
	favours    int        // how many of them went before a meter that is due
	searches   searches
	strangers  map[drivers.Identity]bool // told of
	strays     losses                    // of which nothing tells whose they were
}

// newLine makes the line of meters that name the same port.
func newLine(meters []*meter, zones func(*meter) drivers.Zones, observe func(string, *drivers.Reading)) *line {
	l := &line{meters: meters, zones: zones, observe: observe, log: meters[0].log}
	for _, m := range meters {
		m.hears(&l.flight)
	}
	if meters[0].config.Driver.Push() {
		l.addTaps()
		return l
	}
	now := time.Now()
	l.queue, l.searches = newQueue(), newSearches()
	for _, m := range meters {
		m.setQueue(l.queue)
		l.asked = append(l.asked, &asked{meter: m, zones: zones(m), turn: now, due: now})
	}
	return l
}

// run keeps the line open and its meters read until ctx ends.
func (l *line) run(ctx context.Context) error {
	l.supervisor = transport.Supervisor{
		Port: l.meters[0].config.Port,
		Log:  l.log,
		Open: l.opener(),
		State: func(s transport.State, _ error) {
			transport.Apart(func() {
				for _, m := range l.meters {
					m.setLine(s, time.Now())
				}
			})
		},
	}
	if l.recording != nil {
		l.supervisor.Open = l.recording.opener(l.supervisor.Open)
	}
	if len(l.asked) > 0 {
		return l.supervisor.Run(ctx, l.poll)
	}
	return l.runTapped(ctx)
}

// opener opens what the transport cannot: a topic of the broker. nil: the
// transport can.
func (l *line) opener() func(context.Context, transport.Port) (drivers.Line, error) {
	if l.meters[0].config.Port.Scheme != transport.MQTT {
		return nil
	}
	return func(ctx context.Context, port transport.Port) (drivers.Line, error) {
		return l.meters[0].link.OpenTopic(ctx, port.Path)
	}
}

// addTaps makes the taps that the line's meters ask for.
func (l *line) addTaps() {
	for _, m := range l.meters {
		if m.config.Tap != "" {
			l.taps = append(l.taps, transport.NewTap(m.config.Tap, m.log))
		}
	}
}

// runTapped listens to the line, with its taps open even while it is down.
func (l *line) runTapped(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var taps sync.WaitGroup
	defer taps.Wait()
	defer cancel()
	for _, tap := range l.taps {
		taps.Go(func() { tap.Run(ctx) })
	}
	return l.supervisor.Run(ctx, l.listen)
}

// tune finds the mode of a serial line whose driver has to look for it, and tells
// it.
func (l *line) tune(ctx context.Context, open drivers.Line) error {
	c := l.meters[0].config
	mode, err := tune(ctx, open, c)
	if err == nil && mode.Baud > 0 {
		found := c.Port
		found.Mode = mode
		l.log.Info().Str("port", found.String()).Msg("speed and parity were found: write the meter's port so")
	}
	return err
}

// tune gives the mode that was found; zero if there was none to look for. The end
// of ctx is no error.
func tune(ctx context.Context, open drivers.Line, c config.Meter) (drivers.Mode, error) {
	if c.Driver.Tune == nil || c.Port.Mode.Baud == 0 {
		return drivers.Mode{}, nil
	}
	mode, err := c.Driver.Tune(ctx, open)
	if ctx.Err() != nil {
		return drivers.Mode{}, nil //nolint:nilerr // the end of ctx is none
	}
	return mode, err
}

// listen decodes an open line until it fails. A line that was opened again gets
// new decoders: what the old ones half had is gone, what they must not forget stays.
func (l *line) listen(ctx context.Context, open drivers.Line) error {
	ears, err := l.newEars()
	if err != nil {
		return err
	}
	driver := l.meters[0].config.Driver
	if err := l.tune(ctx, open); err != nil {
		return err
	}
	watch := watch{since: time.Now(), log: l.log.With().Stringer("port", l.meters[0].config.Port).Logger(), hint: driver.Hint}
	ears.stranger = func(id drivers.Identity) {
		watch.heard = true
		l.overhear(id)
	}
	listener := drivers.Listener{
		Line: open, Decoder: ears, Gap: driver.Gap, Quiet: driver.Quiet,
		Reading: func(r *drivers.Reading) error {
			watch.heard = true
			l.supervisor.Healthy()
			l.accept(l.meters[ears.at], r)
			return nil
		},
		Lost: func(e *drivers.FrameError) {
			watch.lost(e)
			l.lost(e, ears.at, time.Now())
		},
		Bytes: func(p []byte) {
			watch.bytes(p)
			l.flight.hear(p)
			for _, tap := range l.taps {
				tap.Send(p)
			}
		},
	}
	err = listener.Run(ctx)
	if errors.Is(err, drivers.ErrTimeout) && driver.Hint != "" {
		return drivers.WithHint(err, driver.Hint)
	}
	return err
}

// lost notes a frame that the decoder of a meter has lost. One that may be of any
// meter is lost by the decoders of all: it counts once, and for none of them.
func (l *line) lost(e *drivers.FrameError, decoder int, now time.Time) {
	switch {
	case !e.Stray:
		l.meters[decoder].refuse(e, now)
	case decoder == 0:
		log := l.log.With().Stringer("port", l.meters[0].config.Port).Logger()
		l.strays.tick(now, log)
		l.strays.lost(e, now, log)
		l.meters[0].remember(e, now)
	}
}

// accept hands a reading to its meter. The observer sees it first: the bridge
// may add to it.
func (l *line) accept(m *meter, r *drivers.Reading) {
	if l.observe != nil {
		l.observe(m.config.Name, r)
	}
	m.accept(r)
}

// ears are the decoders of all meters that listen on a line.
type ears struct {
	decoders []drivers.Decoder
	at       int // whose reading or loss Next gave last

	passed   map[drivers.Identity]int // how many of the decoders passed over a meter
	stranger func(drivers.Identity)   // is told of a meter that none of them is for
}

func (l *line) newEars() (*ears, error) {
	e := &ears{passed: map[drivers.Identity]int{}}
	for i, m := range l.meters {
		d, err := m.config.Driver.NewDecoder(m.config.Options, l.zones(m))
		if err != nil {
			return nil, err
		}
		if heir, ok := d.(drivers.Heir); ok && l.ears != nil {
			heir.Inherit(l.ears.decoders[i])
		}
		e.decoders = append(e.decoders, d)
	}
	l.ears = e
	return e, nil
}

// Feed lets every decoder hear the bytes.
func (e *ears) Feed(p []byte) {
	for _, d := range e.decoders {
		d.Feed(p)
	}
}

// Next is what any of the decoders found; ErrIdle if none has begun anything.
func (e *ears) Next(r *drivers.Reading) error {
	dry := drivers.ErrIdle
	for e.at = range e.decoders {
		err := e.decoders[e.at].Next(r)
		if !errors.Is(err, drivers.ErrMore) {
			return err
		}
		if !errors.Is(err, drivers.ErrIdle) {
			dry = err
		}
	}
	e.overhear()
	return dry
}

// overhear finds out which meters all decoders have passed over.
func (e *ears) overhear() {
	for _, d := range e.decoders {
		o, ok := d.(drivers.Selector)
		if !ok {
			return
		}
		for id, more := o.Overheard(); more; id, more = o.Overheard() {
			if e.passed[id]++; e.passed[id] == len(e.decoders) {
				e.stranger(id)
			}
		}
	}
}

// maxStrangers bounds how many meters of others a line tells of.
const maxStrangers = 100

// overhear tells once of a meter that the configuration does not have.
func (l *line) overhear(id drivers.Identity) {
	if l.strangers[id] || len(l.strangers) >= maxStrangers {
		return
	}
	if l.strangers == nil {
		l.strangers = map[drivers.Identity]bool{}
	}
	l.strangers[id] = true
	l.log.Info().Stringer("port", l.meters[0].config.Port).Str("id", id.ID).Str("manufacturer", id.Manufacturer).Str("medium", id.Medium).
		Str("hint", fmt.Sprintf("to read it, add a [[meter]] with driver = %q, this port and id = %q, and its key if it encrypts", id.Driver, id.ID)).
		Msg("telegrams of a meter that the configuration does not have")
}

// Gap tells every decoder that the line fell silent.
func (e *ears) Gap() {
	for _, d := range e.decoders {
		d.Gap()
	}
}

// watch tells once of a line on which bytes arrive and no telegram.
type watch struct {
	since time.Time
	count int
	heard bool // a telegram came, or it was told
	log   zerolog.Logger
	hint  string
}

// lost notes a frame that was whole: the line is not what is wrong.
func (w *watch) lost(e *drivers.FrameError) { w.heard = w.heard || !isDamage(e) }

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
