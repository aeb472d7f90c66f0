package corus

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
)

// houseRow is a record of 38 bytes: date, status and four indexes.
func houseRow(i int) []byte {
	b, err := AppendDate(nil, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).AddDate(0, -i, 0))
	if err != nil {
		panic(err)
	}
	b = append(b, 8, 0)
	for n := range 4 {
		d := drivers.NewDecimal(int64(123_456_789_012-1000*i+n), -3)
		if b, err = AppendNumber(b, Index, d); err != nil {
			panic(err)
		}
	}
	return b
}

// Answers that need no question.
var (
	houseAnswer = func() []byte {
		body := []byte{38}
		for i := range 6 {
			body = append(body, houseRow(i)...)
		}
		return AppendFrame(nil, 0, true, body)
	}()
	houseChain = func() []byte {
		data := []byte{38, 7, 0} // a count, and records across the frames
		for i := range 7 {
			data = append(data, houseRow(i)...)
		}
		b := AppendFrame(nil, 0, false, data[:100])
		b = AppendFrame(b, 1, false, data[100:101])
		b = AppendFrame(b, 1, false, data[100:101]) // twice
		return AppendFrame(b, 2, true, data[101:])
	}()
	houseEvents = AppendFrame(nil, 0, true, append([]byte{5}, append(houseRow(0)[:4:4], 7)...))
)

func seed(f *testing.F, add func(b []byte)) {
	f.Helper()
	add(houseAnswer)
	add(houseChain)
	add(append(bytes.Clone(houseChain), houseEvents...))
	add(AppendFrame(nil, 0, true, []byte{0}))
	add(AppendAnswer(nil, []byte("FL_b0040")))
	add([]byte("\x00\x00\x00/ACT7MINICOR200\r\nPASS\xe0\xae\x06\x15"))
	add(AppendRead(nil, 94, 48, 300))
	if b, err := os.ReadFile(peersInput); err == nil {
		add(b)
	}
}

