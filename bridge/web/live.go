package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	// liveEvery is how often the page is told what has changed.
	liveEvery = time.Second
	// lifeSign is how often it is told that nothing has.
	lifeSign = 15 * time.Second
	// commandTime is how long a command may wait for its line and then take.
	commandTime = 10 * time.Minute
	// maxBody is more than any request of the page has.
	maxBody = 16 << 10
)

// Live is what the page shows of one moment. Beside status.Gateway it has values
// and who the meters are, so only the page's visitors get it. It has no secret.
type Live struct {
	Gateway status.Gateway  `json:"gateway"`
	Meters  []Meter         `json:"meters"`         // as in Gateway.Meters
	Scan    json.RawMessage `json:"scan,omitempty"` // how far the last search of a line has come
	Scanner *Scanner        `json:"scanner,omitempty"`
}

// Meter is what the page shows of a meter beside its status.
type Meter struct {
	Port       string           `json:"port"`
	Session    string           `json:"session,omitempty"`
	Identity   drivers.Identity `json:"identity"`
	Values     []Value          `json:"values"`
	Trend      *Trend           `json:"trend,omitempty"`
	Parameters []Parameter      `json:"parameters,omitempty"`
	Frames     int              `json:"frames"` // that were refused and can be looked at
}

// Value is one quantity: its last accepted value as it is published.
type Value struct {
	Key   string `json:"key"`
	Label string `json:"label"`
	Text  string `json:"text"` // "": it is not known any more
	Unit  string `json:"unit,omitempty"`
	Of    string `json:"of,omitempty"` // the meter behind this one that gives it
}

// Trend is one quantity over the last hours, at even distances, the newest last.
type Trend struct {
	Label  string     `json:"label"`
	Unit   string     `json:"unit,omitempty"`
	Every  int        `json:"every"`  // seconds
	Points []*float64 `json:"points"` // null: there was none
}

// Parameter is one that the configuration lets people write.
type Parameter struct {
	Name    string           `json:"name"`
	Kind    string           `json:"kind"` // number, text, bool, time, press
	Doc     string           `json:"doc,omitempty"`
	Text    string           `json:"text,omitempty"` // as last read
	Unit    string           `json:"unit,omitempty"`
	Min     *drivers.Decimal `json:"min,omitempty"`
	Max     *drivers.Decimal `json:"max,omitempty"`
	Step    *drivers.Decimal `json:"step,omitempty"`
	Options []string         `json:"options,omitempty"`
	Length  int              `json:"length,omitempty"`
}

// Scanner is what can be searched.
type Scanner struct {
	Driver string   `json:"driver"`
	Ports  []string `json:"ports"`
	Ways   []string `json:"ways"`
}

// Frame is a refused frame, explained byte by byte.
type Frame struct {
	At    time.Time      `json:"at"`
	Why   string         `json:"why"`
	Hint  string         `json:"hint,omitempty"`
	Hex   string         `json:"hex"`
	Spans []drivers.Span `json:"spans,omitempty"`
}

// Command is what the page wants written.
type Command struct {
	Meter     string `json:"meter"`
	Parameter string `json:"parameter"`
	Value     string `json:"value"`
}

// live sends what the page shows, each time that it has changed, as server-sent
// events, until the visitor or the gateway goes.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // ingress passes on at once
	control := http.NewResponseController(w)
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	var last string
	var told time.Time
	for {
		now := time.Now()
		b, err := json.Marshal(s.Live())
		if err != nil {
			s.Log.Error().Err(err).Msg("the page cannot be told what is going on")
			return
		}
		event := ""
		switch {
		case string(b) != last:
			last = string(b)
			event = "data: " + last + "\n\n"
		case now.Sub(told) >= lifeSign:
			event = ": still here\n\n"
		}
		if event != "" {
			told = now
			_ = control.SetWriteDeadline(now.Add(writeTimeout)) // of this event, not of the stream
			if _, err := io.WriteString(w, event); err != nil || control.Flush() != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.leaving:
			return
		case <-tick.C:
		}
	}
}

// frames are the refused frames of a meter.
func (s *Server) frames(w http.ResponseWriter, r *http.Request) {
	frames, known := s.Frames(r.URL.Query().Get("meter"))
	if !known {
		http.Error(w, "there is no such meter", http.StatusNotFound)
		return
	}
	writeJSON(w, frames)
}

// command writes a Parameter and answers with the result, as BASE/METER/result has
// it.
func (s *Server) command(w http.ResponseWriter, r *http.Request) {
	var c Command
	if !readJSON(w, r, &c) {
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(commandTime)) // meters take their time
	result, err := s.Command(r.Context(), c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	writeJSON(w, result)
}

// scan begins or ends a search of a line, as BASE/bridge/request/scan does.
func (s *Server) scan(w http.ResponseWriter, r *http.Request) {
	var request json.RawMessage
	if !readJSON(w, r, &request) {
		return
	}
	if err := s.Scan(request); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a visitor who has gone hears nothing
}

// readJSON reads a request's body; false: it was answered why not.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v)
	if err == nil {
		return true
	}
	code := http.StatusBadRequest
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		code = http.StatusRequestEntityTooLarge
	}
	http.Error(w, "no request of the page: "+err.Error(), code)
	return false
}
