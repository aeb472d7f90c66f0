package routeb

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Property codes of class 0x0288 and, from D3 on where it says so, of the node
// profile.
const (
	epcOperation      = 0x80
	epcLocation       = 0x81
	epcVersion        = 0x82
	epcIdentification = 0x83
	epcFaultCode      = 0x86
	epcFault          = 0x88
	epcFaultText      = 0x89
	epcMaker          = 0x8A
	epcFactory        = 0x8B
	epcProduct        = 0x8C
	epcSerial         = 0x8D
	epcProduced       = 0x8E
	epcTime           = 0x97
	epcDate           = 0x98
	epcMapInf         = 0x9D
	epcMapSet         = 0x9E
	epcMapGet         = 0x9F
	epcRouteB         = 0xC0
	epcMinute         = 0xD0
	epcCoefficient    = 0xD3 // node profile: number of instances
	epcClasses        = 0xD4 // node profile: number of classes
	epcInstanceInf    = 0xD5 // node profile: instance list, announced
	epcInstances      = 0xD6 // node profile: instance list
	epcDigits         = 0xD7 // node profile: class list
	epcImport         = 0xE0
	epcUnit           = 0xE1
	epcDayImport      = 0xE2
	epcExport         = 0xE3
	epcDayExport      = 0xE4
	epcDay            = 0xE5
	epcPower          = 0xE7
	epcCurrent        = 0xE8
	epcHalfImport     = 0xEA
	epcHalfExport     = 0xEB
	epcHalves         = 0xEC
	epcHalvesSelect   = 0xED
	epcMinutes        = 0xEE
	epcMinutesSelect  = 0xEF
)

// japan is the zone of all meters' clocks: no summer time since 1951.
var japan = time.FixedZone("JST", 9*60*60)

// maxCount is the largest energy count that a meter gives; above it stand the codes
// for no data and overflow.
const maxCount = 99_999_999

// Count is an energy as the meter counts it: of how many kWh, its scale says.
type Count struct {
	N     uint32
	Known bool // false: no data, or overflow
}

func countOf(b []byte) Count {
	n := binary.BigEndian.Uint32(b)
	return Count{n, n <= maxCount}
}

// Scale is what a count is worth: unit times coefficient.
type Scale struct {
	Known       bool // the unit has come
	Exponent    int8 // EPC E1: the unit is so many powers of ten of a kWh
	Coefficient int64
}

var errUnreadable = errors.New("the data does not fit the property")

// parseUnit reads EPC E1.
func parseUnit(b []byte) (exponent int8, ok bool) {
	if len(b) != 1 {
		return 0, false
	}
	switch c := b[0]; {
	case c <= 4:
		return -int8(c), true
	case c >= 0x0A && c <= 0x0D:
		return int8(c) - 9, true
	}
	return 0, false
}

// parseCoefficient reads EPC D3.
func parseCoefficient(b []byte) (int64, bool) {
	if len(b) != 4 {
		return 0, false
	}
	n := int64(binary.BigEndian.Uint32(b))
	if n > 999_999 {
		return 0, false
	}
	return n, true
}

// learn takes the scale from a property, if it is one of it.
func (s *Scale) learn(p Property) {
	switch p.EPC {
	case epcUnit:
		if e, ok := parseUnit(p.EDT); ok {
			s.Exponent, s.Known = e, true
		} else if len(p.EDT) > 0 {
			s.Known = false // a unit that nobody knows: no energy is better than a wrong one
		}
	case epcCoefficient:
		if c, ok := parseCoefficient(p.EDT); ok {
			s.Coefficient = c
		}
	}
}

// energy is a count in kWh. A coefficient of 0, which would make every energy 0,
// counts as 1.
func (s *Scale) energy(v *drivers.Value, c Count) bool {
	if !s.Known || !c.Known {
		return false
	}
	return v.SetScaled(int64(c.N)*max(s.Coefficient, 1), int(s.Exponent)) == nil
}

