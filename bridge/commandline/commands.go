// Package commandline is what people type: the program's commands, each with its
// flags, help and examples.
package commandline

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/meter2mqtt/meter2mqtt/bridge"
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/demo"
	"github.com/meter2mqtt/meter2mqtt/bridge/service"
	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// Build says what was built.
type Build struct {
	Version, Commit, Date string
}

// build is the one that runs: Run sets it.
var build = Build{"devel", "unknown", "unknown"}

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Run runs one command line and gives its exit code.
func Run(ctx context.Context, b Build, args []string) int {
	build = b
	return execute(ctx, rootCommand(), args) //nolint:contextcheck // each command has it from execute
}

// execute runs one command line. Results go to stdout; errors, each with its
// remedy, to stderr.
func execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if f, ok := errors.AsType[failed](err); ok {
		if !errors.Is(f, errTold) {
			printError(f.error)
		}
		return exitFailed
	}
	printError(err)
	fmt.Fprintf(os.Stderr, "hint: %s --help\n", command.CommandPath())
	return exitUsage
}

// failed marks an error of the work itself, as opposed to one of the command
// line.
type failed struct{ error }

func (f failed) Unwrap() error { return f.error }

// errTold is a failure of which all was said already.
var errTold = errors.New("the errors were told")

// working runs a command's work and marks its errors.
func working(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd, args); err != nil {
			if _, ok := errors.AsType[usage](err); ok {
				return err
			}
			return failed{err}
		}
		return nil
	}
}

// usage is an error of the command line that only the work could find.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// printError prints an error with its remedy; of a configuration, every mistake.
func printError(err error) {
	c, ok := errors.AsType[*config.Error](err)
	if !ok {
		printLines(err.Error(), drivers.Hint(err))
		return
	}
	for _, m := range c.Mistakes {
		remedy := m.Remedy
		m.Remedy = ""
		printLines(m.String(), remedy)
	}
}

func printLines(text, hint string) {
	fmt.Fprintf(os.Stderr, "error: %s\n", text)
	if hint != "" {
		fmt.Fprintf(os.Stderr, "hint: %s\n", hint)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "meter2mqtt",
		Short: "Utility meters to MQTT and Home Assistant",
		Long: `meter2mqtt reads utility meters and publishes them on MQTT, announced to Home
Assistant. Try it without a meter:

  meter2mqtt demo

With a meter, write config.toml (config.example.toml explains every key), then:

  meter2mqtt check -c config.toml
  meter2mqtt run -c config.toml`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(runCommand(), demoCommand(), checkCommand(), decodeCommand(), readCommand(), scanCommand(), writeCommand(),
		setClockCommand(), historyCommand(), simulateCommand(), recordCommand(), portsCommand(), reportCommand(), healthCommand(), versionCommand())
	return root
}

// configFlags are the flags of the commands that read a configuration.
type configFlags struct{ file, options string }

func (f *configFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration file (TOML)")
	cmd.Flags().StringVar(&f.options, "options", "", "options file of the Home Assistant app (JSON), in place of or beside -c")
}

func (f *configFlags) load() (config.Config, error) {
	switch none := f.file == "" && f.options == ""; {
	case none && config.IsApp():
		return config.LoadApp(os.Environ())
	case none:
		return config.Config{}, usage{errors.New("which configuration? give -c config.toml")}
	}
	return config.Load(f.file, os.Environ(), f.options)
}

// meter is one meter of the configuration, and the whole of it.
func (f *configFlags) meter(name string) (config.Config, config.Meter, error) {
	c, err := f.load()
	if err != nil {
		return c, config.Meter{}, err
	}
	m, err := meterNamed(c, name)
	return c, m, err
}

func meterNamed(c config.Config, name string) (config.Meter, error) {
	var names []string
	for _, m := range c.Meters {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return config.Meter{}, usage{fmt.Errorf("no meter is called %.40q: there are %s", name, strings.Join(names, ", "))}
}

func runCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "run -c config.toml",
		Short: "Run the gateway",
		Long: `Runs the gateway until SIGINT or SIGTERM. A missing broker, port or meter is told
once and tried again. SIGHUP reads the configuration again: meters that have not
changed keep their sessions.`,
		Example: "  meter2mqtt run -c /etc/meter2mqtt/config.toml",
		Args:    cobra.NoArgs,
		RunE: working(func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			bridge.Frugal()
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			log := newLogger(c.Log)
			manager, err := service.New()
			if err != nil {
				log.Warn().Err(err).Msg("the service manager's watchdog is not served")
			}
			b, err := bridge.New(c, bridge.Options{
				Version: build.Version, Log: log, Reload: flags.load, Hangup: hangup, SetLogLevel: zerolog.SetGlobalLevel, Beat: beat(manager, log),
			})
			if err != nil {
				return err
			}
			defer context.AfterFunc(cmd.Context(), func() { _ = manager.Stopping() })()
			return b.Run(cmd.Context())
		}),
	}
	flags.register(cmd)
	return cmd
}

