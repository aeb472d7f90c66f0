package commandline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

func portsCommand() *cobra.Command {
	var probe bool
	cmd := &cobra.Command{
		Use:   "ports [--probe [PORT...]]",
		Short: "Serial ports by a name that stays, and what they are",
		Long: `Lists serial ports. With --probe it listens to each of them, or to those that are
named, tells the protocol, speed and parity of a meter that speaks by itself, and
writes what to copy into the configuration. It sends nothing. A port takes about a
minute at most.`,
		Example: `  meter2mqtt ports
  meter2mqtt ports --probe
  meter2mqtt ports --probe /dev/ttyUSB0
  meter2mqtt ports --probe tcp://192.0.2.7:23`,
		RunE: working(func(cmd *cobra.Command, args []string) error {
			if !probe && len(args) > 0 {
				return usage{errors.New("ports: a port is named only with --probe")}
			}
			if len(args) > 0 {
				return probePorts(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
			}
			ports, err := transport.List()
			if err != nil {
				return err
			}
			if !probe {
				return printPorts(cmd.OutOrStdout(), ports)
			}
			for _, p := range ports {
				args = append(args, p.Path)
			}
			if len(args) == 0 {
				return errors.New("no serial port found")
			}
			return probePorts(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
		}),
	}
	cmd.Flags().BoolVar(&probe, "probe", false, "listen, and tell protocol, speed and parity")
	return cmd
}

// probePorts listens to ports, one after the other. It fails if nothing was found
// on any of them.
func probePorts(ctx context.Context, out, notes io.Writer, names []string) error {
	found := false
	for _, name := range names {
		p, err := transport.ParsePort(name, all.Auto.Mode)
		if err != nil {
			return usage{err}
		}
		fmt.Fprintf(notes, "listening to %s, for a minute at most\n", p)
		f, err := probe(ctx, p)
		if ctx.Err() != nil {
			break // Ctrl-C
		}
		switch {
		case err != nil:
			printError(fmt.Errorf("%s: %w", p, err))
		case f.Telegrams == 0:
			printError(drivers.WithHint(fmt.Errorf("%s: %d bytes in %s: no telegram is whole", p, f.Bytes, f.Mode), f.Nearly()))
		default:
			found = true
			if err := printFound(out, p, f); err != nil {
				return err
			}
		}
	}
	if !found && ctx.Err() == nil {
		return errTold
	}
	return nil
}

func probe(ctx context.Context, p transport.Port) (all.Found, error) {
	line, err := transport.Open(ctx, p)
	if err != nil {
		return all.Found{}, err
	}
	f, err := all.Listen(ctx, line, 1)
	return f, errors.Join(err, line.Close())
}

// printFound prints the table of a meter that was found.
func printFound(out io.Writer, p transport.Port, f all.Found) error {
	where := "its own mode"
	if f.Mode.Baud > 0 {
		p.Mode = f.Mode
		where = f.Mode.String()
	}
	if f.Parity && f.Mode.Baud == 0 {
		where = "7E1 read as 8N1: set the converter to 7E1"
	}
	fmt.Fprintf(out, "# %s: %d telegram(s) of %s in %s\n[[meter]]\nname = \"meter\"\n", p, f.Telegrams, f.Driver.Name, where)
	for _, line := range f.Lines() {
		fmt.Fprintln(out, line)
	}
	_, err := fmt.Fprintf(out, "port = %q\n", p.String())
	return err
}
