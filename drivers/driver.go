package drivers

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Driver is one protocol: a plain value without state, listed in drivers/all.
type Driver struct {
	Name string        // as configured: "p1", "iec62056-21"
	Doc  string        // one line for --help and the documents
	Mode Mode          // the usual speed and frame of its serial lines
	Gap  time.Duration // silence that ends whatever frame was under way; 0: none does

	// Quiet is how long a healthy line may say nothing before it is taken for
	// dead and opened again.
	Quiet time.Duration

	// Datagrams: its meters can also be reached over UDP.
	Datagrams bool

	// Every is how often a meter is asked whose configuration does not say; 0:
	// each minute. Meters that live on a battery are asked seldom.
	Every time.Duration

	// Hint is what to look at when bytes arrive and no telegram is among them.
	Hint string

	// Caution is what a configuration gives up, in a sentence that is said once
	// when the meter starts; "", as nil Caution: nothing.
	Caution func(Config) string

	// Shares says why two pushing meters of these configurations cannot hang on one
	// line; nil: they can. nil Shares: no two ever can.
	Shares func(a, b Config) error

	// Parameters are those that meters of a configuration have, told without a
	// line; nil: only a session knows them, or there are none.
	Parameters func(Config) []Parameter

	NewConfig  func() Config                                                         // a pointer to defaults; its koanf tags are the keys
	NewDecoder func(Config, Zones) (Decoder, error)                                  // captured bytes in, readings out; every protocol has one
	Explain    func(Config, Zones, []byte) ([]Span, error)                           // what each byte of captured telegrams means; pure; nil: cannot
	Reseal     func(from, to Config, z Zones, b []byte, hide Hide) (Resealed, error) // puts ciphered telegrams under other keys; pure; nil: none are ciphered
	Sniff      func([]byte) Sniff                                                    // whether a line speaks this protocol by itself; pure; nil: its meters do not
	Tune       func(context.Context, Line) (Mode, error)                             // finds and sets the mode of a line before it is listened to; nil: the configuration says it
	Dial       func(context.Context, Line, Config, Zones) (Session, error)           // nil: its meters only push
	Scan       func(context.Context, Line, Config, Search) error                     // nil: a line cannot be searched
	Ways       []string                                                              // how Scan can look: "primary", "secondary"
}

// Push says whether the driver's meters speak unasked: the bridge then feeds
// the line to a Decoder.
func (d Driver) Push() bool { return d.Dial == nil }

// Hide gives a clear text, captured bytes of a meter of this configuration, without
// what tells whose it is: as many bytes.
type Hide func(c Config, text []byte) []byte

// Resealed are captured bytes as a meter with other keys would have sent them. Checks
// around what is ciphered are as they were, so they need not fit any more.
type Resealed struct {
	Bytes []byte
	Done  []bool // of each byte: it belongs to a ciphered telegram that was dealt with
}

// Config is a driver's own part of a [[meter]] table. Validate reports every
// mistake, joined; each names its key.
type Config interface{ Validate() error }

// Decoder turns captured bytes into readings. It has no clock, goroutine,
// logger or I/O, does not panic, and its memory is bounded. One caller at a
// time. A line that was opened again gets a new one.
type Decoder interface {
	// Feed takes the next bytes, however the stream is cut: the readings are
	// the same. p is not kept.
	Feed(p []byte)
	// Next fills r and returns nil; or ErrMore: Feed it (ErrIdle, if a Gap would
	// change nothing); or a *FrameError: one frame was lost, call again. The
	// *FrameError is valid until the next call.
	Next(r *Reading) error
	// Gap says that the line fell silent or the input ended: what is unfinished
	// is complete now or lost, and Next says which.
	Gap()
}

// Overhearer is a Decoder of a protocol whose answers do not say what was asked.
// Captures that have both directions tell it what was sent, in its place between
// what was received; nobody else does, so it must do without.
type Overhearer interface {
	Sent(p []byte)
}

// Heir is a Decoder that takes over what must outlive a line: a counter that has to
// rise, or what was recorded could be played back once the line was cut.
type Heir interface {
	// Inherit takes from the Decoder that the line had before.
	Inherit(from Decoder)
}

// Selector is a Decoder that passes over telegrams of meters that it is not
// configured for.
type Selector interface {
	// Overheard is a meter whose telegram was passed over, each once; false: there
	// is no other one.
	Overheard() (Identity, bool)
}

// Session is a conversation with one meter. The bridge owns schedule, line
// lock, retries and back-off.
type Session interface {
	Describe() (Identity, []Quantity, []Parameter) // from memory, no I/O
	// Read fills r; want nil: with all that the meter has. After ErrTimeout the
	// session is asked again, after any other error a new one is dialled.
	Read(ctx context.Context, want []obis.Code, r *Reading) error
	Close(ctx context.Context) error // takes leave of the meter; the Line stays open
}

// Commander is a Session that reads and writes Parameters; which of them, and
// how, their Access says. Set sends a value once: it never repeats what the meter
// may have carried out, and where it cannot tell whether that has happened, its
// error says so: ErrUnsent, ErrUnconfirmed. What it gives is what was read back,
// or v where the Parameter cannot be read.
type Commander interface {
	Get(ctx context.Context, p Parameter) (Value, error)
	Set(ctx context.Context, p Parameter, v Value) (readBack Value, err error)
}

// Notifier is a Session whose meter also speaks unasked. Notify blocks until
// ctx ends.
type Notifier interface {
	Notify(ctx context.Context, each func(*Reading) error) error
}

// Historian is a Session whose meter keeps a log. Rows come oldest first.
type Historian interface {
	History(ctx context.Context, from, to time.Time, each func(*Reading) error) error
}

// Sparing is a Session that may bear fewer readings than were asked for, as one by
// radio does.
type Sparing interface {
	Rest() int // how many times the configured interval to leave between two readings; usually 1
}

// Attachment is what whoever keeps a session gives it.
type Attachment struct {
	Memory string               // what an earlier session with the same meter gave Keep; "": nothing
	Keep   func(memory string)  // called with what should outlive the program: no secrets
	State  func(session string) // called with each change of the session's state: "joined"

	// Claim is called by a Yielder before it takes what the line has only one of: it
	// returns when the session that had it has yielded, and may block for that. Its
	// error is the line's. nil: nobody else wants it.
	Claim func(ctx context.Context) error
}

// Yielder is a Session that holds something of which a line has only one for all of
// its meters, as a radio module that is joined to one meter at a time.
type Yielder interface {
	// Yield ends what the session holds, in good order, for another session of the
	// line to have it. What it knows of its meter stays, and its next call that needs
	// it claims it anew. Its error says how the end went; it has yielded all the same.
	Yield(ctx context.Context) error
}

// Attacher is a Session that lasts: it goes through states worth telling, heals by
// itself, so that it is kept after an error, and learns what should outlive the
// program. Attach is called once, before anything else; its functions are called
// from within the session's methods and must not block.
type Attacher interface {
	Attach(a Attachment)
}

// Line is an open port. Deadlines work everywhere, and a pulled plug is an
// error, never silence.
type Line interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetMode(m Mode) error            // errors.ErrUnsupported on a plain TCP line
	Discard() error                  // drops what has arrived and was not read
	Flush(ctx context.Context) error // returns when all that was written has left
	String() string                  // the port as configured, without secrets
}

// InDatagrams says whether each Read of a Line gives one datagram and each Write sends
// one, so that bytes may get lost on it, or come twice, but only as a whole: its port
// begins with udp:// .
func InDatagrams(l Line) bool { return strings.HasPrefix(l.String(), "udp://") }
