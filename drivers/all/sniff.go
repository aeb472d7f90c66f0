package all

import (
	"math/bits"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Match is what bytes of a line were found to be.
type Match struct {
	drivers.Sniff

	Driver drivers.Driver
	// Parity says that they are seven bits with even parity in bit 7: the line is
	// 7E1, and was read as 8N1.
	Parity bool
}

// Sniff asks each driver whether bytes of a line are its own. false: they are
// nobody's. A Match without a whole telegram is a line whose speed or parity is
// nearly right, or that is disturbed.
func Sniff(b []byte) (Match, bool) {
	best := sniff(b)
	if stripped, ok := strip(b); ok {
		if m := sniff(stripped); m.Telegrams > 0 && best.Telegrams == 0 {
			best = m
			best.Parity = true
		}
	}
	return best, best.Telegrams > 0 || best.Damaged > 1
}

func sniff(b []byte) (best Match) {
	for _, d := range protocols {
		if d.Sniff == nil {
			continue
		}
		if s := d.Sniff(b); s.Better(best.Sniff) {
			best = Match{Sniff: s, Driver: d}
		}
	}
	return best
}

// strip takes even parity out of bit 7. false: nearly none of the bytes have it,
// or none needs it.
func strip(b []byte) ([]byte, bool) {
	out := make([]byte, len(b))
	odd, high := 0, false
	for i, c := range b {
		odd += bits.OnesCount8(c) % 2
		high = high || c&0x80 != 0
		out[i] = c & 0x7F
	}
	return out, high && odd*20 <= len(b)
}
