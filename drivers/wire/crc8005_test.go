package wire

import "testing"

func TestBuypassHasTheCataloguesCheckValue(t *testing.T) {
	if got := Buypass([]byte("123456789")); got != 0xFEE8 {
		t.Errorf("got %04X, want FEE8", got)
	}
}

// TestBuypassIsTheDefinition holds the eight-byte step against the definition, bit
// by bit, at every length.
func TestBuypassIsTheDefinition(t *testing.T) {
	var message [67]byte
	for i := range message {
		message[i] = byte(i*151 + 7)
	}
	for n := range len(message) + 1 {
		var want uint16
		for _, b := range message[:n] {
			want ^= uint16(b) << 8
			for range 8 {
				high := want >> 15
				want = want<<1 ^ high*0x8005
			}
		}
		if got := Buypass(message[:n]); got != want {
			t.Fatalf("%d bytes: got %04X, want %04X", n, got, want)
		}
	}
}
