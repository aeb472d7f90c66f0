//go:build !race

package p1

import (
	"errors"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// The race detector allocates on its own account, hence the build tag.
func TestSteadyStreamAllocatesNothing(t *testing.T) {
	broken := dsmr5[:len(dsmr5)-6] + "0001\r\n"
	seal := func(c *Config, control byte, counter uint32, text string) string {
		return string(cipheredBy(t, c, control, counter, text))
	}
	tagged := seal(luxembourg, 0x30, 1, dsmr5)
	for name, stream := range map[string]string{
		"good telegrams":        dsmr5,
		"refused telegrams":     broken,
		"good and refused ones": broken + dsmr5 + broken,
		"without CRC":           dsmr2,
		"with a tag":            tagged,
		"without a tag":         seal(luxembourg, 0x20, 1, dsmr5),
		"of a strange key":      cipheredFrame,
		"of another AK":         seal(austria, 0x30, 1, dsmr5),
		"with a broken tag":     tagged + tagged[:len(tagged)-1] + "x",
		"of a broken CRC":       seal(luxembourg, 0x20, 1, broken),
		"sent again":            tagged + tagged,
		"in Poland's form":      string(polish(t, luxembourg, 0x30, 1, "1-0:1.8.0(1*kWh)\r\n", overSent)),
		"noise":                 "\x00\xff/abc\n!12\r\n",
		"layouts in turns":      sealed("/TST5\n\n1-0:1.8.0(1*kWh)\n0-0:96.13.0(4142)\n!") + sealed("/TST5\n\n0-0:96.13.0(4142)\n1-0:1.8.0(1*kWh)\n!"),
		"unnamed lines":         sealed("/TST5\n\n1-0:72:32.0(00000)\n1-0:1.8.0(1*furlong)\n1-0:99.97.0(1)(0-0:96.7.19)(190115011853W)(0000000389*s)\n!"),
	} {
		t.Run(name, func(t *testing.T) {
			d, err := newDecoder(luxembourg, drivers.Zones{})
			if err != nil {
				t.Fatal(err)
			}
			var r drivers.Reading
			b := []byte(stream)
			once := func() {
				d.Feed(b)
				var err error
				d.frames.unsealer().counter = dlms.Counter{} // so that a telegram may come again
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

func TestAMeterWithoutItsKeyCostsNoMemory(t *testing.T) {
	d, err := newDecoder(&Config{}, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	b := cipheredBy(t, austria, 0x30, 1, dsmr5)
	var r drivers.Reading
	once := func() {
		d.Feed(b)
		var err error
		for !errors.Is(err, drivers.ErrMore) {
			err = d.Next(&r)
		}
	}
	once()
	if n := testing.AllocsPerRun(200, once); n != 0 {
		t.Errorf("%v allocations a telegram", n)
	}
}
