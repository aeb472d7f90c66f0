package config

// kind is what a value was written as.
type kind uint8

const (
	text kind = iota
	integer
	decimal
	boolean
	moment
	list
	loose // from the environment: text that its target gives a type
)

// mixed is the Text of a list that does not hold texts only.
const mixed = "\x00"

// String is the kind as a message names it.
func (k kind) String() string {
	switch k {
	case integer:
		return "an integer"
	case decimal:
		return "a decimal number"
	case boolean:
		return "true or false"
	case moment:
		return "a date or time"
	case list:
		return "a list"
	default:
		return "text"
	}
}

// value is a leaf: its text as written (of text, what stands between the
// quotes; of a list its texts, one a line), and where it stands. Its fields are exported because koanf copies
// leaves by reflection.
type value struct {
	Kind kind
	Text string
	From origin
}

// table is what TOML and JSON have in common. A key is in one of the maps.
type table struct {
	from   origin
	values map[string]value
	tables map[string]*table
	arrays map[string][]*table // of tables; empty for an empty list
}

func newTable(from origin) *table {
	return &table{from, map[string]value{}, map[string]*table{}, map[string][]*table{}}
}
