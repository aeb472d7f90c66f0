package sim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/iec62056"
)

// Times of IEC 62056-21, clause 6.4.3.
const (
	iecReaction = 20 * time.Millisecond
	iecOption   = 2 * time.Second // how long the option select is waited for
	iecGap      = 1500 * time.Millisecond
	iecIdle     = 60 * time.Second // then the meter forgets the conversation
	iecRepeat   = 2 * time.Second  // how long a NAK to the readout is taken
)

var (
	errIECSilent = errors.New("nothing came in time")
	errIECLeft   = errors.New("the reader took leave")
)

// iecTalk is the meter on one line.
type iecTalk struct {
	faultTurns
	reception
	meter *iecMeter
	line  io.Writer
	last  []byte // message, for a NAK
}

// say sends a message after the reaction time, with what faults make of it.
func (t *iecTalk) say(ctx context.Context, b []byte) error {
	t.last = b
	timer := time.NewTimer(iecReaction)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	b = bytes.Clone(b)
	if len(b) > 4 && t.due("bad-check") {
		b[len(b)-1] ^= 0x11
	}
	if len(b) > 4 && t.due("cut") {
		b = b[:len(b)/2]
	}
	if t.due("noise") {
		b = append([]byte("\x7f\x7f\x7f\x7f\x7f"), b...)
	}
	return send(ctx, t.line, b)
}

// push is mode D.
func (t *iecTalk) push(ctx context.Context) error {
	pace := time.NewTicker(t.meter.period)
	defer pace.Stop()
	for ctx.Err() == nil {
		b := []byte(t.meter.ident + "\r\n\r\n")
		for _, s := range t.meter.readout(t.due("zero-total")) {
			b = append(s.AppendTo(b), '\r', '\n')
		}
		if b = append(b, "!\r\n"...); t.due("cut") {
			b = b[:len(b)/2]
		}
		if err := send(ctx, t.line, b); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-pace.C:
		}
	}
	return nil
}

// conversation waits for a request that is meant for the meter and serves it. Only
// the end of the line is an error.
func (t *iecTalk) conversation(ctx context.Context) error {
	if err := t.awaitRequest(ctx); err != nil {
		return err
	}
	err := t.answer(ctx)
	if errors.Is(err, errIECSilent) || errors.Is(err, errIECLeft) {
		return nil
	}
	return err
}

// awaitRequest waits for /?ADDRESS! CR LF.
func (t *iecTalk) awaitRequest(ctx context.Context) error {
	var line []byte
	for {
		c, err := t.get(ctx, time.Hour)
		if errors.Is(err, errIECSilent) {
			continue
		}
		if err != nil {
			return err
		}
		switch {
		case c == '/':
			line = append(line[:0], c)
		case c == '\n':
			text, ok := strings.CutSuffix(string(bytes.TrimSpace(line)), "!")
			address, called := strings.CutPrefix(text, "/?")
			if ok && called && isCalled(address) && !t.due("silence") {
				return nil
			}
			line = line[:0]
		case len(line) > 0 && len(line) < 64:
			line = append(line, c)
		}
	}
}

// isCalled says whether an address is the meter's: leading zeros do not count.
func isCalled(address string) bool {
	return address == "" || strings.TrimLeft(address, "0") == iecAddress
}

// answer sends the identification and what follows it in the meter's mode.
func (t *iecTalk) answer(ctx context.Context) error {
	if err := t.say(ctx, []byte(t.meter.ident+"\r\n")); err != nil {
		return err
	}
	switch t.meter.mode {
	case iec62056.ModeA, iec62056.ModeB:
		if err := t.readout(ctx); err != nil {
			return err
		}
		return t.program(ctx, false)
	default:
	}
	option, err := t.option(ctx)
	switch {
	case err != nil && !errors.Is(err, errIECSilent):
		return err
	case option == '1':
		if err := t.say(ctx, iec62056.AppendCommand(nil, "P0", "()", false)); err != nil {
			return err
		}
		return t.program(ctx, true)
	}
	return t.readout(ctx)
}

// option takes ACK V Z Y CR LF and gives Y; '0' for what it does not understand.
func (t *iecTalk) option(ctx context.Context) (byte, error) {
	var b []byte
	for len(b) < 6 {
		c, err := t.get(ctx, iecOption)
		if err != nil {
			return '0', err
		}
		if len(b) == 0 && c != iecACK {
			continue
		}
		b = append(b, c)
	}
	if b[1] != '0' || b[2] != '0' && b[2] != t.meter.ident[4] {
		return '0', nil
	}
	return b[3], nil
}

// readout sends the data message, and again for each NAK.
func (t *iecTalk) readout(ctx context.Context) error {
	if err := t.say(ctx, iec62056.AppendReadout(nil, t.meter.readout(t.due("zero-total")))); err != nil {
		return err
	}
	if t.meter.mode == iec62056.ModeA || t.meter.mode == iec62056.ModeB {
		return nil // a NAK is taken by the programming mode
	}
	for {
		c, err := t.get(ctx, iecRepeat)
		if err != nil {
			return err
		}
		if c == iecNAK {
			if err := t.say(ctx, t.last); err != nil {
				return err
			}
		}
	}
}

// iecCommand is a command message.
type iecCommand struct {
	name, address string
	values        []string
}

