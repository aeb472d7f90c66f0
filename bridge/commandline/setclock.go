package commandline

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/meter2mqtt/meter2mqtt/bridge"
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// clockParameter is the Parameter that every driver calls a meter's clock.
const clockParameter = "clock"

func setClockCommand() *cobra.Command {
	var (
		flags configFlags
		every bool
		limit time.Duration
	)
	cmd := &cobra.Command{
		Use:   "set-clock -c config.toml --all | METER...",
		Short: "Set the clocks of meters to this machine's time, without a broker",
		Long: `Sets the clocks of the named meters one after the other, or of all meters whose
write = [...] in the configuration names the clock, reads them back and prints a
result a meter. Exits 1 unless all are set. Mind that this machine's own clock is
right, and that many meters allow their clock to be moved by a little a day only.`,
		Example: `  meter2mqtt set-clock -c config.toml --all
  meter2mqtt set-clock -c config.toml heat water`,
		RunE: working(func(cmd *cobra.Command, args []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			meters, err := clocksOf(c, args, every)
			if err != nil {
				return err
			}
			return setClocks(cmd.Context(), cmd.OutOrStdout(), meters, limit, newLogger(c.Log))
		}),
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&every, "all", false, "every meter whose clock may be set")
	cmd.Flags().DurationVar(&limit, "timeout", time.Minute, "give up on a meter after this long")
	return cmd
}

// clocksOf are the meters that are meant: those named, or all that may be set.
func clocksOf(c config.Config, names []string, every bool) (meters []config.Meter, err error) {
	if every == (len(names) > 0) {
		return nil, usage{errors.New("which meters? name them, or give --all")}
	}
	for _, name := range names {
		m, err := meterNamed(c, name)
		if err != nil {
			return nil, err
		}
		meters = append(meters, m)
	}
	if !every {
		return meters, nil
	}
	for _, m := range c.Meters {
		if slices.Contains(m.Write, clockParameter) {
			meters = append(meters, m)
		}
	}
	if len(meters) == 0 {
		return nil, drivers.WithHint(errors.New("no meter's clock may be set"), `name it in the meter's table: write = ["clock"]`)
	}
	return meters, nil
}

// meterResult is the result of one meter among several.
type meterResult struct {
	Meter string `json:"meter"`
	bridge.Result
}

// setClocks sets one clock after the other: meters may share a line. One that
// fails does not keep the others from theirs.
func setClocks(ctx context.Context, out io.Writer, meters []config.Meter, limit time.Duration, log zerolog.Logger) error {
	var failures []error
	for _, m := range meters {
		if ctx.Err() != nil {
			break
		}
		limited, cancel := context.WithTimeout(ctx, limit)
		result, failure := bridge.WriteOnce(limited, m, clockParameter, "now", log)
		cancel()
		failures = append(failures, failure)
		if err := json.NewEncoder(out).Encode(meterResult{m.Name, result}); err != nil {
			return err
		}
	}
	return errors.Join(append(failures, ctx.Err())...)
}
