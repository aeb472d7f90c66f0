package bridge

import (
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
)

// maxAnswers bounds the results that wait for the broker's word; the oldest go
// first.
const maxAnswers = 512

// answers sends the results of commands that a line has had, again at each
// connection until the broker has them: whoever sent a command is owed one.
type answers struct {
	link *mqttlink.Link

	mu      sync.Mutex
	next    uint64
	waiting []owed
}

// owed is a result that the broker has not acknowledged.
type owed struct {
	mqttlink.Message

	isOut bool   // by the present connection
	told  func() // is called when the broker has it, and must not block; nil: nobody wants to know
}

func (a *answers) send(m mqttlink.Message, told func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m.Number, m.Acked = a.next, a.landed
	a.next++
	if len(a.waiting) >= maxAnswers {
		a.waiting = slices.Delete(a.waiting, 0, 1)
	}
	a.waiting = append(a.waiting, owed{m, a.link.Publish(m), told})
}

func (a *answers) landed(number uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.waiting, func(o owed) bool { return o.Number == number })
	if i < 0 {
		return
	}
	if told := a.waiting[i].told; told != nil {
		told()
	}
	a.waiting = slices.Delete(a.waiting, i, i+1)
}

// lost notes that a connection is over, resend that there is another.
func (a *answers) lost() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.waiting {
		a.waiting[i].isOut = false
	}
}

func (a *answers) resend() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.waiting {
		if !a.waiting[i].isOut {
			a.waiting[i].isOut = a.link.Publish(a.waiting[i].Message)
		}
	}
}

const (
	// maxToldRefusals refused writes a minute leave a line in the log and an event.
	maxToldRefusals   = 20
	toldRefusalsEvery = time.Minute
)

// refusals keeps a flood of refused writes out of the log.
type refusals struct {
	mu     sync.Mutex
	since  time.Time
	told   int
	untold int
}

// mayTell says whether one more may be told.
func (r *refusals) mayTell(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told == 0 {
		r.since = now
	}
	if r.told >= maxToldRefusals {
		r.untold++
		return false
	}
	r.told++
	return true
}

// tick sums up what was not told, and begins the next minute.
func (r *refusals) tick(now time.Time, log zerolog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) < toldRefusalsEvery {
		return
	}
	if r.untold > 0 {
		log.Warn().Int("count", r.untold).Msg("more writes were refused")
	}
	r.told, r.untold = 0, 0
}
