package web

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// example is a gateway with a meter that is well heard and one that never was.
func example() status.Gateway {
	return status.Gateway{
		Version: `1.0 "rc"`, Started: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), Broker: true,
		Journal: status.Journal{Waiting: 7, Bytes: 4096, Dropped: 2},
		Meters: []status.Meter{
			{
				Name: "main", Label: "House <b>", Driver: "mbus", Online: true, Line: transport.LineOpen,
				Good: 12, Refused: map[status.Cause]uint64{status.Checksum: 3, status.Silent: 1}, HeldBack: 1,
				RoundTrip: 250 * time.Millisecond, Last: time.Now().Add(-90 * time.Second).Truncate(time.Second).UTC(),
			},
			{Name: "gas", Driver: "p1", Line: transport.LineWaiting},
		},
	}
}

func handlerOf(g status.Gateway) http.Handler {
	s := Server{Status: func() status.Gateway { return g }, Log: zerolog.Nop()}
	return s.handler()
}

func get(h http.Handler, path string, with ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, http.NoBody)
	for _, f := range with {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHealthTellsAllAndIsWellWhileOnlyOthersAreAway(t *testing.T) {
	g := example()
	g.Broker = false
	w := get(handlerOf(g), "/healthz")
	var got status.Gateway
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(g, got); w.Code != http.StatusOK || diff != "" {
		t.Errorf("code %d, -want +got\n%s", w.Code, diff)
	}
}

func TestHealthIsIllWhenTheGatewayMustBeRestarted(t *testing.T) {
	g := example()
	g.Problem = "journal stands still since 2m0s"
	if w := get(handlerOf(g), "/healthz"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), g.Problem) {
		t.Errorf("code %d: %s", w.Code, w.Body)
	}
}