func lawDecoder(t testing.TB) *Decoder {
	t.Helper()
	d, err := newDecoder(newConfig(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// printed are the readings of a stream, fed in chunks of the given sizes, in turns;
// no sizes: at once.
func printed(t testing.TB, stream []byte, sizes ...int) []string {
	t.Helper()
	return decodertest.Printed(t, lawDecoder(t), stream, sizes...)
}

// Law 1: any input, no panic, bounded memory.
func FuzzBytes(f *testing.F) {
	seed(f, func(b []byte) { f.Add(b, false); f.Add(b, true) })
	f.Fuzz(func(t *testing.T, stream []byte, sent bool) {
		d := lawDecoder(t)
		if sent {
			d.Sent(stream) // what was overheard may be anything, too
			d.Sent(AppendRead(nil, 94, 48, 49))
		}
		for len(stream) > 0 {
			n := min(512, len(stream))
			d.Feed(stream[:n])
			stream = stream[n:]
			decodertest.Drain(t, d)
			if held := len(d.in) - d.pos; held > maxBody+overhead+1 || len(d.sent) > maxBody+overhead {
				t.Fatalf("%d and %d bytes are held", held, len(d.sent))
			}
		}
		d.Gap()
		decodertest.Drain(t, d)
		if d.pos != len(d.in) {
			t.Fatalf("%d bytes are held over a gap", len(d.in)-d.pos)
		}
	})
}

func TestAnEndlessTransferIsBounded(t *testing.T) {
	d := lawDecoder(t)
	row := bytes.Repeat(houseRow(0), 6)
	d.Feed(AppendFrame(nil, 0, false, append([]byte{38}, row...)))
	for n := 1; n < 3*maxTransfer/len(row); n++ {
		d.Feed(AppendFrame(nil, n, false, row))
		if got, _ := decodertest.Drain(t, d); len(got) > 0 || len(d.transfer.data) > maxTransfer {
			t.Fatalf("%d readings, %d bytes are held", len(got), len(d.transfer.data))
		}
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
	stream := append([]byte("\x00\x00\x00/ACT7MINICOR200\r\nPASS\xe0\xae\x06"), houseAnswer...)
	stream = append(append(append(stream, 0x15, 0xFF), houseChain...), houseEvents...)
	want := printed(t, stream)
	if len(want) != 6+7+1 {
		t.Fatalf("%d readings: %q", len(want), want)
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

// Law 3: a damaged answer gives no reading, or the very same ones, and the next one
// is read.
func FuzzFlips(f *testing.F) {
	f.Add(uint16(1), uint8(0), uint16(0))
	f.Add(uint16(len(houseAnswer)-1), uint8(5), uint16(0))
	f.Add(uint16(0), uint8(0), uint16(100))
	f.Fuzz(func(t *testing.T, at uint16, bit uint8, length uint16) {
		damaged := bytes.Clone(houseAnswer)
		if length > 0 {
			damaged = damaged[:int(length)%len(damaged)]
		} else {
			damaged[int(at)%len(damaged)] ^= 1 << (bit % 8)
		}
		onlySound(t, damaged)
	})
}

// onlySound feeds a damaged answer and a good one, and wants nothing but the rows of
// the good one.
func onlySound(t testing.TB, damaged []byte) {
	t.Helper()
	want := printed(t, houseAnswer)
	got := printed(t, append(slices.Clip(damaged), houseAnswer...))
	if !slices.Equal(got, want) && !slices.Equal(got, append(slices.Clip(want), want...)) {
		t.Fatalf("from % x\ngot  %q\nwant %q", damaged, got, want)
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	for at := range houseAnswer {
		for bit := range 8 {
			damaged := bytes.Clone(houseAnswer)
			damaged[at] ^= 1 << bit
			onlySound(t, damaged)
		}
	}
}

func TestEveryCutLosesOneAnswerOnly(t *testing.T) {
	for n := range houseAnswer {
		onlySound(t, bytes.Clone(houseAnswer[:n]))
	}
}

// Law 4: noise before, between and after changes nothing.
func FuzzNoise(f *testing.F) {
	for _, s := range []string{"", "\x00\x00\x00", "/ACT7MINICOR200\r\n", "PASS\xe0\xae\x06", "\x15", "\x01", "\x01\xff", "\x01\x00\x03\x00\x00", "\x03\x03"} {
		f.Add([]byte(s), []byte("\x01"+s), []byte(s+s))
	}
	f.Fuzz(func(t *testing.T, before, lull, after []byte) {
		for _, noise := range [][]byte{before, lull, after} {
			if len(noise) > 200 || len(printed(t, noise)) > 0 || holdsAnswer(noise) {
				t.Skip()
			}
		}
		want := printed(t, houseAnswer)
		want = append(want, want...)
		var stream []byte
		stream = append(append(stream, before...), houseAnswer...)
		stream = append(append(stream, lull...), houseAnswer...)
		if diff := cmp.Diff(want, printed(t, append(stream, after...))); diff != "" {
			t.Error(diff)
		}
	})
}

// holdsAnswer says that noise has an answer in it, which may begin a transfer, or a
// command, to which something else is the answer.
func holdsAnswer(noise []byte) bool {
	for at := range noise {
		if v, _ := lookBoth(noise[at:], true); v == isAnswer || v == isCommand {
			return true
		}
	}
	return false
}

// Law 5: what we can write reads back as it was, in every type.
func FuzzNumbers(f *testing.F) {
	f.Add(int64(1612), int8(-2), uint8(Float1))
	f.Add(int64(4_294_967_295), int8(0), uint8(Index))
	f.Add(int64(327_660), int8(-3), uint8(Float2))
	f.Add(int64(16_382), int8(2), uint8(Float3))
	f.Add(int64(math.MaxInt64), int8(-8), uint8(Index9))
	f.Fuzz(func(t *testing.T, coefficient int64, exponent int8, kind uint8) {
		d, err := drivers.Scaled(coefficient, int(exponent))
		k := Type(kind)
		if err != nil || k >= types {
			t.Skip()
		}
		raw, err := AppendNumber(nil, k, d)
		if err != nil {
			return
		}
		if !k.numeric() || len(raw) != typeNames[k].length {
			t.Fatalf("%s: % x", k, raw)
		}
		n, ok := k.numberIn(raw)
		var v drivers.Value
		if !ok || !n.into(&v) {
			t.Fatalf("%s %s: % x is no value", k, d, raw)
		}
		if k == Float {
			again, err := AppendNumber(nil, k, v.Number)
			if small := math.Abs(d.Float64()) < 1; !small && (err != nil || !bytes.Equal(again, raw)) {
				t.Fatalf("%s: %s is % x and reads %s, which is % x", k, d, raw, v.Number, again)
			}
			return
		}
		if v.Number.Cmp(d) != 0 {
			t.Fatalf("%s: %s became %s", k, d, v.Number)
		}
	})
}

// Any bytes of a type are no value, or a number that is written as just these bytes
// or, where the type has several forms for it, as ones that mean the same.
func FuzzTypes(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0x80, 0, 0, 0, 0, 0}, uint8(Index))
	f.Add([]byte{0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, uint8(Index9))
	f.Fuzz(func(t *testing.T, raw []byte, kind uint8) {
		k := Type(kind)
		if k >= types || !k.numeric() || len(raw) < typeNames[k].length {
			t.Skip()
		}
		raw = raw[:typeNames[k].length]
		n, ok := k.numberIn(raw)
		var v drivers.Value
		if !ok {
			return
		}
		if !n.into(&v) {
			t.Fatalf("%s % x cannot be kept", k, raw)
		}
		again, err := AppendNumber(nil, k, v.Number)
		if err != nil {
			if beyond := k == Index || k == Index9 || k == Float; beyond { // a carry out of 10^-8; 10^22
				return
			}
			t.Fatalf("%s % x reads %s, which cannot be written: %v", k, raw, v.Number, err)
		}
		var same drivers.Value
		if back, _ := k.numberIn(again); k != Float && (!back.into(&same) || same.Number.Cmp(v.Number) != 0) {
			t.Fatalf("%s % x reads %s, which is % x", k, raw, v.Number, again)
		}
	})
}

func FuzzTexts(f *testing.F) {
	f.Add("SITE-001", uint8(8))
	f.Add("é\x01", uint8(3))
	f.Add("TOO LONG é", uint8(8))
	f.Fuzz(func(t *testing.T, s string, size uint8) {
		raw, err := AppendString(nil, s, int(size))
		if err != nil {
			return
		}
		var d texts
		want := string([]rune(s)[:min(utf8.RuneCountInString(s), int(size))])
		if got := d.latin1(raw); got != want || len(raw) != int(size) {
			t.Fatalf("%q became %q, % x", s, got, raw)
		}
	})
}

func FuzzDates(f *testing.F) {
	f.Add(uint32(0))
	f.Add(uint32(math.MaxUint32))
	f.Add(binary.LittleEndian.Uint32(houseRow(0)))
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b uint32) {
		for _, c := range []*clock{{}, {zone: zone}} {
			s, ok := c.stamp(b)
			if !ok {
				continue
			}
			back, err := AppendDate(nil, c.local(s))
			if err != nil || binary.LittleEndian.Uint32(back) != b {
				t.Fatalf("%08x is %s, which is % x, %v", b, s, back, err)
			}
			w := s.Wall
			if s.Zoned && !w.Equal(time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, zone)) {
				t.Fatalf("%s is not what a clock in Berlin shows", s)
			}
		}
	})
}

func TestADateAroundTheChangesOfTheClock(t *testing.T) {
	for name, walls := range map[string][][2]string{
		"Europe/Berlin": {
			{"2026-03-29T01:59:59", "2026-03-29T01:59:59+01:00"},
			{"2026-03-29T02:30:00", "2026-03-29T02:30:00"}, // there is no such time
			{"2026-03-29T03:00:00", "2026-03-29T03:00:00+02:00"},
			{"2026-10-25T01:59:59", "2026-10-25T01:59:59+02:00"},
			{"2026-10-25T02:30:00", "2026-10-25T02:30:00"}, // there are two
			{"2026-10-25T03:00:00", "2026-10-25T03:00:00+01:00"},
			{"2026-07-01T12:00:00", "2026-07-01T12:00:00+02:00"},
		},
		"America/New_York": {
			{"2026-03-08T01:59:59", "2026-03-08T01:59:59-05:00"},
			{"2026-03-08T02:30:00", "2026-03-08T02:30:00"},
			{"2026-03-08T03:00:00", "2026-03-08T03:00:00-04:00"},
			{"2026-11-01T00:59:59", "2026-11-01T00:59:59-04:00"},
			{"2026-11-01T01:30:00", "2026-11-01T01:30:00"},
			{"2026-11-01T02:00:00", "2026-11-01T02:00:00-05:00"},
		},
	} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		kept := clock{zone: zone} // it remembers the offset of the last date
		for _, w := range walls {
			b, _ := pack(wallOf(t, w[0]))
			fresh := clock{zone: zone}
			for _, c := range []*clock{&fresh, &kept} {
				if got, _ := c.stamp(b); got.String() != w[1] {
					t.Errorf("%s, %s: %s, want %s", name, w[0], got, w[1])
				}
			}
		}
	}
}

// What is told of a parameter's limits is just what can be written.
func TestLimitsAreThoseOfTheTypes(t *testing.T) {
	for k := range types {
		low, high, step := k.limits(0)
		if !k.numeric() || k == Float {
			continue
		}
		for _, d := range []drivers.Decimal{low, high} {
			if _, err := AppendNumber(nil, k, d); err != nil {
				t.Errorf("%s: %s cannot be written: %v", k, d, err)
			}
		}
		above, _ := high.Add(step)
		below, _ := low.Sub(step)
		for _, d := range []drivers.Decimal{above, below} {
			if b, err := AppendNumber(nil, k, d); err == nil {
				t.Errorf("%s: %s can be written: % x", k, d, b)
			}
		}
	}
}

func TestAnAlarmIsSevenValues(t *testing.T) {
	at := wallOf(t, "2026-03-01T00:00:00")
	raw := append([]byte{1, 1}, 0, 0, 0x20, 0x41)
	for range 2 {
		raw, _ = AppendDate(raw, at)
	}
	raw = append(raw, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	want := map[string]string{"x_active": "1", "x_memory": "1", "x_value": "10", "x_start": "2026-03-01T00:00:00", "x_end": "2026-03-01T00:00:00"}
	got := map[string]string{}
	for _, v := range values(t, "alarm", raw) {
		got[v.Name] = text(&v)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
