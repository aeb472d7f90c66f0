package oracle

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cmpdiff "github.com/google/go-cmp/cmp"
)

// supervisorAddress is where our Supervisor answers: the app finds it by name, as
// in a home, so it must have port 80 to itself.
const supervisorAddress = "127.21.8.2"

// startSupervisor answers an app as Home Assistant's Supervisor does: without a
// broker at first, for Mosquitto starts later; and passing the WebSocket API on.
func startSupervisor(t *testing.T, o *Oracle, token string) {
	t.Helper()
	listener, err := net.Listen("tcp", supervisorAddress+":80")
	if err != nil {
		t.Fatal(err)
	}
	core := &url.URL{Scheme: "http", Host: "127.0.0.1:" + strconv.Itoa(o.ha.port), Path: "/api/websocket"}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL = core }}
	var asked atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("GET /services/mqtt", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusForbidden)
		case asked.Add(1) < 3:
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"result":"error","message":"Service not enabled"}`)
		default:
			_, _ = fmt.Fprintf(w, `{"result":"ok","data":{"addon":"core_mosquitto","host":"core-mosquitto","port":"%d","ssl":false,`+
				`"protocol":"3.1.1","username":"addons","password":"pa55"}}`, o.Broker.port)
		}
	})
	mux.Handle("GET /core/websocket", proxy)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// appRoot is the root of an app's container: the program, what the Supervisor
// mounts, and the names that Docker knows.
func appRoot(t *testing.T, o *Oracle, options any) string {
	t.Helper()
	root := t.TempDir()
	binary, err := o.binary()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	form, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]struct {
		content []byte
		mode    fs.FileMode
	}{
		"meter2mqtt":        {program, 0o755},
		"data/options.json": {form, 0o600},
		"config/.keep":      {nil, 0o600},
		"dev/ttyUSB0":       {nil, 0o600},
		"etc/hosts":         {[]byte(supervisorAddress + " supervisor\n127.0.0.1 core-mosquitto\n"), 0o644},
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.content, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// startApp starts the program as the Supervisor does: its image as root, the
// chosen device in it, the token in the environment.
func startApp(t *testing.T, o *Oracle, root, device, token string) *Process {
	t.Helper()
	const script = `mount --bind "$1" "$2/dev/ttyUSB0" && exec chroot "$2" /meter2mqtt run`
	cmd := exec.Command("unshare", "-m", "sh", "-c", script, "sh", device, root) //nolint:noctx // ended by Stop
	cmd.Env = []string{"SUPERVISOR_TOKEN=" + token, "TZ=Europe/Amsterdam", "PATH=" + os.Getenv("PATH")}
	p := &Process{oracle: o, stderr: &output{}}
	c, err := spawn(o.guard, cmd, p.stderr)
	if err != nil {
		t.Fatal(err)
	}
	p.child = c
	t.Cleanup(func() { p.finish(t) })
	return p
}

// files are all files of an app's root, those of its data apart.
func files(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "data" {
			return filepath.SkipDir
		}
		all = append(all, strings.TrimPrefix(path, root))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// An app that is installed, with one meter picked from the lists and nothing else
// filled in, shows it in Home Assistant, with the broker that the Supervisor knows.
func TestTheAppShowsAMeterThatWasPickedFromTheLists(t *testing.T) {
	if Enabled() && os.Geteuid() != 0 {
		t.Skip("only root may change its root")
	}
	o := Start(t)
	c := readP1Case(t, "p1-dsmrparser-v5")
	token := o.ha.token(t)
	startSupervisor(t, o, token)
	root := appRoot(t, o, map[string]any{
		"log": map[string]any{"level": "info"}, "mqtt": map[string]any{},
		"meter": []map[string]any{{"name": "mains", "label": "Mains meter", "driver": "p1", "device": "/dev/ttyUSB0"}},
	})
	before := files(t, root)
	sub := o.Broker.Subscribe(t, "meter2mqtt/#")
	app := startApp(t, o, root, plugIn(t, c.telegram, time.Second), token)
	o.Until(t, func() error {
		return cmp.Or(app.Running(), sub.Saw("meter2mqtt/mains/availability", "online"), c.seenOn(sub, "meter2mqtt/mains/state"))
	})
	o.Expect(t, p1Rows())

	if want := "install and start the Mosquitto broker app"; !strings.Contains(app.Stderr(), want) {
		t.Errorf("%q is missing from the log, which should tell of the broker that was not there", want)
	}
	if want := "u'addons'"; !strings.Contains(o.Broker.log.String(), want) {
		t.Errorf("%q is missing from the broker's log: the app did not log in as it was told", want)
	}
	if strings.Contains(app.Stderr(), "pa55") || strings.Contains(app.Stderr(), token) {
		t.Error("a secret shows in the log")
	}
	wantPage(t, "http://127.0.0.1:8099/healthz", `"name":"mains"`)
	wantPage(t, "http://127.0.0.1:8099/", `<script type="module" src="page.js">`)
	wantPage(t, "http://127.0.0.1:8099/frames?meter=mains", "[]")
	health := exec.CommandContext(t.Context(), "chroot", root, "/meter2mqtt", "health")
	health.Env = []string{"SUPERVISOR_TOKEN=" + token, "PATH=" + os.Getenv("PATH")}
	if out, err := health.CombinedOutput(); err != nil || !strings.Contains(string(out), "mains") {
		t.Errorf("health: %v\n%s", err, out)
	}

	app.Stop(t)
	o.Until(t, func() error { return sub.Saw("meter2mqtt/bridge/availability", "offline") })
	if diff := cmpdiff.Diff(before, files(t, root)); diff != "" {
		t.Errorf("the app wrote outside of /data:\n%s", diff)
	}
}

func wantPage(t *testing.T, address, want string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
		t.Errorf("%s: code %d, %v: %q is missing from\n%s", address, answer.StatusCode, err, want, body)
	}
}
