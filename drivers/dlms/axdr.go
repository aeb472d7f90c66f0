package dlms

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Tag is a data type of A-XDR, by its number in the Blue Book ed. 13, 4.1.5.
type Tag uint8

// The data types.
const (
	Null               Tag = 0
	Array              Tag = 1
	Structure          Tag = 2
	Boolean            Tag = 3
	BitString          Tag = 4
	DoubleLong         Tag = 5
	DoubleLongUnsigned Tag = 6
	OctetString        Tag = 9
	VisibleString      Tag = 10
	UTF8String         Tag = 12
	BCD                Tag = 13
	Integer            Tag = 15
	Long               Tag = 16
	Unsigned           Tag = 17
	LongUnsigned       Tag = 18
	CompactArray       Tag = 19 // shows as an Array of its values
	Long64             Tag = 20
	Long64Unsigned     Tag = 21
	Enum               Tag = 22
	Float32            Tag = 23
	Float64            Tag = 24
	DateTimeType       Tag = 25
	DateType           Tag = 26
	TimeType           Tag = 27
	// The delta types, 28 to 33: a difference to the value before in a buffer,
	// as wide as integer, long, double-long and their unsigned kin.
	DeltaInteger            Tag = 28
	DeltaDoubleLongUnsigned Tag = 33
	DontCare                Tag = 255

	// Descriptor is no type of A-XDR: class, OBIS code and attribute without
	// tags, nine bytes, as Sagemcom's XT211 puts them where an element belongs.
	Descriptor Tag = 200
)

// sizes are the bytes that a value of fixed size takes; sized tells that its
// size stands in front of it, absent that there is no such type.
var sizes = func() (all [256]int8) {
	for i := range all {
		all[i] = absent
	}
	for n, tags := range [...][]Tag{
		0:  {Null, DontCare},
		1:  {Boolean, BCD, Integer, Unsigned, Enum, 28, 31},
		2:  {Long, LongUnsigned, 29, 32},
		4:  {DoubleLong, DoubleLongUnsigned, Float32, TimeType, 30, 33},
		5:  {DateType},
		8:  {Long64, Long64Unsigned, Float64},
		9:  {Descriptor},
		12: {DateTimeType},
	} {
		for _, t := range tags {
			all[t] = int8(n)
		}
	}
	for _, t := range []Tag{Array, Structure, BitString, OctetString, VisibleString, UTF8String, CompactArray} {
		all[t] = sized
	}
	all[Descriptor] = absent // never by a tag on the wire
	return all
}()

const (
	sized  = -1
	absent = -2
)

// Bounds of a tree: what a hostile telegram can make of it.
const (
	MaxDepth    = 16
	MaxElements = 512
)

// Element is one element of a tree: a leaf, or an array or structure whose
// elements follow it.
type Element struct {
	Tag   Tag
	Depth uint8
	Span  uint16 // elements that it takes, itself and all inside: the next one of its depth is that far on
	Off   uint16 // of its content, from the body's first byte
	Len   uint16 // bytes of its content
	Count uint16 // elements of an array or structure, bits of a bit-string
}

// Tree is a body of A-XDR, taken apart into a flat list in wire order. It refers
// to the bytes it was parsed from, and is used again without an allocation.
type Tree struct {
	Elements []Element // the whole tree; [0] is the root
	data     []byte
	at       int
	n        int // elements so far
	depth    uint8
	lenient  bool
	fault    error
	room     [MaxElements]Element
}

// Parse reads one element and all inside it off b, and gives how many bytes that
// took; what follows is the caller's. Nesting deeper than MaxDepth and more than
// MaxElements elements are drivers.ErrLong; counts are held against the bytes
// that are left before anything is done with them. offset is where an error
// stands. drivers.ErrShort alone may go away with more bytes.
func (t *Tree) Parse(b []byte) (size, offset int, err error) { return t.parse(b, false) }

// ParseDescriptors is Parse for bodies that put descriptors without tags (see
// Descriptor) where the first of two elements belongs. What Parse takes, it may
// take otherwise: ask Parse first.
func (t *Tree) ParseDescriptors(b []byte) (size int, err error) {
	size, _, err = t.parse(b, true)
	return size, err
}

