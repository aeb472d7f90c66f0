package commandline

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// missedFor is how long the program was away. It is no whole number of hours, so that
// no row is on the edge.
const missedFor = 5*time.Hour + 7*time.Minute

// logging is a meter that keeps a log.
type logging struct {
	keys   string        // of its table
	key    string        // of the register that its rows have
	unit   string        // of that, as info tells it; "": the meter shows it in its log alone
	prints string        // the unit as history prints it
	step   time.Duration // between two rows
	zone   *time.Location
	ends   time.Time // when its clock stands still; zero: it does not

	// gap is what is open from before, of a meter that has rows of one day alone; zero:
	// what it costs to be away now.
	gap statistics.Hole
	// mean: its rows are means, which are no register's.
	mean bool

	// shows is what the register was at a moment, as it is printed. It is asked last:
	// nil: what the program's own history prints then.
	shows func(at time.Time) string

	// telegram: the meter keeps its rows in each telegram, and there is no other way
	// to read them.
	telegram bool
}

// away is a gateway of one meter that comes and goes.
type away struct {
	t      *testing.T
	meter  logging
	broker *brokertest.Broker
	state  string
	file   string
	cmd    *exec.Cmd
	log    *brokertest.Log
}

func newAway(t *testing.T, meter logging) *away {
	t.Helper()
	dir := t.TempDir()
	a := &away{t: t, meter: meter, broker: brokertest.New(t), state: filepath.Join(dir, "state"), file: filepath.Join(dir, "config.toml")}
	a.broker.Start()
	t.Cleanup(a.broker.Stop)
	// Nobody is at that address: what waits for the statistics stays in the state.
	text := fmt.Sprintf("[log]\nformat = \"json\"\n[mqtt]\nurl = %q\n[homeassistant]\nurl = \"ws://127.0.0.1:1/api/websocket\"\ntoken = \"x\"\n"+
		"[state]\ndir = %q\n[[meter]]\nname = \"main\"\nbackfill = true\nevery = \"20s\"\n%s", a.broker.URL(), a.state, meter.keys)
	if err := os.WriteFile(a.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(a.log)
		}
	})
	return a
}

// start runs it until it has read the meter so many times.
func (a *away) start(readings int) {
	a.t.Helper()
	a.broker.Forget()
	a.log = new(brokertest.Log)
	a.cmd = exec.CommandContext(a.t.Context(), "meter2mqtt", "run", "-c", a.file)
	a.cmd.Stderr = a.log
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	received := map[string]bool{}
	a.broker.Until(fmt.Sprintf("%d readings", readings), func(m brokertest.Message) bool {
		var state struct{ Received string }
		if m.Topic == "meter2mqtt/main/state" && json.Unmarshal([]byte(m.Payload), &state) == nil {
			received[state.Received] = true
		}
		return len(received) >= readings
	})
}

func (a *away) stop() {
	a.t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	if err := a.cmd.Wait(); err != nil {
		a.t.Fatal(err)
	}
}

// read has it read the meter once more: all that the reading before led to is done
// then.
func (a *away) read() {
	a.t.Helper()
	a.broker.Publish("meter2mqtt/bridge/request/poll", "", false)
	a.broker.UntilIs("meter2mqtt/bridge/response/poll", `{"ok":true}`)
}

// missed makes it have stopped some hours ago, and says when. What is open from before
// is not what it missed now.
func (a *away) missed() time.Time {
	a.t.Helper()
	if gap := a.meter.gap; !gap.From.IsZero() {
		a.remember("gaps", []statistics.Hole{gap})
		return gap.From
	}
	gone := time.Now().Add(-missedFor).Truncate(time.Second)
	a.remember("seen", gone)
	return gone
}

