package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/hass/socket"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// fakeHome is a Home Assistant with one statistic.
type fakeHome struct {
	mu       sync.Mutex
	unit     string
	disabled bool
	hours    map[time.Time][2]float64 // state and sum
	short    map[time.Time][2]float64
	wrote    []string // what was asked to be changed
	lag      int      // how many looks at the rows come before a change shows
	late     []func() // changes that do not show yet
}

// answer is the result of a request.
func (h *fakeHome) answer(r map[string]any) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r["type"] {
	case "get_config":
		return map[string]string{"state": "RUNNING"}
	case "config/entity_registry/list":
		e := map[string]any{"entity_id": "sensor.mains", "unique_id": "t_main_1_0_1_8_0", "platform": "mqtt"}
		if h.disabled {
			e["disabled_by"] = "user"
		}
		return []any{e}
	case "recorder/get_statistics_metadata":
		return []any{map[string]any{
			"statistic_id": "sensor.mains", "source": "recorder", "has_sum": true, "mean_type": 0,
			"unit_class": "energy", "statistics_unit_of_measurement": h.unit,
		}}
	case "recorder/statistics_during_period":
		if h.lag--; h.lag <= 0 {
			h.catchUp()
		}
		return map[string]any{"sensor.mains": h.rows(r)}
	case "recorder/import_statistics":
		h.late = append(h.late, func() { h.take(r["stats"].([]any)) })
	case "recorder/adjust_sum_statistics":
		h.late = append(h.late, func() { h.adjust(r["start_time"].(string), r["adjustment"].(float64)) })
	}
	return nil
}

func (h *fakeHome) catchUp() {
	for _, change := range h.late {
		change()
	}
	h.late = nil
}

func (h *fakeHome) rows(r map[string]any) (rows []map[string]any) {
	table := h.hours
	if r["period"] == "5minute" {
		table = h.short
	}
	from, _ := time.Parse(time.RFC3339, r["start_time"].(string))
	for start, row := range table {
		if !start.Before(from) {
			rows = append(rows, map[string]any{"start": start.UnixMilli(), "state": row[0], "sum": row[1]})
		}
	}
	slices.SortFunc(rows, func(a, b map[string]any) int { return int(a["start"].(int64) - b["start"].(int64)) })
	return rows
}

func (h *fakeHome) take(stats []any) {
	for _, s := range stats {
		row := s.(map[string]any)
		start, _ := time.Parse(time.RFC3339, row["start"].(string))
		h.hours[start] = [2]float64{row["state"].(float64), row["sum"].(float64)}
		h.wrote = append(h.wrote, fmt.Sprintf("%02d: %v %v", start.Hour(), row["state"], row["sum"]))
	}
}

func (h *fakeHome) adjust(text string, by float64) {
	from, _ := time.Parse(time.RFC3339, text)
	for start, row := range h.short {
		if !start.Before(from) {
			h.short[start] = [2]float64{row[0], row[1] + by}
		}
	}
	for start, row := range h.hours {
		if !start.Before(from.Truncate(time.Hour)) {
			h.hours[start] = [2]float64{row[0], row[1] + by}
		}
	}
	h.wrote = append(h.wrote, fmt.Sprintf("%s: shifted by %v", from.Format("15:04"), by))
}

// changes are what was written since the last look.
func (h *fakeHome) changes() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.catchUp()
	wrote := h.wrote
	h.wrote = nil
	return wrote
}

// connect puts it on a WebSocket.
func (h *fakeHome) connect(t *testing.T) *homeStatistics {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		var message map[string]any
		_ = wsjson.Write(r.Context(), ws, map[string]string{"type": "auth_required"})
		_ = wsjson.Read(r.Context(), ws, &message)
		_ = wsjson.Write(r.Context(), ws, map[string]string{"type": "auth_ok", "ha_version": "2026.11.0"})
		for {
			message = nil
			if wsjson.Read(r.Context(), ws, &message) != nil {
				return
			}
			_ = wsjson.Write(r.Context(), ws, map[string]any{
				"id": message["id"], "type": "result", "success": true, "result": h.answer(message),
			})
		}
	}))
	t.Cleanup(s.Close)
	conn, err := socket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http"), drivers.NewSecret("x"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return &homeStatistics{conn: conn, version: statistics.Oldest}
}

