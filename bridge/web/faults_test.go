package web

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// behindTheSocket puts a handler at the socket of a state folder.
func behindTheSocket(t *testing.T, handler http.HandlerFunc) (dir string) {
	t.Helper()
	dir = t.TempDir()
	listener, err := ListenSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return dir
}

func TestAnAnswerOfAnotherProgramIsNoHealth(t *testing.T) {
	dir := behindTheSocket(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	if g, err := Ask(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "answer of the gateway") {
		t.Errorf("got %+v, %v", g, err)
	}
}

func TestAConnectionThatBreaksIsNoGatewayThatIsAway(t *testing.T) {
	dir := behindTheSocket(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if _, err := Ask(t.Context(), dir); err == nil || errors.Is(err, ErrNoGateway) {
		t.Errorf("got %v", err)
	}
}

func TestAReportThatTheGatewayCannotMakeIsToldWithItsFolder(t *testing.T) {
	s := &Server{Report: func(io.Writer) error { return errors.New("a frame is on fire") }, Log: zerolog.Nop()}
	dir := behindTheSocket(t, s.report)
	var b strings.Builder
	err := FetchReport(t.Context(), dir, &b)
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "500") || b.Len() != 0 {
		t.Errorf("got %v and %q", err, b.String())
	}
	if err := FetchReport(t.Context(), t.TempDir(), &b); !errors.Is(err, ErrNoGateway) {
		t.Errorf("where none runs: %v", err)
	}
}

// Whoever asks is told what to do, whichever way the socket fails.
func TestEachWayInWhichTheSocketFailsHasItsWords(t *testing.T) {
	for name, c := range map[string]struct {
		cause   error
		says    string
		remedy  string
		nowhere bool
	}{
		"of another user":   {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)}, "may not be opened", "as the user that runs the gateway", false},
		"of a gateway gone": {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "no gateway runs", "start it with run", true},
		"no file":           {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENOENT)}, "no gateway runs", "start it with run", true},
		"a gateway hangs":   {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "does not answer within", "", false},
		"anything else":     {&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}, "too many open files", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := noGateway(c.cause, "/state")
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(drivers.Hint(err), c.remedy) || errors.Is(err, ErrNoGateway) != c.nowhere {
				t.Errorf("got %v, hint %q", err, drivers.Hint(err))
			}
		})
	}
}

func TestASocketThatCannotBeMadeIsAnError(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, socketName)
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]string{
		"its name is a folder's":      dir,
		"no such folder":              filepath.Join(dir, "absent"),
		"no such folder, a long path": filepath.Join(dir, strings.Repeat("absent", 20)),
	} {
		t.Run(name, func(t *testing.T) {
			if listener, err := ListenSocket(in); err == nil {
				_ = listener.Close()
				t.Error("made")
			}
		})
	}
	if _, err := Ask(t.Context(), filepath.Join(dir, strings.Repeat("absent", 20))); !errors.Is(err, ErrNoGateway) {
		t.Errorf("asked in a folder that is not there: %v", err)
	}
}

func TestAllThatIsNotServedIsRefused(t *testing.T) {
	h := paged(func() Live { return Live{} }, nil).handler()
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{http.MethodGet, "/command", http.StatusMethodNotAllowed},
		{http.MethodGet, "/scan", http.StatusMethodNotAllowed},
		{http.MethodPost, "/healthz", http.StatusMethodNotAllowed},
		{http.MethodPost, "/report", http.StatusMethodNotAllowed},
		{http.MethodDelete, "/frames", http.StatusMethodNotAllowed},
		{http.MethodPut, "/command", http.StatusMethodNotAllowed},
		{http.MethodGet, "/../server.go", http.StatusTemporaryRedirect},
		{http.MethodGet, "/page/", http.StatusNotFound},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader("{}")))
		if w.Code != c.code {
			t.Errorf("%s %s: code %d, want %d", c.method, c.path, w.Code, c.code)
		}
	}
}

func TestASearchIsAskedForInJSONByThePage(t *testing.T) {
	h := paged(nil, nil).handler()
	if w := post(h, "/scan", "{", from("same-origin")); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "no request of the page") {
		t.Errorf("half an object: %d %s", w.Code, w.Body)
	}
	if w := post(h, "/scan", "{}", from("cross-site")); w.Code != http.StatusForbidden {
		t.Errorf("a page from elsewhere: %d", w.Code)
	}
}

// A door that is shut from outside ends the server, and says so; a visitor that
// speaks no HTTP is a line for whoever debugs.
func TestAServerWhoseDoorFailsEndsWithItsError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Server{Status: func() status.Gateway { return example() }, Log: zerolog.Nop()}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), []Door{{Listener: listener}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestWhatTheHTTPServerSaysIsForDebugging(t *testing.T) {
	var told strings.Builder
	quiet(zerolog.New(&told)).Print("http: TLS handshake error")
	if got := told.String(); !strings.Contains(got, `"level":"debug"`) || !strings.Contains(got, "TLS handshake error") {
		t.Errorf("logged %q", got)
	}
}
