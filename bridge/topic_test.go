package bridge

import (
	"encoding/hex"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
)

// hanAPDU is what an adapter publishes that takes the frame off: one power.
func hanAPDU(watts byte) []byte {
	b := dlms.AppendNotification(nil, 0x40000000, nil)
	return append(b, 1, 1, 2, 3, 9, 6, 1, 0, 1, 7, 0, 255, 6, 0, 0, 0, watts, 2, 2, 15, 0, 22, 27)
}

func TestTelegramsThatAnotherProgramPublishesAreRead(t *testing.T) {
	b, g := brokertest.New(t), newGateway(t)
	b.Start()
	defer b.Stop()
	meter := "[[meter]]\nname = \"han\"\ndriver = \"hdlc\"\nport = \"mqtt:adapter/han\"\n"
	g.configure(b, meter+p1Meter("main", "mqtt:adapter/p1", ""))
	g.start()
	b.UntilIs("meter2mqtt/bridge/availability", "online")
	untilLog(t, g, `"message":"line open"`, 2)
	say := func(payload []byte, watts string) {
		t.Helper()
		b.Publish("adapter/han", string(payload), false)
		untilField(b, "meter2mqtt/han/state", "1-0:1.7.0", watts)
	}
	say(hanAPDU(1), "1")
	say([]byte(hex.EncodeToString(hanAPDU(2))), "2")
	say(hdlc.AppendHDLC(nil, []byte{0x41, 0x08, 0x83, 0x13}, hanAPDU(3), 2047), "3")
	say(append([]byte{0, 1, 0, 1, 0, 16, 0, byte(len(hanAPDU(4)))}, hanAPDU(4)...), "4") // the wrapper of the TCP profile
	b.Publish("adapter/p1", telegram("1-0:1.7.0(00.005*kW)"), false)
	untilField(b, "meter2mqtt/main/state", "1-0:1.7.0", "5")

	b.Cut() // the subscription is made again
	untilLog(t, g, "broker connected", 2)
	say(hanAPDU(6), "6")

	g.configure(b, meter+`label = "other"`) // reloaded, the line is opened anew
	g.hangup <- nil
	untilLog(t, g, `"message":"line open"`, 3)
	say(hanAPDU(7), "7")
}
