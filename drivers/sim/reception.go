package sim

import (
	"context"
	"io"
	"time"
)

// reception are the bytes that a meter receives, one by one. It is closed when the
// line ends.
type reception <-chan byte

// received gives the bytes of a line, those of their bits that mask has.
func received(ctx context.Context, line io.Reader, mask byte) reception {
	c := make(chan byte, 256)
	go func() {
		defer close(c)
		buf := make([]byte, 256)
		for {
			n, err := line.Read(buf)
			for _, b := range buf[:n] {
				select {
				case c <- b & mask:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return c
}

// get is the next byte. errIECSilent: none came for wait.
func (r reception) get(ctx context.Context, wait time.Duration) (byte, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case b, ok := <-r:
		if !ok {
			return 0, io.EOF
		}
		return b, nil
	case <-timer.C:
		return 0, errIECSilent
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
