package commandline

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/term"

	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
)

// corusTruth is what the foreign gas volume converter says that a reader must find.
type corusTruth struct {
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

	peer *peertest.Peer
}

// foreignCorus starts a converter, and gives the keys of a meter that reads it with a
// map and layouts of all that it has.
func foreignCorus(t *testing.T, args ...string) (keys string, truth corusTruth) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "truth")
	truth.peer = foreignGas.Start(t, append([]string{"--run-for", "300", "--truth", file}, args...)...)
	content, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(content, &truth)
	}
	layouts := filepath.Join(dir, "layouts.toml")
	if err == nil {
		err = os.WriteFile(layouts, []byte(truth.layouts()), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("driver = \"corus\"\ntimezone = \"UTC\"\nport = \"tcp://%s\"\nlayouts = %q\nanswer_wait = \"3s\"\nwake_wait = \"1s\"\n", truth.peer.At, layouts), truth
}

func (c corusTruth) layouts() string {
	var b strings.Builder
	ours := func(theirs string) string { return strings.TrimPrefix(strings.ToLower(theirs), "corus") }
	b.WriteString("[[map]]\n")
	for id, p := range c.Parameters {
		fmt.Fprintf(&b, "[[map.parameter]]\nid = %s\nname = \"p%s\"\ntype = %q\nwritable = %t\n", id, id, ours(p.Type), !strings.HasPrefix(p.Type, "Null"))
	}
	for name, db := range c.Databases {
		fmt.Fprintf(&b, "[[layout]]\ndatabases = [%q]\nfield = [\n", name)
		for _, f := range db.Layout {
			fmt.Fprintf(&b, "{ name = %q, type = %q, pulse = %t },\n", f.Name, ours(f.Type), f.Pulse)
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// rows are the records of a database, oldest first, as decode names them.
func (c corusTruth) rows(database string) []map[string]string {
	var rows []map[string]string
	records := c.Databases[database].Records
	for i := range records {
		row := map[string]string{}
		for k, v := range records[len(records)-1-i].Decoded {
			if k == "end_date" || k == "date" {
				k = "time"
			}
			row[k] = v
		}
		rows = append(rows, row)
	}
	return rows
}

// printedValues takes what read and history print apart, digit by digit.
func printedValues(t *testing.T, out string) (rows []map[string]string) {
	t.Helper()
	for line := range strings.Lines(out) {
		var r struct {
			Time   string
			Values []struct {
				Name  string
				Value json.RawMessage
			}
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		row := map[string]string{"time": strings.TrimSuffix(r.Time, "Z")}
		for _, v := range r.Values {
			text := string(v.Value)
			if s, err := strconv.Unquote(text); err == nil {
				text = strings.TrimSuffix(s, "Z")
			}
			row[v.Name] = text
		}
		rows = append(rows, row)
	}
	return rows
}

// The lines of the foreign self test, fault by fault.
func TestTheProgramReadsAForeignConverter(t *testing.T) {
	for _, c := range []struct{ name, args, database, keys string }{
		{"parameters", "", "", ""},
		{"interval, frames aligned", "", "interval", ""},
		{"interval, records straddle frames", "--straddle --frame-bytes 70", "interval", ""},
		{"hourly", "", "hourly", ""},
		{"daily", "", "daily", ""},
		{"monthly", "--records 13", "monthly", ""},
		{"event log", "", "event", ""},
		{"parameters in pieces of 3 bytes", "--inject chunk:3", "", ""},
		{"interval byte by byte", "--records 8 --inject split:1", "interval", ""},
		{"first wake-up ignored", "--inject ignore-wakeup:1", "", ""},
		{"extra NULs", "--inject extra-nuls:5", "", ""},
		{"CRC spoiled once, parameters", "--inject bad-crc-read:1", "", ""},
		{"CRC spoiled once, first frame", "--inject bad-crc-db:0", "interval", ""},
		{"CRC spoiled once, third frame", "--inject bad-crc-db:2", "interval", ""},
		{"frame sent twice", "--inject dup-db:2", "interval", ""},
		{"frame missing", "--inject gap-db:2", "interval", ""},
		{"NAK once", "--inject nak-read:1", "", ""},
		{"empty database", "--inject empty-db:1", "interval", ""},
		{"0Z7", "", "", "select = \"0Z7\"\n"},
		{"conversation held", "", "interval", "hold = true\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys, truth := foreignCorus(t, strings.Fields(c.args)...)
			keys += c.keys
			var got ran
			var want []map[string]string
			if c.database == "" {
				got = program(t, keys, "read", "main")
				want = []map[string]string{{"time": "2024-02-29T23:59:58"}}
				for id, p := range truth.Parameters {
					if p.Value != nil {
						want[0]["p"+id] = *p.Value
					}
				}
			} else {
				keys += fmt.Sprintf("databases = [%q]\n", c.database)
				got = program(t, keys, "history", "main", "--from", "2023-01-01", "--to", "2024-06-01")
				want = truth.rows(c.database)
			}
			if strings.Contains(c.args, "empty-db") {
				want = nil
			}
			if diff := cmp.Diff(want, printedValues(t, got.out)); diff != "" || got.code != 0 {
				t.Errorf("exit code %d, %s\n(-want +got):\n%s", got.code, got.err, diff)
			}
		})
	}
}

func TestTheProgramReadsAWindowOfAForeignConverter(t *testing.T) {
	t.Parallel()
	keys, truth := foreignCorus(t)
	got := program(t, keys+"databases = [\"interval\"]\n", "history", "main", "--from", "2024-03-30T20:00:00Z", "--to", "2024-03-31T04:00:00Z")
	var want []map[string]string
	for _, row := range truth.rows("interval") {
		if at := row["time"]; at >= "2024-03-30T20:00:00" && at <= "2024-03-31T04:00:00" {
			want = append(want, row)
		}
	}
	if diff := cmp.Diff(want, printedValues(t, got.out)); diff != "" || got.code != 0 || len(want) != 9 {
		t.Errorf("exit code %d, %s\n(-want +got):\n%s", got.code, got.err, diff)
	}
}

func TestWhatAForeignConverterRefusesIsTold(t *testing.T) {
	for _, c := range []struct{ name, args, command, says string }{
		{"login refused", "--inject no-login:1", "read", "refused by the meter"},
		{"odd wake-up", "--inject bad-wakeup", "read", "55 55 55"},
		{"connection closed inside a database", "--inject close-mid-db", "history", "closed"},
		{"a database that never comes", "--inject stall", "history", "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys, _ := foreignCorus(t, strings.Fields(c.args)...)
			args := []string{"main"}
			if c.command == "history" {
				args = append(args, "--from", "2024-03-01", "--to", "2024-04-01")
			}
			got := program(t, keys, c.command, args...)
			if got.code != 1 || got.out != "" || !strings.Contains(got.err, c.says) {
				t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
			}
		})
	}
}

func TestTheProgramWritesToAForeignConverter(t *testing.T) {
	for _, c := range []struct{ name, args, parameter, value, says string }{
		{"the clock", "", "p106", "2025-12-31T23:59:59Z", `{"parameter":"p106","ok":true,"value":"2025-12-31T23:59:59Z"}`},
		{"float1", "", "p25", "16.12", `"ok":true,"value":16.12}`},
		{"an id of two bytes", "", "p300", "7", `"ok":true,"value":7}`},
		{"float3", "", "p29", "1638200", `"ok":true,"value":1638200}`},
		{"22 digits and more are refused", "", "p50", "1099511627775.123456789", `"ok":false,"error":"p50: value not accepted`},
		{"21 digits", "", "p50", "1099511627775.99999999", `"ok":true,"value":1099511627775.99999999}`},
		{"a text", "", "p82", "NORTH", `"ok":true,"value":"NORTH"}`},
		{"out of range", "", "p20", "255", `"ok":false,"error":"value not accepted`},
		{"NAK", "--inject nak-write", "p20", "3", `"ok":false,"error":"`},
		{"answers in pieces", "--inject chunk:3", "p82", "NORTH", `"ok":true,"value":"NORTH"}`},
		{"answers byte by byte", "--inject split:1", "p82", "NORTH", `"ok":true,"value":"NORTH"}`},
		{"first wake-up ignored", "--inject ignore-wakeup:1", "p82", "NORTH", `"ok":true,"value":"NORTH"}`},
		{"extra NULs", "--inject extra-nuls:5", "p82", "NORTH", `"ok":true,"value":"NORTH"}`},
		{"CRC spoiled once", "--inject bad-crc-read:1", "p82", "NORTH", `"ok":true,"value":"NORTH"}`},
		{"a read refused once", "--inject nak-read:1", "p82", "NORTH", `"ok":true,"value":"NORTH"}`},
		{"a text that would be cut", "", "p82", "NORTHWEST", `"ok":false,"error":"value not accepted`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys, _ := foreignCorus(t, strings.Fields(c.args)...)
			got := program(t, keys+fmt.Sprintf("write = [%q]\n", c.parameter), "write", "main", c.parameter, c.value)
			if done := strings.Contains(c.says, `"ok":true`); !strings.Contains(got.out, c.says) || got.code == 0 != done {
				t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
			}
		})
	}
}

// terminalTo is a terminal whose other end is the foreign converter. A connection
// that the converter closes is one that a modem lost: the wire falls silent, and it
// is there again with the next bytes.
func terminalTo(t *testing.T, address string) (device string) {
	t.Helper()
	end, port, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	// Both stay open for the test: what the last one closes, loses its settings.
	t.Cleanup(func() { _ = end.Close(); _ = port.Close() })
	if _, err := term.MakeRaw(int(port.Fd())); err != nil {
		t.Fatal(err)
	}
	go func() {
		var far net.Conn
		buf := make([]byte, 4096)
		for {
			n, err := end.Read(buf)
			if err != nil {
				return
			}
			if far != nil {
				if _, err := far.Write(buf[:n]); err == nil {
					continue
				}
			}
			if far, err = net.Dial("tcp", address); err != nil {
				return
			}
			go func(far net.Conn) {
				_, _ = io.Copy(end, far)
				_ = far.Close()
			}(far)
			_, _ = far.Write(buf[:n])
		}
	}()
	return port.Name()
}

// wired is the converter of keys at a terminal, or at a server of one by RFC 2217.
func wired(t *testing.T, keys, way string) string {
	t.Helper()
	address := regexp.MustCompile(`tcp://([^"]*)`).FindStringSubmatch(keys)
	if way == "tcp" {
		return keys
	}
	port := terminalTo(t, address[1])
	if way == "rfc2217" {
		port = "rfc2217://" + ser2net(t, port)
	}
	return strings.Replace(keys, address[0], port, 1)
}

func TestAForeignConverterIsReadOnEveryKindOfLine(t *testing.T) {
	for _, c := range []struct{ name, way, args string }{
		{"a terminal", "tty", ""},
		{"RFC 2217", "rfc2217", ""},
		{"a terminal, in pieces", "tty", "--inject chunk:3"},
		{"RFC 2217, in pieces", "rfc2217", "--inject chunk:3"},
		{"a terminal, damaged", "tty", "--inject bad-crc-db:1"},
		{"a terminal, lost in the middle", "tty", "--inject close-mid-db"},
		{"RFC 2217, lost in the middle", "rfc2217", "--inject close-mid-db"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys, truth := foreignCorus(t, strings.Fields("--records 5 --frame-bytes 120 "+c.args)...)
			keys = wired(t, keys, c.way) + "databases = [\"interval\"]\n"
			got := program(t, keys, "history", "main", "--from", "2024-03-20", "--to", "2024-04-10")
			if diff := cmp.Diff(truth.rows("interval"), printedValues(t, got.out)); diff != "" || got.code != 0 {
				t.Errorf("exit code %d, %s\n(-want +got):\n%s", got.code, got.err, diff)
			}
		})
	}
}

func TestWhatAForeignConverterRefusesOnAWireIsTold(t *testing.T) {
	for _, c := range []struct{ way, args, command, says string }{
		{"tty", "--inject stall", "history main --from 2024-03-01 --to 2024-04-01", "no answer"},
		{"rfc2217", "--inject stall", "history main --from 2024-03-01 --to 2024-04-01", "no answer"},
		{"tty", "--inject nak-write", "write main p20 3", `"ok":false,"error":"`},
		{"rfc2217", "--inject nak-write", "write main p20 3", `"ok":false,"error":"`},
		{"tty", "", "write main p82 NORTH", `"ok":true,"value":"NORTH"}`},
		{"rfc2217", "", "write main p82 NORTH", `"ok":true,"value":"NORTH"}`},
	} {
		t.Run(c.way+" "+c.args+" "+c.command, func(t *testing.T) {
			t.Parallel()
			keys, _ := foreignCorus(t, strings.Fields(c.args)...)
			args := strings.Fields(c.command)
			got := program(t, wired(t, keys, c.way)+"write = [\"p20\", \"p82\"]\n", args[0], args[1:]...)
			if done := strings.Contains(c.says, `"ok":true`); !strings.Contains(got.out+got.err, c.says) || got.code == 0 != done {
				t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
			}
		})
	}
}

// A record one of whose dates is all zero, which the converter is told to send as a
// number: the date is no value, the record and the others are there.
func TestADateOfZeroIsNoValue(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "converter.json")
	const databases = `{"databases": {"interval": {
		"layout": [{"name": "end_date", "type": "Date"}, {"name": "start_date", "type": "ULong"}, {"name": "count", "type": "Word"}],
		"records": [
			{"end_date": "2024-03-31T06:00:00", "start_date": "1627279360", "count": "3"},
			{"end_date": "2024-03-31T05:00:00", "start_date": "0", "count": "2"},
			{"end_date": "2024-03-31T04:00:00", "start_date": "1627271168", "count": "1"}
		]}}}`
	if err := os.WriteFile(file, []byte(databases), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, truth := foreignCorus(t, "--config", file)
	layouts := regexp.MustCompile(`layouts = "([^"]*)"`).FindStringSubmatch(keys)[1]
	text := strings.Replace(truth.layouts(), `"start_date", type = "ulong"`, `"start_date", type = "date"`, 1)
	if err := os.WriteFile(layouts, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := program(t, keys+"databases = [\"interval\"]\n", "history", "main", "--from", "2024-03-30", "--to", "2024-04-01")
	want := []map[string]string{
		{"time": "2024-03-31T04:00:00", "count": "1", "start_date": "2024-03-31T03:00:00"},
		{"time": "2024-03-31T05:00:00", "count": "2"},
		{"time": "2024-03-31T06:00:00", "count": "3", "start_date": "2024-03-31T05:00:00"},
	}
	if diff := cmp.Diff(want, printedValues(t, got.out)); diff != "" || got.code != 0 {
		t.Errorf("exit code %d, %s\n(-want +got):\n%s", got.code, got.err, diff)
	}
}
