package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/routeb"
)

// routeBFaults are what a simulated Wi-SUN module and its meter can do wrong.
var routeBFaults = []Fault{
	{Name: "silence", Every: 10, Doc: "a request is not answered"},
	{Name: "not-sent", Every: 10, Doc: "a datagram is not transmitted"},
	{Name: "twice", Every: 3, Doc: "an answer comes twice"},
	{Name: "ended", Every: 20, Doc: "the meter ends the session"},
	{Name: "expired", Every: 20, Doc: "the session expires and is not renewed"},
	{Name: "limited", Every: 15, Doc: "the module's transmit time is used up for two seconds"},
	{Name: "costly", Every: 1, Doc: "a transmission takes ten seconds of air time"},
	{Name: "not-found", Every: 2, Doc: "a scan finds nothing"},
	{Name: "not-accepted", Every: 2, Doc: "the meter does not accept us"},
}

// ExampleRouteBID and ExampleRouteBPassword open simulated meters with Route B, those
// that end in 2 the second one that a module reaches.
const (
	ExampleRouteBID        = "0123456789ABCDEF0123456789ABCDEF"
	ExampleRouteBPassword  = "0123456789AB"
	ExampleRouteBID2       = "00112233445566778899AABBCCDDEE02"
	ExampleRouteBPassword2 = "BA9876543210"
)

var routeBModels = []Model{
	{Name: "bp35c2", Doc: "a BP35C2 stick (SKSTACK with a side, binary output), second-generation meter", Shown: true},
	{Name: "bp35a1", Doc: "a BP35A1 (SKSTACK, hexadecimal output), first-generation meter"},
	{Name: "j11", Doc: "a BP35C2-J11 (binary dialogue), second-generation meter"},
	{Name: "bp35c2-two", Doc: "a BP35C2 stick within reach of two meters"},
	{Name: "j11-two", Doc: "a BP35C2-J11 within reach of two meters"},
	{Name: "udp", Doc: "a meter that is reached over UDP: --listen udp://127.0.0.1:0"},
}

const (
	routeBModuleMAC = 0x001D129012345678
	routeBPort      = 0x0E1A
	routeBLatency   = 50 * time.Millisecond
	routeBLife      = 86400 // of a session, in seconds
)

// routeBMeter is a low-voltage smart meter. Several modules reach the same one.
type routeBMeter struct {
	id, password string
	serial       string
	mac          uint64
	pan          uint16
	channel      byte  // as SKSTACK counts them
	times        int64 // what a day brings, so many times

	faultTurns // of all modules together
	clock      func() time.Time
	period     time.Duration // between notifications; 0: each half-hour
	second     bool          // of the second generation: minutes too

	mu       sync.Mutex
	offset   time.Duration // of its clock
	location []byte
	day      byte
	halves   routeb.Selection
	minutes  routeb.Selection
}

func newRouteB(o Options) (*Simulator, error) {
	every, err := parseFaults(o.Faults, routeBFaults)
	if err != nil {
		return nil, err
	}
	if o.Period < 0 {
		return nil, fmt.Errorf("period %s: want more than 0", o.Period)
	}
	another := func() *routeBMeter {
		return &routeBMeter{
			id: ExampleRouteBID, password: ExampleRouteBPassword, serial: "SIM0RouteB01",
			mac: 0x001C6400030C12A4, pan: 0x8888, channel: 0x23, times: 1,
			faultTurns: faultTurns{every: every}, clock: o.Clock, period: o.Period, second: o.Model != "bp35a1", location: []byte{0x61},
		}
	}
	model, two := strings.CutSuffix(o.Model, "-two")
	reach := within{another()}
	if two {
		m := another()
		m.id, m.password, m.serial, m.times = ExampleRouteBID2, ExampleRouteBPassword2, "SIM0RouteB02", 2
		m.mac, m.pan, m.channel = 0x001C6400030C12A5, 0x9999, 0x2F
		reach = append(reach, m)
	}
	s := &Simulator{Driver: routeb.Driver.Name, serve: reach.serveSK(model != "bp35a1"), Keys: reach[0].keys()}
	switch model {
	case "j11":
		s.serve = reach.serveJ11
	case "udp":
		s.serve, s.Keys = reach.serveUDP, nil
	}
	for _, m := range reach[1:] {
		s.Others = append(s.Others, m.keys())
	}
	return s, nil
}

// keys open the meter.
func (m *routeBMeter) keys() []drivers.Setting {
	return []drivers.Setting{{Key: "id", Value: m.id}, {Key: "password", Value: m.password}}
}

// within are the meters that a module reaches. There is always one.
type within []*routeBMeter

