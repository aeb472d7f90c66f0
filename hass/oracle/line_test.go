package oracle

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// plugIn puts a pushing meter on a pseudo-terminal: it says its telegram again
// and again, as meters do, whether or not anybody listens, until the test ends.
// It returns the port's path.
func plugIn(t *testing.T, telegram []byte, every time.Duration) string {
	t.Helper()
	return plugInCounting(t, func() []byte { return telegram }, every)
}

// plugInCounting is plugIn for a meter that says something else each time.
func plugInCounting(t *testing.T, telegram func() []byte, every time.Duration) string {
	t.Helper()
	meter, port := openLine(t)
	unplugged := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for say(t, meter, telegram()) {
			select {
			case <-tick.C:
			case <-unplugged:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(unplugged)
		done.Wait()
	})
	return port.Name()
}

// openLine is a pseudo-terminal that passes every byte as it is: the meter's end
// and the port. Both stay open for the test, so that this holds whoever opens
// and closes the port.
func openLine(t *testing.T) (meter, port *os.File) {
	t.Helper()
	end, port, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = port.Close() })
	if _, err := term.MakeRaw(int(port.Fd())); err != nil {
		t.Fatal(err)
	}
	// pty leaves the meter's end blocking, where a deadline has no effect.
	defer func() { _ = end.Close() }()
	fd, err := syscall.Dup(int(end.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	meter = os.NewFile(uintptr(fd), end.Name())
	t.Cleanup(func() { _ = meter.Close() })
	return meter, port
}

// say writes one telegram. Where nobody reads, the line's buffer is full and the
// rest of it is lost, as on a wire.
func say(t *testing.T, meter *os.File, telegram []byte) bool {
	t.Helper()
	if err := meter.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Error(err)
		return false
	}
	_, err := meter.Write(telegram)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
		return false
	}
	return true
}

func TestLineLosesWhatNobodyReads(t *testing.T) {
	meter, _ := openLine(t)
	if !say(t, meter, make([]byte, 1<<20)) {
		t.Error("the meter stopped speaking")
	}
}

func TestLineCarriesTelegramsUnchanged(t *testing.T) {
	telegram := []byte("/every byte\r\n\x00\x03\x11\x13\x7f\xff!\r\n")
	port, err := os.Open(plugIn(t, telegram, time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = port.Close() }()
	got := make([]byte, 3*len(telegram))
	if _, err := io.ReadFull(port, got); err != nil {
		t.Fatal(err)
	}
	if want := bytes.Repeat(telegram, 3); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
