package transport

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

var usual = drivers.Mode{Baud: 115200, Bits: 8, Parity: drivers.NoParity, Stop: 1}

func TestParsePort(t *testing.T) {
	sevenE1 := drivers.Mode{Baud: 9600, Bits: 7, Parity: drivers.EvenParity, Stop: 1}
	for name, c := range map[string]struct {
		text string
		want Port
		back string // as String prints it
	}{
		"a bare path takes the driver's mode": {
			"/dev/ttyUSB0",
			Port{Scheme: Serial, Path: "/dev/ttyUSB0", Mode: usual},
			"serial:///dev/ttyUSB0?baud=115200&mode=8N1",
		},
		"a bare path may carry keys": {
			"/dev/ttyUSB0?baud=9600&mode=7e1",
			Port{Scheme: Serial, Path: "/dev/ttyUSB0", Mode: sevenE1},
			"serial:///dev/ttyUSB0?baud=9600&mode=7E1",
		},
		"a by-id path keeps every character that udev lets through": {
			`serial:///dev/serial/by-id/usb-A#B+C%20D\x20@1:1.0-if00-port0?baud=9600&mode=7E1&rts=on&dtr=off`,
			Port{Scheme: Serial, Path: `/dev/serial/by-id/usb-A#B+C%20D\x20@1:1.0-if00-port0`, Mode: sevenE1, RTS: On, DTR: Off},
			`serial:///dev/serial/by-id/usb-A#B+C%20D\x20@1:1.0-if00-port0?baud=9600&mode=7E1&rts=on&dtr=off`,
		},
		"a mode without a speed keeps the driver's speed": {
			"serial:/dev/ttyS1?mode=8E1",
			Port{Scheme: Serial, Path: "/dev/ttyS1", Mode: drivers.Mode{Baud: 115200, Bits: 8, Parity: drivers.EvenParity, Stop: 1}},
			"serial:///dev/ttyS1?baud=115200&mode=8E1",
		},
		"a path is cleaned":           {"/dev//x/../ttyS0", Port{Scheme: Serial, Path: "/dev/ttyS0", Mode: usual}, "serial:///dev/ttyS0?baud=115200&mode=8N1"},
		"a host name in any case":     {"TCP://Meter.Local:2001/", Port{Scheme: TCP, Address: "meter.local:2001"}, "tcp://meter.local:2001"},
		"a container's name":          {"tcp://ser2net_1:02001", Port{Scheme: TCP, Address: "ser2net_1:2001"}, "tcp://ser2net_1:2001"},
		"an IPv4 address":             {"tcp://192.168.1.5:23", Port{Scheme: TCP, Address: "192.168.1.5:23"}, "tcp://192.168.1.5:23"},
		"an IPv6 address":             {"tcp://[FD00:0::5]:23", Port{Scheme: TCP, Address: "[fd00::5]:23"}, "tcp://[fd00::5]:23"},
		"an IPv6 address with a zone": {"tcp://[fe80::1%eth0]:23", Port{Scheme: TCP, Address: "[fe80::1%eth0]:23"}, "tcp://[fe80::1%eth0]:23"},
		"a converter that is set by us takes the driver's mode": {
			"rfc2217://Meter.Local:2001",
			Port{Scheme: RFC2217, Address: "meter.local:2001", Mode: usual},
			"rfc2217://meter.local:2001?baud=115200&mode=8N1",
		},
		"or has its own": {
			"RFC2217://[FD00:0::5]:02001/?baud=9600&mode=7e1&rts=on&dtr=off",
			Port{Scheme: RFC2217, Address: "[fd00::5]:2001", Mode: sevenE1, RTS: On, DTR: Off},
			"rfc2217://[fd00::5]:2001?baud=9600&mode=7E1&rts=on&dtr=off",
		},
		"a meter that speaks in datagrams": {"udp://Meter.Local", Port{Scheme: UDP, Address: "meter.local:3610"}, "udp://meter.local:3610"},
		"on another port":                  {"UDP://192.168.1.5:03611/", Port{Scheme: UDP, Address: "192.168.1.5:3611"}, "udp://192.168.1.5:3611"},
		"at an IPv6 address":               {"udp://fd00::5", Port{Scheme: UDP, Address: "[fd00::5]:3610"}, "udp://[fd00::5]:3610"},
		"at one in braces":                 {"udp://[fd00::5]", Port{Scheme: UDP, Address: "[fd00::5]:3610"}, "udp://[fd00::5]:3610"},
		"at one in braces with a port":     {"udp://[fd00::5]:99", Port{Scheme: UDP, Address: "[fd00::5]:99"}, "udp://[fd00::5]:99"},
		"a recording":                      {"replay:p1.jsonl", Port{Scheme: Replay, Path: "p1.jsonl", Speed: 1}, "replay:p1.jsonl"},
		"a recording played faster":        {"replay:/tmp/a b?speed=10", Port{Scheme: Replay, Path: "/tmp/a b", Speed: 10}, "replay:/tmp/a b?speed=10"},
		"a recording without pauses":       {"replay:p1.jsonl?speed=max", Port{Scheme: Replay, Path: "p1.jsonl"}, "replay:p1.jsonl?speed=max"},
		"a recording with a ? in it":       {"replay:a?b?speed=1", Port{Scheme: Replay, Path: "a?b", Speed: 1}, "replay:a?b?speed=1"},
		"a topic":                          {"mqtt:han/telegram?x=1", Port{Scheme: MQTT, Path: "han/telegram?x=1"}, "mqtt:han/telegram?x=1"},
		"blanks around it go":              {" /dev/ttyS0\n", Port{Scheme: Serial, Path: "/dev/ttyS0", Mode: usual}, "serial:///dev/ttyS0?baud=115200&mode=8N1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParsePort(c.text, usual)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("port (-want +got):\n%s", diff)
			}
			if got.String() != c.back {
				t.Errorf("String() = %q, want %q", got, c.back)
			}
		})
	}
}

func TestParsePortRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, why, remedy string }{
		"nothing":                        {"", "empty", "tcp://host:port"},
		"a name without a path":          {"ttyUSB0", `"ttyUSB0"`, "/dev/serial/by-id/"},
		"a scheme that nobody knows":     {"http://host:80", `unknown scheme "http"`, "replay:FILE"},
		"a converter without a scheme":   {"192.168.1.5:2001", "no scheme", "tcp://192.168.1.5:2001"},
		"two slashes":                    {"serial://dev/ttyUSB0", "does not begin with /", "serial:///dev/ttyUSB0"},
		"a relative path":                {"serial:dev/ttyUSB0", "no absolute path", "serial:///dev/ttyUSB0"},
		"no device":                      {"serial:///", "no device", "ports"},
		"an unknown key":                 {"/dev/ttyS0?bauds=9600", `"bauds"`, "baud, mode, rts, dtr"},
		"a key twice":                    {"/dev/ttyS0?baud=9600&baud=300", "more than once", "leave one"},
		"a bad query":                    {"/dev/ttyS0?baud=%zz", "cannot be read", "key=value"},
		"a speed that no UART has":       {"/dev/ttyS0?baud=9601", "9601 baud", "9600"},
		"a speed that is no number":      {"/dev/ttyS0?baud=fast", `"fast"`, "baud=9600"},
		"an impossible frame":            {"/dev/ttyS0?mode=9N1", `"9N1"`, "8N1"},
		"a signal that is neither":       {"/dev/ttyS0?rts=high", `"high"`, "rts=on or rts=off"},
		"a key on a TCP line":            {"tcp://host:1?baud=9600", `"baud"`, "takes none"},
		"no port":                        {"tcp://host", "missing port", "tcp://host:port"},
		"port 0":                         {"tcp://host:0", `"0"`, "1 to 65535"},
		"port 65536":                     {"tcp://host:65536", `"65536"`, "1 to 65535"},
		"a service name":                 {"tcp://host:http", `"http"`, "1 to 65535"},
		"no host":                        {"tcp://:2001", "no host name", "tcp://host:port"},
		"an IPv6 address without braces": {"tcp://fd00::5:23", "too many colons", "[fd00::5]"},
		"an IPv4 address out of range":   {"tcp://192.168.1.256:23", "no IPv4 address", "192.168.1.5"},
		"a host with blanks":             {"tcp://my host:23", "no host name", "tcp://host:port"},
		"one slash":                      {"tcp:/host:23", "no //", "tcp://host:port"},
		"an unknown key of a converter":  {"rfc2217://host:1?speed=9600", `"speed"`, "baud, mode, rts, dtr"},
		"a converter without a port":     {"rfc2217://host?baud=9600", "missing port", "rfc2217://host:port"},
		"a converter's impossible frame": {"rfc2217://host:1?mode=9N1", `port rfc2217://host:1: mode "9N1"`, "8N1"},
		"a converter's impossible speed": {"rfc2217://host:1?baud=1", "1 baud", "9600"},
		"a converter with one slash":     {"rfc2217:/host:23", "no //", "rfc2217://host:port"},
		"datagrams to nobody":            {"udp://", "missing port", "udp://host:port"},
		"datagrams with one slash":       {"udp:/host", "no //", "udp://host:port"},
		"datagrams to port 0":            {"udp://host:0", `"0"`, "1 to 65535"},
		"datagrams with a key":           {"udp://host?baud=9600", `"baud"`, "takes none"},
		"no file":                        {"replay:", "no file", "record"},
		"an idle replay":                 {"replay:f?speed=0", `"0"`, "speed=max"},
		"a replay at no speed":           {"replay:f?speed=NaN", `"NaN"`, "speed=max"},
		"no topic":                       {"mqtt:", "no topic", "mqtt:TOPIC"},
		"a broker in place of a topic":   {"mqtt://me:secret@host/t", "not a topic", "[mqtt]"},
		"many topics":                    {"mqtt:han/+/telegram", "many topics", "one topic"},
		"control characters":             {"/dev/tty\x00S0", "control characters", "anew"},
		"no text at all":                 {"/dev/tty\xff", "control characters", "anew"},
		"something endless":              {"/" + strings.Repeat("a", 5000), "5001 bytes", "a port is"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := ParsePort(c.text, usual)
			if err == nil {
				t.Fatalf("taken as %s", p)
			}
			if !strings.Contains(err.Error(), c.why) {
				t.Errorf("error %q does not say %q", err, c.why)
			}
			if hint := drivers.Hint(err); !strings.Contains(hint, c.remedy) {
				t.Errorf("hint %q does not say %q", hint, c.remedy)
			}
		})
	}
}

