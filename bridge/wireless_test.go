package bridge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
)

// radioLine is a line of a radio receiver: a volume in litres of a meter by Kamstrup.
func radioLine(t *testing.T, id string, litres int64) string {
	t.Helper()
	a, err := mbus.ParseAddress(id + "2D2C0107")
	if err != nil {
		t.Fatal(err)
	}
	volume := mbus.DataRecord{VIB: []byte{0x13}}
	if err := volume.SetInt(litres, 4); err != nil {
		t.Fatal(err)
	}
	b := []byte{0, 0x44, a[4], a[5], a[0], a[1], a[2], a[3], a[6], a[7], 0x7A, byte(litres), 0, 0, 0}
	if b, err = volume.AppendTo(b); err != nil {
		t.Fatal(err)
	}
	b[0] = byte(len(b) - 1)
	return fmt.Sprintf("%X\r\n", mbus.AppendFormatA(nil, b))
}

func radioMeter(name, port, id string) string {
	return fmt.Sprintf("[[meter]]\nname = %q\ndriver = \"wmbus\"\nport = %q\nid = %q\n", name, port, id)
}

func TestMetersShareARadioReceiverAndStrangersAreToldOnce(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, radioMeter("one", m.port(), "11111111")+radioMeter("two", m.port(), "22222222"))
	g.start()
	for range 3 {
		m.say(radioLine(t, "11111111", 1001))
		m.say(radioLine(t, "33333333", 3003))
		m.say(radioLine(t, "22222222", 2002))
	}
	untilField(b, "meter2mqtt/one/state", "8-0:1.0.0", "1.001")
	untilField(b, "meter2mqtt/two/state", "8-0:1.0.0", "2.002")
	untilLog(t, g, "telegrams of a meter that the configuration does not have", 1)
	g.stop()
	if n := strings.Count(g.log.String(), "does not have"); n != 1 {
		t.Errorf("told %d times: %s", n, g.log.String())
	}
	if !strings.Contains(g.log.String(), `id = \"33333333\"`) {
		t.Error(g.log.String())
	}
}

// A telegram that arrives in pieces may be of any meter, so it is told once and
// makes none of them look badly heard; where its header is whole it is of the one
// that the header names.
func TestADamagedTelegramCountsForTheMeterItIsOfAlone(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, radioMeter("one", m.port(), "11111111")+radioMeter("two", m.port(), "22222222"))
	g.start()
	damage := func(line string, at int) string { return line[:at] + "00" + line[at+2:] }
	one, two := radioLine(t, "11111111", 1001), radioLine(t, "22222222", 2002)
	m.say(one + two)
	m.say(damage(one, 20)) // the CRC of the header
	m.say(damage(two, len(two)-4))
	m.say(radioLine(t, "11111111", 1003) + radioLine(t, "22222222", 2004))
	untilField(b, "meter2mqtt/one/state", "8-0:1.0.0", "1.003")
	untilField(b, "meter2mqtt/two/state", "8-0:1.0.0", "2.004")
	g.stop()
	for name, want := range map[string]string{"one": "0", "two": "1"} {
		untilField(b, "meter2mqtt/"+name+"/diagnostic", "refused", want)
	}
	if n := strings.Count(g.log.String(), `"message":"frames lost"`); n != 2 {
		t.Errorf("told %d times of two lost telegrams: %s", n, g.log.String())
	}
}

func TestTelegramsOfATopicReachTheMetersTheyAreOf(t *testing.T) {
	b, g := brokertest.New(t), newGateway(t)
	b.Start()
	defer b.Stop()
	g.configure(b, radioMeter("one", "mqtt:radio/telegrams", "11111111")+radioMeter("two", "mqtt:radio/telegrams", "22222222"))
	g.start()
	b.UntilIs("meter2mqtt/bridge/availability", "online")
	b.Until("both meters", func(brokertest.Message) bool {
		b.Publish("radio/telegrams", strings.TrimSpace(radioLine(t, "11111111", 1001)), false)
		b.Publish("radio/telegrams", strings.TrimSpace(radioLine(t, "22222222", 2002)), false)
		return len(b.Seen("meter2mqtt/one/state")) > 0 && len(b.Seen("meter2mqtt/two/state")) > 0
	})
	untilField(b, "meter2mqtt/one/state", "8-0:1.0.0", "1.001")
	untilField(b, "meter2mqtt/two/state", "8-0:1.0.0", "2.002")
}
