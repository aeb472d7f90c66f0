package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
)

func TestThePagesFilesAreServed(t *testing.T) {
	for path, kind := range map[string]string{"/": "text/html", "/page.js": "text/javascript", "/style.css": "text/css", "/icon.svg": "image/svg+xml"} {
		w := get(handlerOf(example()), path)
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) || w.Body.Len() < 200 {
			t.Errorf("%s: %d, %s, %d bytes", path, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %s", path, policy)
		}
	}
	if w := get(handlerOf(example()), "/page/index.html"); w.Code != http.StatusNotFound {
		t.Errorf("got %d", w.Code)
	}
}

// The page loads nothing from elsewhere and has nothing that the policy refuses.
func TestThePageIsWholeByItself(t *testing.T) {
	b, err := page.ReadFile("page/index.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"http:", "https:", "style=", "onclick", "<script>", "<style"} {
		if bytes.Contains(b, []byte(no)) {
			t.Errorf("it has %s", no)
		}
	}
}

// paged is a server whose page is told what the functions give.
func paged(live func() Live, command func(context.Context, Command) (json.RawMessage, error)) *Server {
	return &Server{
		Status: func() status.Gateway { return example() }, Live: live, Command: command, Log: zerolog.Nop(),
		Frames: func(meter string) ([]Frame, bool) { return []Frame{{Why: "CRC"}}, meter == "main" },
		Scan:   func(json.RawMessage) error { return errors.New("no line can be searched") },
		Report: func(w io.Writer) error { _, err := io.WriteString(w, "{}\n"); return err },
	}
}

func TestTheStreamTellsEachChangeOnceAndEndsWithTheServer(t *testing.T) {
	count := 0
	s := paged(func() Live {
		count++
		return Live{Gateway: status.Gateway{Version: []string{"1", "1", "2"}[min(count, 3)-1]}}
	}, nil)
	s.leaving = make(chan struct{})
	server := httptest.NewServer(s.handler())
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/live", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Error(kind)
	}
	lines := bufio.NewScanner(answer.Body)
	var versions []string
	for len(versions) < 2 && lines.Scan() {
		event, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var l Live
		if err := json.Unmarshal([]byte(event), &l); err != nil {
			t.Fatal(err)
		}
		versions = append(versions, l.Gateway.Version)
	}
	if strings.Join(versions, " ") != "1 2" {
		t.Errorf("got %v", versions)
	}
	close(s.leaving)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data: ") {
			t.Errorf("another event: %s", lines.Text())
		}
	}
}

func post(h http.Handler, path, body string, with ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, path, strings.NewReader(body))
	for _, f := range with {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func from(site string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", site) }
}

func TestCommandsComeFromThePageAlone(t *testing.T) {
	var got []Command
	h := paged(nil, func(_ context.Context, c Command) (json.RawMessage, error) {
		if c.Meter != "main" {
			return nil, errors.New("there is no meter")
		}
		got = append(got, c)
		return json.RawMessage(`{"parameter":"limit","ok":true,"value":3}`), nil
	}).handler()
	const order = `{"meter":"main","parameter":"limit","value":"3"}`
	for _, c := range []struct {
		name, body string
		site       string
		code       int
	}{
		{"the page", order, "same-origin", http.StatusOK},
		{"a page from elsewhere", order, "cross-site", http.StatusForbidden},
		{"a page of the same site", order, "same-site", http.StatusForbidden},
		{"no such meter", strings.Replace(order, "main", "gas", 1), "same-origin", http.StatusNotFound},
		{"no JSON", "limit=3", "same-origin", http.StatusBadRequest},
		{"too much", `{"meter":"` + strings.Repeat("x", maxBody) + `"}`, "same-origin", http.StatusRequestEntityTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			if w := post(h, "/command", c.body, from(c.site)); w.Code != c.code {
				t.Errorf("got %d: %s", w.Code, w.Body)
			}
		})
	}
	if len(got) != 1 || got[0] != (Command{Meter: "main", Parameter: "limit", Value: "3"}) {
		t.Errorf("carried out: %v", got)
	}
}

func TestFramesReportAndSearch(t *testing.T) {
	h := paged(nil, nil).handler()
	if w := get(h, "/frames?meter=main"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"why":"CRC"`) {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	if w := get(h, "/frames?meter=other"); w.Code != http.StatusNotFound {
		t.Errorf("got %d", w.Code)
	}
	if w := get(h, "/report"); w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Disposition"), "attachment") {
		t.Errorf("%d: %v", w.Code, w.Header())
	}
	if w := post(h, "/scan", `{}`, from("same-origin")); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "no line") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}
