package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/routeb"
)

// skStick is a module with SKSTACK.
type skStick struct {
	stick
	dual bool
	hex  bool // its output is hexadecimal digits
	me   routeb.Address

	registers    map[string]string
	id, password string
	joined       bool
	limited      bool
	sent         time.Duration // of transmitting, in all
	round        int           // of joins, so that what a session was to do later ends with it
}

// serveSK serves a line as a module of either kind.
func (w within) serveSK(dual bool) func(context.Context, io.ReadWriter) error {
	return func(ctx context.Context, line io.ReadWriter) error {
		s := &skStick{
			stick: stick{reach: w, meter: w[0], line: line}, dual: dual, hex: !dual,
			me: routeb.LinkLocal(routeBModuleMAC),
		}
		s.reset()
		return s.run(ctx, line, s.take)
	}
}

// peer is the address of the meter.
func (s *skStick) peer() routeb.Address { return routeb.LinkLocal(s.meter.mac) }

func (s *skStick) reset() {
	s.registers = map[string]string{
		"S2": "21", "S3": "FFFF", "S0A": "", "S15": "1", "S16": "00000384", "S17": "1", "SA0": "1", "SA1": "1",
		"SA2": "0", "SFB": "0", "SFD": "0000000000000000", "SFE": "1", "SFF": "0",
	}
	s.id, s.password, s.joined = "", "", false
	s.round++
}

func (s *skStick) tell(format string, a ...any) { s.say(fmt.Appendf(nil, format+"\r\n", a...)) }

// event tells an event; param below 0: it has none.
func (s *skStick) event(number byte, param int) {
	text := fmt.Sprintf("EVENT %02X %s", number, s.peer())
	if s.dual {
		text += " 0"
	}
	if param >= 0 {
		text += fmt.Sprintf(" %02X", param)
	}
	s.tell("%s", text)
}

// datagram passes on what the meter sends.
func (s *skStick) datagram(port uint16, secured bool, data []byte) {
	d := routeb.Datagram{
		Sender: s.peer(), Destination: s.me, From: port, To: port, MAC: s.meter.mac, Secured: secured, Side: -1, Data: data,
	}
	if s.dual {
		d.Side = 0
	}
	if s.dual && s.registers["SA2"] == "1" {
		d.RSSI = -58895
	}
	s.say(d.AppendUDPLine(nil, s.hex))
}

// take carries out the commands that have arrived.
func (s *skStick) take() {
	for {
		s.buf = bytes.TrimLeft(s.buf, "\r\n")
		if bytes.HasPrefix(s.buf, []byte("SKSENDTO ")) {
			if !s.takeDatagram() {
				return
			}
			continue
		}
		end := bytes.IndexAny(s.buf, "\r\n")
		if end < 0 {
			return
		}
		text := string(s.buf[:end])
		s.buf = s.buf[end+1:]
		s.echo(text)
		s.command(strings.Fields(text))
	}
}

func (s *skStick) echo(text string) {
	if s.registers["SFE"] == "1" && !strings.HasPrefix(text, "ROPT") && !strings.HasPrefix(text, "WOPT") {
		s.tell("%s", text)
	}
}

// takeDatagram takes SKSENDTO with the data behind it; false: they are not all
// there.
func (s *skStick) takeDatagram() bool {
	words := 7
	if s.dual {
		words = 8
	}
	parts := bytes.SplitN(s.buf, []byte(" "), words)
	if len(parts) < words {
		if end := bytes.IndexByte(s.buf, '\r'); end >= 0 {
			s.buf = s.buf[end:]
			s.tell("FAIL ER05")
			return true
		}
		return false
	}
	size, err := strconv.ParseUint(string(parts[words-2]), 16, 16)
	if err != nil {
		s.buf = nil
		s.tell("FAIL ER06")
		return false
	}
	data := parts[words-1]
	if len(data) < int(size) {
		return false
	}
	head := len(s.buf) - len(data)
	s.echo(string(s.buf[:head]))
	frame := bytes.Clone(data[:size])
	s.buf = s.buf[head+int(size):]
	s.transmit(frame)
	return true
}

