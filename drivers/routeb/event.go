package routeb

import (
	"bytes"
	"net/netip"
)

// Events of SKSTACK.
const (
	evBeacon    = 0x20 // a PAN answers the scan
	evSent      = 0x21 // what became of a datagram
	evScanned   = 0x22 // the scan is over
	evNotJoined = 0x24
	evJoined    = 0x25
	evEnding    = 0x26 // the meter asks to end the session
	evEnded     = 0x27
	evEndedMute = 0x28 // the meter did not answer that we end it
	evExpired   = 0x29
	evLimited   = 0x32 // the transmit time of this hour is used up
	evLifted    = 0x33
)

// Event is an EVENT line.
type Event struct {
	Number byte
	Sender netip.Addr
	Side   int8 // 0 Route B, 1 HAN, -1: the module has just one
	Param  int8 // -1: none
}

// ParseEvent reads an EVENT line of either kind of module: after the sender, one
// character is the side, two are the parameter. A parameter 00 cannot be taken for
// a side. false: it is none.
func ParseEvent(line []byte) (e Event, ok bool) {
	words := bytes.Fields(line)
	if len(words) < 3 || len(words) > 5 || string(words[0]) != "EVENT" || len(words[1]) != 2 {
		return e, false
	}
	n, ok := number(words[1])
	sender, err := netip.ParseAddr(string(words[2]))
	if !ok || err != nil {
		return e, false
	}
	e = Event{Number: byte(n), Sender: sender, Side: -1, Param: -1}
	for _, w := range words[3:] {
		n, ok := number(w)
		switch {
		case !ok || n > 0x7F:
			return Event{}, false
		case len(w) == 1 && e.Side < 0 && e.Param < 0:
			e.Side = int8(n)
		case len(w) == 2 && e.Param < 0:
			e.Param = int8(n)
		default:
			return Event{}, false
		}
	}
	return e, true
}

// sends says whether an event tells of a datagram that was given to the radio, and
// whether it left. A neighbour that had to be asked for first is neither.
func (e *Event) sends() (told, left bool) {
	if e.Number != evSent {
		return false, false
	}
	return e.Param == 0 || e.Param == 1, e.Param == 0
}
