package sim

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/iec62056"
)

// iecFaults are what the simulated meters with an optical port can do wrong.
var iecFaults = []Fault{
	{Name: "bad-check", Every: 10, Doc: "the block check character does not fit"},
	{Name: "cut", Every: 10, Doc: "the message breaks off in its middle"},
	{Name: "nak", Every: 10, Doc: "a command is answered with NAK as if it were damaged"},
	{Name: "noise", Every: 5, Doc: "bytes 7F come before the message"},
	{Name: "silence", Every: 10, Doc: "a request or command is not answered"},
	{Name: "zero-total", Every: 20, Doc: "the first total reads 0, with a check that fits"},
}

// ExamplePassword is the password of simulated meters with an optical port, and
// the code of the customer's lock of LIS-200.
const ExamplePassword = "00000000"

const (
	iecAddress  = "12345678"
	iecTries    = 3         // wrong passwords that lock the meter
	iecLockTime = time.Hour // and for how long
)

// Control characters of IEC 62056-21.
const (
	iecSOH, iecSTX, iecETX, iecEOT = "\x01", '\x02', '\x03', '\x04'
	iecACK, iecNAK                 = '\x06', '\x15'
)

// iecModel is a kind of meter with an optical port.
type iecModel struct {
	Model
	ident string
	mode  iec62056.Protocol
}

// iecModels are the meters for the driver iec62056-21, the usual one first.
var iecModels = []iecModel{
	{Model{Name: "mode-c", Doc: "mode C with load profile (P.01), registers each quarter of an hour (P.02), log book (P.98) and password", Shown: true}, `/SIM5\@SIM-C`, iec62056.ModeC},
	{Model{Name: "mode-a", Doc: "mode A: the data follows the identification, at 300 baud"}, "/SIM SIM-A", iec62056.ModeA},
	{Model{Name: "mode-b", Doc: "mode B: the meter changes its speed by itself"}, "/SIMESIM-B", iec62056.ModeB},
	{Model{Name: "mode-d", Doc: "mode D: the meter pushes each 5 s"}, "/SIM3SIM-D", iec62056.ModeD},
	{Model{Name: "mode-e", Doc: "mode E, read in mode C"}, `/SIm5\2SIM-E`, iec62056.ModeE},
}

// iecModelNames are iecModels without what makes them work.
func iecModelNames() []Model {
	names := make([]Model, len(iecModels))
	for i := range iecModels {
		names[i] = iecModels[i].Model
	}
	return names
}

// iecMeter is a meter with an optical port. Several lines reach the same one.
type iecMeter struct {
	ident  string
	mode   iec62056.Protocol
	period time.Duration
	clock  func() time.Time
	zone   *time.Location
	every  map[string]int
	lis    bool

	mu     sync.Mutex
	house  *han
	offset time.Duration     // of the meter's clock
	set    map[string]string // registers that were written
	wrong  int               // passwords in a row
	locked time.Time         // until when no password is taken
	open   map[string]bool   // locks of LIS-200
	born   time.Time
	birth  iecRow           // what was counted then
	rows   map[int64]iecRow // and at each quarter of an hour since, by Unix time
}

func newIEC(o Options) (*Simulator, error) {
	model := iecModels[0]
	for _, m := range iecModels {
		if m.Name == o.Model {
			model = m
		}
	}
	m, err := newIECMeter(o, model.ident, model.mode)
	if err != nil {
		return nil, err
	}
	return &Simulator{Driver: iec62056.Driver.Name, Keys: m.keys(), serve: m.serve}, nil
}

func newLIS200(o Options) (*Simulator, error) {
	m, err := newIECMeter(o, `/Els6\2EK280`, iec62056.ModeC)
	if err != nil {
		return nil, err
	}
	m.lis = true
	return &Simulator{Driver: iec62056.LIS200.Name, Keys: m.keys(), serve: m.serve}, nil
}

func newIECMeter(o Options, ident string, mode iec62056.Protocol) (*iecMeter, error) {
	every, err := parseFaults(o.Faults, iecFaults)
	if err != nil {
		return nil, err
	}
	if o.Period < 0 {
		return nil, fmt.Errorf("period %s: want more than 0", o.Period)
	}
	if o.Period == 0 {
		o.Period = 5 * time.Second
	}
	m := &iecMeter{
		ident: ident, mode: mode, period: o.Period, clock: o.Clock, zone: amsterdam(), every: every,
		set: map[string]string{"C.3.9": "0"}, open: map[string]bool{}, born: o.Clock(), rows: map[int64]iecRow{},
	}
	m.house = newHAN(o.Seed, m.born)
	m.house.advance(m.born)
	m.birth = m.counted()
	return m, nil
}

// keys tell a reader the zone of the meter's clock, which the meter does not.
func (m *iecMeter) keys() []drivers.Setting {
	return []drivers.Setting{{Key: "timezone", Value: m.zone.String()}}
}