// find is the meter that has what is asked for; nil: there is none.
func (w within) find(has func(*routeBMeter) bool) *routeBMeter {
	if i := slices.IndexFunc(w, has); i >= 0 {
		return w[i]
	}
	return nil
}

// pair is what a scan that asks for the meter asks for.
func (m *routeBMeter) pair() string { return m.id[len(m.id)-8:] }

var routeBZone = time.FixedZone("JST", 9*60*60)

// now is what the meter's clock shows.
func (m *routeBMeter) now() time.Time { return m.clock().Add(m.offset).In(routeBZone) }

// flows are what a day brings: from an hour on, the power from and to the grid.
var flows = [...]struct{ hour, in, out int64 }{
	{0, 210, 0}, {6, 640, 0}, {10, 0, 820}, {14, 330, 0}, {17, 910, 0}, {23, 280, 0}, {24, 0, 0},
}

// routeBFlow is power and energies at a moment: they depend on the time alone, so
// that the memory of the meter is the same whenever it is read. Energies count from
// the year 2020 on, in Wh.
func routeBFlow(t time.Time) (watts, in, out int64) {
	t = t.In(routeBZone)
	begin := time.Date(2020, 1, 1, 0, 0, 0, 0, routeBZone)
	seconds := t.Unix() - begin.Unix()
	days, rest := seconds/86400, seconds%86400
	var dayIn, dayOut, restIn, restOut int64
	for i, f := range flows[:len(flows)-1] {
		length := (flows[i+1].hour - f.hour) * 3600
		passed := min(max(rest-f.hour*3600, 0), length)
		dayIn, dayOut = dayIn+f.in*length, dayOut+f.out*length
		restIn, restOut = restIn+f.in*passed, restOut+f.out*passed
		if passed > 0 || i == 0 {
			watts = f.in - f.out
		}
	}
	return watts, (days*dayIn + restIn) / 3600, (days*dayOut + restOut) / 3600
}

// counts are the energies in the meter's unit of 0.1 kWh; of the future it has no
// data.
func (m *routeBMeter) counts(t time.Time) (in, out uint32) {
	if t.After(m.now()) {
		return 0xFFFFFFFE, 0xFFFFFFFE
	}
	_, a, b := routeBFlow(t)
	return uint32(m.times * a / 100 % 1_000_000), uint32(m.times * b / 100 % 1_000_000)
}

func be16(n int) []byte    { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func stamp(t time.Time) []byte {
	return append(be16(t.Year()), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()))
}

// readable are the properties that a meter has.
func (m *routeBMeter) readable() (c routeb.Codes) {
	for _, epc := range []byte{
		0x80, 0x81, 0x82, 0x88, 0x8A, 0x8D, 0x97, 0x98, 0x9D, 0x9E, 0x9F, 0xD3, 0xD7,
		0xE0, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE7, 0xE8, 0xEA, 0xEB, 0xEC, 0xED,
	} {
		c.Add(epc)
	}
	if m.second {
		for _, epc := range []byte{0xC0, 0xD0, 0xEE, 0xEF} {
			c.Add(epc)
		}
	}
	return c
}

func codesOf(list ...byte) *routeb.Codes {
	c := new(routeb.Codes)
	for _, epc := range list {
		c.Add(epc)
	}
	return c
}

// property is the data of a property; nil: it has none such.
func (m *routeBMeter) property(epc byte) []byte {
	all := m.readable()
	if !all.Has(epc) {
		return nil
	}
	now := m.now()
	watts, _, _ := routeBFlow(now)
	watts *= m.times
	in, out := m.counts(now)
	switch epc {
	case 0x80:
		return []byte{0x30}
	case 0x81:
		return m.location
	case 0x82:
		return []byte{0, 0, 'R', 4}
	case 0x88:
		return []byte{0x42}
	case 0x8A:
		return []byte{0, 0, 0x16}
	case 0x8D:
		return []byte(m.serial)
	case 0x97:
		return []byte{byte(now.Hour()), byte(now.Minute())}
	case 0x98:
		return stamp(now)[:4]
	case 0x9D:
		return codesOf(0x80, 0x81, 0x88, 0xEA, 0xEB).Encode()
	case 0x9E:
		return codesOf(0x81, 0x97, 0x98, 0xE5, 0xED, 0xEF).Encode()
	case 0x9F:
		return all.Encode()
	case 0xC0:
		return append([]byte{0, 0, 0, 0x16}, make([]byte, 12)...)
	case 0xD0:
		t := now.Truncate(time.Minute)
		a, b := m.counts(t)
		return append(append(append(stamp(t), 0), be32(a)...), be32(b)...)
	case 0xD3:
		return be32(1)
	case 0xD7:
		return []byte{6}
	case 0xE0:
		return be32(in)
	case 0xE1:
		return []byte{1}
	case 0xE3:
		return be32(out)
	case 0xE7:
		return be32(uint32(int32(watts)))
	case 0xE8:
		return append(be16(int(watts*6/1000)), be16(int(watts*4/1000))...)
	}
	return m.log(epc, now)
}

