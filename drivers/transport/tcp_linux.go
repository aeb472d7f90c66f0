package transport

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// limitUnanswered bounds how long sent bytes may stay without an
// acknowledgement: RFC 5482.
func limitUnanswered(c syscall.RawConn) error {
	var inner error
	err := c.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unanswered.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return inner
}

// hungUp says whether all that the peer sent was read, and it has closed.
func hungUp(conn net.Conn) bool {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	var n int
	var cause error
	// Control, for Read waits until another's read is over.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, cause = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err == nil && (n == 0 && cause == nil || errors.Is(cause, unix.ECONNRESET))
}
