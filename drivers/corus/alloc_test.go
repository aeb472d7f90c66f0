//go:build !race

package corus

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// The race detector allocates on its own account, hence the build tag.
func TestSteadyStreamAllocatesNothing(t *testing.T) {
	damaged := bytes.Clone(houseAnswer)
	damaged[20] ^= 1
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ sent, stream []byte }{
		"a database":    {nil, houseAnswer},
		"chained":       {nil, houseChain},
		"events":        {nil, houseEvents},
		"refused":       {nil, damaged},
		"cut":           {nil, houseAnswer[:60]},
		"an empty one":  {nil, AppendFrame(nil, 0, true, []byte{0})},
		"parameters":    {AppendRead(nil, mapID, 82, clockID), AppendAnswer(nil, append([]byte("FL_b0040SITE-001"), houseRow(0)[:4]...))},
		"unseen":        {nil, AppendAnswer(nil, []byte("FL_b0040"))},
		"NAK":           {AppendRead(nil, mapID), []byte{nak}},
		"benchmark's":   {nil, benchAnswer(t)},
		"unknown ids":   {AppendRead(nil, 200), AppendAnswer(nil, []byte{1})},
		"noise":         {nil, []byte("\x00\x00\x00/ACT7MINICOR200\r\nPASS\xe0\xae\x06")},
		"wrong lengths": {AppendRead(nil, mapID), AppendAnswer(nil, []byte{1})},
	} {
		t.Run(name, func(t *testing.T) {
			d := benchDecoder(t)
			d.clock.zone = zone
			var r drivers.Reading
			once := func() {
				d.Sent(c.sent)
				d.Feed(c.stream)
				if name == "cut" {
					d.Gap()
				}
				var err error
				for !errors.Is(err, drivers.ErrMore) {
					err = d.Next(&r)
				}
			}
			once()
			once()
			if n := testing.AllocsPerRun(200, once); n != 0 {
				t.Errorf("%v allocations an answer", n)
			}
		})
	}
}
