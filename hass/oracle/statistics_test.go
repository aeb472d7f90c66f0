package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// truth is a meter that counted all year: Wh at each moment. Each hour has its own
// pace.
type truth struct{ epoch time.Time }

func (m truth) at(t time.Time) int64 {
	total := int64(51_234_567)
	hour := m.epoch
	for i := int64(0); ; i++ {
		used := 200 + i*37%11*150
		if next := hour.Add(time.Hour); !next.After(t) {
			total, hour = total+used, next
			continue
		}
		return total + used*int64(t.Sub(hour)/time.Second)/3600
	}
}

func kWh(wh int64) drivers.Decimal { return drivers.NewDecimal(wh, -3) }

// counter is a P1 meter at a line that shows the register that it is told.
type counter struct {
	mu    sync.Mutex
	shows func(time.Time) int64
}

func (c *counter) show(f func(time.Time) int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shows = f
}

// telegram is of DSMR 4, with the CRC-16 of its clause 5.2.
func (c *counter) telegram() []byte {
	c.mu.Lock()
	wh := c.shows(time.Now())
	c.mu.Unlock()
	text := fmt.Sprintf("/SIM5METER\r\n\r\n1-3:0.2.8(42)\r\n1-0:1.8.0(%06d.%03d*kWh)\r\n!", wh/1000, wh%1000)
	crc := uint16(0)
	for i := range len(text) {
		crc ^= uint16(text[i])
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xA001
			} else {
				crc >>= 1
			}
		}
	}
	return fmt.Appendf(nil, "%s%04X\r\n", text, crc)
}

const (
	lateConfig = "[mqtt]\nurl = \"$BROKER\"\n[homeassistant]\nurl = \"$API\"\ntoken_file = \"$TOKEN_FILE\"\n" +
		"[state]\ndir = \"$STATE\"\n"
)

// lateCase is a Home Assistant that knows a register's past, but for some hours.
type lateCase struct {
	o       *Oracle
	t       *testing.T
	shows   func(time.Time) int64 // what the meter showed, in Wh
	gateway *Process
	entity  string
	base    float64 // kWh at which Home Assistant's sum began
}

type statRow struct {
	Start      float64 // ms
	State, Sum float64
}

func (r statRow) start() time.Time { return time.UnixMilli(int64(r.Start)).UTC() }

// rows are Home Assistant's own of a period.
func (c *lateCase) rows(period string, from time.Time) ([]statRow, error) {
	var answer map[string][]statRow
	err := c.o.ha.ask(&answer, "ws", string(asJSON(map[string]any{
		"type": "recorder/statistics_during_period", "start_time": from.UTC().Format(time.RFC3339),
		"statistic_ids": []string{c.entity}, "period": period, "types": []string{"state", "sum"},
	})))
	return answer[c.entity], err
}

func asJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// seed writes hours as Home Assistant had made them, if it had seen the register
// at the moments that seen gives.
func (c *lateCase) seed(from, to time.Time, seen func(end time.Time) (at time.Time, ok bool)) {
	c.t.Helper()
	var stats []map[string]any
	for h := from; h.Before(to); h = h.Add(time.Hour) {
		at, ok := seen(h.Add(time.Hour))
		if !ok {
			continue
		}
		state := float64(c.shows(at)) / 1000
		stats = append(stats, map[string]any{"start": h.Format(time.RFC3339), "state": state, "sum": state - c.base})
	}
	err := c.o.ha.ask(nil, "ws", string(asJSON(map[string]any{
		"type": "recorder/import_statistics", "stats": stats, "metadata": map[string]any{
			"source": "recorder", "statistic_id": c.entity, "name": nil, "has_sum": true, "mean_type": 0,
			"unit_class": "energy", "unit_of_measurement": "kWh",
		},
	})))
	if err != nil {
		c.t.Fatal(err)
	}
}

