// Package supervisor asks the Supervisor of Home Assistant what an app may know:
// the broker that Home Assistant itself uses, and how to log in to it.
package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Address is where the Supervisor answers, inside of the network of apps.
const Address = "http://supervisor"

// WebSocket is Home Assistant's own API through the Supervisor, which takes the
// same token.
const WebSocket = "ws://supervisor/core/websocket"

// TokenVariable is the environment variable in which the Supervisor hands an app
// its token. Whoever finds it set runs as an app.
const TokenVariable = "SUPERVISOR_TOKEN"

const (
	timeout   = 10 * time.Second
	maxAnswer = 64 << 10
)

// Client speaks to the Supervisor.
type Client struct {
	Token   drivers.Secret
	Address string // "": Address
}

// Broker is an MQTT broker and how to log in to it.
type Broker struct {
	URL      string // mqtt://HOST:PORT or mqtts://HOST:PORT
	Username string // "": none is needed
	Password drivers.Secret
}

const fillIn = "install and start the Mosquitto broker app, or fill in the broker's address as mqtt.url, with mqtt.username and mqtt.password, in the configuration of this app"

// errNoService says that Home Assistant knows no broker, or none yet.
var errNoService = errors.New("home assistant offers no MQTT broker to this app")

// answer is what the Supervisor says about a service.
type answer struct {
	Result  string `json:"result"`
	Message string `json:"message"`
	Data    struct {
		Host     string    `json:"host"`
		Port     looseText `json:"port"`
		SSL      bool      `json:"ssl"`
		Username string    `json:"username"`
		Password string    `json:"password"`
	} `json:"data"`
}

// looseText is a JSON number or a JSON text: the Supervisor has sent ports as
// both.
type looseText string

// UnmarshalJSON takes either.
func (l *looseText) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err == nil {
		*l = looseText(text)
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(b, &number); err != nil {
		return err
	}
	*l = looseText(number.String())
	return nil
}

// Broker is the broker that the Supervisor knows. Ask again when it does not fit
// any more: the password of an app that was installed anew is another one. Its
// errors say what to fill in instead.
func (c *Client) Broker(ctx context.Context) (Broker, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	address := c.Address
	if address == "" {
		address = Address
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/services/mqtt", http.NoBody)
	if err != nil {
		return Broker{}, err
	}
	request.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return Broker{}, drivers.WithHint(fmt.Errorf("supervisor: %w", err), fillIn)
	}
	defer response.Body.Close()
	return brokerOf(response)
}

func brokerOf(response *http.Response) (Broker, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return Broker{}, fmt.Errorf("supervisor: %w", err)
	}
	var a answer
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&a); err != nil {
		// The body may hold a password, so it is not shown.
		return Broker{}, drivers.WithHint(fmt.Errorf("supervisor: answer %d is not the JSON that was expected", response.StatusCode), fillIn)
	}
	if response.StatusCode != http.StatusOK || a.Result != "ok" {
		return Broker{}, drivers.WithHint(fmt.Errorf("%w: %.100q, answer %d", errNoService, a.Message, response.StatusCode), fillIn)
	}
	return a.broker()
}

func (a *answer) broker() (Broker, error) {
	port, err := strconv.ParseUint(string(a.Data.Port), 10, 16)
	if err != nil || port == 0 || a.Data.Host == "" || strings.ContainsAny(a.Data.Host, "/@?# ") {
		return Broker{}, drivers.WithHint(fmt.Errorf("supervisor: host %.60q and port %.10q are no address of a broker", a.Data.Host, a.Data.Port), fillIn)
	}
	scheme := "mqtt://"
	if a.Data.SSL {
		scheme = "mqtts://"
	}
	return Broker{
		URL:      scheme + net.JoinHostPort(a.Data.Host, strconv.FormatUint(port, 10)),
		Username: a.Data.Username, Password: drivers.NewSecret(a.Data.Password),
	}, nil
}
