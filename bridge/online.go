package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
	"github.com/meter2mqtt/meter2mqtt/hass/socket"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// onlineTimeout is how long each part of an online check may take.
const onlineTimeout = 20 * time.Second

// Online is one part of what a configuration names, and what is wrong with it.
type Online struct {
	What string
	Err  error // with its remedy; nil: it is there
}

// CheckOnline opens what a configuration names: each port, the broker with its TLS
// and login, and Home Assistant with its token. It sends nothing to meters and
// publishes nothing. each hears of every part.
func CheckOnline(ctx context.Context, c config.Config, each func(Online)) {
	seen := map[string]bool{}
	for i := range c.Meters {
		m := &c.Meters[i]
		if seen[m.Port.Key()] {
			continue
		}
		seen[m.Port.Key()] = true
		each(Online{fmt.Sprintf("port %s of meter %s", m.Port, m.Name), within(ctx, func(ctx context.Context) error { return openPort(ctx, m.Port) })})
	}
	each(Online{"broker " + cmp.Or(c.MQTT.URL, "of Home Assistant"), within(ctx, func(ctx context.Context) error { return connectBroker(ctx, c) })})
	if c.HomeAssistant.URL != "" && !c.HomeAssistant.Token.IsZero() {
		each(Online{"Home Assistant at " + c.HomeAssistant.URL, within(ctx, func(ctx context.Context) error { return askHome(ctx, c) })})
	}
}

func within(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, onlineTimeout)
	defer cancel()
	return check(ctx)
}

// openPort opens a port and closes it. A topic is the broker's.
func openPort(ctx context.Context, p transport.Port) error {
	if p.Scheme == transport.MQTT {
		return nil
	}
	line, err := transport.Open(ctx, p)
	if err != nil {
		return err
	}
	return line.Close()
}

func connectBroker(ctx context.Context, c config.Config) error {
	secure, err := c.MQTT.TLS()
	if err != nil {
		return err
	}
	return mqttlink.Check(ctx, linkOptions(c, Options{Log: zerolog.Nop()}, secure))
}

// askHome logs in to Home Assistant and looks whether its version is known.
func askHome(ctx context.Context, c config.Config) error {
	conn, err := socket.Dial(ctx, c.HomeAssistant.URL, c.HomeAssistant.Token)
	switch {
	case errors.Is(err, socket.ErrToken):
		return drivers.WithHint(err, "make a long-lived access token on your profile page in Home Assistant, under Security, and set homeassistant.token_file")
	case err != nil && drivers.Hint(err) == "":
		return drivers.WithHint(err, "is homeassistant.url right, as in ws://homeassistant.local:8123/api/websocket, and does Home Assistant run?")
	case err != nil:
		return err
	}
	defer conn.Close()
	_, err = statistics.ParseVersion(conn.Version)
	return err
}
