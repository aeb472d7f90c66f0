package routeb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Names of the parameters.
const (
	paramClock     = "clock"
	paramLocation  = "location"
	paramOperation = "operation"
	paramDay       = "history_day"
	paramHalves    = "history_half_hours"
	paramMinutes   = "history_minutes"
)

const oldestDay = 99

func parameter(name string, kind drivers.Kind, doc string) drivers.Parameter {
	return drivers.Parameter{
		Quantity: drivers.Quantity{Key: name, Name: name, Kind: kind},
		Access:   drivers.Readable | drivers.Writable, Doc: doc,
	}
}

// settings are all parameters, with the properties they are made of.
func settings() []setting {
	clock := parameter(paramClock, drivers.Moment, "The meter's clock, to the minute. Few meters let it be set.")
	clock.Zoned, clock.Code = true, codeClock
	location := parameter(paramLocation, drivers.Text, "Where the meter is, as in \"kitchen 1\".")
	location.Code, location.MaxLen = codeLocation, 64
	operation := parameter(paramOperation, drivers.Bool, "Whether the meter is in operation.")
	operation.Code = codeOperation
	day := parameter(paramDay, drivers.Number, "Of which day the meter gives its half-hours, in days back from today.")
	day.Max, day.Step = drivers.NewDecimal(oldestDay, 0), drivers.NewDecimal(1, 0)
	halves := parameter(paramHalves, drivers.Text, "Which half-hours the meter gives: the newest, and how many up to 12, as in \"2026-01-15T12:30 12\".")
	halves.MaxLen = selectionLen
	minutes := parameter(paramMinutes, drivers.Text, "Which minutes the meter gives: the newest, and how many up to 10, as in \"2026-01-15T12:47 10\".")
	minutes.MaxLen = selectionLen
	return []setting{
		{clock, []byte{epcDate, epcTime}},
		{location, []byte{epcLocation}},
		{operation, []byte{epcOperation}},
		{day, []byte{epcDay}},
		{halves, []byte{epcHalvesSelect}},
		{minutes, []byte{epcMinutesSelect}},
	}
}

type setting struct {
	drivers.Parameter
	codes []byte
}

// parametersOf are those that a meter may have: which of them, it says itself.
func parametersOf(drivers.Config) (list []drivers.Parameter) {
	for _, p := range settings() {
		list = append(list, p.Parameter)
	}
	return list
}

// parameters are those that the meter has, and all before it has said which.
func (s *session) parameters() (list []drivers.Parameter) {
	for _, p := range settings() {
		if slices.ContainsFunc(p.codes, func(epc byte) bool { return !s.meter.gives(epc) }) {
			continue
		}
		if s.meter.mapped && slices.ContainsFunc(p.codes, func(epc byte) bool { return !s.meter.sets.Has(epc) }) {
			p.Access = drivers.Readable
		}
		list = append(list, p.Parameter)
	}
	return list
}

// setting is the one that a parameter names.
func (s *session) setting(name string) (setting, error) {
	for _, p := range settings() {
		if p.Name == name {
			return p, nil
		}
	}
	return setting{}, fmt.Errorf("%w: there is no parameter %.32s", drivers.ErrValue, name)
}

// Get reads a parameter from the meter.
func (s *session) Get(ctx context.Context, p drivers.Parameter) (drivers.Value, error) {
	defer drivers.WakeOnEnd(ctx, s.line)()
	return s.readSetting(ctx, p.Name)
}

func (s *session) readSetting(ctx context.Context, name string) (v drivers.Value, err error) {
	p, err := s.setting(name)
	if err != nil {
		return v, err
	}
	list, err := s.get(ctx, Meter, p.codes...)
	if err != nil {
		return v, err
	}
	if len(list) < len(p.codes) {
		return v, fmt.Errorf("%s: %s: the meter has none: %w", s.line, name, drivers.ErrRefused)
	}
	v, ok := p.value(list)
	if !ok {
		return v, fmt.Errorf("%s: %s: %w: %w", s.line, name, errUnreadable, drivers.ErrSyntax)
	}
	return v, nil
}

// value is what properties say of the parameter; false: they say nothing of it.
func (p *setting) value(list []Property) (v drivers.Value, ok bool) {
	list = slices.DeleteFunc(slices.Clone(list), func(x Property) bool { return len(x.EDT) == 0 })
	v = drivers.Value{Code: p.Code, Name: p.Name, Kind: p.Kind}
	return v, len(list) >= len(p.codes) && p.parse(list, &v)
}

