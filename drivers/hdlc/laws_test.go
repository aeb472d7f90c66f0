package hdlc

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// A telegram made for these tests: list 1 of Norway with a clock, 60 bytes, so
// that every cut and every bit can be tried.
var (
	madeTime = dlms.DateTime{Year: 2026, Month: 1, Day: 31, Hour: 23, Minute: 59, Second: 58, Deviation: -60}
	madePath = []byte{0x41, 0x08, 0x83, 0x13}
)

func madeAPDU() []byte {
	b := dlms.AppendNotification(nil, 0x40000000, &madeTime)
	b = append(b, 1, 2)
	b = append(b, 2, 3, 9, 6, 1, 0, 1, 7, 0, 255, 6, 0, 0, 0x7E, 0xA0, 2, 2, 15, 0, 22, 27)
	return append(b, 2, 3, 9, 6, 1, 0, 1, 8, 0, 255, 6, 0, 1, 0x68, 0x68, 2, 2, 15, 1, 22, 30)
}

// framings are the forms that a telegram comes in.
func framings(t testing.TB) map[string][]byte {
	t.Helper()
	return framingsOf(t, 7)
}

func framingsOf(t testing.TB, counter uint32) map[string][]byte {
	t.Helper()
	apdu := madeAPDU()
	half := len(apdu) / 2
	blocks := appendFrame(nil, madePath, appendBlock([]byte{0xE6, 0xE7, 0}, 1, false, apdu[:half]), false)
	blocks = appendFrame(blocks, madePath, appendBlock(nil, 2, true, apdu[half:]), false)
	sealed := seal(t, apdu, counter)
	return map[string][]byte{
		"hdlc":                AppendHDLC(nil, madePath, apdu, maxLength),
		"hdlc in segments":    AppendHDLC(nil, madePath, apdu, 40),
		"hdlc, one byte":      AppendHDLC(nil, []byte{0x41, 0x03, 0x13}, apdu, maxLength),
		"hdlc, four bytes":    AppendHDLC(nil, []byte{0x00, 0x02, 0x04, 0x41, 0x03, 0x13}, apdu, maxLength),
		"hdlc in blocks":      blocks,
		"hdlc ciphered":       AppendHDLC(nil, madePath, sealed, 60),
		"m-bus":               AppendMBus(nil, apdu, 250),
		"m-bus in segments":   AppendMBus(nil, apdu, 30),
		"m-bus ciphered":      AppendMBus(nil, sealed, 50),
		"wrapper":             appendWrapper(nil, apdu),
		"bare":                apdu,
		"bare with LLC":       append([]byte{0xE6, 0xE7, 0}, apdu...),
		"bare ciphered":       sealed,
		"bare, dedicated key": append([]byte{0xDC}, sealed[1:]...),
	}
}

// madeReading is what they all say, but for check and maker.
func madeReading(t testing.TB) *drivers.Reading {
	t.Helper()
	o := decode(t, benchConfig(), framings(t)["hdlc"])
	if len(o.whole) != 1 {
		t.Fatalf("%d readings, lost %q", len(o.whole), o.lost)
	}
	return o.whole[0]
}

func TestTheMadeTelegram(t *testing.T) {
	want := `crc16 {"driver":"hdlc","meter":{"medium":"electricity"},"time":"2026-01-31T23:59:58+01:00",` +
		`"values":[{"obis":"1-0:1.7.0","name":"power_import","value":32416,"unit":"W"},` +
		`{"obis":"1-0:1.8.0","name":"energy_import","value":922.64,"unit":"kWh"}]}`
	o := decode(t, benchConfig(), framings(t)["hdlc"])
	if diff := cmp.Diff([]string{want}, o.readings); diff != "" {
		t.Error(diff)
	}
}

func TestEveryFramingGivesTheSameValues(t *testing.T) {
	want := madeReading(t)
	for name, stream := range framings(t) {
		t.Run(name, func(t *testing.T) {
			o := decode(t, benchConfig(), stream)
			if len(o.whole) != 1 || len(o.lost) != 0 {
				t.Fatalf("%d readings, lost %q", len(o.whole), o.lost)
			}
			sameValues(t, want, o.whole[0])
			if check := checkOf(name); o.whole[0].Check != check {
				t.Errorf("check %s, want %s", o.whole[0].Check, check)
			}
		})
	}
}

