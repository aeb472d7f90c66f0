//go:build !linux

package transport

import (
	"net"
	"syscall"
)

// limitUnanswered leaves it to the keep-alive probes where the system has no
// such limit.
func limitUnanswered(syscall.RawConn) error { return nil }

// hungUp shows with the next read where the system is not asked.
func hungUp(net.Conn) bool { return false }
