package mqttlink

import "sync"

// maxKept bounds the messages that wait and must not be replaced; the oldest go
// first.
const maxKept = 4096

// outbox holds what waits to be sent. It never blocks a producer: a topic has at
// most one waiting state, the newest, at the place in line of the first.
type outbox struct {
	mu      sync.Mutex
	filled  chan struct{} // holds a token while there may be something to take; one a turn
	isUp    bool
	turn    uint64            // counts connections
	queue   []Message         // from head on
	head    int               // of queue
	first   uint64            // number of queue[0]
	waiting map[string]uint64 // topic of a replaceable message → its number
	kept    int               // how many of queue are Keep
	dropped uint64            // Keep messages that went for want of room
}

func newOutbox() *outbox {
	return &outbox{waiting: map[string]uint64{}}
}

// open lets messages in and gives the turn in which they may be taken out, and
// what tells that there may be some.
func (o *outbox) open() (turn uint64, filled <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.isUp = true
	o.turn++
	o.filled = make(chan struct{}, 1)
	return o.turn, o.filled
}

// close drops what waits and lets nothing in.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.isUp = false
	o.turn++
	o.reset()
}

func (o *outbox) isOpen() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.isUp
}

func (o *outbox) reset() {
	clear(o.queue)
	clear(o.waiting)
	o.first += uint64(len(o.queue))
	o.queue, o.head, o.kept = o.queue[:0], 0, 0
}

// put adds m, or replaces the waiting message of its topic. false: not open.
func (o *outbox) put(m Message) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.isUp {
		return false
	}
	if !m.Keep {
		if n, ok := o.waiting[m.Topic]; ok {
			o.queue[n-o.first] = m
			return true
		}
		o.waiting[m.Topic] = o.first + uint64(len(o.queue))
	} else {
		o.makeRoom()
		o.kept++
	}
	o.queue = append(o.queue, m)
	select {
	case o.filled <- struct{}{}:
	default:
	}
	return true
}

// makeRoom drops the oldest Keep message of whose arrival nobody wants to know, if
// there are too many; who wants to know, counts on it, and bounds what it sends.
// It stays in the queue as an empty place, so that the numbers of the others hold.
func (o *outbox) makeRoom() {
	if o.kept < maxKept {
		return
	}
	for i := o.head; i < len(o.queue); i++ {
		if o.queue[i].Keep && o.queue[i].Acked == nil {
			o.queue[i] = Message{}
			o.kept--
			o.dropped++
			return
		}
	}
}

// take removes the oldest message, if it is still that turn.
func (o *outbox) take(turn uint64) (Message, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if turn != o.turn {
		return Message{}, false
	}
	return o.oldest()
}

func (o *outbox) oldest() (Message, bool) {
	for o.head < len(o.queue) {
		m := o.queue[o.head]
		o.queue[o.head] = Message{}
		o.head++
		o.compact()
		if m.Topic == "" {
			continue // dropped by makeRoom
		}
		if m.Keep {
			o.kept--
		} else {
			delete(o.waiting, m.Topic)
		}
		return m, true
	}
	return Message{}, false
}

// compact gives the places before head back, seldom enough to cost nothing.
func (o *outbox) compact() {
	if o.head < len(o.queue) && o.head < 64 {
		return
	}
	if o.head < len(o.queue)/2 {
		return
	}
	n := copy(o.queue, o.queue[o.head:])
	clear(o.queue[n:])
	o.queue = o.queue[:n]
	o.first += uint64(o.head)
	o.head = 0
}

// drain removes all that waits.
func (o *outbox) drain() []Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []Message
	for {
		m, ok := o.oldest()
		if !ok {
			return all
		}
		all = append(all, m)
	}
}
