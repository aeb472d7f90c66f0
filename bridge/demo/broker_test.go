package demo

import (
	"crypto/rand"
	"net"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func broking(t *testing.T, address string) *broker {
	t.Helper()
	b, err := startBroker(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

// hears says whether a client with this login gets in and hears what it says
// itself.
func hears(t *testing.T, b *broker, username, password string) bool {
	t.Helper()
	client := paho.NewClient(paho.NewClientOptions().
		// A name of its own: who comes back under one before the server is done with its
		// last connection may lose its subscriptions.
		AddBroker("tcp://" + b.dialAddress()).SetClientID(rand.Text()).SetAutoReconnect(false).
		SetUsername(username).SetPassword(password))
	if !within(t, client.Connect()) {
		return false
	}
	defer client.Disconnect(0)
	heard := make(chan string, 1)
	if !within(t, client.Subscribe("a/#", 1, func(_ paho.Client, m paho.Message) { heard <- string(m.Payload()) })) {
		t.Fatal("no subscription")
	}
	if !within(t, client.Publish("a/b", 1, false, "word")) {
		t.Fatal("no acknowledgement")
	}
	select {
	case word := <-heard:
		return word == "word"
	case <-time.After(20 * time.Second):
		t.Fatal("nothing heard")
	}
	return false
}

func within(t *testing.T, token paho.Token) bool {
	t.Helper()
	if !token.WaitTimeout(20 * time.Second) {
		t.Fatal("no answer")
	}
	return token.Error() == nil
}

func TestTheBrokerIsOpenOnLoopback(t *testing.T) {
	b := broking(t, "127.0.0.1:0")
	if !hears(t, b, "", "") || !hears(t, b, "anybody", "anything") {
		t.Error("somebody was refused")
	}
	if d := b.directions("base", "127.0.0.1:8099"); strings.Contains(d, " -u ") || !strings.Contains(d, "-v -t 'base/#'") {
		t.Error(d)
	}
}

func TestTheBrokerWantsItsLoginElsewhere(t *testing.T) {
	b := broking(t, "0.0.0.0:0")
	if !hears(t, b, b.username, b.password) {
		t.Error("the login was refused")
	}
	for name, login := range map[string][2]string{
		"nobody":           {"", ""},
		"no password":      {b.username, ""},
		"a wrong password": {b.username, strings.ToLower(b.password)},
		"a wrong user":     {"root", b.password},
	} {
		if hears(t, b, login[0], login[1]) {
			t.Errorf("%s was let in", name)
		}
	}
	if d := b.directions("base", "127.0.0.1:8099"); !strings.Contains(d, " -u "+b.username+" -P "+b.password+" ") {
		t.Error(d)
	}
}

func TestEachRunHasAPasswordOfItsOwn(t *testing.T) {
	one, other := broking(t, "0.0.0.0:0"), broking(t, "0.0.0.0:0")
	if one.password == other.password || len(one.password) < 20 {
		t.Errorf("%q and %q", one.password, other.password)
	}
}

func TestTheGatewayOfTheDemoKnowsTheLogin(t *testing.T) {
	b := broking(t, "0.0.0.0:0")
	c, err := configure(t.TempDir(), b, "[[meter]]\nname = \"p1\"\ndriver = \"p1\"\nport = \"tcp://127.0.0.1:1\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.MQTT.Username != b.username || c.MQTT.Password.Reveal() != b.password || c.MQTT.URL != "mqtt://"+b.dialAddress() {
		t.Errorf("%s at %s", c.MQTT.Username, c.MQTT.URL)
	}
}

func TestAPortThatIsTakenIsToldWithAWayOut(t *testing.T) {
	taken := broking(t, "127.0.0.1:0").address
	for address, want := range map[string]string{
		taken:          "--listen 127.0.0.1:0",
		"127.0.0.1":    "127.0.0.1:1883",
		"192.0.2.1:80": "127.0.0.1:1883", // no address of any machine
	} {
		b, err := startBroker(t.Context(), address)
		if err == nil {
			b.close()
			t.Fatalf("%s: nothing is wrong", address)
		}
		if !strings.HasPrefix(err.Error(), "broker on "+address+": ") || !strings.Contains(drivers.Hint(err), want) {
			t.Errorf("%v, hint %q", err, drivers.Hint(err))
		}
	}
}

func TestDirectionsNameAnAddressThatCanBeDialled(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:1883": "-h 127.0.0.1 -p 1883 ",
		"0.0.0.0:1884":   "-h 127.0.0.1 -p 1884 ",
		"[::]:1885":      "-h 127.0.0.1 -p 1885 ",
		"[::1]:1886":     "-h ::1 -p 1886 ",
	} {
		if d := (&broker{address: address}).directions("meter2mqtt", "127.0.0.1:8099"); !strings.Contains(d, want) {
			t.Errorf("%s: %s", address, d)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for ip, want := range map[string]bool{"127.0.0.1": true, "127.3.2.1": true, "::1": true, "0.0.0.0": false, "::": false, "192.0.2.1": false} {
		if got := isLoopback(&net.TCPAddr{IP: net.ParseIP(ip)}); got != want {
			t.Errorf("%s: %t", ip, got)
		}
	}
	if isLoopback(&net.UnixAddr{}) {
		t.Error("a socket that is not TCP")
	}
}

// The demo runs beside a broker and a gateway that are at work.
func TestTheDemoTakesAnotherPortWhereTheUsualOneIsTaken(t *testing.T) {
	for _, address := range []string{usual, "127.0.0.1:8099"} {
		if taken, err := net.Listen("tcp", address); err == nil { // else somebody has it, which is as good
			defer taken.Close()
		}
	}
	b, err := start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	page, err := freePort(t.Context())
	if err != nil || b.address == usual || page == "127.0.0.1:8099" {
		t.Errorf("the broker is at %s, the page at %s, %v", b.address, page, err)
	}
	if !hears(t, b, "", "") {
		t.Error("nobody is let in")
	}
}

func TestADemoThatFindsNoRoomEndsWithItsReason(t *testing.T) {
	t.Setenv("TMPDIR", "/dev/null")
	if err := Run(t.Context(), Options{Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("got %v", err)
	}
	if _, err := configure("/dev/null", &broker{address: "127.0.0.1:1"}, ""); err == nil {
		t.Error("written into a device")
	}
}
