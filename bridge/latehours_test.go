package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
	gocmp "github.com/google/go-cmp/cmp"
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
	refuses  string   // the request that is answered with an error
	state    string   // of the start: RUNNING if empty
	version  string   // "": one that is known
	lag      int      // how many looks at the rows come before a change shows
	late     []func() // changes that do not show yet
}

func (h *fakeHome) isRefused(request any) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return request == h.refuses
}

// refuse has a request answered with an error, "" none.
func (h *fakeHome) refuse(request string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuses = request
}

// answer is the result of a request.
func (h *fakeHome) answer(r map[string]any) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r["type"] {
	case "get_config":
		return map[string]string{"state": cmp.Or(h.state, "RUNNING")}
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

// serve puts it on a WebSocket, for whoever has the token "x".
func (h *fakeHome) serve(t *testing.T) (url string) {
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
		verdict := map[string]string{"type": "auth_ok", "ha_version": cmp.Or(h.version, "2026.11.0")}
		if message["access_token"] != "x" {
			verdict["type"] = "auth_invalid"
		}
		_ = wsjson.Write(r.Context(), ws, verdict)
		for {
			message = nil
			if wsjson.Read(r.Context(), ws, &message) != nil {
				return
			}
			answer := map[string]any{"id": message["id"], "type": "result", "success": true}
			if h.isRefused(message["type"]) {
				answer["success"], answer["error"] = false, map[string]string{"code": "home_assistant_error", "message": "the database is locked"}
			} else {
				answer["result"] = h.answer(message)
			}
			_ = wsjson.Write(r.Context(), ws, answer)
		}
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// connect logs in to it.
func (h *fakeHome) connect(t *testing.T) *homeStatistics {
	t.Helper()
	conn, err := socket.Dial(t.Context(), h.serve(t), drivers.NewSecret("x"))
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
	if diff := gocmp.Diff(want, home.changes()); diff != "" {
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
	if diff := gocmp.Diff(want, home.changes()); diff != "" || len(m.registers.Holes) != 0 {
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
	if diff := gocmp.Diff(want, home.changes()); diff != "" {
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
	if diff := gocmp.Diff(want, m.registers.Holes); diff != "" {
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
	if diff := gocmp.Diff(want, m.registers.Logs); diff != "" || len(want) != 2 || len(m.registers.Holes) != 1 {
		t.Errorf("holes %v, -live +late\n%s", m.registers.Holes, diff)
	}
	if h := want["0-1:24.2.1"].Hours; len(h) != 1 || !h[0].End().Equal(lateNoon) {
		t.Errorf("the gas is in %v", h)
	}
	m.keepLate(journal.Entry{Meter: "main", Received: r.Received, Payload: []byte("of an older program")})
}

// What Home Assistant refuses stays to be done, and is told with the request.
func TestARefusalOfHomeAssistantsLeavesTheHoleOpen(t *testing.T) {
	for _, request := range []string{
		"config/entity_registry/list", "recorder/get_statistics_metadata", "recorder/statistics_during_period",
		"recorder/import_statistics", "recorder/adjust_sum_statistics",
	} {
		t.Run(request, func(t *testing.T) {
			home := &fakeHome{unit: "kWh", refuses: request}
			l, m := lateMeter(t, home)
			home.short[lateNoon.Add(5*time.Minute)] = [2]float64{112.1, 13.1} // a sum that is to be shifted, too
			now := lateNoon.Add(20 * time.Minute)
			_, err := l.settle(t.Context(), home.connect(t), m, m.copyRegisters(now), now)
			refusal, ok := errors.AsType[*socket.Error](err)
			if !ok || refusal.Message != "the database is locked" || !strings.Contains(err.Error(), request) {
				t.Errorf("got %v", err)
			}
			if len(m.registers.Holes) != 1 {
				t.Errorf("holes %v", m.registers.Holes)
			}
		})
	}
}

// A fault is told once a meter, until it has passed.
func TestAFaultIsToldOnceUntilItHasPassed(t *testing.T) {
	home := &fakeHome{unit: "kWh", refuses: "config/entity_registry/list"}
	l, m := lateMeter(t, home)
	var log brokertest.Log
	l.log = zerolog.New(&log)
	conn := home.connect(t)
	hole := m.registers.Holes[0]
	now := lateNoon
	look := func() {
		now = now.Add(longestWait)
		m.registers.touched = lateNoon
		l.look(t.Context(), conn, now)
	}
	look()
	look()
	if n := strings.Count(log.String(), "cannot be put into"); n != 1 || !strings.Contains(log.String(), "the database is locked") {
		t.Errorf("told %d times: %s", n, log.String())
	}
	home.refuse("")
	look()
	if len(m.registers.Holes) != 0 || len(home.changes()) != 4 {
		t.Errorf("holes %v", m.registers.Holes)
	}
	home.refuse("config/entity_registry/list")
	m.registers.hole(hole)
	look()
	if n := strings.Count(log.String(), "cannot be put into"); n != 2 {
		t.Errorf("told %d times after it had passed: %s", n, log.String())
	}
}

// A meter is left alone while values still come in, when nothing is to be done, and
// until its next look is due.
func TestAMeterIsLookedAtWhenItIsCalmAndDue(t *testing.T) {
	_, m := lateMeter(t, &fakeHome{})
	now := lateNoon.Add(time.Hour)
	m.registers.touched, m.registers.looked = lateNoon, lateNoon.Add(time.Minute)
	for name, c := range map[string]struct {
		now, due time.Time
		change   func(g *registers)
		want     bool
	}{
		"due":                       {now, now, func(*registers) {}, true},
		"not due":                   {now, now.Add(time.Second), func(*registers) {}, false},
		"something came since":      {now, now.Add(time.Hour), func(g *registers) { g.touched = now.Add(-2 * calm) }, true},
		"values are still coming":   {now, now, func(g *registers) { g.touched = now.Add(-calm / 2) }, false},
		"there is nothing to do":    {now, now, func(g *registers) { g.Holes = nil }, false},
		"only an exchange is there": {now, now, func(g *registers) { g.Holes, g.Exchanges = nil, map[string][]statistics.Exchange{"x": {{}}} }, true},
	} {
		g := *m.registers
		kept := m.registers
		m.registers = &g
		c.change(m.registers)
		if got := m.hasLateHours(c.now, c.due); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
		m.registers = kept
	}
}

// Which Home Assistant it is, and whether it lets us in, is found out before it is
// asked for anything.
func TestAHomeAssistantThatIsOfNoUseIsToldWithItsRemedy(t *testing.T) {
	for name, c := range map[string]struct {
		home    *fakeHome
		token   string
		says    string
		givesUp bool // and does not try again
	}{
		"another token":              {&fakeHome{}, "canary", "refuses the token", false},
		"older than is known":        {&fakeHome{version: "2020.1.0"}, "x", `"2020.1.0": its statistics are understood from`, true},
		"a version that is none":     {&fakeHome{version: "soon"}, "x", `"soon": its statistics are understood from`, true},
		"one that tells no progress": {&fakeHome{refuses: "get_config"}, "x", "get_config: home assistant: home_assistant_error", false},
	} {
		t.Run(name, func(t *testing.T) {
			l, m := lateMeter(t, c.home)
			var log brokertest.Log
			l.log, l.url, l.token = zerolog.New(&log), c.home.serve(t), drivers.NewSecret(c.token)
			err := l.connected(t.Context(), func() { t.Error("called healthy") })
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "canary") {
				t.Fatalf("got %v", err)
			}
			if errors.Is(err, statistics.ErrVersion) != c.givesUp {
				t.Errorf("got %v", err)
			}
			if c.givesUp {
				l.run(t.Context())
				if got := log.String(); !strings.Contains(got, "update Home Assistant") || !strings.Contains(got, "left alone") {
					t.Errorf("logged %s", got)
				}
			}
			if len(m.registers.Holes) == 0 {
				t.Error("the hole is forgotten")
			}
		})
	}
}

func TestWithoutATokenItIsSaidOnce(t *testing.T) {
	t.Setenv("SUPERVISOR_TOKEN", "")
	b, m, g := atWork(t)
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
	if diff := gocmp.Diff(string(want), string(mustJSON(fresh.copyRegisters(lateNoon)))); diff != "" || !again.away[brokerAway].Equal(lateNoon) {
		t.Errorf("away %v, -saved +recalled\n%s", again.away, diff)
	}
	if !json.Valid(want) {
		t.Errorf("%s", want)
	}
}
