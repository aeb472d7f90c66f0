package iec62056

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// MeterError is what a meter answered instead of what was asked: "ER01", "ERROR11"
// or "#0018". It is drivers.ErrRefused, or drivers.ErrAuth where the text is known
// to mean so.
type MeterError struct {
	Text    string
	Meaning string // where the number is known: LIS-200
	auth    bool
}

// Error is the text and what it means.
func (e *MeterError) Error() string {
	if e.Meaning == "" {
		return "the meter answers (" + e.Text + ")"
	}
	return "the meter answers (" + e.Text + "): " + e.Meaning
}

// Unwrap is drivers.ErrRefused or drivers.ErrAuth.
func (e *MeterError) Unwrap() error {
	if e.auth {
		return drivers.ErrAuth
	}
	return drivers.ErrRefused
}

// newMeterError reads the text of a bracket.
func newMeterError(text []byte) *MeterError {
	e := &MeterError{Text: string(text[:min(len(text), 32)])}
	number, ok := strings.CutPrefix(e.Text, "#")
	if !ok {
		return e
	}
	if n, err := strconv.Atoi(number); err == nil {
		e.Meaning = lisErrors[n]
		e.auth = n == 17 || n == 201
	}
	return e
}

var (
	errEnded = fmt.Errorf("the meter ended the session: %w", drivers.ErrRefused)
	errNAK   = fmt.Errorf("the meter does not understand (NAK): %w", drivers.ErrRefused)
	errBCC   = fmt.Errorf("block check character: %w", drivers.ErrChecksum)
)

// answerKind is what a meter says to a command.
type answerKind byte

const (
	data     answerKind = iota // a data message
	accepted                   // ACK
	rejected                   // NAK
	command                    // SOH …: P0, B0
)

// answer is one message of the meter in programming mode.
type answer struct {
	kind answerKind
	name string // of a command
	text []byte // between STX and ETX
	more bool   // EOT: another partial block follows
}

// hear takes the meter's next message. ErrChecksum: its BCC is wrong.
func (s *session) hear(ctx context.Context) (answer, error) {
	for range maxNoise {
		c, err := s.next(ctx, s.cfg.AnswerWait)
		if err != nil {
			return answer{}, err
		}
		switch c {
		case ack:
			return answer{kind: accepted}, nil
		case nak:
			return answer{kind: rejected}, nil
		case stx, soh:
			return s.hearBlock(ctx, c)
		}
	}
	return answer{}, fmt.Errorf("%s: %w", s.line, errGarbage)
}

// hearBlock takes what follows STX or SOH, to the BCC.
func (s *session) hearBlock(ctx context.Context, start byte) (answer, error) {
	var b []byte
	for {
		c, err := s.next(ctx, s.cfg.CharWait)
		if errors.Is(err, drivers.ErrTimeout) {
			return answer{}, fmt.Errorf("%s: block broke off after %d bytes: %w", s.line, len(b), errBCC)
		}
		if err != nil {
			return answer{}, err
		}
		if b = append(b, c); c == etx || c == eot {
			break
		}
		if len(b) > maxBlock {
			return answer{}, fmt.Errorf("%s: block without an end: %w", s.line, drivers.ErrLong)
		}
	}
	check, err := s.next(ctx, s.cfg.CharWait)
	if err != nil && !errors.Is(err, drivers.ErrTimeout) {
		return answer{}, err
	}
	if err != nil || check != BlockCheck(b) {
		return answer{}, fmt.Errorf("%s: block of %d bytes: %w", s.line, len(b), errBCC)
	}
	a := answer{kind: data, text: b[:len(b)-1], more: b[len(b)-1] == eot}
	if start == soh {
		name, text, _ := bytes.Cut(a.text, []byte{stx})
		a.kind, a.name, a.text = command, string(name), text
	}
	return a, nil
}

// request sends a command in one message and gives the answer. NAK, silence and a damaged answer
// are met three times, but what must not happen twice is sent once: once.
func (s *session) request(ctx context.Context, name, text string, once bool) (answer, error) {
	return s.exchange(ctx, name, AppendCommand(nil, name, text, false), once)
}

