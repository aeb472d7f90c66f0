package sim

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
)

// wirelessText is what the simulated receiver prints in so many telegrams.
func wirelessText(t *testing.T, telegrams int, faults ...string) (text string, ids []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := New("wmbus", Options{Seed: 1, Faults: faults, Period: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for _, keys := range append([][]drivers.Setting{s.Keys}, s.Others...) {
			ids = append(ids, keys[0].Value)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(telegrams)*time.Second-time.Millisecond)
		defer cancel()
		var line mute
		if err := s.Serve(ctx, &line); err != nil {
			t.Fatal(err)
		}
		text = line.String()
	})
	return text, ids
}

// mute is a line that keeps what a meter says, and says nothing.
type mute struct{ bytes.Buffer }

// radioReadings are the readings of one meter, and why others were lost.
func radioReadings(t *testing.T, text, id, key string) (readings []drivers.Reading, lost []error) {
	t.Helper()
	d, err := mbus.NewWirelessDecoder(&mbus.WirelessConfig{ID: id, Key: drivers.NewSecret(key)}, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	d.Feed([]byte(text))
	d.Gap()
	for {
		var r drivers.Reading
		err := d.Next(&r)
		if errors.Is(err, drivers.ErrMore) {
			return readings, lost
		}
		if f, ok := errors.AsType[*drivers.FrameError](err); ok {
			lost = append(lost, f.Clone())
			continue
		}
		readings = append(readings, r)
	}
}

func TestAReceiverHearsThreeMeters(t *testing.T) {
	text, ids := wirelessText(t, 30)
	if diff := cmp.Diff([]string{"30000100", "30000101", "30000202"}, ids); diff != "" {
		t.Fatal(diff)
	}
	for i, medium := range []string{"heat", "cold_water", "warm_water"} {
		key := ""
		if i == 0 {
			key = ExampleRadioKey
		}
		readings, lost := radioReadings(t, text, ids[i], key)
		if len(readings) != 10 || len(lost) != 0 {
			t.Errorf("%s: %d readings, %v", medium, len(readings), lost)
			continue
		}
		if r := readings[0]; r.Meter.Medium != medium || r.Check != drivers.CheckCRC16 || len(r.Values) < 5 {
			t.Errorf("%s: %+v", medium, r)
		}
	}
	if readings, lost := radioReadings(t, text, ids[0], ""); len(readings) != 0 || len(lost) != 10 || !errors.Is(lost[0], drivers.ErrAuth) {
		t.Errorf("without the key: %d readings, %v", len(readings), lost)
	}
}

func TestWirelessFaultsCostTheirTelegramAlone(t *testing.T) {
	text, ids := wirelessText(t, 27, "plain=1")
	if readings, lost := radioReadings(t, text, ids[0], ExampleRadioKey); len(readings) != 0 || len(lost) != 9 || !errors.Is(lost[0], drivers.ErrAuth) {
		t.Errorf("without encryption: %d readings, %v", len(readings), lost)
	}
	text, ids = wirelessText(t, 27, "bad-check=3") // of the third meter, each time
	if readings, lost := radioReadings(t, text, ids[2], ""); len(readings) != 0 || len(lost) != 9 || !errors.Is(lost[0], drivers.ErrChecksum) {
		t.Errorf("with wrong CRCs: %d readings, %v", len(readings), lost)
	}
	if readings, lost := radioReadings(t, text, ids[0], ExampleRadioKey); len(readings) != 9 || len(lost) != 0 {
		t.Errorf("with wrong CRCs of another meter: %d readings, %v", len(readings), lost)
	}
	text, ids = wirelessText(t, 27, "cut=2")
	if readings, _ := radioReadings(t, text, ids[0], ExampleRadioKey); len(readings) < 4 || len(readings) > 5 {
		t.Errorf("with half of the lines cut off: %d readings", len(readings))
	}
	text, ids = wirelessText(t, 30, "noise=1")
	if readings, lost := radioReadings(t, text, ids[1], ""); len(readings) != 10 || len(lost) > 0 {
		t.Errorf("with noise: %d readings, %v", len(readings), lost)
	}
}
