package corus

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

//go:embed layouts.toml
var shipped string

// field is a value at its place in an answer.
type field struct {
	name   string // in the table; value.Name is that of its code, if it has one
	kind   Type
	offset int // in the record, or in the parameter's bytes
	size   int
	pulse  bool   // times the input pulse weight
	factor number // of the divisor
	scaled bool   // the factor is not 1
	shift  int    // to the canonical unit
	value  drivers.Value
}

// layout is what the records of some databases consist of.
type layout struct {
	databases []Database
	firmware  string
	mask      uint32 // 0: none is known
	length    int
	stamp     int // where the record's time stands; -1: nowhere
	pulse     bool
	fields    []field
	values    []drivers.Value // of the fields, before they are read
}

// parameter is what stands behind an id. An alarm has several fields.
type parameter struct {
	id     ID
	name   string
	length int
	fields []field
	public []drivers.Parameter // as Describe tells them, one a field
}

// parameterMap are the parameters of a firmware; "": of any.
type parameterMap struct {
	firmware   string
	parameters []parameter
	inferred   bool // it is the one that is shipped
}

// catalogue is what a configuration knows of devices. It never changes, so that
// thousands of sessions share it.
type catalogue struct {
	layouts []layout // those that come first win
	maps    []parameterMap
}

// The tables of a file of layouts.
type (
	fileTable struct {
		Map    []mapTable    `toml:"map"`
		Layout []layoutTable `toml:"layout"`
	}
	mapTable struct {
		Firmware  string           `toml:"firmware"`
		Parameter []parameterTable `toml:"parameter"`
	}
	layoutTable struct {
		Databases []string     `toml:"databases"`
		Firmware  string       `toml:"firmware"`
		Mask      int64        `toml:"mask"`
		Field     []fieldTable `toml:"field"`
	}
	parameterTable struct {
		ID       int              `toml:"id"`
		Name     string           `toml:"name"`
		Type     string           `toml:"type"`
		Size     int              `toml:"size"`
		Unit     string           `toml:"unit"`
		OBIS     string           `toml:"obis"`
		Writable bool             `toml:"writable"`
		Min      *drivers.Decimal `toml:"min"`
		Max      *drivers.Decimal `toml:"max"`
		Options  []string         `toml:"options"`
		Doc      string           `toml:"doc"`
	}
	fieldTable struct {
		Name    string           `toml:"name"`
		Type    string           `toml:"type"`
		Size    int              `toml:"size"`
		Unit    string           `toml:"unit"`
		OBIS    string           `toml:"obis"`
		Pulse   bool             `toml:"pulse"`
		Divisor *drivers.Decimal `toml:"divisor"`
	}
)

// catalogues are those that were made of files before, by content: a thousand
// meters that name one file share what it says.
var catalogues struct {
	sync.Mutex
	byContent map[string]*catalogue
}

// maxCatalogues bounds what is kept of files that change while the program runs.
const maxCatalogues = 64

// catalogueOf is what a file of layouts says, before what is shipped.
func catalogueOf(content string) (*catalogue, error) {
	c := &catalogues
	c.Lock()
	defer c.Unlock()
	if known, ok := c.byContent[content]; ok {
		return known, nil
	}
	made, err := newCatalogue(content)
	if err != nil {
		return nil, err
	}
	if len(c.byContent) >= maxCatalogues || c.byContent == nil {
		c.byContent = map[string]*catalogue{}
	}
	c.byContent[content] = made
	return made, nil
}

func newCatalogue(content string) (*catalogue, error) {
	all := &catalogue{}
	err := all.add(content)
	if errShipped := all.add(shipped); errShipped != nil {
		return nil, errShipped
	}
	general := &all.maps[len(all.maps)-1]
	general.inferred = true
	for i := range all.maps {
		all.maps[i].complete(general)
	}
	return all, err
}

// complete adds what each firmware has: the parameters that public programs use
// whatever the map says. One that the map names itself is the clock, or the map's
// id, all the same.
func (m *parameterMap) complete(general *parameterMap) {
	for _, id := range []ID{mapID, clockID, weightID} {
		p := general.byID(id)
		if own := m.byID(id); own != nil && len(own.fields) == 1 && own.fields[0].kind == p.fields[0].kind && own.fields[0].value.Code.IsZero() {
			own.fields[0].value.Code = p.fields[0].value.Code
		}
		if other, _ := m.find(p.name); m.byID(id) == nil && other == nil {
			m.parameters = append(m.parameters, *p)
		}
	}
}

// The parameters that every device has.
const (
	weightID ID = 1
	mapID    ID = 94
	clockID  ID = 106
)

