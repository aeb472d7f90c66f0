package drivers

import (
	"errors"
	"fmt"
	"strconv"
)

// What a decoder, a line or a meter may say. Test for them with errors.Is.
var (
	ErrMore     = errors.New("more bytes are needed")
	ErrTimeout  = errors.New("no answer in time")
	ErrRefused  = errors.New("refused by the meter")
	ErrAuth     = errors.New("key or password does not fit")
	ErrChecksum = errors.New("checksum does not fit")
	ErrShort    = errors.New("ended too early")
	ErrLong     = errors.New("longer than the protocol allows")
	ErrSyntax   = errors.New("not the form that the protocol demands")
)

// What a Commander's Set says of a command that failed. Without one of them only
// ErrValue, ErrRefused and ErrAuth tell that the meter is as it was; after anything
// else nobody knows.
var (
	ErrUnsent      = errors.New("not sent to the meter")
	ErrUnconfirmed = errors.New("sent, and nothing tells what became of it")
)

// ErrIdle is ErrMore from a decoder that has begun nothing: silence on the line
// would tell it nothing, so nobody need wait for it.
var ErrIdle = fmt.Errorf("nothing has begun: %w", ErrMore)

// FrameError is one lost frame: where it broke and, by Unwrap, why. A decoder
// uses the same one again, so it is valid until its next call; Clone keeps it.
type FrameError struct {
	Field     string // a constant: "A-field", "CRC", "data line"
	Offset    int    // of the fault, from the frame's first byte
	Length    int    // bytes that are given up with the frame
	Got, Want uint32 // for checks: what stood there, what was computed
	Err       error  // ErrChecksum, ErrShort, ErrSyntax, ErrAuth …
	Hint      string // a constant: what to change, or ""

	// Stray: nothing tells whether it was of the meter that the decoder reads. On a
	// line that many share it says how good the line is, not how well that meter is
	// heard.
	Stray bool
}

// Error tells field, offset and cause, and for a check both numbers.
func (e *FrameError) Error() string {
	s := e.Field + " at byte " + strconv.Itoa(e.Offset) + ": " + e.Err.Error()
	if errors.Is(e.Err, ErrChecksum) {
		s += ": got 0x" + strconv.FormatUint(uint64(e.Got), 16) + ", want 0x" + strconv.FormatUint(uint64(e.Want), 16)
	}
	return s
}

// Unwrap is the cause.
func (e *FrameError) Unwrap() error { return e.Err }

// Clone is a copy that outlives the decoder's next call.
func (e *FrameError) Clone() *FrameError {
	c := *e
	return &c
}

// hinted is an error with a remedy for whoever runs the program.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// WithHint adds what a person can do about err. The command line prints it on a
// line of its own, logs as a field.
func WithHint(err error, hint string) error { return hinted{err, hint} }

// Hint is the first remedy that err or what it wraps carries, or "".
func Hint(err error) string {
	if h, ok := errors.AsType[hinted](err); ok {
		return h.hint
	}
	if f, ok := errors.AsType[*FrameError](err); ok {
		return f.Hint
	}
	return ""
}
