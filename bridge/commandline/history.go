package commandline

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meter2mqtt/meter2mqtt/bridge"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func historyCommand() *cobra.Command {
	var (
		flags            configFlags
		from, to, format string
		file             string
		limit            time.Duration
	)
	cmd := &cobra.Command{
		Use:   "history -c config.toml METER --from TIME [--to TIME]",
		Short: "Read a meter's own log, without a broker",
		Long: `Reads the log that a meter keeps, oldest row first: load profiles, archives,
half-hourly registers. Rows are printed as decode prints readings, or as CSV with
one line a value. A time is 2026-10-25, 2026-10-25T02:30 (by the meter's timezone,
or else this machine's) or 2026-10-25T02:30:00+02:00.`,
		Example: `  meter2mqtt history -c config.toml main --from 2026-10-24 --to 2026-10-26
  meter2mqtt history -c config.toml main --from 2026-11-01 --format csv -o november.csv`,
		Args: cobra.ExactArgs(1),
		RunE: working(func(cmd *cobra.Command, args []string) error {
			_, m, err := flags.meter(args[0])
			if err != nil {
				return err
			}
			span, err := parseSpan(from, to, cmp.Or(m.Timezone, time.Local), time.Now())
			if err != nil {
				return usage{err}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			return writeTo(file, cmd.OutOrStdout(), func(out io.Writer) error {
				rows, err := newRows(format, out)
				if err != nil {
					return err
				}
				if err := bridge.HistoryOnce(ctx, m, span[0], span[1], rows.print); err != nil {
					_ = rows.end() // what came before it is a beginning
					return err
				}
				return rows.end()
			})
		}),
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&from, "from", "", "the beginning")
	cmd.Flags().StringVar(&to, "to", "", "the end (default: now)")
	cmd.Flags().StringVar(&format, "format", "jsonl", "jsonl or csv")
	cmd.Flags().StringVarP(&file, "output", "o", "", "file to write, in place of stdout")
	cmd.Flags().DurationVar(&limit, "timeout", time.Hour, "give up after this long")
	_ = cmd.MarkFlagRequired("from")
	return cmd
}

// parseSpan reads both ends of a time.
func parseSpan(from, to string, zone *time.Location, now time.Time) (span [2]time.Time, err error) {
	if span[0], err = parseTime(from, zone); err != nil {
		return span, fmt.Errorf("--from: %w", err)
	}
	if span[1] = now; to != "" {
		if span[1], err = parseTime(to, zone); err != nil {
			return span, fmt.Errorf("--to: %w", err)
		}
	}
	if !span[0].Before(span[1]) {
		return span, fmt.Errorf("--from %s is not before --to %s", span[0].Format(time.RFC3339), span[1].Format(time.RFC3339))
	}
	return span, nil
}

func parseTime(text string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, strings.Replace(text, " ", "T", 1), zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time: write 2026-10-25, 2026-10-25T02:30 or 2026-10-25T02:30:00+02:00", text)
}

// writeTo has something written to a file, or to out if none is named.
func writeTo(file string, out io.Writer, write func(io.Writer) error) error {
	if file == "" {
		return write(out)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// rows prints the rows of a log.
type rows struct {
	print func(*drivers.Reading) error
	end   func() error
}

func newRows(format string, out io.Writer) (rows, error) {
	switch format {
	case "jsonl":
		p := printer{out: bufio.NewWriter(out)}
		return rows{p.print, p.out.Flush}, nil
	case "csv":
		w := csv.NewWriter(out)
		return rows{
			func(r *drivers.Reading) error { return writeCSV(w, r) },
			func() error { w.Flush(); return w.Error() },
		}, w.Write([]string{"time", "obis", "name", "value", "unit"})
	}
	return rows{}, usage{fmt.Errorf("--format %.20q: want jsonl or csv", format)}
}

// writeCSV writes a line a value.
func writeCSV(w *csv.Writer, r *drivers.Reading) error {
	for i := range r.Values {
		v := &r.Values[i]
		at, code := r.Time, ""
		if !v.Time.IsZero() {
			at = v.Time
		}
		if !v.Code.IsZero() {
			code = v.Code.String()
		}
		if err := w.Write([]string{at.String(), code, v.Name, plainValue(v), string(v.Unit)}); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// plainValue is a value without JSON's quotes.
func plainValue(v *drivers.Value) string {
	if v.Kind == drivers.Text {
		return v.Text
	}
	return strings.Trim(string(v.AppendPayload(nil)), `"`)
}