// add takes the tables of a file. Its error has every mistake.
func (c *catalogue) add(content string) error {
	var tables fileTable
	d := toml.NewDecoder(strings.NewReader(content)).DisallowUnknownFields()
	if err := d.Decode(&tables); err != nil {
		return plainTOML(err)
	}
	var errs []error
	for i, t := range tables.Map {
		m, err := t.compile()
		if err != nil {
			errs = append(errs, within(fmt.Sprintf("map %d", i+1), err))
		}
		c.maps = append(c.maps, m)
	}
	for i, t := range tables.Layout {
		l, err := t.compile()
		if err != nil {
			errs = append(errs, within(fmt.Sprintf("layout %d", i+1), err))
		}
		c.layouts = append(c.layouts, l)
	}
	return errors.Join(errs...)
}

// plainTOML says where a file is no TOML, or has a key that nobody knows.
func plainTOML(err error) error {
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var errs []error
		for _, e := range unknown.Errors {
			line, _ := e.Position()
			errs = append(errs, fmt.Errorf("line %d: unknown key %s", line, strings.Join(e.Key(), ".")))
		}
		return errors.Join(errs...)
	}
	if wrong, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := wrong.Position()
		return fmt.Errorf("line %d: %s", line, strings.TrimPrefix(wrong.Error(), "toml: "))
	}
	return err
}

// within puts a place before each of several errors.
func within(place string, err error) error {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", place, err)
	}
	var errs []error
	for _, e := range several.Unwrap() {
		errs = append(errs, fmt.Errorf("%s: %w", place, e))
	}
	return errors.Join(errs...)
}

func (t mapTable) compile() (parameterMap, error) {
	m := parameterMap{firmware: new(texts).mapID(t.Firmware)}
	var errs []error
	ids, names := map[int]bool{}, map[string]bool{}
	for _, row := range t.Parameter {
		p, err := row.compile()
		switch {
		case err != nil:
		case ids[row.ID]:
			err = errors.New("the id stands there twice")
		case names[row.Name]:
			err = errors.New("the name stands there twice")
		}
		if err != nil {
			errs = append(errs, within(fmt.Sprintf("parameter %d", row.ID), err))
		}
		ids[row.ID], names[row.Name] = true, true
		m.parameters = append(m.parameters, p)
	}
	return m, errors.Join(errs...)
}

func (t parameterTable) compile() (parameter, error) {
	f, err := fieldTable{Name: t.Name, Type: t.Type, Size: t.Size, Unit: t.Unit, OBIS: t.OBIS}.compile()
	p := parameter{id: ID(t.ID), name: t.Name, length: f.size}
	if t.ID < 0 || t.ID > int(MaxID) {
		err = errors.Join(err, fmt.Errorf("id %d is not 0 to %d", t.ID, MaxID))
	}
	if t.Writable && (f.kind == Null || f.kind == Alarm) {
		err = errors.Join(err, fmt.Errorf("type %s cannot be written", f.kind))
	}
	if (t.Min == nil) != (t.Max == nil) {
		err = errors.Join(err, errors.New("min and max come together"))
	}
	if err != nil {
		return p, err
	}
	p.fields = f.expanded()
	for _, f := range p.fields {
		p.public = append(p.public, t.parameter(f))
	}
	return p, nil
}

// parameter is a field as it is told: with the limits of its type, unless the table
// has narrower ones.
func (t parameterTable) parameter(f field) drivers.Parameter {
	p := drivers.Parameter{
		Quantity: quantityOf(f), Access: drivers.Readable, Options: t.Options,
		Doc: strings.TrimSpace(t.Doc + " Parameter " + strconv.Itoa(t.ID) + " of the device."),
	}
	p.Name, p.Key = f.name, f.name
	if t.Writable {
		p.Access |= drivers.Writable
	}
	switch f.value.Kind {
	case drivers.Text:
		p.MaxLen = f.size
		if f.kind == Hex {
			p.MaxLen *= 2
		}
	case drivers.Number:
		p.Min, p.Max, p.Step = f.kind.limits(f.shift)
		if t.Min != nil {
			p.Min, p.Max = f.shifted(*t.Min), f.shifted(*t.Max)
		}
	default:
	}
	return p
}

// shifted brings a number of the table's unit to the usual one.
func (f field) shifted(d drivers.Decimal) drivers.Decimal {
	moved, err := d.Shift(f.shift)
	if err != nil {
		return d
	}
	return moved
}

func quantityOf(f field) drivers.Quantity {
	q := drivers.Quantity{Code: f.value.Code, Name: f.value.Name, Kind: f.value.Kind, Unit: f.value.Unit, Digits: f.kind.decimals()}
	if q.Key = q.Name; !q.Code.IsZero() {
		q.Key = q.Code.String()
	}
	return q
}

