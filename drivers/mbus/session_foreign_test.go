package mbus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// Programs that this code did not come from.
var (
	foreignSlaves = peertest.Script{Name: "mbus_slave.py"}
	foreignReader = peertest.Script{Name: "mbus_client.py", Modules: []string{"meterbus", "serial"}}
)

// foreignBus starts the foreign bus with its example, and opens a line to it. log
// is what it wrote about what was asked.
func foreignBus(t *testing.T) (line drivers.Line, log string) {
	t.Helper()
	example := strings.TrimSuffix(foreignSlaves.Path(t), ".py") + ".example.json"
	return foreignBusOf(t, example, "tcp://127.0.0.1:0")
}

// foreignBusOf starts the foreign bus with a configuration, and opens a line to it.
func foreignBusOf(t *testing.T, config, listen string) (line drivers.Line, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	p := foreignSlaves.Start(t, config, "--listen", listen, "--log", log)
	at := p.At
	if !strings.HasPrefix(at, "/") {
		at = "tcp://" + at
	}
	port, err := transport.ParsePort(at, mbus.Driver.Mode)
	if err != nil {
		t.Fatal(err)
	}
	if line, err = transport.Open(t.Context(), port); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	return line, log
}

// quick is a configuration for a bus on loopback: 200 ms are enough for its
// slowest meter, and nothing waits for 2400 baud.
func quick(change func(*mbus.Config)) *mbus.Config {
	return configured(func(c *mbus.Config) {
		c.Timeout, c.Pause, c.Baud, c.Retries = 200*time.Millisecond, 100*time.Millisecond, 38400, 3
		change(c)
	})
}

func TestAForeignBusIsRead(t *testing.T) {
	line, log := foreignBus(t)
	for _, c := range []struct {
		name, address, secondary string
		id                       string
		values                   int
	}{
		{"heat", "1", "", "06855817", 29},
		{"two telegrams", "2", "", "78563412", 0},
		{"noise before each answer", "3", "", "04990254", 0},
		{"slow, with a pause in its answers", "5", "", "00011788", 0},
		{"broken and missing answers", "6", "", "02205100", 0},
		{"fixed structure", "7", "", "12345678", 3},
		{"secondary", "", "068558172D2C0804", "06855817", 29},
		{"secondary, wildcards", "", "0685581F", "06855817", 29},
		{"one of two with the same number", "", "1234567824400107", "12345678", 0},
		{"the other one", "", "12345678A31DE602", "12345678", 0},
	} {
		for round := range 3 {
			r, err := readOnce(t, line, quick(func(q *mbus.Config) {
				q.Address, q.Secondary = drivers.Address(c.address), c.secondary
				q.Timeout, q.Pause = 2*time.Second, time.Second // the foreign bus may have to wait for its turn
			}))
			if err != nil {
				t.Errorf("%s, round %d: %v", c.name, round, err)
				continue
			}
			if r.Meter.ID != c.id || len(r.Values) < 2 || c.values > 0 && len(r.Values) != c.values {
				t.Errorf("%s: %+v, %d values", c.name, r.Meter, len(r.Values))
			}
		}
	}
	asksInOrder(t, log)
}

// asksInOrder looks at what the foreign bus heard: SND_NKE or a selection comes
// before each readout, and its first request has the frame count bit set.
func asksInOrder(t *testing.T, log string) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	fresh, requests := false, 0
	for l := range bytes.Lines(text) {
		var entry struct{ Master string }
		if err := json.Unmarshal(l, &entry); err != nil {
			t.Fatal(err)
		}
		switch m := entry.Master; {
		case strings.HasPrefix(m, "1040"), strings.HasPrefix(m, "680B0B68"):
			fresh = true
		case strings.HasPrefix(m, "105B") && fresh:
			t.Errorf("the first request of a readout has no frame count bit: %s", m)
		case strings.HasPrefix(m, "107B"):
			fresh = false
			requests++
		}
	}
	if requests == 0 {
		t.Error("nothing was asked")
	}
}

// written are what the slaves of a foreign bus noted as done, of one kind.
func written(t *testing.T, log, kind string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for l := range bytes.Lines(text) {
		var entry struct {
			Slave string
			Write map[string]any
			Baud  int
		}
		if err := json.Unmarshal(l, &entry); err != nil {
			t.Fatal(err)
		}
		if what, ok := entry.Write[kind]; ok {
			all = append(all, fmt.Sprint(entry.Slave, " ", what))
		}
		if kind == "baud" && entry.Baud != 0 {
			all = append(all, fmt.Sprint(entry.Slave, " ", entry.Baud))
		}
	}
	return all
}

