package transport

import (
	"bytes"
	"io"
)

const (
	maskByte = '*'

	// What may wait to be written; beyond it, what may be the beginning of a
	// secret is masked as if it were one.
	maxHeldEntries = 64
	maxHeldBytes   = 64 << 10
)

// masker writes entries in order, with secrets masked. An entry is written once
// no byte of it can belong to a secret that is still arriving.
type masker struct {
	w       io.Writer
	secrets [][]byte
	longest int
	streams map[Direction]*stream
	held    []heldEntry
	size    int // bytes in held
	err     error
}

// stream is what one direction has carried, by offset from its first byte.
type stream struct {
	recent []byte // its last bytes as they were, at most longest-1
	end    int64  // offset behind the last byte
	open   int64  // from here on a secret may have begun
}

type heldEntry struct {
	Entry
	start int64 // offset of its first byte in its stream
}

func newMasker(w io.Writer, secrets [][]byte) masker {
	m := masker{w: w, streams: map[Direction]*stream{Received: {}, Sent: {}}}
	for _, s := range secrets {
		if len(s) == 0 {
			continue
		}
		m.secrets = append(m.secrets, bytes.Clone(s))
		m.longest = max(m.longest, len(s))
	}
	return m
}

func (m *masker) add(e Entry) {
	if m.err != nil {
		return
	}
	s := m.streams[e.Dir]
	m.held = append(m.held, heldEntry{Entry: e, start: s.end})
	m.size += len(e.Data)
	// The held entry keeps its own bytes; the window has them unmasked.
	window := append(s.recent, e.Data...)
	s.end += int64(len(e.Data))
	first := s.end - int64(len(window))
	m.maskWhole(e.Dir, window, first)
	s.open = first + int64(m.beginning(window))
	s.recent = append([]byte(nil), window[max(0, len(window)-max(0, m.longest-1)):]...)
	m.writeSettled()
	if len(m.held) > maxHeldEntries || m.size > maxHeldBytes {
		m.finish()
	}
}

// maskWhole masks every secret that stands complete in window, whose first byte
// has the offset first.
func (m *masker) maskWhole(dir Direction, window []byte, first int64) {
	for _, secret := range m.secrets {
		for from := 0; ; {
			i := bytes.Index(window[from:], secret)
			if i < 0 {
				break
			}
			from += i
			m.mask(dir, first+int64(from), first+int64(from+len(secret)))
			from++
		}
	}
}

// mask masks the bytes of a direction from one offset up to another.
func (m *masker) mask(dir Direction, from, to int64) {
	for _, e := range m.held {
		if e.Dir != dir {
			continue
		}
		for i := max(from, e.start); i < min(to, e.start+int64(len(e.Data))); i++ {
			e.Data[i-e.start] = maskByte
		}
	}
}

// beginning is where in window the longest rest stands that begins a secret, or
// its length if none does.
func (m *masker) beginning(window []byte) int {
	for i := max(0, len(window)-m.longest+1); i < len(window); i++ {
		for _, secret := range m.secrets {
			if len(window)-i < len(secret) && bytes.HasPrefix(secret, window[i:]) {
				return i
			}
		}
	}
	return len(window)
}

// writeSettled writes the first entries as far as they hold nothing open.
func (m *masker) writeSettled() {
	n := 0
	for n < len(m.held) && m.held[n].start+int64(len(m.held[n].Data)) <= m.streams[m.held[n].Dir].open {
		n++
	}
	m.write(n)
}

// finish masks what is open and writes everything.
func (m *masker) finish() {
	for dir, s := range m.streams {
		m.mask(dir, s.open, s.end)
		s.open = s.end
	}
	m.write(len(m.held))
}

// write writes the first n held entries.
func (m *masker) write(n int) {
	var lines []byte
	for _, e := range m.held[:n] {
		lines = e.appendTo(lines)
		m.size -= len(e.Data)
	}
	m.held = append(m.held[:0], m.held[n:]...)
	if m.err == nil && len(lines) > 0 {
		_, m.err = m.w.Write(lines)
	}
}
