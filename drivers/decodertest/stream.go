// Package decodertest feeds decoders in tests, so that those of all protocols are
// held against their laws in the same way.
package decodertest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Drain asks a decoder until it is dry, and gives copies of what it found. Any other
// error than a lost frame ends the test.
func Drain(t testing.TB, d drivers.Decoder) (got []*drivers.Reading, lost []*drivers.FrameError) {
	t.Helper()
	var r drivers.Reading
	for {
		err := d.Next(&r)
		if errors.Is(err, drivers.ErrMore) {
			return got, lost
		}
		if e, ok := errors.AsType[*drivers.FrameError](err); ok {
			lost = append(lost, e.Clone())
			continue
		}
		if err != nil {
			t.Fatalf("%T %v", err, err)
		}
		got = append(got, r.Clone())
	}
}

// Printed feeds a decoder a stream and a Gap, and gives its readings as text, each
// with its check. sizes are those of the pieces in which the stream comes, again and
// again; none: at once.
func Printed(t testing.TB, d drivers.Decoder, stream []byte, sizes ...int) (all []string) {
	t.Helper()
	collect := func() {
		got, _ := Drain(t, d)
		for _, r := range got {
			all = append(all, fmt.Sprintf("%s %s", r.Check, r.AppendJSON(nil)))
		}
	}
	for i := 0; len(stream) > 0; i++ {
		n := len(stream)
		if len(sizes) > 0 {
			n = min(n, max(1, sizes[i%len(sizes)]))
		}
		d.Feed(stream[:n])
		stream = stream[n:]
		collect()
	}
	d.Gap()
	collect()
	return all
}