// airTime is how long a frame is on the air at 100 kbit/s, with some 80 bytes of
// headers.
func airTime(frame []byte) time.Duration {
	return time.Duration(80+len(frame)) * 8 * time.Second / 100_000
}

// transmit sends a frame to the meter, which answers after a while.
func (s *skStick) transmit(frame []byte) {
	if !s.joined || s.limited || s.meter.due("not-sent") {
		s.event(0x21, 1)
		s.tell("OK")
		return
	}
	s.sent += airTime(frame)
	if s.meter.due("costly") {
		s.sent += 10 * time.Second
	}
	s.event(0x21, 0)
	s.tell("OK")
	answer := s.meter.answer(frame)
	if answer == nil || s.meter.due("silence") {
		return
	}
	s.inSession(routeBLatency, func() {
		s.datagram(routeBPort, true, answer)
		if s.meter.due("twice") {
			s.datagram(routeBPort, true, answer)
		}
		s.misbehave()
	})
}

// misbehave shows the faults that come between two requests.
func (s *skStick) misbehave() {
	if s.meter.due("limited") {
		s.limit(true)
		s.after(2*time.Second, func() { s.limit(false) })
	}
	if s.meter.due("ended") {
		s.joined = false
		s.event(0x26, -1)
		s.event(0x27, -1)
	}
	if s.meter.due("expired") {
		s.joined = false
		s.event(0x29, -1)
		s.after(time.Second, func() { s.event(0x24, -1) })
	}
}

func (s *skStick) limit(on bool) {
	s.limited, s.registers["SFB"] = on, "0"
	if on {
		s.registers["SFB"] = "1"
		s.event(0x32, -1)
		return
	}
	s.event(0x33, -1)
}

// inSession does something later, if the session is still the same.
func (s *skStick) inSession(d time.Duration, do func()) {
	round := s.round
	s.after(d, func() {
		if s.round == round && s.joined {
			do()
		}
	})
}

// command carries out a command other than SKSENDTO.
func (s *skStick) command(w []string) {
	if len(w) == 0 {
		return
	}
	args := w[1:]
	switch w[0] {
	case "ROPT":
		s.say(fmt.Appendf(nil, "OK %02d\r", map[bool]int{true: 1}[s.hex]))
	case "WOPT":
		s.hex = len(args) == 1 && strings.TrimLeft(args[0], "0") == "1"
		s.say([]byte("OK\r"))
	case "SKVER":
		s.tell("EVER 1.5.2\r\nOK")
	case "SKAPPVER":
		s.tell("EAPPVER rev26e\r\nOK")
	case "SKRESET":
		s.reset()
		s.tell("OK")
	case "SKINFO":
		last := map[bool]string{true: "0", false: "FFFE"}[s.dual]
		s.tell("EINFO %s %016X %s %s %s\r\nOK", s.me, uint64(routeBModuleMAC), s.registers["S2"], s.registers["S3"], last)
	case "SKSREG":
		s.register(args)
	case "SKSETRBID", "SKSETPWD":
		s.credential(w[0], args)
	case "SKLL64":
		s.translate(args)
	case "SKADDNBR":
		s.tell("OK")
	case "SKSCAN":
		s.scan(args)
	case "SKJOIN":
		s.tell("OK")
		s.join(len(args) == 1 && args[0] == s.peer().String())
	case "SKREJOIN", "SKTERM":
		s.again(w[0])
	default:
		s.tell("FAIL ER04")
	}
}