// lateNoon is when the tests' outages end.
var lateNoon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// lateMeter is a meter that was at 100 kWh at midnight and uses one an hour.
func lateMeter(t *testing.T, home *fakeHome) (*lateHours, *meter) {
	t.Helper()
	m := lonely(t)
	m.registers = &registers{}
	l := &lateHours{
		base: "t", meters: func() []*meter { return []*meter{m} }, state: func() *state { return &state{} },
		log: zerolog.New(zerolog.NewTestWriter(t)), away: map[string]time.Time{}, told: map[string]bool{}, next: map[string]time.Time{},
	}
	midnight := lateNoon.Truncate(24 * time.Hour)
	for at := midnight.Add(8 * time.Hour); !at.After(lateNoon); at = at.Add(20 * time.Minute) {
		r := drivers.Reading{Received: at, Check: drivers.CheckCRC16, Values: []drivers.Value{{
			Code: obis.MustParse("1-0:1.8.0"), Name: "energy_import", Unit: "kWh",
			Number: drivers.NewDecimal(100_000+int64(at.Sub(midnight)/time.Second)*1000/3600, -3),
		}}}
		m.accept(&r)
	}
	home.hours, home.short = map[time.Time][2]float64{}, map[time.Time][2]float64{}
	for h := range 8 {
		home.hours[midnight.Add(time.Duration(h)*time.Hour)] = [2]float64{101 + float64(h), float64(h)}
	}
	home.short[lateNoon.Add(5*time.Minute)] = [2]float64{112.1, 11.1}
	m.registers.hole(statistics.Hole{From: midnight.Add(8*time.Hour + 30*time.Minute), To: lateNoon.Add(time.Minute)})
	return l, m
}

func settleNow(t *testing.T, l *lateHours, home *homeStatistics, m *meter) {
	t.Helper()
	now := lateNoon.Add(20 * time.Minute)
	if _, err := l.settle(context.Background(), home, m, m.copyRegisters(now), now); err != nil {
		t.Fatal(err)
	}
}

func TestLateHoursAreWrittenOnceAndForgotten(t *testing.T) {
	home := &fakeHome{unit: "kWh"}
	l, m := lateMeter(t, home)
	conn, hole := home.connect(t), m.registers.Holes[0]
	settleNow(t, l, conn, m)
	want := []string{"08: 109 8", "09: 110 9", "10: 111 10", "11: 112 11"}
	if diff := cmp.Diff(want, home.changes()); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	if len(m.registers.Holes) != 0 {
		t.Errorf("left open: %v", m.registers.Holes)
	}
	m.registers.hole(hole)
	settleNow(t, l, conn, m)
	if again := home.changes(); again != nil || len(m.registers.Holes) != 0 {
		t.Errorf("written again: %v, holes %v", again, m.registers.Holes)
	}
}

// Home Assistant answers before it has written: a sum that is shifted again
// meanwhile would be shifted twice.
func TestWhatIsWrittenIsReadBackBeforeItIsWrittenAgain(t *testing.T) {
	home := &fakeHome{unit: "kWh"}
	l, m := lateMeter(t, home)
	home.short[lateNoon.Add(5*time.Minute)] = [2]float64{112.1, 13.1}
	home.lag = 7
	conn := home.connect(t)
	settleNow(t, l, conn, m)
	settleNow(t, l, conn, m)
	want := []string{"12:05: shifted by -2", "08: 109 8", "09: 110 9", "10: 111 10", "11: 112 11"}
	if diff := cmp.Diff(want, home.changes()); diff != "" || len(m.registers.Holes) != 0 {
		t.Errorf("holes %v, written (-want +got):\n%s", m.registers.Holes, diff)
	}
}

