package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
)

// converter listens on loopback. accept is the far end of the next connection.
func converter(t *testing.T) (port string, accept func() *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "tcp://" + l.Addr().String(), func() *net.TCPConn {
		t.Helper()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*net.TCPConn)
	}
}

func TestTCPCarriesBytesBothWays(t *testing.T) {
	port, accept := converter(t)
	l := mustOpen(t, port)
	far := accept()
	if _, err := io.WriteString(far, "/XXX5\r\n"); err != nil {
		t.Fatal(err)
	}
	receive(t, l, "/XXX5\r\n")
	if _, err := io.WriteString(l, "/?!\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	receive(t, far, "/?!\r\n")
	if l.String() != port {
		t.Errorf("String() = %q, want %q", l, port)
	}
}

func TestTCPTakesHostNames(t *testing.T) {
	port, accept := converter(t)
	l := mustOpen(t, strings.Replace(port, "127.0.0.1", "localhost", 1))
	far := accept()
	if _, err := io.WriteString(far, "!"); err != nil {
		t.Fatal(err)
	}
	receive(t, l, "!")
}

func TestTCPReadIsWoken(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(drivers.Line, *net.TCPConn)
		want error
	}{
		"by a deadline in the past": {func(l drivers.Line, _ *net.TCPConn) { _ = l.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"by Close":                  {func(l drivers.Line, _ *net.TCPConn) { _ = l.Close() }, net.ErrClosed},
		"by a peer that closes":     {func(_ drivers.Line, far *net.TCPConn) { far.Close() }, io.EOF},
		"by a peer that resets": {func(_ drivers.Line, far *net.TCPConn) {
			_ = far.SetLinger(0)
			far.Close()
		}, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			port, accept := converter(t)
			l := mustOpen(t, port)
			far := accept()
			err := blocked(t, l, func() { c.act(l, far) })
			if !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), port+": ") {
				t.Errorf("error %v, want %v after the port", err, c.want)
			}
			if strings.Contains(err.Error(), "->") {
				t.Errorf("error %q differs from try to try", err)
			}
		})
	}
}

func TestTCPDiscardKeepsTheDeadline(t *testing.T) {
	port, accept := converter(t)
	l := mustOpen(t, port)
	far := accept()
	if _, err := io.WriteString(far, "xold"); err != nil {
		t.Fatal(err)
	}
	receive(t, l, "x")
	if err := l.Discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(far, "new"); err != nil {
		t.Fatal(err)
	}
	receive(t, l, "new")
	if err := l.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := l.Discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the deadline was forgotten: %v", err)
	}
	far.Close()
	if err := l.Discard(); !errors.Is(err, io.EOF) {
		t.Errorf("discarding from a closed connection gives %v", err)
	}
}

func TestTCPHasNoModeToSet(t *testing.T) {
	port, accept := converter(t)
	l := mustOpen(t, port)
	accept()
	if err := l.SetMode(usual); !errors.Is(err, errors.ErrUnsupported) || drivers.Hint(err) == "" {
		t.Errorf("error %v, hint %q", err, drivers.Hint(err))
	}
}

func TestTCPRefusedIsTheSameErrorEachTime(t *testing.T) {
	port := mustParse(t, "tcp://"+porttest.Address(t))
	_, first := Open(t.Context(), port)
	_, second := Open(t.Context(), port)
	if !errors.Is(first, syscall.ECONNREFUSED) || !strings.Contains(drivers.Hint(first), "port number") {
		t.Fatalf("error %v, hint %q", first, drivers.Hint(first))
	}
	if second == nil || first.Error() != second.Error() {
		t.Errorf("first %q, then %v", first, second)
	}
}

func TestTCPErrorsCarryTheRemedy(t *testing.T) {
	port := mustParse(t, "tcp://meter:1")
	for name, c := range map[string]struct {
		err    error
		remedy string
	}{
		"an unknown name":     {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "meter", IsNotFound: true}}, "spelled right"},
		"a dead name server":  {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "read udp 127.0.0.1:4711: timeout", Name: "meter", IsTimeout: true}}, "name server"},
		"nobody answers":      {&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, "switched on"},
		"a host out of reach": {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, "switched on"},
	} {
		t.Run(name, func(t *testing.T) {
			err := dialError(port, c.err)
			if !strings.Contains(drivers.Hint(err), c.remedy) || strings.Contains(err.Error(), "4711") {
				t.Errorf("error %q, hint %q", err, drivers.Hint(err))
			}
		})
	}
}

func TestOpenGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, mustParse(t, "tcp://127.0.0.1:1")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := Open(t.Context(), Port{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a port of no kind: %v", err)
	}
}

// A peer that accepts and then says nothing, as a half-open connection does, is
// noticed by its silence.
func TestTCPSilentPeerIsATimeout(t *testing.T) {
	port, accept := converter(t)
	l := mustOpen(t, port)
	accept()
	listener := drivers.Listener{Line: l, Decoder: nothing{}, Quiet: time.Millisecond}
	if err := listener.Run(t.Context()); !errors.Is(err, drivers.ErrTimeout) {
		t.Errorf("error %v, want %v", err, drivers.ErrTimeout)
	}
}

// nothing is a decoder that never finds anything.
type nothing struct{}

func (nothing) Feed([]byte)                 {}
func (nothing) Next(*drivers.Reading) error { return drivers.ErrMore }
func (nothing) Gap()                        {}
