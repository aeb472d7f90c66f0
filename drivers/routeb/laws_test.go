package routeb

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
)

// j11House is the house's frame as a J11 module passes it on.
var j11House = func() []byte {
	from := LinkLocal(0x001C6400030C12A4)
	data := append(append([]byte(nil), from[:]...), 0x0E, 0x1A, 0x0E, 0x1A, 0x88, 0x88, 0, 2, 0xC4, 0, byte(len(houseFrame)))
	return AppendJ11Answer(nil, j11Received, append(data, houseFrame...))
}()

func houseAs(form uint8) []byte {
	d := Datagram{
		Sender: LinkLocal(1), Destination: LinkLocal(2), From: port, To: port, MAC: 1, Side: int8(form % 2), Secured: true, Data: houseFrame,
	}
	switch form % 4 {
	case 0:
		return d.AppendUDPLine(nil, true)
	case 1:
		d.Side = 0
		d.RSSI = rssi(0xA5)
		return d.AppendUDPLine(nil, false)
	case 2:
		d.Side = -1
		return d.AppendUDPLine(nil, false)
	}
	return j11House
}

// printed are the readings of a stream fed in chunks of the given sizes, in turns;
// no sizes: at once.
func printed(t testing.TB, stream []byte, sizes ...int) []string {
	t.Helper()
	return decodertest.Printed(t, NewDecoder(newConfig()), stream, sizes...)
}

func seed(f *testing.F, add func(b []byte)) {
	f.Helper()
	for form := range uint8(4) {
		add(houseAs(form))
	}
	add(houseFrame)
	add([]byte("EVENT 21 FE80:0000:0000:0000:021C:6400:030C:12A4 0 00\r\nOK\r\nEPANDESC\r\n  Channel:21\r\n"))
	files, _ := filepath.Glob(filepath.Join(corpusDir, "sessions", "*.json"))
	for _, file := range files[:min(3, len(files))] {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		add(b[:min(len(b), 4096)])
	}
}

// Law 1: any input, no panic, bounded memory.
func FuzzBytes(f *testing.F) {
	seed(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, stream []byte) {
		d := NewDecoder(newConfig())
		for len(stream) > 0 {
			n := min(512, len(stream))
			d.Feed(stream[:n])
			stream = stream[n:]
			decodertest.Drain(t, d)
			if held := d.scanner.Held(); held > 2*maxPayload+1024 {
				t.Fatalf("%d bytes are held", held)
			}
		}
		d.Gap()
		decodertest.Drain(t, d)
		if held := d.scanner.Held(); held > 0 {
			t.Fatalf("%d bytes are held over a gap", held)
		}
	})
}

// The session's own readers, too, take any bytes.
func FuzzTexts(f *testing.F) {
	f.Add([]byte("EVENT 21 FE80::1 0 00"))
	f.Add([]byte("  Channel:21"))
	f.Add([]byte{0, 0, 0, 88, 0xA0, 0, 0, 2})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = ParseEvent(b)
		new(PAN).learn(b)
		_, _ = sessionLifetime(b)
		_ = recall(string(b))
		_ = appendFound(nil, b)
		_, _ = ParseRows(b, 0)
		_, _ = ParseDay(b)
		_, _ = ParseCodes(b)
		_, _ = ParseSelection(b)
		_, _ = encodeLocation(string(b))
		_, _ = parseSelectionText(string(b))
	})
}

