package socket

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"go.uber.org/goleak"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// home answers as Home Assistant does, of requests what reply says; nil hangs up.
func home(t *testing.T, reply func(kind string) map[string]any) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		_ = wsjson.Write(r.Context(), ws, map[string]string{"type": "auth_required", "ha_version": "2026.11.0"})
		var login map[string]string
		_ = wsjson.Read(r.Context(), ws, &login)
		if login["access_token"] != canary.HomeToken {
			_ = wsjson.Write(r.Context(), ws, map[string]string{"type": "auth_invalid", "message": "Invalid password"})
			return
		}
		_ = wsjson.Write(r.Context(), ws, map[string]string{"type": "auth_ok", "ha_version": "2026.11.0"})
		for {
			var request map[string]any
			if wsjson.Read(r.Context(), ws, &request) != nil {
				return
			}
			kind, _ := request["type"].(string)
			answer := reply(kind)
			if answer == nil {
				return
			}
			answer["id"], answer["type"] = request["id"], "result"
			_ = wsjson.Write(r.Context(), ws, answer)
		}
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http") + "/api/websocket"
}

func dial(t *testing.T, url string) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), url, drivers.NewSecret(canary.HomeToken))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAQuestionGetsItsOwnAnswer(t *testing.T) {
	c := dial(t, home(t, func(kind string) map[string]any {
		return map[string]any{"success": true, "result": "of " + kind}
	}))
	if c.Version != "2026.11.0" {
		t.Errorf("version %q", c.Version)
	}
	var all sync.WaitGroup
	for _, kind := range []string{"a", "b", "c", "d", "e", "f"} {
		all.Go(func() {
			var got string
			if err := c.Ask(t.Context(), kind, map[string]any{"x": 1}, &got); err != nil || got != "of "+kind {
				t.Errorf("asked %s, got %q, %v", kind, got, err)
			}
		})
	}
	all.Wait()
}

func TestARefusalIsAnError(t *testing.T) {
	c := dial(t, home(t, func(string) map[string]any {
		return map[string]any{"success": false, "error": map[string]string{"code": "unauthorized", "message": "Unauthorized"}}
	}))
	err := c.Ask(t.Context(), "recorder/import_statistics", nil, nil)
	refusal, ok := errors.AsType[*Error](err)
	if !ok || refusal.Code != "unauthorized" || !strings.Contains(err.Error(), "recorder/import_statistics") {
		t.Errorf("got %v", err)
	}
}

func TestAWrongTokenIsToldAndNotShown(t *testing.T) {
	_, err := Dial(t.Context(), home(t, nil), drivers.NewSecret(canary.PagePassword))
	if !errors.Is(err, ErrToken) || drivers.Hint(err) == "" || strings.Contains(err.Error(), canary.PagePassword) {
		t.Errorf("got %v", err)
	}
}

func TestNobodyThereIsAnErrorWithARemedy(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	_, err := Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http"), drivers.NewSecret(canary.HomeToken))
	if err == nil || drivers.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestWhoeverWaitsHearsThatTheConnectionIsGone(t *testing.T) {
	c := dial(t, home(t, func(string) map[string]any { return nil }))
	if err := c.Ask(t.Context(), "get_config", nil, nil); err == nil {
		t.Error("no error")
	}
	<-c.Done()
	if err := c.Ask(t.Context(), "get_config", nil, nil); err == nil {
		t.Error("no error on a connection that is gone")
	}
}

func TestAnAnswerInAnotherFormIsAnError(t *testing.T) {
	c := dial(t, home(t, func(string) map[string]any { return map[string]any{"success": true, "result": 5} }))
	var list []json.RawMessage
	if err := c.Ask(t.Context(), "config/entity_registry/list", nil, &list); err == nil {
		t.Error("no error")
	}
}

func TestAskingEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	c := dial(t, home(t, func(string) map[string]any { <-release; return nil }))
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if err := c.Ask(ctx, "get_config", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// spoken is a Home Assistant that says just this, and hangs up.
func spoken(t *testing.T, messages ...string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		for _, m := range messages {
			_ = ws.Write(r.Context(), websocket.MessageText, []byte(m))
			_, _, _ = ws.Read(r.Context())
		}
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func TestALoginThatEndsEarlyIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		says []string
		want string
	}{
		"nothing is said":               {nil, "home assistant: "},
		"a greeting that is no JSON":    {[]string{"hello"}, "an answer of 5 bytes"},
		"no word after the token":       {[]string{`{"type":"auth_required"}`}, "home assistant: "},
		"a verdict that is no JSON":     {[]string{`{"type":"auth_required"}`, "fine"}, "an answer of 4 bytes"},
		"a verdict that is another one": {[]string{`{"type":"auth_required"}`, `{"type":"auth_required"}`}, ErrToken.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := Dial(t.Context(), spoken(t, c.says...), drivers.NewSecret("canary"))
			if err == nil {
				conn.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestWhatCannotBeWrittenAsJSONIsNotAsked(t *testing.T) {
	c := dial(t, home(t, func(kind string) map[string]any { return map[string]any{"success": true, "result": kind} }))
	if err := c.Ask(t.Context(), "get_config", map[string]any{"x": func() {}}, nil); err == nil || !strings.HasPrefix(err.Error(), "get_config: ") {
		t.Errorf("got %v", err)
	}
	var got string
	if err := c.Ask(t.Context(), "get_config", nil, &got); err != nil || got != "get_config" {
		t.Errorf("asked after that: %q, %v", got, err)
	}
}
