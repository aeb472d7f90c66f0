package brokertest

import (
	"bytes"
	"sync"
)

// Log is what a logger writes to while a test reads it.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps p.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
