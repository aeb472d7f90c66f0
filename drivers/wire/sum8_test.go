package wire

import "testing"

func TestSum8IsThePlainSum(t *testing.T) {
	p := make([]byte, 3000)
	var want byte
	for i := range p {
		if got := Sum8(p[:i]); got != want {
			t.Fatalf("%d bytes: got %#x, want %#x", i, got, want)
		}
		p[i] = byte(i*7) | 0xE0 // high bytes fill the lanes fastest
		want += p[i]
	}
}