// beat passes on the gateway's signs of life.
func beat(manager *service.Notifier, log zerolog.Logger) func(time.Time) {
	told := false
	return func(now time.Time) {
		if err := manager.Beat(now); err != nil && !told {
			told = true
			log.Warn().Err(err).Msg("the service manager does not hear us")
		}
	}
}

// newLogger logs to stderr: text on a terminal, else JSON, unless configured.
func newLogger(c config.Log) zerolog.Logger {
	var out io.Writer = os.Stderr
	if c.Format == config.FormatText || c.Format == config.FormatAuto && term.IsTerminal(int(os.Stderr.Fd())) {
		out = zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: time.DateTime}
	}
	zerolog.SetGlobalLevel(c.Level) // which can be changed while the gateway runs
	return zerolog.New(out).With().Timestamp().Logger()
}

func checkCommand() *cobra.Command {
	var (
		flags  configFlags
		online bool
	)
	cmd := &cobra.Command{
		Use:   "check -c config.toml",
		Short: "Check a configuration and name every mistake in it",
		Long: `Reads a configuration and names every mistake in it. With --online it also opens
each port, connects to the broker and logs in to Home Assistant, and says what to do
about what is not there. It sends nothing to meters, and publishes nothing. A port
that a running gateway has open is told as in use.`,
		Example: `  meter2mqtt check -c config.toml
  meter2mqtt check --online -c config.toml
  METER2MQTT_MQTT__URL=mqtt://broker:1883 meter2mqtt check -c config.toml`,
		Args: cobra.NoArgs,
		RunE: working(func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			if _, err := bridge.New(c, bridge.Options{Log: zerolog.Nop()}); err != nil {
				return err
			}
			broker := cmp.Or(c.MQTT.URL, "of Home Assistant")
			fmt.Fprintf(cmd.OutOrStdout(), "%d meter(s), broker %s: no mistake found\n", len(c.Meters), broker)
			if online {
				return checkOnline(cmd.Context(), cmd.OutOrStdout(), c)
			}
			return nil
		}),
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&online, "online", false, "also open ports, broker and Home Assistant")
	return cmd
}

// checkOnline prints what is there and what is not. It fails if anything is not.
func checkOnline(ctx context.Context, out io.Writer, c config.Config) error {
	missing := false
	bridge.CheckOnline(ctx, c, func(o bridge.Online) {
		if o.Err != nil {
			missing = true
			printError(fmt.Errorf("%s: %w", o.What, o.Err))
			return
		}
		fmt.Fprintf(out, "%s: ok\n", o.What)
	})
	if missing {
		return errTold
	}
	return nil
}

func demoCommand() *cobra.Command {
	var (
		listen string
		limit  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch it work without a meter: simulated meters, a broker inside, a live table",
		Long: `Starts an MQTT broker inside the program and simulated meters of each protocol on
real lines, and runs the gateway between them: the same code that serves a
real meter. On a terminal it shows a live table, else readings as decode prints
them.`,
		Example: `  meter2mqtt demo
  meter2mqtt demo --for 10s
  meter2mqtt demo --listen 0.0.0.0:1883     # makes and prints a user and a password`,
		Args: cobra.NoArgs,
		RunE: working(func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			return demo.Run(ctx, demo.Options{
				Listen: listen, Version: build.Version, Out: cmd.OutOrStdout(), Notes: cmd.ErrOrStderr(),
				Terminal: term.IsTerminal(int(os.Stdout.Fd())), Height: terminalHeight,
			})
		}),
	}
	cmd.Flags().StringVar(&listen, "listen", "", "address of the broker, host:port (default: port 1883 on loopback, or any free one)")
	cmd.Flags().DurationVar(&limit, "for", 0, "end by itself after this long, as in 10s")
	return cmd
}

// terminalHeight is the height of the terminal on stdout, 0 if it has none.
func terminalHeight() int {
	_, height, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return height
}

