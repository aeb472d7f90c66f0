package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// kept is how far the logs of the simulated meters go back.
const kept = 10 * 24 * time.Hour

// moment reads YYMMDDhhmm with a season digit before it or without; "" is no
// limit.
func (m *iecMeter) moment(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	digits := s
	if len(s) == 11 {
		digits = s[1:]
	}
	t, err := time.ParseInLocation("0601021504", digits, m.zone)
	if len(s) == 11 && err == nil && (s[0] == '1') != t.IsDST() {
		for _, d := range []time.Duration{time.Hour, -time.Hour} {
			if o := t.Add(d); o.Format("0601021504") == digits {
				t = o // the hour that comes twice in autumn
			}
		}
	}
	return t, err == nil
}

// stamp is a time with its season digit.
func (m *iecMeter) stamp(t time.Time) string {
	t = t.In(m.zone)
	if t.IsDST() {
		return "1" + t.Format("060102150405")
	}
	return "0" + t.Format("060102150405")
}

const quarter = 15 * time.Minute

// iecRow is what a house has counted: import and export in Wh, gas in litres.
type iecRow struct{ imported, exported, gas int64 }

// usualGas is how many litres of gas the house burnt in a quarter of an hour before
// the simulation began.
const usualGas = 30

// counted is what the house has counted by now.
func (m *iecMeter) counted() iecRow {
	s := &m.house.state
	return iecRow{s.live[0], s.live[1], int64(m.house.house.gas / 1000)}
}

// advance moves the house on to the present. The registers are written down at
// each quarter of an hour on the way.
func (m *iecMeter) advance() {
	now := m.clock()
	for t := m.house.state.at.Truncate(quarter).Add(quarter); !t.After(now); t = t.Add(quarter) {
		m.house.advance(t)
		m.rows[t.Unix()] = m.counted()
		delete(m.rows, t.Add(-kept).Unix())
	}
	m.house.advance(now)
}

// registers are what was counted at a quarter of an hour. Before the simulation
// began, that is what the load profile leaves of the first ones.
func (m *iecMeter) registers(t time.Time) iecRow {
	if row, ok := m.rows[t.Unix()]; ok {
		return row
	}
	row := m.birth
	for q := t.Add(quarter); !q.After(m.born); q = q.Add(quarter) {
		row.imported -= demand(q.In(m.zone)) / 4
		row.gas -= usualGas
	}
	row.imported = max(row.imported, 0)
	return row
}

// profile is a log from one moment to another. A new header comes where the season
// changes, for a row's time is counted from its header.
func (m *iecMeter) profile(address string, from, to time.Time) (lines []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if oldest := now.Add(-kept); from.Before(oldest) {
		from = oldest
	}
	if to.IsZero() || to.After(now) {
		to = now
	}
	if strings.HasSuffix(address, "P.98") {
		return m.logBook(address, from, to)
	}
	m.advance()
	columns, row := "(1.5)(kW)(2.5)(kW)", m.loadRow
	if strings.HasSuffix(address, "P.02") {
		columns, row = "(1.8.0)(kWh)(2.8.0)(kWh)", m.registerRow
	}
	season := -1
	for t := from.Add(quarter - 1).Truncate(quarter); !t.After(to); t = t.Add(quarter) {
		if _, offset := t.In(m.zone).Zone(); offset != season {
			season = offset
			lines = append(lines, address+"("+m.stamp(t)+")(00)(15)(2)"+columns)
		}
		lines = append(lines, row(t))
	}
	return lines
}

// loadRow is the mean power of a quarter of an hour, registerRow what the
// registers show at its end.
func (m *iecMeter) loadRow(t time.Time) string {
	power := demand(t.In(m.zone))
	return "(" + fixed(power, 3, 1) + ")(" + fixed(power/7, 3, 1) + ")"
}

func (m *iecMeter) registerRow(t time.Time) string {
	r := m.registers(t)
	return "(" + fixed(r.imported, 3, 6) + ")(" + fixed(r.exported, 3, 6) + ")"
}

// logBook has an entry each midnight.
func (m *iecMeter) logBook(address string, from, to time.Time) (lines []string) {
	day := from.In(m.zone)
	for t := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 1, 0, m.zone); !t.After(to); t = t.AddDate(0, 0, 1) {
		if !t.Before(from) {
			lines = append(lines, address+"("+m.stamp(t)+")(00000010)()(0)")
		}
	}
	return lines
}

// The simulated LIS-200 device: a converter that counts the gas of the house.

var lisUnits = map[string]string{"2:300": "m3", "4:300": "m3", "7:310_1": "bar", "6:310_1": "{C"}

