package mbus

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// seed adds the corpus of the wired frames, where it is.
func seed(f *testing.F, add func([]byte)) {
	f.Helper()
	add(unhex(f, "681B1B6808017278563412242301042A0000000C06785634120C1344332211F416"))
	add(unhex(f, "E5105B015C16"))
	add(append(answerOf(f, 1, firstPart), answerOf(f, 2, lastPart)...))
	if testing.Short() {
		return
	}
	for _, c := range corpus(f, "mbus", false) {
		for _, line := range c.lines {
			add(line)
		}
	}
}

// equalReadings compares readings whole.
func equalReadings(t *testing.T, what string, want, got []drivers.Reading) {
	t.Helper()
	numbers := cmp.Comparer(func(a, b drivers.Decimal) bool { return a.Equal(b) })
	if diff := cmp.Diff(want, got, numbers, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s: %s", what, diff)
	}
}

// Laws 1 and 2: no panic, and any cut of a stream gives the same readings.
func FuzzCuts(f *testing.F) {
	seed(f, func(b []byte) { f.Add(b, uint16(7)) })
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		want := decode(t, NewDecoder(nil), stream)
		var chunks [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), 1+int(cut)%19)
			cut = cut*31 + 7
			chunks = append(chunks, rest[:n])
			rest = rest[n:]
		}
		got := decode(t, NewDecoder(nil), chunks...)
		equalReadings(t, "cut", want.readings, got.readings)
		if diff := cmp.Diff(want.lost, got.lost, cmpopts.EquateErrors()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Law 3: with any one bit flipped a frame gives no reading; cut anywhere, it gives
// none either, and the next good frame is read.
func FuzzDamage(f *testing.F) {
	seed(f, func(b []byte) { f.Add(b, uint16(70), uint16(9)) })
	next := answerOf(f, 77, lastPart)
	want := decode(f, NewDecoder(nil), next).readings
	f.Fuzz(func(t *testing.T, frame []byte, bit, cut uint16) {
		var framer Framer
		framer.Feed(frame)
		var whole Frame
		if framer.Next(&whole) != nil || len(whole.Raw) != len(frame) || whole.Kind < Control || holdsFrame(frame[1:]) {
			return // one frame, and none inside it
		}
		flipped := append([]byte(nil), frame...)
		flipped[int(bit/8)%len(frame)] ^= 1 << (bit % 8)
		if all := decode(t, NewDecoder(nil), flipped); len(all.readings) != 0 {
			t.Fatalf("% X with a bit flipped gave %s", flipped, names(&all.readings[0]))
		}
		short := append([]byte(nil), frame[:int(cut)%len(frame)]...)
		if all := decode(t, NewDecoder(nil), append(short, next...)); len(all.readings) == 0 {
			t.Fatalf("% X hides the frame behind it", short)
		} else {
			equalReadings(t, "behind a cut", want, all.readings[len(all.readings)-1:])
		}
	})
}

// holdsFrame says whether b has bytes in it that are, or may become, a frame of
// their own once what surrounds them is damaged.
func holdsFrame(b []byte) bool { return slices.Contains(b, longStart) }

// Law 4: noise before, between and after good frames changes nothing.
func FuzzNoise(f *testing.F) {
	f.Add([]byte{0, 0xFF, 0x68, 0x12}, []byte{0x68}, []byte{0x10, 0x5B})
	f.Add([]byte{0x68, 0x68, 0x68, 0x68}, []byte{0xE5}, []byte{0x16})
	one, two := answerOf(f, 1, lastPart), answerOf(f, 2, "0413E8030000")
	want := decode(f, NewDecoder(nil), one, two).readings
	f.Fuzz(func(t *testing.T, before, between, after []byte) {
		for _, noise := range [][]byte{before, between, after} {
			if len(noise) > 64 || len(decode(t, NewDecoder(nil), noise).readings) > 0 {
				return // frames of its own
			}
		}
		stream := append([]byte(nil), before...)
		first := len(stream)
		stream = append(append(stream, one...), between...)
		second := len(stream)
		stream = append(append(stream, two...), after...)
		for at := range stream {
			if frameAt(stream[at:]) && at != first && at != second {
				return // with a chance of 1 in 256 a sum fits by accident
			}
		}
		equalReadings(t, "noise", want, decode(t, NewDecoder(nil), stream).readings)
	})
}

// frameAt says whether b begins with what passes for a frame.
func frameAt(b []byte) bool {
	sum := func(p []byte) (n byte) {
		for _, c := range p {
			n += c
		}
		return n
	}
	switch {
	case len(b) >= 5 && b[0] == shortStart:
		return b[4] == stopByte && b[3] == sum(b[1:3])
	case len(b) >= 6 && b[0] == longStart && b[3] == longStart && b[1] == b[2]:
		n := int(b[1])
		return n >= 3 && len(b) >= n+6 && b[n+5] == stopByte && b[n+4] == sum(b[4:4+n])
	}
	return false
}