// stampOf reads a year (2), month, day, hour, minute and, with seven bytes, second.
// A year FFFF, or a date that there is not, gives none.
func stampOf(b []byte) drivers.Stamp {
	year, second := int(binary.BigEndian.Uint16(b)), 0
	if len(b) > 6 {
		second = int(b[6])
	}
	month, day, hour, minute := time.Month(b[2]), int(b[3]), int(b[4]), int(b[5])
	if year > 9999 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return drivers.Stamp{}
	}
	t := time.Date(year, month, day, hour, minute, second, 0, japan)
	if t.Day() != day {
		return drivers.Stamp{}
	}
	return drivers.Stamp{Wall: t, Zoned: true}
}

// appendStamp is the reverse, without seconds.
func appendStamp(b []byte, t time.Time) []byte {
	t = t.In(japan)
	b = binary.BigEndian.AppendUint16(b, uint16(t.Year()))
	return append(b, byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()))
}

// Latch is an energy at a moment: EPC EA, EB.
type Latch struct {
	At    drivers.Stamp
	Count Count
}

func parseLatch(b []byte) (Latch, bool) {
	if len(b) != 11 {
		return Latch{}, false
	}
	return Latch{stampOf(b[:7]), countOf(b[7:])}, true
}

// Row is a row of history: import and export at a moment.
type Row struct {
	At             drivers.Stamp
	Import, Export Count
}

func parseMinute(b []byte) (Row, bool) {
	if len(b) != 15 {
		return Row{}, false
	}
	return Row{stampOf(b[:7]), countOf(b[7:]), countOf(b[11:])}, true
}

const slots = 48 // half-hours of a day

// Day is EPC E2 or E4: the counts of a day, each half-hour from 00:00 on.
type Day struct {
	Back   int // days before the meter's today
	Counts [slots]Count
}

// ParseDay reads EPC E2 or E4.
func ParseDay(b []byte) (d Day, err error) {
	if len(b) != 2+4*slots {
		return d, errUnreadable
	}
	d.Back = int(binary.BigEndian.Uint16(b))
	for i := range d.Counts {
		d.Counts[i] = countOf(b[2+4*i:])
	}
	return d, nil
}

// ParseRows reads EPC EC, with a step of half an hour, or EE, with one of a minute.
// Rows come newest first; a collection time that was never set gives none.
func ParseRows(b []byte, step time.Duration) ([]Row, error) {
	if len(b) < 7 || len(b) != 7+8*int(b[6]) || b[6] > 12 {
		return nil, errUnreadable
	}
	from := stampOf(b[:6])
	if from.IsZero() {
		return nil, nil
	}
	rows := make([]Row, b[6])
	for i := range rows {
		at := drivers.Stamp{Wall: from.Wall.Add(-time.Duration(i) * step), Zoned: true}
		rows[i] = Row{at, countOf(b[7+8*i:]), countOf(b[11+8*i:])}
	}
	return rows, nil
}

// Selection is EPC ED or EF: which rows EC or EE gives.
type Selection struct {
	Newest time.Time // zero: never set
	Rows   int
}

// ParseSelection reads EPC ED or EF.
func ParseSelection(b []byte) (Selection, error) {
	if len(b) != 7 {
		return Selection{}, errUnreadable
	}
	return Selection{stampOf(b[:6]).Wall, int(b[6])}, nil
}

// Encode is the selection for EPC ED, where the minute is taken down to 0 or 30, or
// EF. More than 12 or 10 rows, or none, are refused.
func (s Selection) Encode(epc byte) ([]byte, error) {
	most, t := 10, s.Newest.In(japan)
	if epc == epcHalvesSelect {
		most = 12
		t = t.Truncate(30 * time.Minute)
	}
	if s.Rows < 1 || s.Rows > most || t.Year() < 1 || t.Year() > 9999 {
		return nil, fmt.Errorf("%w: %d rows: want 1 to %d", drivers.ErrValue, s.Rows, most)
	}
	return append(appendStamp(nil, t), byte(s.Rows)), nil
}

