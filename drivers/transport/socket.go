package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// discardTime is how long Discard looks for bytes: a read whose deadline has
// passed gives none, so it must lie ahead a little.
const discardTime = time.Millisecond

// socket is what lines over TCP and UDP have in common.
type socket struct {
	port Port
	conn net.Conn

	mu       sync.Mutex // over Discard, so that it puts back the right deadline
	deadline time.Time
	scrap    [128]byte // what Discard drops; io.Discard has 8 kB for each line
}

func (s *socket) down(err error) error { return fmt.Errorf("%s: %w", s.port, lost(err)) }

// lost is why a connection broke: the peer's end in words, all else without the
// addresses.
func lost(err error) error {
	for _, end := range []error{io.EOF, syscall.ECONNRESET} {
		if errors.Is(err, end) {
			return fmt.Errorf("closed by the other side: %w", end)
		}
	}
	return socketCause(err)
}

// SetReadDeadline also wakes a read that is under way.
func (s *socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return s.conn.SetReadDeadline(t)
}

// Discard drops what has arrived and was not read; of datagrams, each as a whole.
func (s *socket) Discard() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetReadDeadline(time.Now().Add(discardTime)); err != nil {
		return s.down(err)
	}
	var err error
	for err == nil {
		_, err = s.conn.Read(s.scrap[:])
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return s.down(err)
	}
	return s.conn.SetReadDeadline(s.deadline)
}

// Close also wakes whoever reads.
func (s *socket) Close() error { return s.conn.Close() }

// String is the port as configured.
func (s *socket) String() string { return s.port.String() }
