package corus

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Control characters.
const (
	soh = 0x01
	etx = 0x03
	ack = 0x06
	nak = 0x15
)

// Commands.
const (
	cmdRead     = 0xBF
	cmdWrite    = 0xFF
	cmdDatabase = 0xBE
)

// maxBody is what the byte that counts can tell.
const maxBody = 255

// ID is the number of a parameter, 0 to MaxID.
type ID uint16

// MaxID is the highest number that two bytes hold.
const MaxID ID = 0x0FFF

// longID is the first id that is sent in two bytes, as pwitab/iflag does it. Another
// public implementation sends all up to 255 in one; which is right for 239 to 255 no
// device has told.
const longID = 0xEF

// appendTo appends an id as it is sent.
func (id ID) appendTo(b []byte) []byte {
	if id < longID {
		return append(b, byte(id))
	}
	return binary.BigEndian.AppendUint16(b, 0xF000|uint16(id))
}

// String is the number.
func (id ID) String() string { return strconv.Itoa(int(id)) }

// CutID reads an id in the body of a command and gives what follows it; false: there
// is none.
func CutID(b []byte) (id ID, rest []byte, ok bool) {
	switch {
	case len(b) == 0:
		return 0, nil, false
	case b[0]&0xF0 != 0xF0:
		return ID(b[0]), b[1:], true
	case len(b) == 1:
		return 0, nil, false
	}
	return ID(binary.BigEndian.Uint16(b) & 0x0FFF), b[2:], true
}

// appendCheck closes a message that begins at from.
func appendCheck(b []byte, from int) []byte {
	b = append(b, etx)
	return binary.LittleEndian.AppendUint16(b, wire.Buypass(b[from:]))
}

// appendMessage appends SOH, the command (none: an answer), the length, the body,
// ETX and the check.
func appendMessage(b []byte, command, body []byte) []byte {
	from := len(b)
	b = append(b, soh)
	b = append(b, command...)
	b = append(b, byte(len(body)))
	return appendCheck(append(b, body...), from)
}

// AppendRead appends the command that reads parameters: 01 BF n ids 03 crc.
func AppendRead(b []byte, ids ...ID) []byte {
	var body []byte
	for _, id := range ids {
		body = id.appendTo(body)
	}
	return appendMessage(b, []byte{cmdRead}, body)
}

// Setting is a parameter and the bytes that it is set to.
type Setting struct {
	ID   ID
	Data []byte
}

// AppendWrite appends the command that writes parameters: 01 FF n (id data) 03 crc.
func AppendWrite(b []byte, settings ...Setting) []byte {
	var body []byte
	for _, s := range settings {
		body = append(s.ID.appendTo(body), s.Data...)
	}
	return appendMessage(b, []byte{cmdWrite}, body)
}

// Database is one of the device's logs.
type Database uint8

// The databases.
const (
	Interval Database = iota
	Hourly
	Daily
	Monthly
	Events
	ParameterLog
	Certification
	databases
)

var databaseNames = [databases]string{"interval", "hourly", "daily", "monthly", "event", "parameter", "certification"}

// String is the database's name in configurations.
func (d Database) String() string {
	if d < databases {
		return databaseNames[d]
	}
	return "unknown"
}

// ParseDatabase is the database of that name.
func ParseDatabase(name string) (Database, bool) {
	for i, n := range databaseNames {
		if n == name {
			return Database(i), true
		}
	}
	return 0, false
}

// Bits of the database byte.
const (
	countBit    = 1 << 4
	continueBit = 1 << 7
)

// Query asks for records of a database, newest first.
type Query struct {
	Database       Database
	Mask           uint32    // which fields
	Newest, Oldest time.Time // wall clock of the device; zero: no limit
	Count          bool      // let the first frame tell how many records follow
	Continue       bool      // go on with the transfer that failed last
}

// AppendQuery appends the command that reads a database:
// 01 BE 0D db mask(4) newest(4) oldest(4) 03 crc.
func AppendQuery(b []byte, q Query) ([]byte, error) {
	body := make([]byte, 0, 13)
	db := byte(q.Database)
	if q.Count {
		db |= countBit
	}
	if q.Continue {
		db |= continueBit
	}
	body = binary.LittleEndian.AppendUint32(append(body, db), q.Mask)
	body, err := AppendDate(body, q.Newest)
	if err == nil {
		body, err = AppendDate(body, q.Oldest)
	}
	if err != nil {
		return b, fmt.Errorf("database %s: %w", q.Database, err)
	}
	return appendMessage(b, []byte{cmdDatabase}, body), nil
}

// AppendAnswer appends an answer: 01 n data 03 crc.
func AppendAnswer(b, data []byte) []byte { return appendMessage(b, nil, data) }

// AppendFrame appends a frame of a database: an answer whose data begins with the
// frame's number, from 0 on, and the mark of the last one.
func AppendFrame(b []byte, number int, last bool, data []byte) []byte {
	word := uint16(number)
	if last {
		word |= lastFrame
	}
	return AppendAnswer(b, append(binary.LittleEndian.AppendUint16(nil, word), data...))
}

// Fixed messages.
var (
	breakMessage = []byte{soh, 'B', '0', etx, 0x21, 0x31}
	passMessage  = []byte{'P', 'A', 'S', 'S', 0xE0, 0xAE}
	signOn       = []byte("/?!\r\n")
)

// ParseQuery reads the body of the command that reads a database; false: it is none.
func ParseQuery(body []byte) (q Query, ok bool) {
	if len(body) != 13 || body[0]&0x0F >= byte(databases) {
		return q, false
	}
	q = Query{
		Database: Database(body[0] & 0x0F), Mask: binary.LittleEndian.Uint32(body[1:]),
		Count: body[0]&countBit != 0, Continue: body[0]&continueBit != 0,
	}
	q.Newest, _ = ParseDate(body[5:9], time.UTC)
	q.Oldest, _ = ParseDate(body[9:], time.UTC)
	return q, true
}

// ParseDate is four bytes as the wall clock of a zone; false: they are no date.
func ParseDate(b []byte, zone *time.Location) (time.Time, bool) {
	if len(b) != 4 {
		return time.Time{}, false
	}
	wall, ok := unpack(binary.LittleEndian.Uint32(b))
	if !ok {
		return time.Time{}, false
	}
	t := time.Unix(wall, 0).UTC()
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, zone), true
}
