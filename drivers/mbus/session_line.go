package mbus

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// How long things take on the wire: EN 13757-2, 5.
const (
	bitsOfByte = 11  // start, 8, parity, stop
	idleBits   = 33  // before the next request
	answerBits = 330 // and answerRest: until when a slave begins its answer
	wakeBits   = 100 // between wake-up and the first request
	usualBaud  = 2400

	answerRest = 50 * time.Millisecond

	wiredTimeout   = 500 * time.Millisecond
	networkTimeout = 1500 * time.Millisecond
	pauseRest      = 50 * time.Millisecond
	networkPause   = 300 * time.Millisecond
	wiredDelay     = 18 * time.Millisecond // of adapters, which gather bytes for 16 ms
	networkDelay   = 200 * time.Millisecond
)

// pace is how fast the line is, and how patient its master.
type pace struct {
	baud   int
	first  time.Duration // an answer that is expected begins
	window time.Duration // any answer begins, if there is somebody
	pause  time.Duration // silence that ends an answer
}

// paceOf is what configuration and line say. baud 0: that of the port.
func paceOf(c *Config, line drivers.Line, baud int) pace {
	network, ports := portOf(line)
	p := pace{baud: cmp.Or(baud, ports, usualBaud)}
	standard := p.bits(answerBits+bitsOfByte) + answerRest
	first, pause, delay := wiredTimeout, p.bits(3*bitsOfByte)+pauseRest, wiredDelay
	if network {
		first, pause, delay = networkTimeout, networkPause, networkDelay
	}
	p.first = cmp.Or(c.Timeout, max(first, standard+delay))
	p.window = cmp.Or(c.Timeout, standard+delay)
	p.pause = cmp.Or(c.Pause, pause)
	return p
}

// portOf reads a port's text: whether it is reached over a network, and its speed
// if it tells one.
func portOf(line drivers.Line) (network bool, baud int) {
	port := line.String()
	if u, err := url.Parse(port); err == nil {
		baud, _ = strconv.Atoi(u.Query().Get("baud"))
	}
	return strings.HasPrefix(port, "tcp:") || strings.HasPrefix(port, "rfc2217:"), baud
}

// bits is how long so many bits take.
func (p *pace) bits(n int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(p.baud)
}

func (p *pace) bytes(n int) time.Duration { return p.bits(n * bitsOfByte) }

// reply is what came after a request.
type reply uint8

const (
	silent       reply = iota // not one byte
	acknowledged              // E5
	telegram                  // a frame that a slave sends: bus.frame
	garbled                   // bytes, and nothing whole among them
)

// bus is a line as its master has it: one request, then what answers it. One
// caller at a time.
type bus struct {
	line drivers.Line
	pace
	speed int // of the line, while it is lent

	framer Framer
	frame  Frame  // of the last telegram; valid until the next request
	fault  error  // why the last frame was lost, a *drivers.FrameError; nil: none was
	heard  []byte // what came since the request, its echo left out
	acks   int    // acknowledgements among it

	sent   []byte // the request
	echoed int    // bytes of it that came back
	left   time.Time
	quiet  time.Time // no request before
	buf    [512]byte
}

func newBus(line drivers.Line, p pace) *bus { return &bus{line: line, pace: p} }

// lend switches the line to the bus's speed, if the port has another one, until
// what it returns is called. errors.ErrUnsupported: a plain TCP line cannot be
// switched, its converter has the speed.
func (b *bus) lend() (giveBack func(), err error) {
	_, ports := portOf(b.line)
	ports = cmp.Or(ports, usualBaud)
	b.speed = ports
	// A line that fails to go back fails whoever has it next.
	return func() { _ = b.turnTo(ports) }, b.turnTo(b.baud)
}

// turnTo switches the line to a speed, if it has another one.
func (b *bus) turnTo(baud int) error {
	if b.speed == baud {
		return nil
	}
	if err := b.line.SetMode(modeOf(baud)); err != nil {
		return err
	}
	b.speed = baud
	return nil
}

// modeOf is how a line of that speed is set: 8E1.
func modeOf(baud int) drivers.Mode {
	return drivers.Mode{Baud: baud, Bits: 8, Parity: drivers.EvenParity, Stop: 1}
}

// wake sends 55 for a while, and leaves the meter the time to get ready.
func (b *bus) wake(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	n := int(d / b.bytes(1))
	if err := b.send(ctx, bytes.Repeat([]byte{0x55}, n)); err != nil {
		return err
	}
	b.quiet = b.left.Add(b.bits(wakeBits))
	return nil
}

// ask sends a request and listens until what is wanted has come whole, or until
// nothing can come any more: until first has passed without a beginning, or a
// pause has ended what began. If both an acknowledgement and a telegram came, the
// wanted one is told. An error is the line's or ctx's.
func (b *bus) ask(ctx context.Context, request []byte, want reply, first time.Duration) (reply, error) {
	if err := b.send(ctx, request); err != nil {
		return silent, err
	}
	return b.listen(ctx, want, first)
}

// survey sends a request and listens as long as any slave may begin to answer,
// so that b.heard is all that they say.
func (b *bus) survey(ctx context.Context, request []byte) (reply, error) {
	return b.ask(ctx, request, silent, b.window)
}

