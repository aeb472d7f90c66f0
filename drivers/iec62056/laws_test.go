package iec62056

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

var houseSets = []DataSet{
	{Address: "F.F", Value: "00000000"},
	{Address: "C.1.0", Value: "12345678"},
	{Address: "0.9.1", Value: "102030"},
	{Address: "0.9.2", Value: "250314"},
	{Address: "1.6.1", Value: "003.217", Unit: "kW"},
	{Address: "1.8.0", Value: "0034912.745", Unit: "kWh"},
	{Address: "1.8.0*24", Value: "0034590.010", Unit: "kWh"},
	{Address: "16.7.0", Value: "-01.482", Unit: "kW"},
	{Address: "32.7.0", Value: "231.4", Unit: "V"},
	{Address: "0.2.0", Value: "V1.23"},
}

// house is a readout of mode C behind its identification.
var (
	houseBlock = AppendReadout(nil, houseSets)
	house      = append([]byte("/XYZ5\\@0010METER\r\n"), houseBlock...)
	plain      = []byte("/XYZ METER-A\r\n\r\n1.8.0(0001.5*kWh)\r\n16.7(-00.1*kW)\r\n!\r\n")
)

func seed(f *testing.F, add func(b []byte)) {
	f.Helper()
	add(house)
	add(houseBlock)
	add(plain)
	add(append(bytes.Clone(plain), house...))
	add([]byte("/?00012345!\r\n/XYZ5M\r\n\x06051\r\n\x01P0\x02()\x03`"))
	add(AppendBlock(nil, []byte("P.01(1220823161500)(00)(15)(1)(1.5)(kW)\r\n(0.1)\r\n(0.2)\r\n"), false))
	shifted := bytes.Clone(house)
	withParity(shifted)
	add(shifted)
	for _, pattern := range []string{"readouts/*.raw", "profiles/*.raw"} {
		files, _ := filepath.Glob(filepath.Join(corpusDir, pattern))
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			add(b)
		}
	}
}

// printed are the readings of a stream, as decode prints them, fed in chunks of
// the given sizes, in turns; no sizes: at once.
func printed(t testing.TB, stream []byte, sizes ...int) []string {
	t.Helper()
	return decodertest.Printed(t, decoderFor(t), stream, sizes...)
}

