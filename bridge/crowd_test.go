package bridge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Of six lines two may ask at a time, and one that hangs lets the next go on.
func TestFewLinesAskAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := newCrowd(2)
		var mu sync.Mutex
		var entered []time.Duration
		for i := range 6 {
			go func() {
				time.Sleep(time.Duration(i) * time.Millisecond) // who comes first is certain
				leave, err := c.enter(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer leave()
				mu.Lock()
				entered = append(entered, time.Since(began).Truncate(time.Second))
				mu.Unlock()
				if took := 4 * time.Second; i == 0 {
					time.Sleep(time.Hour)
				} else {
					time.Sleep(took)
				}
			}()
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		want := []time.Duration{0, 0, 4 * time.Second, 8 * time.Second, 10 * time.Second, 12 * time.Second}
		if !slices.Equal(entered, want) {
			t.Errorf("they asked after %v, want %v", entered, want)
		}
		if !c.room.TryAcquire(2) || c.room.TryAcquire(1) {
			t.Error("the room that was given back is not what was taken")
		}
	})
}

func TestWhoWaitsToAskIsToldToEnd(t *testing.T) {
	c := newCrowd(1)
	leave, err := c.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.enter(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWithoutACrowdNobodyWaits(t *testing.T) {
	var c *crowd
	leave, err := c.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leave()
}
