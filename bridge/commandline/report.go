package commandline

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/meter2mqtt/meter2mqtt/bridge"
)

func reportCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "report -c config.toml FILE",
		Short: "One file for a bug report: configuration and refused frames, masked",
		Long: `Asks the running gateway for a report and writes it to a file: version,
configuration, and the last frames of each meter that were refused, with the
reason. Ids, keys and passwords are masked by as many characters, and ciphered
frames are enciphered anew under keys that stand in for the meter's and that the
file shows, so nothing in it is of use to who has the meter's keys; look at the
file before you send it. Without a running gateway it holds no frames.

Whoever gets it can play it back: the masked frames are refused for the same
reasons.`,
		Example: `  meter2mqtt report -c config.toml report.jsonl
  meter2mqtt decode --driver p1 --meter main report.jsonl
  meter2mqtt decode --driver p1 --explain report.jsonl
  METER2MQTT_METER__main__PORT='replay:report.jsonl?speed=10&meter=main' meter2mqtt read -c config.toml main`,
		Args: cobra.ExactArgs(1),
		RunE: working(func(cmd *cobra.Command, args []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			var b bytes.Buffer
			err = bridge.FetchReport(cmd.Context(), bridge.StateDir(string(c.State.Dir)), &b)
			if errors.Is(err, bridge.ErrNoGateway) {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %v: the report holds no frames\n", err)
				b.Reset()
				err = bridge.ReportConfig(&b, c, build.Version)
			}
			if err != nil {
				return err
			}
			if err := os.WriteFile(args[0], b.Bytes(), 0o600); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes; ids, keys and passwords are masked\n", args[0], b.Len())
			return err
		}),
	}
	flags.register(cmd)
	return cmd
}
