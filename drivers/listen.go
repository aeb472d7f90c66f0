package drivers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Listener feeds a line to a decoder: the one read loop of all meters that
// speak unasked.
type Listener struct {
	Line    Line
	Decoder Decoder
	Gap     time.Duration // silence that ends an unfinished frame; 0: none does
	Quiet   time.Duration // silence after which the line is taken for dead; 0: never

	Reading func(*Reading) error // each reading, with Received set, not to be kept; its error ends the loop
	Lost    func(*FrameError)    // each lost frame
	Bytes   func([]byte)         // what has just arrived, before it is decoded; may be nil
}

// ErrSilence is what reading a line fails with whose silences are its own word, as
// behind a message of a topic: there was nothing to wait for.
var ErrSilence = fmt.Errorf("the line fell silent: %w", os.ErrDeadlineExceeded)

// Stall is how late a read may end whose deadline is over. Where it is later, this
// process stood still, as on a machine that is overloaded: the deadline says nothing
// of the line then, and what has arrived was not looked at.
const Stall = 50 * time.Millisecond

// Run reads until ctx ends, which is no error, or the line fails. ErrTimeout:
// nothing came for Quiet.
//
// # Decision: silence is the line's, not that of this process
//
// A read whose deadline is over fails without a look at what has arrived. Where this
// process stood still for as long as Gap, the rest of a telegram lies there, and to
// end it would lose it: five of a hundred thousand, where more lines than a machine
// can keep up with always have something to say. So Gap, and Quiet, begin anew once.
func (l *Listener) Run(ctx context.Context) error {
	// In the loop the deadline is set first, ctx is looked at second, so that a
	// cancel in between cannot be overwritten.
	defer WakeOnEnd(ctx, l.Line)()
	var (
		buf    = make([]byte, 1024)
		heard  = time.Now()
		begun  = false   // bytes came that silence could end
		quiets time.Time // the deadline, if it stands for Quiet
		anew   = false   // Gap or Quiet has begun anew
	)
	for {
		asked := time.Now()
		if err := l.setDeadline(begun, heard, &quiets); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		n, err := l.Line.Read(buf)
		if n > 0 {
			heard, anew = time.Now(), false
			if l.Bytes != nil {
				l.Bytes(buf[:n])
			}
			l.Decoder.Feed(buf[:n])
			idle, err := l.drain(heard)
			if err != nil {
				return err
			}
			begun = !idle
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return l.end(heard, err)
		case begun && l.Gap > 0 && !anew && time.Since(asked) > l.Gap+Stall && !errors.Is(err, ErrSilence):
			anew = true
		case begun && l.Gap > 0:
			begun, anew = false, false
			l.Decoder.Gap()
			if _, err := l.drain(heard); err != nil {
				return err
			}
		case l.Quiet > 0 && time.Since(heard) >= l.Quiet && !anew && time.Since(quiets) > Stall:
			anew, quiets = true, time.Time{}
		case l.Quiet > 0 && time.Since(heard) >= l.Quiet:
			return fmt.Errorf("%s: no byte for %s: %w", l.Line, l.Quiet, ErrTimeout)
		default:
			quiets = time.Time{} // it was set before the last byte came
		}
	}
}

// setDeadline sets how long the next read may take: Gap, exactly, while something
// is begun. Else up to Quiet, and the deadline that stands does until it is over:
// to set it anew for each telegram of a healthy line would cost more than it tells.
func (l *Listener) setDeadline(begun bool, heard time.Time, quiets *time.Time) error {
	switch {
	case begun && l.Gap > 0:
		*quiets = time.Time{}
		return l.Line.SetReadDeadline(time.Now().Add(l.Gap))
	case !quiets.IsZero():
		return nil
	case l.Quiet <= 0:
		*quiets = heard
		return l.Line.SetReadDeadline(time.Time{})
	}
	*quiets = heard.Add(l.Quiet)
	if now := time.Now(); quiets.Before(now) { // this process stood still
		*quiets = now.Add(l.Quiet)
	}
	return l.Line.SetReadDeadline(*quiets)
}

// end lets the decoder finish what the line's last bytes began.
func (l *Listener) end(heard time.Time, cause error) error {
	l.Decoder.Gap()
	if _, err := l.drain(heard); err != nil {
		return err
	}
	return cause
}

// readings are shared by all lines: one is in use only while a line's bytes are
// decoded, and its values take several kilobytes.
var readings = sync.Pool{New: func() any { return new(Reading) }}

// drain asks the decoder until it is dry, and says whether nothing is begun then.
func (l *Listener) drain(received time.Time) (idle bool, err error) {
	r, _ := readings.Get().(*Reading)
	defer readings.Put(r)
	for {
		err := l.Decoder.Next(r)
		if err == nil {
			r.Received = received
			if err := l.Reading(r); err != nil {
				return false, err
			}
			continue
		}
		if errors.Is(err, ErrMore) {
			return errors.Is(err, ErrIdle), nil
		}
		lost, ok := errors.AsType[*FrameError](err)
		if !ok {
			return false, fmt.Errorf("%s: decoder: %w", l.Line, err)
		}
		l.Lost(lost)
	}
}
