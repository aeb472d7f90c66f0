package mbus

import (
	"os"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func BenchmarkDecodeMBus(b *testing.B) {
	frame, err := os.ReadFile(shared(b, "bench/inputs/mbus_mc601.bin"))
	if err != nil {
		b.Fatal(err)
	}
	d := NewDecoder(nil)
	var r drivers.Reading
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		d.Feed(frame)
		if err := d.Next(&r); err != nil {
			b.Fatal(err)
		}
	}
}
