package sim

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

// dsmrFaults are what the simulated DSMR meter can do wrong.
var dsmrFaults = []Fault{
	{Name: "bad-crc", Every: 10, Doc: "the CRC does not fit"},
	{Name: "cut", Every: 10, Doc: "the telegram breaks off in the middle of a line"},
	{Name: "noise", Every: 5, Doc: "random bytes come before the telegram"},
	{Name: "silence", Every: 60, Doc: "the meter says nothing for thirty telegrams"},
	{Name: "zero-total", Every: 20, Doc: "the first total reads 0, with a CRC that fits"},
	{Name: "counter-back", Every: 20, Doc: "the invocation counter falls back to its start (with --key)"},
}

// silence is how many telegrams the fault of that name swallows.
const silence = 30

// DSMR is a three-phase DSMR 5 meter in a house with solar panels on the second
// phase, and with a gas meter that it reads every five minutes. Its totals only
// rise. It moves when it is asked for a telegram, by the time that has passed.
type DSMR struct {
	mu     sync.Mutex
	rand   *rand.Rand
	zone   *time.Location
	now    time.Time
	phases [3]phase
	clouds float64          // 0.2 to 1: what they let through
	energy [2][2]wattMillis // import and export, each by tariff
	gas    millilitres      // what has flowed
	heater time.Duration    // how long the heater still burns
	read   gasReading       // what the gas meter told last
	values drivers.Reading
}

// wattMillis is energy in watt milliseconds: exact, whatever the period.
type wattMillis uint64

// wattHours is whole Wh, rounded down as a meter does.
func (e wattMillis) wattHours() int64 { return int64(e / 3_600_000) }

// millilitres is a volume of gas.
type millilitres uint64

// gasReading is the last reading of the gas meter, taken every gasPeriod.
type gasReading struct {
	at     time.Time
	litres int64
}

const gasPeriod = 5 * time.Minute

// phase is what hangs on one phase.
type phase struct {
	base      int64 // W, what always runs
	appliance int64 // W, what was switched on for a while
	left      time.Duration
	solar     int64 // W
	decivolts int64
}

// net is the power drawn from the grid, negative while the sun gives more.
func (p *phase) net() int64 { return p.base + p.appliance - p.solar }

// NewDSMR is a meter that has been running for some years at start.
func NewDSMR(seed uint64, start time.Time) *DSMR {
	m := &DSMR{
		rand:   rand.New(rand.NewPCG(seed, seed^0x9E3779B97F4A7C15)), //nolint:gosec // a meter's randomness keeps no secret
		zone:   amsterdam(),
		now:    start,
		clouds: 0.8,
	}
	for i := range m.phases {
		m.phases[i] = phase{base: 120 + m.rand.Int64N(200), decivolts: 2300}
	}
	for direction := range m.energy {
		for tariff := range m.energy[direction] {
			m.energy[direction][tariff] = wattMillis(1_000_000+m.rand.Uint64N(9_000_000)) * 3_600_000
		}
	}
	m.gas = millilitres(1_000_000_000 + m.rand.Uint64N(2_000_000_000))
	m.readGas(start.Truncate(gasPeriod))
	return m
}

// amsterdam is the zone of the meter's clock; without zone data winter time.
func amsterdam() *time.Location {
	loc, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		return time.FixedZone("", 3600)
	}
	return loc
}

// Telegram moves the meter on to now and gives what it says then. A clock that
// falls back changes nothing but the time that it shows.
func (m *DSMR) Telegram(now time.Time) ([]byte, error) {
	return m.telegram(now, false)
}

// telegram is Telegram, with a first total of 0 if that is wanted.
func (m *DSMR) telegram(now time.Time, zeroTotal bool) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance(now)
	m.fill(now.In(m.zone))
	if zeroTotal {
		m.zeroFirstTotal()
	}
	return p1.AppendTelegram(make([]byte, 0, 1024), &m.values)
}

func (m *DSMR) zeroFirstTotal() {
	for i := range m.values.Values {
		if v := &m.values.Values[i]; v.Code == obis.New(1, 0, 1, 8, 1) {
			v.Number = drivers.NewDecimal(0, -3)
		}
	}
}

// advance moves in steps of a second; what is longer than a day takes longer
// steps.
func (m *DSMR) advance(now time.Time) {
	step := max(time.Second, now.Sub(m.now)/86400)
	for m.now.Before(now) {
		dt := min(step, now.Sub(m.now)).Truncate(time.Millisecond)
		if dt == 0 {
			return
		}
		m.step(dt)
	}
}

// step moves the meter on by dt.
func (m *DSMR) step(dt time.Duration) {
	m.now = m.now.Add(dt)
	local := m.now.In(m.zone)
	m.clouds = min(1, max(0.2, m.clouds+(m.rand.Float64()-0.5)/50))
	m.phases[1].solar = int64(m.clouds * sunshine(local) * 3600)
	net := int64(0)
	for i := range m.phases {
		m.phases[i].step(m.rand, dt)
		net += m.phases[i].net()
	}
	direction := 0
	if net < 0 {
		direction, net = 1, -net
	}
	m.energy[direction][tariff(local)-1] += wattMillis(net * dt.Milliseconds())
	m.burn(dt)
	if due := m.now.Truncate(gasPeriod); due.After(m.read.at) {
		m.readGas(due)
	}
}