// exchange sends a message and gives the answer.
func (s *session) exchange(ctx context.Context, name string, out []byte, once bool) (answer, error) {
	var err error
	for range tries {
		if err := s.react(ctx); err != nil {
			return answer{}, err
		}
		if err := s.send(ctx, out); err != nil {
			return answer{}, err
		}
		var a answer
		a, err = s.hearWell(ctx)
		switch {
		case err == nil && a.kind == rejected && !once:
			err = errNAK
		case err == nil:
			return a, s.ended(a)
		case once || !errors.Is(err, drivers.ErrTimeout):
			return a, fmt.Errorf("%s: %s: %w", s.line, name, err)
		}
	}
	return answer{}, fmt.Errorf("%s: %s, %d times: %w", s.line, name, tries, err)
}

// hearWell takes an answer, asked for again with NAK as long as it is damaged.
func (s *session) hearWell(ctx context.Context) (answer, error) {
	for try := 0; ; try++ {
		a, err := s.hear(ctx)
		if !errors.Is(err, drivers.ErrChecksum) || try == tries-1 {
			return a, err
		}
		if err := s.react(ctx); err != nil {
			return a, err
		}
		if err := s.send(ctx, []byte{nak}); err != nil {
			return a, err
		}
	}
}

// ended says whether an answer is the meter's break.
func (s *session) ended(a answer) error {
	if a.kind == command && a.name == "B0" {
		s.inside = false
		return fmt.Errorf("%s: %w", s.line, errEnded)
	}
	return nil
}

// level is the password's: the digit of the P command, or the lock of LIS-200.
func (s *session) level() int {
	n := small(s.cfg.Level)
	switch {
	case n > 0:
		return n
	case s.driver == lisName:
		return 4
	}
	return 1
}

// enter signs on, enters the programming mode and shows the password. A meter of
// mode A or B sends its readout first.
func (s *session) enter(ctx context.Context, level int) error {
	if s.refused {
		return s.errRefused()
	}
	for {
		if err := s.signOn(ctx); err != nil {
			return err
		}
		err := s.program(ctx)
		if err == nil {
			break
		}
		if !s.mayKeep(err) {
			return err
		}
		s.keep = true
		if err := s.calm(ctx); err != nil {
			return err
		}
	}
	s.inside = true
	if s.cfg.Password.IsZero() {
		return nil
	}
	if s.driver == lisName {
		return s.openLock(ctx, level)
	}
	if ended, err := s.prove(ctx); ended || err != nil {
		if err != nil {
			return err
		}
		return s.enter(ctx, level)
	}
	return s.password(ctx, level)
}

// prove reads something before the first password. A meter says NAK to a wrong
// password and to a command that came damaged: one that has just taken a command
// means the password. ended: the meter does not want to be read without one and
// must be called again.
func (s *session) prove(ctx context.Context) (ended bool, err error) {
	if s.proven {
		return false, nil
	}
	s.proven = true
	_, err = s.request(ctx, s.readCommand(), "0.0.0("+s.cfg.Argument+")", false)
	switch {
	case errors.Is(err, errEnded):
		return true, nil
	case errors.Is(err, drivers.ErrRefused), errors.Is(err, drivers.ErrTimeout), errors.Is(err, drivers.ErrChecksum):
		return false, nil // the password's own answer tells more
	}
	return false, err
}

// program selects the programming mode and waits for the meter's P0, which some
// leave out.
func (s *session) program(ctx context.Context) error {
	if s.ident.Mode == ModeA || s.ident.Mode == ModeB {
		var r drivers.Reading
		if err := s.takeReadout(ctx, &r); err != nil {
			return err
		}
		return s.setBaud(s.cfg.baud())
	}
	if err := s.selectOption(ctx, '1'); err != nil {
		return err
	}
	a, err := s.hearWell(ctx)
	switch {
	case errors.Is(err, drivers.ErrTimeout):
		return s.probe(ctx)
	case err != nil:
		return err
	case a.kind == data:
		return fmt.Errorf("%s: the meter sends its readout instead of entering programming mode: %w", s.line, drivers.ErrRefused)
	}
	s.operand = string(bytes.Trim(a.text, "()"))
	return s.ended(a)
}

