package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/tarm/serial"
	"golang.org/x/sys/unix"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	// The device numbers of pseudo-terminals: Documentation/admin-guide/devices.txt.
	firstPTYMajor = 136
	lastPTYMajor  = 143

	missingDevice = "is the adapter plugged in? `meter2mqtt ports` lists what is there; a container must be given the device"
)

// serialLine is a tty. Its bytes go through file; see the package comment.
type serialLine struct {
	port   Port
	device string // what port.Path led to when it was opened
	file   *os.File
	pty    bool
	parity atomic.Uint32 // drivers.Parity that is kept in bit 7; NoParity: none is
}

func openSerial(port Port) (drivers.Line, error) {
	device, err := filepath.EvalSymlinks(port.Path)
	if err != nil {
		return nil, refuseSerial(port, port.Path, err)
	}
	file, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, refuseSerial(port, device, err)
	}
	l := &serialLine{port: port, device: device, file: file}
	if err := l.setUp(); err != nil {
		file.Close()
		return nil, refuseSerial(port, device, err)
	}
	return l, nil
}

// setUp makes the line ours and sets its mode.
func (l *serialLine) setUp() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeCharDevice == 0 {
		return unix.ENOTTY
	}
	if err := l.control(l.claim); err != nil {
		return err
	}
	return l.setMode(l.port.Mode)
}

// claim takes the lock, or says EBUSY.
func (l *serialLine) claim(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	major := unix.Major(uint64(st.Rdev)) //nolint:unconvert // its width differs by architecture
	l.pty = major >= firstPTYMajor && major <= lastPTYMajor
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return unix.EBUSY
		}
		return err
	}
	// Root is let in although another program has claimed the port.
	if claimed, err := unix.IoctlGetInt(fd, unix.TIOCGEXCL); err == nil && claimed != 0 && !l.pty {
		return unix.EBUSY
	}
	return nil
}

// control runs do on the descriptor without taking it out of the poller.
func (l *serialLine) control(do func(fd int) error) error {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = uninterrupted(func() error { return do(int(fd)) }) }); err != nil {
		return err
	}
	return inner
}

