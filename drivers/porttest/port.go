//go:build unix

// Package porttest gives tests a TCP port that nobody else gets, before and between
// the times that a server listens there. Only tests import it.
//
// A port that was free a moment ago is anybody's: the next listener or caller on the
// machine may be given it. One that is bound and does not listen refuses calls as a
// free one does, is given to nobody who asks for any port, and can be listened on by
// whoever sets SO_REUSEADDR, as servers do.
package porttest

import (
	"net"
	"strconv"
	"syscall"
	"testing"
)

// Address is HOST:PORT on loopback, held until the test ends.
func Address(tb testing.TB) string {
	tb.Helper()
	port, release, err := Hold()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(release)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Hold is for what lives longer than a test: a port on loopback, held until release.
func Hold() (port int, release func(), err error) {
	syscall.ForkLock.RLock() // no child shall hold it beyond the test
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, nil, err
	}
	if port, err = bind(fd); err != nil {
		_ = syscall.Close(fd)
		return 0, nil, err
	}
	return port, func() { _ = syscall.Close(fd) }, nil
}

// bind gives the socket any port, and lets servers listen there all the same.
func bind(fd int) (port int, err error) {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return name.(*syscall.SockaddrInet4).Port, nil
}
