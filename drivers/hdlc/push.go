package hdlc

import (
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// push turns the tree of a push into values.
type push struct {
	layout []position
	scales map[obis.Code]position
	clock  clock
	known  [knownSlots]known
	texts  map[string]string

	scratch []byte
	noted   map[string]bool // shapes of lists that were told about
	sources map[int]int     // for an explanation: value → element; nil: nobody asks

	// Of the reading under way.
	tree   *dlms.Tree
	r      *drivers.Reading
	maker  *maker
	zoned  drivers.Stamp // the clock object's time
	idRank uint8
	doubt  drivers.Flags
}

func newPush(c *Config, z drivers.Zones) (p push, err error) {
	if p.layout, err = parsePositions(c.Layout); err != nil {
		return p, err
	}
	p.scales, err = parseScales(c.Scale)
	p.clock = newClock(c.Clock, z)
	p.texts, p.noted = map[string]string{}, map[string]bool{}
	return p, err
}

// nobody is the maker that nothing is known of.
var nobody = &maker{}

// read fills r from the tree.
func (p *push) read(r *drivers.Reading, n *dlms.Notification, title dlms.Title) {
	p.r, p.maker, p.zoned, p.idRank, p.doubt = r, nobody, drivers.Stamp{}, 0, 0
	r.Meter.Driver, r.Meter.Medium = "hdlc", "electricity"
	if flag := title.Maker(); flag != "" {
		r.Meter.Manufacturer = p.text([]byte(flag))
		if m := makerByName(r.Meter.Manufacturer); m != nil {
			p.maker = m
		}
	}
	if n.Class != 0 {
		p.coded(n.Code, 0, none)
	} else {
		p.body()
	}
	p.setTime(n)
	p.setChannels()
	if p.maker.name != "" && r.Meter.Manufacturer == "" {
		r.Meter.Manufacturer = p.maker.name
	}
}

// body tells which kind of push list the tree is.
func (p *push) body() {
	els := p.tree.Elements
	root := els[0]
	switch {
	case root.Tag != dlms.Array && root.Tag != dlms.Structure:
		p.item(0, 0)
		p.note()
	case p.isRows():
		p.rows()
	case root.Tag == dlms.Array:
		p.unknown()
	case p.isObjects():
		p.objects()
	case p.isPairs():
		p.pairs()
	case len(p.layout) == int(root.Count):
		p.configured()
	default:
		p.positional()
	}
}

// unknown keeps a list that nobody knows under its positions, and says so once.
func (p *push) unknown() {
	p.items()
	p.note()
}

// scaling is a scaler and unit from the wire.
type scaling struct {
	exponent int
	unit     obis.Unit
	given    bool
	unknown  bool // the unit's number stands for none
}

var none scaling

// scalerUnit reads element i as {scaler, unit}.
func (p *push) scalerUnit(i int) (scaling, bool) {
	els := p.tree.Elements
	if i+2 >= len(els) || els[i].Tag != dlms.Structure || els[i].Count != 2 || els[i+1].Tag != dlms.Integer || els[i+2].Tag != dlms.Enum {
		return none, false
	}
	scaler, enum := int8(p.tree.Bytes(i + 1)[0]), p.tree.Bytes(i + 2)[0]
	unit, shift, known := dlms.Unit(enum)
	return scaling{int(scaler) + shift, unit, true, !known}, true
}

// isCode says whether element i can be an OBIS code: six octets, of which the
// first is a medium, which no printable text begins with.
func (p *push) isCode(i int) bool {
	e := &p.tree.Elements[i]
	return e.Tag == dlms.OctetString && e.Len == 6 && p.tree.Bytes(i)[0] < 0x10
}

// codeAt is element i as an OBIS code, or the code within a descriptor.
func (p *push) codeAt(i int) obis.Code {
	b := p.tree.Bytes(i)
	if p.tree.Elements[i].Tag == dlms.Descriptor {
		b = b[2:]
	}
	return obis.Code(b[:6])
}

// isRows: each element is a structure that begins with its code, as in the lists
// of Aidon, L+G of Norway, Iskraemeco AM550, and with descriptors Sagemcom XT211.
func (p *push) isRows() bool {
	els := p.tree.Elements
	if els[0].Count == 0 {
		return false
	}
	for i := 1; i < len(els); i = p.tree.Next(i) {
		if !p.isRow(i) {
			return false
		}
	}
	return true
}

// isRow says whether element i is a structure that begins with its code.
func (p *push) isRow(i int) bool {
	els := p.tree.Elements
	return els[i].Tag == dlms.Structure && els[i].Count >= 2 && (p.isCode(i+1) || els[i+1].Tag == dlms.Descriptor)
}

// row takes {code, value} or {code, value, {scaler, unit}}.
func (p *push) row(i int) {
	value := i + 2
	s, _ := p.scalerUnit(p.tree.Next(value))
	p.coded(p.codeAt(i+1), value, s)
}

// rows takes them all.
func (p *push) rows() {
	els := p.tree.Elements
	if p.maker == nobody && els[0].Tag == dlms.Array && els[2].Tag != dlms.Descriptor {
		p.maker = &aidon // until a list id says otherwise
	}
	for i := 1; i < len(els); i = p.tree.Next(i) {
		p.row(i)
	}
	if p.maker == &aidon && !p.hasListID() {
		p.maker = &aidonLike
	}
}

// aidonLike is what lists of Aidon's form without a list id go by: the same
// rules, and nobody's name.
var aidonLike = maker{clock: standardRule, zeroIsNone: true}

func (p *push) hasListID() bool { return p.r.Meter.Version != "" }

// isObjects: the first element is the list of what follows: {class, code,
// attribute, index …} for each value (L+G E450 of Switzerland, IDIS).
func (p *push) isObjects() bool {
	els := p.tree.Elements
	if len(els) < 4 || els[1].Tag != dlms.Array || els[1].Count == 0 {
		return false
	}
	for i := 2; i < p.tree.Next(1); i = p.tree.Next(i) {
		if els[i].Tag != dlms.Structure || els[i].Count < 4 || els[i+1].Tag != dlms.LongUnsigned || !p.isCode(i+2) {
			return false
		}
	}
	return true
}

// objects pairs the listed objects with the values. One value fewer than objects:
// the list itself is left out of them.
func (p *push) objects() {
	if p.maker == nobody {
		p.maker = &landisGyr
	}
	els := p.tree.Elements
	object, objects := 2, int(els[1].Count)
	if int(els[0].Count)-1 == objects-1 {
		object = p.tree.Next(object)
	}
	for value := p.tree.Next(1); value < len(els) && object < p.tree.Next(1); value = p.tree.Next(value) {
		p.coded(p.codeAt(object+2), value, none)
		object = p.tree.Next(object)
	}
}

// isPairs: a code stands among the first three elements that are not null, and
// something behind it.
func (p *push) isPairs() bool {
	els := p.tree.Elements
	seen := 0
	for i := 1; i < len(els) && seen < 3; i = p.tree.Next(i) {
		if els[i].Tag == dlms.Null {
			continue
		}
		if p.isCode(i) && p.tree.Next(i) < len(els) {
			return true
		}
		seen++
	}
	return false
}

// Codes that stand for what some lists send without one.
var (
	codeListID = obis.New(1, 1, 0, 2, 129)
	codeClock  = obis.New(0, 0, 1, 0, 0)
	codeNumber = obis.New(0, 0, 96, 1, 0)
)

// pairs takes code and value, perhaps {scaler, unit}, one after the other (Kaifa,
// Kamstrup, Austria). Nulls between are fill (Kamstrup). Without a code come, as
// the first, clock or list id, and as the last, the meter's number.
func (p *push) pairs() {
	els := p.tree.Elements
	for i, n := 1, 0; i < len(els); n++ {
		switch {
		case els[i].Tag == dlms.Null:
			i = p.tree.Next(i)
		case p.isCode(i):
			i = p.pair(i)
		case p.isRow(i): // Kaifa of Salzburg: the clock as a pair, then rows
			p.row(i)
			i = p.tree.Next(i)
		default:
			p.codeless(i, n)
			i = p.tree.Next(i)
		}
	}
}

// pair takes one code with its value, and gives the element behind. A null and
// then another code: there is no value.
func (p *push) pair(i int) (next int) {
	els := p.tree.Elements
	value := p.tree.Next(i)
	nulls := 0
	for value < len(els) && els[value].Tag == dlms.Null {
		value = p.tree.Next(value)
		nulls++
	}
	if value >= len(els) || nulls > 0 && p.isCode(value) {
		return value
	}
	next = p.tree.Next(value)
	s, ok := p.scalerUnit(next)
	if ok {
		next = p.tree.Next(next)
	}
	p.coded(p.codeAt(i), value, s)
	return next
}

// codeless takes an element without a code, by its place.
func (p *push) codeless(i, n int) {
	e := &p.tree.Elements[i]
	isText := e.Tag.IsString()
	switch {
	case n == 0 && (e.Tag == dlms.DateTimeType || isText && e.Len == 12):
		p.coded(codeClock, i, none)
	case n == 0 && isText:
		p.coded(codeListID, i, none)
	case isText && p.tree.Next(i) == len(p.tree.Elements):
		p.coded(codeNumber, i, none)
	default:
		p.item(i, n)
	}
}

// configured takes a list whose positions the configuration names.
func (p *push) configured() {
	i := 1
	for n := range p.layout {
		at := &p.layout[n]
		if at.scaled {
			p.scaled(at, i)
		} else if !at.code.IsZero() {
			p.coded(at.code, i, none)
		}
		i = p.tree.Next(i)
	}
}

// positional takes a list without codes, known or not.
func (p *push) positional() {
	for n := range lists {
		l := &lists[n]
		if !l.fits(p.tree, 0) {
			continue
		}
		if p.maker == nobody {
			p.maker = l.maker
		}
		p.listed(l)
		return
	}
	p.unknown()
}

func (p *push) listed(l *list) {
	i := 1
	for n, code := range l.codes {
		switch code {
		case notWanted:
		case obis.Code{}:
			p.item(i, n)
		default:
			p.coded(code, i, none)
		}
		i = p.tree.Next(i)
	}
}

// items keeps what nobody knows under its position.
func (p *push) items() {
	for i, n := 1, 0; i < len(p.tree.Elements); i, n = p.tree.Next(i), n+1 {
		p.item(i, n)
	}
}
