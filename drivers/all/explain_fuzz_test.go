package all

import (
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// FuzzExplain holds explanations of any bytes against what the decoders make of
// them: the same values, each refusal told, each byte explained once.
func FuzzExplain(f *testing.F) {
	f.Add(uint8(0), []byte("/ABC5METER\r\n\r\n1-0:1.8.1(000123.400*kWh)\r\n0-1:24.2.1(260131230000W)(00012.300*m3)\r\n!\r\n"))
	for i, text := range []string{
		"7EA00B01020113A1F3E6E7007E", "0F40000000000101020309060100010800FF06000004D202020F00161E",
		"680303680801727B16", "E5", "105B056016", "2E4493157856341233037A2A0020255923C95AAA26D1B2E7493B013EC4A6F6D3529B520EDFF0EA6DEFC99D6D69EBF3",
	} {
		b, _ := wire.AppendHex(nil, text)
		f.Add(uint8(1+i), b)
	}
	f.Add(uint8(4), []byte("\x02!"))
	f.Add(uint8(4), []byte("/LGZ5ZMD120\r\n\x02F.F(00)\r\n1.8.0(000123.4*kWh)\r\n!\r\n\x03\x12"))
	for _, text := range []string{
		"01BF025E300345060109464C5F623030343003ABCD", "01BE0D10F9FFFFFF00000000000000000300000146000034", "2F3F210D0A2F414354374D494E49434F523230300D0A063037360D0A50415353E0AE06014230032131",
	} {
		b, _ := wire.AppendHex(nil, text)
		f.Add(uint8(6), b)
	}
	var tested []drivers.Driver
	for _, d := range Drivers {
		if d.Explain != nil {
			tested = append(tested, d)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		d := tested[int(n)%len(tested)]
		holdAgainst(t, d, d.NewConfig(), b)
	})
}
