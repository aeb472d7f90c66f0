package p1

import "github.com/meter2mqtt/meter2mqtt/drivers/obis"

// stx stands in some identifications where the standard prints \2.
const stx = 2

// defaultZone is where nearly all P1 meters are: Central European Time.
const defaultZone = "Europe/Amsterdam"

// zoneOf are the makers whose meters show another time than CET.
var zoneOf = map[string]string{
	"ESO": "Europe/Vilnius", // corpus p1-lithuania-kilo-units
}

// Codes that the decoder looks for.
var (
	codeClock = obis.New(0, 0, 1, 0, 0)
	codeTime  = obis.New(1, 0, 0, 9, 1)
	codeDate  = obis.New(1, 0, 0, 9, 2)
)

// role is what a code says about the meter itself.
type role byte

const (
	noRole role = iota
	meterID
	meterVersion
)

// identities tell the meter's number, the best first. Nordic meters print their
// type as 96.1.1 and their number as 96.1.0; Luxembourg has the logical device
// name alone; D0 meters have 0.0.0. Belgium prints its version as 96.1.4.
var identities = []obis.Code{
	obis.New(0, 0, 96, 1, 0),
	obis.New(1, 0, 0, 0, 5),
	obis.New(0, 0, 0, 0, 5),
	obis.New(0, 0, 96, 1, 1),
	obis.New(0, 0, 42, 0, 0),
	obis.New(1, 0, 0, 0, 0),
	obis.New(0, 0, 96, 1, 255),
}

var versions = []obis.Code{obis.New(1, 3, 0, 2, 8), obis.New(0, 0, 96, 1, 4)}

// roleOf is what c says about the meter, and how good a word it is: 1 is best.
func roleOf(c obis.Code) (role, uint8) {
	for i, id := range identities {
		if c == id {
			return meterID, uint8(i + 1)
		}
	}
	for i, v := range versions {
		if c == v {
			return meterVersion, uint8(i + 1)
		}
	}
	return noRole, 0
}

// class is how the value of a code is read.
type class byte

const (
	free    class = iota // a number if it has a unit, else a time or a text
	measure              // a number or nothing
	octets               // text, perhaps printed as hexadecimal digits
	plainly              // text as sent
	moment               // the meter's clock
	profile              // a buffer with several entries
	carrier              // DSMR 2.2 and 3: a reading with its code inside
	unnamed              // an address of no known form
)

// classOf reads the meaning of c. Octet strings are listed by the P1 companion
// standards; the enumerations are integers there (tariff, breaker, valve, device
// type), whatever the catalogue makes of them.
func classOf(c obis.Code, e obis.Entry) class {
	switch {
	case c == codeClock:
		return moment
	case c[2] == 98 || c[2] == 99:
		return profile
	case c[0] == 0 && c[2] == 24 && c[3] == 3:
		return carrier
	case c[2] == 0 && (c[3] == 2 || c[3] == 0) || c[2] == 96 && c[3] == 1 && c[4] == 4 && c[1] == 0:
		return plainly // versions and D0 numbers
	case c[2] == 96 && (c[3] == 1 || c[3] == 13), c[0] == 0 && c[2] == 42:
		return octets
	case c[2] == 96 && c[3] == 14, c[2] == 96 && c[3] == 3 && c[4] == 10:
		return measure
	case c[0] == 0 && c[2] == 24 && c[3] <= 4:
		return measure
	case e.Dimension == obis.Clock:
		return plainly
	case e.Dimension != obis.NoDimension:
		return measure
	}
	return free
}

// channelOf says whether c belongs to a meter behind this one, and which. M-Bus
// channels are 1 to 64; above, B is the makers' own.
func channelOf(c obis.Code) uint8 {
	if c[0] == 0 && c[1] >= 1 && c[1] <= 64 {
		return c[1]
	}
	return 0
}

// monthEnd is the order of the numbers of Hungary's 0-0:98.1.0, which prints no
// codes. What follows them are peaks.
var monthEnd = []obis.Code{
	obis.New(1, 0, 1, 8, 0), obis.New(1, 0, 1, 8, 1), obis.New(1, 0, 1, 8, 2),
	obis.New(1, 0, 2, 8, 0), obis.New(1, 0, 2, 8, 1), obis.New(1, 0, 2, 8, 2),
	obis.New(1, 0, 3, 8, 0), obis.New(1, 0, 4, 8, 0),
	obis.New(1, 0, 5, 8, 0), obis.New(1, 0, 6, 8, 0), obis.New(1, 0, 7, 8, 0), obis.New(1, 0, 8, 8, 0),
	obis.New(1, 0, 15, 8, 0),
}
