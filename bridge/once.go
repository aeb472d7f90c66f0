package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// ErrMissing says that a meter did not give all that was asked for.
var ErrMissing = errors.New("not among what the meter gave")

// Wanted is what is to be read of a meter.
type Wanted struct {
	Codes      []obis.Code
	Parameters []string // by name
}

// ParseWanted reads codes and names of Parameters. An error names what is neither.
func ParseWanted(m config.Meter, words []string) (w Wanted, err error) {
	for _, word := range words {
		code, err := obis.Parse(word)
		if err == nil {
			w.Codes = append(w.Codes, code)
			continue
		}
		if m.Driver.Push() {
			return w, fmt.Errorf("%w; meters of driver %s have no parameters", err, m.Driver.Name)
		}
		if known := m.Driver.Parameters; known != nil {
			if _, none := find(known(m.Options), word); none != nil {
				return w, fmt.Errorf("%w; %w", err, none)
			}
		}
		w.Parameters = append(w.Parameters, word)
	}
	return w, nil
}

// Once reads one meter, without a broker: an asked one is asked, of a pushing one
// telegrams are taken until all that is wanted has come. each gets every reading;
// the Parameters make one of their own. The zero Wanted is one reading, whatever is
// in it. ctx bounds the wait.
func Once(ctx context.Context, m config.Meter, wanted Wanted, each func(*drivers.Reading) error) error {
	want := wanted.Codes
	line, err := transport.Open(ctx, m.Port)
	if err != nil {
		return err
	}
	defer line.Close()
	zones := drivers.Zones{Meter: m.Timezone, Host: time.Local}
	missing := slices.Clone(want)
	take := func(r *drivers.Reading) error {
		for _, v := range r.Values {
			missing = slices.DeleteFunc(missing, func(c obis.Code) bool { return c == v.Code })
		}
		return each(r)
	}
	if m.Driver.Push() {
		err = listenOnce(ctx, line, m, zones, take, func() bool { return len(missing) == 0 })
	} else {
		err = askOnce(ctx, line, m, wanted, take)
	}
	if err == nil && len(missing) > 0 {
		err = missingError(missing)
	}
	return err
}

func missingError(missing []obis.Code) error {
	names := make([]string, len(missing))
	for i, c := range missing {
		names[i] = c.String()
	}
	return fmt.Errorf("%s: %w", strings.Join(names, ", "), ErrMissing)
}

func askOnce(ctx context.Context, line drivers.Line, m config.Meter, want Wanted, take func(*drivers.Reading) error) error {
	session, err := m.Driver.Dial(ctx, line, m.Options, drivers.Zones{Meter: m.Timezone, Host: time.Local})
	if err != nil {
		return err
	}
	if len(want.Codes) > 0 || len(want.Parameters) == 0 {
		err = readOnce(ctx, session, want.Codes, take)
	}
	if err == nil && len(want.Parameters) > 0 {
		err = getOnce(ctx, session, want.Parameters, take)
	}
	return errors.Join(err, session.Close(context.WithoutCancel(ctx)))
}

func readOnce(ctx context.Context, session drivers.Session, want []obis.Code, take func(*drivers.Reading) error) error {
	var r drivers.Reading
	if err := session.Read(ctx, want, &r); err != nil {
		return err
	}
	r.Received = time.Now()
	return take(&r)
}

// getOnce reads Parameters. Those that can be had are given though others cannot.
func getOnce(ctx context.Context, session drivers.Session, names []string, take func(*drivers.Reading) error) error {
	var (
		r    drivers.Reading
		errs []error
	)
	for _, name := range names {
		o := getParameter(ctx, session, name)
		if o.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, o.err))
			continue
		}
		o.back.Name = name
		r.Values = append(r.Values, o.back)
	}
	if len(r.Values) > 0 {
		r.Meter, _, _ = session.Describe()
		r.Received = time.Now()
		errs = append(errs, take(&r))
	}
	return errors.Join(errs...)
}

// WriteOnce writes a Parameter, without a broker, if the configuration lets it: the
// value is a text as on BASE/METER/set/PARAMETER. The Result is always whole; the
// error is why it is not ok.
func WriteOnce(ctx context.Context, m config.Meter, name, value string, log zerolog.Logger) (Result, error) {
	arg := argument{value, true}
	o := writeOnce(ctx, m, name, arg)
	r := resultOf(name, nil, true, o)
	audit(log.With().Str("meter", m.Name).Logger(), "command line", arg, o, r)
	if o.err != nil && o.parameter.Secret {
		return r, errors.New(r.Error)
	}
	return r, o.err
}

func writeOnce(ctx context.Context, m config.Meter, name string, arg argument) outcome {
	unsent := func(err error) outcome { return outcome{err: fmt.Errorf("%w: %w", drivers.ErrUnsent, err)} }
	switch {
	case m.Driver.Push():
		return unsent(errDeaf)
	case !allows(m, name):
		return unsent(errNotAllowed)
	}
	if known := m.Driver.Parameters; known != nil {
		p, err := find(known(m.Options), name)
		if err == nil {
			_, err = arg.value(p, stampNow(m.Timezone))
		}
		if err != nil {
			return outcome{parameter: p, err: err}
		}
	}
	line, err := transport.Open(ctx, m.Port)
	if err != nil {
		return unsent(err)
	}
	defer line.Close()
	session, err := m.Driver.Dial(ctx, line, m.Options, drivers.Zones{Meter: m.Timezone, Host: time.Local})
	if err != nil {
		return unsent(err)
	}
	defer func() { _ = session.Close(context.WithoutCancel(ctx)) }() // it was answered
	return setParameter(ctx, session, name, arg, m.Timezone, func() error { return nil })
}

// errEnough ends listening.
var errEnough = errors.New("all that was wanted has come")

// listenOnce takes telegrams until enough says that all has come.
func listenOnce(
	ctx context.Context, line drivers.Line, m config.Meter, zones drivers.Zones,
	take func(*drivers.Reading) error, enough func() bool,
) error {
	decoder, err := m.Driver.NewDecoder(m.Options, zones)
	if err != nil {
		return err
	}
	if _, err := tune(ctx, line, m); err != nil {
		return err
	}
	heard, lost := false, error(nil)
	listener := drivers.Listener{
		Line: line, Decoder: decoder, Gap: m.Driver.Gap, Quiet: m.Driver.Quiet,
		Reading: func(r *drivers.Reading) error {
			heard = true
			if err := take(r); err != nil {
				return err
			}
			if enough() {
				return errEnough
			}
			return nil
		},
		Lost: func(e *drivers.FrameError) { lost = e.Clone() },
	}
	err = listener.Run(ctx)
	switch {
	case errors.Is(err, errEnough):
		return nil
	case err != nil:
		return err
	case heard:
		return nil // in time, though not with everything
	case lost != nil:
		return fmt.Errorf("no good telegram came: the last one was lost: %w", lost)
	}
	return drivers.WithHint(fmt.Errorf("no telegram came: %w", drivers.ErrTimeout), m.Driver.Hint)
}
