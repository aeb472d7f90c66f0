package sim

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/corus"
)

// corusFaults are what the simulated gas volume converter can do wrong.
var corusFaults = []Fault{
	{Name: "bad-check", Every: 10, Doc: "the check of an answer does not fit"},
	{Name: "cut", Every: 10, Doc: "an answer breaks off in its middle"},
	{Name: "nak", Every: 10, Doc: "a command is answered with NAK as if it were damaged"},
	{Name: "noise", Every: 5, Doc: "bytes 7F come before an answer"},
	{Name: "silence", Every: 20, Doc: "a wake-up or command is not answered"},
	{Name: "repeat", Every: 3, Doc: "a frame of a database comes twice"},
	{Name: "gap", Every: 20, Doc: "a frame of a database is left out"},
}

const (
	corusIdent    = "/ACT7MINICOR200"
	corusFirmware = "FL_sim01"
	corusWeight   = "0.1" // m³ a pulse
)

// The simulated converter's parameters, beside those that every device has. Which id
// means what is made up, as no real map is public.
const (
	corusBasePressure corus.ID = 30
	corusPressure     corus.ID = 40
	corusTemperature  corus.ID = 41
	corusFlow         corus.ID = 42
	corusZ            corus.ID = 43
	corusC            corus.ID = 44
	corusAlarm        corus.ID = 45
	corusSite         corus.ID = 300
)

// corusMeter is a gas volume converter. What it counts is a function of the time
// alone, so that a log is the same whenever it is read.
type corusMeter struct {
	clock func() time.Time
	zone  *time.Location
	every map[string]int

	mu     sync.Mutex
	offset time.Duration       // of its clock
	set    map[corus.ID][]byte // parameters that can be written
	log    []corusChange       // of them, oldest first
}

// corusChange is an entry of the parameter log.
type corusChange struct {
	at       time.Time
	id       corus.ID
	old, now []byte
}

// maxCorusLog is how many changes the device keeps.
const maxCorusLog = 100

func newCorus(o Options) (*Simulator, error) {
	every, err := parseFaults(o.Faults, corusFaults)
	if err != nil {
		return nil, err
	}
	if o.Period != 0 {
		return nil, errors.New("period: gas volume converters speak only when they are asked")
	}
	m := &corusMeter{clock: o.Clock, zone: amsterdam(), every: every, set: map[corus.ID][]byte{
		1:                 corusNumber(corus.Float, corusWeight),
		82:                corusText("SITE-001"),
		corusBasePressure: corusNumber(corus.Float, "1.01325"),
		corusSite:         corusNumber(corus.Word, "4242"),
	}}
	// Its clock shows a local time, and does not say which.
	keys := []drivers.Setting{{Key: "timezone", Value: m.zone.String()}}
	return &Simulator{Driver: corus.Driver.Name, Keys: keys, serve: m.serve}, nil
}

// corusNumber is a number that fits its type.
func corusNumber(kind corus.Type, text string) []byte {
	d, err := drivers.ParseDecimal(text)
	if err == nil {
		var b []byte
		if b, err = corus.AppendNumber(nil, kind, d); err == nil {
			return b
		}
	}
	panic("simulated converter: " + err.Error())
}

func corusText(text string) []byte {
	b, err := corus.AppendString(nil, text, 8)
	if err != nil {
		panic("simulated converter: " + err.Error())
	}
	return b
}

// corusDate is a time as the device writes it.
func corusDate(t time.Time) []byte {
	b, err := corus.AppendDate(nil, t)
	if err != nil {
		return make([]byte, 4) // a clock beyond its years shows no date
	}
	return b
}

// now is what the device's clock shows.
func (m *corusMeter) now() time.Time { return m.clock().Add(m.offset).In(m.zone) }

// corusSince is when the simulated converter was installed.
var corusSince = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// pulses are those that the meter has given until t: some 40 an hour, more by day.
func pulses(t time.Time) uint64 {
	h := t.Sub(corusSince).Hours()
	return uint64(max(0, 40*h-50*math.Sin(2*math.Pi*h/24)))
}

// converted are pulses at base conditions.
func converted(n uint64) uint64 { return n * 19 / 10 }

// index is a count of pulses in m³.
func index(n uint64) []byte {
	return corusNumber(corus.Index, drivers.NewDecimal(int64(n), -1).String())
}

// tenths is n/10 as text.
func tenths(n uint64) string { return drivers.NewDecimal(int64(n), -1).String() }

// climate are temperature in hundredths of °C and pressure in mbar at t.
func climate(t time.Time) (temperature, pressure int64) {
	h := float64(t.Unix()) / 3600
	return 1150 + int64(400*math.Sin(2*math.Pi*(h-15)/24)), 2000 + int64(30*math.Sin(h/7))
}

func hundredths(n int64) []byte {
	return corusNumber(corus.Float1, drivers.NewDecimal(n, -2).String())
}

func milli(n int64) []byte { return corusNumber(corus.Float2, drivers.NewDecimal(n, -3).String()) }

// parameter is what stands behind an id; nil: nothing does.
func (m *corusMeter) parameter(id corus.ID) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.set[id]; ok {
		return b
	}
	now := m.now()
	temperature, pressure := climate(now)
	switch id {
	case 48:
		return index(pulses(now))
	case 49:
		return index(converted(pulses(now)))
	case 94:
		return corusText(corusFirmware)
	case 106:
		return corusDate(now)
	case corusPressure:
		return milli(pressure)
	case corusTemperature:
		return hundredths(temperature)
	case corusFlow:
		return corusNumber(corus.Float3, tenths(pulses(now)-pulses(now.Add(-time.Hour))))
	case corusZ:
		return corusNumber(corus.Float, "0.9979")
	case corusC:
		return corusNumber(corus.Float, "1.9")
	case corusAlarm:
		return pressureAlarm(now.AddDate(0, -1, 0))
	default:
		return nil
	}
}