// uninterrupted does it again as often as a signal interrupts it: the runtime sends
// itself some, and an ioctl of a tty is not begun anew by itself.
func uninterrupted(do func() error) error {
	for {
		if err := do(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// exclusive lets others open the port, or not.
func (l *serialLine) exclusive(on bool) error {
	if l.pty {
		return nil
	}
	request := uint(unix.TIOCNXCL)
	if on {
		request = unix.TIOCEXCL
	}
	return l.control(func(fd int) error { return unix.IoctlSetInt(fd, request, 0) })
}

// SetMode sets speed and frame at once: Flush before it what is to leave at the
// old ones.
func (l *serialLine) SetMode(m drivers.Mode) error {
	if err := checkMode(l.port.Path, m); err != nil {
		return err
	}
	if err := l.setMode(m); err != nil {
		return l.down(err)
	}
	return nil
}

func (l *serialLine) setMode(m drivers.Mode) error {
	if err := l.exclusive(false); err != nil {
		return err
	}
	if err := setTermios(l.device, m); err != nil {
		return err
	}
	if err := l.exclusive(true); err != nil {
		return err
	}
	if m.Bits == 8 && m.Parity != drivers.NoParity {
		if err := l.control(checkInput); err != nil {
			return err
		}
	}
	kept := drivers.NoParity
	if softParity(m) {
		kept = m.Parity
	}
	l.parity.Store(uint32(kept))
	return l.control(l.setSignals) // opening has raised both
}

// setTermios sets the mode of a tty, which outlives the handle that set it.
func setTermios(device string, m drivers.Mode) error {
	c := &serial.Config{
		Name:     device,
		Baud:     m.Baud,
		Size:     m.Bits,
		Parity:   serial.Parity(m.Parity),
		StopBits: serial.StopBits(m.Stop),
	}
	if softParity(m) {
		c.Size, c.Parity = 8, serial.ParityNone
	}
	return uninterrupted(func() error {
		p, err := serial.OpenPort(c)
		if err != nil {
			return err
		}
		return p.Close()
	})
}

// checkInput has the kernel drop bytes whose parity is wrong.
func checkInput(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag |= unix.INPCK
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// setSignals raises RTS and DTR or lets go of them. A port that has none, such
// as a pseudo-terminal, is an error only if one was asked for.
func (l *serialLine) setSignals(fd int) error {
	for _, line := range []struct {
		bit  int
		want Signal
	}{{unix.TIOCM_RTS, l.port.RTS}, {unix.TIOCM_DTR, l.port.DTR}} {
		request := uint(unix.TIOCMBIS)
		if line.want == Off {
			request = unix.TIOCMBIC
		}
		err := unix.IoctlSetPointerInt(fd, request, line.bit)
		if err != nil && line.want != Raised {
			return drivers.WithHint(fmt.Errorf("no modem lines: %w", err), "leave out rts= and dtr=")
		}
	}
	return nil
}

// Read waits for bytes until the deadline.
func (l *serialLine) Read(p []byte) (int, error) {
	n, err := l.file.Read(p)
	if parity := drivers.Parity(l.parity.Load()); parity != drivers.NoParity {
		stripParity(p[:n], parity)
	}
	if err != nil {
		return n, l.down(err)
	}
	return n, nil
}

// Write hands bytes to the kernel.
func (l *serialLine) Write(p []byte) (int, error) {
	if parity := drivers.Parity(l.parity.Load()); parity != drivers.NoParity {
		p = appendParity(make([]byte, 0, len(p)), p, parity)
	}
	n, err := l.file.Write(p)
	if err != nil {
		return n, l.down(err)
	}
	return n, nil
}

// down says what became of the line. The tty waits for bytes as long as its
// device is there, so an empty read is a hang-up, as is EIO.
func (l *serialLine) down(err error) error {
	for _, gone := range []error{io.EOF, unix.EIO, unix.ENXIO, unix.ENODEV} {
		if errors.Is(err, gone) {
			return drivers.WithHint(fmt.Errorf("%s: %w", l.port, ErrHungUp), missingDevice)
		}
	}
	return fmt.Errorf("%s: %w", l.port, cause(err))
}

// SetReadDeadline also wakes a read that is under way.
func (l *serialLine) SetReadDeadline(t time.Time) error { return l.file.SetReadDeadline(t) }

// Discard drops received bytes. Bytes on their way out still leave.
func (l *serialLine) Discard() error {
	err := l.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) })
	if err != nil {
		return l.down(err)
	}
	return nil
}

// Flush waits until the last stop bit is on the wire. The kernel's own wait
// knows no context, so it is only begun when its queue is empty.
func (l *serialLine) Flush(ctx context.Context) error {
	for {
		waiting, err := l.unsent()
		if err != nil {
			return l.down(err)
		}
		if waiting == 0 {
			break
		}
		if err := sleep(ctx, sendingTime(waiting, l.port.Mode.Baud)); err != nil {
			return fmt.Errorf("%s: %d bytes not sent: %w", l.port, waiting, err)
		}
	}
	err := l.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCSBRK, 1) })
	if err != nil {
		return l.down(err)
	}
	return nil
}

func (l *serialLine) unsent() (n int, err error) {
	err = l.control(func(fd int) error {
		n, err = unix.IoctlGetInt(fd, unix.TIOCOUTQ)
		return err
	})
	return n, err
}

// sendingTime is how long n bytes of ten bits take, within what is sensible to
// wait before looking again.
func sendingTime(n, baud int) time.Duration {
	d := time.Duration(n) * 10 * time.Second / time.Duration(baud)
	return min(max(d, time.Millisecond), 50*time.Millisecond)
}

// Close lets go of the line and wakes whoever reads.
func (l *serialLine) Close() error {
	_ = l.exclusive(false) // if the device is gone, so is the mark
	return l.file.Close()
}

// String is the port as configured.
func (l *serialLine) String() string { return l.port.String() }

// refuseSerial tells why a port could not be had.
func refuseSerial(port Port, device string, err error) error {
	switch {
	case drivers.Hint(err) != "":
		return fmt.Errorf("%s: %w", port, err)
	case errors.Is(err, unix.EBUSY):
		return drivers.WithHint(fmt.Errorf("%s: %w", port, ErrBusy), busyHint(device))
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EIO):
		return drivers.WithHint(fmt.Errorf("%s: %w: %w", port, ErrMissing, cause(err)), missingDevice)
	case errors.Is(err, unix.ENOTTY):
		return drivers.WithHint(fmt.Errorf("%s: no serial port", port), "`meter2mqtt ports` lists serial ports; a recording is played with replay:FILE")
	}
	return refusal(port, err, missingDevice, forbiddenHint(device))
}
