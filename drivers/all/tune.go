package all

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// modes are those in which meters speak by themselves, the usual ones first. Lines
// of 7E1 are read as 8N1: their parity shows in bit 7.
var modes = []drivers.Mode{
	{Baud: 115200, Bits: 8, Parity: drivers.NoParity, Stop: 1}, // P1 from DSMR 4 on, Sweden, Slovenia
	{Baud: 2400, Bits: 8, Parity: drivers.EvenParity, Stop: 1}, // HAN of Norway, Austria
	{Baud: 9600, Bits: 8, Parity: drivers.NoParity, Stop: 1},   // P1 of DSMR 2 and 3 and D0 (7E1), radio receivers
	{Baud: 2400, Bits: 8, Parity: drivers.NoParity, Stop: 1},   // Kamstrup, mode D (7E1)
	{Baud: 19200, Bits: 8, Parity: drivers.NoParity, Stop: 1},  // radio receivers
	{Baud: 9600, Bits: 8, Parity: drivers.EvenParity, Stop: 1}, // Austria's P1 adapters
	{Baud: 38400, Bits: 8, Parity: drivers.NoParity, Stop: 1},  // radio receivers
	{Baud: 57600, Bits: 8, Parity: drivers.NoParity, Stop: 1},  // the same
	{Baud: 115200, Bits: 8, Parity: drivers.EvenParity, Stop: 1},
	{Baud: 4800, Bits: 8, Parity: drivers.NoParity, Stop: 1},
	{Baud: 300, Bits: 8, Parity: drivers.NoParity, Stop: 1},
	{Baud: 1200, Bits: 8, Parity: drivers.NoParity, Stop: 1},
}

const (
	// patience is how long a line may say nothing before another mode is tried.
	// Most meters speak each ten seconds at least.
	patience = 11 * time.Second
	// pause ends what a meter has to say.
	pause = 250 * time.Millisecond
	// most is how much is listened to in one mode.
	most = 8 << 10
	// enough bytes of nothing known tell that a mode is wrong.
	enough = 8
	// oneBurst is how long one may take: the longest telegram at 300 baud is beyond it.
	oneBurst = 12 * time.Second
)

// Found is what a line was found to be.
type Found struct {
	Match
	Mode  drivers.Mode // zero: the line's own, which cannot be set
	Bytes int          // that were heard in all, in whatever mode
}

// ErrSilent says that a line said nothing, ErrUnknown that nobody knows what it
// says.
var (
	ErrSilent  = drivers.WithHint(errors.New("the line says nothing"), "is the cable in, does the port need to be opened by the grid company, does the P1 cable raise its request line? Meters that must be asked say nothing by themselves")
	ErrUnknown = drivers.WithHint(errors.New("bytes arrive, and no known telegram is among them"), "the line may be inverted, or its speed an unusual one")
)

// Listen finds out what a line speaks and in which mode, by listening alone: it
// sends nothing. It goes through the usual modes until ctx ends, or ErrSilent or
// ErrUnknown after rounds of them; 0 rounds: for ever. The line stays in the mode
// that was found. A Found whose Telegrams are 0 is nearly right.
func Listen(ctx context.Context, line drivers.Line, rounds int) (Found, error) {
	var near Found
	heard := 0
	for round := 0; rounds == 0 || round < rounds; round++ {
		for _, mode := range modes {
			err := line.SetMode(mode)
			fixed := errors.Is(err, errors.ErrUnsupported)
			if err != nil && !fixed {
				return near, err
			}
			if fixed {
				mode = drivers.Mode{}
			}
			f, err := listenIn(ctx, line, mode)
			heard += f.Bytes
			f.Bytes = heard
			if err != nil || f.Telegrams > 0 {
				return f.settle(line, err)
			}
			if f.Damaged > near.Damaged {
				near = f
			}
			if fixed {
				break
			}
		}
	}
	near.Bytes = heard
	switch {
	case heard == 0:
		return near, ErrSilent
	case near.Damaged > 1:
		return near, nil
	}
	return near, ErrUnknown
}

// settle leaves the line in the mode that was found.
func (f Found) settle(line drivers.Line, err error) (Found, error) {
	if err != nil || !f.Parity || f.Mode == (drivers.Mode{}) {
		return f, err
	}
	f.Mode.Bits, f.Mode.Parity = 7, drivers.EvenParity
	return f, line.SetMode(f.Mode)
}

// listenIn listens in one mode until a telegram is whole, enough of nothing known
// has come, or nothing comes.
func listenIn(ctx context.Context, line drivers.Line, mode drivers.Mode) (Found, error) {
	if err := line.Discard(); err != nil {
		return Found{}, err
	}
	var (
		b     []byte
		buf   = make([]byte, 2048)
		began = time.Now()
		first time.Time // a byte came
	)
	for len(b) < most {
		wait := patience - time.Since(began)
		if !first.IsZero() {
			wait = pause
		}
		if ctx.Err() != nil {
			return Found{Mode: mode, Bytes: len(b)}, ctx.Err()
		}
		if err := line.SetReadDeadline(time.Now().Add(min(wait, time.Second))); err != nil {
			return Found{}, err
		}
		n, err := line.Read(buf)
		b = append(b, buf[:n]...)
		if n > 0 && first.IsZero() {
			first = time.Now()
		}
		switch {
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			if f := judge(b, mode); f.Telegrams > 0 {
				return f, nil
			}
			return Found{Mode: mode, Bytes: len(b)}, err
		case err == nil && time.Since(began) < patience+oneBurst:
			continue
		case first.IsZero() && time.Since(began) < patience:
			continue
		}
		// A silence, or one that lasts too long. What was under way when the listening
		// began may lack its beginning, so it decides nothing.
		f := judge(b, mode)
		whole := first.Sub(began) >= pause
		if f.Telegrams > 0 || len(b) == 0 || whole && len(b) >= enough && f.Damaged == 0 || time.Since(began) >= patience {
			return f, nil
		}
		first = time.Time{}
	}
	return judge(b, mode), nil
}

func judge(b []byte, mode drivers.Mode) Found {
	m, _ := Sniff(b)
	return Found{Match: m, Mode: mode, Bytes: len(b)}
}
