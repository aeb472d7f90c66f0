package iec62056

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Addresses of the clock.
const (
	timeAddress = "0.9.1"
	dateAddress = "0.9.2"
	bothAddress = "1-0:0.9.129*255"
	lisClock    = "1:400.0"

	// bothTail are the digits behind the time in 0.9.129, as the one public example
	// has them; nobody says what they mean.
	bothTail = "0002"
)

// described are the clock, whose zone is known or not, and the registers of the
// configuration.
func described(named []Register, zoned bool) []drivers.Parameter {
	all := []drivers.Parameter{clockParameter(zoned)}
	for _, r := range named {
		all = append(all, r.Parameter)
	}
	return all
}

func clockParameter(zoned bool) drivers.Parameter {
	return drivers.Parameter{
		Quantity: drivers.Quantity{Key: "clock", Name: "clock", Code: obis.New(0, 0, 1, 0, 0), Kind: drivers.Moment, Zoned: zoned},
		Access:   drivers.Readable | drivers.Writable,
		Doc:      "The meter's clock, in its own time zone.",
	}
}

// register is the one that a parameter names.
func (s *session) register(p drivers.Parameter) (Register, error) {
	for _, r := range s.named {
		if r.Name == p.Name {
			return r, nil
		}
	}
	return Register{}, fmt.Errorf("%w: there is no parameter %.32s", drivers.ErrValue, p.Name)
}

// Get reads the clock or a register of the configuration.
func (s *session) Get(ctx context.Context, p drivers.Parameter) (v drivers.Value, err error) {
	err = s.conversation(ctx, func(ctx context.Context) error {
		if p.Name == "clock" {
			if err := s.enter(ctx, s.level()); err != nil {
				return err
			}
			v, err = s.readClock(ctx)
			return err
		}
		r, err := s.register(p)
		if err != nil {
			return err
		}
		if err := s.enter(ctx, cmp.Or(r.Level, s.level())); err != nil {
			return err
		}
		v, err = s.readRegister(ctx, r)
		return err
	})
	return v, err
}

// Set writes the clock or a register of the configuration, and reads it back.
func (s *session) Set(ctx context.Context, p drivers.Parameter, v drivers.Value) (back drivers.Value, err error) {
	if p.Name == "clock" {
		if err := clockParameter(true).Validate(v); err != nil {
			return back, err
		}
		asked := time.Now()
		err = s.conversation(ctx, func(ctx context.Context) error {
			back, err = s.setClock(ctx, v, asked)
			return err
		})
		return back, err
	}
	r, err := s.register(p)
	if err != nil {
		return back, err
	}
	text, err := s.wire(r, v)
	if err != nil {
		return back, err
	}
	err = s.conversation(ctx, func(ctx context.Context) error {
		if err := s.enter(ctx, cmp.Or(r.Level, s.level())); err != nil {
			return unsent(err)
		}
		if err := s.write(ctx, s.writeCommand(r), r.Address, text); err != nil {
			return err
		}
		if back = v; r.Access&drivers.Readable == 0 {
			return nil
		}
		back, err = s.readRegister(ctx, r)
		return unconfirmed(err)
	})
	return back, err
}

// unsent says of what came before a write that it was not made.
func unsent(err error) error { return fmt.Errorf("%w: %w", drivers.ErrUnsent, err) }

// unconfirmed says of what came behind a write that it may have been made.
func unconfirmed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", drivers.ErrUnconfirmed, err)
}

// writeCommand is W1, W2 or W5 as registers are read by R1, R2 or R5; E2 for an
// action.
func (s *session) writeCommand(r Register) string {
	if r.Access&drivers.Pressable != 0 {
		return "E2"
	}
	return "W" + s.readCommand()[1:]
}

// readRegister reads one and gives its value in the unit that the configuration
// has.
func (s *session) readRegister(ctx context.Context, r Register) (v drivers.Value, err error) {
	text, err := s.readAddress(ctx, r.Address)
	if err != nil {
		return v, err
	}
	digits, unit, _ := bytes.Cut(firstBracket(text), star)
	v = drivers.Value{Code: r.Code, Name: r.Name, Kind: r.Kind, Unit: r.Unit}
	switch r.Kind {
	case drivers.Number:
		v.Number, err = s.inUnit(bytes.TrimSpace(digits), string(unit), string(r.Unit))
	case drivers.Bool:
		v.Number, err = drivers.ParseDecimal(strings.TrimLeft(string(digits), "0"))
		if strings.Trim(string(digits), "0") == "" && len(digits) > 0 {
			v.Number, err = drivers.NewDecimal(0, 0), nil
		}
	case drivers.Moment:
		var ok bool
		if v.Moment, ok = s.decoder.clock.stamp(digits); !ok {
			err = drivers.ErrSyntax
		}
	case drivers.Text:
		v.Text = string(firstBracket(text))
	}
	if err != nil {
		return v, fmt.Errorf("%s: %s: the answer %.40q is no %s: %w: %w", s.line, r.Address, firstBracket(text), r.Kind, drivers.ErrSyntax, err)
	}
	return v, nil
}

// inUnit brings digits from the unit sent to the one that is wanted, where a power
// of ten gets there.
func (s *session) inUnit(digits []byte, sent, wanted string) (drivers.Decimal, error) {
	n, err := drivers.ParseDecimal(digits)
	if err != nil || sent == "" || wanted == "" || sent == wanted {
		return n, err
	}
	from, down, known := obis.ParseUnit(sent)
	to, up, alsoKnown := obis.ParseUnit(wanted)
	if !known || !alsoKnown || from != to {
		return n, fmt.Errorf("unit %.16q, want %.16q: %w", sent, wanted, drivers.ErrValue)
	}
	return n.Shift(down - up)
}

