package bridge

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

func TestAFlightRemembersTheLastBytesOfItsLine(t *testing.T) {
	var f flight
	var said []byte
	for i := range 3000 {
		piece := bytes.Repeat([]byte{byte(i)}, 1+i%23)
		f.hear(piece)
		said = append(said, piece...)
	}
	for _, n := range []int{0, 1, 1000, flightBytes} {
		if got := f.since(nil, f.now()-int64(n)); !bytes.Equal(got, said[len(said)-n:]) {
			t.Errorf("the last %d bytes are not what was said", n)
		}
	}
	if got := f.since(nil, 0); len(got) != flightBytes {
		t.Errorf("%d bytes are remembered, want %d", len(got), flightBytes)
	}
	f.hear(bytes.Repeat([]byte("x"), 3*flightBytes))
	if got := f.since(nil, 0); !bytes.Equal(got, bytes.Repeat([]byte("x"), flightBytes)) {
		t.Error("a piece longer than the flight is not remembered by its end")
	}
}

func TestAFlightThatRestsTakesNoRoom(t *testing.T) {
	var f flight
	m := recorded(&f)
	for range 3 {
		f.hear(bytes.Repeat([]byte("old"), 5000))
		f.rest()
		if f.ring != nil {
			t.Errorf("it rests and has room for %d bytes", len(f.ring))
		}
	}
	f.hear([]byte("new"))
	m.lostFrames.note(&drivers.FrameError{Length: 3}, time.Now(), &f)
	if got := m.lostFrames.copies()[0].bytes; string(got) != "new" || len(f.ring) != flightBegins {
		t.Errorf("%q is remembered, in %d bytes of room", got, len(f.ring))
	}
	f.hear(bytes.Repeat([]byte("x"), flightBegins))
	if got := f.since(nil, 0); !bytes.HasSuffix(got, []byte("x")) || bytes.Contains(got, []byte("old")) || bytes.IndexByte(got, 0) >= 0 {
		t.Errorf("%d bytes are remembered: %.10q", len(got), got)
	}
}

func TestAFlightTakesTheRoomThatItsTelegramsNeed(t *testing.T) {
	for _, c := range []struct{ telegram, room int }{{100, flightBegins}, {900, 2 * flightBegins}, {3000, 8 * flightBegins}, {flightBytes, flightBytes}} {
		var f flight
		m := recorded(&f)
		for range 50 {
			f.hear(bytes.Repeat([]byte("x"), c.telegram))
			m.lostFrames.dealt(m.flight)
		}
		if len(f.ring) != c.room {
			t.Errorf("telegrams of %d bytes take %d bytes, want %d", c.telegram, len(f.ring), c.room)
		}
	}
}

func TestWhatAMeterOfTheLineNeedsOutlivesTheOthers(t *testing.T) {
	var f flight
	quiet, loud := recorded(&f), recorded(&f)
	f.hear([]byte("quiet "))
	quiet.lostFrames.dealt(&f)
	for range 100 {
		f.hear(bytes.Repeat([]byte("x"), 50))
		loud.lostFrames.dealt(&f)
	}
	quiet.refuse(&drivers.FrameError{Field: "CRC", Err: drivers.ErrChecksum}, time.Unix(0, 0))
	if want := "quiet " + strings.Repeat("x", 5000); string(quiet.lostFrames.copies()[0].bytes) != want {
		t.Error("what the quiet meter said is not kept")
	}
}

func TestAQuestionLetsAFlightForget(t *testing.T) {
	var f flight
	first, second := recorded(&f), recorded(&f)
	for range 100 {
		for _, m := range []*meter{first, second} {
			m.asks(false)
			f.hear(bytes.Repeat([]byte("x"), 500))
			m.lostFrames.dealt(&f)
		}
	}
	if len(f.ring) != flightBegins {
		t.Errorf("answers of 500 bytes take %d bytes, want %d", len(f.ring), flightBegins)
	}
}

