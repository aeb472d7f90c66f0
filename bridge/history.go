package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// ErrNoLog says that a meter keeps no log that can be read.
var ErrNoLog = errors.New("the meter keeps no log that can be read")

// HistoryOnce reads a meter's own log once, without a broker, oldest row first.
// Rows are as the meter sent them: factors and plausibility are not applied.
func HistoryOnce(ctx context.Context, m config.Meter, from, to time.Time, each func(*drivers.Reading) error) error {
	if m.Driver.Push() {
		return drivers.WithHint(fmt.Errorf("meter %s: %w", m.Name, ErrNoLog),
			"meters of driver "+m.Driver.Name+" speak unasked and answer nothing")
	}
	line, err := transport.Open(ctx, m.Port)
	if err != nil {
		return err
	}
	defer line.Close()
	session, err := m.Driver.Dial(ctx, line, m.Options, drivers.Zones{Meter: m.Timezone, Host: time.Local})
	if err != nil {
		return err
	}
	historian, ok := session.(drivers.Historian)
	if !ok {
		err = fmt.Errorf("meter %s: %w", m.Name, ErrNoLog)
	} else {
		err = historian.History(ctx, from, to, func(r *drivers.Reading) error {
			r.Received = time.Now()
			return each(r)
		})
	}
	return errors.Join(err, session.Close(context.WithoutCancel(ctx)))
}
