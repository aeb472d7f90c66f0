package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/meter2mqtt/meter2mqtt/bridge/browser"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// home is a house with an electricity meter, a gas meter behind it and a water
// meter on a line of its own, since the day before yesterday.
type home struct {
	t         *testing.T
	zone      *time.Location
	began     time.Time
	yesterday time.Time // its midnight
	mains     *sim.DSMR
	read      drivers.Decoder
}

func newHome(t *testing.T) *home {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := p1.Driver.NewDecoder(p1.Driver.NewConfig(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	y, m, d := time.Now().In(zone).Date()
	began := time.Date(y, m, d-2, 0, 0, 0, 0, zone)
	return &home{
		t: t, zone: zone, began: began, yesterday: time.Date(y, m, d-1, 0, 0, 0, 0, zone),
		mains: sim.NewDSMR(7, began), read: decoder,
	}
}

// litresOf is what a family uses in each hour of a day.
var litresOf = [24]int64{0, 0, 0, 0, 0, 4, 38, 61, 22, 6, 4, 3, 9, 5, 3, 4, 8, 21, 34, 17, 9, 12, 26, 6}

// litres is what the water meter shows.
func (h *home) litres(at time.Time) int64 {
	total := int64(412_380)
	for hour := h.began; hour.Before(at); hour = hour.Add(time.Hour) {
		part := min(time.Hour, at.Sub(hour))
		total += litresOf[hour.In(h.zone).Hour()] * int64(part/time.Second) / 3600
	}
	return total
}

// water is a meter that is asked, with one register.
func (h *home) water() sim.MBusSlave {
	return sim.MBusSlave{
		Primary: 1, Address: sim.MBusBuilding(1)[1].Address,
		Records: func(now time.Time) [][]mbus.DataRecord {
			volume := mbus.DataRecord{VIB: []byte{0x13}} // l
			if err := volume.SetBCD(h.litres(now), 4); err != nil {
				h.t.Error(err)
			}
			return [][]mbus.DataRecord{{volume}}
		},
	}
}

// telegram is what the electricity meter says now.
func (h *home) telegram() []byte { return h.said(time.Now()) }

func (h *home) said(at time.Time) []byte {
	b, err := h.mains.Telegram(at)
	if err != nil {
		h.t.Error(err)
	}
	return b
}

// shows are the registers at a moment, by the ends of their entities' unique ids.
func (h *home) shows(at time.Time) map[string]drivers.Decimal {
	h.t.Helper()
	h.read.Feed(h.said(at))
	var r drivers.Reading
	if err := h.read.Next(&r); err != nil {
		h.t.Fatal(err)
	}
	by := map[string]drivers.Decimal{}
	for _, v := range r.Values {
		by[v.Code.String()] = v.Number
	}
	sum := func(a, b string) drivers.Decimal {
		d, err := by[a].Add(by[b])
		if err != nil {
			h.t.Fatal(err)
		}
		return d
	}
	return map[string]drivers.Decimal{
		"mains_1_0_1_8_0":      sum("1-0:1.8.1", "1-0:1.8.2"),
		"mains_1_0_2_8_0":      sum("1-0:2.8.1", "1-0:2.8.2"),
		"mains_ch1_0_1_24_2_1": by["0-1:24.2.1"],
		"water_8_0_1_0_0":      drivers.NewDecimal(h.litres(at), -3),
	}
}

// hour is a row of Home Assistant's statistics.
type hour struct {
	Start time.Time       `json:"start"`
	State drivers.Decimal `json:"state"`
	Sum   drivers.Decimal `json:"sum"`
}

// past is each register hour by hour, until now: as Home Assistant has it of a
// gateway that ran all the time. The meters go through it once.
func (h *home) past() map[string][]hour {
	h.t.Helper()
	first := h.shows(h.began)
	rows := map[string][]hour{}
	for start := h.began; !start.Add(time.Hour).After(time.Now()); start = start.Add(time.Hour) {
		for id, state := range h.shows(start.Add(time.Hour)) {
			sum, err := state.Sub(first[id])
			if err != nil {
				h.t.Fatal(err)
			}
			rows[id] = append(rows[id], hour{start.UTC(), state, sum})
		}
	}
	return rows
}

// usedYesterday is what a register counted then.
func (h *home) usedYesterday(rows []hour) float64 {
	begin, end := h.yesterday.Add(-time.Hour), h.yesterday.AddDate(0, 0, 1).Add(-time.Hour)
	used := 0.0
	for _, r := range rows {
		if r.Start.Equal(begin) {
			used -= r.Sum.Float64()
		}
		if r.Start.Equal(end) {
			used += r.Sum.Float64()
		}
	}
	return used
}

// serveLine lets meters answer at a TCP port, until the test ends.
func serveLine(t *testing.T, slaves ...sim.MBusSlave) (port string) {
	t.Helper()
	line, err := sim.NewMBus(sim.Options{}, slaves...)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := sim.Listen(t.Context(), "tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, unplug := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = listener.Serve(ctx, line.Serve) })
	t.Cleanup(func() {
		unplug()
		done.Wait()
		_ = listener.Close()
	})
	return listener.Addr()
}

// ws asks Home Assistant's WebSocket API.
func (o *Oracle) ws(t *testing.T, into any, kind string, fields map[string]any) {
	t.Helper()
	message := map[string]any{"type": kind}
	maps.Copy(message, fields)
	if err := o.ha.ask(into, "ws", string(asJSON(message))); err != nil {
		t.Fatal(err)
	}
}

// entityIDs waits until Home Assistant shows entities with a number, and gives
// their ids by what their unique ids end in.
func (o *Oracle) entityIDs(t *testing.T, gateway *Process, ends ...string) map[string]string {
	t.Helper()
	ids := map[string]string{}
	o.Until(t, func() error {
		s, err := o.snapshot()
		if err != nil {
			return err
		}
		errs := []error{gateway.Running()}
		for _, end := range ends {
			e, ok := s.entity("meter2mqtt_" + end)
			if _, err := strconv.ParseFloat(s.state(e).State, 64); !ok || err != nil {
				errs = append(errs, fmt.Errorf("%s shows %q", end, s.state(e).State))
			}
			ids[end] = e.EntityID
		}
		return errors.Join(errs...)
	})
	return ids
}

// seed gives Home Assistant the hours of the home.
func (h *home) seed(o *Oracle, ids map[string]string, past map[string][]hour) {
	h.t.Helper()
	units := map[string][2]string{"mains_ch1_0_1_24_2_1": {"m³", "volume"}, "water_8_0_1_0_0": {"m³", "volume"}}
	for id, rows := range past {
		unit := units[id]
		if unit[0] == "" {
			unit = [2]string{"kWh", "energy"}
		}
		o.ws(h.t, nil, "recorder/import_statistics", map[string]any{"stats": rows, "metadata": map[string]any{
			"source": "recorder", "statistic_id": ids[id], "name": nil, "has_sum": true, "mean_type": 0,
			"unit_class": unit[1], "unit_of_measurement": unit[0],
		}})
	}
}

// setUpEnergy does what a person does on the page Settings, Energy.
func setUpEnergy(t *testing.T, o *Oracle, ids map[string]string) {
	t.Helper()
	o.ws(t, nil, "energy/save_prefs", map[string]any{
		"energy_sources": []map[string]any{
			{
				"type": "grid", "stat_energy_from": ids["mains_1_0_1_8_0"], "stat_energy_to": ids["mains_1_0_2_8_0"],
				"stat_cost": nil, "entity_energy_price": nil, "number_energy_price": nil,
				"stat_compensation": nil, "entity_energy_price_export": nil, "number_energy_price_export": nil,
				"cost_adjustment_day": 0,
			},
			{"type": "gas", "stat_energy_from": ids["mains_ch1_0_1_24_2_1"], "stat_cost": nil, "entity_energy_price": nil, "number_energy_price": nil},
			{"type": "water", "stat_energy_from": ids["water_8_0_1_0_0"], "stat_cost": nil, "entity_energy_price": nil, "number_energy_price": nil},
		},
		"device_consumption": []any{}, "device_consumption_water": []any{},
	})
	t.Cleanup(func() {
		o.ws(t, nil, "energy/save_prefs", map[string]any{"energy_sources": []any{}, "device_consumption": []any{}, "device_consumption_water": []any{}})
	})
}

// issues are what Home Assistant has against the settings of its energy dashboard.
func issues(t *testing.T, o *Oracle) (all []json.RawMessage) {
	t.Helper()
	var answer struct {
		Sources [][]json.RawMessage `json:"energy_sources"`
	}
	o.ws(t, &answer, "energy/validate", nil)
	for _, source := range answer.Sources {
		all = append(all, source...)
	}
	return all
}

// login lets the browser in with a token, as the frontend keeps one, and gives its
// scripts a way through shadow roots.
func login(h *homeAssistant, token string) chromedp.Action[chromedp.Void] {
	url := "http://127.0.0.1:" + strconv.Itoa(h.port)
	tokens := asJSON(map[string]any{
		"hassUrl": url, "clientId": url + "/", "expires": 4102444800000, "refresh_token": "", "access_token": token,
		"expires_in": 315360000, "token_type": "Bearer",
	})
	script := fmt.Sprintf(`
localStorage.setItem('hassTokens', %q);
localStorage.setItem('dockedSidebar', '"always_hidden"');
function* nodes(root) {
  for (const e of root.querySelectorAll('*')) {
    yield e;
    if (e.shadowRoot) yield* nodes(e.shadowRoot);
  }
}
const everything = (selector) => [...nodes(document)].filter((e) => e.matches(selector) && e.getClientRects().length > 0);
const own = (e) => [...e.childNodes, ...e.shadowRoot?.childNodes ?? []].filter((n) => n.nodeType === 3 && n.textContent.trim() !== '');
const words = () => [...nodes(document.body)].filter((e) => !e.matches('style,script')).flatMap(own).map((n) => n.textContent.trim()).join('|');
`, tokens)
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		if err != nil {
			return err
		}
		_, err = cdp.Call(ctx, target, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Europe/Amsterdam"})
		if err != nil {
			return err
		}
		still := []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}
		_, err = cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: still})
		return err
	})
}