// now is what the meter's clock shows.
func (m *iecMeter) now() time.Time { return m.clock().Add(m.offset).In(m.zone) }

// readout are the data sets that the meter shows.
func (m *iecMeter) readout(zeroTotal bool) []iec62056.DataSet {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance()
	s, now := &m.house.state, m.now()
	imported := s.live[0]
	if zeroTotal {
		imported = 0
	}
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, m.zone)
	peak := demand(month.Add(36 * time.Hour))
	sets := []iec62056.DataSet{
		{Address: "F.F", Value: "00000000"},
		{Address: "0.0.0", Value: iecAddress},
		{Address: "C.1.0", Value: iecAddress},
		{Address: "0.9.1", Value: now.Format("150405")},
		{Address: "0.9.2", Value: now.Format("060102")},
		{Address: "1.6.0", Value: fixed(peak, 3, 3), Unit: "kW", Time: month.Add(36 * time.Hour).Format("0601021504")},
		{Address: "1.8.0", Value: fixed(imported, 3, 6), Unit: "kWh"},
		{Address: "1.8.1", Value: fixed(imported/3, 3, 6), Unit: "kWh"},
		{Address: "1.8.2", Value: fixed(imported-imported/3, 3, 6), Unit: "kWh"},
		{Address: "2.8.0", Value: fixed(s.live[1], 3, 6), Unit: "kWh"},
		{Address: "16.7.0", Value: fixed(s.power[0]-s.power[1], 3, 3), Unit: "kW"},
	}
	for i, c := range []string{"3", "5", "7"} {
		sets = append(sets,
			iec62056.DataSet{Address: c + "2.7.0", Value: fixed(s.volts[i], 1, 3), Unit: "V"},
			iec62056.DataSet{Address: c + "1.7.0", Value: fixed(s.amps[i]/10, 2, 3), Unit: "A"})
	}
	return append(sets,
		iec62056.DataSet{Address: "14.7.0", Value: "50.00", Unit: "Hz"},
		iec62056.DataSet{Address: "C.3.9", Value: m.set["C.3.9"]},
		iec62056.DataSet{Address: "0.2.0", Value: "V1.0"})
}

// fixed is n × 10^-decimals with so many digits before the point, as meters print
// it.
func fixed(n int64, decimals, whole int) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	text := fmt.Sprintf("%0*d", whole+decimals, n)
	return sign + text[:len(text)-decimals] + "." + text[len(text)-decimals:]
}

// demand is the mean power in W of the quarter of an hour that ends at t: it
// depends on the time alone, so that a load profile is the same whenever it is
// read.
func demand(t time.Time) int64 {
	quarter := t.Unix() / 900
	wobble := (quarter*2654435761)>>7&0xFF - 128
	evening := math.Exp(-math.Pow(float64(t.Hour())+float64(t.Minute())/60-19, 2) / 8)
	return 350 + int64(evening*1800) + wobble
}

// serve answers what comes on a line, or pushes in mode D.
func (m *iecMeter) serve(ctx context.Context, line io.ReadWriter) error {
	t := &iecTalk{faultTurns: faultTurns{every: m.every}, meter: m, line: line}
	if m.mode == iec62056.ModeD {
		return t.push(ctx)
	}
	t.reception = received(ctx, line, 0x7F)
	for ctx.Err() == nil {
		if err := t.conversation(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// writeRegister keeps what was written to one of the registers that can be. The
// clock is one of them.
func (m *iecMeter) writeRegister(address, value string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	switch address {
	case "0.9.1", "0.9.2":
		layout, text := "060102150405", now.Format("060102")+value
		if address == "0.9.2" {
			text = value + now.Format("150405")
		}
		return m.setClock(layout, text)
	case "0.9.129":
		if len(value) != 16 {
			return drivers.ErrSyntax
		}
		return m.setClock("060102150405", value[:12])
	case "C.3.9":
		if _, err := strconv.Atoi(value); err != nil {
			return drivers.ErrSyntax
		}
		m.set[address] = value
		return nil
	}
	return drivers.ErrRefused
}

func (m *iecMeter) setClock(layout, text string) error {
	t, err := time.ParseInLocation(layout, text, m.zone)
	if err != nil {
		return drivers.ErrSyntax
	}
	m.offset = t.Sub(m.clock())
	return nil
}

// login takes a password. Wrong ones in a row lock the meter for a while.
func (m *iecMeter) login(password string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	if now.Before(m.locked) {
		return false
	}
	if password == ExamplePassword {
		m.wrong = 0
		return true
	}
	if m.wrong++; m.wrong >= iecTries {
		m.wrong, m.locked = 0, now.Add(iecLockTime)
	}
	return false
}

// short is an address as the meter knows it: 1-0:1.8.0*255 is 1.8.0.
func short(address string) string {
	if i := strings.IndexByte(address, ':'); i >= 0 && strings.IndexByte(address, '-') >= 0 {
		address = address[i+1:]
	}
	return strings.TrimSuffix(address, "*255")
}
