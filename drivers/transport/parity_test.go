package transport

import (
	"bytes"
	"math/bits"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestParityBitMakesTheCountEvenOrOdd(t *testing.T) {
	for c := range 128 {
		even := appendParity(nil, []byte{byte(c)}, drivers.EvenParity)[0]
		odd := appendParity(nil, []byte{byte(c)}, drivers.OddParity)[0]
		if bits.OnesCount8(even)%2 != 0 || bits.OnesCount8(odd)%2 != 1 {
			t.Errorf("%#02x: sent as %08b (even) and %08b (odd)", c, even, odd)
		}
	}
}

func TestAnyFlippedBitMarksItsByte(t *testing.T) {
	for _, parity := range []drivers.Parity{drivers.EvenParity, drivers.OddParity} {
		for c := range 128 {
			sent := appendParity(nil, []byte{byte(c)}, parity)[0]
			for bit := range 8 {
				got := []byte{sent, sent ^ 1<<bit}
				stripParity(got, parity)
				if got[0] != byte(c) || got[1]&badParity == 0 {
					t.Fatalf("%c: %#02x sent as %08b: received %08b, with bit %d flipped %08b", parity, c, sent, got[0], bit, got[1])
				}
			}
		}
	}
}

func FuzzParityRoundTrip(f *testing.F) {
	f.Add([]byte("/XXX5\r\n"), true)
	f.Fuzz(func(t *testing.T, p []byte, even bool) {
		parity := drivers.OddParity
		if even {
			parity = drivers.EvenParity
		}
		want := bytes.Clone(p)
		for i := range want {
			want[i] &= 0x7F
		}
		got := appendParity(nil, p, parity)
		if stripParity(got, parity); !bytes.Equal(got, want) {
			t.Fatalf("%x came back as %x", want, got)
		}
	})
}
