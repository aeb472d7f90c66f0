package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Listener is a line on which a simulated meter waits for clients.
type Listener struct {
	addr  string
	serve func(ctx context.Context, speak Speaker) error
	close func() error
}

// Speaker speaks on one line until ctx ends: Simulator.Serve.
type Speaker func(ctx context.Context, line io.ReadWriter) error

// Listen opens a line: "tcp://127.0.0.1:0" accepts any number of clients;
// "pty:PATH" is a pseudo-terminal with a link to it at PATH, where one client
// after the other may come and go as on a serial port; "udp://127.0.0.1:0" answers
// in datagrams whoever asked last.
func Listen(ctx context.Context, address string) (*Listener, error) {
	if host, ok := strings.CutPrefix(address, "tcp://"); ok {
		return listenTCP(ctx, host)
	}
	if host, ok := strings.CutPrefix(address, "udp://"); ok {
		return listenUDP(ctx, host)
	}
	if path, ok := strings.CutPrefix(address, "pty:"); ok && path != "" {
		return listenPTY(path)
	}
	return nil, drivers.WithHint(
		fmt.Errorf("cannot listen on %.60q", address),
		"want tcp://127.0.0.1:0, udp://127.0.0.1:0 or pty:PATH")
}

// Addr is where clients find the meter: "tcp://127.0.0.1:4059", "pty:PATH".
func (l *Listener) Addr() string { return l.addr }

// Serve lets speak have every client, until ctx ends, which is no error. It
// returns when all have ended.
func (l *Listener) Serve(ctx context.Context, speak Speaker) error { return l.serve(ctx, speak) }

// Close gives the line back; the link to a pseudo-terminal is removed. Serve
// must have returned, or its ctx have ended.
func (l *Listener) Close() error { return l.close() }

func listenTCP(ctx context.Context, host string) (*Listener, error) {
	var config net.ListenConfig
	tcp, err := config.Listen(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	return &Listener{
		addr:  "tcp://" + tcp.Addr().String(),
		serve: func(ctx context.Context, speak Speaker) error { return serveTCP(ctx, tcp, speak) },
		close: func() error { return ignoreClosed(tcp.Close()) },
	}, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// serveTCP accepts clients until ctx ends.
func serveTCP(ctx context.Context, tcp net.Listener, speak Speaker) error {
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := tcp.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("simulated meter: %w", err)
		}
		clients.Go(func() { serveClient(ctx, conn, speak) })
	}
}

// serveClient speaks to one client. That it hangs up is how it ends, so the error
// is not told.
func serveClient(ctx context.Context, conn net.Conn, speak Speaker) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	_ = speak(ctx, conn)
}

// listenPTY opens a pseudo-terminal in raw mode and links path to it.
func listenPTY(path string) (*Listener, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("pseudo-terminal: %w", err)
	}
	l := &ptyLine{master: master, slave: slave, path: path}
	if err := l.prepare(); err != nil {
		_ = master.Close()
		_ = slave.Close()
		return nil, err
	}
	return &Listener{addr: "pty:" + path, serve: l.serve, close: l.close}, nil
}

// ptyLine is the meter's end of a pseudo-terminal. It holds the client's end open
// too, so that the terminal outlives each client.
type ptyLine struct {
	master, slave *os.File
	path          string
}

// prepare sets raw mode and makes the link. A link that an earlier process left
// behind is replaced; anything else at that path is not touched.
func (l *ptyLine) prepare() error {
	for _, end := range []*os.File{l.master, l.slave} {
		if err := setRaw(end); err != nil {
			return fmt.Errorf("pseudo-terminal: raw mode: %w", err)
		}
	}
	if old, err := os.Readlink(l.path); err == nil && strings.HasPrefix(old, "/dev/") {
		if err := os.Remove(l.path); err != nil {
			return err
		}
	}
	if err := os.Symlink(l.slave.Name(), l.path); err != nil {
		return drivers.WithHint(err, "name a path that does not exist yet")
	}
	return nil
}

// setRaw lets every byte pass as it is, and makes deadlines work: opening the
// terminal has left the descriptor blocking.
func setRaw(end *os.File) error {
	conn, err := end.SyscallConn()
	if err != nil {
		return err
	}
	var rawErr, blockErr error
	err = conn.Control(func(fd uintptr) {
		_, rawErr = term.MakeRaw(int(fd))
		blockErr = setNonblock(fd)
	})
	return errors.Join(err, rawErr, blockErr)
}

// serve speaks until ctx ends: there is always a line, whether or not a client
// listens.
func (l *ptyLine) serve(ctx context.Context, speak Speaker) error {
	stop := context.AfterFunc(ctx, func() { _ = l.master.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err := speak(ctx, l)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Read reads what a client sends.
func (l *ptyLine) Read(p []byte) (int, error) { return l.master.Read(p) }

// ptyPatience is how long a client may let the terminal's buffer be full.
const ptyPatience = 500 * time.Millisecond

// Write sends to the client. A terminal nobody reads fills up, where a serial line
// would lose its bytes: then what waits in it is thrown away, and so is p.
func (l *ptyLine) Write(p []byte) (int, error) {
	if err := l.master.SetWriteDeadline(time.Now().Add(ptyPatience)); err != nil {
		return 0, err
	}
	n, err := l.master.Write(p)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	l.drain()
	return len(p), nil
}

// drain reads away what no client has read.
func (l *ptyLine) drain() {
	var waste [4096]byte
	for {
		if err := l.slave.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			return
		}
		if _, err := l.slave.Read(waste[:]); err != nil {
			return
		}
	}
}

// close removes the link, if it is still this terminal's, and ends the terminal.
func (l *ptyLine) close() error {
	var errs []error
	if target, err := os.Readlink(l.path); err == nil && target == l.slave.Name() {
		errs = append(errs, os.Remove(l.path))
	}
	errs = append(errs, ignoreClosed(l.slave.Close()), ignoreClosed(l.master.Close()))
	return errors.Join(errs...)
}