// send waits until the line has been idle, drops what came late, and sends.
func (b *bus) send(ctx context.Context, request []byte) error {
	if err := sleepUntil(ctx, b.quiet); err != nil {
		return err
	}
	if err := b.line.Discard(); err != nil {
		return err
	}
	b.sent = append(b.sent[:0], request...)
	began := time.Now()
	if _, err := b.line.Write(request); err != nil {
		return err
	}
	if err := b.line.Flush(ctx); err != nil {
		return err
	}
	// Converters and adapters take all at once and send it at the line's speed.
	b.left = later(time.Now(), began.Add(b.bytes(len(request))))
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleepUntil waits for a moment, or for the end of ctx.
func sleepUntil(ctx context.Context, t time.Time) error {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// listen takes what comes. See ask.
func (b *bus) listen(ctx context.Context, want reply, first time.Duration) (reply, error) {
	b.begin()
	var (
		begins = b.left.Add(first)
		ends   = begins.Add(2*b.bytes(maxData+9) + b.pause) // of a line that never falls silent
		last   time.Time                                    // when the last byte came; zero: a pause has passed since
		got    reply
		late   bool // the last look was, and was done again
	)
	for {
		until := begins
		if !last.IsZero() {
			until = last.Add(b.pause)
		}
		n, err := b.read(ctx, until)
		if err != nil {
			return silent, err
		}
		now := time.Now()
		if behind := now.Sub(until); n == 0 && !late && behind > drivers.Stall {
			late, begins, ends = true, begins.Add(behind+b.pause), ends.Add(behind+b.pause)
			if !last.IsZero() {
				last = now
			}
			continue
		}
		if n > 0 {
			last, late = now, false
			b.take(b.buf[:n])
		} else {
			last = time.Time{}
			b.gap()
		}
		got = b.frames(got, want)
		switch {
		case want != silent && got == want:
			b.quiet = now.Add(b.bits(idleBits))
			return got, nil
		case n > 0 && now.Before(ends):
		case n == 0 && now.Before(begins) && (want == silent || b.fault == nil && got != acknowledged):
		default:
			return b.verdict(got, want, now), nil
		}
	}
}

// begin forgets the answer before.
func (b *bus) begin() {
	b.framer = Framer{buf: b.framer.buf[:0]}
	b.fault, b.heard, b.acks, b.echoed = nil, b.heard[:0], 0, 0
}

// read is one read; 0 bytes and no error: until has passed.
func (b *bus) read(ctx context.Context, until time.Time) (int, error) {
	if err := b.line.SetReadDeadline(until); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.line.Read(b.buf[:])
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case n > 0, errors.Is(err, os.ErrDeadlineExceeded):
		return n, nil
	}
	return 0, err
}

// maxHeard bounds what is kept of an answer's bytes: more than the longest frame.
const maxHeard = 512

// take drops the echo of the request, with which some converters begin, and feeds
// the framer. No answer begins as a request does.
func (b *bus) take(p []byte) {
	for len(p) > 0 && len(b.heard) == 0 && b.echoed < len(b.sent) && p[0] == b.sent[b.echoed] {
		b.echoed++
		p = p[1:]
	}
	if len(p) > 0 && b.echoed < len(b.sent) && b.echoed > 0 && len(b.heard) == 0 {
		b.hear(b.sent[:b.echoed]) // it only began alike
	}
	b.hear(p)
}

// gap ends what was under way.
func (b *bus) gap() {
	if b.echoed > 0 && b.echoed < len(b.sent) && len(b.heard) == 0 {
		b.hear(b.sent[:b.echoed])
	}
	b.framer.Gap()
}

func (b *bus) hear(p []byte) {
	b.heard = append(b.heard, p[:min(len(p), maxHeard-len(b.heard))]...)
	b.framer.Feed(p)
}

// frames takes the frames that are whole by now. got is what came before.
func (b *bus) frames(got, want reply) reply {
	for {
		var f Frame
		err := b.framer.Next(&f)
		if errors.Is(err, drivers.ErrMore) {
			return got
		}
		switch lost, broken := errors.AsType[*drivers.FrameError](err); {
		case broken:
			b.fault = lost.Clone()
		case f.Kind == Ack:
			b.acks++
			if got != telegram || want == acknowledged {
				got = acknowledged
			}
		case !f.FromMaster():
			got = telegram
			b.keep(&f)
		}
		if want != silent && got == want {
			return got
		}
	}
}

// keep makes the frame outlive the framer's next Feed.
func (b *bus) keep(f *Frame) {
	raw := append(b.frame.Raw[:0], f.Raw...)
	b.frame.take(raw)
}

// verdict ends an exchange that did not bring what was wanted, or wanted nothing
// but to hear. What is broken may still be going on somewhere.
func (b *bus) verdict(got, want reply, now time.Time) reply {
	b.quiet = now
	if len(b.heard) > 0 && want != silent {
		b.quiet = now.Add(b.bits(answerBits) + answerRest - b.pause)
	}
	switch {
	case got == silent && len(b.heard) > 0:
		return garbled
	case got == acknowledged && want == telegram && len(b.heard) > 1:
		return garbled // a byte of what broke, or noise
	}
	return got
}
