package obis

// The catalogue says what codes mean. Its tables follow IEC 62056-6-1 (value
// groups C, D and E of each medium), the P1 companion standards and, for M-Bus
// meters, EN 13757-1. All names are composed once, when the program starts, so
// that Lookup allocates nothing.

// Nature says how a quantity behaves over time.
type Nature uint8

// The natures of a quantity.
const (
	Fact      Nature = iota // text, time or state: nothing to add up or to average
	Momentary               // goes up and down: power, voltage, a temperature
	Total                   // only rises, over the meter's whole life
	Periodic                // rises, then starts anew each period: a month's maximum
	Balance                 // a total that may fall: import minus export
)

// Dimension is what is measured, whichever the medium.
type Dimension uint8

// The dimensions of the catalogue.
const (
	NoDimension Dimension = iota
	Energy
	ReactiveEnergy
	ApparentEnergy
	Power
	ReactivePower
	ApparentPower
	Voltage
	Current
	Frequency
	PowerFactor
	PhaseAngle
	GasVolume
	WaterVolume
	Volume // of a heat carrier, or corrected gas
	Flow
	Temperature
	TemperatureDifference
	Pressure
	Mass
	MassFlow
	Duration
	Count     // events: power failures, resets
	HeatUnits // of a heat-cost allocator
	Ratio     // a factor without unit
	Clock
	Signal
	Battery
)

// Entry says what a code means. The zero Entry is a code that the catalogue does
// not know.
type Entry struct {
	Name       string // canonical, English, snake_case: "energy_import_tariff_1"; part of keys and JSON: for ever
	Label      string // what people read: "Energy import tariff 1"; sentence case, no unit
	Dimension  Dimension
	Unit       Unit // canonical unit that is expected; "" none
	Nature     Nature
	Tariff     uint8 // 0: all
	Phase      uint8 // 1 to 3; 0: all
	Diagnostic bool  // a fact about the meter rather than what it measures
	Rare       bool  // seldom wanted: shown only on request
}

// IsTotal says that the quantity only rises, over the meter's whole life: what
// must never fall.
func (e Entry) IsTotal() bool { return e.Nature == Total }

// Known says that the catalogue has the code.
func (e Entry) Known() bool { return e.Name != "" }

// spot is a place in the catalogue: value groups A, C, D and E.
type spot uint32

func at(a, c, d, e byte) spot {
	return spot(a)<<24 | spot(c)<<16 | spot(d)<<8 | spot(e)
}

// catalogue holds every known code. Value groups B and F change no meaning.
var catalogue = newCatalogue()

func newCatalogue() map[spot]Entry {
	all := make(map[spot]Entry, 1500)
	addElectricity(all)
	addThermal(all)
	addGas(all)
	addGeneral(all)
	return all
}

// maxTariff is the highest tariff that value group E can tell: 1 to 63.
const maxTariff = 63

// Lookup says what c means. Value group B does not matter: the same quantity of
// another channel has the same name. A historical value (F is not 255) is a Fact,
// for it neither rises nor falls. E = 255 counts as 0. The zero Entry: unknown.
func Lookup(c Code) Entry {
	e := lookup(c)
	if c.F() != Now {
		e.Nature = Fact
	}
	return e
}

func lookup(c Code) Entry {
	if e, ok := find(c.A(), c.C(), c.D(), c.E()); ok {
		return e
	}
	if c.E() == 255 {
		e, _ := find(c.A(), c.C(), c.D(), 0)
		return e
	}
	if c.E() == 0 || c.E() > maxTariff {
		return Entry{}
	}
	base, ok := find(c.A(), c.C(), c.D(), 0)
	if !ok || !tariffed(c) {
		return Entry{}
	}
	return base.withTariff(c.E()) // beyond the tariffs that meters have in practice
}

// tariffed says whether value group E of c tells a tariff: it does with the
// counters and the demand of an electric flow, and with all that other meters
// count.
func tariffed(c Code) bool {
	if c.A() >= 4 && c.A() <= 9 {
		return Lookup(New(c.A(), 0, c.C(), c.D(), 0)).Nature != Momentary
	}
	if c.A() != 1 || c.C() > 80 || c.D() == 7 {
		return false
	}
	of := c.C() % 20
	return of <= 10 || of >= 15
}

// find looks in the tables of the medium, then, for the value groups C that mean
// the same whatever the medium, in the general ones.
func find(a, c, d, e byte) (Entry, bool) {
	if a == 0 && (c == 32 || c == 52 || c == 72) {
		a = 1 // sags and swells, as the meters of Luxembourg print them
	}
	if found, ok := catalogue[at(a, c, d, e)]; ok {
		return found, true
	}
	if a > 9 || c > 0 && c < 96 {
		return Entry{}, false
	}
	found, ok := catalogue[at(0, c, d, e)]
	return found, ok
}

// withTariff is e for one tariff.
func (e Entry) withTariff(n byte) Entry {
	e.Name += tariffNames[n]
	e.Label += tariffLabels[n]
	e.Tariff = n
	return e
}

var tariffNames, tariffLabels = numbered("_tariff_"), numbered(" tariff ")

func numbered(prefix string) (all [maxTariff + 1]string) {
	for i := range all {
		all[i] = prefix + decimal(i)
	}
	return all
}

// decimal writes 0 to 99.
func decimal(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return string([]byte{byte('0' + n/10), byte('0' + n%10)})
}