// probe finds out whether a meter that said nothing after the option select is in
// programming mode at this speed: B1 would end it, so a read is tried.
func (s *session) probe(ctx context.Context) error {
	if err := s.send(ctx, AppendCommand(nil, s.readCommand(), "0.0.0("+s.cfg.Argument+")", false)); err != nil {
		return err
	}
	a, err := s.hear(ctx)
	if errors.Is(err, drivers.ErrChecksum) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.ended(a)
}

// password shows the password, once: meters lock after wrong ones. Only one that
// the meter has taken before is shown again after a NAK.
func (s *session) password(ctx context.Context, level int) error {
	a, err := s.request(ctx, "P"+strconv.Itoa(level), "("+s.cfg.Password.Reveal()+")", !s.fits)
	switch {
	case errors.Is(err, errEnded):
		return s.refusedBy("it ended the session")
	case errors.Is(err, errNAK):
		return s.refusedBy("NAK")
	case err != nil:
		return err
	}
	switch a.kind {
	case rejected:
		return s.refusedBy("NAK")
	case data: // some confirm with one
		if text := firstBracket(a.text); isRefusal(text) {
			return s.refusedBy(newMeterError(text).Error())
		}
	case accepted, command:
	}
	s.fits = true
	return nil
}

// refusedBy notes that the meter refuses the password. It is not shown again.
func (s *session) refusedBy(how string) error {
	s.refused = true
	return fmt.Errorf("%w (%s)", s.errRefused(), how)
}

func (s *session) errRefused() error {
	return drivers.WithHint(fmt.Errorf("%s: the meter refuses the password: %w", s.line, drivers.ErrAuth),
		"check password and level; it is not sent again by itself, for meters lock after wrong ones")
}

// openLock opens a lock of LIS-200, unless it is open: then it is not ours to
// close.
func (s *session) openLock(ctx context.Context, lock int) error {
	n := strconv.Itoa(lock)
	if a, err := s.request(ctx, "R1", n+":170.0(1)", false); err == nil && string(firstBracket(a.text)) == "1" {
		return nil
	}
	a, err := s.request(ctx, "W1", n+":171.0("+s.cfg.Password.Reveal()+")", true)
	if errors.Is(err, errEnded) {
		return s.refusedBy("it ended the session")
	}
	if err != nil {
		return err
	}
	switch a.kind {
	case accepted:
		s.opened = lock
		return nil
	case rejected:
		return s.refusedBy("NAK")
	default:
	}
	return s.refusedBy(newMeterError(firstBracket(a.text)).Error())
}

// closeLock closes the lock that openLock opened.
func (s *session) closeLock(ctx context.Context) error {
	if s.opened == 0 {
		return nil
	}
	lock := s.opened
	s.opened = 0
	a, err := s.request(ctx, "W1", strconv.Itoa(lock)+":170.0(0)", false)
	if err == nil && a.kind != accepted {
		err = fmt.Errorf("%s: %w", s.line, errNAK)
	}
	if err != nil {
		return drivers.WithHint(fmt.Errorf("lock %d stays open: %w", lock, err), "it closes by itself when the device's time for it is over")
	}
	return nil
}

// readCommand is how registers are read.
func (s *session) readCommand() string {
	switch {
	case s.cfg.Command != "":
		return s.cfg.Command
	case s.ident.Has('@'):
		return "R5"
	}
	return "R1"
}

// readAddress reads one address and gives the data set, with its address. A
// refusal is a *MeterError.
func (s *session) readAddress(ctx context.Context, address string) ([]byte, error) {
	text, err := s.query(ctx, s.readCommand(), address+"("+s.cfg.Argument+")")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	if bytes.HasPrefix(text, []byte("(")) {
		text = append([]byte(address), text...)
	}
	return text, nil
}

// query sends a read command and joins the partial blocks of its answer.
func (s *session) query(ctx context.Context, name, text string) ([]byte, error) {
	a, err := s.request(ctx, name, text, false)
	var all []byte
	for range maxParts {
		if err != nil {
			return nil, err
		}
		if a.kind != data {
			return nil, fmt.Errorf("%s: %s is answered without data: %w", s.line, name, drivers.ErrRefused)
		}
		if g := firstBracket(a.text); len(all) == 0 && isRefusal(g) {
			return nil, fmt.Errorf("%s: %w", s.line, newMeterError(g))
		}
		if all = s.appendPart(all, a.text); len(all) > maxAnswer {
			return nil, fmt.Errorf("%s: %s: %w", s.line, name, drivers.ErrLong)
		}
		if !a.more {
			return all, nil
		}
		a, err = s.goOn(ctx)
	}
	return nil, fmt.Errorf("%s: %s: more than %d partial blocks: %w", s.line, name, maxParts, drivers.ErrLong)
}

