package sim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/corus"
	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
)

// corusLayouts describes what the simulated converter has beside what every device
// has.
const corusLayouts = `
[[map]]
firmware = "FL_sim01"
[[map.parameter]]
id = 48
name = "index_unconverted"
type = "index"
unit = "m3"
obis = "7-0:3.0.0"
[[map.parameter]]
id = 30
name = "base_pressure"
type = "float"
unit = "bar"
writable = true
min = 0.9
max = 1.1
[[map.parameter]]
id = 40
name = "pressure"
type = "float2"
unit = "bar"
obis = "7-0:42.0.0"
[[map.parameter]]
id = 45
name = "pressure_alarm"
type = "alarm"
[[map.parameter]]
id = 82
name = "site"
type = "string"
writable = true
[[map.parameter]]
id = 300
name = "station"
type = "word"
writable = true
`

// converter is a session with a simulated gas volume converter, within a bubble.
func converter(t *testing.T, o Options, set func(*corus.Config)) drivers.Session {
	t.Helper()
	return dialConverter(t, o, &frayed{left: 1 << 30}, corus.Driver.NewConfig().(*corus.Config), set)
}

// converterOn is a converter at a line, read with a configuration; nil: of its own.
func converterOn(t *testing.T, line *frayed, own *corus.Config, set func(*corus.Config)) (drivers.Session, *frayed) {
	t.Helper()
	if own == nil {
		own = corus.Driver.NewConfig().(*corus.Config)
	}
	return dialConverter(t, Options{}, line, own, set), line
}

func dialConverter(t *testing.T, o Options, line *frayed, c *corus.Config, set func(*corus.Config), ears ...*overheard) drivers.Session {
	t.Helper()
	return dialConverterIn(t, time.UTC, o, line, c, set, ears...)
}

// dialConverterIn has the device's clock in a zone; ears overhear what is sent to it.
func dialConverterIn(t *testing.T, zone *time.Location, o Options, line *frayed, c *corus.Config, set func(*corus.Config), ears ...*overheard) drivers.Session {
	t.Helper()
	o.Clock = bubbleNow
	m, err := newCorus(o)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := m.Serve(ctx, far); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		near.Close()
		far.Close()
		ended.Wait()
	})
	c.Layouts = corusLayoutFile(t)
	line.Line = &optic{Conn: near}
	for _, o := range ears {
		o.Line, line.Line = line.Line, o
	}
	if set != nil {
		set(c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := corus.Driver.Dial(t.Context(), line, c, drivers.Zones{Meter: zone})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// corusLayoutFile holds corusLayouts.
func corusLayoutFile(t *testing.T) drivers.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layouts.toml")
	if err := os.WriteFile(path, []byte(corusLayouts), 0o600); err != nil {
		t.Fatal(err)
	}
	return drivers.File(path)
}

// bubbleNow is a time that devices know: the clock of a bubble begins with 2000.
func bubbleNow() time.Time { return time.Now().UTC().AddDate(26, 2, 13) }

func named(name string) drivers.Parameter {
	return drivers.Parameter{Quantity: drivers.Quantity{Name: name}}
}

func TestTheConverterIsReadWithEachFault(t *testing.T) {
	for _, f := range append([]string{""}, faultNames(corusFaults)...) {
		t.Run(f, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var o Options
				if f != "" {
					o.Faults = []string{f + "=4"}
				}
				s := converter(t, o, func(c *corus.Config) { c.Databases = []string{"interval", "daily"} })
				from, to := bubbleNow().Add(-3*24*time.Hour), bubbleNow()
				for range 3 {
					checkConverter(t, s)
					checkConverterLogs(t, s, from, to)
				}
			})
		})
	}
}

func faultNames(all []Fault) (names []string) {
	for _, f := range all {
		names = append(names, f.Name)
	}
	return names
}

// checkConverter reads all parameters.
func checkConverter(t *testing.T, s drivers.Session) {
	t.Helper()
	var r drivers.Reading
	if err := s.Read(t.Context(), nil, &r); err != nil {
		t.Error(err)
		return
	}
	if v := valueOf(&r, "7-0:3.0.0"); v == nil || v.Unit != "m³" || v.Number.Sign() <= 0 {
		t.Errorf("got %s", r.AppendJSON(nil))
	}
	names := map[string]bool{}
	for _, v := range r.Values {
		names[v.Name] = true
	}
	for _, want := range []string{"base_pressure", "pressure", "site", "station", "clock", "pressure_alarm_active", "pressure_alarm_value", "pressure_alarm_start"} {
		if !names[want] {
			t.Errorf("no %s in %s", want, r.AppendJSON(nil))
		}
	}
}

