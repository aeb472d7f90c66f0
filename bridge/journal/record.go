package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"
)

// Entry is one state of one meter that was to be published.
type Entry struct {
	Number   uint64 // rising with time, over restarts too
	Meter    string
	Received time.Time
	Payload  []byte
}

var (
	magic      = [4]byte{'M', '2', 'M', 'J'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

const (
	headerSize = 12
	fixedBody  = 17
	// maxPayload bounds what a damaged length can make a reader wait for.
	maxPayload = 1 << 20
	maxRecord  = headerSize + fixedBody + 255 + maxPayload
)

// appendRecord appends e in the form that the package comment draws. A name of
// more than 255 bytes, which no meter has, is cut.
func appendRecord(b []byte, e Entry) []byte {
	name := e.Meter[:min(len(e.Meter), 255)]
	start := len(b)
	b = append(b, magic[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(fixedBody+len(name)+len(e.Payload)))
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, e.Number)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Received.UnixNano()))
	b = append(b, byte(len(name)))
	b = append(b, name...)
	b = append(b, e.Payload...)
	binary.BigEndian.PutUint32(b[start+8:], checksum(b[start:]))
	return b
}

func checksum(record []byte) uint32 {
	crc := crc32.Update(0, castagnoli, record[4:8])
	return crc32.Update(crc, castagnoli, record[headerSize:])
}

// parseRecord reads the record that b begins with. n is its size; 0 says that b
// does not begin with a whole, sound record.
func parseRecord(b []byte) (e Entry, n int) {
	if len(b) < headerSize+fixedBody || [4]byte(b) != magic {
		return Entry{}, 0
	}
	n = headerSize + int(binary.BigEndian.Uint32(b[4:]))
	if n < headerSize+fixedBody || n > maxRecord || n > len(b) {
		return Entry{}, 0
	}
	record := b[:n]
	if binary.BigEndian.Uint32(record[8:]) != checksum(record) {
		return Entry{}, 0
	}
	body := record[headerSize:]
	name := int(body[16])
	if fixedBody+name > len(body) {
		return Entry{}, 0
	}
	return Entry{
		Number:   binary.BigEndian.Uint64(body),
		Received: time.Unix(0, int64(binary.BigEndian.Uint64(body[8:]))),
		Meter:    string(body[fixedBody : fixedBody+name]),
		Payload:  bytes.Clone(body[fixedBody+name:]),
	}, n
}

// nextRecord finds the first sound record at or after from. damaged says that
// bytes had to be passed over. n is 0 when there is none.
func nextRecord(b []byte, from int) (e Entry, at, n int, damaged bool) {
	for at = from; at < len(b); {
		if e, n = parseRecord(b[at:]); n > 0 {
			return e, at, n, damaged
		}
		damaged = true
		skip := bytes.Index(b[at+1:], magic[:])
		if skip < 0 {
			return Entry{}, len(b), 0, true
		}
		at += 1 + skip
	}
	return Entry{}, len(b), 0, damaged
}
