package journal

import (
	"slices"
	"sync"
	"time"
)

const (
	// patience is how long an entry may wait in memory for its acknowledgement:
	// what kill -9 may cost.
	patience = time.Second
	// syncEvery is what a power cut may cost.
	syncEvery = 10 * time.Second
	// maxMemory bounds what waits in memory when the disk takes nothing.
	maxMemory = 1 << 20
)

// Journal keeps entries until the broker has them. It is safe for several
// goroutines.
type Journal struct {
	tell func(error)

	mu       sync.Mutex
	store    *store // nil: no disk, memory only
	memory   []Entry
	size     int // of the payloads in memory
	away     bool
	number   uint64
	ackedOut map[uint64]bool // acknowledged after they had gone to disk
	synced   time.Time
	failing  bool // the disk took nothing the last time
	dropped  uint64
}

// Open opens the journal in dir, of at most limit bytes of live data. tell hears
// of damage, of a disk that takes nothing, and of entries that are lost; it must
// not block. An empty dir keeps all in memory. now is the present time.
func Open(dir string, limit int64, now time.Time, tell func(error)) (*Journal, error) {
	j := &Journal{tell: tell, away: true, synced: now, ackedOut: map[uint64]bool{}}
	j.number = uint64(now.UnixNano())
	if dir == "" {
		return j, nil
	}
	s, last, problems, err := openStore(dir, limit)
	if err != nil {
		return nil, err
	}
	j.store, j.number = s, max(j.number, last)
	for _, p := range problems {
		tell(p)
	}
	return j, nil
}

// Add keeps a payload until Acked. The payload must not change any more.
func (j *Journal) Add(meter string, received time.Time, payload []byte) (number uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.number++
	j.memory = append(j.memory, Entry{Number: j.number, Meter: meter, Received: received, Payload: payload})
	j.size += len(payload)
	if j.away {
		j.spill(len(j.memory))
	}
	return j.number
}

// Acked says that the broker has an entry that was published as it was added.
func (j *Journal) Acked(number uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i, found := slices.BinarySearchFunc(j.memory, number, func(e Entry, n uint64) int {
		switch {
		case e.Number < n:
			return -1
		case e.Number > n:
			return 1
		}
		return 0
	})
	if !found {
		if j.store != nil && len(j.store.segments) > 0 {
			j.ackedOut[number] = true
		}
		return
	}
	j.forget(i, i+1)
}

// forget removes entries from memory.
func (j *Journal) forget(from, to int) {
	for _, e := range j.memory[from:to] {
		j.size -= len(e.Payload)
	}
	j.memory = slices.Delete(j.memory, from, to)
}

// Away says that the broker is not there: from now on all goes to disk at once,
// and what was read and not acknowledged is read again.
func (j *Journal) Away() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.away = true
	j.spill(len(j.memory))
	if j.store != nil {
		j.store.rewind()
	}
}

// Back says that the broker is there.
func (j *Journal) Back() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.away = false
}

// Tick moves to disk what the broker owes an acknowledgement for too long, and
// makes the disk safe against a power cut. Call it each half second or so.
func (j *Journal) Tick(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	late := 0
	for late < len(j.memory) && now.Sub(j.memory[late].Received) >= patience {
		late++
	}
	j.spill(late)
	if j.store == nil || now.Sub(j.synced) < syncEvery {
		return
	}
	j.synced = now
	if err := j.store.sync(); err != nil {
		j.tellFailure(err)
	}
}

// spill moves the oldest n entries from memory to disk. Those that the disk does
// not take stay, the oldest of them go when there are too many.
func (j *Journal) spill(n int) {
	if n == 0 {
		return
	}
	if j.store == nil {
		j.bound()
		return
	}
	var records []byte
	for _, e := range j.memory[:n] {
		records = appendRecord(records, e)
	}
	before := j.store.dropped
	err := j.store.append(records, n)
	j.tellDropped(j.store.dropped - before)
	if err != nil {
		j.tellFailure(err)
		j.bound()
		return
	}
	j.failing = false
	j.forget(0, n)
}

// bound drops the oldest in memory beyond its limit.
func (j *Journal) bound() {
	n := 0
	for over := j.size - maxMemory; over > 0; n++ {
		over -= len(j.memory[n].Payload)
	}
	j.forget(0, n)
	j.tellDropped(uint64(n))
}

// Next is the oldest entry on disk that was not handed out since the broker came
// back: to be published as history, and acknowledged with Drained, in order.
func (j *Journal) Next() (Entry, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.store != nil && !j.away {
		e, ok, err := j.store.next()
		if err != nil {
			j.tellFailure(err)
		}
		if !ok {
			break
		}
		if !j.ackedOut[e.Number] {
			return e, true
		}
		delete(j.ackedOut, e.Number)
		j.report(j.store.ackNewest())
	}
	if j.store == nil || len(j.store.segments) == 0 {
		clear(j.ackedOut)
	}
	return Entry{}, false
}

// Drained says that the broker has the oldest entry that Next gave.
func (j *Journal) Drained() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.store != nil {
		j.report(j.store.ackOldest())
	}
}

func (j *Journal) report(err error) {
	if err != nil {
		j.tellFailure(err)
	}
}

// Depth is how many entries wait, and their bytes on disk; dropped counts those
// that were lost since Open for want of room.
func (j *Journal) Depth() (entries uint64, bytes int64, dropped uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.store != nil {
		entries, bytes = j.store.depth()
	}
	return entries + uint64(len(j.memory)), bytes, j.dropped
}

// Close moves everything to disk, where the next Open finds it.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spill(len(j.memory))
	if j.store == nil {
		return nil
	}
	return j.store.finish()
}