// step lets what runs on the phase wander, and switches an appliance now and then.
func (p *phase) step(r *rand.Rand, dt time.Duration) {
	p.base = min(900, max(60, p.base+r.Int64N(21)-10))
	p.decivolts = min(2400, max(2230, p.decivolts+r.Int64N(7)-3))
	if p.left > 0 {
		p.left -= dt
		return
	}
	p.appliance = 0
	if r.IntN(1200) == 0 {
		p.appliance, p.left = 700+r.Int64N(1600), time.Duration(60+r.IntN(600))*time.Second
	}
}

// burn lets the heater take gas: a quarter of a litre a second while it burns.
func (m *DSMR) burn(dt time.Duration) {
	if m.heater > 0 {
		m.heater -= dt
		m.gas += millilitres(dt.Milliseconds() / 4)
		return
	}
	if m.rand.IntN(1800) == 0 {
		m.heater = time.Duration(180+m.rand.IntN(900)) * time.Second
	}
}

func (m *DSMR) readGas(at time.Time) { m.read = gasReading{at: at, litres: int64(m.gas / 1000)} }

// sunshine is 0 at night and 1 at midday.
func sunshine(t time.Time) float64 {
	hour := float64(t.Hour()) + float64(t.Minute())/60
	return max(0, math.Sin((hour-6.5)/13*math.Pi))
}

// tariff is 1, low, at night and at the weekend, else 2.
func tariff(t time.Time) int {
	day := t.Weekday()
	if day == time.Saturday || day == time.Sunday || t.Hour() < 7 || t.Hour() >= 23 {
		return 1
	}
	return 2
}

// fill writes what the meter knows into its Reading.
func (m *DSMR) fill(local time.Time) {
	r := &m.values
	r.Reset()
	r.Meter = drivers.Identity{Driver: "p1", Manufacturer: "SIM", Model: "DSMR5"}
	r.Channels = append(r.Channels, drivers.Channel{Number: 1})
	add := func(c obis.Code, n drivers.Decimal) {
		r.Values = append(r.Values, drivers.Value{Code: c, Number: n})
	}
	say := func(c obis.Code, text string) {
		r.Values = append(r.Values, drivers.Value{Code: c, Kind: drivers.Text, Text: text})
	}
	say(obis.New(1, 3, 0, 2, 8), "50")
	r.Values = append(r.Values, drivers.Value{
		Code: obis.New(0, 0, 1, 0, 0), Kind: drivers.Moment, Moment: drivers.Stamp{Wall: local, Zoned: true},
	})
	say(obis.New(0, 0, 96, 1, 1), "SIM0000000000001")
	for direction := range m.energy {
		for i, e := range m.energy[direction] {
			add(obis.New(1, 0, byte(direction+1), 8, byte(i+1)), drivers.NewDecimal(e.wattHours(), -3))
		}
	}
	add(obis.New(0, 0, 96, 14, 0), drivers.NewDecimal(int64(tariff(local)), 0))
	m.fillPower(add)
	add(obis.New(0, 0, 96, 7, 21), drivers.NewDecimal(7, 0))
	add(obis.New(0, 0, 96, 7, 9), drivers.NewDecimal(1, 0))
	r.Values = append(r.Values, drivers.Value{
		Code: obis.New(1, 0, 99, 97, 0), Number: drivers.NewDecimal(389, 0), Flags: drivers.Logged,
		Time: drivers.Stamp{Wall: time.Date(2025, 1, 15, 1, 18, 53, 0, m.zone), Zoned: true},
	})
	add(obis.New(0, 1, 24, 1, 0), drivers.NewDecimal(3, 0))
	say(obis.New(0, 1, 96, 1, 0), "SIM0000000000002")
	r.Values = append(r.Values, drivers.Value{
		Code: obis.New(0, 1, 24, 2, 1), Number: drivers.NewDecimal(m.read.litres, -3),
		Time: drivers.Stamp{Wall: m.read.at.In(m.zone), Zoned: true}, Channel: 1,
	})
}

// fillPower adds what is momentary: power in W, its sum and by phase, voltages,
// currents, and the sags and swells of each phase.
func (m *DSMR) fillPower(add func(obis.Code, drivers.Decimal)) {
	sum := int64(0)
	for i := range m.phases {
		p, c := &m.phases[i], byte(20*i)
		sum += p.net()
		add(obis.New(1, 0, 21+c, 7, 0), drivers.NewDecimal(max(0, p.net()), 0))
		add(obis.New(1, 0, 22+c, 7, 0), drivers.NewDecimal(max(0, -p.net()), 0))
		add(obis.New(1, 0, 31+c, 7, 0), drivers.NewDecimal(p.amperes(), 0))
		add(obis.New(1, 0, 32+c, 7, 0), drivers.NewDecimal(p.decivolts, -1))
		add(obis.New(1, 0, 32+c, 32, 0), drivers.NewDecimal(int64(i), 0))
		add(obis.New(1, 0, 32+c, 36, 0), drivers.NewDecimal(0, 0))
	}
	add(obis.New(1, 0, 1, 7, 0), drivers.NewDecimal(max(0, sum), 0))
	add(obis.New(1, 0, 2, 7, 0), drivers.NewDecimal(max(0, -sum), 0))
}

