package bridge

import (
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	// flightBytes is how much of what a line said is remembered: the longest
	// telegrams have 16 kB.
	flightBytes = 16 << 10
	// flightFrames is how many refused frames of a meter are remembered.
	flightFrames = 8
)

// flight is a line's flight recorder: the last bytes that it said. They are kept
// when a frame is refused, so that a report can show them; in between it costs a
// copy of what has arrived.
type flight struct {
	mu    sync.Mutex
	ring  [flightBytes]byte
	total int64 // bytes that ever came
}

// hear takes what has just arrived.
func (f *flight) hear(p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total += int64(len(p))
	if len(p) > flightBytes {
		p = p[len(p)-flightBytes:]
	}
	at := int((f.total - int64(len(p))) % flightBytes)
	n := copy(f.ring[at:], p)
	copy(f.ring[:], p[n:])
}

// now is how many bytes have come.
func (f *flight) now() int64 {
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// since appends the bytes from an offset on, as far as they are remembered.
func (f *flight) since(dst []byte, from int64) []byte {
	if f == nil {
		return dst
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from = max(from, f.total-flightBytes, 0)
	for from < f.total {
		at := int(from % flightBytes)
		n := min(flightBytes-at, int(f.total-from))
		dst = append(dst, f.ring[at:at+n]...)
		from += int64(n)
	}
	return dst
}

// refusal is a frame that was refused, and what the line said around it.
type refusal struct {
	at    time.Time
	frame drivers.FrameError
	bytes []byte // from the telegram before, or the refused one, to this one's end
	lead  int    // how many of them came before another one was refused
}

// own are the bytes from the last refusal on, if one went before.
func (r *refusal) own() []byte { return r.bytes[r.lead:] }

// lostFrames are a meter's last refused frames. Their memory is used again.
type lostFrames struct {
	ring  [flightFrames]refusal
	count int

	// Where in the flight of the line the last telegram ended, and where the one
	// before it did.
	last, before int64
	again        bool // the one that ended last was refused too
}

// dealt notes that a good telegram has ended.
func (r *lostFrames) dealt(f *flight) { r.before, r.last, r.again = r.last, f.now(), false }

// begin notes that what follows is the answer to a question.
func (r *lostFrames) begin(f *flight) {
	r.last, r.again = f.now(), false
	r.before = r.last
}

// note keeps a refused frame.
func (r *lostFrames) note(e *drivers.FrameError, now time.Time, f *flight) {
	slot := &r.ring[r.count%flightFrames]
	r.count++
	slot.at, slot.frame = now, *e
	slot.bytes, slot.lead = f.since(slot.bytes[:0], r.before), 0
	if r.again {
		slot.lead = max(0, len(slot.bytes)-int(f.now()-r.last))
	}
	// What follows may have begun before this was given up.
	r.before, r.last, r.again = r.last, f.now(), true
}

// kept is how many refused frames are remembered.
func (r *lostFrames) kept() int { return min(r.count, flightFrames) }

// copies are the refused frames, oldest first, with bytes of their own.
func (r *lostFrames) copies() []refusal {
	var all []refusal
	for i := max(0, r.count-flightFrames); i < r.count; i++ {
		one := r.ring[i%flightFrames]
		one.bytes = append([]byte(nil), one.bytes...)
		all = append(all, one)
	}
	return all
}

// heardLine is a line of meters that are asked, with a flight recorder.
type heardLine struct {
	drivers.Line
	flight *flight
}

// Read reads from the line.
func (l heardLine) Read(p []byte) (int, error) {
	n, err := l.Line.Read(p)
	if n > 0 {
		l.flight.hear(p[:n])
	}
	return n, err
}