// recorded is a P1 meter whose line has a flight recorder.
func recorded(f *flight) *meter {
	m := &meter{log: zerolog.New(io.Discard), config: config.Meter{
		Name: "main", Driver: p1.Driver, Options: &p1.Config{Key: drivers.NewSecret(canary.TextKey)},
	}}
	m.identity.ID = "E0012345678"
	m.hears(f)
	return m
}

func TestRefusedFramesAreKeptWithWhatTheLineSaid(t *testing.T) {
	var f flight
	m := recorded(&f)
	e := &drivers.FrameError{Field: "CRC", Err: drivers.ErrChecksum, Length: 3}
	for i := range flightFrames + 3 {
		f.hear([]byte{'a' + byte(i)})
		m.refuse(e, time.Unix(int64(i), 0))
	}
	kept := m.lostFrames.copies()
	if len(kept) != flightFrames {
		t.Fatalf("%d frames are kept, want the last %d", len(kept), flightFrames)
	}
	for i, frame := range kept {
		if want := string(rune('a' + i + 3)); string(frame.own()) != want || frame.at.Unix() != int64(i+3) {
			t.Errorf("frame %d of second %d holds %q, want %q", i, frame.at.Unix(), frame.own(), want)
		}
		if want := string(rune('a'+i+2)) + string(frame.own()); string(frame.bytes) != want {
			t.Errorf("frame %d holds %q, want %q with the one before it", i, frame.bytes, want)
		}
	}
}

func TestAGoodTelegramBeforeARefusedOneIsKeptWithIt(t *testing.T) {
	var f flight
	m := recorded(&f)
	for _, word := range []string{"old ", "good "} {
		f.hear([]byte(word))
		m.lostFrames.dealt(m.flight)
	}
	f.hear([]byte("bad"))
	m.refuse(&drivers.FrameError{Field: "CRC", Err: drivers.ErrChecksum}, time.Unix(0, 0))
	if got := string(m.lostFrames.copies()[0].bytes); got != "good bad" {
		t.Errorf("kept %q, want the refused telegram and the good one before it", got)
	}
}

func TestTheFlightRecorderCostsNoMemoryInTheSteadyState(t *testing.T) {
	var f flight
	m := recorded(&f)
	e := &drivers.FrameError{Field: "CRC", Err: drivers.ErrChecksum}
	piece := bytes.Repeat([]byte("x"), 900)
	round := func() {
		f.hear(piece)
		m.lostFrames.dealt(m.flight)
		f.hear(piece)
		m.lostFrames.note(e, time.Unix(0, 0), m.flight)
	}
	for range 2 * flightFrames {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%.1f allocations a telegram", n)
	}
}

func TestAReportHoldsNoSecretAndNoID(t *testing.T) {
	var f flight
	m := recorded(&f)
	f.hear([]byte("/ABC5METER-1\r\n\r\n0-0:96.1.1(4530303132333435363738)\r\n1-0:1.8.1(000123.4*kWh)\r\n!1234\r\n"))
	m.refuse(&drivers.FrameError{Field: "CRC", Err: drivers.ErrChecksum}, time.Unix(0, 0))
	b := &Bridge{meters: []*meter{m}, config: config.Config{MQTT: config.MQTT{
		URL: "mqtt://canary-host:1883", Username: "canary-user", Password: drivers.NewSecret(canary.MQTTPassword),
	}}}
	var out strings.Builder
	if err := b.Report(&out); err != nil {
		t.Fatal(err)
	}
	canary.Keep(t, "report", []byte(out.String()))
	for _, word := range []string{"canary", canary.Mark, "12345678", "3132333435363738"} {
		if strings.Contains(out.String(), word) {
			t.Errorf("%q is in the report:\n%s", word, out.String())
		}
	}
	for _, word := range []string{`"meter":"main"`, `"hex":"2f414243`, `"reason":"CRC at byte`, `"key":"0000000000000000"`} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("%q is not in the report:\n%s", word, out.String())
		}
	}
}
