package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// ErrMissing says that a meter did not give all that was asked for.
var ErrMissing = errors.New("not among what the meter gave")

// Once reads one meter, without a broker: an asked one is asked, of a pushing one
// telegrams are taken until all that is wanted has come. each gets every reading.
// want nil: one reading, whatever is in it. ctx bounds the wait.
func Once(ctx context.Context, m config.Meter, want []obis.Code, each func(*drivers.Reading) error) error {
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
		err = askOnce(ctx, line, m, zones, want, take)
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

func askOnce(
	ctx context.Context, line drivers.Line, m config.Meter, zones drivers.Zones,
	want []obis.Code, take func(*drivers.Reading) error,
) error {
	session, err := m.Driver.Dial(ctx, line, m.Options, zones)
	if err != nil {
		return err
	}
	var r drivers.Reading
	err = session.Read(ctx, want, &r)
	if err == nil {
		r.Received = time.Now()
		err = take(&r)
	}
	return errors.Join(err, session.Close(context.WithoutCancel(ctx)))
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
