package status

import (
	"context"
	"errors"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Cause is why a telegram or an exchange gave no reading, as one of a few words.
type Cause string

// The causes.
const (
	Checksum Cause = "checksum" // damaged on the way
	Short    Cause = "short"    // ended too early
	Long     Cause = "long"     // longer than the protocol allows
	Syntax   Cause = "syntax"   // not the form that the protocol demands
	Key      Cause = "key"      // key or password does not fit
	Refused  Cause = "refused"  // by the meter
	Silent   Cause = "timeout"  // the meter did not answer in time
	Other    Cause = "other"
)

// Causes are all of them.
var Causes = []Cause{Checksum, Short, Long, Syntax, Key, Refused, Silent, Other}

var causes = []struct {
	err   error
	cause Cause
}{
	{drivers.ErrChecksum, Checksum},
	{drivers.ErrAuth, Key},
	{drivers.ErrShort, Short},
	{drivers.ErrLong, Long},
	{drivers.ErrSyntax, Syntax},
	{drivers.ErrRefused, Refused},
	{drivers.ErrTimeout, Silent},
	{context.DeadlineExceeded, Silent},
}

// CauseOf finds the cause of an error.
func CauseOf(err error) Cause {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.cause
		}
	}
	return Other
}