func (t *Tree) parse(b []byte, lenient bool) (size int, offset int, err error) {
	if len(b) > MaxAPDU {
		return 0, MaxAPDU, drivers.ErrLong
	}
	t.Elements, t.data, t.at, t.n, t.depth, t.lenient, t.fault = nil, b, 0, 0, 0, lenient, nil
	if !t.element() {
		return 0, t.at, t.fault
	}
	t.Elements = t.room[:t.n]
	return t.at, 0, nil
}

// fail notes the first fault; it is always false.
func (t *Tree) fail(err error) bool {
	if t.fault == nil {
		t.fault = err
	}
	return false
}

// element takes a tag and what it stands for. Nearly all of a telegram's time is
// spent here and in leaf and container.
func (t *Tree) element() bool {
	at := t.at
	if at >= len(t.data) {
		return t.fail(drivers.ErrShort)
	}
	if t.lenient && t.descriptor() {
		return true
	}
	tag := Tag(t.data[at])
	size := int(sizes[tag])
	at++
	if size == sized && tag.isPlain() && at < len(t.data) && t.data[at] < 0x80 {
		size = int(t.data[at])
		at++
		if tag <= Structure {
			t.at = at
			return t.container(tag, size)
		}
	}
	t.at = at
	switch {
	case size >= 0:
		return t.leaf(tag, size, 0)
	case tag == CompactArray:
		return t.compactArray()
	}
	return t.variable(tag)
}

// isPlain says that a count of elements or bytes stands behind the tag, and then
// these.
func (t Tag) isPlain() bool { return t != BitString && t != CompactArray }

// content takes what a tag stands for.
func (t *Tree) content(tag Tag) bool {
	if size := sizes[tag]; size >= 0 {
		return t.leaf(tag, int(size), 0)
	}
	return t.variable(tag)
}

// variable takes what says its own size.
func (t *Tree) variable(tag Tag) bool {
	if sizes[tag] == absent {
		t.at--
		return t.fail(drivers.ErrSyntax)
	}
	n, ok := t.length()
	if !ok {
		return false
	}
	switch tag {
	case Array, Structure:
		return t.container(tag, n)
	case BitString:
		return t.leaf(tag, (n+7)/8, n)
	default:
		return t.leaf(tag, n, 0)
	}
}

// length takes a count or a length.
func (t *Tree) length() (int, bool) {
	if t.at < len(t.data) && t.data[t.at] < 0x80 {
		t.at++
		return int(t.data[t.at-1]), true
	}
	n, size, err := length(t.data[t.at:])
	if err != nil {
		return 0, t.fail(err)
	}
	t.at += size
	return n, true
}

func (t *Tree) leaf(tag Tag, size, count int) bool {
	at, n := t.at, t.n
	switch {
	case size > len(t.data)-at:
		return t.fail(drivers.ErrShort)
	case n >= MaxElements:
		return t.fail(drivers.ErrLong)
	}
	e := &t.room[n] // field by field: a literal would be built elsewhere and copied
	e.Tag, e.Depth, e.Span = tag, t.depth, 1
	e.Off, e.Len, e.Count = uint16(at), uint16(size), uint16(count)
	t.at, t.n = at+size, n+1
	return true
}

// open begins an array or a structure.
func (t *Tree) open(tag Tag, count int) (element int, ok bool) {
	n := t.n
	if t.depth == MaxDepth || n >= MaxElements {
		return 0, t.fail(drivers.ErrLong)
	}
	e := &t.room[n]
	e.Tag, e.Depth, e.Off, e.Count = tag, t.depth, uint16(t.at), uint16(count)
	t.depth++
	t.n = n + 1
	return n, true
}

func (t *Tree) close(element int) bool {
	e := &t.room[element]
	e.Span = uint16(t.n - element)
	e.Len = uint16(t.at - int(e.Off))
	t.depth--
	return true
}

func (t *Tree) container(tag Tag, count int) bool {
	if count > len(t.data)-t.at { // each element takes a byte at least
		return t.fail(drivers.ErrShort)
	}
	at, ok := t.open(tag, count)
	if !ok {
		return false
	}
	for range count {
		if t.quick() {
			continue
		}
		if !t.element() {
			return false
		}
	}
	return t.close(at)
}

