package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	prefix = "journal-"
	suffix = ".m2mj"
	// aside is added to the name of a damaged file that is kept for a look.
	aside = ".damaged"
)

// store is the journal's disk side: segments, the oldest first.
type store struct {
	dir      string
	max      int64 // of all segments together
	segments []*segment
	out      *os.File // the newest segment, open for appending; nil: none
	unsynced bool

	read     []byte // the oldest segment, as far as it was read
	readOf   *segment
	readPos  int
	ackedPos int    // up to here what was read is acknowledged
	onLoan   []loan // the records between the two, in order

	dropped uint64 // records that went because max was reached
}

// loan is a record that was read.
type loan struct {
	end   int // in the segment
	acked bool
}

type segment struct {
	number  uint64
	path    string
	size    int64
	records uint64
}

// segmentSize divides max so that dropping one costs a sixteenth of the journal.
func (s *store) segmentSize() int64 { return min(max(s.max/16, 16<<10), 256<<10) }

// openStore reads what is in dir. Damage is put aside and told in problems; it
// never makes opening fail.
func openStore(dir string, limit int64) (s *store, last uint64, problems []error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, nil, err
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, nil, err
	}
	s = &store{dir: dir, max: limit}
	for _, entry := range names {
		number, ok := segmentNumber(entry.Name())
		if !ok || entry.IsDir() {
			continue
		}
		g := &segment{number: number, path: filepath.Join(dir, entry.Name())}
		newest, err := s.inspect(g)
		if err != nil {
			problems = append(problems, err)
		}
		last = max(last, newest)
		if g.records > 0 {
			s.segments = append(s.segments, g)
		}
	}
	slices.SortFunc(s.segments, func(a, b *segment) int {
		return strings.Compare(filepath.Base(a.path), filepath.Base(b.path))
	})
	return s, last, problems, nil
}

