package routeb

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Hasten gives a session short waits for a module that is no radio: those that the
// configuration does not have.
func Hasten(s drivers.Session) {
	own := s.(*session)
	own.timing.quiet, own.timing.present = 50*time.Millisecond, time.Second
	own.timing.again, own.timing.end = 200*time.Millisecond, 500*time.Millisecond
}
