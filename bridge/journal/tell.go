package journal

import (
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// tellFailure tells once that the disk takes nothing.
func (j *Journal) tellFailure(err error) {
	if j.failing {
		return
	}
	j.failing = true
	j.tell(drivers.WithHint(fmt.Errorf("journal: %w; what waits is kept in memory, as far as it fits", err),
		"is the disk full, may state.dir be written to?"))
}

// tellDropped counts entries that were lost, and says so: at the first, then each
// time their number doubled.
func (j *Journal) tellDropped(n uint64) {
	if n == 0 {
		return
	}
	before := j.dropped
	j.dropped += n
	if before == 0 || j.dropped >= 2*before {
		j.tell(drivers.WithHint(fmt.Errorf("journal is full: %d of the oldest readings were dropped so far", j.dropped),
			"bring the broker back, or raise state.max"))
	}
}