// maxParts bounds the partial blocks of one answer.
const maxParts = 20_000

// appendPart appends a partial block. LIS-200 cuts at line ends and leaves these
// out; others send theirs, or cut anywhere.
func (s *session) appendPart(all, part []byte) []byte {
	if s.driver == lisName && len(all) > 0 && all[len(all)-1] == ')' && len(part) > 0 && part[0] == '(' {
		all = append(all, '\r', '\n')
	}
	return append(all, part...)
}

// goOn asks for the next partial block.
func (s *session) goOn(ctx context.Context) (answer, error) {
	if err := s.react(ctx); err != nil {
		return answer{}, err
	}
	if err := s.send(ctx, []byte{ack}); err != nil {
		return answer{}, err
	}
	a, err := s.hearWell(ctx)
	if err != nil {
		return a, fmt.Errorf("next partial block: %w", err)
	}
	return a, s.ended(a)
}

// firstBracket is the text of the first bracket, or nil.
func firstBracket(b []byte) []byte {
	open := bytes.IndexByte(b, '(')
	shut := bytes.IndexByte(b, ')')
	if open < 0 || shut < open {
		return nil
	}
	return bytes.TrimSpace(b[open+1 : shut])
}

// write sends a write or execute command: once, for what it does must not happen
// twice. Only a write that the meter did not understand is sent again.
func (s *session) write(ctx context.Context, name, address string, value string) error {
	if len(value) > maxValue {
		return s.writeParts(ctx, name, address, value)
	}
	text := address + "(" + value + ")"
	if s.cfg.Repeat && !s.cfg.Password.IsZero() {
		text += "(" + s.cfg.Password.Reveal() + ")"
	}
	a, err := s.request(ctx, name, text, true)
	for try := 1; err == nil && a.kind == rejected && name[0] == 'W' && try < tries; try++ {
		a, err = s.request(ctx, name, text, true)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", address, err)
	case a.kind == accepted:
		return nil
	case a.kind == rejected:
		return fmt.Errorf("%s: %s: %w", s.line, address, errNAK)
	case a.kind == data && isRefusal(firstBracket(a.text)):
		return fmt.Errorf("%s: %s: %w", s.line, address, newMeterError(firstBracket(a.text)))
	}
	return fmt.Errorf("%s: %s: the answer is no acknowledgement: %w", s.line, address, drivers.ErrRefused)
}

// maxValue is how long a value may be in programming mode, clause 6.5. A longer one
// is written in partial blocks.
const maxValue = 128

// partialWrites are the commands that write in partial blocks what the others write
// in one.
var partialWrites = map[string]string{"W1": "W3", "W2": "W4"}

// writeParts writes a value in partial blocks: the first alone has the address, and
// each is acknowledged.
func (s *session) writeParts(ctx context.Context, name, address, value string) error {
	partial, ok := partialWrites[name]
	if !ok {
		return fmt.Errorf("%w: %s: %s takes at most %d characters", drivers.ErrValue, address, name, maxValue)
	}
	part := address + "(" + value[:maxValue]
	for value = value[maxValue:]; ; {
		more := len(value) > 0
		if !more {
			part += ")"
		}
		a, err := s.exchange(ctx, partial, AppendCommand(nil, partial, part, more), true)
		if err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
		if a.kind != accepted {
			return fmt.Errorf("%s: %s: %w", s.line, address, refusalOf(a))
		}
		if !more {
			return nil
		}
		n := min(maxValue, len(value))
		part, value = value[:n], value[n:]
	}
}

// refusalOf is what an answer that is no acknowledgement says.
func refusalOf(a answer) error {
	if a.kind == data {
		return newMeterError(firstBracket(a.text))
	}
	return errNAK
}