func sameValues(t *testing.T, want, got *drivers.Reading) {
	t.Helper()
	if diff := cmp.Diff(want.Values, got.Values); diff != "" || !want.Time.Equal(got.Time) {
		t.Errorf("time %s, want %s; values:\n%s", got.Time, want.Time, diff)
	}
}

func checkOf(framing string) drivers.Check {
	switch {
	case strings.Contains(framing, "ciphered"), strings.Contains(framing, "key"):
		return drivers.CheckTag
	case strings.HasPrefix(framing, "hdlc"):
		return drivers.CheckCRC16
	case strings.HasPrefix(framing, "m-bus"):
		return drivers.CheckSum8
	}
	return drivers.CheckRelayed
}

// Law 2: any cut of the stream gives the same.
func TestEveryCutGivesTheSame(t *testing.T) {
	streams := framings(t)
	for _, s := range captures(t) {
		if len(s.stream) < 700 {
			streams[s.name] = s.stream
		}
	}
	for name, stream := range streams {
		t.Run(name, func(t *testing.T) {
			c := benchConfig()
			c.Stuffing = strings.Contains(name, "stuffing")
			want := decode(t, c, stream)
			step := 1 + len(stream)/64
			for at := 1; at < len(stream); at += step {
				got := decode(t, c, stream[:at], stream[at:])
				if diff := cmp.Diff(want.readings, got.readings); diff != "" {
					t.Fatalf("cut at %d:\n%s", at, diff)
				}
			}
			got := decode(t, c, slices.Collect(slices.Chunk(stream, 1))...)
			if diff := cmp.Diff(want.readings, got.readings); diff != "" {
				t.Fatalf("byte by byte:\n%s", diff)
			}
		})
	}
}

// Law 3: a flipped bit of a checked frame gives no reading, or the very same one;
// and the good frame behind it is read.
func TestAFlippedBitGivesNothing(t *testing.T) {
	good := AppendHDLC(nil, madePath, madeAPDU(), maxLength)
	for name, stream := range framings(t) {
		if checkOf(name) == drivers.CheckRelayed {
			continue
		}
		t.Run(name, func(t *testing.T) {
			want := madeReading(t)
			for bit := range len(stream) * 8 {
				damaged := bytes.Clone(stream)
				damaged[bit/8] ^= 1 << (bit % 8)
				o := decode(t, benchConfig(), damaged, nil)
				for _, r := range o.whole {
					if cmp.Diff(want.Values, r.Values) != "" {
						t.Fatalf("bit %d: %s", bit, r.AppendJSON(nil))
					}
				}
				if name == "bare, dedicated key" || name == "bare ciphered" {
					continue // what follows a bare APDU must be one
				}
				o = decode(t, benchConfig(), damaged, good)
				if n := len(o.whole); n == 0 || cmp.Diff(want.Values, o.whole[n-1].Values) != "" {
					t.Fatalf("bit %d: the good frame behind is lost: %q", bit, o.lost)
				}
			}
		})
	}
}

// Law 3: a telegram cut anywhere gives no reading, and the good one behind it is
// read.
func TestATornTelegramGivesNothing(t *testing.T) {
	want := madeReading(t)
	good := AppendHDLC(nil, madePath, madeAPDU(), maxLength)
	for name, stream := range framings(t) {
		bare := strings.HasPrefix(name, "bare") || name == "wrapper"
		t.Run(name, func(t *testing.T) {
			for n := 1; n < len(stream); n++ {
				if n == len(stream)-1 && stream[n] == flag && strings.HasPrefix(name, "hdlc") {
					continue // the next frame's opening flag closes this one
				}
				d := newTestDecoder(t, benchConfig())
				var o outcome
				d.Feed(stream[:n])
				o.drain(t, d)
				if bare { // only a silence ends it
					d.Gap()
					o.drain(t, d)
				}
				d.Feed(good)
				o.drain(t, d)
				if len(o.whole) != 1 {
					t.Fatalf("cut at %d: %d readings, lost %q", n, len(o.whole), o.lost)
				}
				sameValues(t, want, o.whole[0])
			}
		})
	}
}

