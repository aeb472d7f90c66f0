package supervisor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clientOf speaks to a Supervisor that gives one answer to who has the token.
func clientOf(t *testing.T, code int, body string) *Client {
	t.Helper()
	const token = canary.HomeToken
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/services/mqtt" || r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return &Client{Token: drivers.NewSecret(token), Address: server.URL}
}

func TestBroker(t *testing.T) {
	const login = `"username":"addons","password":"pa55"`
	for name, c := range map[string]struct{ data, url, username, password string }{
		"a port that is a number": {`"addon":"core_mosquitto","host":"core-mosquitto","port":1883,"ssl":false,"protocol":"3.1.1",` + login, "mqtt://core-mosquitto:1883", "addons", "pa55"},
		"a port that is a text":   {`"host":"core-mosquitto","port":"1883",` + login, "mqtt://core-mosquitto:1883", "addons", "pa55"},
		"TLS":                     {`"host":"broker.lan","port":8883,"ssl":true,` + login, "mqtts://broker.lan:8883", "addons", "pa55"},
		"IPv6, and no login":      {`"host":"fd00::5","port":1883,"username":null`, "mqtt://[fd00::5]:1883", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := clientOf(t, 200, `{"result":"ok","data":{`+c.data+`}}`).Broker(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if b.URL != c.url || b.Username != c.username || b.Password.Reveal() != c.password {
				t.Errorf("got %s as %q with %q", b.URL, b.Username, b.Password.Reveal())
			}
		})
	}
}

func TestWithoutABrokerTheErrorSaysWhatToFillIn(t *testing.T) {
	for name, c := range map[string]struct {
		code int
		body string
		want string
	}{
		"no broker is installed": {400, `{"result":"error","message":"Service not enabled"}`, "Service not enabled"},
		"the app may not ask":    {403, `{"result":"error","message":"No rights"}`, "403"},
		"a proxy answers":        {502, `<html>pa55`, "502"},
		"no host":                {200, `{"result":"ok","data":{"port":1883,"password":"pa55"}}`, "no address of a broker"},
		"a port that is none":    {200, `{"result":"ok","data":{"host":"h","port":true}}`, "not the JSON"},
		"a port beyond all":      {200, `{"result":"ok","data":{"host":"h","port":70000}}`, "no address of a broker"},
		"a host with a path":     {200, `{"result":"ok","data":{"host":"h/x","port":1883}}`, "no address of a broker"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := clientOf(t, c.code, c.body).Broker(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
			if hint := drivers.Hint(err); !strings.Contains(hint, "mqtt.url") {
				t.Errorf("hint %q", hint)
			}
			if strings.Contains(err.Error(), "pa55") {
				t.Errorf("the password shows: %v", err)
			}
		})
	}
}

func TestASupervisorThatIsAwayIsAnErrorWithARemedy(t *testing.T) {
	c := Client{Token: drivers.NewSecret("x"), Address: "http://127.0.0.1:1"}
	if _, err := c.Broker(t.Context()); err == nil || drivers.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}
