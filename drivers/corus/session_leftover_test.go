package corus

import (
	"bytes"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestWhatWasLeftIsTakenByItsOwnMeterAlone(t *testing.T) {
	var b leftBehind
	own, other := newConfig(), newConfig()
	until, device := time.Unix(1e9, 0), drivers.Identity{Model: "MINICOR200"}
	one := answered{layout: &layout{length: 4}, data: []byte{1, 2, 3, 4}}
	b.put(own, leftover{one, Interval, until, device, time.Now()})
	for name, got := range map[string]answered{
		"another meter":    b.take(other, Interval, until, device),
		"another database": b.take(own, Daily, until, device),
		"another window":   b.take(own, Interval, until.Add(1), device),
		"another device":   b.take(own, Interval, until, drivers.Identity{Model: "MINICOR300"}),
	} {
		if len(got.data) > 0 {
			t.Errorf("%s takes % x", name, got.data)
		}
	}
	if got := b.take(own, Interval, until, device); !bytes.Equal(got.data, one.data) || !got.left {
		t.Errorf("took %+v", got)
	}
	b.drop(own, until)
	if got := b.take(own, Interval, until, device); len(got.data) > 0 || b.bytes != 0 {
		t.Errorf("took %+v after it was given, %d bytes are kept", got, b.bytes)
	}
}

func TestWhatIsLeftIsBounded(t *testing.T) {
	var b leftBehind
	l := &layout{length: 1}
	for n := range 100 {
		c := newConfig()
		for w := range 3 * maxWindows {
			b.put(c, leftover{answered{layout: l, data: make([]byte, 50_000)}, Interval, time.Unix(int64(w), 0), drivers.Identity{}, time.Now()})
		}
		if size := bytesOf(b.of[c]); size > maxWindows*50_000 || b.bytes > maxLeft {
			t.Fatalf("%d bytes of meter %d, %d of all", size, n, b.bytes)
		}
	}
}

func TestRecordsOfAnotherDeviceDoNotFollowWhatWasLeft(t *testing.T) {
	l := &layout{length: 4}
	left := func() answered { return answered{layout: l, data: []byte{9, 0, 0, 0, 8, 0, 0, 0}, left: true} }
	all := left()
	if !all.join([]byte{8, 0, 0, 0, 7, 0, 0, 0}, l) || !bytes.Equal(all.data, []byte{9, 0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0}) {
		t.Errorf("joined to % x", all.data)
	}
	for _, more := range [][]byte{nil, {6, 0, 0, 0}} {
		if all = left(); all.join(more, l) {
			t.Errorf("% x follow what was left: % x", more, all.data)
		}
	}
}
