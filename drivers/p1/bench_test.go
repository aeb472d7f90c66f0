package p1

import (
	"errors"
	"os"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// peersInput is what the benchmarks of other programs read; it lies beside the
// repository.
const peersInput = "../../../shared/bench/inputs/p1_v5.txt"

// BenchmarkDecodeP1 takes one DSMR 5 telegram from the stream to a Reading.
func BenchmarkDecodeP1(b *testing.B) {
	b.Run("own", func(b *testing.B) { benchmarkDecode(b, []byte(dsmr5)) })
	if telegram, err := os.ReadFile(peersInput); err == nil {
		b.Run("peers", func(b *testing.B) { benchmarkDecode(b, telegram) })
	}
}

func benchmarkDecode(b *testing.B, telegram []byte) {
	b.Helper()
	d, err := newDecoder(&Config{Check: checkAuto}, drivers.Zones{})
	if err != nil {
		b.Fatal(err)
	}
	var r drivers.Reading
	b.SetBytes(int64(len(telegram)))
	b.ReportAllocs()
	for b.Loop() {
		d.Feed(telegram)
		if err := d.Next(&r); err != nil {
			b.Fatal(err)
		}
		if err := d.Next(&r); !errors.Is(err, drivers.ErrMore) {
			b.Fatal(err)
		}
	}
}
