package hdlc

import (
	"os"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// benchFrame is the frame that all programs are measured with: list 3 of an Aidon
// meter.
const benchFrame = "../../../shared/bench/inputs/aidon_l3_hdlc.bin"

func benchStream(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(benchFrame)
	if err != nil {
		t.Skipf("no %s: captures are not part of the repository", benchFrame)
	}
	return b
}

const benchKey, benchAuthKey = "000102030405060708090A0B0C0D0E0F", "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"

func benchConfig() *Config {
	c := Driver.NewConfig().(*Config)
	c.Key, c.AuthKey = drivers.NewSecret(benchKey), drivers.NewSecret(benchAuthKey)
	return c
}

// sealFrame is a frame with its APDU ciphered, in one frame or, as long as it
// must be, more.
func sealFrame(t testing.TB, stream []byte) []byte {
	t.Helper()
	f, err := newTestDecoder(t, benchConfig()).nextFrame(stream)
	if err != nil {
		t.Fatal(err)
	}
	return AppendHDLC(nil, f.path, seal(t, f.info[llcSize:], 1), maxLength)
}

// seal is an APDU, ciphered with the keys of benchConfig.
func seal(t testing.TB, apdu []byte, counter uint32) []byte {
	t.Helper()
	keys, err := benchConfig().keys()
	if err != nil {
		t.Fatal(err)
	}
	c, err := dlms.NewCipher(keys, func([]byte) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	s := dlms.Security{Title: dlms.Title{'A', 'D', 'N', 1, 2, 3, 4, 5}, Control: 0x30, Counter: counter}
	sealed, err := c.Seal(nil, s, apdu)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// decodeOnce is one frame through the whole decoder. The counter watch forgets,
// for the frame is always the same one.
func decodeOnce(t testing.TB, d *Decoder, r *drivers.Reading, stream []byte) {
	t.Helper()
	d.counter = dlms.Counter{}
	d.Feed(stream)
	if err := d.Next(r); err != nil {
		t.Fatal(err)
	}
}

func benchmark(b *testing.B, stream []byte) {
	b.Helper()
	d := newTestDecoder(b, benchConfig())
	var r drivers.Reading
	decodeOnce(b, d, &r, stream)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		decodeOnce(b, d, &r, stream)
	}
	b.ReportMetric(float64(len(r.Values)), "values")
}

func BenchmarkDecodeHDLC(b *testing.B) { benchmark(b, benchStream(b)) }

func BenchmarkDecodeGCM(b *testing.B) { benchmark(b, sealFrame(b, benchStream(b))) }
