package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
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

// tcpLine is a raw TCP connection to a converter.
type tcpLine struct{ socket }

func dialTCP(ctx context.Context, port Port) (drivers.Line, error) {
	conn, err := dial(ctx, port)
	if err != nil {
		return nil, err
	}
	return &tcpLine{socket{port: port, conn: conn}}, nil
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

// SetMode cannot be done: the converter's own settings rule.
func (l *tcpLine) SetMode(drivers.Mode) error {
	return drivers.WithHint(fmt.Errorf("%s: speed and frame of a plain TCP line: %w", l.port, errors.ErrUnsupported),
		"set them on the converter")
}

// Flush has nothing to wait for: bytes leave as they are written, and when a
// converter puts them on its own wire cannot be seen from here.
func (l *tcpLine) Flush(ctx context.Context) error { return ctx.Err() }
