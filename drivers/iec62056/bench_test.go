package iec62056

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// peersInput is what the benchmarks of other programs read; it lies beside the
// repository.
const peersInput = "../../../shared/bench/inputs/iec_readout.bin"

// BenchmarkDecodeIEC takes one readout from the stream to a Reading, and does
// the least that any program must: the BCC and one walk over all values.
func BenchmarkDecodeIEC(b *testing.B) {
	readout, err := os.ReadFile(peersInput)
	if err != nil {
		readout = houseBlock
	}
	b.Run("decoder", func(b *testing.B) { benchmarkDecode(b, readout) })
	b.Run("floor", func(b *testing.B) { benchmarkFloor(b, readout) })
}

func benchmarkDecode(b *testing.B, readout []byte) {
	b.Helper()
	d := decoderFor(b)
	var r drivers.Reading
	b.SetBytes(int64(len(readout)))
	b.ReportAllocs()
	for b.Loop() {
		d.Feed(readout)
		if err := d.Next(&r); err != nil {
			b.Fatal(err)
		}
		if err := d.Next(&r); !errors.Is(err, drivers.ErrMore) {
			b.Fatal(err)
		}
	}
}

func benchmarkFloor(b *testing.B, readout []byte) {
	b.Helper()
	var sum uint64
	for b.Loop() {
		var x byte
		for _, c := range readout[1 : len(readout)-1] {
			x ^= c & 0x7F
		}
		sum += uint64(x) + walk(readout)
	}
	if sum == 0 {
		b.Fatal("nothing was read")
	}
}

// walk adds up the digits of all values.
func walk(b []byte) (sum uint64) {
	for len(b) > 0 {
		open := bytes.IndexByte(b, '(')
		if open < 0 {
			return sum
		}
		b = b[open+1:]
		shut := bytes.IndexByte(b, ')')
		if shut < 0 {
			return sum
		}
		v := uint64(0)
		for _, c := range b[:shut] {
			if c == '*' {
				break
			}
			if d := c - '0'; d <= 9 {
				v = v*10 + uint64(d)
			}
		}
		sum += v
		b = b[shut+1:]
	}
	return sum
}
