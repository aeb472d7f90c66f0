package commandline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// scanPlan is what a search looks for and how far it has come, as the file of
// --resume holds it.
type scanPlan struct {
	Driver string   `json:"driver"`
	Port   string   `json:"port"`
	Ways   []string `json:"ways,omitempty"`
	Bauds  []int    `json:"bauds,omitempty"`
	Set    []string `json:"set,omitempty"`
	State  string   `json:"state,omitempty"`
}

// usualResume is the file for who names none.
const usualResume = "meter2mqtt-scan.json"

func scanCommand() *cobra.Command {
	var (
		plan   scanPlan
		resume string
	)
	ways := map[string]*bool{}
	cmd := &cobra.Command{
		Use:   "scan --driver NAME --port PORT",
		Short: "Find the meters of a line and write their configuration",
		Long: `Asks a line who is there. Each meter that is found is a [[meter]] table on stdout,
ready to be pasted into config.toml; what cannot be told apart is a comment there.
Progress goes to stderr.

Ctrl-C ends a search; what it prints then goes on from there on another day. A line
that a running gateway has is searched with a request on its topic bridge/request/scan.`,
		Example: `  meter2mqtt scan --driver mbus --port /dev/ttyUSB0
  meter2mqtt scan --driver mbus --port tcp://192.0.2.7:10001 --secondary >> config.toml
  meter2mqtt scan --driver mbus --port /dev/ttyUSB0 --primary --baud 300,2400,9600
  meter2mqtt scan --driver mbus --port /dev/ttyUSB0 --secondary --set secondary=30FFFFFF
  meter2mqtt scan --resume ` + usualResume,
		Args: cobra.NoArgs,
		RunE: working(func(cmd *cobra.Command, _ []string) error {
			for _, way := range searchWays() {
				if *ways[way] {
					plan.Ways = append(plan.Ways, way)
				}
			}
			if err := plan.recall(resume); err != nil {
				return err
			}
			d, err := plan.driver()
			if err != nil {
				return err
			}
			show := newScanShow(cmd.OutOrStdout(), cmd.ErrOrStderr(), term.IsTerminal(int(os.Stderr.Fd())))
			err = plan.run(cmd.Context(), d, show)
			show.end()
			return plan.part(cmd.Context(), err, resume, show)
		}),
	}
	cmd.Flags().StringVar(&plan.Driver, "driver", "mbus", "one of "+strings.Join(searchingDrivers(), ", "))
	cmd.Flags().StringVar(&plan.Port, "port", "", "the line: a path, serial://, tcp://host:port, rfc2217://host:port")
	for _, way := range searchWays() {
		ways[way] = cmd.Flags().Bool(way, false, "search by "+way+" addresses (default: every way that the driver knows)")
	}
	cmd.Flags().IntSliceVar(&plan.Bauds, "baud", nil, "speeds to look at, one after the other (default: the port's)")
	cmd.Flags().StringArrayVar(&plan.Set, "set", nil, "a key of the driver's configuration, KEY=VALUE: timeout=1s, wake=2.2s")
	cmd.Flags().StringVar(&resume, "resume", "", "file of a search that was stopped: goes on from there, and is written when this one is stopped")
	return cmd
}

// searchingDrivers are the drivers that can search a line.
func searchingDrivers() []string {
	var names []string
	for _, d := range all.Drivers {
		if d.Scan != nil {
			names = append(names, d.Name)
		}
	}
	return names
}

// searchWays are the ways that any driver knows.
func searchWays() []string {
	var ways []string
	for _, d := range all.Drivers {
		for _, w := range d.Ways {
			if !slices.Contains(ways, w) {
				ways = append(ways, w)
			}
		}
	}
	return ways
}

// recall reads the plan of a search that was stopped. A file that is not there yet
// is where a new one will be kept.
func (p *scanPlan) recall(file string) error {
	b, err := os.ReadFile(file)
	switch {
	case file == "" || errors.Is(err, os.ErrNotExist) && p.Port != "":
		return nil
	case err != nil:
		return fmt.Errorf("--resume: %w", err)
	}
	var old scanPlan
	if err := json.Unmarshal(b, &old); err != nil {
		return fmt.Errorf("--resume: %s is no file of a stopped search: %w", file, err)
	}
	if p.Port != "" && p.Port != old.Port || len(p.Ways) > 0 && !slices.Equal(p.Ways, old.Ways) || len(p.Bauds) > 0 && !slices.Equal(p.Bauds, old.Bauds) {
		return usage{fmt.Errorf("--resume: %s is of another search: leave the other flags out, or remove the file to begin anew", file)}
	}
	*p = old
	return nil
}

