package corus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

const (
	tries    = 3                      // how often a message is sent or asked for again
	calm     = 150 * time.Millisecond // silence after which a damaged answer has ended
	farewell = 3 * time.Second        // for taking leave, also after ctx has ended
	fresh    = 20 * time.Second       // how long a held conversation is taken for open
	probing  = 3 * time.Second        // for the answer that shows that it still is
	received = 512                    // bytes that are taken at once
)

// session is the conversations with one device. Unless they are held open, each call
// is one of its own, from wake-up to break.
type session struct {
	line drivers.Line
	cfg  *Config
	all  *catalogue
	reader
	fixed bool // the weight is configured

	identity drivers.Identity
	known    *parameterMap // of the device's firmware; nil: it was not asked yet
	option   string        // the option select that was taken last; "": none yet
	noCount  bool          // the device refuses to count records
	told     bool          // that the map is inferred

	open     bool      // a conversation is
	heard    time.Time // when the device answered last
	buffer   []byte    // nil between conversations, as of thousands of devices few talk at a time
	in       []byte    // received and not looked at, within buffer
	oneSpeed bool      // the line cannot change its speed
}

var (
	_ drivers.Session   = (*session)(nil)
	_ drivers.Commander = (*session)(nil)
	_ drivers.Historian = (*session)(nil)
)

// dial begins no conversation: the first call does.
func dial(_ context.Context, line drivers.Line, c drivers.Config, z drivers.Zones) (drivers.Session, error) {
	cfg, err := own(c)
	if err != nil {
		return nil, err
	}
	d, err := newDecoder(cfg, z)
	if err != nil {
		return nil, err
	}
	s := &session{line: line, cfg: cfg, all: d.all, reader: d.reader, fixed: d.fixed}
	s.identity = drivers.Identity{Driver: driverName, Medium: obis.MediumGas}
	return s, nil
}

// Describe says who the device is, as far as it has said so, and what can be read or
// written by name. Before the first conversation those are the parameters of all
// firmwares that the configuration knows.
func (s *session) Describe() (drivers.Identity, []drivers.Quantity, []drivers.Parameter) {
	all := s.all.all()
	if s.known != nil {
		all = (&catalogue{maps: []parameterMap{*s.known}}).all()
	}
	var quantities []drivers.Quantity
	for i := range all {
		p := &all[i]
		p.Zoned = p.Kind == drivers.Moment && s.clock.zone != nil
		q := p.Quantity
		if q.Key = q.Name; !q.Code.IsZero() {
			q.Key, q.Name = q.Code.String(), nameOf(q)
		}
		quantities = append(quantities, q)
	}
	return s.identity, quantities, all
}

// nameOf is what values of a quantity are called.
func nameOf(q drivers.Quantity) string {
	if e := obis.Lookup(q.Code); e.Known() {
		return e.Name
	}
	return q.Name
}

// Close takes leave of a device whose conversation was held open.
func (s *session) Close(ctx context.Context) error {
	defer drivers.WakeOnEnd(ctx, s.line)()
	return s.leave(ctx)
}

// conversation runs do within a conversation, and ends it unless it is to be held.
func (s *session) conversation(ctx context.Context, do func(context.Context) error) error {
	defer drivers.WakeOnEnd(ctx, s.line)()
	err := s.enter(ctx)
	if err == nil {
		err = do(ctx)
	}
	if err != nil || !s.cfg.Hold {
		// What was read is whole; a line that breaks now tells with the next call.
		_ = s.leave(ctx)
		s.buffer, s.in, s.texts = nil, nil, texts{}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", s.line, errors.Join(ctx.Err(), err))
	}
	return err
}

// enter sees to it that a conversation is open and that the device's map is known.
func (s *session) enter(ctx context.Context) error {
	if !s.open || time.Since(s.heard) > fresh && !s.alive(ctx) {
		if err := s.signOn(ctx); err != nil {
			return err
		}
	}
	if s.known == nil || s.identity.Version == "" {
		return s.identify(ctx)
	}
	return nil
}

