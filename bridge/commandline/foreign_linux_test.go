package commandline

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
)

// Simulated meters that this code did not come from; the program itself reads them,
// as a person would have it do.
var (
	foreignOptical = peertest.Script{Name: "iec62056_meter.py"}
	foreignSlaves  = peertest.Script{Name: "mbus_slave.py"}
	foreignGas     = peertest.Script{Name: "corus_meter.py", Modules: []string{"iflag", "attr"}}
	skStick        = peertest.Script{Name: "routeb_dongle.py", Env: []string{"TZ=JST-9"}} // its clock is Japan's
	j11Stick       = peertest.Script{Name: "routeb_j11_dongle.py", Env: []string{"TZ=JST-9"}}
)

// foreignMeter starts one and says where it is: a path, or host:port. What it saw
// is in the log.
func foreignMeter(t *testing.T, args ...string) (where, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	return foreignOptical.Start(t, append([]string{"--log", log, "--run-for", "300"}, args...)...).At, log
}

// ran is what a command left.
type ran struct {
	out, err string
	code     int
}

// program runs the program with a configuration of one meter called main.
func program(t *testing.T, meter string, command string, args ...string) ran {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	text := fmt.Sprintf("[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n[state]\ndir = %q\n[[meter]]\nname = \"main\"\n%s", t.TempDir(), meter)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "meter2mqtt", append([]string{command, "-c", file}, args...)...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	canary.Keep(t, "said", []byte(out.String()+stderr.String()))
	return ran{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// isFeeder holds what was printed against the readout of the foreign IEC meter,
// digit by digit.
func isFeeder(out string) error {
	for _, want := range []string{
		`"driver":"iec62056-21","meter":{"id":"00012345"`, `"time":"2024-02-29T10:15:30+01:00"`,
		`{"obis":"1-0:1.8.0","name":"energy_import","value":1281.6601,"unit":"kWh"}`,
		`{"obis":"1-0:1.8.0*12","name":"energy_import","value":1236.1958,"unit":"kWh"}`,
		`{"obis":"1-0:16.7.0","name":"power_net","value":-115,"unit":"W"}`,
		`{"obis":"1-0:1.6.1","name":"power_import_maximum_tariff_1","value":502.62,"unit":"W"`,
	} {
		if !strings.Contains(out, want) {
			return fmt.Errorf("no %s in %s", want, out)
		}
	}
	if n := strings.Count(out, `"name":`); n != 21 {
		return fmt.Errorf("%d values, want 21: %s", n, out)
	}
	return nil
}

// The lines of the foreign self test, fault by fault, on both kinds of lines; on
// the terminal the meter garbles what it sends while our speed is another.
func TestTheProgramReadsAForeignOpticalPort(t *testing.T) {
	const quick = "ident_wait = \"2s\"\nanswer_wait = \"2s\"\nchar_wait = \"500ms\"\n"
	for _, c := range []struct{ name, args, keys string }{
		{"as it should be", "", ""},
		{"with its address", "", `address = "12345"`},
		{"answers after 900 ms", "--reaction 900", ""},
		{"answers after 20 ms", "--reaction 20", ""},
		{"answers after 200 ms", "--reaction 200", ""},
		{"one character at a time", "--inject split:1", ""},
		{"a check character that does not fit", "--inject bad-bcc:1", ""},
		{"parity left in bit 7", "--inject parity", ""},
		{"echo", "--inject echo", ""},
		{"garbage before the identification", "--inject garbage:5", ""},
		{"identification without escape", "--ident /ISk5MT174-0001", ""},
		{"mode A", "--mode A", ""},
		{"mode B", "--mode B", ""},
		{"mode D", "--mode D", `mode = "D"`},
		{"mode E", "--mode E", ""},
		{"first sign-on ignored", "--inject mute:1", ""},
		{"cut in its middle once", "--inject cut:200", ""},
		{"without a check character", "--inject no-bcc", ""},
		{"battery meter", "--battery --nul-gap 1000", "wake = \"normal\"\nbaud = 300"},
		{"all at once", "--inject echo --inject parity --inject garbage:3 --inject bad-bcc:1 --inject mute:1 --reaction 100", ""},
	} {
		for _, line := range []string{"--tcp 0", "--pty --strict-baud"} {
			t.Run(c.name+"/"+strings.Fields(line)[0][2:], func(t *testing.T) {
				t.Parallel()
				where, log := foreignMeter(t, strings.Fields(line+" "+c.args)...)
				port, frame := "tcp://"+where, ""
				if strings.HasPrefix(where, "/") {
					port, frame = where, "frame = \"8N1\"\n" // a terminal has no parity
				}
				keys := fmt.Sprintf("driver = \"iec62056-21\"\ntimezone = \"Europe/Berlin\"\nport = %q\n%s%s%s\n", port, frame, quick, c.keys)
				got := program(t, keys, "read", "main")
				err := isFeeder(got.out)
				if got.code != 0 || got.err != "" || err != nil {
					seen, _ := os.ReadFile(log)
					t.Errorf("exit code %d, %v\n%s\n%s", got.code, err, got.err, seen)
				}
			})
		}
	}
}

// The speed of the port behind a converter is changed over the network, between
// the option select and the answer. A terminal takes no time for what at 300 baud
// takes 200 ms, so a meter on it can answer sooner than any real one: it is read
// all the same, at the speed of the sign-on.
func TestTheProgramReadsAForeignOpticalPortBehindRFC2217(t *testing.T) {
	for _, reaction := range []string{"20", "200", "900"} {
		t.Run(reaction+" ms", func(t *testing.T) {
			t.Parallel()
			where, log := foreignMeter(t, "--pty", "--strict-baud", "--reaction", reaction)
			keys := fmt.Sprintf("driver = \"iec62056-21\"\ntimezone = \"Europe/Berlin\"\nport = \"rfc2217://%s?baud=300&mode=8N1\"\nframe = \"8N1\"\n", ser2net(t, where))
			got := program(t, keys, "read", "main")
			err := isFeeder(got.out)
			if seen, _ := os.ReadFile(log); got.code != 0 || err != nil || reaction == "900" && strings.Contains(string(seen), "baud mismatch") {
				t.Errorf("exit code %d, %v\n%s\n%s", got.code, err, got.err, seen)
			}
		})
	}
}

// ser2net serves a terminal by RFC 2217, and takes connections when it returns.
func ser2net(t *testing.T, device string) (address string) {
	t.Helper()
	path, err := exec.LookPath("ser2net")
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skip("ser2net is not installed: apt-get install ser2net")
	}
	address = porttest.Address(t)
	host, number, _ := net.SplitHostPort(address)
	dir := t.TempDir()
	file := filepath.Join(dir, "ser2net.yaml")
	content := fmt.Sprintf("%%YAML 1.1\n---\nconnection: &meter\n  accepter: telnet(rfc2217),tcp,%s,%s\n  connector: serialdev,%s,300n81,local\n", host, number, device)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "-n", "-d", "-c", file, "-P", filepath.Join(dir, "pid"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	dialer := net.Dialer{}
	for {
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
			return address
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(err)
		}
	}
}

// A password that the meter refuses is told as such, and sent once.
func TestARefusedPasswordIsSentOnce(t *testing.T) {
	for name, args := range map[string]string{"NAK": "", "error text": "--inject error-on-password", "B0": "--inject break-on-password"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where, log := foreignMeter(t, strings.Fields("--tcp 0 "+args)...)
			keys := fmt.Sprintf("driver = \"iec62056-21\"\nport = \"tcp://%s\"\nread = [\"1.8.0\"]\npassword = \"geheim77\"\n", where)
			got := program(t, keys, "read", "main")
			seen, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(seen), `"name": "P1"`); got.code != 1 || got.out != "" || n != 1 || !strings.Contains(got.err, "password") {
				t.Errorf("exit code %d, the password was sent %d times\n%s%s", got.code, n, got.out, got.err)
			}
			if strings.Contains(got.err, "geheim77") {
				t.Errorf("the password is told: %s", got.err)
			}
		})
	}
}

