package bridge

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/routeb"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// simulated is a line to a simulated meter, until the test ends.
func simulated(t *testing.T, driver string) drivers.Line {
	t.Helper()
	return simulatedModel(t, driver, "")
}

func simulatedModel(t *testing.T, driver, model string) drivers.Line {
	t.Helper()
	s, err := sim.New(driver, sim.Options{Model: model})
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := s.Serve(ctx, far); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		_, _ = near.Close(), far.Close()
		ended.Wait()
	})
	return pipeLine{near}
}

// routeBHouse is a meter that was last seen some time ago.
func routeBHouse(t *testing.T, absent time.Duration) *meter {
	t.Helper()
	j, err := journal.Open("", 0, time.Now(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	c := routeb.Driver.NewConfig().(*routeb.Config)
	c.ID, c.Password = drivers.NewSecret(sim.ExampleRouteBID), drivers.NewSecret(sim.ExampleRouteBPassword)
	link := mqttlink.New(mqttlink.Options{})
	return &meter{
		config: config.Meter{Name: "main", Driver: routeb.Driver, Options: c, Backfill: true},
		link:   link, journal: j, acked: j.Acked, devices: &devices{link: link}, registers: &registers{},
		guard: plausible.New(plausible.Defaults), log: zerolog.Nop(), topics: topicsOf("t", "main"),
		seen: time.Now().Add(-absent),
	}
}

func TestDaysMissedOfARouteBMeterAreFilledWithItsHalfHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 1, 15, 3, 34, 0, 0, time.UTC)))
		began := time.Now()
		m := routeBHouse(t, 60*time.Hour)
		l := newLine([]*meter{m}, zonesOf, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := l.poll(ctx, simulated(t, "routeb")); err != nil {
			t.Fatal(err)
		}
		if len(m.gaps) != 0 {
			t.Errorf("left: %v", m.gaps)
		}
		if h := m.registers.Holes; len(h) != 1 || !h[0].From.Equal(began.Add(-60*time.Hour)) {
			t.Errorf("holes %v", h)
		}
		for _, key := range []string{"1-1:1.8.0", "1-1:2.8.0"} {
			log := m.registers.Logs[key]
			if log == nil || len(log.Hours) < 60 {
				t.Fatalf("%s: the statistics know of %v", key, log)
			}
			for i, h := range log.Hours[1:] {
				before := log.Hours[i]
				if h.Start.Sub(before.Start) != time.Hour || h.Last.Cmp(before.Last) < 0 {
					t.Errorf("%s: %s behind %s", key, h.Start, before.Start)
				}
			}
		}
	})
}