// wire is a value as it is sent.
func (s *session) wire(r Register, v drivers.Value) (string, error) {
	if r.Access&drivers.Pressable != 0 && r.Kind == drivers.Text && v.Text == "" {
		return "", nil
	}
	if err := r.Validate(v); err != nil {
		return "", err
	}
	switch r.Kind {
	case drivers.Number:
		return padded(v.Number, r.Digits)
	case drivers.Bool:
		return v.Number.String(), nil
	case drivers.Moment:
		return s.local(v.Moment).Format("060102150405"), nil
	case drivers.Text:
	}
	if !sendable(v.Text) || len(v.Text) > maxText {
		return "", fmt.Errorf("%w: %s: brackets, control characters and more than %d characters cannot be sent", drivers.ErrValue, r.Name, maxText)
	}
	return v.Text, nil
}

// maxText bounds a text that is written, in partial blocks if it is long.
const maxText = 2048

// padded is n with so many decimals. More that are not zero are refused.
func padded(n drivers.Decimal, decimals int) (string, error) {
	text := n.String()
	if decimals == 0 {
		return text, nil
	}
	if n.Decimals() > decimals {
		return "", fmt.Errorf("%w: %s has more than %d decimals", drivers.ErrValue, n, decimals)
	}
	if n.Decimals() == 0 {
		text += "."
	}
	return text + strings.Repeat("0", decimals-n.Decimals()), nil
}

// local is a moment as the meter's clock shows it.
func (s *session) local(at drivers.Stamp) time.Time {
	if at.Zoned && s.decoder.clock.zone != nil {
		return at.Wall.In(s.decoder.clock.zone)
	}
	return at.Wall
}

// clockWay is how the clock is set.
func (s *session) clockWay() string {
	if s.cfg.SetClock == "" && s.driver == lisName {
		return "1:400"
	}
	return cmp.Or(s.cfg.SetClock, timeAddress)
}

// readClock reads the clock in one piece, or as time and date. The date is read
// first and again, if midnight may have passed in between.
func (s *session) readClock(ctx context.Context) (v drivers.Value, err error) {
	v = drivers.Value{Code: obis.New(0, 0, 1, 0, 0), Name: "clock", Kind: drivers.Moment}
	if s.clockWay() == "1:400" {
		text, err := s.readAddress(ctx, lisClock)
		if err != nil {
			return v, err
		}
		v.Moment, _ = s.decoder.clock.stamp(firstBracket(text))
		return v, s.noClock(v)
	}
	date, hour, err := s.readParts(ctx)
	if err != nil {
		return v, err
	}
	v.Moment = s.decoder.clock.assembled(date, hour)
	return v, s.noClock(v)
}

func (s *session) noClock(v drivers.Value) error {
	if v.Moment.IsZero() {
		return fmt.Errorf("%s: the meter's clock shows no time: %w", s.line, drivers.ErrSyntax)
	}
	return nil
}

// readParts reads date and time of day. Just after midnight the date that was read
// before it is read again.
func (s *session) readParts(ctx context.Context) (date, hour []byte, err error) {
	for range 2 {
		text, err := s.readAddress(ctx, dateAddress)
		if err != nil {
			return nil, nil, err
		}
		date = firstBracket(text)
		if text, err = s.readAddress(ctx, timeAddress); err != nil {
			return nil, nil, err
		}
		hour = firstBracket(text)
		if _, h := cutSeason(hour); len(h) < 3 || string(h[:2]) != "00" {
			break
		}
	}
	return date, hour, nil
}

// setClock sets the clock to a moment and the time that has passed since it was
// asked for: a sign-on can take seconds. Then it is read back.
func (s *session) setClock(ctx context.Context, v drivers.Value, asked time.Time) (drivers.Value, error) {
	if err := s.enter(ctx, s.level()); err != nil {
		return drivers.Value{}, unsent(err)
	}
	t := s.local(v.Moment).Add(time.Since(asked))
	var err error
	switch s.clockWay() {
	case "1:400":
		err = s.write(ctx, "W1", lisClock, t.Format("2006-01-02,15:04:05"))
	case "0.9.129":
		err = s.write(ctx, s.writeCommand(Register{}), bothAddress, t.Format("060102150405")+bothTail)
	case "C000":
		err = s.write(ctx, "W2", "C000", t.Format("060102150405"))
	default:
		err = s.setParts(ctx, t)
	}
	if err != nil {
		return drivers.Value{}, err
	}
	back, err := s.readClock(ctx)
	return back, unconfirmed(err)
}

// setParts sets date and time of day, each in the form in which the meter shows
// it.
func (s *session) setParts(ctx context.Context, t time.Time) error {
	date, hour, err := s.readParts(ctx)
	if err != nil {
		return unsent(err)
	}
	name := s.writeCommand(Register{})
	if err := s.write(ctx, name, dateAddress, likeShown(date, t, "060102")); err != nil {
		return err
	}
	return unconfirmed(s.write(ctx, name, timeAddress, likeShown(hour, t, "150405"))) // for the date is set by now
}

// likeShown is a time in a layout of six digits, with separators and season digit
// as in shown.
func likeShown(shown []byte, t time.Time, layout string) string {
	text := t.Format(layout)
	switch {
	case len(shown) == 7 && t.IsDST():
		return "1" + text
	case len(shown) == 7:
		return "0" + text
	case len(shown) == 8 && (shown[2] == ':' || shown[2] == '-'):
		c := string(shown[2])
		return text[:2] + c + text[2:4] + c + text[4:]
	}
	return text
}
