package transport

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// An adapter is pulled out in mid-stream and comes back under another number:
// the path is the same, what it leads to is not.
func TestSupervisorFollowsAnAdapterToItsNewNumber(t *testing.T) {
	first, second := newMeter(t), newMeter(t)
	link := filepath.Join(t.TempDir(), "usb-adapter")
	if err := os.Symlink(first.device, link); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan byte)
	var waiting atomic.Bool
	s := &Supervisor{
		Port:  mustParse(t, link),
		Log:   zerolog.Nop(),
		State: func(state State, _ error) { waiting.Store(state == LineWaiting) },
	}
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(ctx context.Context, l drivers.Line) error {
			stop := context.AfterFunc(ctx, func() { _ = l.SetReadDeadline(time.Unix(1, 0)) })
			defer stop()
			for buf := make([]byte, 1); ; {
				if _, err := l.Read(buf); err != nil {
					return err
				}
				s.Healthy()
				got <- buf[0]
			}
		})
	}()
	first.say(t, "1")
	if b := <-got; b != '1' {
		t.Errorf("first byte %q", b)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	first.unplug()
	waitFor(t, waiting.Load)
	if err := os.Symlink(second.device, link); err != nil {
		t.Fatal(err)
	}
	second.say(t, "2")
	select {
	case b := <-got:
		if b != '2' {
			t.Errorf("second byte %q", b)
		}
	case <-time.After(10 * time.Second):
		t.Error("no reading within 10 s of the adapter's return")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v", err)
	}
}
