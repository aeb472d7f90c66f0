package soak

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between the gateway and the broker: it can cut connections,
// stall them, and refuse new ones.
type proxy struct {
	address, target string

	mu       sync.Mutex
	listener net.Listener // nil: refuses
	pairs    map[*pair]bool
	cuts     int
	moving   *sync.Cond // on mu
	stalled  bool
	closed   bool
	work     sync.WaitGroup
}

// pair is one connection through the proxy.
type pair struct{ client, server net.Conn }

func newProxy(tb testing.TB, target string) *proxy {
	tb.Helper()
	p := &proxy{target: target, address: "127.0.0.1:0", pairs: map[*pair]bool{}}
	p.moving = sync.NewCond(&p.mu)
	p.open(tb)
	tb.Cleanup(p.close)
	return p
}

// open lets connections in, at the same address each time.
func (p *proxy) open(tb testing.TB) {
	tb.Helper()
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		tb.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address, p.listener = l.Addr().String(), l
	p.work.Go(func() { p.accept(l) })
}

func (p *proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			reset(client)
			continue
		}
		c := &pair{client, server}
		p.mu.Lock()
		p.pairs[c] = true
		late := p.listener != l // refused while it was being dialled
		p.mu.Unlock()
		if late {
			p.drop(c)
			continue
		}
		p.work.Go(func() { p.copy(c, server, client) })
		p.work.Go(func() { p.copy(c, client, server) })
	}
}

// copy moves bytes one way until either side ends.
func (p *proxy) copy(c *pair, to io.Writer, from io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		p.waitWhileStalled()
		if err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			p.drop(c)
			return
		}
	}
}

func (p *proxy) waitWhileStalled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled && !p.closed {
		p.moving.Wait()
	}
}

// stall holds back all bytes, or lets them go again.
func (p *proxy) stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = on
	p.moving.Broadcast()
}

func (p *proxy) drop(c *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, c)
	reset(c.client)
	reset(c.server)
}

// reset closes as a router that forgets a connection does: without a farewell.
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// cut breaks every connection and says how many there were.
func (p *proxy) cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.pairs)
	for c := range p.pairs {
		reset(c.client)
		reset(c.server)
	}
	p.cuts += n
	return n
}

// refuse breaks every connection and lets none in until open.
func (p *proxy) refuse() {
	p.mu.Lock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs)
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.moving.Broadcast()
	p.mu.Unlock()
	p.refuse()
	p.work.Wait()
}
