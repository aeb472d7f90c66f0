package config

import (
	"cmp"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// Meter is one [[meter]] table.
type Meter struct {
	// Name is the meter's in topics and ids: a to z, 0 to 9 and single underscores, a
	// letter first. It stays for ever, also when the meter is exchanged.
	Name string `koanf:"name"`
	// Label is what people see. Empty: the name.
	Label string `koanf:"label"`
	// Driver is what the meter speaks. It stands before Port, whose defaults are the
	// driver's.
	Driver drivers.Driver `koanf:"driver"`
	// Port is where it is connected: a path of a serial port, with speed and frame
	// that are not the driver's usual ones in serial:///dev/ttyUSB0?baud=9600&mode=7E1;
	// tcp://HOST:PORT; rfc2217://HOST:PORT?baud=9600&mode=7E1; udp://HOST for a
	// meter of driver routeb in the network; mqtt:TOPIC for telegrams that another
	// program publishes; replay:FILE for a recording.
	Port transport.Port `koanf:"port"`
	// Tap is where other programs may listen to the line of a meter that speaks
	// unasked, over TCP: a port for programs on this machine alone, an address of
	// this machine and a port for the network. Empty: nowhere.
	Tap transport.TapAddress `koanf:"tap"`
	// Every is the least gap between two states of a meter that speaks unasked; 0s:
	// each telegram is one. Of a meter that is asked it is how often; 0s: as often as
	// is usual for the driver.
	Every time.Duration `koanf:"every"`
	// Timezone is that of a clock which sends no offset. Empty: by the meter's maker
	// and country, or else this machine's.
	Timezone *time.Location `koanf:"timezone"`
	// Factor is the ratio of current transformers that the meter counts behind: 40
	// for 200/5 A. Energy, power and currents are multiplied by it, exactly.
	Factor drivers.Decimal `koanf:"factor"`
	// VoltageFactor is the ratio of voltage transformers. Energy, power and voltages
	// are multiplied by it, exactly.
	VoltageFactor drivers.Decimal `koanf:"voltage_factor"`
	// MaxPower is what the connection can deliver. Energy that rises faster waits for
	// a second telegram that bears it out.
	MaxPower Power `koanf:"max_power"`
	// MaxFlow is the same for gas and water.
	MaxFlow Flow `koanf:"max_flow"`
	// Exclude are keys of the state that are not published; * stands for any
	// characters.
	Exclude []string `koanf:"exclude"`
	// Backfill says whether what an absence of the gateway or the line left out is
	// read from the meter's own log, if it keeps one.
	Backfill bool `koanf:"backfill"`
	// Retain says whether the broker keeps the state for those who come later.
	// "auto" keeps it for meters that are slower than a minute.
	Retain *bool `koanf:"retain"`
	// Write are the parameters that may be written, of meters that are asked. What is
	// not named here is refused, whoever asks.
	Write []string `koanf:"write"`

	// Options are the driver's own keys, as its NewConfig made them; they passed
	// their Validate.
	Options drivers.Config
}

// usualMode is what a port means by itself while the meter's driver is not
// known, so that the rest of its text can be judged all the same.
var usualMode = drivers.Mode{Baud: 9600, Bits: 8, Parity: drivers.NoParity, Stop: 1}

// meters reads out every meter and compares them.
func (l loader) meters(merged *layers) []Meter {
	if len(merged.meters) == 0 {
		merged.report.add(origin{File: merged.file, Key: meterSection}, "there is no meter", l.addMeter())
		return nil
	}
	var read []Meter
	ports, taps := map[string][]Meter{}, map[transport.TapAddress]Meter{}
	for _, id := range merged.meters {
		s := merged.meter(id)
		m := l.meter(s)
		m.validate(s)
		shareNoPort(ports, m, s)
		tapAlone(taps, m, s)
		read = append(read, m)
	}
	return read
}

// addMeter is how to make a first meter.
func (l loader) addMeter() string {
	if l.isApp() {
		return "add one on the Configuration page of this app, with name, driver and device or port"
	}
	return "add a table that begins with [[meter]] and has name, driver and port; `meter2mqtt ports` lists serial ports, `meter2mqtt demo` needs no meter"
}

// meterDefaults is a meter of which nothing is configured.
func meterDefaults() Meter {
	return Meter{
		Factor: drivers.NewDecimal(1, 0), VoltageFactor: drivers.NewDecimal(1, 0),
		MaxPower: Power{drivers.NewDecimal(100, 3)}, MaxFlow: Flow{drivers.NewDecimal(20, 0)},
	}
}

// meter reads out one meter.
func (l loader) meter(s *section) Meter {
	m := meterDefaults()
	s.extra = map[reflect.Type]converter{
		reflect.TypeFor[drivers.Driver](): to(l.driver),
		reflect.TypeFor[transport.Port](): to(func(v value) (transport.Port, error) { return toPort(v, m.Driver) }),
	}
	s.fill(&m)
	if m.Driver.Name == "" {
		for _, d := range l.drivers {
			s.allow(d.NewConfig())
		}
		s.refuseUnknown()
		return m
	}
	m.Options = m.Driver.NewConfig()
	s.fill(m.Options)
	s.refuseUnknown()
	if err := m.Options.Validate(); err != nil {
		s.failEach(err)
		return m
	}
	m.validateWrite(s)
	return m
}

func (l loader) driver(v value) (drivers.Driver, error) {
	name, err := toText(v)
	if err != nil {
		return drivers.Driver{}, err
	}
	var names []string
	for _, d := range l.drivers {
		if d.Name == name {
			return d, nil
		}
		names = append(names, d.Name)
	}
	return drivers.Driver{}, errWanted(choices(name, names), "there is no driver %.40q", name)
}

func toPort(v value, d drivers.Driver) (transport.Port, error) {
	text, err := toText(v)
	if err != nil || text == "" {
		return transport.Port{}, err // a missing port is told by validate
	}
	return transport.ParsePort(text, cmp.Or(d.Mode, usualMode))
}

// nameForm is the form of a meter's name; reservedName what it must not be,
// because topics and ids use it: bridge, and what a sub-meter's id ends in.
var (
	nameForm     = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	reservedName = regexp.MustCompile(`^bridge$|__|_$|_ch[0-9]+$`)
)

func (m *Meter) validate(s *section) {
	m.validateName(s)
	for _, key := range []string{"driver", "port"} {
		if !s.given(key) {
			s.wrong(key, "missing", "every meter needs name, driver and port")
		}
	}
	if m.Factor.Sign() <= 0 {
		s.wrong("factor", m.Factor.String()+" is not above 0", "write the ratio of the current transformers, as in 40 for 200/5 A")
	}
	if m.Port.Scheme == transport.MQTT && m.Driver.Name != "" && !m.Driver.Push() {
		s.wrong("port", "a meter of driver "+m.Driver.Name+" must be asked, and nobody hears that on a topic", "name the line that it hangs on")
	}
	if m.Port.Scheme == transport.UDP && m.Driver.Name != "" && !m.Driver.Datagrams {
		s.wrong("port", "meters of driver "+m.Driver.Name+" do not speak in datagrams", "write tcp://host:port for a converter in the network")
	}
	for _, pattern := range m.Exclude {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			s.wrong("exclude", fmt.Sprintf("%.40q is no pattern", pattern), `write keys as in the state, * for any characters: ["1-0:32.*", "0-2:*"]`)
		}
	}
	if m.VoltageFactor.Sign() <= 0 {
		s.wrong("voltage_factor", m.VoltageFactor.String()+" is not above 0", "write the ratio of the voltage transformers, as in 100 for 10000/100 V")
	}
	if _, err := m.Factor.Mul(m.VoltageFactor); err != nil {
		s.wrong("factor", "factor × voltage_factor has too many digits", "write both with the digits that stand on the transformers")
	}
}

