package bridge

import (
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// maxNotes bounds the notes of a meter that are remembered.
const maxNotes = 32

// tellNote says what a reading has to tell people, once: a decoder that is made
// anew with its line says it again.
func (m *meter) tellNote(r *drivers.Reading) {
	if r.Note == "" || m.notes[r.Note] || len(m.notes) >= maxNotes {
		return
	}
	if m.notes == nil {
		m.notes = map[string]bool{}
	}
	m.notes[r.Note] = true
	m.log.Info().Str("note", r.Note).Msg("a telegram holds what nobody knows")
}

// tellSharedKeys says which meters have the same key: each has one of its own, so
// one of the tables is likely to hold the other's.
func (b *Bridge) tellSharedKeys(meters []config.Meter) {
	for _, names := range config.SharedKeys(meters) {
		b.options.Log.Warn().Strs("meters", names).
			Str("hint", "each meter has a key of its own: compare them with what the grid company sent").
			Msg("meters share a key")
	}
}