func (s *skStick) register(args []string) {
	name := ""
	if len(args) > 0 {
		if name = args[0]; len(name) == 3 && name[1] == '0' && name != "S0A" {
			name = "S" + name[2:]
		}
	}
	old, known := s.registers[name]
	if name == "SFD" {
		old = fmt.Sprintf("%016X", s.sent.Milliseconds())
	}
	switch {
	case !known:
		s.tell("FAIL ER06")
	case len(args) == 1:
		s.tell("ESREG %s\r\nOK", old)
	default:
		s.registers[name] = args[1]
		s.tell("OK")
	}
}

func (s *skStick) credential(verb string, args []string) {
	switch {
	case verb == "SKSETRBID" && len(args) == 1 && len(args[0]) == len(ExampleRouteBID):
		s.id = args[0]
		if m := s.reach.find(func(m *routeBMeter) bool { return strings.EqualFold(m.id, s.id) }); m != nil {
			s.meter = m
		}
	case verb == "SKSETPWD" && len(args) == 2:
		s.password = args[1]
	default:
		s.tell("FAIL ER06")
		return
	}
	s.tell("OK")
}

func (s *skStick) scan(args []string) {
	if len(args) != map[bool]int{true: 4, false: 3}[s.dual] {
		s.tell("FAIL ER05")
		return
	}
	s.tell("OK")
	mask, _ := strconv.ParseUint(args[1], 16, 32)
	m := s.meter
	found := mask>>(m.channel-0x21)&1 == 1 && strings.EqualFold(s.id, m.id) && !m.due("not-found")
	s.after(200*time.Millisecond, func() {
		if found {
			s.event(0x20, -1)
			s.tell("EPANDESC\r\n  Channel:%02X\r\n  Channel Page:09\r\n  Pan ID:%04X\r\n  Addr:%016X\r\n  LQI:A5", m.channel, m.pan, m.mac)
			if s.dual {
				s.tell("  Side:0")
			}
			s.tell("  PairID:%s", m.pair())
		}
		s.event(0x22, -1)
	})
}

// translate is SKLL64: the link-local address of a MAC.
func (s *skStick) translate(args []string) {
	if len(args) == 1 {
		if mac, err := strconv.ParseUint(args[0], 16, 64); err == nil {
			s.tell("%s", routeb.LinkLocal(mac))
			return
		}
	}
	s.tell("FAIL ER06")
}

// join begins a session, if everything fits.
func (s *skStick) join(rightAddress bool) {
	s.joined = false
	s.round++
	m := s.meter
	good := rightAddress && strings.EqualFold(s.id, m.id) && s.password == m.password &&
		s.registers["S2"] == fmt.Sprintf("%02X", m.channel) && s.registers["S3"] == fmt.Sprintf("%04X", m.pan) && !m.due("not-accepted")
	round := s.round
	s.after(200*time.Millisecond, func() {
		if s.round != round {
			return // it was reset meanwhile
		}
		if !good {
			s.event(0x24, -1)
			return
		}
		s.datagram(0x02CC, false, panaDone())
		s.event(0x21, 0)
		s.joined = true
		s.event(0x25, -1)
		s.inSession(routeBLatency, func() { s.datagram(routeBPort, true, instanceList()) })
		s.notifyLater()
	})
}

// panaDone is the message that completes a session: flags request and complete,
// result 0, lifetime.
func panaDone() []byte {
	b := append([]byte{0, 0, 0, 40, 0xA0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1}, 0, 7, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0)
	return append(append(b, 0, 8, 0, 0, 0, 4, 0, 0), be32(routeBLife)...)
}

func (s *skStick) notifyLater() {
	s.inSession(s.meter.untilHalfHour(), func() {
		s.datagram(routeBPort, true, s.meter.halfHour())
		s.notifyLater()
	})
}

// again renews or ends a session that there is.
func (s *skStick) again(verb string) {
	if !s.joined {
		s.tell("FAIL ER10")
		return
	}
	s.tell("OK")
	if verb == "SKREJOIN" {
		s.join(true)
		return
	}
	s.joined = false
	s.event(0x21, 0)
	s.after(routeBLatency, func() { s.event(0x27, -1) })
}
