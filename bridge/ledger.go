package bridge

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"

	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
)

// maxRemembered bounds the commands that are remembered; the oldest go first.
const maxRemembered = 256

// ledger remembers the writes that may have reached a meter, so that none is ever
// sent twice: those that are under way, and by their ids those that were answered.
// It is kept in the state folder, safe on the disk before anything is sent.
type ledger struct {
	mu      sync.Mutex
	file    string // "": there is no state folder
	entries []*entryOf
	unsaved bool
}

// entryOf is one write.
type entryOf struct {
	Meter     string          `json:"meter"`
	Parameter string          `json:"parameter"`
	ID        json.RawMessage `json:"id,omitempty"`
	Result    *Result         `json:"result,omitempty"` // nil: it is under way

	again int  // how often it came once more while it was under way
	noted bool // on the disk
}

// recall loads what was written before a restart. What was under way then has an
// outcome that nobody knows: it is given, to be told.
func (l *ledger) recall(s *state) (interrupted []*entryOf, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.dir == "" {
		return nil, nil
	}
	l.file = filepath.Join(s.dir, "commands.json")
	err = journal.Load(l.file, &l.entries)
	l.entries = slices.DeleteFunc(l.entries, func(e *entryOf) bool { return e == nil })
	for _, e := range l.entries {
		if e.noted = true; e.Result == nil {
			e.Result = &Result{ID: e.ID, Parameter: shown(e.Parameter), Error: errKilled.Error()}
			interrupted = append(interrupted, e)
		}
	}
	return interrupted, err
}

// told notes that the broker has the result of an interrupted write.
func (l *ledger) told(e *entryOf) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsaved = true
	if e.ID == nil {
		l.entries = slices.DeleteFunc(l.entries, func(o *entryOf) bool { return o == e })
	}
}

func (l *ledger) isDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unsaved
}

// saveIfDue saves what told noted.
func (l *ledger) saveIfDue() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.unsaved {
		return nil
	}
	return l.save()
}

// begin enters a command that waits to be carried out. If its id has come before,
// nothing is entered: known is what became of it then, nil while it is under way,
// and the result is told once more when it is there.
func (l *ledger) begin(c *command) (e *entryOf, known *Result, repeated bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before := l.find(c); before != nil {
		if before.Result == nil {
			before.again = min(before.again+1, maxWaiting)
		}
		return nil, before.Result, true
	}
	e = &entryOf{Meter: c.meter.config.Name, Parameter: c.name, ID: c.id}
	l.makeRoom()
	l.entries = append(l.entries, e)
	return e, nil, false
}

// find is the entry with the command's id; without an id there is none.
func (l *ledger) find(c *command) *entryOf {
	if c.id == nil {
		return nil
	}
	for _, e := range l.entries {
		if e.Meter == c.meter.config.Name && e.Parameter == c.name && string(e.ID) == string(c.id) {
			return e
		}
	}
	return nil
}

// makeRoom forgets the oldest that was answered, if there are too many.
func (l *ledger) makeRoom() {
	if len(l.entries) < maxRemembered {
		return
	}
	if i := slices.IndexFunc(l.entries, func(e *entryOf) bool { return e.Result != nil }); i >= 0 {
		l.entries = slices.Delete(l.entries, i, i+1)
	}
}

// sending notes on the disk that a command is about to be sent.
func (l *ledger) sending(e *entryOf) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.noted = true
	return l.save()
}

// end enters a result and says how often it is to be told. One that was not sent
// is forgotten, and may come again; so is one without an id.
func (l *ledger) end(e *entryOf, r Result, sent bool) (times int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Result = &r
	if !sent || e.ID == nil {
		l.entries = slices.DeleteFunc(l.entries, func(o *entryOf) bool { return o == e })
	}
	if e.noted {
		err = l.save()
	}
	return e.again + 1, err
}

// save writes the entries that were sent.
func (l *ledger) save() error {
	if l.file == "" {
		return nil
	}
	l.unsaved = false
	noted := slices.DeleteFunc(slices.Clone(l.entries), func(e *entryOf) bool { return !e.noted })
	return journal.Save(l.file, noted)
}
