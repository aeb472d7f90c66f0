package corus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

const inferredNote = "no parameter map is configured: only what public programs agree on is read, and that 48 and 49 are the unconverted and the converted volume in m³ is inferred; describe the device's parameters in a file and name it with layouts (docs/corus.md)"

// identify asks for the id of the parameter map, which tells the firmware.
func (s *session) identify(ctx context.Context) error {
	general := s.all.maps[len(s.all.maps)-1]
	p := general.byID(mapID)
	body, err := s.ask(ctx, AppendRead(nil, mapID))
	if errors.Is(err, drivers.ErrRefused) { // which may also say that the command came damaged
		body, err = s.ask(ctx, AppendRead(nil, mapID))
	}
	switch {
	case errors.Is(err, drivers.ErrRefused):
	case err != nil:
		return fmt.Errorf("parameter map: %w", err)
	case len(body) == p.length:
		var r drivers.Reading
		s.parameters([]*parameter{p}, body, &r)
		s.identity.Version = r.Meter.Version
	}
	s.known = s.all.mapFor(s.identity.Version)
	return nil
}

// Read reads all parameters of the device's map, or those that have a code of want.
// One that the device refuses is left out, also for others of its firmware; if it
// refuses all, that is the error.
func (s *session) Read(ctx context.Context, want []obis.Code, r *drivers.Reading) error {
	return s.conversation(ctx, func(ctx context.Context) error {
		r.Meter = s.identity
		if s.known.inferred && !s.told {
			s.told, r.Note = true, inferredNote
		}
		asked := s.wanted(want)
		var refusal error
		for len(asked) > 0 {
			n := fitting(asked)
			refused, err := s.readGroup(ctx, asked[:n], r)
			if err != nil {
				return err
			}
			refusal, asked = errors.Join(refusal, refused), asked[n:]
		}
		if len(r.Values) == 0 && refusal != nil {
			return refusal
		}
		s.identity = r.Meter
		r.Values = slices.DeleteFunc(r.Values, func(v drivers.Value) bool { return !isWanted(want, v.Code) })
		return nil
	})
}

func isWanted(want []obis.Code, c obis.Code) bool { return len(want) == 0 || slices.Contains(want, c) }

// wanted are the parameters to read.
func (s *session) wanted(want []obis.Code) (asked []*parameter) {
	for i := range s.known.parameters {
		p := &s.known.parameters[i]
		fits := slices.ContainsFunc(p.fields, func(f field) bool { return isWanted(want, f.value.Code) })
		if fits && !s.isAbsent(p.id) {
			asked = append(asked, p)
		}
	}
	return asked
}

// fitting is how many parameters one answer can hold.
func fitting(asked []*parameter) int {
	length, ids := 0, 0
	for i, p := range asked {
		length, ids = length+p.length, ids+2
		if length > maxBody || ids > maxBody {
			return max(1, i)
		}
	}
	return len(asked)
}

// readGroup reads parameters with one command. If the device refuses it, or answers
// with another length, each is asked for by itself.
func (s *session) readGroup(ctx context.Context, group []*parameter, r *drivers.Reading) (refused, err error) {
	body, err := s.readAll(ctx, group)
	switch {
	case err == nil:
		s.parameters(group, body, r)
		return nil, nil
	case !errors.Is(err, drivers.ErrRefused) && !errors.Is(err, errLength):
		return nil, err
	case len(group) == 1:
		return s.readRefused(ctx, group[0], r)
	}
	for i := range group {
		one, err := s.readGroup(ctx, group[i:i+1], r)
		if err != nil {
			return nil, err
		}
		refused = errors.Join(refused, one)
	}
	return refused, nil
}

// readRefused asks once more: a NAK may also say that the command came damaged.
func (s *session) readRefused(ctx context.Context, p *parameter, r *drivers.Reading) (refused, err error) {
	body, err := s.readAll(ctx, []*parameter{p})
	switch {
	case err == nil:
		s.parameters([]*parameter{p}, body, r)
		return nil, nil
	case errors.Is(err, drivers.ErrRefused):
		s.setAbsent(p.id)
		return err, nil
	case errors.Is(err, errLength):
		r.Note = err.Error()
		return err, nil
	}
	return nil, err
}

// errLength says that a parameter has another length than the map says.
var errLength = fmt.Errorf("another length than the parameter map says: %w", drivers.ErrSyntax)

// readAll reads parameters with one command, and gives the data of the answer, which
// has their length.
func (s *session) readAll(ctx context.Context, group []*parameter) ([]byte, error) {
	ids := make([]ID, len(group))
	for i, p := range group {
		ids[i] = p.id
	}
	body, err := s.ask(ctx, AppendRead(nil, ids...))
	if err != nil {
		return nil, fmt.Errorf("parameter %s: %w", join(ids), err)
	}
	if want := lengthOf(group); len(body) != want {
		return nil, fmt.Errorf("%s: parameter %s: %d bytes instead of %d: %w", s.line, join(ids), len(body), want, errLength)
	}
	return body, nil
}

// join lists ids, the first few of them.
func join(ids []ID) string {
	text := ids[0].String()
	for i, id := range ids[1:] {
		if i == 7 {
			return text + "…"
		}
		text += ", " + id.String()
	}
	return text
}

