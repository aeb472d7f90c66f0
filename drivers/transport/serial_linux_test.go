package transport

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"github.com/tarm/serial"
	"golang.org/x/sys/unix"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// meter is the far end of a pseudo-terminal.
type meter struct {
	*os.File
	device string
	near   *os.File // keeps the terminal alive while nobody has it open
}

func newMeter(tb testing.TB) *meter {
	tb.Helper()
	far, near, err := pty.Open()
	if err != nil {
		tb.Skipf("no pseudo-terminals here: %v", err)
	}
	m := &meter{File: far, device: near.Name(), near: near}
	tb.Cleanup(m.unplug)
	return m
}

// unplug pulls the plug.
func (m *meter) unplug() {
	m.near.Close()
	m.Close()
}

func (m *meter) say(tb testing.TB, p string) {
	tb.Helper()
	if _, err := m.WriteString(p); err != nil {
		tb.Fatal(err)
	}
}

// termios is the mode that the port is set to.
func (m *meter) termios(tb testing.TB) unix.Termios {
	tb.Helper()
	raw, err := m.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	var mode *unix.Termios
	if err := errors.Join(raw.Control(func(fd uintptr) { mode, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }), err); err != nil {
		tb.Fatal(err)
	}
	return *mode
}

func TestSerialCarriesEveryByteBothWays(t *testing.T) {
	m := newMeter(t)
	l := mustOpen(t, m.device)
	var all strings.Builder
	for b := range 256 {
		all.WriteByte(byte(b))
	}
	m.say(t, all.String())
	receive(t, l, all.String())
	if _, err := io.WriteString(l, all.String()); err != nil {
		t.Fatal(err)
	}
	receive(t, m, all.String())
}

func TestSerialModeReachesTheTerminal(t *testing.T) {
	m := newMeter(t)
	l := mustOpen(t, m.device+"?baud=2400&mode=8E1")
	mode := m.termios(t)
	if mode.Cflag&unix.CBAUD != unix.B2400 || mode.Lflag != 0 || mode.Oflag != 0 {
		t.Errorf("not raw at 2400 baud: %+v", mode)
	}
	if mode.Iflag != unix.IGNPAR|unix.INPCK {
		t.Errorf("bytes with wrong parity are not dropped: input flags %#o", mode.Iflag)
	}
	if err := l.SetMode(drivers.Mode{Baud: 300, Bits: 7, Parity: drivers.EvenParity, Stop: 2}); err != nil {
		t.Fatal(err)
	}
	mode = m.termios(t)
	if mode.Cflag&unix.CBAUD != unix.B300 || mode.Cflag&unix.CSIZE != unix.CS8 || mode.Cflag&unix.CSTOPB == 0 {
		t.Errorf("7E2 at 300 baud is not set as 8N2: %#o", mode.Cflag)
	}
	if mode.Iflag&unix.INPCK != 0 {
		t.Error("the kernel checks a parity that it does not know")
	}
}

func TestSerialModeChangesInMidStream(t *testing.T) {
	m := newMeter(t)
	l := mustOpen(t, m.device+"?baud=300&mode=7E1")
	m.say(t, "\xAF") // '/' with even parity
	receive(t, l, "/")
	m.say(t, "waiting")
	if err := l.SetMode(usual); err != nil {
		t.Fatal(err)
	}
	receive(t, l, "waiting")
	m.say(t, "\xAF")
	receive(t, l, "\xAF")
	if err := l.SetMode(drivers.Mode{Baud: 301, Bits: 8, Parity: drivers.NoParity, Stop: 1}); err == nil {
		t.Error("301 baud is accepted")
	}
	m.say(t, "as before")
	receive(t, l, "as before")
}

func TestSerialParityIsCheckedAndStripped(t *testing.T) {
	m := newMeter(t)
	l := mustOpen(t, m.device+"?baud=9600&mode=7E1")
	if _, err := io.WriteString(l, "/?!\r\n"); err != nil {
		t.Fatal(err)
	}
	receive(t, m, "\xAF\x3F\x21\x8D\x0A")
	// "1234" as sent, with one bit of the 2 flipped: 2 becomes 3.
	m.say(t, "\xB1\xB3\x33\xB4")
	receive(t, l, "1\xB334")
}