// remember makes it know something else of the meter.
func (a *away) remember(what string, v any) {
	a.t.Helper()
	file := filepath.Join(a.state, "memory.json")
	var memory map[string]json.RawMessage
	var meters map[string]map[string]json.RawMessage
	text, err := json.Marshal(v)
	if err == nil {
		err = journal.Load(file, &memory)
	}
	if err == nil {
		err = json.Unmarshal(memory["meters"], &meters)
	}
	if err == nil {
		meters["main"][what] = text
		memory["meters"], err = json.Marshal(meters)
	}
	if err == nil {
		err = journal.Save(file, memory)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// asked is what the program says of a request to the meter's log.
type asked struct {
	Message  string
	Rows     int
	From, To time.Time
}

// requests are those for the meter's log since it was started.
func (a *away) requests() (all []asked) {
	a.t.Helper()
	for line := range strings.Lines(a.log.String()) {
		var r asked
		if json.Unmarshal([]byte(line), &r) == nil && r.Message == "read what was missed from the meter's log" {
			all = append(all, r)
		}
	}
	return all
}

// untilAsked waits until the gap has been asked for, and gives how.
func (a *away) untilAsked() asked {
	a.t.Helper()
	a.broker.Until("a request for the log", func(brokertest.Message) bool { return len(a.requests()) > 0 })
	return a.requests()[0]
}

// rows are those that came as history, in their order: what the register was, by
// their stamp.
func (a *away) rows() (rows []string) {
	a.t.Helper()
	for _, m := range a.broker.Seen("meter2mqtt/main/history") {
		var row map[string]json.RawMessage
		if err := json.Unmarshal([]byte(m.Payload), &row); err != nil || string(row["source"]) != `"meter"` {
			a.t.Fatalf("%s: %v", m.Payload, err)
		}
		rows = append(rows, strings.Trim(string(row["time"]), `"`)+" "+string(row[a.meter.key]))
	}
	return rows
}

// unit is what the program tells of the register.
func (a *away) unit() string {
	a.t.Helper()
	var info struct{ Quantities []struct{ Key, Unit string } }
	seen := a.broker.Seen("meter2mqtt/main/info")
	if err := json.Unmarshal([]byte(seen[len(seen)-1].Payload), &info); err != nil {
		a.t.Fatal(err)
	}
	for _, q := range info.Quantities {
		if q.Key == a.meter.key {
			return q.Unit
		}
	}
	return ""
}

// hours is what the program has for Home Assistant's statistics: the register at the
// end of each hour.
func (a *away) hours() map[string]string {
	a.t.Helper()
	var kept struct {
		Meters map[string]struct{ Logs map[string]statistics.Log }
	}
	if err := journal.Load(filepath.Join(a.state, "statistics.json"), &kept); err != nil {
		a.t.Fatal(err)
	}
	hours := map[string]string{}
	for _, h := range kept.Meters["main"].Logs[a.meter.key].Hours {
		if h.LastAt.Equal(h.End()) {
			hours[h.End().UTC().Format(time.RFC3339)] = h.Last.String()
		}
	}
	return hours
}

// edges are the moments of a gap at which a row ends.
func (m logging) edges(from, to time.Time, step time.Duration) (all []time.Time) {
	if !m.ends.IsZero() && to.After(m.ends) {
		to = m.ends
	}
	for at := from.Truncate(step).Add(step); !at.After(to); at = at.Add(step) {
		all = append(all, at)
	}
	return all
}

// printedLog is what the program's own history prints of a register.
func printedLog(t *testing.T, m logging, from time.Time) func(time.Time) string {
	t.Helper()
	got := program(t, m.keys, "history", "main", "--from", from.Format(time.RFC3339))
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	log := map[time.Time]string{}
	for line := range strings.Lines(got.out) {
		var row struct {
			Time   time.Time
			Values []struct {
				OBIS  string
				Value json.RawMessage
			}
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for _, v := range row.Values {
			if v.OBIS == m.key {
				log[row.Time.UTC()] = string(v.Value)
			}
		}
	}
	return func(at time.Time) string { return log[at.UTC()] }
}

func zoned(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// simulatedLog is one of our own simulated meters.
func simulatedLog(t *testing.T, driver, keys, key, unit string, step time.Duration) logging {
	t.Helper()
	port, _ := simulatedOn(t, driver, sim.Options{})
	return logging{
		keys: fmt.Sprintf("driver = %q\nport = %q\ntimezone = \"Europe/Amsterdam\"\n%s", driver, port, keys),
		key:  key, unit: unit, step: step, zone: zoned(t, "Europe/Amsterdam"),
	}
}

// corusHours is the foreign gas volume converter with an hourly database of its
// register, newest row first. Its clock is local.
func corusHours(t *testing.T, newest time.Time, hours int, zone *time.Location, shows func(time.Time) string) (keys string) {
	t.Helper()
	type row struct {
		End   string `json:"end_date"`
		Index string `json:"index"`
	}
	var rows []row
	for i := range hours {
		at := newest.Add(-time.Duration(i) * time.Hour)
		rows = append(rows, row{at.In(zone).Format("2006-01-02T15:04:05"), shows(at)})
	}
	columns := []map[string]string{{"name": "end_date", "type": "Date"}, {"name": "index", "type": "Index"}}
	config, err := json.Marshal(map[string]any{"databases": map[string]any{"interval": map[string]any{"layout": columns, "records": rows}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, layouts := filepath.Join(dir, "converter.json"), filepath.Join(dir, "layouts.toml")
	const ours = "[[map]]\n[[map.parameter]]\nid = 49\nname = \"index\"\ntype = \"index\"\nunit = \"m³\"\nobis = \"7-0:3.2.0\"\n" +
		"[[layout]]\ndatabases = [\"interval\"]\nfield = [{ name = \"end_date\", type = \"date\" }, " +
		"{ name = \"index\", type = \"index\", unit = \"m³\", obis = \"7-0:3.2.0\" }]\n"
	for name, content := range map[string]string{file: string(config), layouts: ours} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys, _ = foreignCorus(t, "--config", file)
	_, rest, _ := strings.Cut(keys, "port = ")
	port, _, _ := strings.Cut(rest, "\n")
	return fmt.Sprintf("driver = \"corus\"\nport = %s\ntimezone = %q\nlayouts = %q\nanswer_wait = \"3s\"\nwake_wait = \"1s\"\nhold = true\n", port, zone, layouts)
}

// foreignConverter counted up to what its register shows, 222222.982 m³.
func foreignConverter(t *testing.T) logging {
	t.Helper()
	now := time.Now().Truncate(time.Hour)
	// One more, should the hour end meanwhile.
	return converterOf(t, now.Add(time.Hour), 30)
}

// converterOf has so many rows, the newest of a moment.
func converterOf(t *testing.T, newest time.Time, hours int) logging {
	t.Helper()
	zone := zoned(t, "Europe/Amsterdam")
	shows := func(at time.Time) string {
		return drivers.NewDecimal(22_222_200-125*int64(newest.Sub(at)/time.Hour), -2).String()
	}
	return logging{
		keys: corusHours(t, newest, hours, zone, shows), key: "7-0:3.2.0", unit: "m³", prints: "m³", step: time.Hour, zone: zone,
		shows: func(at time.Time) string { return trimmed(shows(at)) },
	}
}

// overNight is a gap from the evening before a change of the clock to the morning
// after it, and a converter whose clock is local.
func overNight(night time.Time) func(*testing.T) logging {
	return func(t *testing.T) logging {
		t.Helper()
		m := converterOf(t, night.Add(10*time.Hour), 30)
		m.gap = statistics.Hole{From: night.Add(-5 * time.Hour).Add(time.Minute), To: night.Add(6 * time.Hour).Add(time.Minute)}
		m.ends = m.gap.To
		return m
	}
}

// trimmed is a number as the device tells it, which keeps no zeros at its end.
func trimmed(number string) string { return strings.TrimSuffix(strings.TrimRight(number, "0"), ".") }

// foreignFeeder has a load profile of a night in 2024, whose rows are mean power.
func foreignFeeder(t *testing.T) logging {
	t.Helper()
	where, _ := foreignMeter(t, "--tcp", "0")
	zone := time.FixedZone("", 2*3600) // it says that it is summer
	first := time.Date(2024, 2, 29, 0, 15, 0, 0, zone)
	return logging{
		keys: portOf(where) + "driver = \"iec62056-21\"\ntimezone = \"Europe/Berlin\"\npassword = \"00000000\"\nblock = 3\n",
		key:  "1-0:1.5.0", prints: "W", step: 15 * time.Minute, zone: zone, ends: first.Add(105 * time.Minute), mean: true,
		gap: statistics.Hole{From: first.Add(-time.Minute), To: first.Add(3 * time.Hour)},
		shows: func(at time.Time) string {
			return drivers.NewDecimal(18_374-113*int64(at.Sub(first)/(15*time.Minute)), -2).String()
		},
	}
}

// foreignArchive has an archive of a morning in 2024.
func foreignArchive(t *testing.T) logging {
	t.Helper()
	where, _ := foreignMeter(t, "--tcp", "0", "--lis200")
	zone := zoned(t, "Europe/Berlin")
	first := time.Date(2024, 2, 28, 1, 0, 0, 0, zone)
	return logging{
		keys: portOf(where) + "driver = \"lis200\"\ntimezone = \"Europe/Berlin\"\npassword = \"00000000\"\nblock = 4\n",
		key:  "7-0:13.2.0", unit: "m³", prints: "m³", step: time.Hour, zone: zone, ends: first.Add(11 * time.Hour),
		gap: statistics.Hole{From: first.Add(90 * time.Minute), To: first.Add(20 * time.Hour)},
		shows: func(at time.Time) string {
			return drivers.NewDecimal(12_001_000+12_500*int64(at.Sub(first)/time.Hour), -4).String()
		},
	}
}

// foreignHouse counts three tenths of a kWh each half-hour. Its clock stands still, for
// it counts back from what it shows.
func foreignHouse(t *testing.T) logging {
	t.Helper()
	zone := zoned(t, "Asia/Tokyo")
	now := time.Now().In(zone)
	newest := now.Truncate(30 * time.Minute)
	s := foreignStick(t, skStick, now.Format(`{"clock": "2006-01-02T15:04:05"}`), "--scan-time", "0.05", "--join-time", "0.1")
	return logging{
		keys: quickStick(s.At, ""), key: "1-1:1.8.0", unit: "kWh", prints: "kWh", step: 30 * time.Minute, zone: zone, ends: newest,
		shows: func(at time.Time) string {
			if at.After(newest) {
				return ""
			}
			return drivers.NewDecimal(123_456-3*int64(newest.Sub(at)/(30*time.Minute)), -1).String()
		},
	}
}

// foreignHeat is a foreign slave that sends with each telegram what its register was
// at the end of the last hours.
func foreignHeat(t *testing.T) logging {
	t.Helper()
	now, zone := time.Now().Truncate(time.Hour), zoned(t, "Europe/Amsterdam")
	shows := func(at time.Time) int64 { return 51_234 - 2*int64(now.Sub(at)/time.Hour) }
	data := mbus.AppendLongHeader(nil, mbus.Address{0x17, 0x58, 0x85, 0x06, 0x2D, 0x2C, 8, 4}, 1, 0, 0)
	for storage := range uint64(8) {
		at, of := now.Add(-time.Duration(max(storage, 1)-1)*time.Hour), drivers.Record{Storage: storage}
		records := []mbus.DataRecord{{Record: of, Field: 4, VIB: []byte{0x06}, Data: binary.LittleEndian.AppendUint32(nil, uint32(shows(at)))}}
		if storage > 0 {
			records = append(records, mbus.DataRecord{Record: of, Field: 4, VIB: []byte{0x6D}, Data: typeF(at.In(zone))})
		}
		for i := range records {
			var err error
			if data, err = records[i].AppendTo(data); err != nil {
				t.Fatal(err)
			}
		}
	}
	telegram, err := (&mbus.Frame{Kind: mbus.Long, C: 0x08, A: 1, CI: 0x72, Data: data}).AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"slaves": []map[string]any{{"name": "heat", "primary": 1, "telegrams": []string{fmt.Sprintf("%X", telegram)}}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bus.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	port := "tcp://" + foreignSlaves.Start(t, file, "--listen", "tcp://127.0.0.1:0", "--for", "300").At
	return logging{
		keys: fmt.Sprintf("driver = \"mbus\"\nport = %q\naddress = \"1\"\ntimezone = %q\n", port, zone),
		key:  "6-0:1.0.0", unit: "kWh", step: time.Hour, zone: zone, telegram: true,
		shows: func(at time.Time) string {
			if at.After(now) {
				return "" // its telegram was made before that hour ended
			}
			return fmt.Sprint(shows(at))
		},
	}
}

// typeF is a time as EN 13757-3, annex A has it: type F.
func typeF(at time.Time) []byte {
	summer := byte(0)
	if at.IsDST() {
		summer = 0x80
	}
	year := byte(at.Year() % 100)
	return []byte{byte(at.Minute()), byte(at.Hour()) | 1<<5 | summer, byte(at.Day()) | year&7<<5, byte(at.Month()) | year>>3<<4}
}

// The program runs, is away for some hours, and comes back: of what the meter wrote
// down meanwhile each row comes as history with its own stamp, once and in one request,
// and Home Assistant's hours get the register of their ends. When it starts for a third
// time, nothing is asked for.
func TestTheProgramFillsWhatItMissedOnce(t *testing.T) {
	for name, meter := range map[string]func(*testing.T) logging{
		"iec62056-21": func(t *testing.T) logging {
			t.Helper()
			return simulatedLog(t, "iec62056-21", "password = \"00000000\"\nprofiles = [\"P.02\"]\n", "1-0:1.8.0", "kWh", 15*time.Minute)
		},
		"lis200": func(t *testing.T) logging {
			t.Helper()
			return simulatedLog(t, "lis200", "", "7-0:3.0.0", "m³", time.Hour)
		},
		"iec62056-21, foreign": foreignFeeder,
		"lis200, foreign":      foreignArchive,
		"corus":                foreignConverter,
		"corus, in spring":     overNight(time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)),
		"corus, in autumn":     overNight(time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)),
		"routeb":               foreignHouse,
		"mbus":                 foreignHeat,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := meter(t)
			a := newAway(t, m)
			a.start(1)
			a.stop()
			gone := a.missed()
			a.start(1)
			back := time.Now()
			if m.telegram {
				a.read()
			} else {
				was := a.untilAsked()
				back = was.To
				if !was.From.Equal(gone) || was.Rows != len(m.edges(gone, back, m.step)) {
					t.Errorf("asked for %+v, want %d rows", was, len(m.edges(gone, back, m.step)))
				}
			}
			if got := a.unit(); got != m.unit {
				t.Errorf("%s is in %q, want %q", m.key, got, m.unit)
			}
			a.stop()
			if m.shows == nil {
				a.meter.shows = printedLog(t, m, gone.Add(-time.Hour))
			}
			a.holds(gone, back)

			a.start(1)
			a.read()
			a.stop()
			if rows, requests := a.rows(), a.requests(); len(rows)+len(requests) != 0 {
				t.Errorf("asked once more: %v, %v", requests, rows)
			}
		})
	}
}

// holds compares what came with what the meter wrote down.
func (a *away) holds(gone, back time.Time) {
	a.t.Helper()
	var rows []string
	for _, at := range a.meter.edges(gone, back, a.meter.step) {
		if !a.meter.telegram {
			rows = append(rows, at.In(a.meter.zone).Format(time.RFC3339)+" "+a.meter.shows(at))
		}
	}
	if diff := cmp.Diff(rows, a.rows()); diff != "" {
		a.t.Errorf("rows (-want +got):\n%s", diff)
	}
	if a.meter.mean {
		return
	}
	hours := a.hours()
	for _, at := range a.meter.edges(gone, back, time.Hour) {
		if want, got := a.meter.shows(at), hours[at.UTC().Format(time.RFC3339)]; got != want {
			a.t.Errorf("the hour that ends at %s: %s, the meter showed %s", at, got, want)
		}
	}
}
