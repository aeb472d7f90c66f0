package commandline

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// full is a disk that takes nothing.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestPortsAreListedWithWhatIsDoubtful(t *testing.T) {
	var out strings.Builder
	err := printPorts(&out, []transport.PortInfo{
		{Path: "/dev/serial/by-id/usb-A", Device: "/dev/ttyUSB0", Description: "FTDI FT232R"},
		{Path: "/dev/ttyUSB1", Device: "/dev/ttyUSB1", Description: "CH340", Warning: "its name may change"},
	})
	want := []string{
		"/dev/serial/by-id/usb-A         /dev/ttyUSB0  FTDI FT232R",
		"/dev/ttyUSB1                    /dev/ttyUSB1  CH340",
		"  warning: its name may change",
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.TrimRight(line, " \n"))
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	out.Reset()
	if err := printPorts(&out, nil); err != nil || out.String() != "no serial port found\n" {
		t.Errorf("without a port: %q, %v", out.String(), err)
	}
	if err := printPorts(full{}, []transport.PortInfo{{Path: "/dev/ttyUSB0"}}); !errors.Is(err, errFull) {
		t.Errorf("onto a full disk: %v", err)
	}
}

func TestAGatewayThatMustBeRestartedIsAnErrorWithThatRemedy(t *testing.T) {
	var out strings.Builder
	err := printHealth(&out, &status.Gateway{Problem: "journal stands still since 2m0s"})
	if err == nil || err.Error() != "journal stands still since 2m0s" || drivers.Hint(err) != "restart the gateway" || out.Len() != 0 {
		t.Errorf("got %v, hint %q, printed %q", err, drivers.Hint(err), out.String())
	}
	if err := printHealth(full{}, &status.Gateway{Meters: []status.Meter{{Name: "main"}}}); !errors.Is(err, errFull) {
		t.Errorf("onto a full disk: %v", err)
	}
}

// On a terminal tables stand above a bar, and the bar goes when all is done.
func TestASearchOnATerminalShowsABar(t *testing.T) {
	var out, notes bytes.Buffer
	s := newScanShow(&out, &notes, true)
	begun := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	s.progress(drivers.Progress{At: "primary 0"}, begun)
	s.progress(drivers.Progress{At: "primary 25", Done: 0.1}, begun.Add(time.Minute))
	if err := s.found("[[meter]]", true); err != nil {
		t.Fatal(err)
	}
	s.end()
	if out.String() != "[[meter]]\n" || s.count != 1 {
		t.Errorf("printed %q, %d meters", out.String(), s.count)
	}
	shown, cleared := strings.CutSuffix(notes.String(), "\r")
	if blank := shown[strings.LastIndex(shown, "\r")+1:]; !strings.Contains(shown, "primary 0") || !cleared || strings.TrimSpace(blank) != "" {
		t.Errorf("the bar was shown as %q", notes.String())
	}
}

func TestASearchSaysHowLongItTakesOnceThatCanBeTold(t *testing.T) {
	for name, c := range map[string]struct {
		done, rest float64
		took       time.Duration
		want       string
	}{
		"halfway":           {0.5, 0.5, time.Minute, ", 1m0s left"},
		"after another day": {0.1, 0.4, time.Minute, ", 4m0s left"},
		"just begun":        {0.001, 0.999, time.Minute, ""},
		"in no time":        {0.5, 0.5, time.Millisecond, ""},
		"weeks":             {0.01, 0.99, 2 * time.Hour, ""},
	} {
		if got := left(c.done, c.rest, c.took); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if found(1) != "1 meter found" || found(2) != "2 meters found" {
		t.Errorf("got %q and %q", found(1), found(2))
	}
}

// What a meter has written does not steer the terminal, and colours are for
// terminals.
func TestASpanIsOneLineThatObeysNobody(t *testing.T) {
	for name, c := range map[string]struct {
		paint bool
		span  drivers.Span
		bytes string
		want  string
	}{
		"a value": {
			false, drivers.Span{Name: "value", Text: "energy", Value: "1.5 kWh"}, "\x01\x02", "     0  0102                        value                 energy = 1.5 kWh\n",
		},
		"deciphered": {
			false, drivers.Span{Name: "cipher", Clear: "0102"}, "\xff", "     0  ff                          cipher                [clear 0102]\n",
		},
		"a refused one, in red": {
			true, drivers.Span{Name: "checksum", Text: "refused", Bad: true}, "\x00", "     0  00                          \x1b[31mchecksum            \x1b[0m  \x1b[31mrefused\x1b[0m\n",
		},
		"one that means nothing, dim": {
			true, drivers.Span{Name: drivers.Unexplained}, "\x00", fmt.Sprintf("     0  00                          \x1b[2m%-20s\x1b[0m\n", drivers.Unexplained),
		},
		"a text that would clear the screen": {
			false, drivers.Span{Name: "text", Text: "\x1b[2Jgone", Value: "a\rb"}, "abc", "     0  abc                         text                  ·[2Jgone = a·b\n",
		},
		"a long text": {
			false, drivers.Span{Name: "text"}, strings.Repeat("x", 40), "     0  " + strings.Repeat("x", 23) + "…    text\n",
		},
		"many bytes": {
			false, drivers.Span{Name: "bytes"}, strings.Repeat("\x00", 40), "     0  0000000000000000…           bytes\n",
		},
	} {
		var out strings.Builder
		paint(c.paint).span(&out, &c.span, []byte(c.bytes))
		if got := out.String(); got != c.want {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, c.want)
		}
	}
}

// What a listener found is printed as it was heard.
func TestWhatWasFoundOnAPortIsATable(t *testing.T) {
	seven := drivers.Mode{Baud: 9600, Bits: 7, Parity: drivers.EvenParity, Stop: 1}
	for name, c := range map[string]struct {
		port  string
		found all.Found
		want  []string
	}{
		"on a serial line": {
			"/dev/ttyUSB0",
			all.Found{Match: all.Match{Sniff: drivers.Sniff{Telegrams: 2}}, Mode: seven},
			[]string{"2 telegram(s) of p1 in 9600 7E1\n", "name = \"meter\"\n", "baud=9600&mode=7E1\"\n"},
		},
		"behind a converter": {
			"tcp://192.0.2.7:23",
			all.Found{Match: all.Match{Sniff: drivers.Sniff{Telegrams: 1}}},
			[]string{"1 telegram(s) of p1 in its own mode\n", "port = \"tcp://192.0.2.7:23\"\n"},
		},
		"behind a converter with the wrong parity": {
			"tcp://192.0.2.7:23",
			all.Found{Match: all.Match{Sniff: drivers.Sniff{Telegrams: 1}, Parity: true}},
			[]string{"in 7E1 read as 8N1: set the converter to 7E1\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := transport.ParsePort(c.port, all.Auto.Mode)
			if err != nil {
				t.Fatal(err)
			}
			c.found.Driver = p1.Driver
			var out strings.Builder
			if err := printFound(&out, p, c.found); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
			if err := printFound(full{}, p, c.found); !errors.Is(err, errFull) {
				t.Errorf("onto a full disk: %v", err)
			}
		})
	}
}

// In a table a text stands as it is, and a number with all its digits.
func TestAValueOfALogIsATextWithoutQuotes(t *testing.T) {
	text := drivers.Value{Kind: drivers.Text, Text: `say "hello"`}
	if got := plainValue(&text); got != `say "hello"` {
		t.Errorf("got %s", got)
	}
	number := drivers.Value{Number: drivers.NewDecimal(1500, -3)}
	if got := plainValue(&number); got != "1.500" {
		t.Errorf("got %s", got)
	}
}