// What cannot be read is told, and gives nothing.
func TestWhatAForeignMeterDoesNotGiveIsTold(t *testing.T) {
	for _, c := range []struct{ name, args, keys, says string }{
		{"nobody there", "--inject mute:99", "ident_wait = \"500ms\"\n", "no answer"},
		{"the connection drops", "--inject drop", "", "closed"},
		{"no such object", "--lis200", "read = [\"9:999.0\"]\n", "object not available"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			driver := "iec62056-21"
			if strings.Contains(c.args, "lis200") {
				driver = "lis200"
			}
			where, _ := foreignMeter(t, strings.Fields("--tcp 0 "+c.args)...)
			got := program(t, fmt.Sprintf("driver = %q\nport = \"tcp://%s\"\n%s", driver, where, c.keys), "read", "main")
			if got.code != 1 || got.out != "" || !strings.Contains(got.err, c.says) {
				t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
			}
		})
	}
}

// What is written is in the foreign meter afterwards, and every refusal is told.
func TestTheProgramWritesToAForeignOpticalPort(t *testing.T) {
	const (
		iec = "driver = \"iec62056-21\"\ntimezone = \"Europe/Berlin\"\npassword = \"00000000\"\n" +
			"write = [\"clock\", \"switch\", \"total\"]\nregisters = [\"switch C.3.9 number 0..3\", \"total 1.8.0 number kWh 0..9999\"]\n"
		lis = "driver = \"lis200\"\ntimezone = \"Europe/Berlin\"\npassword = \"00000000\"\n" +
			"write = [\"clock\", \"note\"]\nregisters = [\"note 3:190.0 number 0..9\"]\n"
		short = "ident_wait = \"500ms\"\nanswer_wait = \"500ms\"\nchar_wait = \"300ms\"\n"
	)
	for _, c := range []struct{ name, args, keys, parameter, value, says, seen string }{
		{"a register", "", iec, "switch", "2", `{"parameter":"switch","ok":true,"value":2}`, `C.3.9(2)`},
		{"a register after a NAK", "--inject nak:1", iec, "switch", "1", `{"parameter":"switch","ok":true,"value":1}`, `C.3.9(1)`},
		{"a register through echo and parity", "--inject echo --inject parity", iec, "switch", "3", `{"parameter":"switch","ok":true,"value":3}`, `C.3.9(3)`},
		{"the clock", "", iec, "clock", "2026-07-01T12:11:12+02:00", `{"parameter":"clock","ok":true,"value":"2026-07-01T12:11:12+02:00"}`, `0.9.1(121112)`},
		{"a register that the meter protects", "", iec, "total", "5", `"ok":false,"error":"`, ""},
		{"out of range", "", iec, "switch", "4", `"ok":false,"error":"value not accepted: switch takes 0 to 3"}`, ""},
		{"a text for a number", "", iec, "switch", "on", `"ok":false,"error":"value not accepted`, ""},
		{"not allowed", "", strings.Replace(iec, `"switch", "total"`, `"total"`, 1), "switch", "2", `"ok":false,"error":"not sent`, ""},
		{"nobody there", "--inject mute:99", iec + short, "switch", "2", `"ok":false,"error":"not sent`, ""},
		{"a wrong password", "", strings.Replace(iec, "00000000", "geheim77", 1), "switch", "2", `"ok":false,"error":"`, ""},
		{"a value of LIS-200", "--lis200", lis, "note", "7", `{"parameter":"note","ok":true,"value":7}`, `190.0(7)`},
		{"the clock of LIS-200", "--lis200", lis, "clock", "2026-07-01T12:11:12+02:00", `"ok":true,"value":"2026-07-01T12:11:12+02:00"}`, `400.0(2026-07-01,12:11:12)`},
	} {
		for _, line := range []string{"--tcp 0", "--pty --strict-baud"} {
			t.Run(c.name+"/"+strings.Fields(line)[0][2:], func(t *testing.T) {
				t.Parallel()
				where, log := foreignMeter(t, strings.Fields(line+" "+c.args)...)
				got := program(t, portOf(where)+c.keys, "write", "main", c.parameter, c.value)
				seen, err := os.ReadFile(log)
				if err != nil {
					t.Fatal(err)
				}
				done := strings.Contains(c.says, `"ok":true`)
				if !strings.Contains(got.out, c.says) || got.code == 0 != done || strings.Count(got.out, "\n") != 1 {
					t.Errorf("exit code %d\n%s%s\n%s", got.code, got.out, got.err, seen)
				}
				if strings.Contains(got.out+got.err, "geheim77") || strings.Contains(got.out+got.err, "00000000") {
					t.Errorf("the password is told:\n%s%s", got.out, got.err)
				}
				if n := received(t, seen, c.seen); c.seen != "" && n != 1 {
					t.Errorf("%s was sent %d times:\n%s", c.seen, n, seen)
				}
			})
		}
	}
}

