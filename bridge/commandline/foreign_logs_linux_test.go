package commandline

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
)

// rowsOf takes apart what history prints of a register: its stamp, what it was, and
// its unit.
func rowsOf(t *testing.T, key, format, out string) (rows []string) {
	t.Helper()
	if format == "csv" {
		lines, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil || !slices.Equal(lines[0], []string{"time", "obis", "name", "value", "unit"}) {
			t.Fatalf("%v: %s", err, out)
		}
		for _, l := range lines[1:] {
			if l[1] == key && l[2] != "" {
				rows = append(rows, l[0]+" "+l[3]+" "+l[4])
			}
		}
		return rows
	}
	for line := range strings.Lines(out) {
		var row struct {
			Time   string
			Values []struct {
				OBIS, Name, Unit string
				Value            json.RawMessage
			}
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for _, v := range row.Values {
			if v.OBIS == key && v.Name != "" {
				rows = append(rows, row.Time+" "+string(v.Value)+" "+v.Unit)
			}
		}
	}
	return rows
}

// The log of a foreign meter of each driver that has one, row by row, in both forms.
func TestTheProgramPrintsTheLogOfEachForeignMeter(t *testing.T) {
	house := func(t *testing.T) logging {
		t.Helper()
		m := foreignHouse(t)
		m.gap.From, m.gap.To = m.ends.Add(-missedFor), m.ends
		return m
	}
	for name, meter := range map[string]func(*testing.T) logging{
		"iec62056-21": foreignFeeder,
		"lis200":      foreignArchive,
		"corus":       overNight(time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)),
		"routeb":      house,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := meter(t)
			var want []string
			for _, at := range m.edges(m.gap.From, m.gap.To, m.step) {
				want = append(want, at.In(m.zone).Format(time.RFC3339)+" "+m.shows(at)+" "+m.prints)
			}
			for _, format := range []string{"jsonl", "csv"} {
				got := program(t, m.keys, "history", "main", "--format", format,
					"--from", m.gap.From.Format(time.RFC3339), "--to", m.gap.To.Format(time.RFC3339))
				if diff := cmp.Diff(want, rowsOf(t, m.key, format, got.out)); got.code != 0 || diff != "" {
					t.Errorf("%s: exit code %d, %s\n(-want +got):\n%s", format, got.code, got.err, diff)
				}
			}
		})
	}
}

// Drivers whose meters keep no log that can be asked for say so, and what else there
// is to do.
func TestMetersWithoutALogSaySo(t *testing.T) {
	t.Parallel()
	heat := foreignHeat(t)
	for name, keys := range map[string]string{
		"p1": "driver = \"p1\"\nport = \"tcp://127.0.0.1:1\"\n", "hdlc": "driver = \"hdlc\"\nport = \"tcp://127.0.0.1:1\"\n",
		"wmbus": "driver = \"wmbus\"\nport = \"tcp://127.0.0.1:1\"\nid = \"30000100\"\n", "mbus": heat.keys,
	} {
		got := program(t, keys, "history", "main", "--from", "2026-01-01")
		if got.code != 1 || got.out != "" || !strings.Contains(got.err, "keeps no log that can be read") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// clocks are a foreign meter of each driver whose clock can be set, as tables; those
// that say what they were told; and where the slave notes it.
func clocks(t *testing.T) (tables string, peers map[string]*peertest.Peer, bus string) {
	t.Helper()
	peers = map[string]*peertest.Peer{}
	add := func(name, keys string) {
		tables += fmt.Sprintf("[[meter]]\nname = %q\nwrite = [\"clock\"]\n%s\n", name, keys)
	}
	const german = "timezone = \"Europe/Berlin\"\npassword = \"00000000\"\n"
	peers["feeder"] = foreignOptical.Start(t, "--run-for", "300", "--tcp", "0")
	add("feeder", "driver = \"iec62056-21\"\n"+german+portOf(peers["feeder"].At))
	peers["corrector"] = foreignOptical.Start(t, "--run-for", "300", "--tcp", "0", "--lis200")
	add("corrector", "driver = \"lis200\"\n"+german+portOf(peers["corrector"].At))
	peers["converter"] = foreignGas.Start(t, "--run-for", "300")
	layouts := filepath.Join(t.TempDir(), "layouts.toml")
	const ours = "[[map]]\n[[map.parameter]]\nid = 106\nname = \"clock\"\ntype = \"date\"\nobis = \"0-0:1.0.0\"\nwritable = true\n"
	if err := os.WriteFile(layouts, []byte(ours), 0o600); err != nil {
		t.Fatal(err)
	}
	add("converter", fmt.Sprintf("driver = \"corus\"\ntimezone = \"UTC\"\nport = \"tcp://%s\"\nlayouts = %q\n", peers["converter"].At, layouts))
	s := foreignStick(t, skStick, "", "--scan-time", "0.05", "--join-time", "0.1")
	add("house", quickStick(s.At, ""))
	at, bus := foreignBus(t, "")
	add("heat", fmt.Sprintf("driver = \"mbus\"\nport = %q\nsecondary = \"068558172D2C0804\"\ntimezone = \"Europe/Copenhagen\"\n", at))
	return tables, peers, bus
}

// All clocks are set in one go. The foreign slave takes the clock and goes on with the
// telegrams that it has, which is told.
func TestTheProgramSetsTheClocksOfAllForeignMeters(t *testing.T) {
	t.Parallel()
	tables, peers, bus := clocks(t)
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte("[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n"+tables), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cmd := exec.CommandContext(t.Context(), "meter2mqtt", "set-clock", "-c", file, "--all")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v: %s%s", err, out, stderr.String())
	}
	set := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		var r struct {
			Meter, Parameter, Value, Error string
			OK                             bool
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Parameter != "clock" {
			t.Fatalf("%s: %v", line, err)
		}
		set[r.Meter] = r.OK
		if !r.OK {
			if r.Meter != "heat" || !strings.Contains(r.Error, "shows another value") {
				t.Errorf("%s", line)
			}
			continue
		}
		// Some tell their clock to the minute.
		at, err := time.Parse(time.RFC3339, r.Value)
		if err != nil || at.Before(began.Add(-2*time.Minute)) || at.After(time.Now().Add(2*time.Minute)) {
			t.Errorf("%s: %v", line, err)
		}
	}
	want := map[string]bool{"feeder": true, "corrector": true, "converter": true, "house": true, "heat": false}
	if diff := cmp.Diff(want, set); diff != "" {
		t.Errorf("set (-want +got):\n%s%s", diff, stderr.String())
	}
	for meter, begin := range map[string]string{"feeder": "0.9.", "corrector": "1:400.0=20", "converter": "p106=20"} {
		if got := noted(t, peers[meter]); len(got) == 0 || !strings.HasPrefix(got[len(got)-1], begin) {
			t.Errorf("%s noted %q", meter, got)
		}
	}
	if got := written(t, bus, "set_clock"); len(got) != 1 {
		t.Errorf("the slave noted %q", got)
	}
}
