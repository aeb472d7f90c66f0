package web

import (
	_ "embed"
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
)

//go:embed style.css
var style []byte

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(style) // a visitor who has gone hears nothing
}

// page shows the gateway and its meters. Its links are relative: ingress puts it
// below a path of its own.
func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	g := s.Status()
	var b strings.Builder
	b.WriteString(`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>meter2mqtt</title>` +
		`<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="10">` +
		`<link rel="stylesheet" href="style.css"></head><body><main><h1>meter2mqtt</h1>`)
	writeGateway(&b, &g)
	writeMeters(&b, g.Meters, time.Now())
	b.WriteString(`</main></body></html>`)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(b.String())) // a visitor who has gone hears nothing
}

func writeGateway(b *strings.Builder, g *status.Gateway) {
	state := "The broker is connected."
	switch {
	case !g.Healthy():
		state = "The gateway must be restarted: " + g.Problem + "."
	case !g.Broker:
		state = "The broker is away. Readings wait until it is back; the log says why."
	}
	fmt.Fprintf(b, `<p>%s</p><p>Version %s, running since %s. %d readings wait for the broker.</p>`,
		html.EscapeString(state), html.EscapeString(g.Version),
		html.EscapeString(g.Started.UTC().Format("2 January 2006 15:04 MST")), g.Journal.Waiting)
}

func writeMeters(b *strings.Builder, meters []status.Meter, now time.Time) {
	b.WriteString(`<table><thead><tr>`)
	for _, head := range []string{"Meter", "State", "Line", "Last telegram", "Good", "Refused", "Held back"} {
		fmt.Fprintf(b, `<th scope="col">%s</th>`, head)
	}
	b.WriteString(`</tr></thead><tbody>`)
	for i := range meters {
		writeMeter(b, &meters[i], now)
	}
	b.WriteString(`</tbody></table>`)
}

func writeMeter(b *strings.Builder, m *status.Meter, now time.Time) {
	name := m.Name
	if m.Label != "" {
		name = m.Label + " (" + m.Name + ")"
	}
	state := "offline"
	if m.Online {
		state = "online"
	}
	last := "none yet"
	if !m.Last.IsZero() {
		last = now.Sub(m.Last).Round(time.Second).String() + " ago"
	}
	fmt.Fprintf(b, `<tr><th scope="row">%s</th><td class="%s">%s</td><td>%s</td><td>%s</td><td>%d</td><td>%s</td><td>%d</td></tr>`,
		html.EscapeString(name), state, state, html.EscapeString(string(m.Line)), last, m.Good, refusedText(m), m.HeldBack)
}

// refusedText is the number of refused telegrams with their causes.
func refusedText(m *status.Meter) string {
	var causes []string
	for _, c := range status.Causes {
		if n := m.Refused[c]; n > 0 {
			causes = append(causes, fmt.Sprintf("%s %d", c, n))
		}
	}
	if len(causes) == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", m.AllRefused(), strings.Join(causes, ", "))
}
