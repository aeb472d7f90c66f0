package bridge

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
)

// silentMeter is a port that a meter answers on; heard is all that was sent to it,
// once nobody is on the line any more.
func silentMeter(t *testing.T) (port string, heard func() []byte) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var said []byte
	called := 0
	all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			called++
			b, _ := io.ReadAll(c) // until the caller hangs up
			said = append(said, b...)
			_ = c.Close()
		}
	})
	hangUp := sync.OnceFunc(func() { _ = listener.Close(); all.Wait() })
	t.Cleanup(hangUp)
	return "tcp://" + listener.Addr().String(), func() []byte {
		callLast(t, listener.Addr().String())
		hangUp()
		if called == 1 {
			t.Error("nobody opened the meter's port")
		}
		return said
	}
}

// callLast calls and is answered. Callers are taken in turn, so all others have been.
func callLast(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
}

// loginHome is a Home Assistant that takes canary.HomeToken.
func loginHome(t *testing.T, version string) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	mux.HandleFunc("/api/websocket", func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		_ = wsjson.Write(r.Context(), ws, map[string]string{"type": "auth_required", "ha_version": version})
		var login map[string]string
		_ = wsjson.Read(r.Context(), ws, &login)
		verdict := map[string]string{"type": "auth_ok", "ha_version": version}
		if login["access_token"] != canary.HomeToken {
			verdict = map[string]string{"type": "auth_invalid", "message": "Invalid access token or password"}
		}
		_ = wsjson.Write(r.Context(), ws, verdict)
		_, _, _ = ws.Read(r.Context()) // until it is closed
	})
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http") + "/api/websocket"
}

// secure is a port that speaks TLS, and a file with the CA that signed its
// certificate.
func secure(t *testing.T) (s *httptest.Server, caFile string) {
	t.Helper()
	s = httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return s, caFile
}

// checkedOnline checks a configuration online, and gives what it says of each part.
func checkedOnline(t *testing.T, text string) (told []Online) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	CheckOnline(t.Context(), c, func(o Online) { told = append(told, o) })
	canary.Keep(t, "check", fmt.Append(nil, told))
	return told
}

func TestACheckOnlineTellsWhatIsWrongWithTheBrokerAndItsRemedy(t *testing.T) {
	port, caFile := secure(t)
	server := &tls.Config{Certificates: port.TLS.Certificates}
	for name, c := range map[string]struct {
		tls           *tls.Config
		scheme, keys  string
		error, remedy string // "": all is well
	}{
		"all is well":          {nil, "mqtt", "username = \"gateway\"\npassword = \"" + canary.MQTTPassword + "\"", "", ""},
		"all is well with TLS": {server, "mqtts", fmt.Sprintf("username = \"gateway\"\npassword = %q\nca_file = %q", canary.MQTTPassword, caFile), "", ""},
		"a wrong password":     {nil, "mqtt", "username = \"gateway\"\npassword = \"" + canary.PagePassword + "\"", "not Authorized", "check mqtt.username and mqtt.password"},
		"no login":             {nil, "mqtt", "", "not Authorized", "set mqtt.username and mqtt.password_file"},
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.New(t)
			b.Login.Username, b.Login.Password, b.TLS = "gateway", canary.MQTTPassword, c.tls
			b.Start()
			defer b.Stop()
			_, address, _ := strings.Cut(b.URL(), "://")
			port, heard := silentMeter(t)
			told := checkedOnline(t, fmt.Sprintf("[mqtt]\nurl = \"%s://%s\"\n%s\n[[meter]]\nname = \"main\"\ndriver = \"mbus\"\nport = %q\n", c.scheme, address, c.keys, port))
			if len(told) != 2 || told[0].Err != nil {
				t.Fatalf("told %v, want port and broker", told)
			}
			holds(t, told[1], c.error, c.remedy)
			if said := heard(); len(said) > 0 {
				t.Errorf("the meter heard %x", said)
			}
			for _, m := range b.Seen("") {
				if !strings.HasPrefix(m.Topic, "$SYS/") {
					t.Errorf("published: %v", m)
				}
			}
		})
	}
}

