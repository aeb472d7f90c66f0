package routeb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// What a session's state may be, as it is told.
const (
	stateStarting = "starting" // the module is being asked who it is
	stateScanning = "scanning"
	stateJoining  = "joining"
	stateJoined   = "joined"
	stateLimited  = "limited" // joined, but the transmit time of this hour is used up
	stateWaiting  = "waiting" // not found or not accepted; it is tried again
)

// module is a Wi-SUN module in one of its two dialogues.
type module interface {
	prepare(ctx context.Context) error // sets it up, with id and password
	scan(ctx context.Context, only *PAN, duration int) ([]PAN, error)
	join(ctx context.Context, p *PAN) error
	rejoin(ctx context.Context) error
	send(ctx context.Context, frame []byte) error
	restricted(ctx context.Context) (bool, error) // whether the transmit time is used up
	transmitted(ctx context.Context) (time.Duration, error)
	leave(ctx context.Context) error
	check() drivers.Check
}

// session is the conversation with one meter through one module. It has no
// goroutine: whatever arrives is taken in while something is awaited, in Read or in
// Notify, and what the meter said unasked waits for Notify.
type session struct {
	line    drivers.Line
	cfg     *Config
	attach  drivers.Attachment
	decoder *Decoder

	in   Scanner
	item Item
	buf  [2048]byte

	module      module
	pan         *PAN
	inDatagrams bool // there is no module: the meter is reached over UDP

	state  string
	shown  string // the last state that was told
	binary bool   // the module that was found last had the binary dialogue
	link   link
	talk   talk
	meter  meter
	timing timing
	air    air

	unasked []*drivers.Reading
	owed    []Frame // answers to what the meter asked or told
}

// link is the session with the meter, as the module tells it.
type link struct {
	joined   bool
	leaving  bool // we end it
	limited  bool
	refused  bool          // the meter did not accept us
	scanned  bool          // the scan is over
	suspect  bool          // the meter does not answer, though nothing says that the session ended
	renewed  bool          // it was renewed because of that, and nothing was answered since
	lifetime time.Duration // as the meter said; 0: it has not

	renewAt  time.Time // before the session ends
	reauthBy time.Time // the module renews it by itself until then
	endBy    time.Time // the meter is ending the session until then
	askLimit time.Time // when to ask whether the limit still holds
	nextTry  time.Time // to join
	failures int
}

// timing are waits that the configuration does not have.
type timing struct {
	quiet   time.Duration // silence before the first command
	present time.Duration // for the answer to the question who is there
	command time.Duration // for the module's answer
	again   time.Duration // before something is sent that could not be sent
	end     time.Duration // for the end of a session that the meter ends
	limit   time.Duration // between two questions whether the limit holds
	silence time.Duration // without a half-hourly notification, where there were any
}

var usualTiming = timing{
	quiet: 300 * time.Millisecond, present: 2 * time.Second, command: 5 * time.Second, again: 3 * time.Second, end: 5 * time.Second,
	limit: time.Minute, silence: 40 * time.Minute,
}

// dial begins no conversation: the first call does.
func dial(_ context.Context, line drivers.Line, c drivers.Config, _ drivers.Zones) (drivers.Session, error) {
	cfg, err := ownConfig(c)
	if err != nil {
		return nil, err
	}
	inDatagrams := drivers.InDatagrams(line)
	if !inDatagrams && (cfg.ID.IsZero() || cfg.Password.IsZero()) {
		return nil, drivers.WithHint(fmt.Errorf("%s: id or password is missing: %w", line, drivers.ErrAuth),
			"the power company sends both when the Route B service is applied for: set id and password, or id_file and password_file")
	}
	s := &session{line: line, cfg: cfg, decoder: NewDecoder(cfg), timing: usualTiming, inDatagrams: inDatagrams}
	s.talk.tid = uint16(rand.Uint32()) //nolint:gosec // it keeps no secret: another run's answers must not match
	s.meter.identity = identify(nil)
	return s, nil
}

var (
	_ drivers.Session   = (*session)(nil)
	_ drivers.Commander = (*session)(nil)
	_ drivers.Historian = (*session)(nil)
	_ drivers.Notifier  = (*session)(nil)
	_ drivers.Attacher  = (*session)(nil)
	_ drivers.Yielder   = (*session)(nil)
)

// Attach takes what an earlier session has learned.
func (s *session) Attach(a drivers.Attachment) {
	s.attach = a
	s.pan = recall(a.Memory)
}

// setState tells a change. With a module that has several meters each turn begins
// with another join: while that goes well, it is not told.
func (s *session) setState(state string) {
	s.state = state
	if s.inDatagrams {
		return // there is no session to tell of
	}
	again := s.shares() && s.shown == stateJoined && (state == stateStarting || state == stateJoining)
	if s.shown == state || again {
		return
	}
	s.shown = state
	if s.attach.State != nil {
		s.attach.State(state)
	}
}

// showLink tells joined or limited.
func (s *session) showLink() {
	switch {
	case s.link.joined && s.link.limited:
		s.setState(stateLimited)
	case s.link.joined:
		s.setState(stateJoined)
	}
}

// Close takes leave of the meter. That it, or the module, does not answer is no
// error: the session is over all the same.
func (s *session) Close(ctx context.Context) error {
	if s.module == nil || !s.link.joined {
		return nil
	}
	return s.part(ctx)
}

// part has the module end the session, whether it stands or is about to.
func (s *session) part(ctx context.Context) error {
	defer drivers.WakeOnEnd(ctx, s.line)()
	s.link.leaving = true
	err := s.module.leave(ctx)
	s.link.joined, s.link.leaving = false, false
	if errors.Is(err, drivers.ErrTimeout) || errors.Is(err, drivers.ErrRefused) {
		return nil
	}
	return err
}

// next is the next message of the module, of which notice was taken. ErrTimeout:
// none came until then.
func (s *session) next(ctx context.Context, until time.Time) (*Item, error) {
	for {
		err := s.in.Next(&s.item)
		switch {
		case err == nil:
			s.notice(&s.item)
			return &s.item, nil
		case !errors.Is(err, drivers.ErrMore):
			continue // damage: what it was an answer to is asked again
		}
		if err := s.receive(ctx, until); err != nil {
			return nil, err
		}
	}
}

// receive reads what has arrived, or waits for it.
func (s *session) receive(ctx context.Context, until time.Time) error {
	// The deadline is set first and ctx looked at second: a cancel in between
	// cannot be overwritten.
	if err := s.line.SetReadDeadline(until); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", s.line, err)
	}
	n, err := s.line.Read(s.buf[:])
	s.in.Feed(s.buf[:n])
	if s.inDatagrams && n > 0 {
		s.in.Gap() // one datagram does not go on in another
	}
	switch {
	case n > 0 || err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", s.line, ctx.Err())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: %w", s.line, drivers.ErrTimeout)
	}
	return err
}

// await takes messages until done says that it is enough.
func (s *session) await(ctx context.Context, wait time.Duration, done func(*Item) bool) error {
	until := time.Now().Add(wait)
	for {
		item, err := s.next(ctx, until)
		if err != nil {
			return err
		}
		if done(item) {
			return nil
		}
	}
}

// pause waits and takes in what arrives.
func (s *session) pause(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	err := s.await(ctx, wait, func(*Item) bool { return false })
	if errors.Is(err, drivers.ErrTimeout) {
		return nil
	}
	return err
}

// write sends to the module.
func (s *session) write(ctx context.Context, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := s.line.Write(b)
	return err
}