// foreignConfig is a file with a bus of slaves, in a place of its own.
func foreignConfig(t *testing.T, config string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "bus.json")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAForeignBusTakesAnAddressOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		slave  string
		config *mbus.Config
	}{
		{"by its primary address", "", quick(func(q *mbus.Config) { q.Address = "1" })},
		{"by its secondary address", "", quick(func(q *mbus.Config) { q.Secondary = "068558172D2C0804" })},
		{"with acknowledgements that get lost", `, "silent_every": 3`, quick(func(q *mbus.Config) { q.Secondary = "06855817" })},
	} {
		line, log := foreignBusOf(t, foreignConfig(t, `{"slaves": [
			{"name": "heat", "primary": 1, "telegrams": ["mbus-kamstrup-multical-601"]`+c.slave+`},
			{"name": "water", "primary": 3, "telegrams": ["mbus-efe-engelmann-waterstar"]}]}`), "tcp://127.0.0.1:0")
		m := commander(t, line, c.config)
		p := named(t, m, "address")
		if _, err := m.Set(t.Context(), p, number(3, 0)); !errors.Is(err, drivers.ErrValue) {
			t.Errorf("%s: an address that is taken: %v", c.name, err)
		}
		if back, err := m.Set(t.Context(), p, number(77, 0)); err != nil || shown(back) != "77" {
			t.Errorf("%s: read back %s, %v", c.name, shown(back), err)
		}
		if now, err := m.Get(t.Context(), p); err != nil || shown(now) != "77" {
			t.Errorf("%s: reads %s, %v", c.name, shown(now), err)
		}
		if diff := cmp.Diff([]string{"heat 77"}, written(t, log, "set_primary")); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestAForeignBusTakesWhatItCannotConfirm(t *testing.T) {
	line, log := foreignBus(t)
	m := commander(t, line, quick(func(q *mbus.Config) { q.Address = "1" }))
	if back, err := m.Set(t.Context(), named(t, m, "readout"), textOf("13,06")); err != nil || shown(back) != `"13,06"` {
		t.Errorf("read back %s, %v", shown(back), err)
	}
	if diff := cmp.Diff([]string{"heat 08130806"}, written(t, log, "select_for_readout")); diff != "" {
		t.Error(diff)
	}
	if _, err := m.Set(t.Context(), named(t, m, "reset"), textOf("")); err != nil {
		t.Error(err)
	}
	// Its telegrams are always the same, so its clock stays, and that is what is told.
	back, err := m.Set(t.Context(), named(t, m, "clock"), at(time.Date(2026, 11, 21, 16, 30, 0, 0, time.UTC)))
	if err != nil || back.Moment.Wall.Year() == 2026 {
		t.Errorf("read back %s, %v", shown(back), err)
	}
	if diff := cmp.Diff([]string{"heat 1E10553B"}, written(t, log, "set_clock")); diff != "" {
		t.Error(diff)
	}
	fixed := commander(t, line, quick(func(q *mbus.Config) { q.Address = "7" }))
	if _, err := fixed.Set(t.Context(), named(t, fixed, "clock"), at(time.Now())); !errors.Is(err, drivers.ErrRefused) {
		t.Errorf("a meter without a clock: %v", err)
	}
}

// A pseudo-terminal has a speed, which the foreign bus looks at.
func TestAForeignMeterIsFollowedToItsNewSpeed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "line")
	line, log := foreignBusOf(t, foreignConfig(t, `{"enforce_baud": true, "slaves": [
		{"name": "heat", "primary": 1, "telegrams": ["mbus-kamstrup-multical-601"]}]}`), "pty:"+path)
	m := commander(t, line, configured(func(q *mbus.Config) { q.Address, q.Timeout = "1", 300*time.Millisecond }))
	baud := named(t, m, "baud_rate")
	for _, rate := range []string{"9600", "9600", "2400", "300"} {
		if back, err := m.Set(t.Context(), baud, textOf(rate)); err != nil || shown(back) != `"`+rate+`"` {
			t.Fatalf("read back %s, %v", shown(back), err)
		}
		if err := m.(drivers.Session).Read(t.Context(), nil, new(drivers.Reading)); err != nil {
			t.Errorf("at %s baud: %v", rate, err)
		}
	}
	if diff := cmp.Diff([]string{"heat 9600", "heat 2400", "heat 300"}, written(t, log, "baud")); diff != "" {
		t.Error(diff)
	}
}

func TestAForeignBusIsSearched(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute, most of it silence")
	}
	t.Parallel()
	line, _ := foreignBus(t)
	var o outcome
	if err := mbus.Driver.Scan(t.Context(), line, quick(func(*mbus.Config) {}), o.searching("secondary")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"secondary 00011788AE4C060D", "secondary 02205100824D0204", "secondary 04990254C5140006", "secondary 068558172D2C0804",
		"secondary 1234567824400107", "secondary 12345678A31DE602", "secondary 7856341242040202",
	}
	if diff := cmp.Diff(want, sorted(o.found)); diff != "" {
		t.Error(diff)
	}
	t.Logf("%d probes, doubts %q", o.last.Probes, o.doubts)
}