func (t layoutTable) compile() (layout, error) {
	l := layout{firmware: new(texts).mapID(t.Firmware), mask: uint32(t.Mask), stamp: -1}
	var errs []error
	for _, name := range t.Databases {
		d, ok := ParseDatabase(name)
		if !ok {
			errs = append(errs, fmt.Errorf("database %.20q is none of %s", name, strings.Join(databaseNames[:], ", ")))
		}
		l.databases = append(l.databases, d)
	}
	if len(t.Databases) == 0 {
		errs = append(errs, errors.New("databases is missing"))
	}
	if t.Mask < 0 || t.Mask > 1<<32-1 {
		errs = append(errs, fmt.Errorf("mask %d has more than 32 bits", t.Mask))
	}
	for i, row := range t.Field {
		f, err := row.compile()
		if err != nil {
			errs = append(errs, within(fmt.Sprintf("field %d", i+1), err))
			continue
		}
		l.append(f)
	}
	if l.length == 0 || l.length > maxBody {
		errs = append(errs, fmt.Errorf("records of %d bytes: there are none but of 1 to %d", l.length, maxBody))
	}
	return l, errors.Join(errs...)
}

// append adds a field behind those that are there. The first date is the record's
// time, and no value of its own.
func (l *layout) append(f field) {
	f.offset = l.length
	l.length += f.size
	l.pulse = l.pulse || f.pulse
	switch {
	case f.kind == Date && l.stamp < 0:
		l.stamp = f.offset
	default:
		for _, part := range f.expanded() {
			part.value.Flags = drivers.Logged
			l.fields = append(l.fields, part)
			l.values = append(l.values, part.value)
		}
	}
}

func (t fieldTable) compile() (field, error) {
	f := field{name: t.Name, factor: one, pulse: t.Pulse, value: drivers.Value{Name: t.Name}}
	var errs []error
	if !isName(t.Name) {
		errs = append(errs, fmt.Errorf("name %.40q is not of small letters, digits and _", t.Name))
	}
	kind, size, err := typeOf(t.Type, t.Size)
	f.kind, f.size, f.value.Kind = kind, size, kind.kind()
	errs = append(errs, err, f.setUnit(t.Unit), f.setCode(t.OBIS))
	if t.Divisor != nil {
		n, _ := numberOf(*t.Divisor) // 0 if it has too many digits, which has no reciprocal
		var ok bool
		if f.factor, ok = reciprocal(n); !ok {
			errs = append(errs, fmt.Errorf("divisor %s: dividing by it does not end: only 2 and 5 may be in it", t.Divisor))
		}
		f.scaled = f.factor != one
	}
	if (t.Pulse || t.Divisor != nil) && !kind.numeric() {
		errs = append(errs, fmt.Errorf("type %s is no number: pulse and divisor have no meaning", t.Type))
	}
	return f, errors.Join(errs...)
}

// typeOf is the type of that name, and how long it is.
func typeOf(name string, size int) (Type, int, error) {
	kind, length := types, 0
	for i, n := range typeNames {
		if n.name == name {
			kind, length = Type(i), n.length
		}
	}
	if alias, ok := typeAliases[name]; ok {
		kind, length = alias.kind, alias.length
	}
	sized := kind == String || kind == Null || kind == Hex
	switch {
	case kind == types:
		return Null, 0, fmt.Errorf("there is no type %.20q", name)
	case sized && size > 0 && size <= maxBody:
		length = size
	case size != 0 && size != length:
		return kind, length, fmt.Errorf("size %d: %s has %d", size, name, length)
	case length == 0:
		return kind, 0, fmt.Errorf("size is missing: a %s may have any", name)
	}
	return kind, length, nil
}

func (f *field) setUnit(unit string) error {
	if unit == "" {
		return nil
	}
	if !f.kind.numeric() {
		return fmt.Errorf("unit %.20q: type %s has none", unit, f.kind)
	}
	f.value.Unit = obis.Unit(unit)
	if u, shift, known := obis.ParseUnit(unit); known {
		f.value.Unit, f.shift = u, shift
	}
	return nil
}

// setCode gives the field its code, and the name that the catalogue has for it.
func (f *field) setCode(text string) error {
	if text == "" {
		return nil
	}
	code, err := obis.Parse(text)
	if err != nil {
		return err
	}
	f.value.Code = code
	if e := obis.Lookup(code); e.Known() {
		f.value.Name = e.Name
	}
	return nil
}

func isName(s string) bool {
	for _, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 64 && s[0] != '_'
}

// alarmParts are what the 22 bytes of an alarm hold.
var alarmParts = [...]struct {
	suffix string
	kind   Type
	size   int
}{
	{"_active", Byte, 1},
	{"_memory", Byte, 1},
	{"_value", Float, 4},
	{"_start", Date, 4},
	{"_end", Date, 4},
	{"_metrological_start", Date, 4},
	{"_metrological_end", Date, 4},
}