func decodeCommand() *cobra.Command {
	var (
		driver, zone string
		format       string
		meter        string
		explain      bool
		set          []string
		keys         keyFlags
	)
	cmd := &cobra.Command{
		Use:   "decode --driver NAME [FILE...]",
		Short: "Telegrams in, readings out, one JSON object a line",
		Long: `Reads captured telegrams from files or stdin (-): raw bytes, hexadecimal text, or
a file that record made. Each good telegram gives one JSON object on stdout; each
refused one a line on stderr. Exits 0 if there was a reading and nothing was
refused.

With --explain it says what every byte means instead, bytes that made a telegram
be refused included: a line a span, or with --format json one object a file.`,
		Example: `  meter2mqtt decode --driver p1 telegram.txt
  cat /dev/ttyUSB0 | meter2mqtt decode --driver p1
  meter2mqtt decode --driver p1 --key-file key.txt ciphered.bin
  meter2mqtt decode --driver p1 --timezone Europe/Brussels --set check=none telegram.txt
  meter2mqtt decode --driver mbus --explain answer.hex
  meter2mqtt decode --driver mbus --explain --format json answer.hex`,
		RunE: working(func(cmd *cobra.Command, args []string) error {
			d, ok := all.ByName(driver)
			if !ok {
				return usage{fmt.Errorf("driver %q: want one of %s", driver, driverNames())}
			}
			settings, err := keys.settings(d)
			if err != nil {
				return err
			}
			options, err := config.DriverOptions(d, append(settings, set...))
			if err != nil {
				return err
			}
			keys.warn(d, options)
			zones := drivers.Zones{Host: time.Local}
			if zone != "" {
				if zones.Meter, err = time.LoadLocation(zone); err != nil {
					return usage{fmt.Errorf("timezone %q: want a name as in Europe/Amsterdam", zone)}
				}
			}
			switch {
			case format != "text" && format != "json":
				return usage{fmt.Errorf("--format %.20q: want text or json", format)}
			case explain:
				return explainFiles(cmd.OutOrStdout(), args, d, options, zones, format == "json")
			case cmd.Flags().Changed("format"):
				return usage{errors.New("--format: only with --explain; readings are always JSON")}
			}
			return decodeFiles(cmd.OutOrStdout(), args, meter, func() (drivers.Decoder, error) { return d.NewDecoder(options, zones) })
		}),
	}
	cmd.Flags().StringVar(&driver, "driver", "", "one of "+driverNames())
	cmd.Flags().StringVar(&zone, "timezone", "", "zone of clocks that send no offset, as in Europe/Amsterdam")
	cmd.Flags().StringArrayVar(&set, "set", nil, "a key of the driver's configuration, KEY=VALUE")
	cmd.Flags().StringVar(&meter, "meter", "", "of a report: only the frames of this meter")
	cmd.Flags().BoolVar(&explain, "explain", false, "say what every byte means")
	cmd.Flags().StringVar(&format, "format", "text", "of --explain: text or json")
	keys.register(cmd)
	return cmd
}

// keyFlags are the keys of a meter that ciphers.
type keyFlags struct{ key, file, auth string }

func (k *keyFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.key, "key", "", "encryption key of a meter that ciphers; others on this machine can see it, so rather --key-file")
	cmd.Flags().StringVar(&k.file, "key-file", "", "file that holds the encryption key and nothing else")
	cmd.Flags().StringVar(&k.auth, "auth-key", "", `authentication key; "none" reads without checking tags`)
	cmd.MarkFlagsMutuallyExclusive("key", "key-file")
}

// settings are the flags as keys of a driver's configuration.
func (k *keyFlags) settings(d drivers.Driver) (settings []string, err error) {
	for _, s := range []struct{ flag, key, value string }{
		{"--key", "key", k.key}, {"--key-file", "key_file", k.file}, {"--auth-key", "auth_key", k.auth},
	} {
		switch {
		case s.value == "":
		case !config.HasKey(d, s.key):
			return nil, usage{fmt.Errorf("%s: meters of driver %s have no such key", s.flag, d.Name)}
		default:
			settings = append(settings, s.key+"="+s.value)
		}
	}
	return settings, nil
}

// warn tells what the flags give away, and what the configuration gives up.
func (k *keyFlags) warn(d drivers.Driver, options drivers.Config) {
	if k.key != "" || k.auth != "" && !strings.EqualFold(k.auth, "none") {
		fmt.Fprintln(os.Stderr, "warning: others on this machine can see --key and --auth-key; --key-file and --set auth_key_file=FILE hide them")
	}
	if d.Caution == nil {
		return
	}
	if given := d.Caution(options); given != "" {
		fmt.Fprintln(os.Stderr, "warning: "+given)
	}
}

