//go:build !race

package routeb

import (
	"bytes"
	"errors"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// The race detector allocates on its own account, hence the build tag.
func TestSteadyStreamAllocatesNothing(t *testing.T) {
	texts := Frame{Source: Meter, Sink: Controller, Service: Inf, Properties: []Property{
		{epcSerial, []byte("S24X00001234")}, {epcMaker, []byte{0, 0, 22}}, {epcVersion, []byte{0, 0, 'R', 0}}, {epcLocation, []byte{0x61}},
	}}
	damaged := bytes.Replace(houseLine, []byte("1081"), []byte("1080"), 1)
	for name, stream := range map[string][]byte{
		"good lines":      houseLine,
		"binary lines":    (&Datagram{From: port, To: port, Secured: true, Data: houseFrame}).AppendUDPLine(nil, false),
		"J11":             j11House,
		"bare frames":     houseFrame,
		"texts":           texts.AppendTo(nil),
		"refused":         damaged,
		"damaged":         []byte("ERXUDP FE80:0000:0000 x\r\nERXUDP \r\n"),
		"J11 damaged":     append(bytes.Clone(j11House[:20]), j11House...),
		"events":          []byte("EVENT 21 FE80:0000:0000:0000:021C:6400:030C:12A4 0 00\r\nOK\r\n"),
		"the benchmark's": input(t),
	} {
		t.Run(name, func(t *testing.T) {
			d := NewDecoder(newConfig())
			var r drivers.Reading
			once := func() {
				d.Feed(stream)
				var err error
				for !errors.Is(err, drivers.ErrMore) {
					err = d.Next(&r)
				}
			}
			once()
			once()
			if n := testing.AllocsPerRun(200, once); n != 0 {
				t.Errorf("%v allocations a message", n)
			}
		})
	}
}