// portOf is the port of a foreign optical port, as a table has it; on a terminal,
// which has no parity, the frame too.
func portOf(where string) string {
	if strings.HasPrefix(where, "/") {
		return fmt.Sprintf("port = %q\nframe = \"8N1\"\n", where)
	}
	return fmt.Sprintf("port = %q\n", "tcp://"+where)
}

// Load profiles and archives, in partial blocks of which one comes damaged.
func TestTheProgramReadsTheLogsOfAForeignOpticalPort(t *testing.T) {
	const keys = "timezone = \"Europe/Berlin\"\npassword = \"00000000\"\n"
	for _, c := range []struct {
		name, args, keys string
		rows             int
	}{
		{"load profile", "", "driver = \"iec62056-21\"\n", 8},
		{"load profile in blocks", "", "driver = \"iec62056-21\"\nblock = 3\n", 8},
		{"first block damaged", "--inject bad-partial:1", "driver = \"iec62056-21\"\nblock = 3\n", 8},
		{"archive", "--lis200", "driver = \"lis200\"\nblock = 4\n", 12},
		{"archive, first block damaged", "--lis200 --inject bad-partial:1", "driver = \"lis200\"\nblock = 4\n", 12},
		{"archive, second block damaged", "--lis200 --inject bad-partial:2", "driver = \"lis200\"\nblock = 4\n", 12},
	} {
		for _, line := range []string{"--tcp 0", "--pty --strict-baud"} {
			t.Run(c.name+"/"+strings.Fields(line)[0][2:], func(t *testing.T) {
				t.Parallel()
				where, log := foreignMeter(t, strings.Fields(line+" "+c.args)...)
				got := program(t, portOf(where)+keys+c.keys, "history", "main", "--from", "2024-02-28", "--to", "2024-03-01")
				if n := strings.Count(got.out, `{"driver"`); got.code != 0 || n != c.rows {
					seen, _ := os.ReadFile(log)
					t.Errorf("exit code %d, %d rows\n%s%s\n%s", got.code, n, got.out, got.err, seen)
				}
			})
		}
	}
}

// received counts the messages of a foreign meter's log that it received with a
// text in them, after NAKs of its own apart.
func received(t *testing.T, log []byte, text string) int {
	t.Helper()
	n := 0
	for line := range bytes.Lines(log) {
		var event struct{ Dir, Hex string }
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		message, err := hex.DecodeString(event.Hex)
		if err != nil {
			t.Fatal(err)
		}
		for i := range message {
			message[i] &= 0x7F
		}
		if event.Dir == "rx" && bytes.Contains(message, []byte(text)) {
			n++
		}
	}
	return n
}
