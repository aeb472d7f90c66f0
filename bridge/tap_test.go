package bridge

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
)

// tapAddress is where the gateway's tap listens, as its log tells.
func tapAddress(t *testing.T, g *gateway) string {
	t.Helper()
	untilLog(t, g, `"message":"tap open"`, 1)
	for line := range strings.Lines(g.log.String()) {
		if field(line, "message") == `"tap open"` {
			return strings.Trim(field(line, "address"), `"`)
		}
	}
	return ""
}

func dialTap(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOthersHearTheMeterThroughTheTap(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, p1Meter("main", m.port(), `tap = "127.0.0.1:0"`))
	g.start()
	address := tapAddress(t, g)
	clients := []net.Conn{dialTap(t, address), dialTap(t, address)}
	untilLog(t, g, "tap client came", len(clients))
	good := telegram("1-0:1.8.0(000100.100*kWh)")
	said := strings.Replace(good, "100.100", "100.101", 1) + good // also what is refused
	m.say(said)
	untilField(b, "meter2mqtt/main/state", "1-0:1.8.0", "100.100")
	for _, c := range clients {
		got := make([]byte, len(said))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != said {
			t.Errorf("a client heard %q, %v", got, err)
		}
	}
	m.hangUp() // the tap stays
	_ = clients[0].Close()
	again := telegram("1-0:1.8.0(000100.200*kWh)")
	m.say(again)
	got := make([]byte, len(again))
	if _, err := io.ReadFull(clients[1], got); err != nil || string(got) != again {
		t.Errorf("after the line was back a client heard %q, %v", got, err)
	}
	g.stop()
	if rest, err := io.ReadAll(clients[1]); err != nil || len(rest) > 0 {
		t.Errorf("after the end come %q, %v", rest, err)
	}
}
