package mqttlink

import (
	"context"
	"fmt"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Check connects to the broker once and leaves: whether it is there, takes the
// login and its certificate fits. It publishes nothing, has no will, and a client
// id of its own, so that a gateway which runs is not disturbed. The error carries
// its remedy.
func Check(ctx context.Context, o Options) error {
	o.ClientID += "_check"
	o.Will = Message{}
	l := New(o)
	if err := l.find(ctx); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	client := paho.NewClient(l.clientOptions(make(chan error, 1)))
	err := await(ctx, client.Connect(), connectTimeout)
	client.Disconnect(0)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("connect: %w", err)
	return drivers.WithHint(fmt.Errorf("broker %s: %w", l.options.URL, err), hint(err, l.options))
}