// Law 1: any input, no panic, bounded memory.
func FuzzBytes(f *testing.F) {
	seed(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, stream []byte) {
		d := decoderFor(t)
		for len(stream) > 0 {
			n := min(512, len(stream))
			d.Feed(stream[:n])
			stream = stream[n:]
			decodertest.Drain(t, d)
			if held := len(d.frames.buf) - d.frames.pos; held > maxBlock+512 {
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

func TestEndlessTextIsBounded(t *testing.T) {
	for name, chunk := range map[string]string{
		"in a block":    "1.8.0(1*kWh)\r\n",
		"without a end": strings.Repeat("9", 1024),
		"data lines":    "2.8.0(1*kWh)\r\n",
		"starts":        "\x02\x01/",
	} {
		t.Run(name, func(t *testing.T) {
			d := decoderFor(t)
			if name == "in a block" {
				d.Feed([]byte{stx})
			}
			for fed := 0; fed < 4*maxBlock; fed += len(chunk) {
				d.Feed([]byte(chunk))
				if got, _ := decodertest.Drain(t, d); len(got) > 0 {
					t.Fatalf("a reading: %s", got[0].AppendJSON(nil))
				}
				if held := len(d.frames.buf) - d.frames.pos; held > maxBlock+len(chunk) {
					t.Fatalf("%d bytes are held", held)
				}
			}
		})
	}
}

// Law 2: any cut of the stream gives the same readings.
func FuzzCuts(f *testing.F) {
	seed(f, func(b []byte) { f.Add(b, uint8(7), uint8(200)) })
	f.Fuzz(func(t *testing.T, stream []byte, first, second uint8) {
		want := printed(t, stream)
		if diff := cmp.Diff(want, printed(t, stream, int(first), int(second))); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEveryCutIntoTwoGivesTheSameReadings(t *testing.T) {
	stream := append([]byte("noise/x\r\n/?!\r\n"), house...)
	stream = append(stream, "\x00\x7f\x06"...)
	stream = append(append(stream, plain...), house...)
	want := printed(t, stream)
	if len(want) != 3 {
		t.Fatalf("%d readings, want 3: %q", len(want), want)
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

// Law 3: a damaged block gives no reading, or the very same one, and the next one
// is read.
func FuzzFlips(f *testing.F) {
	f.Add(uint16(5), uint8(0), uint16(0), false)
	f.Add(uint16(len(houseBlock)-2), uint8(5), uint16(100), true)
	f.Fuzz(func(t *testing.T, at uint16, bit uint8, length uint16, parity bool) {
		good := bytes.Clone(houseBlock)
		if parity {
			withParity(good)
		}
		want := printed(t, good)[0]
		damaged := bytes.Clone(good)
		if length > 0 {
			damaged = damaged[:int(length)%(len(damaged)-len("\r\n\x03B"))] // with its ! line it is whole, only unchecked
		} else {
			damaged[int(at)%len(damaged)] ^= 1 << (bit % 8)
		}
		onlySound(t, damaged, good, want)
	})
}

// onlySound feeds a damaged block and a good one, and wants nothing but want.
func onlySound(t testing.TB, damaged, good []byte, want string) {
	t.Helper()
	got := printed(t, append(slices.Clip(damaged), good...))
	if len(got) == 0 || len(got) > 2 {
		t.Fatalf("%d readings from a damaged and a good block %q", len(got), damaged)
	}
	for _, g := range got {
		if g != want {
			t.Fatalf("from %q\ngot  %s\nwant %s", damaged, g, want)
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	for _, parity := range []bool{false, true} {
		good := bytes.Clone(houseBlock)
		if parity {
			withParity(good)
		}
		want := printed(t, good)[0]
		for at := range len(good) {
			for bit := range 8 {
				damaged := bytes.Clone(good)
				damaged[at] ^= 1 << bit
				onlySound(t, damaged, good, want)
			}
		}
	}
}

func TestEveryCutLosesOneBlockOnly(t *testing.T) {
	want := printed(t, houseBlock)[0]
	for n := range houseBlock {
		got := printed(t, append(bytes.Clone(houseBlock[:n]), houseBlock...))
		if len(got) != 1 || got[0] != want {
			t.Fatalf("cut at %d: %q", n, got)
		}
	}
}

// Law 4: noise before, between and after changes nothing.
func FuzzNoise(f *testing.F) {
	for _, s := range []string{"", "\x00\xff/", "/abc\r\n", "\n!\n", "\x03\x04", "1.8.0(000", "\xaf\xaf", "/?!\r\n", "\x7f\x7f\x7f\x7f"} {
		f.Add([]byte(s), []byte("/"+s), []byte(s+s))
	}
	f.Fuzz(func(t *testing.T, before, between, after []byte) {
		for _, noise := range [][]byte{before, between, after} {
			if len(noise) > 200 || tellsSomething(noise) {
				t.Skip()
			}
		}
		var stream []byte
		stream = append(append(stream, before...), houseBlock...)
		stream = append(append(stream, between...), houseBlock...)
		stream = append(stream, after...)
		want := printed(t, houseBlock)
		want = append(want, want...)
		var got []string
		for _, g := range printed(t, stream) {
			if strings.HasPrefix(g, "bcc") {
				got = append(got, g)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// tellsSomething says that noise is a message or an identification by itself, or
// the beginning of a command, which swallows what follows by right.
func tellsSomething(noise []byte) bool {
	for _, c := range noise {
		if c&0x7F == stx || c&0x7F == soh {
			return true
		}
	}
	for i, c := range noise {
		if c&0x7F == '/' {
			line, _, v := cutLine(appendStripped(nil, noise[i:]), true)
			if v == yes && isIdentification(line) {
				return true
			}
		}
	}
	return false
}

// Law 5: what we can send reads back as it was.
func FuzzReadouts(f *testing.F) {
	f.Add("1.8.0", "0034912.745", "kWh", "C.1.0", "12345678")
	f.Add("2:300.0", "1.5", "m3", "0.2.0", "V1.2")
	f.Fuzz(func(t *testing.T, id, value, unit, textID, text string) {
		for _, s := range []string{id, value, unit, textID, text} {
			if !sendable(s) || strings.TrimSpace(s) != s || strings.ContainsAny(s, "!/*\\") {
				t.Skip()
			}
		}
		sets := []DataSet{{Address: id, Value: value, Unit: unit}, {Address: textID, Value: text}}
		first := AppendReadout(nil, sets)
		got, _ := decodeAll(t, first)
		if len(got) != 1 || len(got[0].Values) != 2 || got[0].Values[0].Kind != drivers.Number || got[0].Values[1].Kind != drivers.Text {
			return // an empty value, or one that is no number
		}
		number, err := drivers.ParseDecimal(value)
		if err != nil {
			return // one that has its own * or is no plain number
		}
		if u, shift, known := obis.ParseUnit(unit); known && unit != "" {
			if number, err = number.Shift(shift); err != nil || got[0].Values[0].Unit != u {
				t.Errorf("unit %q became %q", unit, got[0].Values[0].Unit)
			}
		}
		if !got[0].Values[0].Number.Equal(number) || got[0].Values[1].Text != text {
			t.Errorf("%q: %s", first, got[0].AppendJSON(nil))
		}
	})
}
