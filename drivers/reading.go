package drivers

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Reading is what one telegram, pushed or asked for, said about one meter. It
// belongs to whoever filled it, until the next call there: who keeps it, copies.
type Reading struct {
	Meter    Identity
	Channels []Channel // meters behind this one, in the order they appeared
	Time     Stamp     // the meter's clock; zero if it sent none
	Received time.Time // arrival of the frame's last byte; set by who read it, never by a decoder
	Check    Check     // what vouches for the bytes
	Values   []Value   // in the order sent

	// Note is what a person should be told about the telegram: what of it nobody
	// knows, and what to do. A decoder says it once, not with each such telegram.
	Note string
}

// Reset empties r and keeps its memory.
func (r *Reading) Reset() {
	*r = Reading{Channels: r.Channels[:0], Values: r.Values[:0]}
}

// Push adds an empty Value in its place, and gives it until the next one is added:
// a Value is large, and copying it is most of what reading one would cost.
func (r *Reading) Push() *Value {
	n := len(r.Values)
	if n == cap(r.Values) {
		r.Values = append(r.Values, Value{})
	} else {
		r.Values = r.Values[:n+1]
		r.Values[n] = Value{}
	}
	return &r.Values[n]
}

// Pop takes back what Push added last.
func (r *Reading) Pop() { r.Values = r.Values[:len(r.Values)-1] }

// Clone is a copy that shares no slice with r.
func (r *Reading) Clone() *Reading {
	c := *r
	c.Channels = append([]Channel(nil), r.Channels...)
	c.Values = append([]Value(nil), r.Values...)
	return &c
}

// Channel is a meter behind a meter: gas, water or heat on a P1 port. Number is
// the channel that its values carry, from 1 on.
type Channel struct {
	Number uint8
	Meter  Identity
}

// Value is one quantity of a Reading. Which of Number, Text and Moment counts is
// told by Kind. A quantity that the meter has but does not know at the moment
// gives no Value.
type Value struct {
	Code    obis.Code // zero if there is none; then Name and Record tell what it is
	Name    string    // canonical, English, snake_case: "energy_import"
	Kind    Kind
	Number  Decimal // exact, with the digits that the meter sent, in Unit
	Text    string
	Moment  Stamp
	Unit    obis.Unit // canonical for the quantity: kWh, W, m³ …; empty: none
	Time    Stamp     // zero: Reading.Time applies
	Channel uint8     // the meter behind this one that it belongs to; 0: this one
	Flags   Flags
	Record  *Record // coordinates of an M-Bus record, nil elsewhere
}

// Record is where an M-Bus record stands, beside its quantity: EN 13757-3.
type Record struct {
	Storage  uint64
	Tariff   uint32
	Subunit  uint16
	Function Function
}

// Function is the function field of an M-Bus record.
type Function uint8

// The functions of EN 13757-3.
const (
	Instantaneous Function = iota
	Maximum
	Minimum
	DuringError
)

// String is the short form that keys use: "", "max", "min", "err".
func (f Function) String() string {
	return [...]string{"", "max", "min", "err"}[f&3]
}

// Kind says which field of a Value holds it.
type Kind uint8

// The kinds of a Value.
const (
	Number Kind = iota // Value.Number
	Text               // Value.Text
	Bool               // Value.Number: 0 or 1
	Moment             // Value.Moment
)

// String is the kind's name in topics and documents.
func (k Kind) String() string {
	switch k {
	case Number:
		return "number"
	case Text:
		return "text"
	case Bool:
		return "bool"
	case Moment:
		return "time"
	}
	return "unknown"
}

// ParseKind is the kind that String names so; Number for what names none.
func ParseKind(s string) Kind {
	for _, k := range [...]Kind{Text, Bool, Moment} {
		if k.String() == s {
			return k
		}
	}
	return Number
}

// Flags are doubts that the meter itself voices about a value.
type Flags uint8

// The flags of a Value.
const (
	MeterError    Flags = 1 << iota // taken while the meter was in an error state
	Estimated                       // a substitute value
	Overflow                        // the register ran over
	ClockDoubtful                   // its time stamp is not to be trusted
	Logged                          // a row of the meter's own log, not its present state
	Vacant                          // of a channel that no meter is behind, or that another has taken: never published
)

// Check is what vouches for the bytes of a Reading, from nothing to a
// cryptographic tag. Greater is stronger.
type Check uint8

// The checks, weakest first.
const (
	CheckNone    Check = iota // DSMR 2.2, plain mode D
	CheckRelayed              // none any more: whoever took the frame off had looked at it (bare DLMS APDUs)
	CheckParity               // a parity bit a byte
	CheckBCC                  // 8-bit XOR: IEC 62056-21
	CheckSum8                 // 8-bit sum: M-Bus, ECHONET modules
	CheckCRC16                // P1, HDLC's FCS, wM-Bus, I-FLAG
	CheckTag                  // an AES-GCM tag
)

// String is the check's name in documents and logs.
func (c Check) String() string {
	names := [...]string{"none", "relayed", "parity", "bcc", "sum8", "crc16", "tag"}
	if int(c) < len(names) {
		return names[c]
	}
	return "unknown"
}

// Identity says who a meter is. An empty field is not known. ID is unique among
// the meters of one driver and manufacturer.
type Identity struct {
	Driver       string `json:"driver,omitempty"`
	ID           string `json:"id,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"` // three letters (FLAG) where the protocol has them
	Model        string `json:"model,omitempty"`
	Version      string `json:"version,omitempty"`
	Medium       string `json:"medium,omitempty"` // obis medium names: electricity, gas, water …
}

// Stamp is a moment as a meter wrote it. Unless Zoned, only the digits are
// known, not the offset, and Wall carries them in UTC. The zero Stamp is none.
type Stamp struct {
	Wall  time.Time
	Zoned bool
}

// IsZero says that there is no time.
func (s Stamp) IsZero() bool { return s.Wall.IsZero() }

// Equal says whether both show the same digits, or the same moment if both are
// zoned.
func (s Stamp) Equal(o Stamp) bool { return s.Zoned == o.Zoned && s.Wall.Equal(o.Wall) }

// AppendTo appends the stamp in the form of RFC 3339, without an offset if none
// is known.
func (s Stamp) AppendTo(b []byte) []byte {
	layout := "2006-01-02T15:04:05"
	if s.Wall.Nanosecond() != 0 {
		layout = "2006-01-02T15:04:05.999999999"
	}
	if s.Zoned {
		return s.Wall.AppendFormat(b, layout+"Z07:00")
	}
	return s.Wall.AppendFormat(b, layout)
}

// String is the stamp as AppendTo writes it, or "" if there is none.
func (s Stamp) String() string {
	if s.IsZero() {
		return ""
	}
	return string(s.AppendTo(nil))
}

// MarshalText writes what String gives.
func (s Stamp) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Zones are the clocks that a decoder may need to date a stamp that carries no
// offset.
type Zones struct {
	Meter *time.Location // as configured for this meter; nil: by the meter's maker and country, else Host
	Host  *time.Location // the gateway's own; nil: none is known and such stamps stay without offset
}
