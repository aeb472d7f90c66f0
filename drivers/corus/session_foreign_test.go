package corus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/term"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/corus"
	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// peer is a simulated device that this code did not come from.
var peer = peertest.Script{Name: "corus_meter.py", Modules: []string{"iflag", "attr"}}

// foreign is a foreign device and what it says a reader must find.
type foreign struct {
	port  string // tcp://…
	truth struct {
		Weight     string `json:"input_pulse_weight"`
		Parameters map[string]struct {
			Type  string
			Value *string
		}
		Databases map[string]struct {
			Layout []struct {
				Name, Type string
				Pulse      bool `json:"affected_by_pulse_input"`
			}
			Records []struct{ Decoded map[string]string }
		}
	}
	log string
}

// startPeer starts the foreign device.
func startPeer(t *testing.T, args ...string) *foreign {
	t.Helper()
	dir := t.TempDir()
	f := &foreign{log: filepath.Join(dir, "log")}
	p := peer.Start(t, append([]string{"--log", f.log, "--truth", filepath.Join(dir, "truth"), "--run-for", "300"}, args...)...)
	f.port = "tcp://" + p.At
	content, err := os.ReadFile(filepath.Join(dir, "truth"))
	if err == nil {
		err = json.Unmarshal(content, &f.truth)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// layouts describes all that the device has, in our form. Parameters are called p
// and their id.
func (f *foreign) layouts() string {
	var b strings.Builder
	b.WriteString("[[map]]\nfirmware = \"FL_b0040\"\n")
	for id, p := range f.truth.Parameters {
		fmt.Fprintf(&b, "[[map.parameter]]\nid = %s\nname = \"p%s\"\ntype = %q\nwritable = %t\n", id, id, typeOf(p.Type), !strings.HasPrefix(p.Type, "Null"))
	}
	for name, db := range f.truth.Databases {
		fmt.Fprintf(&b, "[[layout]]\ndatabases = [%q]\nfield = [\n", name)
		for _, field := range db.Layout {
			fmt.Fprintf(&b, "{ name = %q, type = %q, pulse = %t },\n", field.Name, typeOf(field.Type), field.Pulse)
		}
		b.WriteString("]\n")
	}
	return b.String()
}

func typeOf(theirs string) string {
	if theirs == "CorusString" {
		return "string"
	}
	return strings.ToLower(theirs)
}

// configured is a configuration that knows all the device has, and is in a hurry.
func (f *foreign) configured(t *testing.T, set func(*corus.Config)) *corus.Config {
	t.Helper()
	c := corus.Driver.NewConfig().(*corus.Config)
	path := filepath.Join(t.TempDir(), "layouts.toml")
	if err := os.WriteFile(path, []byte(f.layouts()), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Layouts = drivers.File(path)
	c.WakeWait, c.AnswerWait, c.CharWait = 700*time.Millisecond, 2*time.Second, time.Second
	if set != nil {
		set(c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// dialed is a session over a port.
func dialed(t *testing.T, port string, c *corus.Config) drivers.Session {
	t.Helper()
	p, err := transport.ParsePort(port, corus.Driver.Mode)
	if err != nil {
		t.Fatal(err)
	}
	line, err := transport.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	s, err := corus.Driver.Dial(t.Context(), line, c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// text is a value as the peer writes it.
func text(v *drivers.Value) string {
	switch v.Kind {
	case drivers.Text:
		return v.Text
	case drivers.Moment:
		return v.Moment.String()
	default:
		return v.Number.String()
	}
}

// reads holds what Read gives against the truth.
func reads(t *testing.T, f *foreign, s drivers.Session) error {
	t.Helper()
	var r drivers.Reading
	if err := s.Read(t.Context(), nil, &r); err != nil {
		return err
	}
	want, got := map[string]string{}, map[string]string{}
	for id, p := range f.truth.Parameters {
		if p.Value != nil {
			want["p"+id] = *p.Value
		}
	}
	for i := range r.Values {
		got[r.Values[i].Name] = text(&r.Values[i])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("parameters (-want +got):\n%s", diff)
	}
	if m := r.Meter; m.Manufacturer != "ACT" || m.Model != "MINICOR200" {
		return fmt.Errorf("meter %+v", m)
	}
	return nil
}

// history is what History gives, oldest first.
func history(t *testing.T, s drivers.Session, from, to time.Time) ([]map[string]string, error) {
	t.Helper()
	rows := []map[string]string{}
	err := s.(drivers.Historian).History(t.Context(), from, to, func(r *drivers.Reading) error {
		row := map[string]string{"time": r.Time.String()}
		for i := range r.Values {
			row[r.Values[i].Name] = text(&r.Values[i])
		}
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

// rows is the truth of a database between two times, oldest first.
func (f *foreign) rows(database string, from, to time.Time) []map[string]string {
	rows := []map[string]string{}
	records := f.truth.Databases[database].Records
	for _, record := range slices.Backward(records) {
		row := map[string]string{}
		for k, v := range record.Decoded {
			if k == "end_date" || k == "date" {
				k = "time"
			}
			row[k] = v
		}
		at, _ := time.Parse("2006-01-02T15:04:05", row["time"])
		if !at.Before(from) && !at.After(to) {
			rows = append(rows, row)
		}
	}
	return rows
}

var (
	longAgo = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	later   = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
)

// logs holds a database against the truth.
func logs(t *testing.T, f *foreign, s drivers.Session, database string) error {
	t.Helper()
	got, err := history(t, s, longAgo, later)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(f.rows(database, longAgo, later), got); diff != "" {
		return fmt.Errorf("%d rows (-want +got):\n%s", len(got), diff)
	}
	return nil
}

// throughPTY is a serial port with the device behind it.
func throughPTY(t *testing.T, port string) string {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []*os.File{master, slave} {
		if _, err := term.MakeRaw(int(end.Fd())); err != nil {
			t.Fatal(err)
		}
	}
	far, err := net.Dial("tcp", strings.TrimPrefix(port, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(far, master); done <- struct{}{} }()
	go func() { _, _ = io.Copy(master, far); done <- struct{}{} }()
	t.Cleanup(func() {
		_ = far.Close()
		_ = slave.Close()
		_ = master.Close()
		<-done
		<-done
	})
	return slave.Name()
}

// overLines runs a test over TCP and over a serial port.
func overLines(t *testing.T, test func(t *testing.T, line func(string) string)) {
	t.Helper()
	t.Run("tcp", func(t *testing.T) { test(t, func(port string) string { return port }) })
	t.Run("serial", func(t *testing.T) { test(t, func(port string) string { return throughPTY(t, port) }) })
}

func only(databases ...string) func(*corus.Config) {
	return func(c *corus.Config) { c.Databases = databases }
}

func TestTheForeignDeviceIsReadWithEveryFault(t *testing.T) {
	for _, c := range []struct {
		name string
		args string
		do   func(*testing.T, *foreign, drivers.Session) error
		set  func(*corus.Config)
	}{
		{"parameters", "", reads, nil},
		{"interval", "", interval, nil},
		{"records straddle frames", "--straddle --frame-bytes 70", interval, nil},
		{"hourly", "", logsOf("hourly"), only("hourly")},
		{"daily", "", logsOf("daily"), only("daily")},
		{"monthly", "--records 13", logsOf("monthly"), only("monthly")},
		{"event log", "", logsOf("event"), only("event")},
		{"answers in pieces of 3 bytes, parameters", "--inject chunk:3", reads, nil},
		{"answers in pieces of 3 bytes, database", "--records 4 --inject chunk:3", interval, nil},
		{"answers byte by byte", "--records 10 --inject split:1", interval, nil},
		{"first wake-up ignored", "--inject ignore-wakeup:1", reads, nil},
		{"two wake-ups ignored", "--inject ignore-wakeup:2", reads, nil},
		{"extra NULs", "--inject extra-nuls:5", reads, nil},
		{"CRC spoiled once, parameters", "--inject bad-crc-read:1", reads, nil},
		{"CRC spoiled twice, parameters", "--inject bad-crc-read:2", reads, nil},
		{"CRC spoiled once, first frame", "--inject bad-crc-db:0", interval, nil},
		{"CRC spoiled once, third frame", "--inject bad-crc-db:2", interval, nil},
		{"CRC spoiled once, last frame", "--records 8 --inject bad-crc-db:1", interval, nil},
		{"frame sent twice", "--inject dup-db:2", interval, nil},
		{"first frame sent twice", "--inject dup-db:0", interval, nil},
		{"last frame sent twice", "--records 8 --inject dup-db:1", interval, nil},
		{"frame missing", "--inject gap-db:2", interval, nil},
		{"frame missing, records straddle", "--straddle --frame-bytes 70 --inject gap-db:2", interval, nil},
		{"frame missing, without a count", "--inject gap-db:2", intervalTruncated, func(c *corus.Config) { c.Count = false }},
		{"one NAK", "--inject nak-read:1", reads, nil},
		{"a parameter of the map that the device does not have", "", reads, withAbsent},
		{"empty database", "--inject empty-db:1", empty, nil},
		{"empty database, without a count", "--inject empty-db:1", empty, func(c *corus.Config) { c.Count = false }},
		{"login refused", "--inject no-login:1", wants(drivers.ErrRefused), nil},
		{"odd wake-up", "--inject bad-wakeup:1", wants(drivers.ErrSyntax), nil},
		{"0Z7 alone", "", reads, func(c *corus.Config) { c.Select = "0Z7" }},
		{"conversation held", "", both, func(c *corus.Config) { c.Hold = true }},
		{"continue bit", "--inject gap-db:2", interval, func(c *corus.Config) { c.Resume = "continue" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			overLines(t, func(t *testing.T, line func(string) string) {
				t.Helper()
				t.Parallel()
				f := startPeer(t, strings.Fields(c.args)...)
				if err := c.do(t, f, dialed(t, line(f.port), f.configured(t, c.set))); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// withAbsent adds a parameter to the map.
func withAbsent(c *corus.Config) {
	content, _ := os.ReadFile(string(c.Layouts))
	added := strings.Replace(string(content), "[[map.parameter]]", "[[map.parameter]]\nid = 77\nname = \"absent\"\ntype = \"word\"\n[[map.parameter]]", 1)
	if err := os.WriteFile(string(c.Layouts), []byte(added), 0o600); err != nil {
		panic(err)
	}
}

func interval(t *testing.T, f *foreign, s drivers.Session) error {
	t.Helper()
	return logs(t, f, s, "interval")
}

// both reads twice within one conversation, and logs too.
func both(t *testing.T, f *foreign, s drivers.Session) error {
	t.Helper()
	return errors.Join(reads(t, f, s), reads(t, f, s), interval(t, f, s), s.Close(t.Context()))
}

func empty(t *testing.T, _ *foreign, s drivers.Session) error {
	t.Helper()
	rows, err := history(t, s, longAgo, later)
	if err == nil && len(rows) > 0 {
		err = fmt.Errorf("%d rows", len(rows))
	}
	return err
}

// intervalTruncated: without a count nobody can tell that the last frames are
// missing, but what came is right.
func intervalTruncated(t *testing.T, f *foreign, s drivers.Session) error {
	t.Helper()
	got, err := history(t, s, longAgo, later)
	want := f.rows("interval", longAgo, later)
	if err != nil || len(got) == 0 || len(got) > len(want) {
		return fmt.Errorf("%d rows, %w", len(got), err)
	}
	if diff := cmp.Diff(want[len(want)-len(got):], got); diff != "" {
		return errors.New(diff)
	}
	return nil
}

func logsOf(database string) func(*testing.T, *foreign, drivers.Session) error {
	return func(t *testing.T, f *foreign, s drivers.Session) error {
		t.Helper()
		return logs(t, f, s, database)
	}
}

func wants(want error) func(*testing.T, *foreign, drivers.Session) error {
	return func(t *testing.T, _ *foreign, s drivers.Session) error {
		t.Helper()
		var r drivers.Reading
		if err := s.Read(t.Context(), nil, &r); !errors.Is(err, want) || len(r.Values) > 0 {
			return fmt.Errorf("%w, want %w", err, want)
		}
		return nil
	}
}

func TestASilentDatabaseIsATimeout(t *testing.T) {
	f := startPeer(t, "--inject", "stall")
	s := dialed(t, f.port, f.configured(t, func(c *corus.Config) { c.AnswerWait, c.WakeWait = 300*time.Millisecond, 300*time.Millisecond }))
	rows, err := history(t, s, longAgo, later)
	if !errors.Is(err, drivers.ErrTimeout) || len(rows) > 0 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestAClosedLineIsTheLinesErrorAndTheNextSessionReadsAll(t *testing.T) {
	f := startPeer(t, "--inject", "close-mid-db")
	c := f.configured(t, nil)
	rows, err := history(t, dialed(t, f.port, c), longAgo, later)
	if err == nil || errors.Is(err, drivers.ErrTimeout) || len(rows) > 0 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if err := reads(t, f, dialed(t, f.port, c)); err != nil {
		t.Error(err)
	}
}

func TestOnlyTheRowsOfTheTimeAskedForCome(t *testing.T) {
	f := startPeer(t)
	from, to := time.Date(2024, 3, 30, 20, 0, 0, 0, time.UTC), time.Date(2024, 3, 31, 4, 0, 0, 0, time.UTC)
	got, err := history(t, dialed(t, f.port, f.configured(t, nil)), from, to)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.rows("interval", from, to), got); diff != "" || len(got) != 9 {
		t.Errorf("%d rows (-want +got):\n%s", len(got), diff)
	}
}

func TestARecordWithAZeroDateKeepsItsOtherValues(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.json")
	// ULong 0 is what four bytes 00 of a date are.
	err := os.WriteFile(config, []byte(`{"parameters":{"1":{"type":"Float","value":"0.1"},"94":{"type":"CorusString","value":"FL_b0040"}},
		"databases":{"interval":{"layout":[{"name":"end_date","type":"Date"},{"name":"start_date","type":"ULong"},{"name":"count","type":"Word"}],
		"records":[{"end_date":"2024-03-31T06:00:00","start_date":"0","count":"7"}]}}}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f := startPeer(t, "--config", config)
	for i := range f.truth.Databases["interval"].Layout {
		if l := &f.truth.Databases["interval"].Layout[i]; l.Name == "start_date" {
			l.Type = "Date"
		}
	}
	got, err := history(t, dialed(t, f.port, f.configured(t, nil)), longAgo, later)
	if diff := cmp.Diff([]map[string]string{{"time": "2024-03-31T06:00:00", "count": "7"}}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestTheForeignDeviceIsWritten(t *testing.T) {
	for _, c := range []struct{ id, value string }{
		{"106", "2025-12-31T23:59:59"},
		{"25", "16.12"},
		{"25", "-0.02"},
		{"300", "7"},
		{"26", "12.345"},
		{"26", "327.66"},
		{"28", "1638.3"},
		{"29", "1638200"},
		{"48", "4294967295.99999998"},
		{"50", "1099511627775.12345678"},
		{"82", "SITE-002"},
		{"82", "é"},
		{"20", "254"},
		{"22", "0"},
		{"24", "1099511627774"},
		{"30", "1.01325"},
		{"30", "-12.5"},
	} {
		t.Run(c.id+" "+c.value, func(t *testing.T) {
			t.Parallel()
			f := startPeer(t)
			s := dialed(t, f.port, f.configured(t, nil))
			v := valueOf(t, s, c.id, c.value)
			back, err := s.(drivers.Commander).Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: c.id}}, v)
			if err != nil || text(&back) != c.value {
				t.Errorf("%s, %v", text(&back), err)
			}
			again, err := dialed(t, f.port, f.configured(t, nil)).(drivers.Commander).Get(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "p" + c.id}})
			if err != nil || text(&again) != c.value {
				t.Errorf("read again: %s, %v", text(&again), err)
			}
		})
	}
}

// valueOf is a text as a value of the parameter with an id.
func valueOf(t *testing.T, s drivers.Session, id, value string) drivers.Value {
	t.Helper()
	_, _, all := s.Describe()
	for _, p := range all {
		if p.Name != "p"+id {
			continue
		}
		v := drivers.Value{Kind: p.Kind, Text: value}
		var err error
		switch p.Kind {
		case drivers.Moment:
			v.Moment.Wall, err = time.Parse("2006-01-02T15:04:05", value)
		case drivers.Number:
			v.Number, err = drivers.ParseDecimal(value)
		default:
		}
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	t.Fatalf("no parameter p%s", id)
	return drivers.Value{}
}

func TestWhatDoesNotFitIsNotSent(t *testing.T) {
	f := startPeer(t)
	s := dialed(t, f.port, f.configured(t, nil))
	for _, c := range []struct{ id, value string }{
		{"20", "255"},
		{"20", "1.5"},
		{"20", "-1"},
		{"25", "327.68"},
		{"25", "-0.01"},
		{"25", "1.234"},
		{"26", "-1"},
		{"26", "327.67"},
		{"26", "32.7677"},
		{"28", "1638300"},
		{"48", "4294967296"},
		{"48", "1.123456789"},
		{"82", "NINE-CHAR"},
		{"82", "€"},
		{"106", "1999-12-31T23:59:59"},
		{"106", "2064-01-01T00:00:00"},
	} {
		v := valueOf(t, s, c.id, c.value)
		if _, err := s.(drivers.Commander).Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "p" + c.id}}, v); !errors.Is(err, drivers.ErrValue) {
			t.Errorf("%s to %s: %v", c.id, c.value, err)
		}
	}
	if content, err := os.ReadFile(f.log); err != nil || len(content) > 0 {
		t.Errorf("%d bytes were exchanged, %v", len(content), err)
	}
}

func TestANAKIsARefusal(t *testing.T) {
	named := drivers.Parameter{Quantity: drivers.Quantity{Name: "p20"}}
	t.Run("to a read", func(t *testing.T) {
		f := startPeer(t)
		s := dialed(t, f.port, f.configured(t, withAbsent))
		absent := drivers.Parameter{Quantity: drivers.Quantity{Name: "absent"}}
		if _, err := s.(drivers.Commander).Get(t.Context(), absent); !errors.Is(err, drivers.ErrRefused) {
			t.Error(err)
		}
	})
	t.Run("to a write", func(t *testing.T) {
		f := startPeer(t, "--inject", "nak-write")
		s := dialed(t, f.port, f.configured(t, nil))
		if _, err := s.(drivers.Commander).Set(t.Context(), named, valueOf(t, s, "20", "3")); !errors.Is(err, drivers.ErrRefused) || errors.Is(err, drivers.ErrUnsent) {
			t.Error(err)
		}
	})
	t.Run("where there is no value", func(t *testing.T) {
		f := startPeer(t)
		s := dialed(t, f.port, f.configured(t, nil))
		if _, err := s.(drivers.Commander).Get(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "p51"}}); !errors.Is(err, drivers.ErrRefused) {
			t.Error(err)
		}
	})
}

func TestADeviceWithoutAMapIsReadByWhatIsKnown(t *testing.T) {
	f := startPeer(t)
	c := f.configured(t, func(c *corus.Config) { c.Layouts = "" })
	s := dialed(t, f.port, c)
	var r drivers.Reading
	if err := s.Read(t.Context(), nil, &r); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"0-0:96.1.1": "FL_b0040", "0-0:1.0.0": "2024-02-29T23:59:58", "7-0:3.0.0": "234567.982 m³", "7-0:3.2.0": "222222.982 m³",
		"input_pulse_weight": "0.1", "customer_data": "SITE-001",
	}
	got := map[string]string{}
	for i := range r.Values {
		v := &r.Values[i]
		key := v.Name
		if !v.Code.IsZero() {
			key = v.Code.String()
		}
		got[key] = strings.TrimSpace(text(v) + " " + string(v.Unit))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(r.Note, "inferred") || r.Time.String() != "2024-02-29T23:59:58" || r.Meter.Version != "FL_b0040" {
		t.Errorf("note %q, time %s, meter %+v", r.Note, r.Time, r.Meter)
	}
}

func TestARecordOfUnknownLengthIsNamed(t *testing.T) {
	f := startPeer(t)
	c := f.configured(t, func(c *corus.Config) { c.Layouts, c.Databases = "", []string{"hourly"} })
	_, err := history(t, dialed(t, f.port, c), longAgo, later)
	if err == nil || !strings.Contains(err.Error(), "16 bytes") || !strings.Contains(drivers.Hint(err), "layouts") {
		t.Error(err)
	}
}

func TestAnEndedContextEndsTheConversation(t *testing.T) {
	f := startPeer(t, "--inject", "stall")
	s := dialed(t, f.port, f.configured(t, func(c *corus.Config) { c.AnswerWait = time.Minute }))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := s.(drivers.Historian).History(ctx, longAgo, later, func(*drivers.Reading) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