// said lets the browser wait until the page shows a number behind a name, to within
// the two decimals that it shows.
func said(name string, number float64) chromedp.Action[chromedp.Void] {
	return browser.Shows(fmt.Sprintf(`Math.abs(parseFloat(words().split(%q)[1]) - %f) < 0.006`, name, number))
}

// goBackTo lets the browser press the dashboard's arrow until it shows a day.
func goBackTo(day time.Time) chromedp.Action[chromedp.Void] {
	return browser.Shows(fmt.Sprintf(`(() => {
		const shown = everything('.header-title')[0]?.textContent.trim();
		if (shown?.startsWith(%q)) return true;
		if (shown && shown !== window.pressedAt) {
			window.pressedAt = shown;
			everything('.date-actions ha-icon-button')[0].click();
		}
		return false;
	})()`, day.Format("Jan 2")))
}

// drawn lets the browser wait until so many charts have something in them and have
// taken their place.
func drawn(charts int) chromedp.Action[chromedp.Void] {
	return browser.Shows(fmt.Sprintf(`(() => {
		const charts = everything('ha-chart-base'), canvases = everything('canvas');
		return charts.length === %d && charts.every((c) => c.data.some((s) => s.data?.length > 0)) &&
			canvases.length === charts.length && canvases.every((c) => c.getBoundingClientRect().width > 200);
	})()`, charts))
}