func TestParsePortNeedsAModeFromSomewhere(t *testing.T) {
	for text, remedy := range map[string]string{
		"/dev/ttyS0":           "?baud=9600",
		"/dev/ttyS0?baud=9600": "mode=8N1",
		"rfc2217://host:1":     "?baud=9600",
	} {
		if _, err := ParsePort(text, drivers.Mode{}); !strings.Contains(drivers.Hint(err), remedy) {
			t.Errorf("%s: error %v, hint %q does not say %q", text, err, drivers.Hint(err), remedy)
		}
	}
	if _, err := ParsePort("tcp://host:1", drivers.Mode{}); err != nil {
		t.Errorf("a TCP line needs no mode: %v", err)
	}
}

func TestPortErrorsShowNoPassword(t *testing.T) {
	for _, text := range []string{
		"tcp://user:hunter2@host:2001",
		"rfc2217://user:hunter2@host:2001",
		"rfc2217://host:2001?password=hunter2",
		"tcp://hunter2@host",
		"udp://user:hunter2@host",
		"udp://user:hunter2@host:3610",
		"udp://hunter2@host",
		"mqtt://user:hunter2@broker",
		"tcp://host:1?password=hunter2",
		"/dev/ttyS0?password=hunter2",
	} {
		_, err := ParsePort(text, usual)
		if err == nil || strings.Contains(err.Error()+drivers.Hint(err), "hunter2") {
			t.Errorf("%s: error %v, hint %q", text, err, drivers.Hint(err))
		}
	}
}

func TestPortsWithOneKeyShareALine(t *testing.T) {
	key := func(text string) string {
		t.Helper()
		p, err := ParsePort(text, usual)
		if err != nil {
			t.Fatal(err)
		}
		return p.Key()
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"/dev/ttyS0", "serial:///dev/ttyS0?baud=9600&mode=7E1", true},
		{"tcp://HOST:1", "tcp://host.:01/", true},
		{"tcp://[::1]:1", "tcp://[0:0:0:0:0:0:0:1]:1", true},
		{"replay:./a", "replay:a?speed=max", true},
		{"rfc2217://HOST:1?baud=300", "rfc2217://host:1", true},
		{"/dev/ttyS0", "/dev/ttyS1", false},
		{"tcp://host:1", "tcp://host:2", false},
		{"replay:/dev/ttyS0", "/dev/ttyS0", false},
	} {
		if got := key(c.a) == key(c.b); got != c.same {
			t.Errorf("%s and %s share a line: %t, want %t", c.a, c.b, got, c.same)
		}
	}
}

func FuzzParsePort(f *testing.F) {
	for _, text := range []string{
		"/dev/serial/by-id/usb-FTDI_FT232R-if00-port0", "serial:///dev/ttyS0?baud=300&mode=7E1&rts=off",
		"tcp://[fe80::1%eth0]:23", "tcp://Host.:1/", "replay:a?b?speed=0.5", "replay:x?speed=max", "rfc2217://h:1", "rfc2217://[::1]:1/?baud=300&mode=7E1&dtr=off",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePort(text, usual)
		if err != nil {
			if drivers.Hint(err) == "" {
				t.Fatalf("%q: no remedy in: %v", text, err)
			}
			return
		}
		again, err := ParsePort(p.String(), drivers.Mode{})
		if err != nil {
			t.Fatalf("%q prints as %q, which is refused: %v", text, p, err)
		}
		if again != p || again.Key() != p.Key() {
			t.Fatalf("%q prints as %q, which reads as %#v, not %#v", text, p, again, p)
		}
	})
}