// expanded are the values of a field: none of null, seven of an alarm. The code of
// an alarm is that of whether it is active.
func (f field) expanded() []field {
	switch f.kind {
	case Null:
		return nil
	case Alarm:
	default:
		return []field{f}
	}
	var parts []field
	at := f.offset
	for i, p := range alarmParts {
		part := field{name: f.name + p.suffix, kind: p.kind, offset: at, size: p.size, factor: one}
		part.value = drivers.Value{Name: part.name, Kind: p.kind.kind()}
		if i == 0 && !f.value.Code.IsZero() {
			part.value.Code, part.value.Name = f.value.Code, f.value.Name
		}
		parts = append(parts, part)
		at += p.size
	}
	return parts
}

// limits are the least and greatest number of a type, and the step between two.
func (t Type) limits(shift int) (low, high, step drivers.Decimal) {
	var least, most int64
	exp := -t.decimals()
	switch t {
	case Float:
		return low, high, step // as good as none
	case Float1:
		least, most = -1<<15, 1<<15-1
	case Float2:
		most, exp = (1<<15-2)*10, -3
	case Float3:
		most, exp = (1<<14-2)*1000, -1
	case Index:
		most = (1<<32-1)*1e8 + 99_999_999
	case Index9: // 20 digits: beyond what an int64 holds
		high, _ = drivers.ParseDecimal("1099511627775.99999999")
		high, _ = high.Shift(shift)
		return low, high, drivers.NewDecimal(1, exp+shift)
	default:
		most = 1<<(8*typeNames[t].length) - 2
	}
	return drivers.NewDecimal(least, exp+shift), drivers.NewDecimal(most, exp+shift), drivers.NewDecimal(1, exp+shift)
}

// decimals is how many digits behind the point a type may have.
func (t Type) decimals() int {
	switch t {
	case Float:
		return 6
	case Float1:
		return 2
	case Float2:
		return 3
	case Float3:
		return 1
	case Index, Index9:
		return 8
	default:
		return 0
	}
}

// layoutFor is the layout of the records of a database that have a length; nil: none
// is known. One for the firmware goes before one for any.
func (c *catalogue) layoutFor(d Database, length int, firmware string) *layout {
	return c.find(func(l *layout) bool { return l.length == length && slices.Contains(l.databases, d) }, firmware)
}

// anyLayout is the first layout of records of a length, for captures that do not say
// which database was asked for.
func (c *catalogue) anyLayout(length int, firmware string) *layout {
	return c.find(func(l *layout) bool { return l.length == length }, firmware)
}

func (c *catalogue) find(fits func(*layout) bool, firmware string) *layout {
	var general *layout
	for i := range c.layouts {
		l := &c.layouts[i]
		switch {
		case !fits(l):
		case l.firmware != "" && l.firmware == firmware:
			return l
		case l.firmware == "" && general == nil:
			general = l
		}
	}
	return general
}

// mapFor is the parameter map of a firmware: its own, or else one for any.
func (c *catalogue) mapFor(firmware string) *parameterMap {
	var general *parameterMap
	for i := range c.maps {
		m := &c.maps[i]
		switch {
		case m.firmware != "" && m.firmware == firmware:
			return m
		case m.firmware == "" && general == nil:
			general = m
		}
	}
	return general
}

// find is the parameter of that name, or of that id as a number, and which of its
// fields; nil: there is none.
func (m *parameterMap) find(name string) (*parameter, int) {
	for i := range m.parameters {
		p := &m.parameters[i]
		for j, f := range p.public {
			if f.Name == name {
				return p, j
			}
		}
		if p.id.String() == name && len(p.fields) > 0 {
			return p, 0
		}
	}
	return nil, 0
}

// byID is the parameter with that id; nil: there is none.
func (m *parameterMap) byID(id ID) *parameter {
	for i := range m.parameters {
		if m.parameters[i].id == id {
			return &m.parameters[i]
		}
	}
	return nil
}

// all are the parameters of every map, one a name: what a configuration has before
// a device has said which firmware it is.
func (c *catalogue) all() []drivers.Parameter {
	var all []drivers.Parameter
	seen := map[string]bool{}
	for _, m := range c.offered() {
		for _, p := range m.parameters {
			for _, f := range p.public {
				if !seen[f.Name] {
					seen[f.Name] = true
					all = append(all, f)
				}
			}
		}
	}
	return all
}

// offered are the maps that a device may turn out to have: those of a file for any
// firmware hide the one that is shipped.
func (c *catalogue) offered() []parameterMap {
	var maps []parameterMap
	for _, m := range c.maps {
		if maps = append(maps, m); m.firmware == "" {
			break
		}
	}
	return maps
}
