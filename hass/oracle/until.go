package oracle

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// Patience is how long the tests wait for a condition: far longer than it
// should take, for the machine may be busy.
const Patience = 90 * time.Second

// pollEvery is the pause between two looks at a condition.
const pollEvery = 150 * time.Millisecond

// Until waits until check returns nil, and fails the test with check's last
// error if it does not within Patience.
func (o *Oracle) Until(t *testing.T, check func() error) {
	t.Helper()
	if err := until(Patience, check); err != nil {
		t.Fatal(err)
	}
}

// final is an error that waiting does not cure.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

func fatal(err error) error { return final{err} }

// until calls check again and again until it returns nil or a final error.
func until(limit time.Duration, check func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		if f, ok := errors.AsType[final](err); ok {
			return f.error
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("waited %v: %w", limit, err)
		}
	}
}
