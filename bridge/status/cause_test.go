package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestCauseOf(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want Cause
	}{
		"a frame's checksum":      {&drivers.FrameError{Field: "CRC", Err: drivers.ErrChecksum}, Checksum},
		"a wrapped time-out":      {fmt.Errorf("mbus: %w", drivers.ErrTimeout), Silent},
		"an exchange without end": {context.DeadlineExceeded, Silent},
		"a key":                   {&drivers.FrameError{Field: "tag", Err: drivers.ErrAuth}, Key},
		"half a frame":            {drivers.ErrShort, Short},
		"what nobody has named":   {errors.New("the meter is on fire"), Other},
	} {
		t.Run(name, func(t *testing.T) {
			if got := CauseOf(c.err); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEveryCauseIsListed(t *testing.T) {
	for _, c := range causes {
		if !slices.Contains(Causes, c.cause) {
			t.Errorf("%q is missing from Causes", c.cause)
		}
	}
}

func TestAllRefusedCountsEveryCause(t *testing.T) {
	m := Meter{Refused: map[Cause]uint64{Checksum: 3, Silent: 4}}
	if got := m.AllRefused(); got != 7 {
		t.Errorf("got %d, want 7", got)
	}
}