// log is the data of the properties that keep the past.
func (m *routeBMeter) log(epc byte, now time.Time) []byte {
	switch epc {
	case 0xE2, 0xE4:
		date := time.Date(now.Year(), now.Month(), now.Day()-int(m.day), 0, 0, 0, 0, routeBZone)
		b := be16(int(m.day))
		for i := range 48 {
			in, out := m.counts(date.Add(time.Duration(i) * 30 * time.Minute))
			if epc == 0xE4 {
				in = out
			}
			b = append(b, be32(in)...)
		}
		return b
	case 0xE5:
		return []byte{m.day}
	case 0xEA, 0xEB:
		t := now.Truncate(30 * time.Minute)
		in, out := m.counts(t)
		if epc == 0xEB {
			in = out
		}
		return append(append(stamp(t), 0), be32(in)...)
	case 0xEC:
		return m.rows(m.halves, 30*time.Minute)
	case 0xEE:
		return m.rows(m.minutes, time.Minute)
	case 0xED:
		return selected(m.halves)
	case 0xEF:
		return selected(m.minutes)
	}
	return nil
}

func (m *routeBMeter) rows(s routeb.Selection, step time.Duration) []byte {
	b := selected(s)
	if s.Newest.IsZero() {
		return append(append(b, be32(0xFFFFFFFE)...), be32(0xFFFFFFFE)...)
	}
	for i := range s.Rows {
		in, out := m.counts(s.Newest.Add(-time.Duration(i) * step))
		b = append(append(b, be32(in)...), be32(out)...)
	}
	return b
}

// selected is a selection as it reads back.
func selected(s routeb.Selection) []byte {
	if s.Newest.IsZero() {
		return []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}
	}
	return append(stamp(s.Newest.In(routeBZone)), byte(s.Rows))
}

// write sets a property; false: refused.
func (m *routeBMeter) write(epc byte, b []byte) bool {
	now := m.now()
	switch {
	case epc == 0x81 && (len(b) == 1 || len(b) == 17):
		m.location = append([]byte(nil), b...)
	case epc == 0x97 && len(b) == 2 && b[0] < 24 && b[1] < 60:
		m.offset += time.Date(now.Year(), now.Month(), now.Day(), int(b[0]), int(b[1]), now.Second(), 0, routeBZone).Sub(now).Round(time.Second)
	case epc == 0x98 && len(b) == 4:
		y, mo, d := int(binary.BigEndian.Uint16(b)), time.Month(b[2]), int(b[3])
		m.offset += time.Date(y, mo, d, now.Hour(), now.Minute(), now.Second(), 0, routeBZone).Sub(now).Round(time.Second)
	case epc == 0xE5 && len(b) == 1 && b[0] <= 99:
		m.day = b[0]
	case epc == 0xED || epc == 0xEF && m.second:
		return m.choose(epc, b)
	default:
		return false
	}
	return true
}

// choose takes a selection of history, if it is one that Encode makes.
func (m *routeBMeter) choose(epc byte, b []byte) bool {
	s, err := routeb.ParseSelection(b)
	if err != nil || s.Newest.IsZero() {
		return false
	}
	again, err := s.Encode(epc)
	if err != nil || string(again) != string(b) {
		return false
	}
	if epc == 0xED {
		m.halves = s
	} else {
		m.minutes = s
	}
	return true
}

// answer is what the meter says to a frame; nil: nothing.
func (m *routeBMeter) answer(request []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var f routeb.Frame
	if _, _, err := f.Parse(request); err != nil {
		return nil
	}
	get, set := m.property, m.write
	if f.Sink == routeb.NodeProfile {
		get, set = m.node, func(byte, []byte) bool { return false }
	} else if f.Sink != routeb.Meter {
		return nil
	}
	r := routeb.Frame{TID: f.TID, Source: f.Sink, Sink: f.Source, Service: f.Service + 0x10}
	ok := true
	switch f.Service {
	case routeb.Get, routeb.InfReq:
		r.Properties = read(f.Properties, get, &ok)
	case routeb.SetC, routeb.SetI, routeb.SetGet:
		for _, p := range f.Properties {
			if set(p.EPC, p.EDT) {
				p.EDT = nil
			} else {
				ok = false
			}
			r.Properties = append(r.Properties, p)
		}
		r.Gets = read(f.Gets, get, &ok)
	default:
		return nil
	}
	if ok && f.Service == routeb.SetI {
		return nil
	}
	if !ok {
		r.Service = f.Service - 0x10
	}
	return r.AppendTo(nil)
}