func TestAUnitOfHomeAssistantsIsKept(t *testing.T) {
	home := &fakeHome{unit: "MWh"}
	l, m := lateMeter(t, home)
	for start, row := range home.hours {
		home.hours[start] = [2]float64{row[0] / 1000, row[1] / 1000}
	}
	home.short[lateNoon.Add(5*time.Minute)] = [2]float64{0.1121, 0.0111}
	settleNow(t, l, home.connect(t), m)
	want := []string{"08: 0.109 0.008", "09: 0.11 0.009", "10: 0.111 0.01", "11: 0.112 0.011"}
	if diff := cmp.Diff(want, home.changes()); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

func TestAStatisticThatCannotBeWrittenIsLeftAlone(t *testing.T) {
	for name, home := range map[string]*fakeHome{
		"in a unit of another kind":         {unit: "GJ"},
		"of an entity that is switched off": {unit: "kWh", disabled: true},
	} {
		t.Run(name, func(t *testing.T) {
			l, m := lateMeter(t, home)
			settleNow(t, l, home.connect(t), m)
			if wrote := home.changes(); wrote != nil {
				t.Errorf("written: %v", wrote)
			}
		})
	}
}

func TestAnExchangeIsCorrectedOnceItIsCompiled(t *testing.T) {
	home := &fakeHome{unit: "kWh"}
	l, m := lateMeter(t, home)
	m.registers.Holes = nil
	at := lateNoon.Add(12 * time.Minute)
	m.registers.exchanged("1-0:1.8.0", statistics.Exchange{At: at, Old: drivers.NewDecimal(112_200, -3), New: drivers.NewDecimal(30, 0)})
	conn := home.connect(t)
	settleNow(t, l, conn, m)
	if wrote := home.changes(); wrote != nil {
		t.Errorf("corrected before it was compiled: %v", wrote)
	}
	home.mu.Lock()
	home.short[lateNoon.Add(10*time.Minute)] = [2]float64{30.1, 11.1 + 30.1}
	home.mu.Unlock()
	settleNow(t, l, conn, m)
	if wrote := home.changes(); len(wrote) != 1 || !strings.HasPrefix(wrote[0], "12:10: shifted by -29.9") {
		t.Errorf("corrected: %v", wrote)
	}
	settleNow(t, l, conn, m)
	if wrote := home.changes(); wrote != nil || len(m.registers.Exchanges) != 0 {
		t.Errorf("corrected again: %v, left %v", wrote, m.registers.Exchanges)
	}
}

// Whoever was away leaves a hole in each meter's hours, whatever the readings did.
func TestWhoWasAwayLeavesAHole(t *testing.T) {
	l, m := lateMeter(t, &fakeHome{})
	m.registers.Holes = nil
	l.brokerIs(true, lateNoon) // for the first time: nothing is known of before
	l.brokerIs(false, lateNoon)
	l.brokerIs(false, lateNoon.Add(time.Minute))
	l.brokerIs(true, lateNoon.Add(3*time.Hour))
	want := []statistics.Hole{{From: lateNoon, To: lateNoon.Add(3 * time.Hour)}}
	if diff := cmp.Diff(want, m.registers.Holes); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// What a journal brings after a restart is dated by each value's own stamp.
func TestWhatTheJournalBringsIsDatedByItsStamps(t *testing.T) {
	m := lonely(t)
	m.registers = &registers{}
	r := drivers.Reading{
		Received: lateNoon.Add(7 * time.Minute), Check: drivers.CheckCRC16,
		Time:     drivers.Stamp{Wall: lateNoon.Add(7*time.Minute - time.Second), Zoned: true},
		Channels: []drivers.Channel{{Number: 1, Meter: drivers.Identity{Medium: "gas"}}},
		Values: []drivers.Value{
			{Code: obis.MustParse("1-0:1.8.0"), Name: "energy_import", Unit: "kWh", Number: drivers.NewDecimal(5_000, -3)},
			{
				Code: obis.MustParse("0-1:24.2.1"), Name: "volume", Unit: "m³", Number: drivers.NewDecimal(88_120, -3),
				Channel: 1, Time: drivers.Stamp{Wall: lateNoon, Zoned: true},
			},
		},
	}
	m.accept(&r)
	payload := m.forHistory(m.picture.appendJSON(nil))
	if got := field(string(payload), "times"); got != `{"0-1:24.2.1":"2026-11-20T12:00:00Z"}` {
		t.Errorf("times %s of %s", got, payload)
	}
	want := m.copyRegisters(lateNoon).Logs
	m.registers = &registers{}
	m.keepLate(journal.Entry{Meter: "main", Received: r.Received, Payload: payload})
	if diff := cmp.Diff(want, m.registers.Logs); diff != "" || len(want) != 2 || len(m.registers.Holes) != 1 {
		t.Errorf("holes %v, -live +late\n%s", m.registers.Holes, diff)
	}
	if h := want["0-1:24.2.1"].Hours; len(h) != 1 || !h[0].End().Equal(lateNoon) {
		t.Errorf("the gas is in %v", h)
	}
	m.keepLate(journal.Entry{Meter: "main", Received: r.Received, Payload: []byte("of an older program")})
}

func TestWithoutATokenItIsSaidOnce(t *testing.T) {
	t.Setenv("SUPERVISOR_TOKEN", "")
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, p1Meter("main", m.port(), ""))
	g.start()
	m.say(telegram("1-0:1.8.0(000001.000*kWh)"))
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "1.000")
	g.stop()
	if n := strings.Count(g.log.String(), "stay missing in Home Assistant's statistics"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestWhatWaitsOutlivesARestart(t *testing.T) {
	l, m := lateMeter(t, &fakeHome{})
	dir := t.TempDir()
	l.state = func() *state { return &state{dir: dir} }
	l.brokerIs(false, lateNoon)
	want := mustJSON(m.copyRegisters(lateNoon))
	l.save(lateNoon)
	again, fresh := lateMeter(t, &fakeHome{})
	fresh.registers = &registers{}
	again.state = l.state
	again.recall([]*meter{fresh})
	if diff := cmp.Diff(string(want), string(mustJSON(fresh.copyRegisters(lateNoon)))); diff != "" || !again.away[brokerAway].Equal(lateNoon) {
		t.Errorf("away %v, -saved +recalled\n%s", again.away, diff)
	}
	if !json.Valid(want) {
		t.Errorf("%s", want)
	}
}
