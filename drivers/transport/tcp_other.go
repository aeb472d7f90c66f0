//go:build !linux

package transport

import "syscall"

// limitUnanswered leaves it to the keep-alive probes where the system has no
// such limit.
func limitUnanswered(syscall.RawConn) error { return nil }
