package web

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	prometheus "github.com/VictoriaMetrics/metrics"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// withTypes lets the library say which metric is a counter. It is a switch of the
// whole library.
var withTypes = sync.OnceFunc(func() { prometheus.ExposeMetadata(true) })

// metrics answers in Prometheus' text form (0.0.4). docs/container.md says what
// each metric means.
func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	withTypes()
	g := s.Status()
	m := measures{prometheus.NewSet()}
	m.gateway(&g)
	for i := range g.Meters {
		m.meter(&g.Meters[i], time.Now())
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m.set.WritePrometheus(w)
	prometheus.WriteProcessMetrics(w)
}

// measures are the metrics of one look at the gateway, so that they fit together.
type measures struct{ set *prometheus.Set }

func (m measures) gateway(g *status.Gateway) {
	m.gauge("info", 1, "version", g.Version)
	m.gauge("healthy", oneIf(g.Healthy()))
	m.gauge("start_time_seconds", unix(g.Started))
	m.gauge("broker_connected", oneIf(g.Broker))
	m.gauge("journal_readings", float64(g.Journal.Waiting))
	m.gauge("journal_bytes", float64(g.Journal.Bytes))
	m.count("journal_dropped_total", g.Journal.Dropped)
}

// lineStates are all that a line can be in.
var lineStates = []transport.State{transport.LineOpening, transport.LineOpen, transport.LineWaiting, transport.LineClosed}

func (m measures) meter(s *status.Meter, now time.Time) {
	m.gauge("meter_online", oneIf(s.Online), "meter", s.Name, "driver", s.Driver)
	for _, state := range lineStates {
		m.gauge("line_state", oneIf(state == s.Line), "meter", s.Name, "state", string(state))
	}
	m.count("telegrams_total", s.Good, "meter", s.Name)
	for _, cause := range status.Causes {
		m.count("telegrams_refused_total", s.Refused[cause], "meter", s.Name, "cause", string(cause))
	}
	m.count("totals_held_back_total", s.HeldBack, "meter", s.Name)
	if s.RoundTrip > 0 {
		m.gauge("round_trip_seconds", s.RoundTrip.Seconds(), "meter", s.Name)
	}
	if !s.Last.IsZero() {
		m.gauge("last_reading_timestamp_seconds", unix(s.Last), "meter", s.Name)
		m.gauge("last_reading_age_seconds", now.Sub(s.Last).Seconds(), "meter", s.Name)
	}
}

func (m measures) gauge(name string, v float64, labels ...string) {
	m.set.GetOrCreateGauge(series(name, labels), nil).Set(v)
}

func (m measures) count(name string, n uint64, labels ...string) {
	m.set.GetOrCreateCounter(series(name, labels)).Set(n)
}

// series is a metric's name with its labels, given as name, value, name, value.
func series(name string, labels []string) string {
	name = "meter2mqtt_" + name
	if len(labels) == 0 {
		return name
	}
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+"="+strconv.Quote(labels[i+1]))
	}
	return name + "{" + strings.Join(pairs, ",") + "}"
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
