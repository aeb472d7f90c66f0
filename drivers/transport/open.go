package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Why a line cannot be had, or is no more. Test for them with errors.Is.
var (
	ErrBusy      = errors.New("in use by another program")
	ErrMissing   = errors.New("not there")
	ErrForbidden = errors.New("not permitted")
	ErrHungUp    = errors.New("device hung up")
)

// Open opens a port. Its errors name the port, tell ErrBusy, ErrMissing and
// ErrForbidden apart for what is on this machine, and carry the remedy.
//
// The Line's methods may be called from several goroutines, but its bytes have
// one reader and one writer. Close wakes both. A read that fails after the
// deadline set with SetReadDeadline is os.ErrDeadlineExceeded and costs nothing;
// after any other error the line is dead.
func Open(ctx context.Context, port Port) (drivers.Line, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", port, err)
	}
	switch port.Scheme {
	case Serial:
		return openSerial(port)
	case TCP:
		return dialTCP(ctx, port)
	case RFC2217:
		return dialRFC2217(ctx, port)
	case UDP:
		return openUDP(ctx, port)
	case Replay:
		return openReplay(port)
	case MQTT:
		return nil, drivers.WithHint(fmt.Errorf("%s: %w", port, errors.ErrUnsupported), "only the gateway hears topics: meter2mqtt run")
	}
	return nil, drivers.WithHint(fmt.Errorf("port of kind %q: %w", port.Scheme, errors.ErrUnsupported), acceptedPorts)
}

// refusal is the error for a file that could not be opened, by what the system
// said.
func refusal(port Port, err error, missing, forbidden string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return drivers.WithHint(fmt.Errorf("%s: %w: %w", port, ErrMissing, cause(err)), missing)
	case errors.Is(err, fs.ErrPermission):
		return drivers.WithHint(fmt.Errorf("%s: %w: %w", port, ErrForbidden, cause(err)), forbidden)
	}
	return fmt.Errorf("%s: %w", port, cause(err))
}

// cause is err without the path that the port names already.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
