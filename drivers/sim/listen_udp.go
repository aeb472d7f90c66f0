package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// listenUDP opens a socket.
func listenUDP(ctx context.Context, host string) (*Listener, error) {
	var config net.ListenConfig
	packets, err := config.ListenPacket(ctx, "udp", host)
	if err != nil {
		return nil, err
	}
	conn, ok := packets.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(errors.ErrUnsupported, packets.Close())
	}
	return &Listener{
		addr:  "udp://" + conn.LocalAddr().String(),
		serve: func(ctx context.Context, speak Speaker) error { return serveUDP(ctx, conn, speak) },
		close: func() error { return ignoreClosed(conn.Close()) },
	}, nil
}

func serveUDP(ctx context.Context, conn *net.UDPConn, speak Speaker) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	err := speak(ctx, &datagrams{conn: conn})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("simulated meter: %w", err)
	}
	return nil
}

// datagrams is a socket as a line: each Read gives one datagram, each Write sends one
// to whoever asked last.
type datagrams struct {
	conn *net.UDPConn

	mu    sync.Mutex
	asker netip.AddrPort
}

// Read waits for a datagram.
func (d *datagrams) Read(p []byte) (int, error) {
	n, from, err := d.conn.ReadFromUDPAddrPort(p)
	if err == nil {
		d.mu.Lock()
		d.asker = from
		d.mu.Unlock()
	}
	return n, err
}

// Write sends a datagram; before anybody has asked it goes nowhere.
func (d *datagrams) Write(p []byte) (int, error) {
	d.mu.Lock()
	to := d.asker
	d.mu.Unlock()
	if !to.IsValid() {
		return len(p), nil
	}
	return d.conn.WriteToUDPAddrPort(p, to)
}
