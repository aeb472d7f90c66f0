package corus

import (
	"errors"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
)

// The record's size is told, so what is left over shows that something is missing.
func TestBytesBehindTheLastRecordAreNoticed(t *testing.T) {
	for _, rest := range []int{1, 37} {
		body := append([]byte{38}, houseRow(0)...)
		body = append(body, houseRow(1)[:rest]...)
		d := lawDecoder(t)
		d.Feed(AppendFrame(nil, 0, true, body))
		got, lost := decodertest.Drain(t, d)
		if len(got) != 0 || len(lost) != 1 || !errors.Is(lost[0], drivers.ErrShort) {
			t.Errorf("%d bytes more: %d readings, lost %v", rest, len(got), lost)
		}
	}
}

// An answer has 255 bytes of data at most: a list of parameters is asked for in parts,
// none of which is more, and none of which is left out.
func TestALongListIsAskedForInParts(t *testing.T) {
	var all []*parameter
	for i := range 60 {
		all = append(all, &parameter{id: ID(i), length: 1 + i*7%22})
	}
	all = append(all, &parameter{id: 500, length: maxBody})
	seen := 0
	for rest := all; len(rest) > 0; {
		n := fitting(rest)
		if n == 0 || lengthOf(rest[:n]) > maxBody {
			t.Fatalf("%d parameters of %d bytes", n, lengthOf(rest[:n]))
		}
		if n < len(rest) && lengthOf(rest[:n+1]) <= maxBody {
			t.Errorf("%d parameters, though one more would fit", n)
		}
		seen, rest = seen+n, rest[n:]
	}
	if seen != len(all) {
		t.Errorf("%d of %d were asked for", seen, len(all))
	}
}