func (p *scanPlan) driver() (drivers.Driver, error) {
	if p.Port == "" {
		return drivers.Driver{}, usage{errors.New("which line? give --port, as in --port /dev/ttyUSB0")}
	}
	d, ok := all.ByName(p.Driver)
	if !ok || d.Scan == nil {
		return d, usage{fmt.Errorf("driver %.20q cannot search a line: %s can", p.Driver, strings.Join(searchingDrivers(), ", "))}
	}
	for _, w := range p.Ways {
		if !slices.Contains(d.Ways, w) {
			return d, usage{fmt.Errorf("driver %s cannot search by %s addresses: it knows %s", d.Name, w, strings.Join(d.Ways, ", "))}
		}
	}
	return d, nil
}

// run searches until the end, or the end of ctx.
func (p *scanPlan) run(ctx context.Context, d drivers.Driver, show *scanShow) error {
	options, err := config.DriverOptions(d, p.Set)
	if err != nil {
		return err
	}
	port, err := transport.ParsePort(p.Port, d.Mode)
	if err != nil {
		return usage{err}
	}
	line, err := transport.Open(ctx, port)
	if err != nil {
		return err
	}
	defer line.Close()
	tables := config.Tables{Driver: d.Name, Port: p.Port}
	return d.Scan(ctx, line, options, drivers.Search{
		Ways: p.Ways, Bauds: p.Bauds, Resume: p.State,
		Found: func(f drivers.Found) error { return show.found(tables.Table(f), f.Doubt == "") },
		Progress: func(at drivers.Progress) {
			p.State = at.State
			show.progress(at, time.Now())
		},
	})
}

// part ends a search: a whole one needs no file any more, a stopped one is kept.
func (p *scanPlan) part(ctx context.Context, err error, file string, show *scanShow) error {
	stopped := ctx.Err() != nil && errors.Is(err, ctx.Err())
	switch {
	case err == nil:
		show.note("%s", found(show.count))
		if file != "" {
			_ = os.Remove(file) // gone already, or was never written
		}
		return nil
	case p.State == "":
		if stopped {
			return nil
		}
		return err
	}
	if file == "" {
		file = usualResume
	}
	b, errState := json.Marshal(p)
	if errState == nil {
		errState = os.WriteFile(file, append(b, '\n'), 0o600)
	}
	if errState != nil {
		return errors.Join(err, fmt.Errorf("the search cannot be kept for another day: %w", errState))
	}
	show.note("%s so far; to go on: meter2mqtt scan --resume %s", found(show.count), file)
	if stopped {
		return nil
	}
	return err
}

func found(n int) string {
	if n == 1 {
		return "1 meter found"
	}
	return fmt.Sprintf("%d meters found", n)
}

// scanShow shows a search: tables on out, progress on notes, as a bar where that is
// a terminal.
type scanShow struct {
	out, notes io.Writer
	bar        *progressbar.ProgressBar // nil: lines

	begun time.Time // the first progress
	from  float64   // and how far it was
	told  time.Time // the last line
	count int
}

const (
	barSteps  = 10_000
	lineEvery = 10 * time.Second
)

func newScanShow(out, notes io.Writer, terminal bool) *scanShow {
	s := &scanShow{out: out, notes: notes}
	if terminal {
		s.bar = progressbar.NewOptions(barSteps,
			progressbar.OptionSetWriter(notes), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetWidth(24), progressbar.OptionClearOnFinish())
	}
	return s
}

// found prints a table, above the bar if there is one.
func (s *scanShow) found(table string, meter bool) error {
	if meter {
		s.count++
	}
	if s.bar != nil {
		_ = s.bar.Clear() // a terminal that does not take it shows no bar
	}
	_, err := fmt.Fprintln(s.out, table)
	return err
}

// progress shows how far a search is and how long it will take. What was done on
// another day does not count for that.
func (s *scanShow) progress(p drivers.Progress, now time.Time) {
	if s.begun.IsZero() {
		s.begun, s.from = now, p.Done
	}
	text := p.At + left(p.Done-s.from, 1-p.Done, now.Sub(s.begun))
	if s.bar != nil {
		s.bar.Describe(text)
		_ = s.bar.Set(int(p.Done * barSteps))
		return
	}
	if now.Sub(s.told) < lineEvery {
		return
	}
	s.told = now
	s.note("%.0f %%, %s, %s", 100*p.Done, text, found(s.count))
}

// left says how long the rest takes if it goes on like this, as soon as that can
// be told.
func left(done, rest float64, took time.Duration) string {
	if done < 0.002 || took < time.Second {
		return ""
	}
	d := time.Duration(float64(took) * rest / done)
	if d > 100*time.Hour {
		return ""
	}
	return ", " + d.Round(time.Second).String() + " left"
}

func (s *scanShow) end() {
	if s.bar != nil {
		_ = s.bar.Clear()
	}
}

func (s *scanShow) note(format string, args ...any) { fmt.Fprintf(s.notes, format+"\n", args...) }