// command takes the next command; NAK repeats the last message.
func (t *iecTalk) command(ctx context.Context) (iecCommand, error) {
	for {
		c, err := t.get(ctx, iecIdle)
		if err != nil {
			return iecCommand{}, err
		}
		if c == iecNAK {
			if err := t.say(ctx, t.last); err != nil {
				return iecCommand{}, err
			}
		}
		if c != iecSOH[0] {
			continue
		}
		b, ok, err := t.block(ctx)
		switch {
		case err != nil:
			return iecCommand{}, err
		case t.due("silence"):
		case !ok || b[0] != 'B' && b[0] != 'P' && t.due("nak"):
			if err := t.say(ctx, []byte{iecNAK}); err != nil {
				return iecCommand{}, err
			}
		default:
			return parseIECCommand(b), nil
		}
	}
}

// block takes what follows SOH, and says whether its check fits.
func (t *iecTalk) block(ctx context.Context) (b []byte, ok bool, err error) {
	for len(b) < 1024 {
		c, err := t.get(ctx, iecGap)
		if err != nil {
			return nil, false, err
		}
		if b = append(b, c); c != iecETX && c != iecEOT {
			continue
		}
		check, err := t.get(ctx, iecGap)
		return b[:len(b)-1], err == nil && check == iec62056.BlockCheck(b) && len(b) > 2, err
	}
	return nil, false, nil
}

func parseIECCommand(b []byte) iecCommand {
	name, text, _ := strings.Cut(string(b), string(rune(iecSTX)))
	address, rest, _ := strings.Cut(text, "(")
	c := iecCommand{name: name, address: address}
	if rest != "" {
		c.values = strings.Split(strings.TrimSuffix(rest, ")"), ")(")
	}
	return c
}

func (c iecCommand) value() string {
	if len(c.values) == 0 {
		return ""
	}
	return c.values[0]
}

// program is the programming mode. Without password everything can be read, and
// in modes A and B written too.
func (t *iecTalk) program(ctx context.Context, locked bool) error {
	for {
		c, err := t.command(ctx)
		if err != nil {
			return err
		}
		switch c.name[0] {
		case 'B':
			if c.name == "B1" {
				if err := t.say(ctx, []byte{iecACK}); err != nil {
					return err
				}
			}
			return errIECLeft
		case 'P':
			if err := t.password(ctx, c, &locked); err != nil {
				return err
			}
		default:
			if err := t.obey(ctx, c, locked); err != nil {
				return err
			}
		}
	}
}

func (t *iecTalk) password(ctx context.Context, c iecCommand, locked *bool) error {
	if !t.meter.login(c.value()) {
		return t.say(ctx, []byte{iecNAK})
	}
	*locked = false
	return t.say(ctx, []byte{iecACK})
}

// obey answers a command that reads, writes or executes.
func (t *iecTalk) obey(ctx context.Context, c iecCommand, locked bool) error {
	reads := c.name[0] == 'R'
	switch {
	case t.meter.lis && reads:
		return t.lisRead(ctx, c)
	case t.meter.lis:
		return t.lisWrite(ctx, c)
	case !reads && locked:
		return t.sayText(ctx, "(ER03)")
	case reads && strings.HasPrefix(short(c.address), "P."):
		return t.profile(ctx, c)
	case reads:
		return t.register(ctx, c)
	case c.name[0] == 'E':
		return t.say(ctx, []byte{iecACK})
	}
	switch err := t.meter.writeRegister(short(c.address), c.value()); {
	case errors.Is(err, drivers.ErrRefused):
		return t.sayText(ctx, "(ER05)")
	case err != nil:
		return t.sayText(ctx, "(ER11)")
	}
	return t.say(ctx, []byte{iecACK})
}

func (t *iecTalk) sayText(ctx context.Context, text string) error {
	return t.say(ctx, iec62056.AppendBlock(nil, []byte(text), false))
}

// register answers with one data set of the readout.
func (t *iecTalk) register(ctx context.Context, c iecCommand) error {
	for _, s := range t.meter.readout(false) {
		if s.Address == short(c.address) {
			s.Address = c.address
			return t.sayText(ctx, string(s.AppendTo(nil)))
		}
	}
	return t.sayText(ctx, "(ER01)")
}

// profile answers with the load profile of the last ten days, or the log book.
func (t *iecTalk) profile(ctx context.Context, c iecCommand) error {
	span := append(strings.Split(c.value(), ";"), "", "")
	from, okFrom := t.meter.moment(span[0])
	to, okTo := t.meter.moment(span[1])
	if !okFrom || !okTo {
		return t.sayText(ctx, c.address+"(ERROR11)")
	}
	lines := t.meter.profile(c.address, from, to)
	if len(lines) == 0 {
		return t.sayText(ctx, c.address+"(ERROR)")
	}
	rows := len(lines)
	if n, err := strconv.Atoi(span[2]); err == nil && n > 0 && c.name != "R5" && c.name != "R1" {
		rows = n
	}
	return t.partial(ctx, lines, rows, "\r\n")
}

// partial sends lines in blocks of so many, the next one after each ACK. LIS-200
// leaves the line end between blocks out.
func (t *iecTalk) partial(ctx context.Context, lines []string, rows int, between string) error {
	for {
		n := min(rows, len(lines))
		text := strings.Join(lines[:n], "\r\n") + between
		lines = lines[n:]
		if err := t.say(ctx, iec62056.AppendBlock(nil, []byte(text), len(lines) > 0)); err != nil || len(lines) == 0 {
			return err
		}
		if err := t.awaitACK(ctx); err != nil {
			return err
		}
	}
}

func (t *iecTalk) awaitACK(ctx context.Context) error {
	for {
		c, err := t.get(ctx, iecIdle)
		switch {
		case err != nil:
			return err
		case c == iecACK:
			return nil
		case c == iecNAK:
			if err := t.say(ctx, t.last); err != nil {
				return err
			}
		}
	}
}