func TestMetricsAreWhatPrometheusReads(t *testing.T) {
	w := get(handlerOf(example()), "/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(w.Body.String()))
	if err != nil {
		t.Fatalf("%v\n%s", err, w.Body)
	}
	for name, want := range map[string]map[string]float64{
		"meter2mqtt_info":                    {`version=1.0 "rc"`: 1},
		"meter2mqtt_healthy":                 {"": 1},
		"meter2mqtt_start_time_seconds":      {"": 1770091506},
		"meter2mqtt_broker_connected":        {"": 1},
		"meter2mqtt_journal_readings":        {"": 7},
		"meter2mqtt_journal_bytes":           {"": 4096},
		"meter2mqtt_journal_dropped_total":   {"": 2},
		"meter2mqtt_meter_online":            {"meter=main,driver=mbus": 1, "meter=gas,driver=p1": 0},
		"meter2mqtt_telegrams_total":         {"meter=main": 12, "meter=gas": 0},
		"meter2mqtt_totals_held_back_total":  {"meter=main": 1, "meter=gas": 0},
		"meter2mqtt_round_trip_seconds":      {"meter=main": 0.25},
		"meter2mqtt_line_state":              linesOf(t),
		"meter2mqtt_telegrams_refused_total": refusedOf(t),
	} {
		family := families[name]
		if family == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		got := map[string]float64{}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			got[strings.Join(labels, ",")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
	if age := families["meter2mqtt_last_reading_age_seconds"].GetMetric(); len(age) != 1 || age[0].GetGauge().GetValue() < 90 {
		t.Errorf("the age of the last reading is %v", age)
	}
}

// rowOfPage is a metric of docs/container.md, or several, with their labels.
var rowOfPage = regexp.MustCompile("(?m)^\\| ((?:`[a-z_]+`(?:, )?)+) \\| ?([a-z, ]*) \\| (.*) \\|$")

// The page names every metric with its labels, and no other; of labels with few
// values all of these.
func TestThePageOnMetricsIsRight(t *testing.T) {
	content, err := os.ReadFile("../../docs/container.md")
	if err != nil {
		t.Fatal(err)
	}
	page, meaning := map[string]string{}, map[string]string{}
	for _, row := range rowOfPage.FindAllStringSubmatch(string(content), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			page["meter2mqtt_"+strings.Trim(name, "`")] = strings.TrimSpace(row[2])
			meaning[strings.Trim(name, "`")] = row[3]
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(get(handlerOf(example()), "/metrics").Body)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]string{}
	for name, family := range families {
		var labels []string
		for _, l := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if strings.HasPrefix(name, "meter2mqtt_") {
			given[name] = strings.Join(labels, ", ")
		}
	}
	if diff := cmp.Diff(page, given); diff != "" {
		t.Errorf("-the page +what is served\n%s", diff)
	}
	for _, state := range lineStates {
		if !strings.Contains(meaning["line_state"], string(state)) {
			t.Errorf("the page has no state %q", state)
		}
	}
	for _, cause := range status.Causes {
		if !strings.Contains(meaning["telegrams_refused_total"], string(cause)) {
			t.Errorf("the page has no cause %q", cause)
		}
	}
}

func linesOf(t *testing.T) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, s := range lineStates {
		all["meter=main,state="+string(s)], all["meter=gas,state="+string(s)] = 0, 0
	}
	all["meter=main,state=open"], all["meter=gas,state=waiting"] = 1, 1
	return all
}

func refusedOf(t *testing.T) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, c := range status.Causes {
		all["meter=main,cause="+string(c)], all["meter=gas,cause="+string(c)] = 0, 0
	}
	all["meter=main,cause=checksum"], all["meter=main,cause=timeout"] = 3, 1
	return all
}

func TestMetricsAreNamedAsPrometheusAdvises(t *testing.T) {
	var ours strings.Builder
	for line := range strings.Lines(get(handlerOf(example()), "/metrics").Body.String()) {
		if strings.Contains(line, "meter2mqtt_") {
			ours.WriteString(line)
		}
	}
	problems, err := promlint.New(strings.NewReader(ours.String())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.Text != "no help text" {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestDoors(t *testing.T) {
	login := Login("ann", drivers.NewSecret(canary.PagePassword+":ü"))
	from := func(address string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = address } }
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	as := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	nobody := func(*http.Request) {}
	for name, c := range map[string]struct {
		guard func(http.Handler) http.Handler
		who   func(*http.Request)
		want  int
	}{
		"login: the right password":        {login, as("ann", canary.PagePassword+":ü"), 200},
		"login: a wrong password":          {login, as("ann", canary.PagePassword), 401},
		"login: another user":              {login, as("bob", canary.PagePassword+":ü"), 401},
		"login: nobody":                    {login, nobody, 401},
		"local: by its address":            {Local, host("127.0.0.1:8099"), 200},
		"local: by its name":               {Local, host("localhost"), 200},
		"local: by IPv6":                   {Local, host("[::1]:8099"), 200},
		"local: a name that leads here":    {Local, host("evil.example:8099"), 403},
		"local: an address of the network": {Local, host("192.168.1.5"), 403},
		"ingress: the supervisor":          {Ingress, from("172.30.32.2:40000"), 200},
		"ingress: the supervisor, mapped":  {Ingress, from("[::ffff:172.30.32.2]:40000"), 200},
		"ingress: its own container":       {Ingress, from("127.0.0.1:40000"), 200},
		"ingress: another app":             {Ingress, from("172.30.33.4:40000"), 403},
		"ingress: no address at all":       {Ingress, from("@"), 403},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/", "/healthz", "/metrics", "/style.css"} {
				if w := get(c.guard(handlerOf(example())), path, c.who); w.Code != c.want {
					t.Errorf("%s: code %d, want %d", path, w.Code, c.want)
				}
			}
		})
	}
}

// serve runs a server behind doors until the test ends.
func serve(t *testing.T, doors ...Door) {
	t.Helper()
	s := Server{Status: example, Log: zerolog.Nop()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, doors) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestServerAnswersAtEveryDoorAndEndsWithItsContext(t *testing.T) {
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	guarded, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, Door{Listener: open}, Door{Listener: guarded, Guard: Login("ann", drivers.NewSecret("x"))})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for address, want := range map[string]int{open.Addr().String(): 200, guarded.Addr().String(): 401} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/healthz", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: code %d, want %d", address, answer.StatusCode, want)
		}
	}
}

func TestSocketIsTheOwnersAlone(t *testing.T) {
	for name, dir := range map[string]string{
		"a short path":                           t.TempDir(),
		"a path that is too long for the kernel": filepath.Join(t.TempDir(), strings.Repeat("folder", 20)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, socketName), nil, 0o600); err != nil { // of a gateway that was killed
				t.Fatal(err)
			}
			listener, err := ListenSocket(dir)
			if err != nil {
				t.Fatal(err)
			}
			serve(t, Door{Listener: listener})
			info, err := os.Stat(filepath.Join(dir, socketName))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != os.ModeSocket|0o600 {
				t.Errorf("mode %v", info.Mode())
			}
			g, err := Ask(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if g.Version != example().Version || len(g.Meters) != 2 {
				t.Errorf("got %+v", g)
			}
		})
	}
}

func TestAskingWhereNoGatewayRunsSaysSo(t *testing.T) {
	_, err := Ask(t.Context(), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "no gateway runs") || drivers.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestClosedSocketIsTakenAway(t *testing.T) {
	dir := t.TempDir()
	listener, err := ListenSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, socketName)); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}