// Law 2: any cut of the stream gives the same readings.
func FuzzCuts(f *testing.F) {
	seed(f, func(b []byte) { f.Add(b, uint8(7), uint8(200)) })
	f.Fuzz(func(t *testing.T, stream []byte, first, second uint8) {
		if diff := cmp.Diff(printed(t, stream), printed(t, stream, int(first), int(second))); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEveryCutIntoTwoGivesTheSameReadings(t *testing.T) {
	stream := []byte("noise\x10ER\r\n")
	for form := range uint8(4) {
		stream = append(append(stream, houseAs(form)...), "\xD0\xF9OK\r\n"...)
	}
	want := printed(t, stream)
	if len(want) != 4 {
		t.Fatalf("%d readings, want 4: %q", len(want), want)
	}
	for n := 1; n < len(stream); n++ {
		if diff := cmp.Diff(want, printed(t, stream, n, len(stream))); diff != "" {
			t.Fatalf("cut at %d: %s", n, diff)
		}
	}
	if diff := cmp.Diff(want, printed(t, stream, 1)); diff != "" {
		t.Fatalf("byte by byte: %s", diff)
	}
}

// Law 3: a damaged frame gives no reading, or the very same one, and the next one is
// read. Text lines have no check of their own: only J11 frames can keep this law
// against a flipped bit, and all forms against a cut.
func FuzzFlips(f *testing.F) {
	f.Add(uint16(5), uint8(0))
	f.Add(uint16(60), uint8(7))
	f.Fuzz(func(t *testing.T, at uint16, bit uint8) {
		damaged := bytes.Clone(j11House)
		damaged[int(at)%len(damaged)] ^= 1 << (bit % 8)
		onlySound(t, damaged, j11House)
	})
}

func FuzzCutFrames(f *testing.F) {
	f.Add(uint8(0), uint16(100))
	f.Add(uint8(1), uint16(130))
	f.Add(uint8(3), uint16(30))
	f.Fuzz(func(t *testing.T, form uint8, length uint16) {
		good := houseAs(form)
		onlySound(t, good[:int(length)%len(good)], good)
	})
}

// onlySound feeds a damaged frame and two good ones, and wants nothing but what the
// good ones give. A binary line swallows one that follows it, for nothing tells
// where its data end.
func onlySound(t testing.TB, damaged, good []byte) {
	t.Helper()
	want := printed(t, good)[0]
	stream := append(append(bytes.Clone(damaged), good...), good...)
	got := printed(t, stream)
	if len(got) == 0 || len(got) > 3 {
		t.Fatalf("%d readings from a damaged frame and two good ones: %q", len(got), stream)
	}
	for _, g := range got {
		if g != want {
			t.Fatalf("from %q\ngot  %s\nwant %s", damaged, g, want)
		}
	}
}

func TestEveryFlippedBitOfAJ11FrameIsNoticed(t *testing.T) {
	for at := range len(j11House) {
		for bit := range 8 {
			damaged := bytes.Clone(j11House)
			damaged[at] ^= 1 << bit
			onlySound(t, damaged, j11House)
		}
	}
}

func TestEveryCutLosesNoMoreThanOneFrame(t *testing.T) {
	for form := range uint8(4) {
		good := houseAs(form)
		for n := range good {
			onlySound(t, good[:n], good)
		}
	}
}

// Law 4: noise before, between and after changes nothing.
func FuzzNoise(f *testing.F) {
	for _, s := range []string{"", "\x00\xff~", "EVENT 2", "\r\nOK\r\n", "ERX", "\xD0\xF9", "FAIL ER10\r\n"} {
		f.Add([]byte(s), []byte(s+s), uint8(len(s)))
	}
	f.Fuzz(func(t *testing.T, before, after []byte, form uint8) {
		for _, noise := range [][]byte{before, after} {
			if len(noise) > 200 || tellsSomething(noise) {
				t.Skip()
			}
		}
		good := houseAs(form)
		stream := append(append(append(bytes.Clone(before), good...), after...), "\r\n"...)
		stream = append(stream, good...)
		want := printed(t, good)
		if diff := cmp.Diff(append(want, want...), printed(t, stream)); diff != "" {
			t.Error(diff)
		}
	})
}

// tellsSomething says that noise has the beginning of a frame, which swallows what
// follows by right.
func tellsSomething(noise []byte) bool {
	return bytes.Contains(noise, udpWord) || bytes.Contains(noise, j11Mark) || bytes.Contains(noise, bareMark) ||
		bytes.HasSuffix(noise, bareMark[:1])
}

// Law 5: what we can send reads back as it was.
func FuzzFrames(f *testing.F) {
	f.Add(uint16(1), uint8(0xE7), []byte{0, 0, 4, 0xD2}, uint8(0xE8), []byte{}, true, uint8(0xA5), true)
	f.Add(uint16(65535), uint8(0x80), []byte("0"), uint8(0x10), []byte("\r\nERXUDP "), false, uint8(0), false)
	f.Fuzz(func(t *testing.T, tid uint16, first uint8, a []byte, second uint8, b []byte, twoLists bool, lqi uint8, ascii bool) {
		if len(a) > 255 || len(b) > 255 {
			t.Skip()
		}
		in := Frame{TID: tid, Source: Meter, Sink: Controller, Service: GetRes, Properties: []Property{{first, a}, {second, b}}}
		if twoLists {
			in.Service, in.Gets = SetGetRes, []Property{{second, a}}
		}
		d := Datagram{Sender: LinkLocal(uint64(tid)), From: port, To: panaPort, MAC: 7, Secured: ascii, RSSI: rssi(uint64(lqi)), Data: in.AppendTo(nil)}
		var s Scanner
		var item Item
		s.Feed(d.AppendUDPLine(nil, ascii))
		if err := s.Next(&item); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, item.Datagram, cmp.Comparer(func(x, y []byte) bool { return bytes.Equal(x, y) })); diff != "" {
			t.Fatal(diff)
		}
		var out Frame
		if _, _, err := out.Parse(item.Datagram.Data); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprintf("%X", out), fmt.Sprintf("%X", in); strings.ReplaceAll(got, "[]", "") != strings.ReplaceAll(want, "[]", "") {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

func FuzzMaps(f *testing.F) {
	f.Add([]byte{2, 0x80, 0xE7})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCodes(b)
		if err != nil {
			return
		}
		again, err := ParseCodes(c.Encode())
		if err != nil || again != c {
			t.Errorf("%X became %X, %v", c, again, err)
		}
	})
}
