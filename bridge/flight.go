package bridge

import (
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	// flightBytes is how much of what a line said is remembered at most: the longest
	// telegrams have 16 kB.
	flightBytes = 16 << 10
	// flightBegins is how much room there is at first. Ten thousand meters with short
	// telegrams need no more.
	flightBegins = 1 << 10
	// flightFrames is how many refused frames of a meter are remembered.
	flightFrames = 8
)

// flight is a line's flight recorder: the last bytes that it said. They are kept
// when a frame is refused, so that a report can show them; in between it costs a
// copy of what has arrived. Its room grows only with what a meter of the line may
// still ask for.
type flight struct {
	mu    sync.Mutex
	ring  []byte
	total int64   // bytes that ever came
	begun int64   // what came before is forgotten
	marks []int64 // of each meter: from where on it may ask
}

// join gives a meter of the line its place among the marks.
func (f *flight) join() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.marks = append(f.marks, f.total)
	return len(f.marks) - 1
}

// begin says that nobody will ask for what has come so far, and how much that is.
func (f *flight) begin() int64 {
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.marks {
		f.marks[i] = f.total
	}
	return f.total
}

// keep says from where on the meter at a place may ask, and how many bytes have come.
func (f *flight) keep(place int, from int64) int64 {
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if place < len(f.marks) {
		f.marks[place] = from
	}
	return f.total
}

// hear takes what has just arrived.
func (f *flight) hear(p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grow(f.total + int64(len(p)))
	f.total += int64(len(p))
	size := len(f.ring)
	if len(p) > size {
		p = p[len(p)-size:]
	}
	at := int((f.total - int64(len(p))) % int64(size))
	n := copy(f.ring[at:], p)
	copy(f.ring, p[n:])
}

// grow makes room for all that may be asked for once total bytes have come.
func (f *flight) grow(total int64) {
	if len(f.ring) == flightBytes || len(f.ring) > 0 && total <= int64(len(f.ring)) {
		return
	}
	from := f.total
	for _, mark := range f.marks {
		from = min(from, mark)
	}
	if len(f.marks) == 0 {
		from = 0
	}
	size := max(len(f.ring), flightBegins)
	for size < flightBytes && int64(size) < total-from {
		size *= 2
	}
	if size == len(f.ring) {
		return
	}
	old := f.ring
	f.ring = make([]byte, size)
	for at := max(f.begun, f.total-int64(len(old))); at < f.total; {
		n := copy(f.ring[at%int64(size):], old[at%int64(len(old)):])
		at += min(int64(n), f.total-at)
	}
}

// rest forgets what has come, and gives its room back until more does. A line of
// meters that are asked needs none in between.
func (f *flight) rest() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring, f.begun = nil, f.total
	for i := range f.marks {
		f.marks[i] = f.total
	}
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
	size := int64(len(f.ring))
	from = max(from, f.total-size, f.begun)
	for from < f.total {
		at := from % size
		n := min(size-at, f.total-from)
		dst = append(dst, f.ring[at:at+n]...)
		from += n
	}
	return dst
}

// refusal is a frame that was refused, and what the line said around it.
type refusal struct {
	at    time.Time
	frame drivers.FrameError
	from  int64  // where the bytes begin in the flight of the line
	bytes []byte // from the telegram before, or the refused one, to this one's end, or to that of the good one behind
	lead  int    // how many of them came before another one was refused
	tail  int    // how many of them came since
}

// own are the bytes from the last refusal on, if one went before.
func (r *refusal) own() []byte { return r.bytes[r.lead : len(r.bytes)-r.tail] }

// lostFrames are a meter's last refused frames. Their memory is used again.
type lostFrames struct {
	ring  []refusal
	count int

	// Where in the flight of the line the last telegram ended, and where the one
	// before it did.
	last, before int64
	again        bool // the one that ended last was refused too
	place        int  // of the meter in the flight
}

// dealt notes that a good telegram has ended.
func (r *lostFrames) dealt(f *flight) {
	if r.again && r.count > 0 {
		slot := &r.ring[(r.count-1)%flightFrames]
		size := len(slot.bytes) - slot.tail
		slot.bytes = f.since(slot.bytes[:size], slot.from+int64(size))
		slot.tail = len(slot.bytes) - size
	}
	r.before, r.again = r.last, false
	r.last = f.keep(r.place, r.before)
}

// hears begins anew with the flight of another line.
func (r *lostFrames) hears(f *flight) {
	r.place = f.join()
	r.last, r.again = f.now(), false
	r.before = r.last
}

// begin notes that what follows is the answer to a question.
func (r *lostFrames) begin(f *flight) {
	r.last, r.again = f.begin(), false
	r.before = r.last
}

// note keeps a refused frame.
func (r *lostFrames) note(e *drivers.FrameError, now time.Time, f *flight) {
	if len(r.ring) < flightFrames {
		r.ring = append(r.ring, refusal{})
	}
	slot := &r.ring[r.count%flightFrames]
	r.count++
	slot.at, slot.frame = now, *e
	slot.bytes, slot.lead, slot.tail = f.since(slot.bytes[:0], r.before), 0, 0
	slot.from = f.now() - int64(len(slot.bytes))
	if r.again {
		slot.lead = max(0, len(slot.bytes)-int(f.now()-r.last))
	}
	// What follows may have begun before this was given up.
	r.before, r.again = r.last, true
	r.last = f.keep(r.place, r.before)
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
