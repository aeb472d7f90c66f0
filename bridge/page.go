package bridge

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/bridge/web"
	"github.com/meter2mqtt/meter2mqtt/discovery"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Live is what the page shows. It may be called while Run runs.
func (b *Bridge) Live() web.Live {
	l := web.Live{Gateway: b.statusAlone(), Meters: []web.Meter{}}
	if l.Gateway.Problem != "" {
		return l // what hangs may hold the locks of all the rest
	}
	for _, m := range b.everyMeter() { // the two lists are of the same meters
		l.Gateway.Meters = append(l.Gateway.Meters, m.status())
		l.Meters = append(l.Meters, m.page())
	}
	l.Scan, l.Scanner = b.scanShown()
	return l
}

// page is what the page shows of a meter beside its status.
func (m *meter) page() web.Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := web.Meter{
		Port: m.config.Port.String(), Session: m.session, Identity: m.identity,
		Values: []web.Value{}, Trend: m.trend.shown(&m.picture, m.identity.Medium), Frames: m.lostFrames.kept(),
	}
	for i := range m.picture.entries {
		if e := &m.picture.entries[i]; !e.quantity.Logged {
			w.Values = append(w.Values, m.pageValue(e))
		}
	}
	slices.SortStableFunc(w.Values, func(a, b web.Value) int { return cmp.Compare(m.rank(a.Key), m.rank(b.Key)) })
	for _, p := range m.allowed() {
		w.Parameters = append(w.Parameters, m.pageParameter(p))
	}
	return w
}

func (m *meter) pageValue(e *entry) web.Value {
	v := web.Value{Key: e.quantity.Key, Unit: string(e.quantity.Unit), Label: discovery.Label(e.quantity, m.mediumOf(e.quantity.Channel))}
	if e.quantity.Channel != 0 {
		v.Of = fmt.Sprintf("channel %d", e.quantity.Channel)
	}
	if !e.stale {
		value := e.value()
		v.Text = plain(&value)
	}
	return v
}

func (m *meter) mediumOf(channel uint8) string {
	for _, c := range m.channels {
		if c.Number == channel {
			return c.Meter.Medium
		}
	}
	return m.identity.Medium
}

// rank puts what is paid for first, then what flows, then the rest of what is
// measured, then facts, and last what few people look at.
func (m *meter) rank(key string) int {
	i, _ := m.picture.indexOf(key)
	q := m.picture.entries[i].quantity
	if q.Code.IsZero() {
		return 3
	}
	e := obis.LookupMedium(q.Code, m.mediumOf(q.Channel), q.Unit)
	paid := slices.Contains([]obis.Dimension{obis.Energy, obis.GasVolume, obis.WaterVolume}, e.Dimension)
	switch {
	case e.Rare:
		return 5
	case e.Nature == obis.Total && paid && q.Code.E() == 0:
		return 0
	case e.Nature == obis.Total && paid:
		return 1
	case e.Nature == obis.Momentary && (e.Dimension == obis.Power || e.Dimension == obis.Flow):
		return 2
	case e.Nature == obis.Momentary:
		return 3
	}
	return 4
}

func (m *meter) pageParameter(p drivers.Parameter) web.Parameter {
	i := parameterInfoOf(p, true)
	w := web.Parameter{
		Name: p.Name, Kind: i.Kind, Doc: p.Doc, Unit: i.Unit, Min: i.Min, Max: i.Max, Step: i.Step,
		Options: i.Options, Length: i.MaxLen,
	}
	if p.Access&drivers.Pressable != 0 && p.Access&drivers.Writable == 0 {
		w.Kind = "press"
	}
	if !p.Secret {
		w.Text = m.shown[p.Name]
	}
	return w
}

// Frames are the refused frames of a meter, the newest first, each explained.
func (b *Bridge) Frames(name string) (refused []web.Frame, known bool) {
	m := b.meterNamed(name)
	if m == nil {
		return nil, false
	}
	frames := []web.Frame{}
	for _, f := range slices.Backward(m.refusedFrames()) {
		frames = append(frames, m.explained(f))
	}
	return frames, true
}

func (m *meter) refusedFrames() []refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lostFrames.copies()
}

func (m *meter) explained(r refusal) web.Frame {
	f := web.Frame{At: r.at, Why: r.frame.Error(), Hint: drivers.Hint(&r.frame), Hex: hex.EncodeToString(r.own())}
	if explain := m.config.Driver.Explain; explain != nil {
		spans, err := explain(m.config.Options, zonesOf(m), r.own())
		if err != nil {
			m.log.Debug().Err(err).Msg("refused frame not explained")
		}
		f.Spans = spans
	}
	return f
}

// Command writes a Parameter for the page: the way of BASE/METER/set/PARAMETER,
// with the same checks, result and trace.
func (b *Bridge) Command(ctx context.Context, c web.Command) (json.RawMessage, error) {
	m := b.meterNamed(c.Meter)
	if m == nil {
		return nil, fmt.Errorf("there is no meter %q", shown(c.Meter))
	}
	answered := make(chan Result, 1)
	m.receive(&command{
		meter: m, name: c.Parameter, write: true, by: "page",
		told: func(r Result) { answered <- r },
	}, mqttlink.Received{Payload: mustJSON(map[string]string{"value": c.Value})})
	select {
	case r := <-answered:
		return mustJSON(r), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// scanShown is how far the last search has come, and what can be searched.
func (b *Bridge) scanShown() (json.RawMessage, *web.Scanner) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var scanner *web.Scanner
	for _, d := range all.Drivers {
		if d.Scan == nil {
			continue
		}
		if ports := b.portsOf(d.Name); len(ports) > 0 {
			scanner = &web.Scanner{Driver: d.Name, Ports: ports, Ways: d.Ways}
			break
		}
	}
	if b.job == nil {
		return nil, scanner
	}
	return b.job.shown(), scanner
}

// portsOf are the lines of a driver.
func (b *Bridge) portsOf(driver string) []string {
	var ports []string
	for _, l := range b.byKey {
		if c := l.meters[0].config; c.Driver.Name == driver {
			ports = append(ports, c.Port.String())
		}
	}
	slices.Sort(ports)
	return ports
}

// searched is how far a search has come, for the page.
type searched struct {
	scanResponse

	Left   int    `json:"left,omitempty"` // seconds, about
	Tables string `json:"config,omitempty"`
}

// shown is the search as the page shows it.
func (j *scanJob) shown() json.RawMessage {
	j.mu.Lock()
	defer j.mu.Unlock()
	return mustJSON(searched{scanResponse: j.newest, Left: j.left(), Tables: strings.Join(j.configs, "\n")})
}