func segmentNumber(name string) (uint64, bool) {
	middle, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	middle, ok = strings.CutSuffix(middle, suffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(middle, 16, 64)
	return n, err == nil
}

// inspect counts a segment's sound records. Of a damaged one a copy is put
// aside and the sound rest is written anew; an empty one is removed.
func (s *store) inspect(g *segment) (newest uint64, err error) {
	b, err := os.ReadFile(g.path)
	if err != nil {
		return 0, err
	}
	var sound []byte
	damage := false
	for at := 0; at < len(b); {
		e, start, n, damaged := nextRecord(b, at)
		damage = damage || damaged
		if n == 0 {
			break
		}
		sound = append(sound, b[start:start+n]...)
		g.records++
		newest = max(newest, e.Number)
		at = start + n
	}
	g.size = int64(len(sound))
	switch {
	case damage:
		return newest, s.putAside(g, sound, len(b)-len(sound))
	case g.records == 0:
		return newest, os.Remove(g.path)
	}
	return newest, nil
}

// putAside keeps the damaged file under another name, one at most, and the
// sound records in its place.
func (s *store) putAside(g *segment, sound []byte, lost int) error {
	kept := filepath.Join(s.dir, "journal"+aside)
	if err := os.Rename(g.path, kept); err != nil {
		return fmt.Errorf("journal %s is damaged and cannot be put aside: %w", g.path, err)
	}
	if len(sound) > 0 {
		if err := os.WriteFile(g.path, sound, 0o600); err != nil {
			return fmt.Errorf("journal %s is damaged and cannot be mended: %w", g.path, err)
		}
	}
	return fmt.Errorf("journal %s was damaged: %d bytes lost, %d records saved; the damaged file is kept as %s",
		filepath.Base(g.path), lost, g.records, kept)
}

// append writes records to the newest segment.
func (s *store) append(records []byte, count int) error {
	if s.out == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	g := s.segments[len(s.segments)-1]
	n, err := s.out.Write(records)
	if err != nil {
		// A torn record must not stand before a sound one.
		err = errors.Join(err, s.out.Truncate(g.size))
		if _, seek := s.out.Seek(g.size, 0); seek != nil {
			err = errors.Join(err, seek)
		}
		return err
	}
	g.size += int64(n)
	g.records += uint64(count)
	s.unsynced = true
	if g.size >= s.segmentSize() {
		return s.finish()
	}
	return nil
}

// begin opens a new segment.
func (s *store) begin() error {
	number := uint64(1)
	if n := len(s.segments); n > 0 {
		number = s.segments[n-1].number + 1
	}
	g := &segment{number: number, path: filepath.Join(s.dir, fmt.Sprintf("%s%016x%s", prefix, number, suffix))}
	f, err := os.OpenFile(g.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	s.out = f
	s.segments = append(s.segments, g)
	s.shrink()
	return nil
}

// finish closes the newest segment.
func (s *store) finish() error {
	if s.out == nil {
		return nil
	}
	err := errors.Join(s.sync(), s.out.Close())
	s.out = nil
	return err
}

// sync makes what was written outlive a power cut.
func (s *store) sync() error {
	if s.out == nil || !s.unsynced {
		return nil
	}
	s.unsynced = false
	return s.out.Sync()
}

// shrink removes the oldest segments beyond max.
func (s *store) shrink() {
	total := int64(0)
	for _, g := range s.segments {
		total += g.size
	}
	for len(s.segments) > 1 && total+s.segmentSize() > s.max {
		g := s.segments[0]
		total -= g.size
		s.dropped += g.records - s.alreadyAcked(g)
		s.remove(g)
	}
}

// alreadyAcked is how many records of a segment the broker has.
func (s *store) alreadyAcked(g *segment) uint64 {
	if s.readOf != g {
		return 0
	}
	n := uint64(0)
	for at := 0; at < s.ackedPos; n++ {
		_, start, size, _ := nextRecord(s.read, at)
		if size == 0 {
			break
		}
		at = start + size
	}
	return n
}

// remove takes a segment out of the journal.
func (s *store) remove(g *segment) {
	if s.readOf == g {
		s.readOf, s.read, s.readPos, s.ackedPos, s.onLoan = nil, nil, 0, 0, nil
	}
	s.segments = slices.DeleteFunc(s.segments, func(o *segment) bool { return o == g })
	_ = os.Remove(g.path) // what cannot be removed is told when it is found again
}

// next reads the oldest record that was not read yet. false: there is none, or
// the rest must wait until what was read is acknowledged.
func (s *store) next() (Entry, bool, error) {
	if len(s.segments) == 0 {
		return Entry{}, false, nil
	}
	g := s.segments[0]
	if err := s.load(g); err != nil {
		s.remove(g)
		return Entry{}, false, err
	}
	e, at, n, _ := nextRecord(s.read, s.readPos)
	if n == 0 {
		return Entry{}, false, nil
	}
	s.readPos = at + n
	s.onLoan = append(s.onLoan, loan{end: s.readPos})
	return e, true, nil
}

// ackOldest says that the broker has the oldest record that was read.
func (s *store) ackOldest() error {
	for i := range s.onLoan {
		if !s.onLoan[i].acked {
			s.onLoan[i].acked = true
			break
		}
	}
	return s.advance()
}

// ackNewest says that the broker has the record that was read last.
func (s *store) ackNewest() error {
	if n := len(s.onLoan); n > 0 {
		s.onLoan[n-1].acked = true
	}
	return s.advance()
}

// advance moves ackedPos over what is acknowledged, and removes the segment once
// that is all of it.
func (s *store) advance() error {
	n := 0
	for n < len(s.onLoan) && s.onLoan[n].acked {
		s.ackedPos = s.onLoan[n].end
		n++
	}
	s.onLoan = append(s.onLoan[:0], s.onLoan[n:]...)
	if len(s.segments) == 0 || int64(s.ackedPos) < s.segments[0].size {
		return nil
	}
	if len(s.segments) == 1 {
		if err := s.finish(); err != nil {
			return err
		}
	}
	s.remove(s.segments[0])
	return nil
}

// load has the oldest segment in memory, as far as it was written.
func (s *store) load(g *segment) error {
	if s.readOf == g && int64(len(s.read)) >= g.size {
		return nil
	}
	b, err := os.ReadFile(g.path)
	if err != nil {
		return err
	}
	if s.readOf != g {
		s.readPos, s.ackedPos, s.onLoan = 0, 0, nil
	}
	s.readOf, s.read = g, b[:min(int64(len(b)), g.size)]
	return nil
}

// rewind makes what was read and not acknowledged the next to be read.
func (s *store) rewind() { s.readPos, s.onLoan = s.ackedPos, nil }

// depth is how many records are on disk, read or not, and their bytes.
func (s *store) depth() (records uint64, bytes int64) {
	for _, g := range s.segments {
		records += g.records
		bytes += g.size
	}
	return records, bytes
}