// checkConverterLogs reads the hours and days of a stretch of time.
func checkConverterLogs(t *testing.T, s drivers.Session, from, to time.Time) {
	t.Helper()
	var hours, days int
	var last time.Time
	err := s.(drivers.Historian).History(t.Context(), from, to, func(r *drivers.Reading) error {
		if r.Time.Wall.Before(last) || r.Time.Wall.Before(from) || r.Time.Wall.After(to) {
			t.Errorf("row of %s after %s", r.Time, last)
		}
		last = r.Time.Wall
		if valueOf(r, "7-0:3.0.0") != nil {
			days++
		} else {
			hours++
		}
		return nil
	})
	if err != nil || hours != 73 && hours != 72 || days != 3 && days != 4 {
		t.Errorf("%d hours and %d days, %v", hours, days, err)
	}
}

// frayed is a line that breaks when so many bytes were read.
type frayed struct {
	drivers.Line
	left int
}

func (f *frayed) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := f.Line.Read(p)
	f.left -= n
	return n, err
}

func TestALogGoesOnWhereTheLineBroke(t *testing.T) {
	for name, databases := range map[string][]string{"one": {"interval"}, "two": {"daily", "interval"}} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { goesOn(t, databases) }) })
	}
}

// goesOn breaks the line of one reader in the middle of a log, and holds what a second
// session gives, and how much it reads for that, against an undisturbed one.
func goesOn(t *testing.T, databases []string) {
	t.Helper()
	const plenty = 1 << 30
	from, to := bubbleNow().Add(-30*24*time.Hour), bubbleNow()
	set := func(c *corus.Config) { c.Databases = databases }
	read := func(s drivers.Session, line *frayed) (rows []string, bytes int, err error) {
		before := line.left
		err = s.(drivers.Historian).History(t.Context(), from, to, func(r *drivers.Reading) error {
			rows = append(rows, string(r.AppendJSON(nil)))
			return nil
		})
		return rows, before - line.left, err
	}
	whole := &frayed{left: plenty}
	want, size, err := read(converterOn(t, whole, nil, set))
	if err != nil || len(want) < 700 {
		t.Fatalf("%d rows, %v", len(want), err)
	}
	own := corus.Driver.NewConfig().(*corus.Config)
	first, second := &frayed{left: size * 8 / 10}, &frayed{left: plenty}
	if rows, _, err := read(converterOn(t, first, own, set)); err == nil || len(rows) == len(want) {
		t.Fatalf("%d rows of a line that breaks, %v", len(rows), err)
	}
	got, again, err := read(converterOn(t, second, own, set))
	if diff := cmp.Diff(want[len(want)-len(got):], got); diff != "" || err != nil || again > size/2 {
		t.Errorf("%d rows, %d of %d bytes were read again, %v\n%s", len(got), again, size, err, diff)
	}
}

func TestTheConverterIsWrittenAndKeepsALogOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := converter(t, Options{}, func(c *corus.Config) { c.Databases = []string{"parameter"} })
		command := s.(drivers.Commander)
		back, err := command.Set(t.Context(), named("site"), drivers.Value{Kind: drivers.Text, Text: "NORTH"})
		if err != nil || back.Text != "NORTH" {
			t.Errorf("%q, %v", back.Text, err)
		}
		if back, err := command.Set(t.Context(), named("site"), drivers.Value{Kind: drivers.Text, Text: "NÖRDLICH"}); err != nil || back.Text != "NÖRDLICH" {
			t.Errorf("eight characters: %q, %v", back.Text, err)
		}
		_, err = command.Set(t.Context(), named("site"), drivers.Value{Kind: drivers.Text, Text: "NORTHWEST"})
		if !errors.Is(err, drivers.ErrValue) || !strings.Contains(err.Error(), "at most 8 characters") {
			t.Errorf("a text that would be cut: %v", err)
		}
		_, err = command.Set(t.Context(), named("base_pressure"), drivers.Value{Number: drivers.NewDecimal(12, -1)})
		if !errors.Is(err, drivers.ErrValue) {
			t.Errorf("a pressure beyond the limits of the map: %v", err)
		}
		_, err = command.Set(t.Context(), named("pressure"), drivers.Value{Number: drivers.NewDecimal(12, -1)})
		if !errors.Is(err, drivers.ErrValue) {
			t.Errorf("a pressure that can only be read: %v", err)
		}
		at := bubbleNow().Add(time.Hour)
		back, err = command.Set(t.Context(), named("clock"), drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: at, Zoned: true}})
		if late := back.Moment.Wall.Sub(at); err != nil || late < -time.Second || late > time.Minute {
			t.Errorf("the clock shows %s, %v", back.Moment, err)
		}
		var log []string
		err = s.(drivers.Historian).History(t.Context(), time.Time{}, at.Add(time.Hour), func(r *drivers.Reading) error {
			for _, v := range r.Values {
				if v.Name == "new_value" || v.Name == "code" {
					log = append(log, v.Number.String()+v.Text)
				}
			}
			return nil
		})
		if err != nil || len(log) != 6 || log[0] != "82" || log[1] != "04e4f525448000000" || log[4] != "106" {
			t.Errorf("%q, %v", log, err)
		}
	})
}

func TestWritesAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := converter(t, Options{Faults: []string{"silence=3"}}, nil) // wake-up, map, write
		_, err := s.(drivers.Commander).Set(t.Context(), named("site"), drivers.Value{Kind: drivers.Text, Text: "NORTH"})
		if !errors.Is(err, drivers.ErrUnconfirmed) || !errors.Is(err, drivers.ErrTimeout) || errors.Is(err, drivers.ErrUnsent) {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := converter(t, Options{Faults: []string{"silence=1"}}, nil)
		_, err := s.(drivers.Commander).Set(t.Context(), named("site"), drivers.Value{Kind: drivers.Text, Text: "NORTH"})
		if !errors.Is(err, drivers.ErrUnsent) || !errors.Is(err, drivers.ErrTimeout) {
			t.Error(err)
		}
	})
}

func TestAHeldConversationGoesOnOrIsBegunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := converter(t, Options{}, func(c *corus.Config) { c.Hold = true })
		for _, pause := range []time.Duration{0, time.Second, 30 * time.Second, time.Hour} {
			time.Sleep(pause)
			checkConverter(t, s)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// corusClient drives a foreign reader of I-FLAG.
var corusClient = peertest.Script{Name: "corus_client.py", Modules: []string{"iflag", "attr"}}

// corusAnswer is what the client prints.
type corusAnswer struct {
	OK         bool
	Error      string
	MapID      string `json:"map_id"`
	Weight     string `json:"input_pulse_weight"`
	Parameters map[string]string
	Records    []map[string]string
}

func TestTheForeignClientReadsTheConverter(t *testing.T) {
	noon := time.Date(2026, 3, 14, 12, 34, 56, 0, amsterdam())
	for _, c := range []struct {
		name, args string
		check      func(corusAnswer) bool
	}{
		{"map and weight", "--map-id --pulse-weight", func(a corusAnswer) bool {
			return strings.EqualFold("FL_"+a.MapID, corusFirmware) && a.Weight == corusWeight
		}},
		{"parameters", "--read 48:Index 94:CorusString 41:Float1 40:Float2 42:Float3 300:Word 106:Date", func(a corusAnswer) bool {
			return len(a.Parameters) == 7 && a.Parameters["300"] == "4242" && a.Parameters["106"] == "2026-03-14T12:34:56"
		}},
		{"write", "--write 82:CorusString:NORTH --read 82:CorusString", func(a corusAnswer) bool { return a.Parameters["82"] == "NORTH" }},
		{"set the clock", "--write 106:Date:2025-12-31T23:59:59 --read 106:Date", func(a corusAnswer) bool { return a.Parameters["106"] == "2025-12-31T23:59:59" }},
		{"interval", "--database interval --start 2026-03-14T12:00:00 --stop 2026-03-13T13:00:00", func(a corusAnswer) bool {
			return len(a.Records) == 24 && a.Records[0]["end_date"] == "2026-03-14T12:00:00" && a.Records[0]["start_date"] == "2026-03-14T11:00:00" && a.Records[0]["pressure_interval_average"] != ""
		}},
		{"daily", "--database daily --layout daily", func(a corusAnswer) bool {
			return len(a.Records) == 125 && a.Records[0]["end_date"] == "2026-03-14T00:00:00"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := newCorus(Options{Clock: func() time.Time { return noon }})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			l, err := Listen(ctx, "tcp://127.0.0.1:0")
			if err != nil {
				cancel()
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- l.Serve(ctx, m.Serve) }()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			out, err := corusClient.Run(t, append([]string{"--address", strings.TrimPrefix(l.Addr(), "tcp://")}, strings.Fields(c.args)...)...)
			var a corusAnswer
			if errJSON := json.Unmarshal(out, &a); errJSON != nil || err != nil || !a.OK || !c.check(a) {
				t.Errorf("%v %v: %.900s", err, errJSON, out)
			}
		})
	}
}
