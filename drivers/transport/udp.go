package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// echonetGroup is where ECHONET Lite announces over IPv4: ECHONET Lite Specification,
// part 2, 1.2.
var echonetGroup = &net.UDPAddr{IP: net.IPv4(224, 0, 23, 0)}

// udpLine is a conversation in datagrams with one address.
type udpLine struct {
	port Port
	peer netip.AddrPort
	conn *net.UDPConn

	mu       sync.Mutex // over Discard, so that it puts back the right deadline
	deadline time.Time
	scrap    [1]byte
}

func openUDP(ctx context.Context, port Port) (drivers.Line, error) {
	peer, err := lookUp(ctx, port)
	if err != nil {
		return nil, err
	}
	conn, err := bindUDP(ctx, peer)
	if err != nil {
		return nil, dialError(port, err)
	}
	return &udpLine{port: port, peer: peer, conn: conn}, nil
}

// lookUp is the address of a port's host, of IPv4 if it has one.
func lookUp(ctx context.Context, port Port) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, number, err := net.SplitHostPort(port.Address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%s: %w", port, err)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%s: %w", port, err)
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, dialError(port, err)
	}
	best := all[0].Unmap()
	for _, a := range all {
		if a = a.Unmap(); a.Is4() {
			best = a
			break
		}
	}
	return netip.AddrPortFrom(best, uint16(n)), nil
}

// bindUDP takes the port where ECHONET Lite answers and announces, or another one if
// that is taken. Of a peer on this machine nobody else is heard.
func bindUDP(ctx context.Context, peer netip.AddrPort) (*net.UDPConn, error) {
	network, host := "udp4", "0.0.0.0"
	if peer.Addr().Is6() {
		network, host = "udp6", "::"
	}
	if peer.Addr().IsLoopback() {
		host = peer.Addr().String()
	}
	var config net.ListenConfig
	own := echonetPort
	packets, err := config.ListenPacket(ctx, network, net.JoinHostPort(host, own))
	if err != nil {
		own = "0"
		packets, err = config.ListenPacket(ctx, network, net.JoinHostPort(host, own))
	}
	if err != nil {
		return nil, err
	}
	conn, ok := packets.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(errors.ErrUnsupported, packets.Close())
	}
	if own == echonetPort && peer.Addr().Is4() && !peer.Addr().IsLoopback() {
		// Without the group what is announced to all is not heard; what is asked for is.
		_ = ipv4.NewPacketConn(conn).JoinGroup(nil, echonetGroup)
	}
	return conn, nil
}

// Read waits for a datagram of the peer until the deadline. Of one that is longer than
// p the rest is lost.
func (l *udpLine) Read(p []byte) (int, error) {
	for {
		n, from, err := l.conn.ReadFromUDPAddrPort(p)
		if err != nil {
			return 0, l.down(err)
		}
		if from.Addr().Unmap().WithZone("") == l.peer.Addr().WithZone("") && n > 0 {
			return n, nil
		}
	}
}

func (l *udpLine) down(err error) error { return fmt.Errorf("%s: %w", l.port, socketCause(err)) }

// Write sends a datagram.
func (l *udpLine) Write(p []byte) (int, error) {
	n, err := l.conn.WriteToUDPAddrPort(p, l.peer)
	if err != nil {
		return n, dialError(l.port, err)
	}
	return n, nil
}

// SetReadDeadline also wakes a read that is under way.
func (l *udpLine) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	return l.conn.SetReadDeadline(t)
}

// SetMode cannot be done: there is no serial port.
func (l *udpLine) SetMode(drivers.Mode) error {
	return fmt.Errorf("%s: speed and frame: %w", l.port, errors.ErrUnsupported)
}

// Discard drops the datagrams that have arrived and were not read.
func (l *udpLine) Discard() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetReadDeadline(time.Now().Add(discardTime)); err != nil {
		return l.down(err)
	}
	var err error
	for err == nil {
		_, _, err = l.conn.ReadFromUDPAddrPort(l.scrap[:])
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return l.down(err)
	}
	return l.conn.SetReadDeadline(l.deadline)
}

// Flush has nothing to wait for: a datagram leaves as it is written.
func (l *udpLine) Flush(ctx context.Context) error { return ctx.Err() }

// Close also wakes whoever reads.
func (l *udpLine) Close() error { return l.conn.Close() }

// String is the port as configured.
func (l *udpLine) String() string { return l.port.String() }
