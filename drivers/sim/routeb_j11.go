package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/routeb"
)

// j11Stick is a module with the binary dialogue.
type j11Stick struct {
	stick
	channel byte
	login   []byte
	running bool
	joined  bool
	round   int
}

// j11Channel is the meter's channel as these modules count them: from 4 on, in steps
// of 0.4 MHz.
func (m *routeBMeter) j11Channel() byte { return (m.channel-0x21)/2 + 4 }

func (w within) serveJ11(ctx context.Context, line io.ReadWriter) error {
	s := &j11Stick{stick: stick{reach: w, meter: w[0], line: line}}
	return s.run(ctx, line, s.take)
}

func (s *j11Stick) tell(command uint16, data ...byte) {
	s.say(routeb.AppendJ11Answer(nil, command, data))
}

// take carries out the commands that have arrived.
func (s *j11Stick) take() {
	mark := []byte{0xD0, 0xEA, 0x83, 0xFC}
	for {
		i := bytes.Index(s.buf, mark)
		if i < 0 || len(s.buf) < i+12 {
			return
		}
		b := s.buf[i:]
		end := 8 + int(binary.BigEndian.Uint16(b[6:]))
		if end < 12 || !bytes.Equal(routeb.AppendJ11(nil, binary.BigEndian.Uint16(b[4:]), nil)[:6], b[:6]) {
			s.buf = b[len(mark):]
			continue
		}
		if len(b) < end {
			return
		}
		command, data := binary.BigEndian.Uint16(b[4:]), bytes.Clone(b[12:end])
		whole := bytes.Equal(routeb.AppendJ11(nil, command, data), b[:end])
		s.buf = b[end:]
		if whole {
			s.command(command, data)
		}
	}
}

func (s *j11Stick) command(command uint16, data []byte) {
	const good, bad = 1, 2
	answer := command | 0x2000
	switch {
	case command == 0x00D9:
		s.running, s.joined, s.login = false, false, nil
		s.round++
		s.after(routeBLatency, func() { s.tell(0x6019) })
	case command == 0x006B:
		s.tell(answer, good, 0, 1, 1, 3, 0, 0, 0, 1)
	case command == 0x005F && len(data) == 4:
		s.channel = data[2]
		s.tell(answer, good)
	case command == 0x0054 && len(data) == 44:
		s.login = data
		if m := s.reach.find(func(m *routeBMeter) bool { return strings.EqualFold(m.id, string(data[:len(m.id)])) }); m != nil {
			s.meter = m
		}
		s.tell(answer, good)
	case command == 0x0051 && len(data) == 14:
		s.scan(data)
	case command == 0x0053 && s.channel == s.meter.j11Channel() && s.login != nil:
		s.running = true
		s.tell(answer, good)
	case command == 0x0005, command == 0x0057, command == 0x0058:
		s.joined = s.joined && command == 0x0005
		s.tell(answer, good)
	case (command == 0x0056 || command == 0x00D2) && s.running:
		s.tell(answer, good)
		s.join()
	case command == 0x0008 && len(data) >= 22 && s.joined:
		s.tell(answer, good, 0)
		s.transmit(data[22:])
	default:
		s.tell(answer, bad)
	}
}

// scan looks at each channel of the mask.
func (s *j11Stick) scan(data []byte) {
	mask := binary.BigEndian.Uint32(data[1:])
	m := s.reach.find(func(m *routeBMeter) bool { return string(data[6:]) == m.pair() })
	mine := m != nil && !m.due("not-found")
	s.after(200*time.Millisecond, func() {
		for c := byte(4); c <= 17; c++ {
			if mask>>c&1 == 0 {
				continue
			}
			if !mine || c != m.j11Channel() {
				s.tell(0x4051, 1, c)
				continue
			}
			found := binary.BigEndian.AppendUint64([]byte{0, c, 1}, m.mac)
			s.tell(0x4051, append(binary.BigEndian.AppendUint16(found, m.pan), 0xC4)...)
		}
		s.tell(0x2051, 1)
	})
}

func (s *j11Stick) join() {
	s.joined = false
	s.round++
	good := string(s.login) == s.meter.id+s.meter.password && !s.meter.due("not-accepted")
	round := s.round
	s.after(200*time.Millisecond, func() {
		if s.round != round {
			return // it was reset meanwhile
		}
		if !good {
			s.state(2)
			return
		}
		s.joined = true
		s.state(1)
		s.inSession(routeBLatency, func() { s.datagram(instanceList()) })
		s.notifyLater()
	})
}

// state tells what became of the session with the meter.
func (s *j11Stick) state(state byte) {
	s.tell(0x6028, binary.BigEndian.AppendUint64([]byte{state}, s.meter.mac)...)
}

// inSession does something later, if the session is still the same.
func (s *j11Stick) inSession(d time.Duration, do func()) {
	round := s.round
	s.after(d, func() {
		if s.round == round && s.joined {
			do()
		}
	})
}

func (s *j11Stick) notifyLater() {
	s.inSession(s.meter.untilHalfHour(), func() {
		s.datagram(s.meter.halfHour())
		s.notifyLater()
	})
}

func (s *j11Stick) transmit(frame []byte) {
	answer := s.meter.answer(frame)
	if answer == nil || s.meter.due("silence") {
		return
	}
	s.inSession(routeBLatency, func() {
		s.datagram(answer)
		if s.meter.due("twice") {
			s.datagram(answer)
		}
		if s.meter.due("ended") || s.meter.due("expired") {
			s.joined = false
			s.state(3)
		}
	})
}

// datagram passes on what the meter sends.
func (s *j11Stick) datagram(frame []byte) {
	from := routeb.LinkLocal(s.meter.mac)
	b := append([]byte(nil), from[:]...)
	for _, n := range []int{routeBPort, routeBPort, int(s.meter.pan)} {
		b = append(b, be16(n)...)
	}
	b = append(b, 0, 2, 0xC4)
	s.tell(0x6018, append(append(b, be16(len(frame))...), frame...)...)
}