// compiled waits for a five-minute row that ends after a moment and gives it.
func (c *lateCase) compiled(after time.Time) statRow {
	c.t.Helper()
	var found statRow
	err := until(7*time.Minute, func() error {
		rows, err := c.rows("5minute", after.Add(-5*time.Minute))
		if err != nil {
			return err
		}
		if len(rows) == 0 || !rows[len(rows)-1].start().Add(5*time.Minute).After(after) {
			return errors.New("home assistant has not compiled a row yet")
		}
		found = rows[len(rows)-1]
		return c.gateway.Running()
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return found
}

// exact says which hour does not have what the meter counted, after rounding to
// its decimals.
func (c *lateCase) exact(from, to time.Time) error {
	rows, err := c.rows("hour", from.Add(-time.Hour))
	if err != nil {
		return err
	}
	by := map[time.Time]statRow{}
	for _, r := range rows {
		by[r.start()] = r
	}
	var wrong []error
	for h := from; h.Before(to); h = h.Add(time.Hour) {
		before, ok := by[h.Add(-time.Hour)]
		row, ok2 := by[h]
		if !ok || !ok2 {
			wrong = append(wrong, fmt.Errorf("%s: no row", h))
			continue
		}
		end := c.shows(h.Add(time.Hour))
		if got, want := wattHours(row.Sum-before.Sum), end-c.shows(h); got != want || wattHours(row.State) != end {
			wrong = append(wrong, fmt.Errorf("%s: used %d Wh, the meter counted %d; state %d Wh, the meter showed %d", h, got, want, wattHours(row.State), end))
		}
	}
	return errors.Join(wrong...)
}

// steady are the rows of a period, in none of which more is used, or less, than a house
// can.
func (c *lateCase) steady(period string, from time.Time) ([]statRow, error) {
	rows, err := c.rows(period, from)
	if err != nil {
		return nil, err
	}
	if len(rows) < 2 {
		return nil, fmt.Errorf("%d rows of %s since %s", len(rows), period, from)
	}
	for i := 1; i < len(rows); i++ {
		if d := wattHours(rows[i].Sum - rows[i-1].Sum); d < 0 || d > 20_000 {
			return nil, fmt.Errorf("the %s from %s on used %d Wh", period, rows[i].start(), d)
		}
	}
	return rows, nil
}

func wattHours(kWh float64) int64 { return int64(math.Round(kWh * 1000)) }

// spoolJournal leaves a journal as a gateway does that ends while the broker is
// away: a state each five minutes. It says how many.
func (c *lateCase) spoolJournal(from, to time.Time, zone *time.Location) (states int) {
	c.t.Helper()
	j, err := journal.Open(filepath.Join(c.gateway.state, "journal"), 1<<26, from, func(err error) { c.t.Error(err) })
	if err != nil {
		c.t.Fatal(err)
	}
	j.Away()
	for at := from; !at.After(to); at = at.Add(5 * time.Minute) {
		states++
		j.Add("mains", at, fmt.Appendf(nil, `{"time":%q,"received":%q,"1-0:1.8.0":%s}`,
			at.In(zone).Format(time.RFC3339), at.UTC().Format("2006-01-02T15:04:05.000Z07:00"), kWh(c.shows(at))))
	}
	if err := j.Close(); err != nil {
		c.t.Fatal(err)
	}
	return states
}

// homeAway leaves what a gateway remembers that ran while Home Assistant was away.
func (c *lateCase) homeAway(from, to time.Time) {
	c.t.Helper()
	var log statistics.Log
	for at := from; !at.After(to); at = at.Add(time.Minute) {
		log.Add(at, kWh(c.shows(at)))
	}
	err := journal.Save(filepath.Join(c.gateway.state, "statistics.json"), map[string]any{
		"away":   map[string]time.Time{"home_assistant": from},
		"meters": map[string]any{"mains": map[string]any{"logs": map[string]any{"1-0:1.8.0": log}}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// waiting says what the gateway has not put right yet.
func (c *lateCase) waiting() error {
	var known struct {
		Meters map[string]struct {
			Holes     []statistics.Hole
			Exchanges map[string][]statistics.Exchange
		}
	}
	if err := journal.Load(filepath.Join(c.gateway.state, "statistics.json"), &known); err != nil {
		return err
	}
	for name, m := range known.Meters {
		if len(m.Holes)+len(m.Exchanges) > 0 {
			return fmt.Errorf("%s: open %v, exchanges %v", name, m.Holes, m.Exchanges)
		}
	}
	return nil
}

// settled says what the gateway has still to do, of all that came before a moment.
func (c *lateCase) settled(since time.Time) error {
	info, err := os.Stat(filepath.Join(c.gateway.state, "statistics.json"))
	if err != nil {
		return err
	}
	if !info.ModTime().After(since) {
		return errors.New("it has not saved since")
	}
	return c.waiting()
}

// startKnown boots a gateway with one meter and waits until Home Assistant shows
// its register.
func startKnown(t *testing.T, o *Oracle, meter string, shows func(time.Time) int64) *lateCase {
	t.Helper()
	c := &lateCase{o: o, t: t, shows: shows}
	c.gateway = o.Run(t, lateConfig+meter)
	o.Until(t, func() error {
		s, err := o.snapshot()
		if err != nil {
			return err
		}
		e, ok := s.entity("meter2mqtt_mains_1_0_1_8_0")
		if !ok || s.state(e).State == "unknown" || s.state(e).State == "" {
			return errors.New("no state yet")
		}
		c.entity = e.EntityID
		return nil
	})
	return c
}

// startLate waits besides until Home Assistant has compiled a first row of it.
func startLate(t *testing.T, o *Oracle, meter string, shows func(time.Time) int64) *lateCase {
	t.Helper()
	c := startKnown(t, o, meter, shows)
	first := c.compiled(time.Now())
	c.base = first.State - first.Sum
	return c
}

type absence struct{ from, to time.Time }

// blind is what Home Assistant sees of a register at an hour's end: while somebody
// is away, what it saw last.
func (o absence) blind(end time.Time) (time.Time, bool) {
	if end.After(o.from) && !end.After(o.to) {
		return o.from, true
	}
	return end, true
}

func whole(end time.Time) (time.Time, bool) { return end, true }

// past is what happened to the broker before the test: it was away for three hours
// today, and in both nights of the clock.
type past struct {
	now    time.Time
	broker absence
	nights []time.Time
	zone   *time.Location
}

func newPast(t *testing.T) past {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Hour)
	return past{
		now: now, nights: lastNights(now), zone: zone,
		broker: absence{now.Add(-9*time.Hour + 20*time.Minute), now.Add(-6*time.Hour + 40*time.Minute)},
	}
}

// meter counted since before all that.
func (p past) meter() *counter {
	c := &counter{}
	c.show(truth{epoch: time.Date(p.now.Year()-1, 9, 1, 0, 0, 0, 0, time.UTC)}.at)
	return c
}

// seed is what Home Assistant saw of it.
func (p past) seed(c *lateCase) {
	c.t.Helper()
	c.seed(p.now.Add(-14*time.Hour), p.now.Add(-5*time.Hour), p.broker.blind)
	for _, night := range p.nights {
		c.seed(night.Add(-5*time.Hour), night.Add(-2*time.Hour), whole)
		c.seed(night.Add(time.Hour), night.Add(4*time.Hour), whole)
	}
}

// spool is what the gateway has of it. It says how many states.
func (p past) spool(c *lateCase) (states int) {
	c.t.Helper()
	for _, night := range p.nights {
		states += c.spoolJournal(night.Add(-100*time.Minute), night.Add(100*time.Minute), p.zone)
	}
	return states + c.spoolJournal(p.broker.from, p.broker.to, p.zone)
}

// untilExact waits until each hour until then has what the meter counted.
func (p past) untilExact(c *lateCase, until time.Time) {
	c.t.Helper()
	c.o.Until(c.t, func() error { return c.exact(p.now.Add(-13*time.Hour), until) })
	for _, night := range p.nights {
		c.o.Until(c.t, func() error { return c.exact(night.Add(-4*time.Hour), night.Add(4*time.Hour)) })
	}
}

// rows are Home Assistant's hours of it.
func (p past) rows(c *lateCase) []statRow {
	c.t.Helper()
	rows, err := c.rows("hour", p.nights[0].AddDate(-1, 0, 0))
	if err != nil {
		c.t.Fatal(err)
	}
	return slices.DeleteFunc(rows, func(r statRow) bool { return !r.start().Before(p.now) })
}

// once lets the gateway send what it has of the past, and waits until it has put
// everything right.
func (p past) once(c *lateCase) {
	c.t.Helper()
	p.send(c)
	came := time.Now()
	c.o.Until(c.t, func() error { return errors.Join(c.settled(came), c.gateway.Running()) })
}

// send lets the gateway send what it has of the past.
func (p past) send(c *lateCase) {
	c.t.Helper()
	c.gateway.Stop(c.t)
	sub, states := c.o.Broker.Subscribe(c.t, "meter2mqtt/mains/history"), p.spool(c)
	c.gateway.Start(c.t)
	c.o.Until(c.t, func() error {
		if n := len(sub.Messages()); n < states {
			return errors.Join(fmt.Errorf("%d of %d states came", n, states), c.gateway.Running())
		}
		return nil
	})
}

// Of hours that the broker missed, Home Assistant has afterwards what the meter
// counted, and a repetition changes nothing. This is the short form of the long
// tests below: what waits for Home Assistant's own rows is theirs.
func TestHoursThatTheBrokerMissedAreImportedOnce(t *testing.T) {
	o := Start(t)
	p := newPast(t)
	meter := p.meter()
	c := startKnown(t, o, p1Meter("mains", "Past meter", plugInCounting(t, meter.telegram, time.Second)), meter.shows)
	c.base = 51_000
	p.seed(c)
	c.seed(p.now.Add(-5*time.Hour), p.now, whole)
	p.once(c)
	p.untilExact(c, p.now)
	before := p.rows(c)
	p.once(c)
	if after := p.rows(c); !slices.Equal(before, after) {
		t.Errorf("a repetition changed hours:\n%v\n%v", before, after)
	}
}

// Broker and Home Assistant were away for three hours each, and the broker in both
// nights of the clock: afterwards each hour has what the meter counted, the row
// that Home Assistant compiles next goes on without a jump, and a repetition
// changes nothing. Then the meter is exchanged.
func TestHomeAssistantMissesNoHour(t *testing.T) {
	o := startLong(t)
	p := newPast(t)
	meter := p.meter()
	c := startLate(t, o, p1Meter("mains", "Late meter", plugInCounting(t, meter.telegram, time.Second)), meter.shows)

	t.Log("what Home Assistant saw of the past")
	home := absence{p.now.Add(-3*time.Hour + 20*time.Minute), time.Now().UTC()}
	p.seed(c)
	c.seed(p.now.Add(-5*time.Hour), p.now, home.blind)

	t.Log("they come back")
	c.gateway.Stop(t)
	o.StopHomeAssistant(t)
	c.homeAway(home.from, home.to)
	p.spool(c)
	o.StartHomeAssistant(t)
	c.gateway.Start(t)
	p.untilExact(c, p.now)

	t.Log("the next row of Home Assistant's own")
	row := c.compiled(time.Now())
	if got, want := wattHours(row.Sum), wattHours(row.State-c.base); got != want {
		t.Errorf("the sum jumps: it is %d Wh, the meter counted %d", got, want)
	}
	before := p.rows(c)

	t.Log("the same once more") // what is still open is joined by rows to come
	p.send(c)

	t.Log("another meter")
	used := wattHours(row.Sum)
	fresh := c.shows(time.Now()) * 6 / 10
	began := time.Now()
	meter.show(func(at time.Time) int64 { return fresh + int64(at.Sub(began)/time.Second) })
	c.compiled(time.Now())
	steady := func() error {
		short, err := c.steady("5minute", row.start())
		if err != nil {
			return err
		}
		if last := wattHours(short[len(short)-1].Sum); last < used {
			return fmt.Errorf("the sum fell from %d to %d Wh", used, last)
		}
		_, err = c.steady("hour", p.now.Add(-13*time.Hour))
		return err
	}
	o.Until(t, steady)
	if after := p.rows(c); !slices.Equal(before, after) {
		t.Errorf("a repetition changed hours:\n%v\n%v", before, after)
	}
	if err := until(10*time.Minute, c.waiting); err != nil {
		t.Error(err)
	}
	o.Until(t, steady)
	c.gateway.Stop(t)
	if text, err := os.ReadFile(filepath.Join(o.ha.dir, "token")); err != nil || strings.Contains(c.gateway.Stderr(), strings.TrimSpace(string(text))) {
		t.Errorf("the token shows in the log (%v)", err)
	}
}

// The gateway was away for three hours: what it missed comes from the meter's own
// log, into the hours that it belongs to.
func TestTheMetersOwnLogFillsWhatTheGatewayMissed(t *testing.T) {
	o := startLong(t)
	now := time.Now().UTC().Truncate(time.Hour)
	meter, err := sim.New("iec62056-21", sim.Options{Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	config := "[[meter]]\nname = \"mains\"\nlabel = \"Logging meter\"\ndriver = \"iec62056-21\"\npassword = \"" + sim.ExamplePassword +
		"\"\nprofiles = [\"P.02\"]\nbackfill = true\ntimezone = \"Europe/Amsterdam\"\nevery = \"15s\"\nport = \"" + serve(t, meter) + "\"\n"
	log := map[time.Time]int64{}
	c := startLate(t, o, config, func(at time.Time) int64 { return log[at.UTC()] })
	c.gateway.Stop(t)
	c.readLog(now.Add(-9*time.Hour), log)

	t.Log("the gateway was away")
	gone := now.Add(-3*time.Hour + 15*time.Minute)
	c.seed(now.Add(-8*time.Hour), now.Add(-3*time.Hour), whole)
	c.seed(now.Add(-3*time.Hour), now.Add(-2*time.Hour), func(time.Time) (time.Time, bool) { return gone, true })
	file, memory := filepath.Join(c.gateway.state, "memory.json"), map[string]any{}
	if err := journal.Load(file, &memory); err != nil {
		t.Fatal(err)
	}
	memory["meters"].(map[string]any)["mains"].(map[string]any)["seen"] = gone
	if err := journal.Save(file, memory); err != nil {
		t.Fatal(err)
	}
	c.gateway.Start(t)
	o.Until(t, func() error { return errors.Join(c.exact(now.Add(-7*time.Hour), now), c.gateway.Running()) })
	row := c.compiled(time.Now())
	if got, want := wattHours(row.Sum), wattHours(row.State-c.base); got != want {
		t.Errorf("the sum jumps: it is %d Wh, the meter counted %d", got, want)
	}
}

// serve puts a simulated meter on a TCP port.
func serve(t *testing.T, meter *sim.Simulator) (port string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := sim.Listen(ctx, "tcp://127.0.0.1:0")
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { _ = l.Serve(ctx, meter.Serve) }) // it ends with the test
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		done.Wait()
	})
	return l.Addr()
}

// readLog has the program print the meter's own log.
func (c *lateCase) readLog(from time.Time, log map[time.Time]int64) {
	c.t.Helper()
	binary, err := c.o.binary()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd, cancel, err := command(binary, "history", "-c", c.gateway.config, "mains", "--from", from.Format(time.RFC3339))
	if err != nil {
		c.t.Fatal(err)
	}
	defer cancel()
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		var row struct {
			Time   time.Time
			Values []struct {
				OBIS  string
				Value json.RawMessage
			}
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			c.t.Fatalf("%s: %v", line, err)
		}
		for _, v := range row.Values {
			var kWh float64
			if v.OBIS == "1-0:1.8.0" && json.Unmarshal(v.Value, &kWh) == nil {
				log[row.Time.UTC()] = wattHours(kWh)
			}
		}
	}
}

// lastNights are the moments at which the clocks of Europe changed last, both
// ways.
func lastNights(now time.Time) []time.Time {
	var nights []time.Time
	for _, month := range []time.Month{time.March, time.October} {
		year := now.Year()
		if now.Before(time.Date(year, month+1, 2, 0, 0, 0, 0, time.UTC)) {
			year--
		}
		last := time.Date(year, month, 31, 1, 0, 0, 0, time.UTC)
		nights = append(nights, last.AddDate(0, 0, -int(last.Weekday())))
	}
	slices.SortFunc(nights, time.Time.Compare)
	return nights
}
