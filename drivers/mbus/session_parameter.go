package mbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Writing, EN 13757-2, 5.7.3: SND_UD, which the slave acknowledges with E5. A
// repetition with the same frame count bit is acknowledged and not done again, so
// what had no answer is repeated, unless doing it twice does harm: a meter may not
// keep to the rule. What can be read back is.

var _ drivers.Commander = (*session)(nil)

func (s *session) parameters() []drivers.Parameter {
	return parametersOf(s.records, s.decoder.app.zone != nil)
}

// parameter is the one that is meant, as this session knows it.
func (s *session) parameter(name string) (drivers.Parameter, error) {
	for _, p := range s.parameters() {
		if p.Name == name {
			return p, nil
		}
	}
	return drivers.Parameter{}, fmt.Errorf("%w: the meter has no parameter %.32s", drivers.ErrValue, name)
}

// Get asks the meter for its address, clock or speed, or for a record of the
// configuration.
func (s *session) Get(ctx context.Context, p drivers.Parameter) (v drivers.Value, err error) {
	known, err := s.parameter(p.Name)
	if err != nil {
		return v, err
	}
	if known.Access&drivers.Readable == 0 {
		return v, fmt.Errorf("%w: %s can only be written", drivers.ErrValue, p.Name)
	}
	err = s.converse(ctx, func() error {
		return s.patiently(ctx, func() error {
			v, err = s.get(ctx, p.Name)
			return err
		})
	})
	return v, err
}

func (s *session) get(ctx context.Context, name string) (drivers.Value, error) {
	switch name {
	case paramAddress:
		a, err := s.addressNow(ctx)
		return addressValue(a), err
	case paramBaud:
		return s.speedValue(), s.begin(ctx)
	case paramClock:
		v, _, err := s.clockNow(ctx)
		return v, err
	}
	return s.recordNow(ctx, s.described(name))
}

// Set writes a parameter and gives what the meter says of it then: of what cannot
// be read back, what was sent.
func (s *session) Set(ctx context.Context, p drivers.Parameter, v drivers.Value) (back drivers.Value, err error) {
	known, err := s.parameter(p.Name)
	if err != nil {
		return back, err
	}
	if err := known.Validate(v); err != nil {
		return back, err
	}
	set, err := s.setting(p.Name, v)
	if err != nil {
		return back, err
	}
	s.sent = false
	err = s.converse(ctx, func() error {
		back, err = set(ctx)
		return s.certainty(err)
	})
	return back, err
}

// certainty says of a write that failed whether it was sent.
func (s *session) certainty(err error) error {
	switch {
	case err == nil, errors.Is(err, drivers.ErrValue):
		return err
	case s.sent:
		return fmt.Errorf("%w: %w", drivers.ErrUnconfirmed, err)
	case errors.Is(err, drivers.ErrRefused):
		return err
	}
	return fmt.Errorf("%w: %w", drivers.ErrUnsent, err)
}

// setting is how a parameter is set to a value. Nothing is sent yet: an error
// means that it never will be.
func (s *session) setting(name string, v drivers.Value) (func(context.Context) (drivers.Value, error), error) {
	switch name {
	case paramAddress:
		return s.settingAddress(v)
	case paramClock:
		asked := time.Now()
		return func(ctx context.Context) (drivers.Value, error) { return s.setClock(ctx, v.Moment, asked) }, nil
	case paramBaud:
		return s.settingBaud(v)
	case paramReset:
		return s.settingReset(v)
	case paramReadout:
		return s.settingReadout(v)
	}
	r := s.described(name)
	if r.Access&drivers.Pressable != 0 {
		return func(ctx context.Context) (drivers.Value, error) {
			return v, s.act(ctx, send(s.to.primary, false, ciSend, r.action))
		}, nil
	}
	d, err := r.encode(v, s.decoder.app.zone)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (drivers.Value, error) { return s.setRecord(ctx, r, d, v) }, nil
}

