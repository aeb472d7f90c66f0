package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Why a command is not carried out.
var (
	errRetained   = errors.New("the command is retained, so it would be repeated at each connection: clear it with an empty retained message and publish it without retain")
	errNotAllowed = errors.New("it may not be written: name it in write = […] of the meter's configuration")
	errOffline    = errors.New("the meter's line is not open")
	errClosed     = errors.New("the meter's line was closed meanwhile")
	errBusy       = errors.New("too many commands wait for the meter's line")
	errLate       = errors.New("the meter's line was busy for too long")
	errLocked     = errors.New("the meter refused our password and is not asked again until the configuration is reloaded")
	errDeaf       = errors.New("nothing can be asked of it or written to it: meters of this driver only speak")
	errNote       = errors.New("it cannot be noted in the state folder, so after a crash it might be sent twice")
	errKilled     = errors.New("the gateway ended while the command was carried out")
	errSecret     = errors.New("its value is secret and is not published")
)

// Result is what became of a command, as BASE/METER/result has it and write
// prints it.
type Result struct {
	ID        json.RawMessage `json:"id,omitempty"` // as in the command
	Parameter string          `json:"parameter"`
	OK        *bool           `json:"ok"`              // nil: nobody can know
	Value     json.RawMessage `json:"value,omitempty"` // as the meter has it now
	Error     string          `json:"error,omitempty"`
}

// outcome is what a driver made of a command: the Parameter as the meter's session
// describes it, its value as it was read back, and why it failed.
type outcome struct {
	parameter drivers.Parameter
	sent      drivers.Value
	back      drivers.Value
	known     bool // back is the meter's own
	err       error
}

// resultOf says what is known.
func resultOf(parameter string, id json.RawMessage, write bool, o outcome) Result {
	r := Result{ID: id, Parameter: shown(parameter), OK: new(o.err == nil)}
	if o.err != nil {
		r.Error = o.reason()
		if write && !isCertain(o.err) {
			r.OK = nil
		}
	}
	if o.known && !o.parameter.Secret {
		r.Value = o.back.AppendPayload(nil)
	}
	return r
}

// isCertain says whether a failed write left the meter as it was. What nobody
// vouches for counts as unknown.
func isCertain(err error) bool {
	if errors.Is(err, drivers.ErrUnconfirmed) {
		return false
	}
	for _, refusal := range []error{
		drivers.ErrUnsent, drivers.ErrRefused, drivers.ErrAuth, drivers.ErrValue, errors.ErrUnsupported, errDiffers,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// wasSent says whether a command may have reached the meter, so that it must never
// be sent again.
func (o outcome) wasSent() bool {
	return !errors.Is(o.err, drivers.ErrUnsent) && !errors.Is(o.err, drivers.ErrValue)
}

// reason is the error, of a secret only its kind: drivers may quote values.
func (o outcome) reason() string {
	if !o.parameter.Secret {
		return o.err.Error()
	}
	for _, kind := range []error{
		errSecret, errRetained, errNotAllowed, errOffline, errClosed, errBusy, errLate, errLocked, errNote,
		drivers.ErrUnsent, drivers.ErrUnconfirmed, drivers.ErrRefused, drivers.ErrAuth, drivers.ErrValue, drivers.ErrTimeout, errDiffers,
	} {
		if errors.Is(o.err, kind) {
			return kind.Error()
		}
	}
	return "it failed"
}

// closed puts into words that the line was closed under a command, by an order or
// because the gateway ends. Whether it was sent stays as it was found to be.
func closed(err error) error {
	for _, known := range []error{drivers.ErrUnsent, drivers.ErrUnconfirmed} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w: %w", known, errClosed)
		}
	}
	return errClosed
}

// errDiffers says that a meter took a value and shows another.
var errDiffers = errors.New("the meter shows another value than was written")

// clockSlack is how far a clock that was read back may be from what was set, beside
// the time that both took.
const clockSlack = 60 * time.Second

// compare holds what was read back against what was sent.
func (o outcome) compare(took time.Duration) error {
	same := true
	switch o.sent.Kind {
	case drivers.Number, drivers.Bool:
		same = o.sent.Number.Cmp(o.back.Number) == 0
	case drivers.Text:
		same = strings.TrimSpace(o.sent.Text) == strings.TrimSpace(o.back.Text)
	case drivers.Moment:
		same = apart(o.sent.Moment, o.back.Moment) <= clockSlack+took
	}
	if same {
		return nil
	}
	return fmt.Errorf("%s: %w", o.parameter.Name, errDiffers)
}

// apart is how far two stamps are from each other; if one of them has no offset,
// by what both show.
func apart(a, b drivers.Stamp) time.Duration {
	if a.Zoned != b.Zoned {
		a.Wall, b.Wall = digits(a.Wall), digits(b.Wall)
	}
	return a.Wall.Sub(b.Wall).Abs()
}

func digits(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}
