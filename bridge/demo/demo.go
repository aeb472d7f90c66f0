// Package demo runs the whole gateway without hardware: a broker inside the
// program, simulated meters of each protocol on real lines, the gateway in
// between. The meters are simulated; what reads them is what serves real ones.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/meter2mqtt/meter2mqtt/bridge"
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// usual is where clients look for a broker first.
const usual = "127.0.0.1:1883"

// askEvery is how often the demo asks the meters that do not speak unasked: its
// meters have no battery to spare.
const askEvery = "5s"

// Options say how the demo shows itself.
type Options struct {
	Listen   string // of the broker, host:port; "": port 1883 on loopback, or any free one
	Version  string
	Out      io.Writer  // the live table, or readings as JSON lines
	Notes    io.Writer  // where to look
	Terminal bool       // Out is a terminal
	Height   func() int // of the terminal, in lines; 0: nobody knows
}

// Run runs until ctx ends, which is no error.
func Run(ctx context.Context, o Options) error {
	broker, err := start(ctx, o.Listen)
	if err != nil {
		return err
	}
	defer broker.close()
	dir, err := os.MkdirTemp("", "meter2mqtt-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	group, ctx := errgroup.WithContext(ctx)
	text, err := meters(ctx, group, dir)
	if err != nil {
		return err
	}
	page, err := freePort(ctx)
	if err != nil {
		return err
	}
	c, err := configure(dir, broker, fmt.Sprintf("[http]\nlisten = %q\n", page)+text)
	if err != nil {
		return err
	}
	head := broker.directions(c.MQTT.Base, page)
	show := &shower{options: o, table: newTable(o.Out, head, o.Height)}
	log := zerolog.New(zerolog.ConsoleWriter{Out: o.Notes, TimeFormat: time.TimeOnly}).
		Level(zerolog.WarnLevel).With().Timestamp().Logger()
	b, err := bridge.New(c, bridge.Options{Version: o.Version, Log: log, Observe: show.observe})
	if err != nil {
		return err
	}
	if !o.Terminal {
		fmt.Fprintln(o.Notes, head)
	}
	group.Go(func() error { return b.Run(ctx) })
	group.Go(func() error { return show.run(ctx) })
	return group.Wait()
}

// start takes the usual port if nobody has it, else any.
func start(ctx context.Context, listen string) (*broker, error) {
	if listen != "" {
		return startBroker(ctx, listen)
	}
	if b, err := startBroker(ctx, usual); err == nil {
		return b, nil
	}
	return startBroker(ctx, "127.0.0.1:0")
}

// freePort is an address for the status page, the usual one if nobody has it.
func freePort(ctx context.Context) (string, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", "127.0.0.1:8099")
	if err != nil {
		l, err = c.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// meters starts simulated meters of each protocol, and returns the configuration
// that reads them, as a person would write it.
func meters(ctx context.Context, group *errgroup.Group, dir string) (string, error) {
	var text strings.Builder
	for _, driver := range sim.Drivers() {
		for _, model := range shown(driver) {
			table, err := meter(ctx, group, dir, driver, model)
			if err != nil {
				return "", err
			}
			text.WriteString(table)
		}
	}
	return text.String(), nil
}

// shown are the models of a driver's meters that the demo shows; of a driver
// without models its one meter.
func shown(driver string) []sim.Model {
	models := sim.Models(driver)
	if len(models) == 0 {
		return []sim.Model{{}}
	}
	return slices.DeleteFunc(slices.Clone(models), func(m sim.Model) bool { return !m.Shown })
}

// meter starts one simulator on a line of its own, and returns the tables of its meters in
// the configuration.
func meter(ctx context.Context, group *errgroup.Group, dir, driver string, model sim.Model) (string, error) {
	simulated, err := sim.New(driver, sim.Options{Model: model.Name})
	if err != nil {
		return "", err
	}
	title := strings.TrimSpace(driver + " " + model.Name)
	name := strings.NewReplacer("-", "_", " ", "_").Replace(title)
	path := filepath.Join(dir, name)
	listener, err := sim.Listen(ctx, "pty:"+path)
	if err != nil {
		return "", err
	}
	group.Go(func() error { return errors.Join(listener.Serve(ctx, simulated.Serve), listener.Close()) })
	var tables strings.Builder
	tables.WriteString(meterTable(name, title, driver, path, model, simulated.Keys))
	for i, keys := range simulated.Others {
		tables.WriteString(meterTable(fmt.Sprintf("%s_%d", name, i+2), fmt.Sprintf("%s %d", title, i+2), driver, path, model, keys))
	}
	return tables.String(), nil
}

// meterTable is one meter of the configuration.
func meterTable(name, title, driver, path string, model sim.Model, keys []drivers.Setting) string {
	var table strings.Builder
	fmt.Fprintf(&table, "[[meter]]\nname = %q\nlabel = %q\ndriver = %q\nport = %q\n", name, "Demo "+title, driver, path)
	if d, ok := all.ByName(driver); ok && !d.Push() {
		fmt.Fprintf(&table, "every = %q\n", askEvery)
	}
	for _, k := range keys {
		fmt.Fprintf(&table, "%s = %q\n", k.Key, k.Value)
	}
	if model.Ciphered {
		fmt.Fprintf(&table, "key = %q\nauth_key = %q\n", sim.ExampleKey, sim.ExampleAuthKey)
	}
	table.WriteByte('\n')
	return table.String()
}

// configure writes and loads a configuration file, so that the demo goes the way
// that everybody goes.
func configure(dir string, b *broker, meters string) (config.Config, error) {
	text := fmt.Sprintf("[state]\ndir = %q\n[mqtt]\nurl = %q\nclient_id = \"meter2mqtt-demo\"\n",
		filepath.Join(dir, "state"), "mqtt://"+b.dialAddress())
	if b.username != "" {
		text += fmt.Sprintf("username = %q\npassword = %q\n", b.username, b.password)
	}
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(text+"\n"+meters), 0o600); err != nil {
		return config.Config{}, err
	}
	return config.Load(file, nil, "")
}

// directions tell how to look at the demo from outside.
func (b *broker) directions(base, page string) string {
	host, port, _ := net.SplitHostPort(b.dialAddress()) // a listener's own address
	login := ""
	if b.username != "" {
		login = fmt.Sprintf(" -u %s -P %s", b.username, b.password)
	}
	return fmt.Sprintf(`meter2mqtt demo. Look at the meters in a browser: http://%s
Watch the topics in another terminal:
  mosquitto_sub -h %s -p %s%s -v -t '%s/#'
Or add the MQTT integration in Home Assistant with broker %s, port %s: the meters appear by themselves.
Ctrl-C ends it.`, page, host, port, login, base, host, port)
}

// shower shows readings: on a terminal the table, else a JSON object a line.
type shower struct {
	options Options
	table   *table

	mu   sync.Mutex
	line []byte
	err  error
}

func (s *shower) observe(meter string, r *drivers.Reading) {
	if s.options.Terminal {
		s.table.observe(meter, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line = append(r.AppendJSON(s.line[:0]), '\n')
	if _, err := s.options.Out.Write(s.line); err != nil && s.err == nil {
		s.err = err
	}
}

// run redraws the table each second until ctx ends. Whoever reads our output
// may stop reading: then the demo ends too.
func (s *shower) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if s.options.Terminal {
				if err := s.table.draw(now); err != nil {
					return err
				}
			}
			if err := s.failure(); err != nil {
				return errors.Join(errors.New("output closed"), err)
			}
		}
	}
}

func (s *shower) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
