package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	tapClients = 16
	tapBuffer  = 64 << 10         // bytes that one of them may be behind
	tapPause   = 10 * time.Second // before an address that cannot be had is tried again

	tapForm = `write "2001" for port 2001 of this machine alone, or an address of it as in "192.168.1.5:2001" to let others in`
)

// TapAddress is where a Tap listens, as host:port; "": there is none.
type TapAddress string

// ParseTap reads a TapAddress. A port without a host is one of 127.0.0.1; port 0
// is any free one, which the log tells.
func ParseTap(text string) (TapAddress, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", nil
	}
	if !strings.Contains(text, ":") {
		text = ":" + text
	}
	host, number, err := net.SplitHostPort(text)
	if err != nil {
		return "", portError(tapForm, "%.60q: %s", text, addrProblem(err))
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return "", portError("a TCP port is a number from 1 to 65535", "port %.20q", number)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if host, err = canonicalHost(host); err != nil {
		return "", portError(tapForm, "%w", err)
	}
	return TapAddress(net.JoinHostPort(host, strconv.FormatUint(n, 10))), nil
}

// Loopback says whether only this machine can reach the address.
func (a TapAddress) Loopback() bool {
	host, _, _ := net.SplitHostPort(string(a))
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost"
}

// Any says whether the port is left to the system.
func (a TapAddress) Any() bool { return strings.HasSuffix(string(a), ":0") }

// Tap lets other programs listen to the bytes of a line, over TCP: up to 16
// clients, who come and go as they like. What they send is not read by anybody.
type Tap struct {
	address TapAddress
	log     zerolog.Logger
	pause   time.Duration

	mu      sync.Mutex
	clients map[*tapClient]bool
	full    bool // it was told that all places are taken
}

// NewTap is a tap that is not open.
func NewTap(address TapAddress, log zerolog.Logger) *Tap {
	return &Tap{address: address, log: log, pause: tapPause, clients: map[*tapClient]bool{}}
}

// Run keeps the tap open until ctx ends. An address that cannot be had is told
// once and tried again.
func (t *Tap) Run(ctx context.Context) {
	if !t.address.Loopback() {
		t.log.Warn().Str("address", string(t.address)).
			Str("hint", "a port without an address is for this machine alone").
			Msg("tap is open to other machines: whoever reaches it reads the meter")
	}
	for told := false; ; {
		err := t.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if !told {
			told = true
			t.log.Warn().Err(err).Str("hint", drivers.Hint(err)).Msg("tap closed")
		}
		if sleep(ctx, t.pause) != nil {
			return
		}
	}
}

// serve lets clients in until ctx ends or the socket fails; then all have left.
func (t *Tap) serve(ctx context.Context) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", string(t.address))
	if err != nil {
		return t.refusal(err)
	}
	var clients sync.WaitGroup
	defer clients.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	defer func() { _ = listener.Close() }()
	t.log.Info().Str("address", listener.Addr().String()).Msg("tap open")
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("tap %s: %w", t.address, socketCause(err))
		}
		if c := t.admit(conn); c != nil {
			clients.Go(func() { t.attend(ctx, c) })
		}
	}
}

func (t *Tap) refusal(err error) error {
	hint := "is this an address of this machine?"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "another program listens there: choose another port"
	case errors.Is(err, syscall.EACCES):
		hint = "ports below 1024 are for root: choose another"
	}
	return drivers.WithHint(fmt.Errorf("tap %s: %w", t.address, socketCause(err)), hint)
}

// admit gives a client a place, or hangs up where there is none: then it is nil.
func (t *Tap) admit(conn net.Conn) *tapClient {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.clients) >= tapClients {
		t.makeRoom()
	}
	if len(t.clients) >= tapClients {
		_ = conn.Close()
		if !t.full {
			t.full = true
			t.log.Warn().Int("count", tapClients).Msg("tap has no place for another client")
		}
		return nil
	}
	c := &tapClient{conn: conn, more: make(chan struct{}, 1), ended: make(chan struct{})}
	t.clients[c] = true
	return c
}

// makeRoom sends away one who can send no more, and so has most likely gone.
func (t *Tap) makeRoom() {
	for c := range t.clients {
		if c.isMute() {
			c.end()
			delete(t.clients, c)
			return
		}
	}
}

// attend writes to a client until it leaves or ctx ends.
func (t *Tap) attend(ctx context.Context, c *tapClient) {
	t.log.Debug().Stringer("client", c.conn.RemoteAddr()).Msg("tap client came")
	stop := context.AfterFunc(ctx, c.end)
	defer stop()
	var reading sync.WaitGroup
	reading.Go(c.watch)
	c.write()
	c.end()
	reading.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.clients, c)
	t.full = false
	t.log.Debug().Stringer("client", c.conn.RemoteAddr()).Msg("tap client left")
}

// Send gives bytes to every client. It never waits: a client that is too far
// behind is sent away.
func (t *Tap) Send(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.clients {
		if c.put(p) {
			continue
		}
		c.end()
		delete(t.clients, c)
		t.log.Warn().Stringer("client", c.conn.RemoteAddr()).Int("bytes", tapBuffer).Msg("tap client too slow: sent away")
	}
}

// tapClient is one who listens.
type tapClient struct {
	conn  net.Conn
	more  chan struct{} // holds a token when there is something to write
	ended chan struct{}
	once  sync.Once

	mu      sync.Mutex
	waiting []byte
	spare   []byte // what was written last, to be used again
	mute    bool
}

// put adds to what waits, or is false if that is too much.
func (c *tapClient) put(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting)+len(p) > tapBuffer {
		return false
	}
	c.waiting = append(c.waiting, p...)
	select {
	case c.more <- struct{}{}:
	default:
	}
	return true
}

// write writes what waits, as it comes, until the client has ended.
func (c *tapClient) write() {
	for {
		select {
		case <-c.more:
		case <-c.ended:
			return
		}
		if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return
		}
		if _, err := c.conn.Write(c.take()); err != nil {
			return
		}
	}
}

// take is what waits; it is valid until the next call.
func (c *tapClient) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.waiting
	c.waiting, c.spare = c.spare[:0], p
	return p
}

// watch throws away what the client sends. One that will send no more may still
// listen, as a script whose input is empty.
func (c *tapClient) watch() {
	if _, err := io.Copy(io.Discard, c.conn); err != nil {
		c.end()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = true
}

func (c *tapClient) isMute() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mute
}

func (c *tapClient) end() {
	c.once.Do(func() {
		close(c.ended)
		_ = c.conn.Close()
	})
}