// quick takes an element of fixed size, or a short string, which nearly all of a
// telegram are. false: it took nothing, and element knows what to do.
func (t *Tree) quick() bool {
	at, n := t.at, t.n
	if len(t.data)-at < 2 || n >= MaxElements || t.lenient {
		return false
	}
	tag := Tag(t.data[at])
	size := int(sizes[tag])
	at++
	if tag == OctetString {
		size = int(t.data[at])
		at++
	}
	if size < 0 || size >= 0x80 || size > len(t.data)-at {
		return false
	}
	e := &t.room[n] // field by field: a literal would be built elsewhere and copied
	e.Tag, e.Depth, e.Span = tag, t.depth, 1
	e.Off, e.Len, e.Count = uint16(at), uint16(size), 0
	t.at, t.n = at+size, n+1
	return true
}

// descriptor takes class, OBIS code and attribute without tags, which stand where
// the first of two elements belongs and begin like a null. A class is a small
// number, an OBIS code ends with 255, an attribute is a small number again.
func (t *Tree) descriptor() bool {
	b := t.data[t.at:]
	if t.n == 0 || t.room[t.n-1].Tag != Structure || t.room[t.n-1].Count != 2 {
		return false
	}
	if len(b) < 9 || b[0] != 0 || b[1] == 0 || b[1] > 127 || b[7] != 255 || b[8] == 0 || b[8] > 32 {
		return false
	}
	return t.leaf(Descriptor, 9, 0)
}

// compactArray takes a type description, the length of the content, and values
// of that type until the content ends.
func (t *Tree) compactArray() bool {
	description := t.at
	if !t.describe(0) {
		return false
	}
	n, ok := t.length()
	switch {
	case !ok:
		return false
	case n > len(t.data)-t.at:
		return t.fail(drivers.ErrShort)
	}
	at, ok := t.open(Array, 0)
	if !ok {
		return false
	}
	whole := t.data
	t.data = whole[:t.at+n]
	defer func() { t.data = whole }()
	for t.at < len(t.data) {
		before := t.at
		if _, ok := t.packed(description); !ok {
			return false
		}
		if t.at == before {
			return t.fail(drivers.ErrSyntax) // a value without bytes would go on for ever
		}
		t.room[at].Count++
	}
	return t.close(at)
}

// describe steps over a type description:
//
//	tag, or 01 count(2) description, or 02 count description …
func (t *Tree) describe(depth int) bool {
	switch {
	case depth > MaxDepth:
		return t.fail(drivers.ErrLong)
	case t.at >= len(t.data):
		return t.fail(drivers.ErrShort)
	}
	tag := Tag(t.data[t.at])
	t.at++
	switch {
	case tag == Array && len(t.data)-t.at < 2:
		return t.fail(drivers.ErrShort)
	case tag == Array:
		t.at += 2
		return t.describe(depth + 1)
	case tag == Structure:
		n, ok := t.length()
		for range n {
			if !ok {
				return false
			}
			ok = t.describe(depth + 1)
		}
		return ok
	case tag == CompactArray || sizes[tag] == absent:
		t.at--
		return t.fail(drivers.ErrSyntax)
	}
	return true
}

// packed takes one value without tags, of the type described at byte d, and gives
// the byte behind that description.
func (t *Tree) packed(d int) (next int, ok bool) {
	tag := Tag(t.data[d])
	d++
	switch tag {
	case Array:
		return t.packedMany(tag, int(binary.BigEndian.Uint16(t.data[d:])), d+2, false)
	case Structure:
		n, size, _ := length(t.data[d:])
		return t.packedMany(tag, n, d+size, true)
	default:
		return d, t.content(tag)
	}
}

// packedMany takes n values: each of the next type described (a structure), or
// all of the same (an array).
func (t *Tree) packedMany(tag Tag, n, d int, each bool) (next int, ok bool) {
	at, ok := t.open(tag, n)
	if !ok {
		return 0, false
	}
	next = d
	for range n {
		if next, ok = t.packed(d); !ok {
			return 0, false
		}
		if each {
			d = next
		}
	}
	return next, t.close(at)
}

// Bytes are the content of element i.
func (t *Tree) Bytes(i int) []byte {
	e := &t.Elements[i]
	return t.data[e.Off : int(e.Off)+int(e.Len)]
}

