package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// A peer that is gone without a word is noticed after idle + count × interval,
// or, with bytes of ours on the way, after unanswered.
const (
	dialTimeout       = 10 * time.Second
	writeTimeout      = 10 * time.Second
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 5 * time.Second
	keepAliveCount    = 3
	unanswered        = 30 * time.Second
)

// discardTime is how long Discard looks for bytes: a read whose deadline has
// passed gives none, so it must lie ahead a little.
const discardTime = time.Millisecond

// tcpLine is a raw TCP connection to a converter.
type tcpLine struct {
	port Port
	conn net.Conn

	mu       sync.Mutex // over Discard, so that it puts back the right deadline
	deadline time.Time
	scrap    [128]byte // what Discard drops; io.Discard has 8 kB for each line
}

func dialTCP(ctx context.Context, port Port) (drivers.Line, error) {
	conn, err := dial(ctx, port)
	if err != nil {
		return nil, err
	}
	return &tcpLine{port: port, conn: conn}, nil
}

// dial connects to a converter.
func dial(ctx context.Context, port Port) (net.Conn, error) {
	d := net.Dialer{
		Timeout: dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
		},
		Control: func(_, _ string, c syscall.RawConn) error { return limitUnanswered(c) },
	}
	conn, err := d.DialContext(ctx, "tcp", port.Address)
	if err != nil {
		return nil, dialError(port, err)
	}
	return conn, nil
}

// dialError is why there is no connection, and what to look at. Its text is the
// same at each try.
func dialError(port Port, err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dnsError(port, dns)
	}
	reason := socketCause(err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return drivers.WithHint(fmt.Errorf("%s: %w", port, reason), "nothing listens there: does the converter (ser2net, …) run, and is the port number right?")
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return drivers.WithHint(fmt.Errorf("%s: no answer: %w", port, os.ErrDeadlineExceeded), "is the device switched on and in this network, and does no firewall stand between?")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return drivers.WithHint(fmt.Errorf("%s: %w", port, reason), "is the device switched on and in this network?")
	}
	return fmt.Errorf("%s: %w", port, reason)
}

func dnsError(port Port, dns *net.DNSError) error {
	if dns.IsNotFound {
		return drivers.WithHint(fmt.Errorf("%s: no such host: %w", port, &net.DNSError{Err: "name not known", Name: dns.Name, IsNotFound: true}),
			"is the name spelled right? where names ending in .local are not resolved, write the IP address")
	}
	return drivers.WithHint(fmt.Errorf("%s: %w", port, &net.DNSError{Err: "no answer from the name server", Name: dns.Name, IsTemporary: true}),
		"does this machine reach its name server? an IP address needs none")
}

// socketCause is err without the addresses, one of which is new at each try.
func socketCause(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	return err
}

// Read waits for bytes until the deadline. A connection closed by the peer is
// io.EOF to errors.Is.
func (l *tcpLine) Read(p []byte) (int, error) {
	n, err := l.conn.Read(p)
	if err != nil {
		return n, l.down(err)
	}
	return n, nil
}

func (l *tcpLine) down(err error) error { return fmt.Errorf("%s: %w", l.port, lost(err)) }

// lost is why a connection broke: the peer's end in words, all else without the
// addresses.
func lost(err error) error {
	for _, end := range []error{io.EOF, syscall.ECONNRESET} {
		if errors.Is(err, end) {
			return fmt.Errorf("closed by the other side: %w", end)
		}
	}
	return socketCause(err)
}

// Write gives up after 10 s with a peer that takes nothing.
func (l *tcpLine) Write(p []byte) (int, error) {
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, l.down(err)
	}
	n, err := l.conn.Write(p)
	if err != nil {
		return n, l.down(err)
	}
	return n, nil
}

// SetReadDeadline also wakes a read that is under way.
func (l *tcpLine) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	return l.conn.SetReadDeadline(t)
}

// SetMode cannot be done: the converter's own settings rule.
func (l *tcpLine) SetMode(drivers.Mode) error {
	return drivers.WithHint(fmt.Errorf("%s: speed and frame of a plain TCP line: %w", l.port, errors.ErrUnsupported),
		"set them on the converter")
}

// Discard drops what has arrived and was not read.
func (l *tcpLine) Discard() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetReadDeadline(time.Now().Add(discardTime)); err != nil {
		return l.down(err)
	}
	var err error
	for err == nil {
		_, err = l.conn.Read(l.scrap[:])
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return l.down(err)
	}
	return l.conn.SetReadDeadline(l.deadline)
}

// Flush has nothing to wait for: bytes leave as they are written, and when a
// converter puts them on its own wire cannot be seen from here.
func (l *tcpLine) Flush(ctx context.Context) error { return ctx.Err() }

// Close also wakes whoever reads.
func (l *tcpLine) Close() error { return l.conn.Close() }

// String is the port as configured.
func (l *tcpLine) String() string { return l.port.String() }
