package hdlc

import (
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// list is a push list without codes: what its elements mean, by position.
type list struct {
	name  string
	maker *maker
	// shape tells it from other lists of that length, a letter an element: s an
	// octet or visible string, c a date-time in one, d a number of 32 or 64 bits,
	// w one of 16, u one of 8, e an enum or boolean, ? anything.
	shape string
	// prefix is how the first string begins; empty: anyhow.
	prefix string
	codes  []obis.Code // zero: nobody knows; shown by its position
}

// lists are the known ones, each with where it is from. Units and scales are the
// maker's.
var lists = []list{
	// Kaifa MA105, MA304: corpus dlms-amshan-kaifa-no-list-*, -kaifa-gh242-3.
	{"kaifa-list-1", &kaifa, "d", "", codes("1.7.0")},
	{"kaifa-list-13", &kaifa, "sssdddddddddd", "KFM", codes(kaifaHead, threePhases)},
	{"kaifa-list-18", &kaifa, "sssddddddddddcdddd", "KFM", codes(kaifaHead, threePhases, clockAndTotals)},
	{"kaifa-list-9", &kaifa, "sssdddddd", "KFM", codes(kaifaHead, onePhase)},
	{"kaifa-list-14", &kaifa, "sssddddddcdddd", "KFM", codes(kaifaHead, onePhase, clockAndTotals)},
	// Iskraemeco AM550 and kin: corpus dlms-amsreader-iskraemeco-*; what is not
	// there is known from one peer only.
	{"iskra-18", &iskra, "ssddddwwwwwwdddddd", "ISK", codes("0-0:42.0.0 0-0:96.1.3", powers, "32.7.0 52.7.0 72.7.0 31.7.0 51.7.0 71.7.0 21.7.0 41.7.0 61.7.0 22.7.0 42.7.0 62.7.0")},
	{"iskra-12-energy", &iskra, "sse?dddddddd", "ISK", codes("0-0:42.0.0 0-0:96.1.3 0-0:96.3.10 0-0:96.14.0 1.8.0 1.8.1 1.8.2 2.8.0 2.8.1 2.8.2 3.8.0 4.8.0")},
	{"iskra-12-power", &iskra, "sswwwwwwdddd", "ISK", codes("0-0:42.0.0 0-0:96.1.2 32.7.0 52.7.0 72.7.0 31.7.0 51.7.0 71.7.0", powers)},
	{"iskra-10-power", &iskra, "ssddddwwdd", "ISK", codes("0-0:42.0.0 0-0:96.1.2", powers, "32.7.0 31.7.0 21.7.0 22.7.0")},
	{"iskra-10-energy", &iskra, "ssdddddddd", "ISK", codes("0-0:42.0.0 0-0:96.1.2 1.8.1 1.8.2 2.8.1 2.8.2 3.8.1 3.8.2 4.8.1 4.8.2")},
	{"iskra-9-power", &iskra, "ssddddwdd", "ISK", codes("0-0:42.0.0 0-0:96.1.2", powers, "32.7.0 2.8.1 2.8.2")},
	{"iskra-9-energy", &iskra, "sdddddddd", "ISK", codes("0-0:42.0.0 1.7.0 2.7.0 1.8.0 1.8.1 1.8.2 2.8.0 2.8.1 2.8.2")},
	{"iskra-8", &iskra, "sswwdddd", "ISK", codes("0-0:42.0.0 0-0:96.1.2 32.7.0 31.7.0", powers)},
	{"iskra-4", &iskra, "sudd", "", codes("0-0:96.1.3 0-0:96.14.0 1.8.0 2.8.0")},
	// IE.5 of Croatia: corpus dlms-amsreader-iskraemeco-gh1072-3.
	{"iskra-33", &iskra, "sssddddddddddddwddddddwwwwwwd????", "", codes("0-0:96.1.3 - - 1.8.0 1.8.1 1.8.2 2.8.0 2.8.1 2.8.2 5.8.0 6.8.0 7.8.0 8.8.0 1.7.0 2.7.0 13.7.0 21.7.0 41.7.0 61.7.0 22.7.0 42.7.0 62.7.0 32.7.0 52.7.0 72.7.0 31.7.0 51.7.0 71.7.0 ? ? ? ? ?")},
	// Landis+Gyr E450 of Burgenland: corpus dlms-amsreader-landis-gyr-gh501-2.
	{"landis-gyr-14", &landisGyr, "wwwwwwddddwwws", "", codes("32.7.0 52.7.0 72.7.0 31.7.0 51.7.0 71.7.0 1.7.0 2.7.0 1.8.0 2.8.0 ? ? ? 0-0:96.1.0")},
}

const (
	kaifaHead      = "1-1:0.2.129 0-0:96.1.0 0-0:96.1.7"
	powers         = "1.7.0 2.7.0 3.7.0 4.7.0"
	threePhases    = powers + " 31.7.0 51.7.0 71.7.0 32.7.0 52.7.0 72.7.0"
	onePhase       = powers + " 31.7.0 32.7.0"
	clockAndTotals = "0-0:1.0.0 1.8.0 2.8.0 3.8.0 4.8.0"
)

// notWanted marks a position that is known and no value: date and time apart.
var notWanted = obis.Code{255, 255, 255, 255, 255, 255}

// codes reads codes with blanks between; ? is an unknown position, - one that is
// no value.
func codes(parts ...string) (all []obis.Code) {
	for s := range strings.FieldsSeq(strings.Join(parts, " ")) {
		switch s {
		case "?":
			all = append(all, obis.Code{})
		case "-":
			all = append(all, notWanted)
		default:
			all = append(all, obis.MustParse(s))
		}
	}
	return all
}

// fits says whether a structure is this list.
func (l *list) fits(t *dlms.Tree, root int) bool {
	if int(t.Elements[root].Count) != len(l.shape) {
		return false
	}
	i := root + 1
	for n := range len(l.shape) {
		if !isShape(t, i, l.shape[n]) {
			return false
		}
		i = t.Next(i)
	}
	return l.prefix == "" || strings.HasPrefix(string(t.Bytes(root+1)), l.prefix)
}

// isShape says whether element i is of a shape; a null, for a value that is not
// there, is of any.
func isShape(t *dlms.Tree, i int, shape byte) bool {
	tag := t.Elements[i].Tag
	if tag == dlms.Null {
		return shape != 's'
	}
	switch shape {
	case 's':
		return tag.IsString()
	case 'c':
		return tag == dlms.DateTimeType || tag.IsString() && t.Elements[i].Len == 12
	case 'd':
		return tag == dlms.DoubleLong || tag == dlms.DoubleLongUnsigned || tag == dlms.Long64 || tag == dlms.Long64Unsigned
	case 'w':
		return tag == dlms.Long || tag == dlms.LongUnsigned
	case 'u':
		return tag == dlms.Integer || tag == dlms.Unsigned
	case 'e':
		return tag == dlms.Enum || tag == dlms.Boolean
	}
	return true
}