// Codes is a set of property codes from 80 to FF: a property map.
type Codes [16]byte

// Add puts a code in.
func (c *Codes) Add(epc byte) { c[epc&0xF] |= 1 << (epc>>4 - 8) }

// Has says whether a code is in.
func (c *Codes) Has(epc byte) bool { return epc >= 0x80 && c[epc&0xF]>>(epc>>4-8)&1 == 1 }

// All are the codes in ascending order.
func (c *Codes) All() []byte {
	var all []byte
	for epc := 0x80; epc <= 0xFF; epc++ {
		if c.Has(byte(epc)) {
			all = append(all, byte(epc))
		}
	}
	return all
}

// ParseCodes reads a property map, EPC 9D to 9F: below 16 codes a list, else a
// bitmap.
func ParseCodes(b []byte) (c Codes, err error) {
	if len(b) == 0 {
		return c, errUnreadable
	}
	if n := int(b[0]); n < 16 {
		if len(b) != 1+n {
			return c, errUnreadable
		}
		for _, epc := range b[1:] {
			if epc < 0x80 {
				return Codes{}, errUnreadable
			}
			c.Add(epc)
		}
		return c, nil
	}
	if len(b) != 17 {
		return c, errUnreadable
	}
	copy(c[:], b[1:])
	return c, nil
}

// Encode is the set as a property map.
func (c *Codes) Encode() []byte {
	all := c.All()
	if len(all) < 16 {
		return append([]byte{byte(len(all))}, all...)
	}
	return append([]byte{byte(len(all))}, c[:]...)
}

// places are what location code 81 says in its bits 6 to 3.
var places = [...]string{
	"", "living room", "dining room", "kitchen", "bathroom", "toilet", "washroom", "hallway", "room", "stairs",
	"entrance", "storage room", "garden/perimeter", "garage", "veranda", "other",
}

const (
	placeNotSet   = "location not set"
	placeNotFixed = "location not fixed"
	placeUnknown  = "not implemented"
	placeFree     = "location information: "
)

// parseLocation reads EPC 81 as text.
func parseLocation(b []byte) (string, bool) {
	if len(b) == 17 && b[0] == 1 {
		return fmt.Sprintf("%s%x", placeFree, b[1:]), true
	}
	if len(b) != 1 {
		return "", false
	}
	switch c := b[0]; {
	case c == 0:
		return placeNotSet, true
	case c == 0xFF:
		return placeNotFixed, true
	case c < 8 || c >= 0x80:
		return placeUnknown, true
	case c&7 == 0:
		return places[c>>3], true
	default:
		return fmt.Sprintf("%s %d", places[c>>3], c&7), true
	}
}

// encodeLocation is the reverse of parseLocation.
func encodeLocation(text string) ([]byte, error) {
	for c := range 256 {
		b := []byte{byte(c)}
		if s, _ := parseLocation(b); s == text && s != placeUnknown {
			return b, nil
		}
	}
	if digits, ok := strings.CutPrefix(text, placeFree); ok {
		if position, err := hex.DecodeString(digits); err == nil && len(position) == 16 {
			return append([]byte{1}, position...), nil
		}
	}
	return nil, fmt.Errorf("%w: location %.40q: want a place as in \"kitchen 1\"", drivers.ErrValue, text)
}

// signed reads a signed register. No data and the overflow codes give false.
func signed(b []byte) (int64, bool) {
	switch len(b) {
	case 2:
		n := int16(binary.BigEndian.Uint16(b))
		return int64(n), n != -0x8000 && n < 0x7FFE
	case 4:
		n := int32(binary.BigEndian.Uint32(b))
		return int64(n), n != -0x80000000 && n < 0x7FFFFFFE
	}
	return 0, false
}
