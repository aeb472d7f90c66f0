package transport

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// recorded is a Line whose traffic is written down.
type recorded struct {
	drivers.Line
	now   func() time.Time
	began time.Time

	mu  sync.Mutex
	out masker
}

// Record is line with all its traffic written to w as a recording, which
// ReadRecording and replay: read. Close closes line and completes the recording;
// w stays open.
//
// Each secret is masked by as many asterisks wherever it passes in one
// direction, also in pieces. Give it in every form that the wire may carry: a
// key that is sent as text as that text. While the last bytes of a direction
// may be the beginning of a secret, the entry that ends with them, and what
// follows it, waits for more.
//
// Trouble with w does not disturb the line: the recording ends there, and Close
// says why.
func Record(line drivers.Line, w io.Writer, secrets [][]byte, now func() time.Time) drivers.Line {
	return &recorded{Line: line, now: now, began: now(), out: newMasker(w, secrets)}
}

func (r *recorded) note(dir Direction, p []byte) {
	if len(p) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.add(Entry{At: r.now().Sub(r.began), Dir: dir, Data: append([]byte(nil), p...)})
}

// Read reads from the line.
func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.Line.Read(p)
	r.note(Received, p[:n])
	return n, err
}

// Write writes to the line. It is noted first: an answer comes later than what
// it answers.
func (r *recorded) Write(p []byte) (int, error) {
	r.note(Sent, p)
	return r.Line.Write(p)
}

// Close closes the line and writes what was held back.
func (r *recorded) Close() error {
	err := r.Line.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.finish()
	if r.out.err != nil {
		return errors.Join(err, fmt.Errorf("%s: recording: %w", r.Line, r.out.err))
	}
	return err
}
