package bridge_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

const (
	scanRequests  = "meter2mqtt/bridge/request/scan"
	scanResponses = "meter2mqtt/bridge/response/scan"
)

// running runs a gateway with one heat meter on an M-Bus line of its own, and says
// where that is.
func running(t *testing.T, broker *brokertest.Broker) (port string) {
	t.Helper()
	port = simulatedMeter(t, "mbus", sim.Options{Model: "heat"})
	runText(t, "[mqtt]\nurl = \""+broker.URL()+"\"\n[state]\ndir = \""+t.TempDir()+"\"\n"+
		"[[meter]]\nname = \"heat\"\ndriver = \"mbus\"\nport = \""+port+"\"\naddress = \"1\"\nevery = \"1s\"\n")
	broker.UntilIs("meter2mqtt/heat/availability", "online")
	return port
}

// said waits for a response of a state.
func said(broker *brokertest.Broker, state string) (r map[string]any) {
	broker.Until("a response that says "+state, func(m brokertest.Message) bool {
		r = nil
		return m.Topic == scanResponses && json.Unmarshal([]byte(m.Payload), &r) == nil && r["state"] == state
	})
	return r
}

func startedBroker(t *testing.T) *brokertest.Broker {
	t.Helper()
	broker := brokertest.New(t)
	broker.Start()
	t.Cleanup(broker.Stop)
	return broker
}

func TestALineIsSearchedByRequestAndItsMetersAreReadMeanwhile(t *testing.T) {
	broker := startedBroker(t)
	port := running(t, broker)
	states := func() int { return len(broker.Seen("meter2mqtt/heat/state")) }
	before := states()
	// 60 ms are enough for the only meter, and keep 502 silent probes short.
	broker.Publish(scanRequests, `{"id":7,"port":"`+port+`","ways":["secondary","primary"],"set":["timeout=60ms","retries=1"]}`, false)
	broker.UntilIs(scanResponses, `{"id":7,"ok":true}`)
	found := said(broker, "found")
	keys, _ := found["keys"].(map[string]any)
	text, _ := found["config"].(string)
	if found["id"] != 7.0 || keys["secondary"] != "300001002D2C0804" || !strings.Contains(text, "port = \""+port+"\"\nsecondary = \"300001002D2C0804\"\n") {
		t.Errorf("found %v", found)
	}
	broker.Until("progress by primary addresses", func(m brokertest.Message) bool {
		return m.Topic == scanResponses && strings.Contains(m.Payload, `"at":"primary `)
	})
	broker.Publish(scanRequests, `{"id":8}`, false)
	broker.Until("a refusal of a second search", func(m brokertest.Message) bool {
		return m.Topic == scanResponses && strings.Contains(m.Payload, `{"id":8,"ok":false,"error":"a search of `+port)
	})
	at := states()
	broker.Until("a state amid the search", func(brokertest.Message) bool { return states() > at })
	broker.Publish(scanRequests, `{"id":9,"cancel":true}`, false)
	broker.UntilIs(scanResponses, `{"id":9,"ok":true}`)
	ended := said(broker, "cancelled")
	if ended["id"] != 7.0 || ended["resume"] == "" || ended["meters"] == 0.0 || states() <= before {
		t.Errorf("ended with %v", ended)
	}

	// It goes on from there, on the same line, and is cancelled once more.
	broker.Forget()
	resume, _ := json.Marshal(ended["resume"])
	broker.Publish(scanRequests, `{"ways":["secondary","primary"],"set":["timeout=60ms"],"resume":`+string(resume)+`}`, false)
	if r := said(broker, "progress"); !strings.HasPrefix(r["at"].(string), "primary ") {
		t.Errorf("went on at %v", r["at"])
	}
	broker.Publish(scanRequests, `{"cancel":true}`, false)
	said(broker, "cancelled")
}

func TestASearchEndsByItself(t *testing.T) {
	broker := startedBroker(t)
	running(t, broker)
	broker.Publish(scanRequests, `{"ways":["secondary"],"set":["timeout=200ms","secondary=300001FF"]}`, false)
	done := said(broker, "done")
	if done["ok"] != true || done["done"] != 1.0 || done["meters"] != 1.0 {
		t.Errorf("done with %v", done)
	}
	broker.Forget()
	broker.Publish(scanRequests, `{"resume":"nonsense"}`, false)
	if r := said(broker, "failed"); r["ok"] != false || !strings.Contains(r["error"].(string), "resume a search") {
		t.Errorf("failed with %v", r)
	}
}

func TestASearchThatMakesNoSenseIsRefused(t *testing.T) {
	broker := startedBroker(t)
	running(t, broker)
	for request, says := range map[string]string{
		`[1]`:                      "no JSON object",
		`{"cancel":true}`:          "no search is under way",
		`{"driver":"p1"}`:          "mbus can",
		`{"ways":["up"]}`:          "it knows secondary, primary",
		`{"bauds":[1]}`:            "no speed",
		`{"port":"/dev/ttyUSB9"}`:  "is no line of driver mbus",
		`{"set":["timeout"]}`:      "KEY=VALUE",
		`{"set":["timeout=long"]}`: "no duration",
	} {
		broker.Forget()
		broker.Publish(scanRequests, request, false)
		broker.Until("a refusal of "+request, func(m brokertest.Message) bool {
			return m.Topic == scanResponses && strings.Contains(m.Payload, `"ok":false`) && strings.Contains(m.Payload, says)
		})
	}
}
