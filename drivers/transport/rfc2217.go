package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	// answerTimeout is how long a converter may take to answer.
	answerTimeout = 5 * time.Second

	// maxUnread is how much is received ahead of whoever reads.
	maxUnread = 64 << 10

	noRFC2217 = "use tcp:// or switch RFC 2217 on at the converter, in ser2net: telnet(rfc2217)"
)

// rfc2217Line is a serial port of a converter that lets its clients set it: RFC
// 2217, over Telnet.
//
// A goroutine of its own receives: answers and notices arrive among the data
// whether or not somebody reads it.
type rfc2217Line struct {
	port     Port
	conn     net.Conn
	received chan struct{} // closed when the goroutine has ended

	asking  sync.Mutex // over an exchange of requests
	writing sync.Mutex // over a write, so that none cuts another in two

	mu        sync.Mutex
	changed   *sync.Cond // any of what follows
	options   telnetOptions
	unread    []byte
	deadline  time.Time
	alarm     *time.Timer // wakes a read at the deadline
	open      []comPortRequest
	wrong     error // an answer to one of them that will not do
	suspended bool  // the converter wants no data now
	mode      drivers.Mode
	gone      time.Time // when what was written has left the converter, at best; zero: it has
	err       error     // why the line is dead
}

func dialRFC2217(ctx context.Context, port Port) (drivers.Line, error) {
	if err := checkMode(port.Key(), port.Mode); err != nil {
		return nil, err
	}
	conn, err := dial(ctx, port)
	if err != nil {
		return nil, err
	}
	l := newRFC2217(port, conn)
	if err := l.setUp(ctx); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("%s: %w", port, err)
	}
	return l, nil
}

// newRFC2217 begins to receive; Close ends it.
func newRFC2217(port Port, conn net.Conn) *rfc2217Line {
	l := &rfc2217Line{port: port, conn: conn, mode: port.Mode, received: make(chan struct{})}
	l.changed = sync.NewCond(&l.mu)
	go l.receive()
	return l
}

// setUp negotiates and sets the port.
func (l *rfc2217Line) setUp(ctx context.Context) error {
	err := l.negotiate(ctx)
	if err == nil {
		err = l.ask(ctx, append(modeRequests(l.port.Mode), controlRequests(l.port)...)...)
	}
	if err == nil || ctx.Err() != nil || drivers.Hint(err) != "" {
		return err
	}
	return drivers.WithHint(err, "has another program the port? most converters take one at a time")
}

// negotiate agrees with the converter on Telnet's options.
func (l *rfc2217Line) negotiate(ctx context.Context) error {
	l.mu.Lock()
	first := l.options.ask()
	l.mu.Unlock()
	if err := l.send(first); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, drivers.ErrTimeout)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.await(ctx, l.options.settled)
	if errors.Is(err, drivers.ErrTimeout) {
		return drivers.WithHint(fmt.Errorf("negotiation of Telnet's options: %w", err), noRFC2217)
	}
	return err
}

// await waits until is holds; with mu held, and is called with it held. Its error
// is why ctx ended or the line is dead.
func (l *rfc2217Line) await(ctx context.Context, is func() bool) error {
	stop := context.AfterFunc(ctx, l.wake)
	defer stop()
	for !is() {
		switch {
		case l.err != nil:
			return l.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		l.changed.Wait()
	}
	return nil
}

// wake lets all who wait look again.
func (l *rfc2217Line) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed.Broadcast()
}