// Set writes a parameter and reads it back.
func (s *session) Set(ctx context.Context, p drivers.Parameter, v drivers.Value) (drivers.Value, error) {
	defer drivers.WakeOnEnd(ctx, s.line)()
	own, err := s.setting(p.Name)
	if err != nil {
		return drivers.Value{}, err
	}
	if err := own.Validate(v); err != nil {
		return drivers.Value{}, err
	}
	list, err := own.encode(v)
	if err != nil {
		return drivers.Value{}, err
	}
	told, err := s.order(ctx, list...)
	if err != nil {
		return drivers.Value{}, err
	}
	if back, ok := own.value(told); ok {
		return back, nil
	}
	back, err := s.readSetting(ctx, p.Name)
	if err != nil {
		err = fmt.Errorf("%w: %w", drivers.ErrUnconfirmed, err)
	}
	return back, err
}

// parse makes a value of properties, of which there are as many as the parameter has.
func (p *setting) parse(list []Property, v *drivers.Value) bool {
	by := map[byte][]byte{}
	for _, x := range list {
		by[x.EPC] = x.EDT
	}
	switch p.Name {
	case paramClock:
		own := values{date: by[epcDate], clock: by[epcTime]}
		v.Moment = own.stamp()
		return !v.Moment.IsZero()
	case paramLocation:
		var ok bool
		v.Text, ok = parseLocation(by[epcLocation])
		return ok
	case paramOperation:
		own := values{}
		if !own.add(Property{epcOperation, by[epcOperation]}) || len(own.list) == 0 {
			return false
		}
		v.Number = own.list[0].Number
		return true
	case paramDay:
		return len(by[epcDay]) == 1 && v.SetScaled(int64(by[epcDay][0]), 0) == nil
	}
	sel, err := ParseSelection(by[p.codes[0]])
	v.Text = sel.String()
	return err == nil
}

// encode is a value as properties.
func (p *setting) encode(v drivers.Value) ([]Property, error) {
	switch p.Name {
	case paramClock:
		b := appendStamp(nil, inJapan(v.Moment))
		return []Property{{epcDate, b[:4]}, {epcTime, b[4:6]}}, nil
	case paramLocation:
		b, err := encodeLocation(v.Text)
		return []Property{{epcLocation, b}}, err
	case paramOperation:
		if v.Number.Sign() == 0 {
			return []Property{{epcOperation, []byte{0x31}}}, nil
		}
		return []Property{{epcOperation, []byte{0x30}}}, nil
	case paramDay:
		n, err := strconv.Atoi(v.Number.String())
		if err != nil || n < 0 || n > oldestDay {
			return nil, fmt.Errorf("%w: %s: want a whole number up to %d", drivers.ErrValue, p.Name, oldestDay)
		}
		return []Property{{epcDay, []byte{byte(n)}}}, nil
	}
	sel, err := parseSelectionText(v.Text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: want a time and a count, as in \"2026-01-15T12:30 10\"", drivers.ErrValue, p.Name)
	}
	b, err := sel.Encode(p.codes[0])
	return []Property{{p.codes[0], b}}, err
}

// inJapan is a moment as the meter's clock shows it: digits without an offset are
// Japan's.
func inJapan(at drivers.Stamp) time.Time {
	if at.Zoned {
		return at.Wall
	}
	w := at.Wall
	return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, japan)
}

const (
	selectionLayout = "2006-01-02T15:04"
	selectionLen    = len(selectionLayout) + len(" 12")
)

// String is the selection as "2026-01-15T12:30 12", "never 1" if none was made.
func (s Selection) String() string {
	if s.Newest.IsZero() {
		return "never " + strconv.Itoa(s.Rows)
	}
	return s.Newest.In(japan).Format(selectionLayout) + " " + strconv.Itoa(s.Rows)
}

func parseSelectionText(text string) (s Selection, err error) {
	at, count, _ := strings.Cut(text, " ")
	if s.Newest, err = time.ParseInLocation(selectionLayout, at, japan); err != nil {
		return s, err
	}
	s.Rows, err = strconv.Atoi(count)
	return s, err
}