func TestACheckOnlineTellsWhatIsWrongWithTLSAndItsRemedy(t *testing.T) {
	encrypted, _ := secure(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for name, c := range map[string]struct {
		scheme        string
		server        *httptest.Server
		error, remedy string
	}{
		"an unknown authority":     {"mqtts", encrypted, "unknown authority", "set mqtt.ca_file"},
		"plain MQTT to a TLS port": {"mqtt", encrypted, "connect", "then mqtts://"},
		"TLS to a plain port":      {"mqtts", plain, "TLS handshake", "use mqtt://"},
	} {
		t.Run(name, func(t *testing.T) {
			port, heard := silentMeter(t)
			told := checkedOnline(t, fmt.Sprintf("[mqtt]\nurl = \"%s://%s\"\n[[meter]]\nname = \"main\"\ndriver = \"p1\"\nport = %q\n", c.scheme, c.server.Listener.Addr(), port))
			if len(told) != 2 || told[0].Err != nil {
				t.Fatalf("told %v, want port and broker", told)
			}
			holds(t, told[1], c.error, c.remedy)
			if said := heard(); len(said) > 0 {
				t.Errorf("the meter heard %x", said)
			}
		})
	}
}

func TestACheckOnlineTellsWhatIsWrongWithHomeAssistantAndItsRemedy(t *testing.T) {
	b := brokertest.New(t)
	b.Start()
	defer b.Stop()
	right := loginHome(t, "2026.11.0")
	for name, c := range map[string]struct{ url, token, error, remedy string }{
		"all is well":           {right, canary.HomeToken, "", ""},
		"a wrong token":         {right, canary.PagePassword, "token", "make a long-lived access token"},
		"another address":       {strings.TrimSuffix(right, "websocket") + "nothing", canary.HomeToken, "home assistant at", "homeassistant.url right"},
		"nobody there":          {"ws://127.0.0.1:1/api/websocket", canary.HomeToken, "refused", "homeassistant.url right"},
		"an unreadable version": {loginHome(t, "of tomorrow"), canary.HomeToken, "of tomorrow", ""},
	} {
		t.Run(name, func(t *testing.T) {
			port, heard := silentMeter(t)
			told := checkedOnline(t, fmt.Sprintf("[mqtt]\nurl = %q\n[homeassistant]\nurl = %q\ntoken = %q\n[[meter]]\nname = \"main\"\ndriver = \"iec62056-21\"\nport = %q\n", b.URL(), c.url, c.token, port))
			if len(told) != 3 || told[0].Err != nil || told[1].Err != nil {
				t.Fatalf("told %v, want port, broker and Home Assistant", told)
			}
			holds(t, told[2], c.error, c.remedy)
			if said := heard(); len(said) > 0 {
				t.Errorf("the meter heard %x", said)
			}
		})
	}
}

// holds says that a part is as wrong as it should be, and what to do about it.
func holds(t *testing.T, o Online, text, remedy string) {
	t.Helper()
	if text == "" {
		if o.Err != nil {
			t.Errorf("%s: %v", o.What, o.Err)
		}
		return
	}
	if o.Err == nil {
		t.Fatalf("%s: nothing is wrong, want %q", o.What, text)
	}
	if !strings.Contains(o.Err.Error(), text) || !strings.Contains(drivers.Hint(o.Err), remedy) {
		t.Errorf("%s: %v (hint %q), want %q and %q", o.What, o.Err, drivers.Hint(o.Err), text, remedy)
	}
	if said := o.Err.Error() + drivers.Hint(o.Err); strings.Contains(said, canary.Mark) {
		t.Errorf("a secret is in %q", said)
	}
}