func driverNames() string {
	names := make([]string, len(all.Drivers))
	for i, d := range all.Drivers {
		names[i] = d.Name
	}
	return strings.Join(names, ", ")
}

// decodeFiles decodes each file with a decoder of its own.
func decodeFiles(out io.Writer, files []string, meter string, newDecoder func() (drivers.Decoder, error)) error {
	if len(files) == 0 {
		files = []string{"-"}
	}
	p := printer{out: bufio.NewWriter(out), meter: meter}
	for _, name := range files {
		d, err := newDecoder()
		if err != nil {
			return err
		}
		if err := p.decode(name, d); err != nil {
			printError(fmt.Errorf("%s: %w", name, err))
			p.refused++
		}
	}
	switch {
	case p.readings == 0 && p.refused == 0:
		return errNoTelegram
	case p.refused > 0:
		return errTold
	}
	return nil
}

// printer prints readings and what was refused.
type printer struct {
	out               *bufio.Writer
	meter             string // of a report: whose frames; "": all
	readings, refused int
	line              []byte
}

func (p *printer) decode(name string, d drivers.Decoder) error {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return errors.Unwrap(err)
		}
		defer f.Close()
		in = f
	}
	return capture.Decode(in, d, capture.Sink{
		Meter:   p.meter,
		Reading: p.print,
		Refused: func(e *drivers.FrameError) {
			p.refused++
			printError(fmt.Errorf("%s: telegram refused: %w", name, e))
		},
	})
}

func (p *printer) print(r *drivers.Reading) error {
	p.readings++
	if r.Note != "" {
		fmt.Fprintln(os.Stderr, "note: "+r.Note)
	}
	p.line = append(r.AppendJSON(p.line[:0]), '\n')
	if _, err := p.out.Write(p.line); err != nil {
		return err
	}
	return p.out.Flush()
}

