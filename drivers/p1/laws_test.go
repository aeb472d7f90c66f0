package p1

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
)

// seed gives f the corpus, where it is there, and our own telegrams.
func seed(f *testing.F, add func(b []byte)) {
	f.Helper()
	for _, s := range []string{dsmr5, dsmr2, dsmr5 + dsmr5, "x/y" + dsmr5, dsmr5[:300] + dsmr5, cipheredFrame, shiftedTelegram()} {
		add([]byte(s))
	}
	for _, dir := range []string{corpusDir, filepath.Join(corpusDir, "bad")} {
		files, _ := filepath.Glob(filepath.Join(dir, "*.telegram"))
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(b) < 8<<10 {
				add(b)
			}
		}
	}
}

// printed are the readings of a stream, as decode prints them, fed in chunks of
// the given sizes, in turns; no sizes: at once.
func printed(t testing.TB, check string, stream []byte, sizes ...int) []string {
	t.Helper()
	d, err := newDecoder(&Config{Check: check}, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return decodertest.Printed(t, d, stream, sizes...)
}

// Law 1: any input, no panic, bounded memory.
func FuzzBytes(f *testing.F) {
	seed(f, func(b []byte) { f.Add(b, false) })
	f.Fuzz(func(t *testing.T, stream []byte, lax bool) {
		check := checkAuto
		if lax {
			check = checkNone
		}
		d, err := newDecoder(&Config{Check: check}, drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		for len(stream) > 0 {
			n := min(512, len(stream))
			d.Feed(stream[:n])
			stream = stream[n:]
			decodertest.Drain(t, d)
			if held := len(d.frames.buf) - d.frames.pos; held > maxTelegram+maxLine {
				t.Fatalf("%d bytes are held", held)
			}
		}
		d.Gap()
		decodertest.Drain(t, d)
		if held := len(d.frames.buf) - d.frames.pos; held > 0 {
			t.Fatalf("%d bytes are held over a gap", held)
		}
	})
}

// Law 2: any cut of the stream gives the same readings.
func FuzzCuts(f *testing.F) {
	seed(f, func(b []byte) { f.Add(b, uint8(7), uint8(200)) })
	f.Fuzz(func(t *testing.T, stream []byte, first, second uint8) {
		want := printed(t, checkAuto, stream)
		if diff := cmp.Diff(want, printed(t, checkAuto, stream, int(first), int(second))); diff != "" {
			t.Error(diff)
		}
	})
}

// Law 3: a damaged telegram gives no reading, or the very same one, and the next
// one is read.
func FuzzFlips(f *testing.F) {
	f.Add(uint16(5), uint8(0), uint16(0))
	f.Add(uint16(len(dsmr5)-4), uint8(5), uint16(100))
	want := printed(f, checkAuto, []byte(dsmr5))[0]
	f.Fuzz(func(t *testing.T, at uint16, bit uint8, length uint16) {
		damaged := []byte(dsmr5)
		damaged[int(at)%len(damaged)] ^= 1 << (bit % 8)
		if length > 0 {
			damaged = damaged[:int(length)%len(damaged)]
		}
		onlySound(t, damaged, want)
	})
}

// onlySound feeds a damaged telegram and a good one, and wants nothing but want.
func onlySound(t testing.TB, damaged []byte, want string) {
	t.Helper()
	got := printed(t, checkAuto, append(bytes.Clone(damaged), dsmr5...))
	if len(got) == 0 || len(got) > 2 {
		t.Fatalf("%d readings from damaged and good telegram", len(got))
	}
	for _, g := range got {
		if g != want {
			t.Fatalf("got  %s\nwant %s", g, want)
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	want := printed(t, checkAuto, []byte(dsmr5))[0]
	for at := range len(dsmr5) {
		for bit := range 8 {
			damaged := []byte(dsmr5)
			damaged[at] ^= 1 << bit
			onlySound(t, damaged, want)
		}
	}
}

func TestEveryCutLosesOneTelegramOnly(t *testing.T) {
	want := printed(t, checkAuto, []byte(dsmr5))[0]
	whole := len(dsmr5) - len("\r\n")
	for n := range whole {
		got := printed(t, checkAuto, []byte(dsmr5[:n]+dsmr5))
		if len(got) != 1 || got[0] != want {
			t.Fatalf("cut at %d: %q", n, got)
		}
	}
}

func TestEveryCutIntoTwoGivesTheSameReadings(t *testing.T) {
	stream := []byte("noise/x\r\n" + dsmr5 + "\x00\xff" + dsmr5)
	want := printed(t, checkAuto, stream)
	if len(want) != 2 {
		t.Fatalf("%d readings, want 2", len(want))
	}
	for n := 1; n < len(stream); n++ {
		if diff := cmp.Diff(want, printed(t, checkAuto, stream, n, len(stream))); diff != "" {
			t.Fatalf("cut at %d: %s", n, diff)
		}
	}
	if diff := cmp.Diff(want, printed(t, checkAuto, stream, 1)); diff != "" {
		t.Fatalf("byte by byte: %s", diff)
	}
}

// Law 4: noise before, between and after changes nothing.
func FuzzNoise(f *testing.F) {
	for _, s := range []string{"", "\x00\xff/", "/abc\r\n", "\n!\n", "!1234", "\xdb\x08SIM", "1-0:1.8.1(000", "\n\xaf\xaf", "/x\n\n", "\xdb\b\xdb\bAAA0000000"} {
		f.Add([]byte(s), []byte("/"+s), []byte(s+s))
	}
	f.Fuzz(func(t *testing.T, before, between, after []byte) {
		for _, noise := range [][]byte{before, between, after} {
			if len(noise) > 200 || tellsSomething(noise) {
				t.Skip()
			}
		}
		want := printed(t, checkCRC, []byte(dsmr5+dsmr5))
		var stream []byte
		stream = append(append(stream, before...), dsmr5...)
		stream = append(append(stream, between...), dsmr5...)
		stream = append(stream, after...)
		if diff := cmp.Diff(want, printed(t, checkCRC, stream)); diff != "" {
			t.Error(diff)
		}
	})
}

// tellsSomething says that noise is the header of a frame which swallows what
// follows by right.
func tellsSomething(noise []byte) bool {
	for i := range noise {
		if bytes.HasPrefix(noise[i:], []byte{0xDB, 8}) && len(noise) >= i+5 && cipherHeader(noise[i:]) != no {
			return true
		}
	}
	return false
}

// Law 5: what we can send reads back as it was. The CRC always fits, so this is
// the fuzz target of the decoder behind the framer too.
func FuzzLines(f *testing.F) {
	f.Add([]byte(dsmr5[len("/TST5\\2SIM-THREEPHASE\r\n\r\n") : len(dsmr5)-len("!0000\r\n")]))
	f.Add([]byte(dsmr2[len("/TST5 SIM-OLD\r\n\r\n") : len(dsmr2)-len("!\r\n")]))
	f.Add([]byte("0-0:98.1.0(1)(1-0:1.6.0)(1-0:1.6.0)(230201000000W)(230114124500W)(03.332*kW)\r\n"))
	f.Fuzz(func(t *testing.T, lines []byte) {
		telegram := appendEnd(append([]byte("/TST5\\2FUZZ\r\n\r\n"), lines...), 0)
		for _, r := range decodedBy(t, telegram) {
			first, err := AppendTelegram(nil, r)
			if err != nil {
				continue // not a telegram of DSMR 5
			}
			again := decodedBy(t, first)
			if len(again) != 1 || len(again[0].Channels) != len(r.Channels) {
				continue // brackets in a text, or a channel of which DSMR 5 has no line
			}
			second, err := AppendTelegram(nil, again[0])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(first), string(second)); diff != "" {
				t.Error(diff)
			}
		}
	})
}

func decodedBy(t testing.TB, b []byte) []*drivers.Reading {
	t.Helper()
	got, _ := decodeAll(t, checkAuto, b)
	return got
}

func TestWhatIsEncodedReadsBackAsItWas(t *testing.T) {
	// The second channel has no meter, so it is not sent again.
	alive := dsmr5[:len(dsmr5)-len("0-2:24.1.0(003)\r\n0-2:96.1.0()\r\n!0000\r\n")]
	for name, want := range map[string]string{
		"a house in winter": string(appendEnd([]byte(alive), 0)),
		"two power failures, told in summer": sealed(`/TST5\2SIM

0-0:1.0.0(170702192002S)
1-0:99.97.0(2)(0-0:96.7.19)(101208152415W)(0000000240*s)(101208151004W)(0000000301*s)
0-0:96.13.0(48656C6C6F)
!`),
	} {
		got, err := AppendTelegram(nil, decodedBy(t, []byte(want))[0])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// DSMR 5.0.2, 6.12: F10(0,0) for the length of a failure.
func TestAFailureThatIsTooLongForItsFormIsNotSent(t *testing.T) {
	r := decodedBy(t, []byte(sealed("/TST5\n\n1-0:99.97.0(1)(0-0:96.7.19)(101208152415W)(99999999999*s)\n!")))[0]
	if b, err := AppendTelegram([]byte("kept"), r); !errors.Is(err, ErrEncode) || string(b) != "kept" {
		t.Errorf("%q, %v", b, err)
	}
}
