package all

import (
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// keyed are drivers of meters that may cipher, with keys.
func keyed(key, auth string) []capture.Masking {
	k, a := drivers.NewSecret(key), drivers.NewSecret(auth)
	return []capture.Masking{
		{Driver: p1.Driver, Options: &p1.Config{Key: k, AuthKey: a}},
		{Driver: hdlc.Driver, Options: &hdlc.Config{Key: k, AuthKey: a}},
		{Driver: mbus.Wireless, Options: &mbus.WirelessConfig{Key: k}},
	}
}

// FuzzMask masks any bytes: as many come out, and nothing panics, for a report is
// made of what a line has said.
func FuzzMask(f *testing.F) {
	for n, text := range []string{
		"DB084142430000000001301E3000000001CFDE0F95F6CA0B8C4D9F0E7E0D7A0B2C3D4E5F60718293",
		"7EA02B01020113A1F3E6E700DB084142430000000001143000000001AABBCCDDEEFF001122334455667788999AA5E67E",
		"2E4493157856341233037A2A0020255923C95AAA26D1B2E7493B013EC4A6F6D3529B520EDFF0EA6DEFC99D6D69EBF3",
		"0F44AE0C7856341201078D2021D37CAC21FF13",
	} {
		b, _ := wire.AppendHex(nil, text)
		f.Add(uint8(min(n, 2)), b)
	}
	own := keyed("0102030405060708090A0B0C0D0E0F11", "101112131415161718191A1B1C1D1E1F")
	shown := keyed("00000000000000000000000000000000", "11111111111111111111111111111111")
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		m := own[int(n)%len(own)]
		m.Shown = shown[int(n)%len(own)].Options
		m.Hidden = []string{"12345678"}
		masked, err := m.Mask(b)
		if err != nil || len(masked.Bytes) != len(b) {
			t.Errorf("%d bytes of %d: %v", len(masked.Bytes), len(b), err)
		}
		if _, err := m.Blank(masked, masked.Opaque...); err != nil {
			t.Error(err)
		}
	})
}
