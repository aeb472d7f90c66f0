package transport

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Direction says who sent the bytes of an Entry.
type Direction string

// The directions.
const (
	Received Direction = "rx" // the gateway received them
	Sent     Direction = "tx"
)

// Entry is one line of a recording: {"t":seconds,"dir":"rx","hex":"…"}.
type Entry struct {
	At    time.Duration // since the recording began
	Dir   Direction
	Data  []byte
	Meter string // of a report: whose line it was; "": not told
}

const (
	maxEntryLine = 1 << 20                    // bytes
	maxAt        = 100 * 365 * 24 * time.Hour // far below what a Duration holds

	entryForm = `each line of a recording is {"t":1.25,"dir":"rx","hex":"2f58"}; dir is rx or tx, t is in seconds`
)

// ReadRecording reads a recording, entry by entry. Empty lines are skipped. At a
// line that is no entry it yields an error, which names the line, and ends. The
// Data of an Entry is its own.
func ReadRecording(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		e := newEntries(r)
		for {
			entry, err := e.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

// entries reads a recording.
type entries struct {
	lines  *bufio.Scanner
	number int // of the line read last, from 1
}

func newEntries(r io.Reader) *entries {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxEntryLine)
	return &entries{lines: s}
}

// next is the next entry, or io.EOF.
func (e *entries) next() (Entry, error) {
	for e.lines.Scan() {
		e.number++
		line := bytes.TrimSpace(e.lines.Bytes())
		if len(line) == 0 {
			continue
		}
		entry, err := parseEntry(line)
		if err != nil {
			return Entry{}, drivers.WithHint(fmt.Errorf("line %d: %w", e.number, err), entryForm)
		}
		return entry, nil
	}
	switch err := e.lines.Err(); {
	case err == nil:
		return Entry{}, io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		return Entry{}, drivers.WithHint(fmt.Errorf("line %d: longer than %d bytes", e.number+1, maxEntryLine), entryForm)
	default:
		return Entry{}, fmt.Errorf("line %d: %w", e.number+1, err)
	}
}

// parseEntry reads one line. Keys that it does not know are for later versions.
func parseEntry(line []byte) (Entry, error) {
	var raw struct {
		T   *float64
		Dir Direction
		Hex *string

		Meter string
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return Entry{}, fmt.Errorf("no JSON object: %w", err)
	}
	if raw.T == nil || *raw.T < 0 || *raw.T > maxAt.Seconds() {
		return Entry{}, errors.New("t is missing or no time since the recording began")
	}
	if raw.Dir != Received && raw.Dir != Sent {
		return Entry{}, fmt.Errorf("dir is %.20q", raw.Dir)
	}
	if raw.Hex == nil {
		return Entry{}, errors.New("hex is missing")
	}
	data, ok := wire.AppendHex(nil, *raw.Hex)
	if !ok {
		return Entry{}, errors.New("hex is no even number of hexadecimal digits")
	}
	at := time.Duration(math.Round(*raw.T * float64(time.Second)))
	return Entry{At: at, Dir: raw.Dir, Data: data, Meter: raw.Meter}, nil
}

// appendTo appends the entry as a line, its time to the microsecond.
func (e Entry) appendTo(b []byte) []byte {
	b = append(b, `{"t":`...)
	b = strconv.AppendFloat(b, e.At.Seconds(), 'f', 6, 64)
	b = append(b, `,"dir":"`...)
	b = append(b, e.Dir...)
	b = append(b, `","hex":"`...)
	b = hex.AppendEncode(b, e.Data)
	return append(b, "\"}\n"...)
}