// described is a record of the configuration; the caller knows that there is one.
func (s *session) described(name string) *namedRecord {
	i := slices.IndexFunc(s.records, func(r namedRecord) bool { return r.Name == name })
	return &s.records[i]
}

// begin reaches the meter, woken if need be.
func (s *session) begin(ctx context.Context) error {
	if err := s.bus.wake(ctx, s.config.Wake); err != nil {
		return err
	}
	return s.reach(ctx)
}

// write sends a SND_UD to a meter that was just reached, and again with the same
// frame count bit if nothing answers.
func (s *session) write(ctx context.Context, f Frame, tries int) error {
	f.C = withFCB(f.C, s.fcb)
	raw, fault := mustFrame(f), error(nil)
	s.sent = true
	for range tries {
		got, err := s.bus.ask(ctx, raw, acknowledged, s.bus.first)
		switch {
		case err != nil:
			return err
		case got == acknowledged:
			s.fcb = !s.fcb
			return nil
		case got == telegram:
			s.sent = false
			return s.refused("the meter did not take it")
		case got == garbled:
			fault = s.garble()
		}
	}
	if fault == nil {
		fault = drivers.WithHint(fmt.Errorf("no acknowledgement: %w", drivers.ErrTimeout),
			"a meter that refuses a write says nothing; see its manual for what it takes, and whether it must be unlocked")
	}
	return fault
}

// act reaches the meter and writes once: what it is told may not be safe to do
// twice.
func (s *session) act(ctx context.Context, f Frame) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	return s.write(ctx, f, 1)
}

// addressNow is the primary address that the meter's own answer bears.
func (s *session) addressNow(ctx context.Context) (byte, error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	got, err := s.exchange(ctx, mustFrame(RequestData(s.to.primary, s.fcb)), telegram)
	switch {
	case err != nil:
		return 0, err
	case got == telegram:
		s.fcb = !s.fcb
		return s.bus.frame.A, nil
	case s.to.primary <= MaxPrimary:
		return s.to.primary, nil
	}
	return 0, s.empty()
}

func addressValue(a byte) drivers.Value {
	return drivers.Value{Name: paramAddress, Number: drivers.NewDecimal(int64(a), 0)}
}

// settingAddress gives the meter another primary address, if nobody has it.
func (s *session) settingAddress(v drivers.Value) (func(context.Context) (drivers.Value, error), error) {
	n, err := strconv.ParseUint(v.Number.String(), 10, 8)
	if err != nil {
		return nil, fmt.Errorf("%w: address %s: want a whole number", drivers.ErrValue, v.Number)
	}
	to := byte(n)
	return func(ctx context.Context) (drivers.Value, error) {
		now, err := s.addressNow(ctx)
		if err == nil && now != to {
			err = s.move(ctx, to)
		}
		if err != nil {
			return drivers.Value{}, err
		}
		return addressValue(to), nil
	}, nil
}

func (s *session) move(ctx context.Context, to byte) error {
	there, err := s.bus.survey(ctx, mustFrame(LinkReset(to)))
	if err != nil {
		return err
	}
	if there != silent {
		return drivers.WithHint(fmt.Errorf("%w: another meter answers at address %d", drivers.ErrValue, to),
			"`meter2mqtt scan --driver mbus --primary` lists which addresses are taken")
	}
	f, err := SetPrimary(s.to.primary, false, to)
	if err != nil {
		return err
	}
	if err := s.reach(ctx); err != nil {
		return err
	}
	if err := s.write(ctx, f, 1+s.config.Retries); err != nil {
		return err
	}
	got, err := s.exchange(ctx, mustFrame(LinkReset(to)), acknowledged)
	if err != nil {
		return err
	}
	if got == acknowledged && !s.to.selects() {
		s.to.primary = to
	}
	return nil
}

// clockNow reads the clock, and how many bytes it is sent in.
func (s *session) clockNow(ctx context.Context) (drivers.Value, int, error) {
	v, d, err := s.find(ctx, &DataRecord{VIB: []byte{0x6D}})
	if err != nil {
		return v, 0, err
	}
	v.Name, v.Code = paramClock, general[nameDateTime]
	if v.Kind != drivers.Moment {
		return v, 0, fmt.Errorf("the meter's clock shows no date: %w", drivers.ErrRefused)
	}
	return v, len(d.Data), nil
}

