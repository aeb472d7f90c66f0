package transport

import (
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
