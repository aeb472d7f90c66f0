package p1

import (
	"errors"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// BenchmarkDecodeP1 takes one DSMR 5 telegram from the stream to a Reading.
func BenchmarkDecodeP1(b *testing.B) {
	telegram := []byte(dsmr5)
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