// ask sends requests in one go and waits for their answers.
func (l *rfc2217Line) ask(ctx context.Context, requests ...comPortRequest) error {
	l.asking.Lock()
	defer l.asking.Unlock()
	var b []byte
	for _, r := range requests {
		b = r.appendTo(b)
	}
	l.mu.Lock()
	l.open, l.wrong = requests, nil
	l.mu.Unlock()
	if err := l.send(b); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, drivers.ErrTimeout)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.await(ctx, func() bool { return l.wrong != nil || l.unanswered() < 0 })
	missing := l.unanswered()
	switch {
	case l.wrong != nil:
		err = l.wrong
	case errors.Is(err, drivers.ErrTimeout):
		r := l.open[missing]
		err = drivers.WithHint(fmt.Errorf("asked for %s: %w", r.describe(r.value), err),
			"the converter, or the port behind it, cannot do that: leave rts= and dtr= out, or use tcp://")
	}
	l.open = nil
	return err
}

// unanswered is the index of the first request whose answer is still awaited, or
// -1.
func (l *rfc2217Line) unanswered() int {
	return slices.IndexFunc(l.open, func(r comPortRequest) bool { return !r.lenient })
}

// receive takes the stream apart until the connection ends.
func (l *rfc2217Line) receive() {
	defer close(l.received)
	var d telnetDecoder
	for buf := make([]byte, 2048); ; {
		n, err := l.conn.Read(buf)
		if answer := l.take(&d, buf[:n]); len(answer) > 0 && err == nil {
			err = l.send(answer)
		}
		if err != nil {
			l.fail(lost(err))
			return
		}
		if !l.haveRoom() {
			return
		}
	}
}

// take takes what has just arrived; it returns what must be answered.
func (l *rfc2217Line) take(d *telnetDecoder, p []byte) (answer []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.decode(p,
		func(data []byte) { l.unread = append(l.unread, data...) },
		func(c telnetCommand) {
			if c.verb != telnetSB {
				answer = l.options.hear(answer, c)
				return
			}
			if c.option == optionComPort && len(c.value) > 0 {
				l.hear(c.value[0], c.value[1:])
			}
		})
	if err := l.options.refusal(); err != nil && l.err == nil {
		l.err = err
	}
	l.changed.Broadcast()
	return answer
}

// hear takes an answer or a notice. What a modem line or the line's state does
// is not looked at.
func (l *rfc2217Line) hear(code byte, value []byte) {
	switch code {
	case comPortSuspend + comPortAnswer:
		l.suspended = true
		return
	case comPortResume + comPortAnswer:
		l.suspended = false
		return
	}
	i := slices.IndexFunc(l.open, func(r comPortRequest) bool { return r.answeredBy(code, value) })
	if i < 0 {
		return
	}
	if r := l.open[i]; l.wrong == nil {
		l.wrong = r.judge(value)
	}
	if l.open[i].code == comPortPurge {
		l.unread = l.unread[:0] // what stands before the answer is from before it
	}
	l.open = slices.Delete(l.open, i, i+1)
}

// haveRoom waits until there is room for more; false: the line is dead.
func (l *rfc2217Line) haveRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.unread) >= maxUnread && l.err == nil {
		l.changed.Wait()
	}
	return l.err == nil
}

// fail notes why the line is dead; the first reason stays.
func (l *rfc2217Line) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.changed.Broadcast()
}

// Read waits for bytes until the deadline. What has arrived before the line
// broke can still be read.
func (l *rfc2217Line) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case !l.deadline.IsZero() && !time.Now().Before(l.deadline):
			return 0, l.down(os.ErrDeadlineExceeded)
		case len(l.unread) > 0:
			n := copy(p, l.unread)
			l.unread = append(l.unread[:0], l.unread[n:]...)
			l.changed.Broadcast()
			return n, nil
		case l.err != nil:
			return 0, l.down(l.err)
		}
		l.changed.Wait()
	}
}

func (l *rfc2217Line) down(err error) error { return fmt.Errorf("%s: %w", l.port, err) }