// lisValue is the value of an address; "": there is none.
func (m *iecMeter) lisValue(address string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance()
	litres := m.counted().gas
	switch address {
	case "1:400":
		return m.now().Format("2006-01-02,15:04:05")
	case "1:180":
		return iecAddress
	case "3:180":
		return "SIM-EK280"
	case "2:300":
		return fixed(litres*19, 3, 7)
	case "4:300":
		return fixed(litres*10, 3, 7)
	case "7:310_1":
		return "1.01325"
	case "6:310_1":
		return "15.32"
	case "3:190":
		return m.set["C.3.9"]
	case "3:170", "4:170":
		if m.open[address[:1]] {
			return "1"
		}
		return "0"
	}
	return ""
}

func (t *iecTalk) lisRead(ctx context.Context, c iecCommand) error {
	if number, attribute, ok := strings.Cut(c.address, ":V."); ok {
		return t.lisArchive(ctx, c, number, attribute)
	}
	address := strings.TrimSuffix(c.address, ".0")
	value := t.meter.lisValue(address)
	if value == "" {
		return t.sayText(ctx, "(#0002)")
	}
	if unit := lisUnits[address]; unit != "" {
		value += "*" + unit
	}
	return t.sayText(ctx, c.address+"("+value+")")
}

var errLISLocked = errors.New("locked")

func (t *iecTalk) lisWrite(ctx context.Context, c iecCommand) error {
	err := t.meter.lisSet(strings.TrimSuffix(c.address, ".0"), c.value())
	switch {
	case errors.Is(err, errLISLocked):
		return t.sayText(ctx, "(#0019)")
	case errors.Is(err, drivers.ErrAuth):
		return t.sayText(ctx, "(#0017)")
	case errors.Is(err, drivers.ErrRefused):
		return t.sayText(ctx, "(#0009)")
	case err != nil:
		return t.sayText(ctx, "(#0013)")
	}
	return t.say(ctx, []byte{iecACK})
}

// lisSet writes an address, opens a lock (171) or closes it (170).
func (m *iecMeter) lisSet(address, value string) error {
	lock, object, _ := strings.Cut(address, ":")
	switch object {
	case "171":
		if !m.login(value) {
			return drivers.ErrAuth
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open[lock] = true
		return nil
	case "170":
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open[lock] = false
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.open["3"] && !m.open["4"] {
		return errLISLocked
	}
	switch address {
	case "1:400":
		return m.setClock("2006-01-02,15:04:05", value)
	case "3:190":
		m.set["C.3.9"] = value
		return nil
	}
	return drivers.ErrRefused
}

// The columns of archive 3.
const (
	lisSources = "(13:150_1)(03:159)(01:400)(02:300)(04:300)(07:310_1)(06:310_1)(02:110)"
	lisColumns = "()()()(m3)(m3)(bar)({C)()"
	lisNames   = "(GONo)(AONo)(Time)(Vb)(Vm)(p)(T)(Stat)"
)

func (t *iecTalk) lisArchive(ctx context.Context, c iecCommand, number, attribute string) error {
	if number != "3" {
		return t.sayText(ctx, "(#0100)")
	}
	switch attribute {
	case "2":
		return t.sayText(ctx, lisNames)
	case "3":
		return t.sayText(ctx, lisColumns)
	case "4":
		return t.sayText(ctx, lisSources)
	case "A":
		return t.sayText(ctx, "("+strconv.Itoa(int(kept/time.Hour))+")")
	case "0":
		return t.lisRows(ctx, c)
	}
	return t.sayText(ctx, "(#0004)")
}

// lisRows sends the rows of a range of time.
func (t *iecTalk) lisRows(ctx context.Context, c iecCommand) error {
	span := append(strings.Split(c.value(), ";"), "", "", "", "")
	if span[0] != "3" {
		return t.sayText(ctx, "(#0101)")
	}
	lines := t.meter.lisHours(span[1], span[2])
	if len(lines) == 0 {
		return t.sayText(ctx, "(#0104)")
	}
	if n, err := strconv.Atoi(span[3]); err == nil && n > 0 && c.name == "R3" {
		return t.partial(ctx, lines, n, "")
	}
	return t.partial(ctx, lines, len(lines), "\r\n")
}

// lisHours are the rows of the hourly archive between two times as the device
// writes them.
func (m *iecMeter) lisHours(from, to string) (lines []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance()
	now := m.now()
	for t := now.Truncate(time.Hour); now.Sub(t) < kept; t = t.Add(-time.Hour) {
		at := t.Format("2006-01-02,15:04:05")
		if from != "" && at < from || to != "" && at > to {
			continue
		}
		n, litres := t.Unix()/3600%100_000, m.registers(t).gas
		lines = append(lines, fmt.Sprintf("(%d)(%d)(%s)(%s)(%s)(1.013)(15.20)(0)", n, n%1000, at, fixed(litres*19, 3, 7), fixed(litres*10, 3, 7)))
	}
	slices.Reverse(lines)
	return lines
}