// alive says whether the device still takes commands in a conversation that was
// held.
func (s *session) alive(ctx context.Context) bool {
	if err := s.send(ctx, AppendRead(nil, mapID)); err != nil {
		return false
	}
	_, err := s.answer(ctx, min(probing, s.cfg.AnswerWait))
	return err == nil || errors.Is(err, drivers.ErrRefused)
}

// leave ends the conversation with a break, to which there is no answer.
func (s *session) leave(ctx context.Context) error {
	if !s.open {
		return nil
	}
	s.open = false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	err := s.send(ctx, breakMessage)
	if err == nil {
		err = s.line.Flush(ctx)
	}
	return errors.Join(err, s.setBaud(s.cfg.Baud))
}

// setBaud changes the line's speed, if it has one and the configuration names it.
func (s *session) setBaud(baud int) error {
	if baud == 0 || s.oneSpeed {
		return nil
	}
	m := Driver.Mode
	m.Baud = baud
	err := s.line.SetMode(m)
	if errors.Is(err, errors.ErrUnsupported) {
		s.oneSpeed = true
		return nil
	}
	return err
}

// send writes a message. What came before it answers something else, and is dropped.
func (s *session) send(ctx context.Context, message []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.in = s.in[:0]
	if err := s.line.Discard(); err != nil {
		return err
	}
	_, err := s.line.Write(message)
	return err
}

// next is the next byte received. ErrTimeout: none came for wait.
func (s *session) next(ctx context.Context, wait time.Duration) (byte, error) {
	for len(s.in) == 0 {
		if err := s.fill(ctx, wait); err != nil {
			return 0, err
		}
	}
	c := s.in[0]
	s.in = s.in[1:]
	return c, nil
}

// fill takes what has arrived, or waits for it.
func (s *session) fill(ctx context.Context, wait time.Duration) error {
	// The deadline is set first and ctx looked at second: a cancel in between
	// cannot be overwritten.
	if err := s.line.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.buffer == nil {
		s.buffer = make([]byte, received)
	}
	n, err := s.line.Read(s.buffer)
	s.in = s.buffer[:n]
	switch {
	case n > 0 || err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: nothing for %s: %w", s.line, wait, drivers.ErrTimeout)
	}
	return err
}

// quiet takes what still comes of a damaged answer, and drops it.
func (s *session) quiet(ctx context.Context) error {
	for range 1000 {
		if err := s.fill(ctx, calm); err != nil {
			s.in = s.in[:0]
			if errors.Is(err, drivers.ErrTimeout) {
				return nil
			}
			return err
		}
	}
	return fmt.Errorf("%s: bytes without an end: %w", s.line, drivers.ErrLong)
}

// ask sends a command and gives the data of its answer. After silence it is sent once
// more, and then once in a conversation that is begun anew, so it must be one that may
// be carried out twice.
func (s *session) ask(ctx context.Context, message []byte) ([]byte, error) {
	for range 2 {
		body, err := s.exchange(ctx, message)
		if !errors.Is(err, drivers.ErrTimeout) {
			return body, err
		}
	}
	if err := s.signOn(ctx); err != nil {
		return nil, err
	}
	return s.exchange(ctx, message)
}

// exchange sends a command and gives the data of its answer.
func (s *session) exchange(ctx context.Context, message []byte) ([]byte, error) {
	if err := s.send(ctx, message); err != nil {
		return nil, err
	}
	return s.repeated(ctx, message)
}

// repeated gives the data of the answer that is on its way. One that is damaged is
// asked for again, with NAK and, if that has no answer, with the command that it
// answers; nil: that cannot be sent again.
func (s *session) repeated(ctx context.Context, command []byte) ([]byte, error) {
	body, err := s.answer(ctx, s.cfg.AnswerWait)
	for range tries {
		lost, isLost := errors.AsType[*drivers.FrameError](err)
		if !isLost {
			return body, err
		}
		if err := s.quiet(ctx); err != nil {
			return nil, err
		}
		body, err = s.again(ctx, command)
		if errors.Is(err, drivers.ErrTimeout) {
			return nil, fmt.Errorf("%s: no repeat of a damaged answer (%w): %w", s.line, lost, err)
		}
	}
	if lost, isLost := errors.AsType[*drivers.FrameError](err); isLost {
		return nil, fmt.Errorf("%s: damaged, also when repeated %d times: %w", s.line, tries, lost)
	}
	return body, err
}