// Write gives up after 10 s with a converter that takes nothing, or that asked
// for a pause and does not end it.
func (l *rfc2217Line) Write(p []byte) (int, error) {
	if err := l.resumed(); err != nil {
		return 0, l.down(err)
	}
	b := appendEscaped(make([]byte, 0, len(p)+8), p)
	l.writing.Lock()
	defer l.writing.Unlock()
	n, err := l.write(b)
	n -= (bytes.Count(b[:n], []byte{telnetIAC}) + 1) / 2
	l.noteSent(n)
	if err != nil {
		return n, l.down(err)
	}
	return n, nil
}

// resumed waits while the converter wants no data.
func (l *rfc2217Line) resumed() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), writeTimeout,
		fmt.Errorf("the converter suspends what is sent to it: %w", drivers.ErrTimeout))
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.await(ctx, func() bool { return !l.suspended && l.err == nil })
}

// noteSent reckons with n more bytes on the converter's wire.
func (l *rfc2217Line) noteSent(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	start := time.Now()
	if l.gone.After(start) {
		start = l.gone
	}
	l.gone = start.Add(wireTime(n, l.mode))
}

// wireTime is how long n bytes are on a serial line: each has a start bit beside
// its data, parity and stop bits.
func wireTime(n int, m drivers.Mode) time.Duration {
	width := 1 + int(m.Bits) + int(m.Stop)
	if m.Parity != drivers.NoParity {
		width++
	}
	return time.Duration(n*width) * time.Second / time.Duration(m.Baud)
}

// send writes commands.
func (l *rfc2217Line) send(p []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	_, err := l.write(p)
	return err
}

func (l *rfc2217Line) write(p []byte) (int, error) {
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, socketCause(err)
	}
	n, err := l.conn.Write(p)
	if err != nil {
		return n, socketCause(err)
	}
	return n, nil
}

// SetReadDeadline also wakes a read that is under way.
func (l *rfc2217Line) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alarm != nil {
		l.alarm.Stop()
	}
	l.deadline, l.alarm = t, nil
	if !t.IsZero() {
		l.alarm = time.AfterFunc(time.Until(t), l.wake)
	}
	l.changed.Broadcast()
	return nil
}

// SetMode has the converter set speed and frame, and waits for its word. Flush
// before it what is to leave at the old ones.
func (l *rfc2217Line) SetMode(m drivers.Mode) error {
	if err := checkMode(l.port.Key(), m); err != nil {
		return err
	}
	if err := l.ask(context.Background(), modeRequests(m)...); err != nil {
		return l.down(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mode = m
	return nil
}

// Discard drops what has arrived here and what waits in the converter.
func (l *rfc2217Line) Discard() error {
	l.mu.Lock()
	l.unread = l.unread[:0]
	l.changed.Broadcast()
	l.mu.Unlock()
	if err := l.ask(context.Background(), comPortRequest{code: comPortPurge, value: []byte{purgeReceived}}); err != nil {
		return l.down(err)
	}
	return nil
}

// Flush waits until what was written has left the converter. The protocol has no
// word for that: an answer shows that all has reached the converter, and from its
// length follows how long it is on the wire.
func (l *rfc2217Line) Flush(ctx context.Context) error {
	l.mu.Lock()
	gone := l.gone
	l.mu.Unlock()
	if gone.IsZero() {
		return ctx.Err()
	}
	asked := time.Now()
	if err := l.ask(ctx, comPortRequest{code: comPortBaud, value: make([]byte, 4), query: true}); err != nil {
		return l.down(err)
	}
	trip := time.Since(asked)
	if err := sleep(ctx, time.Until(gone)+trip); err != nil {
		return l.down(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone.Equal(gone) {
		l.gone = time.Time{}
	}
	return nil
}

// Close also wakes whoever reads.
func (l *rfc2217Line) Close() error {
	l.fail(net.ErrClosed) // before the connection fails of it
	err := l.conn.Close()
	<-l.received
	_ = l.SetReadDeadline(time.Time{}) // which stops the alarm
	if err != nil {
		return l.down(socketCause(err))
	}
	return nil
}

// String is the port as configured.
func (l *rfc2217Line) String() string { return l.port.String() }