func read(list []routeb.Property, get func(byte) []byte, ok *bool) (got []routeb.Property) {
	for _, p := range list {
		b := get(p.EPC)
		*ok = *ok && b != nil
		got = append(got, routeb.Property{EPC: p.EPC, EDT: b})
	}
	return got
}

// node is a property of the node profile.
func (m *routeBMeter) node(epc byte) []byte {
	switch epc {
	case 0x80:
		return []byte{0x30}
	case 0x82:
		return []byte{1, 0x0D, 1, 0}
	case 0x83:
		return append([]byte{0xFE, 0, 0, 0x16}, make([]byte, 13)...)
	case 0x8A:
		return []byte{0, 0, 0x16}
	case 0x9D:
		return codesOf(0x80, 0xD5).Encode()
	case 0x9E:
		return codesOf().Encode()
	case 0x9F:
		return codesOf(0x80, 0x82, 0x83, 0x8A, 0x9D, 0x9E, 0x9F, 0xD3, 0xD4, 0xD6, 0xD7).Encode()
	case 0xD3:
		return []byte{0, 0, 1}
	case 0xD5:
		return []byte{1, 2, 0x88, 1}
	case 0xD4:
		return []byte{0, 2}
	case 0xD6:
		return []byte{1, 2, 0x88, 1}
	case 0xD7:
		return []byte{1, 2, 0x88}
	}
	return nil
}

// halfHour is the notification that a meter sends at :00 and :30.
func (m *routeBMeter) halfHour() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := routeb.Frame{TID: 1, Source: routeb.Meter, Sink: routeb.Controller, Service: routeb.InfC}
	for _, epc := range []byte{0xEA, 0xEB} {
		f.Properties = append(f.Properties, routeb.Property{EPC: epc, EDT: m.property(epc)})
	}
	return f.AppendTo(nil)
}

// untilHalfHour is how long it is until the next notification.
func (m *routeBMeter) untilHalfHour() time.Duration {
	if m.period > 0 {
		return m.period
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	return now.Truncate(30 * time.Minute).Add(30*time.Minute + time.Second).Sub(now)
}

// instanceList is what the node profile announces when a session begins.
func instanceList() []byte {
	f := routeb.Frame{Source: routeb.NodeProfile, Sink: routeb.NodeProfile, Service: routeb.Inf}
	f.Properties = []routeb.Property{{EPC: 0xD5, EDT: []byte{1, 2, 0x88, 1}}}
	return f.AppendTo(nil)
}

// stick is a module on one line: what comes in, what it does later.
type stick struct {
	reach within
	meter *routeBMeter // that id and password are for, or that it is joined to
	line  io.Writer
	buf   []byte
	later []task
	err   error
}

// task is something that a module does later.
type task struct {
	at time.Time
	do func()
}

func (s *stick) after(d time.Duration, do func()) {
	s.later = append(s.later, task{time.Now().Add(d), do})
}

// say sends bytes, unless the line has failed.
func (s *stick) say(b []byte) {
	if s.err == nil {
		_, s.err = s.line.Write(b)
	}
}

// run gives what arrives to take and does what is due, until the line or ctx ends.
func (s *stick) run(ctx context.Context, line io.Reader, take func()) error {
	in := chunks(ctx, line)
	for s.err == nil {
		timer := time.NewTimer(s.untilNext())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case b, ok := <-in:
			timer.Stop()
			if !ok {
				return nil
			}
			s.buf = append(s.buf, b...)
			take()
			if len(s.buf) > 8192 {
				s.buf = nil
			}
		case now := <-timer.C:
			s.doDue(now)
		}
	}
	if ctx.Err() == nil {
		return s.err
	}
	return nil // the line was taken away because we end
}

func (s *stick) untilNext() time.Duration {
	wait := time.Hour
	for _, t := range s.later {
		wait = min(wait, time.Until(t.at))
	}
	return max(wait, 0)
}

func (s *stick) doDue(now time.Time) {
	tasks := s.later
	s.later = nil
	for _, t := range tasks {
		if t.at.After(now) {
			s.later = append(s.later, t)
			continue
		}
		t.do()
	}
}

// chunks gives what arrives on a line, and is closed when it ends.
func chunks(ctx context.Context, line io.Reader) <-chan []byte {
	c := make(chan []byte, 16)
	go func() {
		defer close(c)
		for {
			buf := make([]byte, 1024)
			n, err := line.Read(buf)
			if n > 0 {
				select {
				case c <- buf[:n]:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return // the closed channel tells
			}
		}
	}()
	return c
}