// setClock sets the clock to what at was asked, and the time that has passed
// since. It is sent in the form in which the meter sends it.
func (s *session) setClock(ctx context.Context, at drivers.Stamp, asked time.Time) (drivers.Value, error) {
	_, size, err := s.clockNow(ctx)
	if err != nil {
		return drivers.Value{}, err
	}
	if err := s.reach(ctx); err != nil {
		return drivers.Value{}, err
	}
	data, err := appendMoment(size, local(at, s.decoder.app.zone).Add(time.Since(asked)))
	if err != nil {
		return drivers.Value{}, fmt.Errorf("%w: clock: %w", drivers.ErrValue, err)
	}
	f, err := Send(s.to.primary, false, DataRecord{Field: fieldOfBytes[size], VIB: []byte{0x6D}, Data: data})
	if err != nil {
		return drivers.Value{}, err
	}
	if err := s.write(ctx, f, 1+s.config.Retries); err != nil {
		return drivers.Value{}, err
	}
	back, _, err := s.clockNow(ctx)
	return back, err
}

func (s *session) speedValue() drivers.Value {
	return drivers.Value{Name: paramBaud, Kind: drivers.Text, Text: strconv.Itoa(s.bus.baud)}
}

// settingBaud switches the meter to another speed, once: it acknowledges at the old
// one and listens at the new one. Where it answers then tells what became of it.
func (s *session) settingBaud(v drivers.Value) (func(context.Context) (drivers.Value, error), error) {
	baud, err := strconv.Atoi(v.Text)
	if err != nil {
		return nil, fmt.Errorf("%w: baud_rate %.20q", drivers.ErrValue, v.Text)
	}
	f, err := SwitchBaud(s.to.primary, false, baud)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", drivers.ErrValue, err)
	}
	if strings.HasPrefix(s.bus.line.String(), "tcp:") {
		return nil, drivers.WithHint(fmt.Errorf("%w: baud_rate: %w on a plain TCP line", drivers.ErrUnsent, errors.ErrUnsupported),
			"the converter has the speed: reach it as rfc2217://, or change it there")
	}
	return func(ctx context.Context) (drivers.Value, error) {
		if err := s.begin(ctx); err != nil {
			return drivers.Value{}, err
		}
		if baud == s.bus.baud {
			return s.speedValue(), nil
		}
		return s.switchTo(ctx, f, baud)
	}, nil
}

func (s *session) switchTo(ctx context.Context, f Frame, baud int) (drivers.Value, error) {
	before := s.bus.pace
	if err := s.write(ctx, f, 1); err != nil && !s.sent {
		return drivers.Value{}, err
	}
	if s.meetAt(ctx, paceOf(s.config, s.bus.line, baud)) == nil {
		return s.speedValue(), nil
	}
	if err := s.meetAt(ctx, before); err != nil {
		return drivers.Value{}, fmt.Errorf("the meter answers neither at %d baud nor at %d: %w", before.baud, baud, err)
	}
	s.sent = false
	return s.speedValue(), fmt.Errorf("the meter stays at %d baud: %w", before.baud, drivers.ErrRefused)
}

// meetAt reaches the meter at another speed, and stays with it.
func (s *session) meetAt(ctx context.Context, p pace) error {
	if err := s.bus.turnTo(p.baud); err != nil {
		return err
	}
	s.bus.pace = p
	return s.reach(ctx)
}

// settingReset is an application reset.
func (s *session) settingReset(v drivers.Value) (func(context.Context) (drivers.Value, error), error) {
	text := v.Text
	if text == "" || strings.EqualFold(text, "press") {
		text = resetPlain
	}
	f, err := resetOf(s.to.primary, text)
	if err != nil {
		return nil, fmt.Errorf("%w: reset: %w", drivers.ErrValue, err)
	}
	return func(ctx context.Context) (drivers.Value, error) {
		f.A = s.to.primary
		return v, s.act(ctx, f)
	}, nil
}