// ourBus serves simulated meters over TCP, and gives their address.
func ourBus(t *testing.T, slaves []sim.MBusSlave) string {
	t.Helper()
	b := busOf(t, slaves)
	ctx, cancel := context.WithCancel(context.Background())
	l, err := sim.Listen(ctx, "tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := l.Serve(ctx, b.Serve); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		serving.Wait()
		_ = l.Close()
	})
	return l.Addr()
}

// foreignAnswer is what the foreign master prints.
type foreignAnswer struct {
	Secondary string
	Frame     string
	Records   []struct{ Unit string }
	More      bool `json:"more_records_follow"`
}

func foreignMaster(t *testing.T, at string, command ...string) []byte {
	t.Helper()
	out, err := foreignReader.Run(t, append([]string{at, "--timeout", "0.6"}, command...)...)
	if err != nil {
		t.Fatalf("%q: %v: %s", command, err, out)
	}
	return out
}

func TestAForeignMasterReadsOurMeters(t *testing.T) {
	t.Parallel()
	at := ourBus(t, sim.MBusBuilding(1))
	for _, c := range []struct {
		command   []string
		secondary string
		telegrams int
	}{
		{[]string{"request", "2"}, "30000101AE4C0E16", 1},
		{[]string{"request", "5"}, "7856341242040202", 1},
		{[]string{"multi", "1"}, "300001002D2C0804", 2},
		{[]string{"multi", "1"}, "300001002D2C0804", 2},
		{[]string{"secondary", "30000202A5114006"}, "30000202A5114006", 1},
		{[]string{"secondary-multi", "300001002D2C0804"}, "300001002D2C0804", 2},
	} {
		var got struct{ Answer []foreignAnswer }
		if err := json.Unmarshal(foreignMaster(t, at, c.command...), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Answer) != c.telegrams {
			t.Errorf("%q gave %+v", c.command, got.Answer)
			continue
		}
		for i, a := range got.Answer {
			if a.Secondary != c.secondary || len(a.Records) < 2 || a.More != (i < c.telegrams-1) {
				t.Errorf("%q gave %+v", c.command, a)
			}
		}
	}
}

func TestAForeignMasterFindsOurMeters(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute, most of it silence")
	}
	t.Parallel()
	at := ourBus(t, sim.MBusBuilding(1))
	var primary struct{ Answer []int }
	if err := json.Unmarshal(foreignMaster(t, at, "scan-primary", "0", "10"), &primary); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 2, 3, 4, 5, 6, 7, 8}, primary.Answer); diff != "" {
		t.Error(diff)
	}
	// It does not wait for the acknowledgements of others, so it finds only meters
	// whose numbers differ early.
	building := sim.MBusBuilding(1)
	at = ourBus(t, []sim.MBusSlave{building[0], building[3], building[4]})
	var found struct{ Answer []foreignAnswer }
	if err := json.Unmarshal(foreignMaster(t, at, "scan-secondary"), &found); err != nil {
		t.Fatal(err)
	}
	var meters []string
	for _, a := range found.Answer {
		meters = append(meters, a.Secondary)
	}
	want := []string{"300001002D2C0804", "4711081593151003", "7856341242040202"}
	if diff := cmp.Diff(want, sorted(meters)); diff != "" {
		t.Error(diff)
	}
}

// A pseudo-terminal takes the way of a serial line: termios, drain and deadlines.
func TestSimulatedMetersAreReadOverATerminal(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	path := filepath.Join(t.TempDir(), "line")
	l, err := sim.Listen(ctx, "pty:"+path)
	if err != nil {
		t.Skip(err)
	}
	var serving sync.WaitGroup
	bus := busOf(t, sim.MBusBuilding(1))
	serving.Go(func() {
		if err := l.Serve(ctx, bus.Serve); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		serving.Wait()
		_ = l.Close()
	})
	port, err := transport.ParsePort(path, mbus.Driver.Mode)
	if err != nil {
		t.Fatal(err)
	}
	line, err := transport.Open(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	for _, c := range []*mbus.Config{address("1"), secondary("30000202"), address("6")} {
		c.Timeout, c.Pause = 5*time.Second, 5*time.Second // an answer may come in pieces on a busy machine
		if _, err := readOnce(t, line, c); err != nil {
			t.Error(err)
		}
	}
	if _, err := readOnce(t, line, address("99")); err == nil {
		t.Error("a meter that is not there was read")
	}
}
