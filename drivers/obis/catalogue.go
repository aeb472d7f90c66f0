package obis

// Nature says how a quantity behaves over time.
type Nature uint8

// The natures of a quantity.
const (
	Fact      Nature = iota // text, time or state: nothing to add up or to average
	Momentary               // goes up and down: power, voltage, a temperature
	Total                   // only rises, over the meter's whole life
	Periodic                // rises, then starts anew each period: a month's maximum
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
	Name       string // canonical, English, snake_case: "energy_import_tariff_1"; a key of topics and JSON: for ever
	Label      string // what people read: "Energy import tariff 1"; sentence case, no unit
	Dimension  Dimension
	Unit       Unit // canonical unit that is expected; "" none
	Nature     Nature
	Tariff     uint8 // 0: all
	Phase      uint8 // 1 to 3; 0: all
	Diagnostic bool  // a fact about the meter rather than what it measures
	Rare       bool  // seldom wanted: shown only on request
}
