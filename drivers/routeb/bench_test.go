package routeb

import (
	"errors"
	"os"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// peersInput is what the benchmarks of other programs read; it lies beside the
// repository.
const peersInput = "../../../shared/bench/inputs/echonet_c2_line.txt"

// houseLine is a line with twelve properties.
var houseLine = (&Datagram{
	Sender: LinkLocal(0x001C6400030C12A4), Destination: LinkLocal(0x001D129012345678), From: port, To: port,
	MAC: 0x001C6400030C12A4, RSSI: rssi(0x60), Secured: true, Data: houseFrame,
}).AppendUDPLine(nil, true)

func input(tb testing.TB) []byte {
	tb.Helper()
	if b, err := os.ReadFile(peersInput); err == nil {
		return b
	}
	return houseLine
}

// BenchmarkDecodeECHONET takes one line from the stream to a Reading, and does the
// least that any program must: the hexadecimal digits and one walk over all values.
func BenchmarkDecodeECHONET(b *testing.B) {
	line := input(b)
	b.Run("decoder", func(b *testing.B) {
		d := NewDecoder(newConfig())
		var r drivers.Reading
		b.ReportAllocs()
		for b.Loop() {
			d.Feed(line)
			if err := d.Next(&r); err != nil {
				b.Fatal(err)
			}
			if err := d.Next(&r); !errors.Is(err, drivers.ErrMore) {
				b.Fatal(err)
			}
		}
	})
	b.Run("floor", func(b *testing.B) {
		var raw [256]byte
		var sum uint64
		for b.Loop() {
			sum += floor(line, raw[:])
		}
		if sum == 0 {
			b.Fatal("nothing was read")
		}
	})
}

// floor turns the last field into bytes and adds up all properties.
func floor(line, raw []byte) (sum uint64) {
	end := len(line)
	for line[end-1] <= ' ' {
		end--
	}
	start := end
	for line[start-1] != ' ' {
		start--
	}
	n := 0
	for i := start; i+1 < end; i += 2 {
		raw[n] = digits[line[i]]<<4 | digits[line[i+1]]
		n++
	}
	for at := frameHead; at+1 < n; {
		size := int(raw[at+1])
		v := uint64(0)
		for _, c := range raw[at+2 : min(n, at+2+size)] {
			v = v<<8 | uint64(c)
		}
		sum += v
		at += 2 + size
	}
	return sum
}