// vacant says that the device gives no value at the moment.
type vacant string

func (v vacant) Error() string        { return "the device gives no value for " + string(v) }
func (v vacant) Is(target error) bool { return target == drivers.ErrRefused }

// Get reads the parameter of that name, or whose id is the name.
func (s *session) Get(ctx context.Context, p drivers.Parameter) (v drivers.Value, err error) {
	err = s.conversation(ctx, func(ctx context.Context) error {
		found, i, err := s.find(p.Name)
		if err != nil {
			return err
		}
		v, err = s.get(ctx, found, i)
		return err
	})
	return v, err
}

// find is a parameter of the device's map, and which of its fields.
func (s *session) find(name string) (*parameter, int, error) {
	p, i := s.known.find(name)
	if p == nil {
		return nil, 0, fmt.Errorf("%w: the map of firmware %q has no parameter %.64s", drivers.ErrValue, s.identity.Version, name)
	}
	return p, i, nil
}

func (s *session) get(ctx context.Context, p *parameter, i int) (drivers.Value, error) {
	body, err := s.readAll(ctx, []*parameter{p})
	if err != nil {
		return drivers.Value{}, err
	}
	return s.one(p, i, body)
}

// one is the value of a field in the bytes of its parameter.
func (s *session) one(p *parameter, i int, body []byte) (drivers.Value, error) {
	var r drivers.Reading
	s.append(&r, &p.fields[i], body)
	if len(r.Values) == 0 {
		return drivers.Value{}, fmt.Errorf("%s: %w", s.line, vacant(p.fields[i].name))
	}
	v := r.Values[0]
	v.Name = p.fields[i].name
	return v, nil
}

// Set writes the parameter of that name, or whose id is the name, and reads it back.
func (s *session) Set(ctx context.Context, p drivers.Parameter, v drivers.Value) (back drivers.Value, err error) {
	if err := s.check(p.Name, v); err != nil {
		return back, err
	}
	sent := false
	err = s.conversation(ctx, func(ctx context.Context) error {
		found, i, err := s.find(p.Name)
		if err != nil {
			return err
		}
		data, err := s.encode(found, i, v)
		if err != nil {
			return err
		}
		if sent, err = s.write(ctx, Setting{found.id, data}); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		back, err = s.readBack(ctx, found, i, data)
		return err
	})
	if err != nil && !sent && !errors.Is(err, drivers.ErrValue) && !errors.Is(err, drivers.ErrRefused) {
		err = fmt.Errorf("%w: %w", drivers.ErrUnsent, err)
	}
	return back, err
}

// check refuses, before anything is sent, what no firmware takes.
func (s *session) check(name string, v drivers.Value) error {
	maps := s.all.offered()
	if s.known != nil {
		maps = []parameterMap{*s.known}
	}
	err := fmt.Errorf("%w: there is no parameter %.64s", drivers.ErrValue, name)
	for _, m := range maps {
		p, i := m.find(name)
		if p == nil {
			continue
		}
		if _, err = s.encode(p, i, v); err == nil {
			return nil
		}
	}
	return err
}

// encode is a value as it is sent.
func (s *session) encode(p *parameter, i int, v drivers.Value) ([]byte, error) {
	if err := p.public[i].Validate(v); err != nil {
		return nil, err
	}
	data, err := p.fields[i].appendValue(nil, v, &s.clock)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.fields[i].name, err)
	}
	return data, nil
}

// write sends a setting once: it may have been carried out though no answer came.
func (s *session) write(ctx context.Context, setting Setting) (sent bool, err error) {
	if err := s.send(ctx, AppendWrite(nil, setting)); err != nil {
		return false, err
	}
	err = s.acknowledged(ctx)
	if err != nil && !errors.Is(err, drivers.ErrRefused) {
		err = fmt.Errorf("%w: %w", drivers.ErrUnconfirmed, err)
	}
	return true, err
}

// acknowledged waits for the answer to a write.
func (s *session) acknowledged(ctx context.Context) error {
	for {
		c, err := s.next(ctx, s.cfg.AnswerWait)
		switch {
		case err != nil:
			return err
		case c == ack:
			return nil
		case c == nak:
			return fmt.Errorf("%s: %w", s.line, errNAK)
		}
	}
}

// readBack reads what was written. A clock has gone on meanwhile; anything else must
// be what was sent.
func (s *session) readBack(ctx context.Context, p *parameter, i int, sent []byte) (drivers.Value, error) {
	body, err := s.readAll(ctx, []*parameter{p})
	if err != nil {
		return drivers.Value{}, fmt.Errorf("%w: %w", drivers.ErrUnconfirmed, err)
	}
	if p.id == weightID && !s.fixed {
		s.setWeight(body)
	}
	v, err := s.one(p, i, body)
	if err == nil && p.fields[i].value.Code != clockCode && !bytes.Equal(body, sent) {
		err = fmt.Errorf("%s: %s reads %s after it was set: %w: %w", s.line, p.name, v.AppendPayload(nil), drivers.ErrUnconfirmed, drivers.ErrSyntax)
	}
	return v, err
}
