package mbus

import (
	"encoding/binary"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// A compact frame holds the data of a full frame and not its heads, EN 13757-3,
// annex G:
//
//	format signature 2 | CRC of the full frame 2 | data, LVAR with it
//
// both low byte first. The signature is the CRC of all heads; what it stands for
// is learned from full frames of meters of the same make.

// formats are the heads of full frames that have been seen.
type formats struct {
	known map[formatKey][]string
	heads []byte // scratch
	full  []byte
}

// modelKey is manufacturer, version and medium.
type modelKey [4]byte

type formatKey struct {
	model     modelKey
	signature uint16
}

// maxFormats bounds what is learned.
const maxFormats = 128

func modelOf(meter [8]byte) modelKey { return modelKey(meter[4:]) }

// learn keeps the heads of a full frame that holds nothing but records.
func (f *formats) learn(meter [8]byte, records []byte) {
	f.heads = f.heads[:0]
	count := 0
	for at := 0; at < len(records); {
		if records[at] == difFiller {
			at++
			continue
		}
		dib, vib, wrong := scanHead(records[at:])
		if wrong != nil {
			return // manufacturer data: it has no format
		}
		n := dib + vib
		f.heads = append(f.heads, records[at:at+n]...)
		_, to, _, wrong := scanData(records[at+n:], records[at]&0x0F)
		if wrong != nil {
			return
		}
		at += n + to
		count++
	}
	key := formatKey{modelOf(meter), wire.CRC13757(f.heads)}
	if _, ok := f.known[key]; ok || count == 0 {
		return
	}
	if f.known == nil || len(f.known) >= maxFormats {
		f.known = map[formatKey][]string{}
	}
	f.known[key] = f.split(count)
}

// split cuts f.heads into single heads.
func (f *formats) split(count int) []string {
	all := make([]string, 0, count)
	for b := f.heads; len(b) > 0; {
		dib, vib, _ := scanHead(b)
		all = append(all, string(b[:dib+vib]))
		b = b[dib+vib:]
	}
	return all
}

// expand makes the records of the full frame from a compact one. nil without a
// fault: the format is not known yet. With badCompact, what did not fit its CRC.
func (f *formats) expand(meter [8]byte, b []byte) ([]byte, int, *fault) {
	if len(b) < 4 {
		return nil, len(b), shortCompact
	}
	heads, ok := f.known[formatKey{modelOf(meter), binary.LittleEndian.Uint16(b)}]
	if !ok {
		return nil, 0, nil
	}
	full, at := f.full[:0], 4
	for _, head := range heads {
		_, to, _, wrong := scanData(b[at:], head[0]&0x0F)
		if wrong != nil {
			return nil, at, wrong
		}
		full = append(append(full, head...), b[at:at+to]...)
		at += to
	}
	f.full = full
	if binary.LittleEndian.Uint16(b[2:]) != wire.CRC13757(full) {
		return full, 2, badCompact
	}
	return full, 0, nil
}

var (
	shortCompact = &fault{"compact frame", drivers.ErrShort}
	badCompact   = &fault{"full-frame CRC", drivers.ErrChecksum}
)
