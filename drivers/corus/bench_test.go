package corus

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// peersInput is what the benchmarks of other programs read; it lies beside the
// repository: nine records of 28 bytes.
const peersInput = "../../../shared/bench/inputs/corus_db.bin"

// benchLayout is what its records consist of.
const benchLayout = `
[[layout]]
databases = ["interval"]
field = [
  { name = "t", type = "date" },
  { name = "base", type = "index", pulse = true },
  { name = "temp", type = "float1" },
  { name = "press", type = "float2" },
  { name = "unconv", type = "index" },
  { name = "flow", type = "eword", divisor = 10 },
  { name = "status", type = "byte" },
]
`

func benchDecoder(t testing.TB) *Decoder {
	t.Helper()
	return decoderWith(t, benchLayout, "0.1")
}

// benchAnswer is the input, or one of the same form.
func benchAnswer(t testing.TB) []byte {
	t.Helper()
	if b, err := os.ReadFile(peersInput); err == nil {
		return b
	}
	body := []byte{28}
	for i := range 9 {
		row := append(houseRow(i)[:4:4], houseRow(i)[6:14]...)
		row = append(append(row, 0xF3, 5, 0xF5, 3), houseRow(i)[14:22]...)
		body = append(append(body, row...), 0x10, 0x27, 0, 1)
	}
	return AppendFrame(nil, 0, true, body)
}

// BenchmarkDecodeCorus takes an answer from the stream to Readings, beside the least
// that any program must do.
func BenchmarkDecodeCorus(b *testing.B) {
	b.Run("decoder", func(b *testing.B) {
		d, answer := benchDecoder(b), benchAnswer(b)
		var r drivers.Reading
		b.SetBytes(int64(len(answer)))
		b.ReportAllocs()
		for b.Loop() {
			d.Feed(answer)
			for range 9 {
				if err := d.Next(&r); err != nil {
					b.Fatal(err)
				}
			}
			if err := d.Next(&r); !errors.Is(err, drivers.ErrMore) {
				b.Fatal(err)
			}
		}
	})
	b.Run("floor", func(b *testing.B) { floor(b, wire.Buypass) })
	b.Run("floor with one table", func(b *testing.B) { floor(b, byTable()) })
}

// floor is the least that any program must do: the CRC and one walk over all values.
func floor(b *testing.B, check func([]byte) uint16) {
	b.Helper()
	answer := benchAnswer(b)
	var sum uint64
	for b.Loop() {
		sum += uint64(check(answer[:len(answer)-2]))
		for rows := answer[5 : len(answer)-3]; len(rows) >= 28; rows = rows[28:] {
			sum += uint64(binary.LittleEndian.Uint32(rows)) + uint64(binary.LittleEndian.Uint32(rows[4:]))*1e8 +
				uint64(binary.LittleEndian.Uint32(rows[8:])) + uint64(binary.LittleEndian.Uint16(rows[12:])) +
				uint64(binary.LittleEndian.Uint16(rows[14:])) + uint64(binary.LittleEndian.Uint32(rows[16:]))*1e8 +
				uint64(binary.LittleEndian.Uint32(rows[20:])) + uint64(rows[24]) + uint64(rows[27])
		}
	}
	if sum == 0 {
		b.Fatal("nothing was read")
	}
}

// byTable is the CRC a byte a step, as most programs have it.
func byTable() func([]byte) uint16 {
	var table [256]uint16
	for i := range table {
		table[i] = wire.Buypass([]byte{byte(i)})
	}
	return func(p []byte) (c uint16) {
		for _, b := range p {
			c = c<<8 ^ table[byte(c>>8)^b]
		}
		return c
	}
}