// amperes is the current, in whole amperes as DSMR 5 sends it.
func (p *phase) amperes() int64 {
	power := max(p.net(), -p.net())
	return (power*10 + p.decivolts/2) / p.decivolts
}

// dsmrPort is the P1 port of a DSMR meter.
type dsmrPort struct {
	meter  *DSMR
	clock  func() time.Time
	period time.Duration
	every  map[string]int // fault → each how many telegrams
	seed   uint64

	mu      sync.Mutex
	cipher  *dlms.Cipher // nil: it speaks in clear
	counter uint32
}

func newDSMR(o Options) (*Simulator, error) {
	every, err := parseFaults(o.Faults, dsmrFaults)
	if err != nil {
		return nil, err
	}
	if o.Period < 0 {
		return nil, fmt.Errorf("period %s: want more than 0", o.Period)
	}
	if o.Period == 0 {
		o.Period = time.Second
	}
	p := &dsmrPort{
		meter: NewDSMR(o.Seed, o.Clock()), clock: o.Clock, period: o.Period, every: every, seed: o.Seed,
		counter: uint32(o.Clock().Unix()), // rises over a restart too
	}
	if err := p.cipherWith(o.Key, o.AuthKey); err != nil {
		return nil, err
	}
	return &Simulator{Driver: "p1", serve: p.serve}, nil
}

// cipherWith makes the meter cipher, if there is a key.
func (p *dsmrPort) cipherWith(key, auth drivers.Secret) (err error) {
	if key.IsZero() && auth.IsZero() {
		return nil
	}
	if auth.IsZero() {
		auth = drivers.NewSecret(p1.LuxembourgAuthKey)
	}
	if p.cipher, err = newSealer(key, auth); err != nil {
		return err
	}
	_, err = p.seal(nil, false) // a key of another suite
	return err
}

// seal ciphers and authenticates a telegram.
func (p *dsmrPort) seal(telegram []byte, fallBack bool) ([]byte, error) {
	const encryptedAndAuthenticated = 0x30
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counter++; fallBack {
		p.counter = 1
	}
	s := dlms.Security{Title: dlms.Title{'S', 'I', 'M', 0, 0, 0, 0, 1}, Control: encryptedAndAuthenticated, Counter: p.counter}
	return p.cipher.Seal(nil, s, telegram)
}

// serve sends a telegram at once, then one each period.
func (p *dsmrPort) serve(ctx context.Context, line io.ReadWriter) error {
	pace := time.NewTicker(p.period)
	defer pace.Stop()
	noise := rand.New(rand.NewPCG(p.seed, 1)) //nolint:gosec // noise keeps no secret
	for n := 1; ctx.Err() == nil; n++ {
		b, err := p.spoken(n, noise)
		if err != nil {
			return err
		}
		if err := send(ctx, line, b); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-pace.C:
		}
	}
	return nil
}

// send writes what there is to say. An error after ctx ended is none.
func send(ctx context.Context, line io.Writer, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := line.Write(b); err != nil && ctx.Err() == nil {
		return fmt.Errorf("simulated meter: %w", err)
	}
	return nil
}

// due says whether the n-th telegram has a fault.
func (p *dsmrPort) due(fault string, n int) bool {
	every := p.every[fault]
	return every > 0 && n%every == 0
}

// silent says whether the n-th telegram falls into a silence: after each N
// telegrams come thirty that are not sent.
func (p *dsmrPort) silent(n int) bool {
	every := p.every["silence"]
	return every > 0 && (n-1)%(every+silence) >= every
}

// spoken is the n-th telegram with its faults; empty in a silence.
func (p *dsmrPort) spoken(n int, noise *rand.Rand) ([]byte, error) {
	b, err := p.meter.telegram(p.clock(), p.due("zero-total", n))
	if err != nil || p.silent(n) {
		return nil, err
	}
	if p.due("bad-crc", n) {
		spoil(&b[len(b)-len("0\r\n")])
	}
	if p.cipher != nil {
		if b, err = p.seal(b, p.due("counter-back", n)); err != nil {
			return nil, err
		}
	}
	if p.due("cut", n) {
		b = b[:len(b)/2]
	}
	if p.due("noise", n) {
		b = append(randomBytes(noise), b...)
	}
	return b, nil
}

// spoil makes a digit of the CRC another one.
func spoil(digit *byte) {
	if *digit == '0' {
		*digit = '1'
		return
	}
	*digit = '0'
}

// randomBytes are 8 to 63 bytes, the last of them a line end, so that what
// follows begins a line as a meter begins it.
func randomBytes(r *rand.Rand) []byte {
	b := make([]byte, 8+r.IntN(56))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	b[len(b)-1] = '\n'
	return b
}