// pressureAlarm is one that lasted an hour from t on: it is over, and memorised.
func pressureAlarm(t time.Time) []byte {
	b := append([]byte{0, 1}, corusNumber(corus.Float, "4.2")...)
	b = append(append(b, corusDate(t)...), corusDate(t.Add(time.Hour))...)
	return append(b, make([]byte, 8)...)
}

// write sets a parameter, and keeps the change in the log. False: it cannot be set.
func (m *corusMeter) write(id corus.ID, data []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	old := m.set[id]
	switch {
	case id == 106:
		old = corusDate(now)
		t, ok := corus.ParseDate(data, m.zone)
		if !ok {
			return false
		}
		m.offset = t.Sub(m.clock())
	case old == nil || len(old) != len(data):
		return false
	default:
		m.set[id] = data
	}
	m.log = append(m.log[max(0, len(m.log)+1-maxCorusLog):], corusChange{now, id, old, data})
	return true
}

// lengthOf is how many bytes a parameter that can be written has; 0: there is none.
func (m *corusMeter) lengthOf(id corus.ID) int {
	if id == 106 {
		return 4
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.set[id])
}

// corusKept is how far each log goes back.
var corusKept = map[corus.Database]struct {
	step time.Duration
	n    int
}{
	corus.Interval: {time.Hour, 35 * 24},
	corus.Hourly:   {time.Hour, 35 * 24},
	corus.Daily:    {24 * time.Hour, 125},
	corus.Monthly:  {0, 24},
	corus.Events:   {7 * time.Hour, 50},
}

// records are those of a database from the newest to the oldest, between two wall
// clocks, zero for none; size is that of each.
func (m *corusMeter) records(q corus.Query) (size int, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.Database == corus.ParameterLog || q.Database == corus.Certification {
		return m.changes(q)
	}
	kept, ok := corusKept[q.Database]
	if !ok {
		return 0, nil
	}
	for i := range kept.n {
		end := m.ending(kept.step, i)
		if wall := wallOf(end); !q.Newest.IsZero() && wall.After(q.Newest) || !q.Oldest.IsZero() && wall.Before(q.Oldest) {
			continue
		}
		row := m.row(q.Database, end)
		size, data = len(row), append(data, row...)
	}
	return size, data
}

// wallOf is what a clock at t shows, in UTC, to be compared.
func wallOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// ending is the end of the i-th period before now; 0 stands for months.
func (m *corusMeter) ending(step time.Duration, i int) time.Time {
	now := m.now()
	if step == 0 {
		return time.Date(now.Year(), now.Month()-time.Month(i), 1, 6, 0, 0, 0, m.zone)
	}
	if step == 24*time.Hour {
		return time.Date(now.Year(), now.Month(), now.Day()-i, 0, 0, 0, 0, m.zone)
	}
	return now.Truncate(step).Add(-step * time.Duration(i))
}

// row is a record that ends at t.
func (m *corusMeter) row(d corus.Database, t time.Time) []byte {
	switch d {
	case corus.Interval, corus.Hourly:
		return intervalRow(t)
	case corus.Daily, corus.Monthly:
		n := pulses(t)
		b := append(corusDate(t), 0, 0)
		for _, v := range []uint64{n, converted(n), 0, converted(n)} {
			b = append(b, index(v)...)
		}
		return b
	default:
		return append(corusDate(t), byte(t.Unix()/3600%30))
	}
}

// intervalRow has all fields: 52 bytes.
func intervalRow(t time.Time) []byte {
	start := t.Add(-time.Hour)
	n, before := pulses(t), pulses(start)
	used := n - before
	temperature, pressure := climate(t)
	low, _ := climate(start)
	word := func(n uint64) []byte { return []byte{byte(n), byte(n >> 8)} }
	long := func(n uint64) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)} }
	flow := func(n uint64) []byte { return corusNumber(corus.Float3, drivers.NewDecimal(int64(n), 0).String()) }
	var b []byte
	for _, part := range [][]byte{
		{60, 0},
		corusDate(t),
		word(used), long(converted(n) - converted(before)), word(n % 65535), long(converted(n)),
		hundredths(min(low, temperature)), hundredths(max(low, temperature)), hundredths((low + temperature) / 2),
		milli(pressure - 5), milli(pressure + 5), milli(pressure),
		flow(used - used/10), flow(used + used/10), flow(converted(used)), flow(converted(used + used/10)),
		{0, 0, 0, 0},
		flow(used), flow(converted(used)), corusDate(start),
		{0, 0},
	} {
		b = append(b, part...)
	}
	return b
}

// changes are the log of what was written. The certification log stays empty.
func (m *corusMeter) changes(q corus.Query) (size int, data []byte) {
	if q.Database == corus.Certification {
		return 0, nil
	}
	for _, c := range slices.Backward(m.log) {
		if wall := wallOf(c.at); !q.Newest.IsZero() && wall.After(q.Newest) || !q.Oldest.IsZero() && wall.Before(q.Oldest) {
			continue
		}
		row := make([]byte, 21)
		copy(row, corusDate(c.at))
		row[4] = byte(c.id)
		copy(row[5:13], c.old)
		copy(row[13:], c.now)
		size, data = len(row), append(data, row...)
	}
	return size, data
}

// serve answers what comes on a line.
func (m *corusMeter) serve(ctx context.Context, line io.ReadWriter) error {
	t := &corusTalk{faultTurns: faultTurns{every: m.every}, reception: received(ctx, line, 0xFF), meter: m, line: line}
	for ctx.Err() == nil {
		if err := t.conversation(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