// parameterForm is the form of a Parameter's name.
var parameterForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// validateWrite holds the names of write to what the driver says of its meters,
// as far as it knows that without asking one.
func (m *Meter) validateWrite(s *section) {
	if m.Driver.Push() && len(m.Write) > 0 {
		s.wrong("write", "meters of driver "+m.Driver.Name+" only speak, nothing can be written to them", "leave it out")
		return
	}
	var writable []string
	if known := m.Driver.Parameters; known != nil {
		for _, p := range known(m.Options) {
			if p.Access&(drivers.Writable|drivers.Pressable) != 0 {
				writable = append(writable, p.Name)
			}
		}
	}
	for _, name := range m.Write {
		switch {
		case !parameterForm.MatchString(name):
			s.wrong("write", fmt.Sprintf("%.40q cannot be a parameter's name", name), `write names of parameters, as in ["clock"]`)
		case m.Driver.Parameters != nil && !slices.Contains(writable, name):
			s.wrong("write", fmt.Sprintf("%.40q is no parameter of this meter that can be written", name), choices(name, writable))
		}
	}
}

func (m *Meter) validateName(s *section) {
	const form = "a name is made of a to z, 0 to 9 and single _, begins with a letter, ends in neither _ nor _ch and digits, has at most 32 characters and is not bridge"
	switch {
	case !s.given("name"):
		s.wrong("name", "missing", "every meter needs name, driver and port; the name is part of topics and ids and stays for ever")
	case m.Name == "":
		// It is no text, which was told.
	case !nameForm.MatchString(m.Name) || reservedName.MatchString(m.Name):
		s.wrong("name", fmt.Sprintf("%.40q cannot be a meter's name", m.Name), form+"; label takes any text")
	}
}

// shareNoPort refuses a meter that speaks unasked on a line that another one
// has, unless telegrams tell whose they are. A recording can be read twice.
func shareNoPort(seen map[string][]Meter, m Meter, s *section) {
	if m.Port.Scheme == "" || m.Port.Scheme == transport.Replay || m.Driver.Name == "" {
		return
	}
	key := m.Port.Key()
	for _, other := range seen[key] {
		if !m.Driver.Push() && !other.Driver.Push() {
			continue
		}
		remedy := "a meter that speaks unasked needs a port of its own"
		if f := m.Driver.Shares; f != nil && other.Driver.Name == m.Driver.Name {
			err := f(other.Options, m.Options)
			if err == nil {
				continue
			}
			remedy = err.Error()
		}
		s.wrong("port", fmt.Sprintf("meter %s has this port already", other.Name), remedy)
		break
	}
	seen[key] = append(seen[key], m)
}

// tapAlone refuses a tap where there is nothing to tap, and one that another
// meter has.
func tapAlone(seen map[transport.TapAddress]Meter, m Meter, s *section) {
	if m.Tap == "" {
		return
	}
	if m.Driver.Name != "" && !m.Driver.Push() {
		s.wrong("tap", "a meter that is asked has no tap", "leave it out: only the bytes of meters that speak unasked are of use to others")
	}
	if other, taken := seen[m.Tap]; taken && !m.Tap.Any() {
		s.wrong("tap", fmt.Sprintf("meter %s has this tap already", other.Name), "choose another port")
	}
	seen[m.Tap] = m
}
