package corus

import (
	"bytes"
	"encoding/binary"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	lastFrame   = 1 << 15 // in the number of a frame
	maxTransfer = 4 << 20 // bytes of records in one answer
)

// counting says whether the first frame tells how many records there are.
type counting uint8

const (
	uncounted counting = iota
	counted
	unclear // the question was not seen: the length of all data shows it
)

// transfer joins the frames of a database. Frames are handed to it only when their
// check held.
type transfer struct {
	active bool
	next   int // number of the frame that is to come
	size   int // of a record
	count  int // records that were announced; -1: none were
	counts counting
	data   []byte // of all frames
	last   int    // where the data of the last frame begins
}

// begin starts anew.
func (t *transfer) begin(c counting) { *t = transfer{counts: c, data: t.data[:0], count: -1} }

// add takes a frame; done says that it was the last. A repeat of the frame before is
// passed over. The error is a field's name and a cause, and ends the transfer.
func (t *transfer) add(body []byte) (done bool, field string, err error) {
	if len(body) < 2 {
		return false, "frame number", drivers.ErrShort
	}
	word := int(binary.LittleEndian.Uint16(body))
	number, last, data := word&^lastFrame, word&lastFrame != 0, body[2:]
	switch {
	case !t.active && number == 0:
		if field, err = t.open(data); err != nil {
			return false, field, err
		}
	case t.active && number == t.next-1 && t.isRepeat(data):
		t.active = !last
		return last, "", nil
	case !t.active || number != t.next:
		t.active = false
		return false, "frame number", drivers.ErrSyntax
	case len(t.data)+len(data) > maxTransfer:
		t.active = false
		return false, "database", drivers.ErrLong
	default:
		t.last = len(t.data)
		t.data = append(t.data, data...)
	}
	t.next, t.active = number+1, !last
	return last, "", nil
}

// open takes the first frame: record size, count if there is one, data.
func (t *transfer) open(data []byte) (field string, err error) {
	if len(data) < 1 {
		return "record size", drivers.ErrShort
	}
	t.size, data = int(data[0]), data[1:]
	if t.counts == counted {
		if len(data) < 2 {
			return "record count", drivers.ErrShort
		}
		t.count, data = int(binary.LittleEndian.Uint16(data)), data[2:]
	}
	t.last = 0
	t.data = append(t.data[:0], data...)
	return "", nil
}

// isRepeat says whether data is what the frame before brought.
func (t *transfer) isRepeat(data []byte) bool {
	if t.next == 1 {
		head := 1
		if t.counts == counted {
			head = 3
		}
		if len(data) < head || int(data[0]) != t.size {
			return false
		}
		data = data[head:]
	}
	return bytes.Equal(t.data[t.last:], data)
}

// whole cuts what came into records: data of a multiple of the record's size. The
// error says that bytes are left over or that records are missing.
func (t *transfer) whole() (data []byte, field string, err error) {
	data = t.data
	if t.counts == unclear {
		data = t.cutCount()
	}
	switch {
	case t.size == 0 && len(data) == 0:
	case t.size == 0:
		return nil, "record size", drivers.ErrSyntax
	case len(data)%t.size != 0:
		return nil, "record", drivers.ErrShort
	case t.count >= 0 && len(data)/t.size != t.count:
		return nil, "record count", drivers.ErrShort
	}
	return data, "", nil
}

// cutCount takes the count off data of an unknown question: there is one where the
// rest is a multiple of the record's size and just as many.
func (t *transfer) cutCount() []byte {
	if len(t.data) < 2 || t.size != 0 && len(t.data)%t.size == 0 {
		return t.data
	}
	n, rest := int(binary.LittleEndian.Uint16(t.data)), t.data[2:]
	if len(rest) != n*t.size {
		return t.data
	}
	return rest
}

// records are the complete records of a transfer that broke off.
func (t *transfer) records() []byte {
	if t.size == 0 {
		return nil
	}
	return t.data[:len(t.data)-len(t.data)%t.size]
}
