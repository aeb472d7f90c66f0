package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
)

// ser2net serves a terminal as its own process. accepter is its word for the
// protocol, as in telnet(rfc2217),tcp.
func ser2net(t *testing.T, device, accepter string) (address string) {
	t.Helper()
	program, err := exec.LookPath("ser2net")
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatal(err)
	case err != nil:
		t.Skip("ser2net is not installed: apt-get install ser2net")
	}
	address = porttest.Address(t)
	host, number, _ := net.SplitHostPort(address)
	dir := t.TempDir()
	file := filepath.Join(dir, "ser2net.yaml")
	content := fmt.Sprintf("%%YAML 1.1\n---\nconnection: &meter\n  accepter: %s,%s,%s\n  connector: serialdev,%s,9600n81,local\n",
		accepter, host, number, device)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-n", "-d", "-c", file, "-P", filepath.Join(dir, "pid"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // t.Context has ended it
	return address
}

// openSoon opens a port whose server is just starting.
func openSoon(t *testing.T, text string) (drivers.Line, error) {
	t.Helper()
	var l drivers.Line
	var err error
	waitFor(t, func() bool {
		l, err = Open(t.Context(), mustParse(t, text))
		return !errors.Is(err, syscall.ECONNREFUSED)
	})
	if err == nil {
		t.Cleanup(func() { _ = l.Close() })
	}
	return l, err
}

func openSer2net(t *testing.T, m *meter, query string) drivers.Line {
	t.Helper()
	l, err := openSoon(t, "rfc2217://"+ser2net(t, m.device, "telnet(rfc2217),tcp")+query)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSer2netCarriesEveryByteBothWays(t *testing.T) {
	m := newMeter(t)
	l := openSer2net(t, m, "?baud=9600&mode=8N1")
	var all strings.Builder
	for b := range 512 {
		all.WriteByte(byte(b / 2)) // each twice, for the escapes
	}
	m.say(t, all.String())
	receive(t, l, all.String())
	if _, err := io.WriteString(l, all.String()); err != nil {
		t.Fatal(err)
	}
	receive(t, m, all.String())
}

// A pseudo-terminal knows speed and stop bits; its data bits are always eight.
func TestSer2netSetsTheTerminal(t *testing.T) {
	m := newMeter(t)
	l := openSer2net(t, m, "?baud=300&mode=7E2")
	if mode := m.termios(t); mode.Cflag&unix.CBAUD != unix.B300 || mode.Cflag&unix.CSTOPB == 0 || mode.Cflag&unix.CRTSCTS != 0 || mode.Iflag&(unix.IXON|unix.IXOFF) != 0 {
		t.Errorf("not at 300 baud with 2 stop bits and without flow control: %+v", mode)
	}
	m.say(t, "/XXX5\r\n")
	receive(t, l, "/XXX5\r\n")
	if _, err := io.WriteString(l, "\x06050\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	receive(t, m, "\x06050\r\n")
	if err := l.SetMode(drivers.Mode{Baud: 9600, Bits: 7, Parity: drivers.EvenParity, Stop: 1}); err != nil {
		t.Fatal(err)
	}
	if mode := m.termios(t); mode.Cflag&unix.CBAUD != unix.B9600 || mode.Cflag&unix.CSTOPB != 0 {
		t.Errorf("not at 9600 baud with 1 stop bit: %+v", mode)
	}
	m.say(t, "\x020.0.0(1)\r\n")
	receive(t, l, "\x020.0.0(1)\r\n")
}

func TestSer2netDiscards(t *testing.T) {
	m := newMeter(t)
	l := openSer2net(t, m, "?baud=115200&mode=8N1")
	m.say(t, "xold")
	receive(t, l, "x")
	far := l.(*rfc2217Line)
	waitFor(t, func() bool {
		far.mu.Lock()
		defer far.mu.Unlock()
		return string(far.unread) == "old"
	})
	if err := l.Discard(); err != nil {
		t.Fatal(err)
	}
	m.say(t, "new")
	receive(t, l, "new")
}

func TestSer2netReadEnds(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(drivers.Line, *meter)
		want error
	}{
		"at its deadline":                {func(l drivers.Line, _ *meter) { _ = l.SetReadDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
		"with Close":                     {func(l drivers.Line, _ *meter) { _ = l.Close() }, net.ErrClosed},
		"with the plug of the converter": {func(_ drivers.Line, m *meter) { m.unplug() }, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeter(t)
			l := openSer2net(t, m, "?baud=9600&mode=8N1")
			if err := blocked(t, l, func() { c.act(l, m) }); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestSer2netWithoutRFC2217SaysSo(t *testing.T) {
	m := newMeter(t)
	_, err := openSoon(t, "rfc2217://"+ser2net(t, m.device, "telnet,tcp")+"?baud=9600&mode=8N1")
	if err == nil || drivers.Hint(err) != noRFC2217 || !strings.Contains(err.Error(), "no COM-PORT-OPTION") {
		t.Errorf("error %v, hint %q", err, drivers.Hint(err))
	}
}

func TestSer2netHasOneClientAtATime(t *testing.T) {
	m := newMeter(t)
	first := openSer2net(t, m, "?baud=9600&mode=8N1")
	_, err := Open(t.Context(), mustParse(t, first.String()))
	if err == nil || !strings.Contains(drivers.Hint(err), "another program") {
		t.Errorf("error %v, hint %q", err, drivers.Hint(err))
	}
	m.say(t, "undisturbed")
	receive(t, first, "undisturbed")
}
