package bridge_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// control is a part of the bridge's own device in Home Assistant that does something.
type control struct {
	Platform string
	Command  string `json:"command_topic"`
	Press    string `json:"payload_press"`
	Options  []string
}

// payloads are what Home Assistant may send.
func (c control) payloads() []string {
	if c.Platform == "button" {
		return []string{c.Press}
	}
	return c.Options
}

// controlsOf are those that the bridge has announced of itself.
func controlsOf(t *testing.T, broker *brokertest.Broker) map[string]control {
	t.Helper()
	const topic = "homeassistant/device/meter2mqtt_bridge/config"
	message := broker.Until("the bridge's device", func(m brokertest.Message) bool { return m.Topic == topic && m.Payload != "" })
	var device struct{ Components map[string]control }
	if err := json.Unmarshal([]byte(message.Payload), &device); err != nil {
		t.Fatal(err)
	}
	controls := map[string]control{}
	for key, c := range device.Components {
		if c.Command != "" {
			controls[key] = c
		}
	}
	return controls
}

// Whatever button of the bridge's own device is pressed and whatever is chosen there:
// it is answered, and done.
func TestEachControlOfTheBridgesDeviceIsAnswered(t *testing.T) {
	broker := startedBroker(t)
	runText(t, fmt.Sprintf("[mqtt]\nurl = %q\n[state]\ndir = %q\n[[meter]]\nname = \"mains\"\ndriver = \"p1\"\nport = %q\n",
		broker.URL(), t.TempDir(), simulatedMeter(t, "p1", sim.Options{})))
	broker.UntilIs("meter2mqtt/mains/availability", "online")
	controls := controlsOf(t, broker)
	for _, key := range []string{"poll", "log_level", "pause_mains", "resume_mains", "record_mains"} {
		c, there := controls[key]
		if !there || len(c.payloads()) == 0 {
			t.Fatalf("%s: %+v of %+v", key, c, controls)
		}
		answers := strings.Replace(c.Command, "/request/", "/response/", 1)
		for _, payload := range c.payloads() {
			before := len(broker.Seen(answers))
			broker.Publish(c.Command, payload, false)
			broker.Until("an answer to "+key, func(brokertest.Message) bool { return len(broker.Seen(answers)) > before })
			var said struct {
				OK   bool
				File string
			}
			text := broker.Seen(answers)[before].Payload
			if err := json.Unmarshal([]byte(text), &said); err != nil || !said.OK || (said.File != "") != (key == "record_mains") {
				t.Errorf("%s %q: %s, %v", key, payload, text, err)
			}
		}
		delete(controls, key)
	}
	// This gateway has no configuration to read again: it is answered all the same.
	broker.Publish(controls["reload"].Command, controls["reload"].Press, false)
	broker.Until("an answer to reload", func(m brokertest.Message) bool {
		return m.Topic == "meter2mqtt/bridge/response/reload" && strings.Contains(m.Payload, `"ok":false,"error":`)
	})
	if delete(controls, "reload"); len(controls) > 0 {
		t.Errorf("nobody tried %+v", controls)
	}
}