// Next is the index of the element behind element i and all inside it.
func (t *Tree) Next(i int) int { return i + int(t.Elements[i].Span) }

// IsNumber says that the type counts or measures: Number has a chance.
func (t Tag) IsNumber() bool {
	switch t {
	case DoubleLong, DoubleLongUnsigned, BCD, Integer, Long, Unsigned, LongUnsigned, Long64, Long64Unsigned, Enum, Boolean, Float32, Float64:
		return true
	default:
		return false
	}
}

// IsString says that the type is an octet, visible or UTF-8 string.
func (t Tag) IsString() bool { return t == OctetString || t == VisibleString || t == UTF8String }

// Int is element i as a whole number, or false: it is none, or beyond 63 bits.
func (t *Tree) Int(i int) (int64, bool) {
	b := t.Bytes(i)
	switch t.Elements[i].Tag {
	case DoubleLongUnsigned:
		return int64(binary.BigEndian.Uint32(b)), true
	case LongUnsigned:
		return int64(binary.BigEndian.Uint16(b)), true
	case Boolean:
		return int64(min(b[0], 1)), true
	case Unsigned, Enum:
		return int64(b[0]), true
	case Integer:
		return int64(int8(b[0])), true
	case Long:
		return int64(int16(binary.BigEndian.Uint16(b))), true
	case DoubleLong:
		return int64(int32(binary.BigEndian.Uint32(b))), true
	case Long64:
		return int64(binary.BigEndian.Uint64(b)), true
	case Long64Unsigned:
		v := binary.BigEndian.Uint64(b)
		return int64(v), v <= math.MaxInt64
	case BCD:
		return int64(b[0]>>4)*10 + int64(b[0]&15), b[0]>>4 <= 9 && b[0]&15 <= 9
	default:
		return 0, false
	}
}

// Number is element i × 10^scale, exactly; a float is the shortest decimal that
// reads back as the same float. false: it is no number, or one that cannot be
// kept. A delta is no number without the value that it starts from.
func (t *Tree) Number(i, scale int) (drivers.Decimal, bool) {
	if v, ok := t.Int(i); ok {
		d, err := drivers.Scaled(v, scale)
		return d, err == nil
	}
	switch b := t.Bytes(i); t.Elements[i].Tag {
	case Long64Unsigned:
		d, err := drivers.ScaledUint(binary.BigEndian.Uint64(b), scale)
		return d, err == nil
	case Float32:
		return shortest(float64(math.Float32frombits(binary.BigEndian.Uint32(b))), 32, scale)
	case Float64:
		return shortest(math.Float64frombits(binary.BigEndian.Uint64(b)), 64, scale)
	default:
		return drivers.Decimal{}, false
	}
}

func shortest(f float64, bits, scale int) (drivers.Decimal, bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) >= 1e38 {
		return drivers.Decimal{}, false
	}
	var scratch [64]byte
	d, err := drivers.ParseDecimal(strconv.AppendFloat(scratch[:0], f, 'f', -1, bits))
	if err == nil {
		d, err = d.Shift(scale)
	}
	return d, err == nil
}

// String is the type's name in the Blue Book.
func (t Tag) String() string {
	if s, ok := tagNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type %d", uint8(t))
}

var tagNames = map[Tag]string{
	Null: "null-data", Array: "array", Structure: "structure", Boolean: "boolean", BitString: "bit-string",
	DoubleLong: "double-long", DoubleLongUnsigned: "double-long-unsigned", OctetString: "octet-string",
	VisibleString: "visible-string", UTF8String: "utf8-string", BCD: "bcd", Integer: "integer", Long: "long",
	Unsigned: "unsigned", LongUnsigned: "long-unsigned", CompactArray: "compact-array", Long64: "long64",
	Long64Unsigned: "long64-unsigned", Enum: "enum", Float32: "float32", Float64: "float64",
	DateTimeType: "date-time", DateType: "date", TimeType: "time", 28: "delta-integer", 29: "delta-long",
	30: "delta-double-long", 31: "delta-unsigned", 32: "delta-long-unsigned", 33: "delta-double-long-unsigned",
	DontCare: "dont-care", Descriptor: "attribute descriptor",
}