func TestSerialDeadlineEndsAReadAndTheLineGoesOn(t *testing.T) {
	m := newMeter(t)
	l := mustOpen(t, m.device)
	if err := l.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, error %v", n, err)
	}
	m.say(t, "/")
	receive(t, l, "/")
}

func TestSerialReadIsWoken(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(*meter, drivers.Line)
		want error
	}{
		"by a deadline in the past": {func(_ *meter, l drivers.Line) { _ = l.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"by Close":                  {func(_ *meter, l drivers.Line) { _ = l.Close() }, os.ErrClosed},
		"by a pulled plug":          {func(m *meter, _ drivers.Line) { m.unplug() }, ErrHungUp},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeter(t)
			l := mustOpen(t, m.device)
			if err := blocked(t, l, func() { c.act(m, l) }); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

// A USB adapter that goes away hangs its tty up: reads then give nothing, which
// must not pass for a quiet line.
func TestSerialHangUpIsNoSilence(t *testing.T) {
	m := newMeter(t)
	l := mustOpen(t, m.device)
	err := blocked(t, l, func() {
		raw, err := m.near.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var hung error
		if err := raw.Control(func(fd uintptr) { hung = unix.IoctlSetInt(int(fd), unix.TIOCVHANGUP, 0) }); err != nil {
			t.Fatal(err)
		}
		if hung != nil {
			_ = l.Close()
			t.Skipf("hanging a terminal up needs root: %v", hung)
		}
	})
	if !errors.Is(err, ErrHungUp) || drivers.Hint(err) == "" {
		t.Errorf("error %v, hint %q", err, drivers.Hint(err))
	}
	if _, err := io.WriteString(l, "?"); !errors.Is(err, ErrHungUp) {
		t.Errorf("writing gives %v", err)
	}
}

func TestSerialDiscardDropsWhatWasNotRead(t *testing.T) {
	m := newMeter(t)
	l := mustOpen(t, m.device)
	m.say(t, "x")
	receive(t, l, "x")
	m.say(t, "old")
	waitFor(t, func() bool { return l.(*serialLine).arrived(t) == 3 })
	if err := l.Discard(); err != nil {
		t.Fatal(err)
	}
	m.say(t, "new")
	receive(t, l, "new")
}

// arrived is how many bytes wait to be read.
func (l *serialLine) arrived(t *testing.T) (n int) {
	t.Helper()
	err := l.control(func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSerialFlush(t *testing.T) {
	m := newMeter(t)
	l := mustOpen(t, m.device)
	if _, err := io.WriteString(l, "/?!\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	m.unplug()
	if err := l.Flush(context.Background()); !errors.Is(err, ErrHungUp) {
		t.Errorf("with the plug pulled: %v", err)
	}
}

func TestSendingTimeIsThatOfTenBitsAByte(t *testing.T) {
	for _, c := range []struct {
		n, baud int
		want    time.Duration
	}{
		{6, 2400, 25 * time.Millisecond},
		{1, 115200, time.Millisecond},     // no busy loop
		{261, 300, 50 * time.Millisecond}, // and no long sleep
	} {
		if got := sendingTime(c.n, c.baud); got != c.want {
			t.Errorf("%d bytes at %d baud: %s, want %s", c.n, c.baud, got, c.want)
		}
	}
}

// refusedOpen opens a port that cannot be opened.
func refusedOpen(t *testing.T, text string, want error, remedy string) {
	t.Helper()
	l, err := Open(t.Context(), mustParse(t, text))
	if err == nil {
		l.Close()
		t.Fatalf("%s was opened", text)
	}
	for _, sentinel := range []error{ErrBusy, ErrMissing, ErrForbidden} {
		if errors.Is(err, sentinel) != errors.Is(want, sentinel) {
			t.Errorf("error %q is %q: %t", err, sentinel, errors.Is(err, sentinel))
		}
	}
	if hint := drivers.Hint(err); !strings.Contains(hint, remedy) {
		t.Errorf("hint %q does not say %q", hint, remedy)
	}
}

func TestSerialTellsBusyMissingAndForbiddenApart(t *testing.T) {
	t.Run("busy: the same adapter under two names", func(t *testing.T) {
		m := newMeter(t)
		other := filepath.Join(t.TempDir(), "usb-adapter")
		if err := os.Symlink(m.device, other); err != nil {
			t.Fatal(err)
		}
		first := mustOpen(t, m.device)
		refusedOpen(t, other, ErrBusy, "same port for both")
		first.Close()
		mustOpen(t, other)
	})
	t.Run("missing", func(t *testing.T) {
		refusedOpen(t, "/dev/serial/by-id/usb-none", ErrMissing, "ports")
	})
	t.Run("missing: a link that leads nowhere", func(t *testing.T) {
		link := filepath.Join(t.TempDir(), "usb-adapter")
		if err := os.Symlink("/dev/ttyUSB99", link); err != nil {
			t.Fatal(err)
		}
		refusedOpen(t, link, ErrMissing, "ports")
	})
	t.Run("forbidden", func(t *testing.T) {
		m := newMeter(t)
		if err := os.Chmod(m.device, 0o660); err != nil {
			t.Fatal(err)
		}
		asNobody(t)
		refusedOpen(t, m.device, ErrForbidden, "usermod -aG ")
	})
	t.Run("forbidden to its group too", func(t *testing.T) {
		m := newMeter(t)
		if err := os.Chmod(m.device, 0o600); err != nil {
			t.Fatal(err)
		}
		asNobody(t)
		refusedOpen(t, m.device, ErrForbidden, "udev")
	})
	t.Run("no serial port at all", func(t *testing.T) {
		refusedOpen(t, "/dev/null", nil, "ports")
		file := filepath.Join(t.TempDir(), "recording")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		refusedOpen(t, file, nil, "replay:")
	})
}

// asNobody takes this goroutine's rights to files away until the test's end.
func asNobody(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give up rights for a while")
	}
	const nobody = 65534
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	for _, set := range []struct {
		to func(int) (int, error)
		as int
	}{{unix.SetfsgidRetGid, nobody}, {unix.SetfsuidRetUid, nobody}} {
		old, err := set.to(set.as)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = set.to(old) })
	}
}

func TestSerialIsBusyWhileAnotherProcessHasIt(t *testing.T) {
	if device := os.Getenv("TEST_HOLD_DEVICE"); device != "" {
		holdDevice(t, device)
		return
	}
	m := newMeter(t)
	in, out := newPipe(t), newPipe(t)
	child := startSelf(t, "TEST_HOLD_DEVICE="+m.device, in.r, out.w)
	out.w.Close()
	receive(t, out.r, "held")
	refusedOpen(t, m.device, ErrBusy, "process "+strconv.Itoa(child.Pid))
	in.w.Close() // the child lets go
	if _, err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, m.device)
}

// holdDevice runs in the other process, until its stdin ends.
func holdDevice(t *testing.T, device string) {
	t.Helper()
	mustOpen(t, device)
	os.Stdout.WriteString("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

type pipe struct{ r, w *os.File }

func newPipe(t *testing.T) pipe {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return pipe{r, w}
}

// startSelf runs the calling test in another process.
func startSelf(t *testing.T, env string, stdin, stdout *os.File) *os.Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.StartProcess(exe, []string{exe, "-test.run=^" + t.Name() + "$"}, &os.ProcAttr{
		Env:   append(os.Environ(), env),
		Files: []*os.File{stdin, stdout, os.Stderr},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSerialWithoutModemLines(t *testing.T) {
	m := newMeter(t)
	refusedOpen(t, m.device+"?rts=on", nil, "leave out rts= and dtr=")
	mustOpen(t, m.device)
}

func TestSerialKeepsItsMarkOffPseudoTerminals(t *testing.T) {
	m := newMeter(t)
	l := mustOpen(t, m.device).(*serialLine)
	var claimed int
	if err := l.control(func(fd int) (err error) {
		claimed, err = unix.IoctlGetInt(fd, unix.TIOCGEXCL)
		return err
	}); err != nil || claimed != 0 {
		t.Errorf("claimed: %d, %v", claimed, err)
	}
}

// Modem lines and the exclusive mark need a real port. It is never guessed: the
// first one of a machine may be its console, or somebody's meter.
func TestSerialOnAChip(t *testing.T) {
	device := os.Getenv("TEST_SERIAL_DEVICE")
	if device == "" {
		t.Skip("TEST_SERIAL_DEVICE names no serial port to test on")
	}
	port := mustParse(t, device+"?rts=off&dtr=on")
	line, err := Open(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	l := line.(*serialLine)
	defer l.Close()
	var signals, claimed int
	if err := l.control(func(fd int) (err error) {
		if signals, err = unix.IoctlGetInt(fd, unix.TIOCMGET); err != nil {
			return err
		}
		claimed, err = unix.IoctlGetInt(fd, unix.TIOCGEXCL)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if signals&unix.TIOCM_DTR == 0 || signals&unix.TIOCM_RTS != 0 || claimed == 0 {
		t.Errorf("signals %#x, claimed %d", signals, claimed)
	}
	if err := l.SetMode(drivers.Mode{Baud: 9600, Bits: 8, Parity: drivers.EvenParity, Stop: 1}); err != nil {
		t.Error(err)
	}
}

func TestSerialLineNamesItsPort(t *testing.T) {
	m := newMeter(t)
	l := mustOpen(t, m.device+"?baud=9600&mode=7E1")
	if want := "serial://" + m.device + "?baud=9600&mode=7E1"; l.String() != want {
		t.Errorf("String() = %q, want %q", l, want)
	}
}

func TestHolderSeesAnOpenFile(t *testing.T) {
	m := newMeter(t)
	name, pid := holder(m.device)
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	want := []any{strings.TrimSpace(string(comm)), syscall.Getpid()}
	if diff := cmp.Diff(want, []any{name, pid}); diff != "" {
		t.Errorf("holder (-want +got):\n%s", diff)
	}
}

// BenchmarkSerialLatency is the time of one byte from the far end to its reader,
// through our own descriptor and through tarm's, which waits in the kernel.
func BenchmarkSerialLatency(b *testing.B) {
	b.Run("own", func(b *testing.B) {
		m := newMeter(b)
		l := mustOpen(b, m.device)
		pingPong(b, m, l)
	})
	b.Run("tarm", func(b *testing.B) {
		m := newMeter(b)
		p, err := serial.OpenPort(&serial.Config{Name: m.device, Baud: 115200, ReadTimeout: 100 * time.Millisecond})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		pingPong(b, m, p)
	})
}

// pingPong sends a byte there and back for each step.
func pingPong(b *testing.B, m *meter, line io.ReadWriter) {
	b.Helper()
	const last = '!'
	ended := make(chan error, 1)
	go func() { ended <- echo(line, last) }()
	buf := []byte{'/'}
	for b.Loop() {
		turn(b, m, buf)
	}
	buf[0] = last
	turn(b, m, buf)
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// turn sends buf and waits for it.
func turn(b *testing.B, m *meter, buf []byte) {
	b.Helper()
	if _, err := m.Write(buf); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(m, buf); err != nil {
		b.Fatal(err)
	}
}

// echo sends back each byte up to last.
func echo(line io.ReadWriter, last byte) error {
	for buf := make([]byte, 1); ; {
		if _, err := io.ReadFull(line, buf); err != nil {
			return err
		}
		if _, err := line.Write(buf); err != nil || buf[0] == last {
			return err
		}
	}
}

func TestWhatASignalInterruptsIsDoneAgain(t *testing.T) {
	answers := []error{unix.EINTR, os.NewSyscallError("ioctl", unix.EINTR), unix.EBUSY}
	err := uninterrupted(func() error {
		err := answers[0]
		answers = answers[1:]
		return err
	})
	if !errors.Is(err, unix.EBUSY) || len(answers) != 0 {
		t.Errorf("got %v with %d answers left", err, len(answers))
	}
}
