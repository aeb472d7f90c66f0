package mqttlink

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// A broker that is found only later, and then at another address, is asked for at
// each connection.
func TestTheBrokerIsAskedForAtEachConnection(t *testing.T) {
	first, second := brokertest.New(t), brokertest.New(t)
	first.Start()
	second.Start()
	defer second.Stop()
	var log brokertest.Log
	answers := []func() (Address, error){
		func() (Address, error) {
			return Address{}, drivers.WithHint(errors.New("no broker yet"), "install one")
		},
		func() (Address, error) { return Address{URL: first.URL()}, nil },
		func() (Address, error) { return Address{URL: second.URL()}, nil },
	}
	asked := 0
	l := New(Options{
		ClientID: "finder", Log: zerolog.New(&log), Will: Message{Topic: "w", Payload: []byte("x")},
		Find: func(context.Context) (Address, error) {
			answer := answers[min(asked, len(answers)-1)]
			asked++
			return answer()
		},
	})
	l.OnConnect(func() { l.Publish(Message{Topic: "hello", Payload: []byte("here")}) })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, func() []Message { return nil }) }()
	first.UntilIs("hello", "here")
	first.Stop()
	second.UntilIs("hello", "here")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, want := range []string{"no broker yet", "install one"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is missing from the log:\n%s", want, log.String())
		}
	}
}