// again asks for a repeat.
func (s *session) again(ctx context.Context, command []byte) ([]byte, error) {
	if err := s.send(ctx, []byte{nak}); err != nil {
		return nil, err
	}
	body, err := s.answer(ctx, min(s.cfg.AnswerWait, s.cfg.CharWait))
	if command == nil || !errors.Is(err, drivers.ErrTimeout) {
		return body, err
	}
	if err := s.send(ctx, command); err != nil {
		return nil, err
	}
	return s.answer(ctx, s.cfg.AnswerWait)
}

// errNAK says that the device answers with NAK.
var errNAK = fmt.Errorf("NAK: %w", drivers.ErrRefused)

// answer reads an answer: its data, whose check holds. A *drivers.FrameError: it is
// damaged. ErrRefused: it is NAK. ErrTimeout: none began within wait.
func (s *session) answer(ctx context.Context, wait time.Duration) ([]byte, error) {
	for began := time.Now(); ; {
		c, err := s.next(ctx, wait)
		switch {
		case err != nil:
			return nil, err
		case c == soh:
			return s.body(ctx)
		case c == nak:
			s.heard = time.Now()
			return nil, fmt.Errorf("%s: %w", s.line, errNAK)
		case time.Since(began) > wait:
			return nil, fmt.Errorf("%s: noise, and no answer for %s: %w", s.line, wait, drivers.ErrTimeout)
		}
	}
}

// body reads what follows the SOH of an answer.
func (s *session) body(ctx context.Context) ([]byte, error) {
	message := make([]byte, 2, overhead+maxBody)
	message[0] = soh
	c, err := s.next(ctx, s.cfg.CharWait)
	if err != nil {
		return nil, s.cut(message[:1], err)
	}
	message[1] = c
	for len(message) < int(c)+overhead {
		b, err := s.next(ctx, s.cfg.CharWait)
		if err != nil {
			return nil, s.cut(message, err)
		}
		message = append(message, b)
	}
	s.heard = time.Now()
	switch v, _ := look(message); v {
	case isAnswer:
		return message[2 : len(message)-3], nil
	case isDamaged:
		lost := damaged(message)
		return nil, &lost
	default:
		return nil, &drivers.FrameError{Field: "ETX", Offset: len(message) - 3, Length: len(message), Err: drivers.ErrSyntax}
	}
}

// cut is the loss of an answer that breaks off; a line that fails is no such thing.
func (s *session) cut(message []byte, err error) error {
	if !errors.Is(err, drivers.ErrTimeout) {
		return err
	}
	return &drivers.FrameError{Field: "answer", Offset: len(message), Length: len(message), Err: drivers.ErrShort}
}

// absentees are the parameters that devices of a firmware have refused, so that a
// thousand of them are not all asked for what none has.
var absentees struct {
	sync.Mutex
	of map[drivers.Identity]map[ID]bool
}

// maxFirmwares bounds what is kept of devices that call themselves by another
// name each time.
const maxFirmwares = 256

// firmware is what devices share that have the same parameters.
func (s *session) firmware() drivers.Identity {
	return drivers.Identity{Manufacturer: s.identity.Manufacturer, Model: s.identity.Model, Version: s.identity.Version}
}

// isAbsent says whether devices of the firmware have refused the parameter.
func (s *session) isAbsent(id ID) bool {
	absentees.Lock()
	defer absentees.Unlock()
	return absentees.of[s.firmware()][id]
}

// setAbsent notes that the device refuses the parameter.
func (s *session) setAbsent(id ID) {
	absentees.Lock()
	defer absentees.Unlock()
	if absentees.of == nil || len(absentees.of) >= maxFirmwares {
		absentees.of = map[drivers.Identity]map[ID]bool{}
	}
	of := absentees.of[s.firmware()]
	if of == nil {
		of = map[ID]bool{}
		absentees.of[s.firmware()] = of
	}
	of[id] = true
}