// settingReadout chooses what the meter sends, also for the readouts of this
// session whose configuration has chosen something else.
func (s *session) settingReadout(v drivers.Value) (func(context.Context) (drivers.Value, error), error) {
	var wanted []string
	for t := range strings.SplitSeq(v.Text, ",") {
		wanted = append(wanted, strings.TrimSpace(t))
	}
	f, err := choiceOf(s.to.primary, wanted)
	if err != nil {
		return nil, fmt.Errorf("%w: readout: %w", drivers.ErrValue, err)
	}
	return func(ctx context.Context) (drivers.Value, error) {
		if err := s.begin(ctx); err != nil {
			return drivers.Value{}, err
		}
		if err := s.write(ctx, f, 1+s.config.Retries); err != nil {
			return drivers.Value{}, err
		}
		if len(s.config.Readout) > 0 {
			s.prepare[len(s.prepare)-1] = f
		}
		return v, nil
	}, nil
}

// recordNow reads a record that the configuration describes.
func (s *session) recordNow(ctx context.Context, r *namedRecord) (drivers.Value, error) {
	v, _, err := s.find(ctx, &r.record)
	v.Name, v.Code = r.Name, r.Code
	if err != nil {
		return v, err
	}
	if r.Kind == drivers.Bool && v.Kind == drivers.Number {
		v.Kind = drivers.Bool
	}
	if v.Kind != r.Kind {
		return v, fmt.Errorf("the meter gives %s as a %s, not as a %s: %w", r.Name, v.Kind, r.Kind, drivers.ErrSyntax)
	}
	return v, nil
}

func (s *session) setRecord(ctx context.Context, r *namedRecord, d DataRecord, v drivers.Value) (drivers.Value, error) {
	f, err := Send(s.to.primary, false, d)
	if err != nil {
		return drivers.Value{}, err
	}
	if err := s.begin(ctx); err != nil {
		return drivers.Value{}, err
	}
	if err := s.write(ctx, f, 1+s.config.Retries); err != nil {
		return drivers.Value{}, err
	}
	if r.Access&drivers.Readable == 0 {
		return v, nil
	}
	return s.recordNow(ctx, r)
}

// find reads the meter and looks for a record, by its coordinates and its VIB.
func (s *session) find(ctx context.Context, wanted *DataRecord) (v drivers.Value, d DataRecord, err error) {
	var r drivers.Reading
	err = s.patiently(ctx, func() error { return s.readout(ctx, &r) })
	if err != nil {
		return v, d, err
	}
	for _, body := range s.bodies {
		if d, p, ok := recordIn(body, wanted); ok && s.decoder.app.fill(&v, p, d.Data, d.LVAR) {
			v.Unit, v.Code = p.value.Unit, p.value.Code
			return v, d, nil
		}
	}
	return v, d, drivers.WithHint(fmt.Errorf("the meter's readout does not hold it: %w", drivers.ErrRefused),
		`readout = ["all"] makes many meters send everything they have; a record that is never sent can be write-only`)
}

// recordIn looks for a record in the body of a telegram.
func recordIn(body []byte, wanted *DataRecord) (DataRecord, *plan, bool) {
	header, known := map[byte]int{ciLong: longHeader, ciLongMSB: longHeader, ciShort: shortHeader, ciBare: 0}[body[0]]
	if !known || len(body) < 1+header {
		return DataRecord{}, nil, false
	}
	for b := body[1+header:]; len(b) > 0; {
		if b[0] == difFiller {
			b = b[1:]
			continue
		}
		d, n, err := ParseRecord(b)
		if err != nil {
			break // the maker's own data ends the records
		}
		if d.Record == wanted.Record && slices.Equal(d.VIB, wanted.VIB) {
			dib, vib, _ := scanHead(b)
			return d, newPlan(0, b[:dib+vib], dib), true
		}
		b = b[n:]
	}
	return DataRecord{}, nil, false
}