// A front cut off at just the APDU leaves what looks like a bare one.
func TestATailOfAFrameIsNotABareAPDU(t *testing.T) {
	stream := AppendHDLC(nil, madePath, madeAPDU(), maxLength)
	for n := 1; n < len(stream); n++ {
		for _, tail := range [][]byte{stream[n:], slices.Concat(stream[n:], stream[:n])} {
			if o := decode(t, benchConfig(), tail); len(o.whole) != 0 {
				t.Fatalf("from byte %d: %q", n, o.readings)
			}
		}
		if o := decode(t, benchConfig(), slices.Concat(stream[n:], stream)); len(o.whole) != 1 {
			t.Fatalf("from byte %d, then a whole one: %d readings, lost %q", n, len(o.whole), o.lost)
		}
	}
}

// Law 4: noise before, between and after changes nothing.
func TestNoiseChangesNothing(t *testing.T) {
	want := madeReading(t)
	random := rand.New(rand.NewPCG(5, 16))
	first, again := framings(t), framingsOf(t, 8)
	for _, name := range slices.Sorted(maps.Keys(first)) {
		stream := first[name]
		if strings.HasPrefix(name, "bare") || name == "wrapper" {
			continue // they have no start that could be found in noise
		}
		t.Run(name, func(t *testing.T) {
			for range 200 {
				before, between, after := noise(random), noise(random), noise(random)
				o := decode(t, benchConfig(), before, stream, between, again[name], after)
				if len(o.whole) != 2 {
					t.Fatalf("% X | % X | % X: %d readings, lost %q", before, between, after, len(o.whole), o.lost)
				}
				sameValues(t, want, o.whole[0])
				sameValues(t, want, o.whole[1])
			}
		})
	}
}

// noise is up to 40 bytes, most of them such as frames begin with. It holds no header
// of a ciphered APDU, whose LEN takes what follows by right.
func noise(random *rand.Rand) []byte {
	b := make([]byte, random.IntN(40))
	for i := range b {
		b[i] = [...]byte{flag, longStart, 0xA0, 0x0F, 0xDB, 8, 0, 1, 0xE6, byte(random.Uint32())}[random.IntN(10)]
		if title := b[i]; i > 0 && dlms.IsCiphered(b[i-1:]) && (title == 8 || title == 0) {
			b[i] = 1
		}
	}
	return b
}

func TestBareTelegramsInARow(t *testing.T) {
	apdu := madeAPDU()
	stream := slices.Concat(apdu, []byte("\r\n"), apdu, []byte{0, 0}, appendWrapper(nil, apdu), apdu)
	o := decode(t, benchConfig(), stream)
	if len(o.whole) != 4 || len(o.lost) != 0 {
		t.Errorf("%d readings, lost %q", len(o.whole), o.lost)
	}
}

func TestARepeatedTelegramIsOldNews(t *testing.T) {
	var stream []byte
	for _, counter := range []uint32{7, 7, 8, 3, 4, 5} {
		stream = AppendHDLC(stream, madePath, seal(t, madeAPDU(), counter), maxLength)
	}
	o := decode(t, benchConfig(), stream)
	want := "ciphering at byte 0: system title ADN0102030405: the invocation counter does not rise"
	if len(o.whole) != 3 || cmp.Diff([]string{want, want, want}, o.lost) != "" {
		t.Errorf("%d readings, lost %q", len(o.whole), o.lost)
	}
}

func TestSegmentsOfTwoTelegramsAreNotMixed(t *testing.T) {
	first := AppendHDLC(nil, madePath, madeAPDU(), 40)
	other := bytes.Replace(madeAPDU(), []byte{0x7E, 0xA0}, []byte{0x11, 0x22}, 1)
	second := AppendHDLC(nil, madePath, other, 40)
	half := bytes.IndexByte(first[2:], flag) + 2
	for name, stream := range map[string][]byte{
		"the tail is lost":              slices.Concat(first[:half], second),
		"the tail is lost, with silent": slices.Concat(first[:half+1], second),
	} {
		o := decode(t, benchConfig(), stream)
		if len(o.whole) != 1 || o.whole[0].Values[0].Number.String() != "4386" {
			t.Errorf("%s: %q, lost %q", name, o.readings, o.lost)
		}
	}
}

func TestDecodingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	streams := framings(t)
	damaged := bytes.Clone(streams["hdlc"])
	damaged[40] ^= 1
	streams["damaged"] = damaged
	streams["wrong key"] = AppendHDLC(nil, madePath, append(seal(t, madeAPDU(), 9)[:30], make([]byte, 100)...), maxLength)
	streams["a counter that fell"] = AppendHDLC(bytes.Clone(streams["hdlc ciphered"]), madePath, seal(t, madeAPDU(), 3), maxLength)
	streams["an unknown list"] = AppendHDLC(nil, madePath, []byte{0x0F, 0x40, 0, 0, 0, 0, 2, 2, 6, 0, 0, 0, 1, 0x0A, 2, 'h', 'i'}, maxLength)
	for _, s := range captures(t) {
		if s.Key.Encryption == "" {
			streams[s.name] = s.stream
		}
	}
	for name, stream := range streams {
		d := newTestDecoder(t, benchConfig())
		var r drivers.Reading
		n := testing.AllocsPerRun(20, func() {
			d.counter = dlms.Counter{}
			d.Feed(stream)
			err := d.Next(&r)
			for err == nil {
				err = d.Next(&r)
			}
			d.Gap()
			for err = d.Next(&r); !errors.Is(err, drivers.ErrMore); {
				err = d.Next(&r)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// captures are those of the corpus, good and bad, or none where there is none.
func captures(t testing.TB) (all []sample) {
	t.Helper()
	for _, dir := range []string{"", "bad"} {
		files, err := filepath.Glob(filepath.Join(corpusDir, dir, "*.hex"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			all = append(all, loadSample(t, f))
		}
	}
	return all
}

// FuzzCuts: any bytes give no panic, and any cut the same readings.
func FuzzCuts(f *testing.F) {
	for _, stream := range framings(f) {
		f.Add(stream, uint16(9))
	}
	for _, s := range captures(f) {
		f.Add(s.stream, uint16(len(s.stream)/2))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		at := int(cut) % (len(stream) + 1)
		want := decode(t, benchConfig(), stream)
		got := decode(t, benchConfig(), stream[:at], stream[at:])
		if diff := cmp.Diff(want.readings, got.readings); diff != "" {
			t.Fatalf("cut at %d:\n%s", at, diff)
		}
	})
}

// FuzzResume: whatever came before, a good frame behind a silence is read.
func FuzzResume(f *testing.F) {
	for _, s := range captures(f) {
		f.Add(s.stream)
	}
	good := AppendHDLC(nil, madePath, madeAPDU(), maxLength)
	want := madeReading(f)
	f.Fuzz(func(t *testing.T, before []byte) {
		d := newTestDecoder(t, benchConfig())
		var o outcome
		d.Feed(before)
		o.drain(t, d)
		d.Gap()
		o.drain(t, d)
		d.Feed(good)
		o.drain(t, d)
		if len(o.whole) == 0 {
			t.Fatalf("lost: %q", o.lost)
		}
		sameValues(t, want, o.whole[len(o.whole)-1])
	})
}

// FuzzFlips: a few flipped bits of a frame give the same reading or none. Three
// are what CRC-16/X-25 always finds in a frame of that length.
func FuzzFlips(f *testing.F) {
	f.Add(uint16(1), uint16(2), uint16(3))
	stream := AppendHDLC(nil, madePath, madeAPDU(), maxLength)
	want := madeReading(f)
	f.Fuzz(func(t *testing.T, a, b, c uint16) {
		damaged := bytes.Clone(stream)
		for _, bit := range [...]uint16{a, b, c} {
			i := int(bit) % (8 * len(stream))
			damaged[i/8] ^= 1 << (i % 8)
		}
		for _, r := range decode(t, benchConfig(), damaged).whole {
			sameValues(t, want, r)
		}
	})
}

// FuzzPushList: any body behind a good header gives no panic, and what it gives
// is bounded.
func FuzzPushList(f *testing.F) {
	for _, s := range captures(f) {
		if i := bytes.Index(s.stream, []byte{0xE6, 0xE7, 0x00, 0x0F}); i >= 0 {
			if n, _, err := dlms.ParseNotification(s.stream[i+3:]); err == nil {
				f.Add(s.stream[i+3+n.Offset:])
			}
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d := newTestDecoder(t, benchConfig())
		var r drivers.Reading
		if err := d.notification(&r, append(dlms.AppendNotification(nil, 0, nil), body...), dlms.Security{}, drivers.CheckRelayed); err != nil {
			return
		}
		if len(r.Values) > dlms.MaxElements {
			t.Fatalf("%d values", len(r.Values))
		}
		if !json.Valid(r.AppendJSON(nil)) {
			t.Fatalf("no JSON: %s", r.AppendJSON(nil))
		}
	})
}
