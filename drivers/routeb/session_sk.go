package routeb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Codes of SKSTACK's FAIL.
const (
	skArguments = "ER05" // the number of arguments is wrong: the other kind of module
	skUART      = "ER09" // the module misread the command
	skNotNow    = "ER10" // taken, but not carried out: it is busy, or there is no session
)

// skError is a command that the module refused. It names the command's first word
// alone: the rest may be a secret.
type skError struct{ command, code string }

// Error tells command and code.
func (e *skError) Error() string { return e.command + ": FAIL " + e.code }

// Unwrap is drivers.ErrRefused.
func (e *skError) Unwrap() error { return drivers.ErrRefused }

func isFail(err error, code string) bool {
	e, ok := errors.AsType[*skError](err)
	return ok && e.code == code
}

// skModule is a module with SKSTACK.
type skModule struct {
	s    *session
	dual bool // with a side: BP35C0 and C2, RL7023 Stick-D/DSS
	sure bool // dual is known
}

// check is what the module has made of the radio frame's tag.
func (m *skModule) check() drivers.Check { return drivers.CheckRelayed }

// command sends a line and waits for OK; each line of the answer goes to take. A
// command that the module misread is sent once more.
func (m *skModule) command(ctx context.Context, text string, take func(line []byte)) error {
	line := append([]byte(text), '\r', '\n')
	err := m.once(ctx, line, text, m.s.timing.command, take)
	if isFail(err, skUART) {
		err = m.once(ctx, line, text, m.s.timing.command, take)
	}
	return err
}

// once writes and waits for the answer. Lines that are the command itself, up to
// the data of a datagram, are its echo.
func (m *skModule) once(ctx context.Context, b []byte, text string, wait time.Duration, take func(line []byte)) error {
	verb, _, _ := bytes.Cut([]byte(text), []byte(" "))
	if err := m.s.write(ctx, b); err != nil {
		return err
	}
	var answer error
	err := m.s.await(ctx, wait, func(i *Item) (done bool) {
		if i.Form != TextLine || string(i.Text) == text {
			return false
		}
		if code, failed := bytes.CutPrefix(i.Text, []byte("FAIL ")); failed {
			answer = &skError{string(verb), string(code[:min(len(code), 4)])}
			return true
		}
		if string(i.Text) == "OK" {
			return true
		}
		if take != nil {
			take(i.Text)
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return answer
}

// tell is a command whose refusal does not matter.
func (m *skModule) tell(ctx context.Context, text string) error {
	err := m.command(ctx, text, nil)
	if errors.Is(err, drivers.ErrRefused) {
		return nil
	}
	return err
}

// present asks whether SKSTACK is there, and of which kind it is: the last word of
// EINFO is an address or a side.
func (m *skModule) present(ctx context.Context) error {
	found := false
	err := m.once(ctx, []byte("SKINFO\r\n"), "SKINFO", m.s.timing.present, func(line []byte) {
		words := bytes.Fields(line)
		if len(words) != 6 || string(words[0]) != "EINFO" {
			return
		}
		found = true
		last := string(words[5])
		m.dual = last != "FFFE"
		m.sure = last == "FFFE" || last == "0" || last == "1"
	})
	if err == nil && !found {
		return drivers.ErrTimeout
	}
	return err
}

func (m *skModule) prepare(ctx context.Context) error {
	if err := m.tell(ctx, "SKRESET"); err != nil {
		return err
	}
	for _, optional := range [...]string{"SKSREG SFE 0", "SKSREG SA2 1"} {
		if err := m.tell(ctx, optional); err != nil {
			return err
		}
	}
	password := m.s.cfg.Password.Reveal()
	if err := m.command(ctx, fmt.Sprintf("SKSETPWD %X %s", len(password), password), nil); err != nil {
		return drivers.WithHint(err, "the module does not take the password: are these its 12 characters?")
	}
	if err := m.command(ctx, "SKSETRBID "+m.s.cfg.ID.Reveal(), nil); err != nil {
		return drivers.WithHint(err, "the module does not take the id: are these its 32 characters?")
	}
	return nil
}

// scan makes an active scan that asks for our own meter.
func (m *skModule) scan(ctx context.Context, only *PAN, duration int) ([]PAN, error) {
	mask, channels := uint32(0xFFFFFFFF), lastChannel-firstChannel+1
	if only != nil {
		mask, channels = 1<<(only.Channel-firstChannel), 1
	}
	var found foundPANs
	m.s.link.scanned = false
	if err := m.command(ctx, m.scanCommand(mask, duration), found.take); err != nil {
		if !isFail(err, skArguments) || m.sure {
			return nil, err
		}
		m.dual, m.sure = !m.dual, true
		return m.scan(ctx, only, duration)
	}
	err := m.s.await(ctx, scanTime(channels, duration), func(i *Item) bool {
		if i.Form == TextLine {
			found.take(i.Text)
		}
		return m.s.link.scanned
	})
	return found.whole(), err
}

func (m *skModule) scanCommand(mask uint32, duration int) string {
	text := fmt.Sprintf("SKSCAN 2 %08X %d", mask, duration)
	if m.dual {
		text += " 0"
	}
	return text
}

// join sets channel and PAN and joins. That the module does not take the neighbour
// beforehand does not matter: only some need it.
func (m *skModule) join(ctx context.Context, p *PAN) error {
	for _, text := range [...]string{fmt.Sprintf("SKSREG S2 %02X", p.Channel), fmt.Sprintf("SKSREG S3 %04X", p.ID)} {
		if err := m.command(ctx, text, nil); err != nil {
			return err
		}
	}
	address := LinkLocal(p.MAC).String()
	if err := m.tell(ctx, fmt.Sprintf("SKADDNBR %s %016X", address, p.MAC)); err != nil {
		return err
	}
	if err := m.command(ctx, "SKJOIN "+address, nil); err != nil {
		return err
	}
	return m.s.awaitJoin(ctx)
}

func (m *skModule) rejoin(ctx context.Context) error {
	m.s.link.joined, m.s.link.refused = false, false
	if err := m.command(ctx, "SKREJOIN", nil); err != nil {
		return err
	}
	return m.s.awaitJoin(ctx)
}

// errBusy is a datagram that the module does not take at the moment.
var errBusy = fmt.Errorf("the module is busy: %w", drivers.ErrTimeout)

// send gives a datagram to the module. Its data follow the command at once, with no
// end of line; what became of it an event tells.
func (m *skModule) send(ctx context.Context, frame []byte) error {
	side := ""
	if m.dual {
		side = "0 "
	}
	text := fmt.Sprintf("SKSENDTO 1 %s %04X 1 %s%04X ", LinkLocal(m.s.pan.MAC), port, side, len(frame))
	err := m.once(ctx, append([]byte(text), frame...), text, m.s.timing.command, nil)
	if isFail(err, skNotNow) {
		return errBusy
	}
	return err
}

// restricted reads register SFB.
func (m *skModule) restricted(ctx context.Context) (yes bool, err error) {
	err = m.command(ctx, "SKSREG SFB", func(line []byte) {
		if words := bytes.Fields(line); len(words) == 2 && string(words[0]) == "ESREG" {
			n, ok := number(words[1])
			yes = ok && n == 1
		}
	})
	return yes, err
}

// leaveWait is how long the meter may take to let us go.
const leaveWait = 3 * time.Second

func (m *skModule) leave(ctx context.Context) error {
	if err := m.command(ctx, "SKTERM", nil); err != nil {
		return err
	}
	if !m.s.link.joined {
		return nil
	}
	return m.s.await(ctx, leaveWait, func(*Item) bool { return !m.s.link.joined })
}