func readCommand() *cobra.Command {
	var (
		flags configFlags
		limit time.Duration
	)
	cmd := &cobra.Command{
		Use:   "read -c config.toml METER [CODE or PARAMETER...]",
		Short: "Read one meter once, without a broker",
		Long: `Reads one meter of the configuration and prints its readings as decode does. With
OBIS codes or names of parameters it exits 1 if one of them did not come.
Parameters alone are read without a readout.`,
		Example: `  meter2mqtt read -c config.toml main
  meter2mqtt read -c config.toml main 1-0:1.8.0 1-0:1.7.0
  meter2mqtt read -c config.toml heat clock address`,
		Args: cobra.MinimumNArgs(1),
		RunE: working(func(cmd *cobra.Command, args []string) error {
			_, m, err := flags.meter(args[0])
			if err != nil {
				return err
			}
			want, err := bridge.ParseWanted(m, args[1:])
			if err != nil {
				return usage{err}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			p := printer{out: bufio.NewWriter(cmd.OutOrStdout())}
			return bridge.Once(ctx, m, want, p.print)
		}),
	}
	flags.register(cmd)
	cmd.Flags().DurationVar(&limit, "timeout", time.Minute, "give up after this long")
	return cmd
}

func writeCommand() *cobra.Command {
	var (
		flags configFlags
		limit time.Duration
	)
	cmd := &cobra.Command{
		Use:   "write -c config.toml METER PARAMETER VALUE",
		Short: "Write one parameter of a meter once, without a broker",
		Long: `Writes a parameter that the meter's write = [...] in the configuration names, reads
it back and prints the result: "ok" is true, false, or null where nobody can
know what became of it. Nothing is sent twice. Exits 1 unless it is true.

VALUE is a number, a text, true or false, a time as in 2026-01-31T23:59:00+01:00
or the word now; an action takes the word press. A value that begins with a dash
stands behind --.`,
		Example: `  meter2mqtt write -c config.toml heat clock now
  meter2mqtt write -c config.toml heat address 5
  meter2mqtt write -c config.toml main limit 3.5
  meter2mqtt write -c config.toml main offset -- -2`,
		Args: cobra.ExactArgs(3),
		RunE: working(func(cmd *cobra.Command, args []string) error {
			c, m, err := flags.meter(args[0])
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			result, failure := bridge.WriteOnce(ctx, m, args[1], args[2], newLogger(c.Log))
			if err := json.NewEncoder(cmd.OutOrStdout()).Encode(result); err != nil {
				return errors.Join(failure, err)
			}
			return failure
		}),
	}
	flags.register(cmd)
	cmd.Flags().DurationVar(&limit, "timeout", time.Minute, "give up after this long")
	return cmd
}

func simulateCommand() *cobra.Command {
	var (
		driver, listen, model string
		key, authKey          string
		faults                []string
		period                time.Duration
	)
	cmd := &cobra.Command{
		Use:   "simulate --driver NAME --listen ADDRESS",
		Short: "A simulated meter for other programs",
		Long: `Simulates a meter on a TCP port or a pseudo terminal. The first line on stdout
says where: {"listening":"tcp://..."} or {"pty":"..."}.

Models, one of them given with --model:
` + modelHelp() + `
Faults, each given with --fault:
` + faultHelp(),
		Example: `  meter2mqtt simulate --driver p1 --listen tcp://127.0.0.1:0
  meter2mqtt simulate --driver hdlc --model austria
  meter2mqtt simulate --driver p1 --key 0F1E2D3C4B5A69788796A5B4C3D2E1F0
  meter2mqtt simulate --driver p1 --listen pty:/tmp/meter --fault bad-crc`,
		Args: cobra.NoArgs,
		RunE: working(func(cmd *cobra.Command, _ []string) error {
			meter, err := sim.New(driver, sim.Options{
				Period: period, Faults: faults, Model: model, Key: drivers.NewSecret(key), AuthKey: drivers.NewSecret(authKey),
			})
			if err != nil {
				return usage{err}
			}
			l, err := sim.Listen(cmd.Context(), listen)
			if err != nil {
				return err
			}
			if err := printListening(cmd.OutOrStdout(), l.Addr()); err != nil {
				return errors.Join(err, l.Close())
			}
			return errors.Join(l.Serve(cmd.Context(), meter.Serve), l.Close())
		}),
	}
	cmd.Flags().StringVar(&driver, "driver", "p1", "one of "+driverNames())
	cmd.Flags().StringVar(&listen, "listen", "tcp://127.0.0.1:0", "tcp://host:port, udp://host:port or pty:PATH")
	cmd.Flags().StringArrayVar(&faults, "fault", nil, "a fault to show, may be given several times")
	cmd.Flags().StringVar(&model, "model", "", "which of the driver's meters (default: the first)")
	cmd.Flags().StringVar(&key, "key", "", "encryption key: p1 ciphers with it, hdlc models that cipher take it in place of "+sim.ExampleKey)
	cmd.Flags().StringVar(&authKey, "auth-key", "", "authentication key: in place of "+sim.ExampleAuthKey+", for p1 in place of that of Luxembourg")
	cmd.Flags().DurationVar(&period, "period", 0, "time between two telegrams (default: the meter's own)")
	return cmd
}

// printListening says where a simulated meter is: {"listening":"tcp://…"} or
// {"pty":"…"}.
func printListening(out io.Writer, address string) error {
	where := map[string]string{"listening": address}
	if path, ok := strings.CutPrefix(address, "pty:"); ok {
		where = map[string]string{"pty": path}
	}
	return json.NewEncoder(out).Encode(where)
}

// modelHelp lists the models of the drivers that have several.
func modelHelp() string {
	var b strings.Builder
	for _, driver := range sim.Drivers() {
		for _, m := range sim.Models(driver) {
			fmt.Fprintf(&b, "  %s: %-12s %s\n", driver, m.Name, m.Doc)
		}
	}
	return b.String()
}

// faultHelp lists the faults of every simulated meter.
func faultHelp() string {
	var b strings.Builder
	for _, driver := range sim.Drivers() {
		for _, f := range sim.Faults(driver) {
			fmt.Fprintf(&b, "  %s: %-12s %s\n", driver, f.Name, f.Doc)
		}
	}
	return b.String()
}

func recordCommand() *cobra.Command {
	var (
		port, driver string
		limit        time.Duration
	)
	cmd := &cobra.Command{
		Use:   "record --port PORT FILE",
		Short: "Record what a line says, with its timing, to replay or decode it later",
		Long: `Writes what arrives on a line as JSON lines, one {"t":seconds,"dir":"rx","hex":"..."}
a piece. Play it back with --port replay:FILE wherever a port goes.`,
		Example: `  meter2mqtt record --port /dev/ttyUSB0 line.jsonl
  meter2mqtt record --port 'serial:///dev/ttyUSB0?baud=9600&mode=7E1' --for 1m line.jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: working(func(cmd *cobra.Command, args []string) error {
			d, ok := all.ByName(driver)
			if !ok {
				return usage{fmt.Errorf("driver %q: want one of %s", driver, driverNames())}
			}
			p, err := transport.ParsePort(port, d.Mode)
			if err != nil {
				return usage{err}
			}
			ctx := cmd.Context()
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			return record(ctx, p, args[0], cmd.ErrOrStderr())
		}),
	}
	cmd.Flags().StringVar(&port, "port", "", "where the meter is: a path, serial://, tcp://host:port")
	cmd.Flags().StringVar(&driver, "driver", "p1", "whose usual speed a serial port has, if it says none")
	cmd.Flags().DurationVar(&limit, "for", 0, "end by itself after this long, as in 1m")
	_ = cmd.MarkFlagRequired("port")
	return cmd
}

// record copies a line into a recording until ctx ends.
func record(ctx context.Context, p transport.Port, name string, notes io.Writer) error {
	line, err := transport.Open(ctx, p)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return errors.Join(err, line.Close())
	}
	fmt.Fprintf(notes, "recording %s into %s, end with Ctrl-C\n", p, name)
	total := 0
	line = transport.Record(line, f, nil, time.Now)
	listener := drivers.Listener{Line: line, Decoder: silent{}, Bytes: func(b []byte) { total += len(b) }}
	err = listener.Run(ctx)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	unwritten := errors.Join(line.Close(), f.Close())
	if unwritten == nil {
		fmt.Fprintf(notes, "%d bytes recorded\n", total)
	}
	return errors.Join(err, unwritten)
}

// silent is a decoder that finds nothing: recording wants the bytes only.
type silent struct{}

func (silent) Feed([]byte)                 {}
func (silent) Next(*drivers.Reading) error { return drivers.ErrMore }
func (silent) Gap()                        {}

// printPorts prints a row a port, and below it what is doubtful about it.
func printPorts(out io.Writer, ports []transport.PortInfo) error {
	if len(ports) == 0 {
		_, err := fmt.Fprintln(out, "no serial port found")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range ports {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Path, p.Device, p.Description)
		if p.Warning != "" {
			fmt.Fprintf(w, "  warning: %s\t\t\n", p.Warning)
		}
	}
	return w.Flush()
}

func healthCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the running gateway whether it works, for containers",
		Long: `Asks the gateway that runs on this machine over the socket in its state folder, and
prints what it says. Exits 0 if the gateway works and 1 if it must be restarted, or
does not run. A broker or a meter that is away is printed, but no reason to restart.`,
		Example: `  meter2mqtt health
  meter2mqtt health -c config.toml`,
		Args: cobra.NoArgs,
		RunE: working(func(cmd *cobra.Command, _ []string) error {
			dir, err := flags.stateDir()
			if err != nil {
				return err
			}
			g, err := bridge.Health(cmd.Context(), dir)
			if err != nil {
				return err
			}
			return printHealth(cmd.OutOrStdout(), &g)
		}),
	}
	flags.register(cmd)
	return cmd
}

// stateDir is the state folder that the configuration names. Without -c that is
// what the environment says, or else the usual one.
func (f *configFlags) stateDir() (string, error) {
	if f.file == "" && f.options == "" { // also in the app
		return bridge.StateDir(os.Getenv("METER2MQTT_STATE__DIR")), nil
	}
	c, err := f.load()
	return bridge.StateDir(string(c.State.Dir)), err
}

// printHealth prints a line for the gateway and one for each meter.
func printHealth(out io.Writer, g *status.Gateway) error {
	if !g.Healthy() {
		return drivers.WithHint(errors.New(g.Problem), "restart the gateway")
	}
	broker := "connected"
	if !g.Broker {
		broker = "away"
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "gateway\thealthy\tbroker %s\t%d waiting\n", broker, g.Journal.Waiting)
	for _, m := range g.Meters {
		state := "offline"
		if m.Online {
			state = "online"
		}
		fmt.Fprintf(w, "%s\t%s\tline %s\t%d good, %d refused, %d held back\n", m.Name, state, m.Line, m.Good, m.AllRefused(), m.HeldBack)
	}
	return w.Flush()
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Version, commit, build date",
		Args:  cobra.NoArgs,
		RunE: working(func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "meter2mqtt %s, commit %s, built %s\n", build.Version, build.Commit, build.Date)
			return err
		}),
	}
}
