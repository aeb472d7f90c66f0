//go:build !race

package p1

import (
	"errors"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// The race detector allocates on its own account, hence the build tag.
func TestSteadyStreamAllocatesNothing(t *testing.T) {
	broken := dsmr5[:len(dsmr5)-6] + "0001\r\n"
	for name, stream := range map[string]string{
		"good telegrams":        dsmr5,
		"refused telegrams":     broken,
		"good and refused ones": broken + dsmr5 + broken,
		"without CRC":           dsmr2,
		"ciphered":              cipheredFrame,
		"noise":                 "\x00\xff/abc\n!12\r\n",
		"layouts in turns":      sealed("/TST5\n\n1-0:1.8.0(1*kWh)\n0-0:96.13.0(4142)\n!") + sealed("/TST5\n\n0-0:96.13.0(4142)\n1-0:1.8.0(1*kWh)\n!"),
		"unnamed lines":         sealed("/TST5\n\n1-0:72:32.0(00000)\n1-0:1.8.0(1*furlong)\n1-0:99.97.0(1)(0-0:96.7.19)(190115011853W)(0000000389*s)\n!"),
	} {
		t.Run(name, func(t *testing.T) {
			d, err := newDecoder(&Config{}, drivers.Zones{})
			if err != nil {
				t.Fatal(err)
			}
			var r drivers.Reading
			b := []byte(stream)
			once := func() {
				d.Feed(b)
				var err error
				for !errors.Is(err, drivers.ErrMore) {
					err = d.Next(&r)
				}
			}
			once()
			once()
			if n := testing.AllocsPerRun(200, once); n != 0 {
				t.Errorf("%v allocations a telegram", n)
			}
		})
	}
}
