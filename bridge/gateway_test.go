package bridge_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge"
	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// simulatedMeter is a meter on a TCP line of its own, and where that is.
func simulatedMeter(t *testing.T, driver string, o sim.Options) (port string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	meter, err := sim.New(driver, o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := sim.Listen(ctx, "tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all.Go(func() { _ = l.Serve(ctx, meter.Serve); _ = l.Close() })
	return l.Addr()
}

// runText runs a gateway with a configuration until the test ends. read counts
// the readings.
func runText(t *testing.T, text string) (read func() int64) {
	t.Helper()
	var count atomic.Int64
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var log brokertest.Log
	t.Cleanup(func() { canary.Keep(t, "log", []byte(log.String())) })
	canary.KeepFolder(t, string(c.State.Dir))
	b, err := bridge.New(c, bridge.Options{
		Log: zerolog.New(&log), SetLogLevel: func(zerolog.Level) {},
		Observe: func(string, *drivers.Reading) { count.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	all.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return count.Load
}
