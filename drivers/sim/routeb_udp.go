package sim

import (
	"context"
	"io"
	"time"
)

// node is a meter that is reached over UDP, with no module between.
type node struct{ stick }

// serveUDP answers a datagram at a time, and announces half-hours to whoever asked last.
func (w within) serveUDP(ctx context.Context, line io.ReadWriter) error {
	n := &node{stick{reach: w, meter: w[0], line: line}}
	n.notifyLater()
	return n.run(ctx, line, n.take)
}

// take answers the datagram that has arrived.
func (n *node) take() {
	answer := n.meter.answer(n.buf)
	n.buf = nil
	if answer == nil || n.meter.due("silence") {
		return
	}
	n.after(routeBLatency, func() {
		n.say(answer)
		if n.meter.due("twice") {
			n.say(answer)
		}
	})
}

func (n *node) notifyLater() {
	n.after(max(n.meter.untilHalfHour(), time.Millisecond), func() {
		n.say(n.meter.halfHour())
		n.notifyLater()
	})
}
