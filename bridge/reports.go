package bridge

import (
	"io"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/report"
)

// Report writes what a person can send to whoever helps: package report says what
// is in it. It may be called while Run runs.
func (b *Bridge) Report(w io.Writer) error {
	var meters []report.Meter
	for _, m := range b.everyMeter() {
		meters = append(meters, m.report())
	}
	return report.Write(w, reportHead(b.config, b.options.Version, b.everyMeter()), meters)
}

// ReportConfig writes a report of a gateway that does not run: it has no frames.
func ReportConfig(w io.Writer, c config.Config, version string) error {
	var meters []*meter
	for _, mc := range c.Meters {
		meters = append(meters, &meter{config: mc})
	}
	head := reportHead(c, version, meters)
	head.Notes = append([]string{"the gateway does not run, so there are no frames"}, head.Notes...)
	return report.Write(w, head, nil)
}

// reportedMeter is a meter's part of the configuration.
type reportedMeter struct {
	Name     string            `json:"name"`
	Driver   string            `json:"driver"`
	Port     string            `json:"port"`
	Every    string            `json:"every,omitempty"`
	Timezone string            `json:"timezone,omitempty"`
	Options  map[string]string `json:"options,omitempty"`

	Maker   string         `json:"manufacturer,omitempty"`
	Version string         `json:"version,omitempty"`
	Medium  string         `json:"medium,omitempty"`
	Good    uint64         `json:"good"`
	Refused uint64         `json:"refused"`
	Kinds   map[string]int `json:"refused_kinds,omitempty"` // of the frames that are remembered
}

func reportHead(c config.Config, version string, meters []*meter) report.Head {
	told := struct {
		Broker    string          `json:"broker"`
		Discovery bool            `json:"discovery"`
		Meters    []reportedMeter `json:"meters"`
	}{Discovery: c.HomeAssistant.Discovery, Meters: []reportedMeter{}}
	// The name of somebody's host is nobody's business.
	if scheme, _, ok := strings.Cut(c.MQTT.URL, "://"); ok {
		told.Broker = scheme
	}
	for _, m := range meters {
		told.Meters = append(told.Meters, m.reported())
	}
	head := report.Head{Version: version, Made: time.Now().UTC().Truncate(time.Second), Config: told}
	for _, m := range told.Meters {
		if m.Options["key"] != "" {
			head.Notes = []string{"key and auth_key in options are stand-ins: they open the frames of this report, which were enciphered anew, and nothing that the meter sends"}
		}
	}
	return head
}

// reported is what is told of a meter beside its frames.
func (m *meter) reported() reportedMeter {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.config
	r := reportedMeter{
		Name: c.Name, Driver: c.Driver.Name, Port: string(c.Port.Scheme),
		Maker: m.identity.Manufacturer, Version: m.identity.Version, Medium: m.identity.Medium,
		Good: m.counts.good, Refused: m.counts.refused,
	}
	if c.Port.Mode.Baud > 0 {
		r.Port += " " + c.Port.Mode.String()
	}
	if c.Every > 0 {
		r.Every = c.Every.String()
	}
	if c.Timezone != nil {
		r.Timezone = c.Timezone.String()
	}
	r.Options, _ = report.Options(c.Options, c.Driver.NewConfig())
	for _, f := range m.lostFrames.copies() {
		if r.Kinds == nil {
			r.Kinds = map[string]int{}
		}
		r.Kinds[report.Kind(&f.frame)]++
	}
	return r
}

// report is the meter with its frames.
func (m *meter) report() report.Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.config
	_, hidden := report.Options(c.Options, c.Driver.NewConfig())
	hidden = append(hidden, m.identity.ID)
	for _, channel := range m.channels {
		hidden = append(hidden, channel.Meter.ID)
	}
	r := report.Meter{Name: c.Name, Driver: c.Driver, Options: c.Options, Zones: zonesOf(m), Hidden: hidden, Reads: m.counts.good > 0}
	for _, f := range m.lostFrames.copies() {
		r.Frames = append(r.Frames, report.Frame{At: f.at, Kind: report.Kind(&f.frame), From: f.from, Bytes: f.bytes})
	}
	return r
}

// hears sets the flight recorder of the meter's line.
func (m *meter) hears(f *flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flight = f
	m.lostFrames.hears(f)
}

// asks notes that what the line says next answers a question of ours. again: the
// last one had no answer of use.
func (m *meter) asks(again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if again {
		m.counts.retries++
	}
	m.lostFrames.begin(m.flight)
}
