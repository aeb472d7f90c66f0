package soak

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// converters are simulated gas volume converters, each behind a gateway of its own.
func converters(t *testing.T, n int) (addresses []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		ended.Wait()
	})
	for range n {
		meter, err := sim.New("corus", sim.Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := sim.Listen(ctx, "tcp://127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, l.Addr())
		ended.Go(func() {
			if err := l.Serve(ctx, meter.Serve); err != nil {
				t.Error(err)
			}
		})
	}
	return addresses
}

// hanging is a device that takes connections and never answers.
func hanging(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "tcp://" + l.Addr().String()
}

// census counts the states of each meter.
type census struct {
	mu   sync.Mutex
	seen map[string]int
}

func newCensus(t *testing.T, b *broker) *census {
	t.Helper()
	c := &census{seen: map[string]int{}}
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + b.address).SetClientID("census").SetKeepAlive(0))
	wait(t, client.Connect())
	wait(t, client.Subscribe(base+"/+/state", 1, func(_ paho.Client, m paho.Message) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if strings.Contains(string(m.Payload()), `"7-0:3.0.0":`) {
			c.seen[strings.Split(m.Topic(), "/")[1]]++
		}
	}))
	t.Cleanup(func() { client.Disconnect(100) })
	return c
}

// reached says how many meters have not given so many states.
func (c *census) reached(meters []string, states int) (missing string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	late := 0
	for _, name := range meters {
		if c.seen[name] < states {
			late++
		}
	}
	if late > 0 {
		return fmt.Sprintf("%d of %d meters have given less than %d states", late, len(meters), states)
	}
	return ""
}

// A fleet of devices that are asked, among them some that hang and some that are
// not there: all others are read at their own pace.
func TestAFleetIsReadThoughSomeHang(t *testing.T) {
	n := length(t, 100, 1000)
	every := length(t, 2*time.Second, 15*time.Second)
	const dead = 10
	b := newBroker(t)
	c := newCensus(t, b)
	var tables strings.Builder
	var healthy []string
	add := func(name, address string) {
		fmt.Fprintf(&tables, "[[meter]]\nname = %q\ndriver = \"corus\"\nport = %q\nevery = %q\n", name, address, every)
	}
	for i := range dead {
		add(fmt.Sprintf("hanging%d", i), hanging(t))
		add(fmt.Sprintf("absent%d", i), "tcp://"+porttest.Address(t))
	}
	for i, address := range converters(t, n) {
		name := fmt.Sprintf("station%d", i)
		healthy = append(healthy, name)
		add(name, address)
	}
	g := newGateway(t, b.address, tables.String())
	until(t, func() string { return c.reached(healthy, 2) })
	before := g.usage(t)
	until(t, func() string { return c.reached(healthy, length(t, 5, 8)) })
	now := g.usage(t)
	t.Logf("%d devices each %s: %v, %d kB of memory a device; CPU %s", n, every, now, now.anonymous/n, now.cpu)
	if now.anonymous > before.anonymous+grown {
		t.Errorf("the gateway's memory grew from %d to %d kB", before.anonymous, now.anonymous)
	}
	g.stop(t)
}