// atHome runs the gateway with the home's meters, and gives Home Assistant the past.
func atHome(t *testing.T, o *Oracle, h *home, past map[string][]hour) {
	t.Helper()
	gateway := o.Run(t, p1Config+p1Meter("mains", "Mains meter", plugInCounting(t, h.telegram, time.Second))+fmt.Sprintf(`
[[meter]]
name = "water"
label = "Water meter"
driver = "mbus"
port = %q
address = 1
every = "2s"
`, serveLine(t, h.water())))
	ids := o.entityIDs(t, gateway, slices.Collect(maps.Keys(past))...)
	h.seed(o, ids, past)
	setUpEnergy(t, o, ids)
	o.Until(t, func() error {
		if all := issues(t, o); len(all) > 0 {
			return fmt.Errorf("home assistant is not content: %s", all)
		}
		return nil
	})
}

// deviceOf is the page of a meter's device.
func deviceOf(t *testing.T, o *Oracle, uniqueID string) string {
	t.Helper()
	s, err := o.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	e, ok := s.entity(uniqueID)
	if !ok {
		t.Fatalf("no entity %s", uniqueID)
	}
	return "/config/devices/device/" + e.DeviceID
}

// The meters of a home are in Home Assistant's energy dashboard, with what they
// counted yesterday. This also makes the pictures of the page about it.
func TestTheEnergyDashboardShowsWhatTheMetersCounted(t *testing.T) {
	o := Start(t)
	ctx := browser.Chromium(t)
	h := newHome(t)
	past := h.past()
	atHome(t, o, h, past)
	imported, exported := h.usedYesterday(past["mains_1_0_1_8_0"]), h.usedYesterday(past["mains_1_0_2_8_0"])

	look := func(path string, width, height int64, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		before := []chromedp.Action[chromedp.Void]{
			chromedp.EmulateViewport(width, height),
			chromedp.Navigate("http://127.0.0.1:" + strconv.Itoa(o.ha.port) + path),
		}
		if err := chromedp.Do(ctx, append(before, steps...)...); err != nil {
			var there string
			_ = chromedp.Do(ctx, browser.Reads(&there, "words()")) // only helps to explain
			t.Fatalf("%s: %v\nthe page says %s", path, err, there)
		}
		var wrong []string
		err := chromedp.Do(ctx, browser.Reads(&wrong,
			`everything('hui-error-card,hui-warning,ha-alert[alert-type=error],ha-alert[alert-type=warning]').map((e) => e.textContent)`))
		if err != nil || len(wrong) > 0 {
			t.Errorf("%s: home assistant complains: %q, %v", path, wrong, err)
		}
	}
	if err := chromedp.Do(ctx, login(o.ha, o.ha.token(t))); err != nil {
		t.Fatal(err)
	}
	look(deviceOf(t, o, "meter2mqtt_mains_1_0_1_8_0"), 1000, 1205,
		browser.Shows(`/[0-9,]+\.[0-9]{3}\skWh\|Energy import\|/.test(words())`), browser.Shows(`words().includes('Voltage L3')`))
	browser.Picture(ctx, t, "energy-device")
	look("/config/energy", 1000, 900,
		browser.Shows(`words().includes('Mains meter Energy export')`),
		browser.Shows(`everything('.items-container ha-icon-button').length === 2`),
		browser.Shows(`(everything('.items-container ha-icon-button')[0].click(), true)`),
		browser.Shows(`words().includes('Energy export|Mains meter|')`))
	browser.Picture(ctx, t, "energy-settings")
	look("/energy/overview", 1100, 920,
		goBackTo(h.yesterday),
		said("Grid total|", imported-exported),
		said("Gas total|", h.usedYesterday(past["mains_ch1_0_1_24_2_1"])),
		said("Water total|", h.usedYesterday(past["water_8_0_1_0_0"])),
		drawn(3))
	browser.Picture(ctx, t, "energy-dashboard")
	look("/energy/electricity", 1100, 920,
		goBackTo(h.yesterday),
		said("Total energy imported: ", imported), said("Total energy exported: ", exported), drawn(1))
}
