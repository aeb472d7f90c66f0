package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/net/ipv4"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// echonetGroup is where ECHONET Lite announces over IPv4: ECHONET Lite Specification,
// part 2, 1.2.
var echonetGroup = &net.UDPAddr{IP: net.IPv4(224, 0, 23, 0)}

// udpLine is a conversation in datagrams with one address.
type udpLine struct {
	socket

	peer      netip.AddrPort
	datagrams *net.UDPConn // the same as conn
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
	return &udpLine{socket: socket{port: port, conn: conn}, peer: peer, datagrams: conn}, nil
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
		n, from, err := l.datagrams.ReadFromUDPAddrPort(p)
		if err != nil {
			return 0, l.down(err)
		}
		if from.Addr().Unmap().WithZone("") == l.peer.Addr().WithZone("") && n > 0 {
			return n, nil
		}
	}
}

// Write sends a datagram.
func (l *udpLine) Write(p []byte) (int, error) {
	n, err := l.datagrams.WriteToUDPAddrPort(p, l.peer)
	if err != nil {
		return n, dialError(l.port, err)
	}
	return n, nil
}

// SetMode cannot be done: there is no serial port.
func (l *udpLine) SetMode(drivers.Mode) error {
	return fmt.Errorf("%s: speed and frame: %w", l.port, errors.ErrUnsupported)
}

// Flush has nothing to wait for: a datagram leaves as it is written.
func (l *udpLine) Flush(ctx context.Context) error { return ctx.Err() }
