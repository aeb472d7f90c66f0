package bridge_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

const topicsPage = "../docs/topics.md"

var topicOfPage = regexp.MustCompile("(?m)^\\| `(meter2mqtt/[^`]+)`")

// topicsOfThePage are the topics of docs/topics.md that we publish on, and those
// that others publish on for us.
func topicsOfThePage(t *testing.T) (ours, theirs []string) {
	t.Helper()
	b, err := os.ReadFile(topicsPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range topicOfPage.FindAllStringSubmatch(string(b), -1) {
		if strings.Contains(m[1], "/request/") || strings.Contains(m[1], "/set/") || strings.Contains(m[1], "/get/") {
			theirs = append(theirs, m[1])
			continue
		}
		ours = append(ours, m[1])
	}
	slices.Sort(ours)
	return ours, theirs
}

// general is a topic with what differs from meter to meter left out.
func general(topic string) string {
	parts := strings.Split(topic, "/")
	if len(parts) < 3 || parts[0] != "meter2mqtt" {
		return ""
	}
	if parts[1] != "bridge" {
		parts[1] = "METER"
	}
	if len(parts) > 3 {
		parts[3] = map[string]string{"value": "KEY"}[parts[2]]
		if parts[3] == "" {
			parts[3] = "NAME"
		}
	}
	return strings.Join(parts[:min(4, len(parts))], "/")
}

// A gateway at work publishes on the topics of the page and on no other, and takes
// every request that the page names.
func TestThePageOnTopicsIsRight(t *testing.T) {
	broker := startedBroker(t)
	read := runText(t, fmt.Sprintf(`
[mqtt]
url = %q
values = true
[state]
dir = %q
[[meter]]
name = "mains"
driver = "p1"
port = %q
[[meter]]
name = "feeder"
driver = "iec62056-21"
port = %q
every = "1s"
timezone = "Europe/Amsterdam"
password = %q
write = ["limit"]
registers = ["limit C.3.9 number kW 0..10"]
`, broker.URL(), t.TempDir(), simulatedMeter(t, "p1", sim.Options{}), simulatedMeter(t, "iec62056-21", sim.Options{}), sim.ExamplePassword))
	broker.UntilIs("meter2mqtt/feeder/availability", "online")
	broker.UntilIs("meter2mqtt/mains/availability", "online")
	broker.Publish("meter2mqtt/feeder/set/limit", "4", false)
	broker.UntilIs("meter2mqtt/feeder/parameter/limit", "4")
	broker.Until("a result", func(m brokertest.Message) bool { return m.Topic == "meter2mqtt/feeder/result" })
	broker.Until("an event", func(m brokertest.Message) bool { return m.Topic == "meter2mqtt/feeder/event" })
	broker.Stop() // what is read meanwhile comes as history
	for before := read(); read() < before+8; {
		time.Sleep(20 * time.Millisecond) // between looks
	}
	broker.Start()
	broker.Until("history", func(m brokertest.Message) bool { return strings.HasSuffix(m.Topic, "/history") })

	ours, theirs := topicsOfThePage(t)
	for _, topic := range theirs {
		name, ok := strings.CutPrefix(topic, "meter2mqtt/bridge/request/")
		if !ok {
			continue
		}
		broker.Publish(topic, `{"id":"`+name+`","meter":"feeder","value":"debug"}`, false)
		answer := broker.Until("an answer to "+name, func(m brokertest.Message) bool {
			return m.Topic == "meter2mqtt/bridge/response/"+name && strings.Contains(m.Payload, `"id":"`+name+`"`)
		})
		var said struct{ Error string }
		if err := json.Unmarshal([]byte(answer.Payload), &said); err != nil || strings.Contains(said.Error, "unknown request") {
			t.Errorf("%s: %s, %v", name, answer.Payload, err)
		}
	}
	var seen []string
	for _, m := range broker.Seen("") {
		g := general(m.Topic)
		if g != "" && !strings.Contains(m.Topic, "/request/") && !strings.Contains(m.Topic, "/set/") && !slices.Contains(seen, g) {
			seen = append(seen, g)
		}
	}
	slices.Sort(seen)
	if diff := cmp.Diff(ours, seen); diff != "" {
		t.Errorf("-the page +what was published\n%s", diff)
	}
}
