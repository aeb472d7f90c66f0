package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// mbusFaults are what can go wrong on the simulated M-Bus line.
var mbusFaults = []Fault{
	{Name: "bad-check", Every: 10, Doc: "the sum of an answer does not fit"},
	{Name: "cut", Every: 10, Doc: "an answer breaks off in its middle"},
	{Name: "noise", Every: 5, Doc: "a few bytes come before an answer"},
	{Name: "silence", Every: 10, Doc: "an answer is lost"},
	{Name: "busy", Every: 10, Doc: "a meter says that it is busy (application error 8)"},
	{Name: "foreign", Every: 10, Doc: "an answer names another meter"},
	{Name: "echo", Every: 1, Doc: "the converter sends back what it is sent"},
	{Name: "babble", Every: 1, Doc: "the converter gives noise where nobody answers"},
}

// MBusSlave is one meter on a simulated M-Bus line.
type MBusSlave struct {
	Primary     byte
	Address     mbus.Address  // secondary
	Fabrication string        // 8 digits, for enhanced selection; "": it takes none
	Delay       time.Duration // from the end of a request to the begin of its answer
	Alarm       byte          // its class 1 data; 0: none

	// Settable are records that a master may write; they end the first telegram.
	Settable []mbus.DataRecord

	// Records are what it says at a moment, by telegram of its readout.
	Records func(now time.Time) [][]mbus.DataRecord
}

// MBus is a line of M-Bus meters, as a level converter shows it: paced by its
// speed, and with the answers of several mixed bit by bit.
type MBus struct {
	clock func() time.Time
	every map[string]int

	mu     sync.Mutex
	baud   int
	slaves []*mbusSlave
	rand   *rand.Rand
	n      int // answers so far
}

// mbusSpeed is that of nearly all lines.
const mbusSpeed = 2400

// NewMBus is a line of 2400 baud. It counts the faults that Options name over all
// answers.
func NewMBus(o Options, slaves ...MBusSlave) (*MBus, error) {
	o = o.withDefaults()
	every, err := parseFaults(o.Faults, mbusFaults)
	if err != nil {
		return nil, err
	}
	m := &MBus{
		baud: mbusSpeed, clock: o.Clock, every: every,
		rand: rand.New(rand.NewPCG(o.Seed, 3)), //nolint:gosec // noise keeps no secret
	}
	for _, s := range slaves {
		s.Settable = slices.Clone(s.Settable)
		m.slaves = append(m.slaves, &mbusSlave{MBusSlave: s, alone: len(slaves) == 1})
	}
	return m, nil
}

// newMBus makes the line that Options ask for.
func newMBus(o Options) (*Simulator, error) {
	model := max(0, slices.IndexFunc(mbusModels, func(m mbusModel) bool { return m.Name == o.Model }))
	if o.Period != 0 {
		return nil, errors.New("period: M-Bus meters speak only when they are asked")
	}
	m, err := NewMBus(o, mbusModels[model].slaves(o.Seed)...)
	if err != nil {
		return nil, err
	}
	return &Simulator{Driver: "mbus", serve: m.Serve}, nil
}

// Serve answers the requests that come over a line.
func (m *MBus) Serve(ctx context.Context, line io.ReadWriter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan arrival, 64)
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() { listen(ctx, line, heard) })
	talk := mbusTalk{bus: m, line: line}
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-heard:
			if a.err != nil {
				return ended(ctx, a.err)
			}
			if err := talk.take(ctx, a); err != nil {
				cancel()
				return ended(ctx, err)
			}
		}
	}
}

// ended is why a line was served no longer; that ctx ended is no error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // whoever ended it knows
	}
	return fmt.Errorf("simulated meters: %w", err)
}

// arrival is what a client sent, or why nothing will come any more.
type arrival struct {
	bytes []byte
	at    time.Time
	err   error
}

// listen reads a line until it ends.
func listen(ctx context.Context, line io.Reader, to chan<- arrival) {
	buf := make([]byte, 1024)
	for {
		n, err := line.Read(buf)
		a := arrival{bytes: bytes.Clone(buf[:n]), at: time.Now(), err: err}
		select {
		case to <- a:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// mbusTalk is what is said on one line.
type mbusTalk struct {
	bus    *MBus
	line   io.Writer
	framer mbus.Framer
	began  time.Time // arrival of the first byte of the request under way
	last   time.Time
	length int // of it
}

// requestGap ends a request that breaks off.
const requestGap = 300 * time.Millisecond

// take feeds what came, and answers each request that is whole.
func (t *mbusTalk) take(ctx context.Context, a arrival) error {
	if t.length == 0 || a.at.Sub(t.last) > requestGap {
		t.framer.Gap()
		t.began, t.length = a.at, 0
	}
	t.last = a.at
	t.length += len(a.bytes)
	if t.bus.every["echo"] > 0 {
		if _, err := t.line.Write(a.bytes); err != nil {
			return err
		}
	}
	t.framer.Feed(a.bytes)
	for {
		var f mbus.Frame
		err := t.framer.Next(&f)
		if errors.Is(err, drivers.ErrMore) {
			return nil
		}
		if err != nil || !f.FromMaster() {
			continue // a broken request
		}
		over := later(t.began.Add(t.bus.bytes(t.length)), a.at)
		t.length = 0
		if err := t.play(ctx, over, t.bus.answer(&f)); err != nil {
			return err
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// gathering is how long adapters wait for more bytes before they hand them on.
const gathering = 16 * time.Millisecond

// play sends what the converter hears, each byte when it has come over the wire.
func (t *mbusTalk) play(ctx context.Context, from time.Time, heard []mbusByte) error {
	for len(heard) > 0 {
		n := 1
		for n < len(heard) && heard[n].at-heard[0].at < gathering {
			n++
		}
		if !sleepUntil(ctx, from.Add(heard[n-1].at)) {
			return nil
		}
		var b []byte
		for _, h := range heard[:n] {
			b = append(b, h.b)
		}
		if _, err := t.line.Write(b); err != nil {
			return err
		}
		heard = heard[n:]
	}
	return nil
}

// sleepUntil waits for a moment; false: ctx ended.
func sleepUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// bytes is how long so many bytes take: 11 bits each.
func (m *MBus) bytes(n int) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(n) * bitsOfByte * time.Second / time.Duration(m.baud)
}

// answer is what comes over the wire after a request.
func (m *MBus) answer(f *mbus.Frame) []mbusByte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var said []spoken
	for _, s := range m.slaves {
		if b := s.hear(f, m.clock()); len(b) > 0 {
			said = append(said, spoken{s.Delay, m.spoil(b)})
		}
	}
	if len(said) == 0 && m.every["babble"] > 0 && f.A != mbus.Broadcast {
		said = append(said, spoken{bitsOfByte * time.Second / time.Duration(m.baud), m.noise()})
	}
	heard := mix(said, m.baud)
	if len(m.slaves) == 1 && m.slaves[0].baud != 0 {
		m.baud = m.slaves[0].baud // from its acknowledgement on
	}
	return heard
}

// due says whether the answer under way has a fault.
func (m *MBus) due(fault string) bool {
	every := m.every[fault]
	return every > 0 && m.n%every == 0
}

// spoil does to an answer what its turn brings.
func (m *MBus) spoil(b []byte) []byte {
	m.n++
	long := len(b) > 1
	switch {
	case m.due("silence"):
		return nil
	case long && m.due("bad-check"):
		b[len(b)-2] ^= 0x5A
	case long && m.due("cut"):
		b = b[:len(b)/2]
	case long && m.due("busy"):
		b = control(b[5], 0x70, 8)
	case long && m.due("foreign"):
		b[5]++
		b[7] ^= 1
		b[len(b)-2] = wire.Sum8(b[4 : len(b)-2])
	}
	if m.due("noise") {
		b = append(m.noise(), b...)
	}
	return b
}

// noise is two bytes that begin no frame.
func (m *MBus) noise() []byte { return []byte{0xFF, byte(m.rand.IntN(8))} }

// Functions of the C-field, EN 13757-2, 5.4, without frame count bits.
const (
	fcMask = 0x4F
	fcNKE  = 0x40
	fcUD   = 0x43
	fcUD2  = 0x4B
	fcUD1  = 0x4A

	bitFCV = 0x10
	bitFCB = 0x20

	answerC = 0x08
	ack     = 0xE5
)

// mbusSlave is a meter and what it remembers of its master.
type mbusSlave struct {
	MBusSlave
	selected bool
	counted  bool // a frame count bit was seen since the link was reset
	fcb      byte
	next     int    // telegram
	said     []byte // the last telegram
	access   byte
	wanted   [][]byte // VIBs that a master chose; empty: all

	obeyed []byte        // the last SND_UD that it did since the link was reset
	ahead  time.Duration // of the clock that it was set to
	baud   int           // that it was switched to; 0: the line's
	alone  bool          // it is the only one of its line, and may change its speed
}

// hear is what the slave does with a request, and what it answers.
func (s *mbusSlave) hear(f *mbus.Frame, now time.Time) []byte {
	if f.A == mbus.Selected && f.C&fcMask == fcUD && f.CI == 0x52 {
		s.selected = s.fits(f.Data)
		s.reset()
		return s.acknowledge(s.selected)
	}
	mine := f.A == s.Primary || f.A == mbus.Everyone || f.A == mbus.Broadcast || f.A == mbus.Selected && s.selected
	if !mine {
		return nil
	}
	b := s.obey(f, now)
	if f.A == mbus.Broadcast {
		return nil
	}
	return b
}

func (s *mbusSlave) acknowledge(yes bool) []byte {
	if yes {
		return []byte{ack}
	}
	return nil
}

func (s *mbusSlave) reset() { s.counted, s.next, s.obeyed = false, 0, nil }

func (s *mbusSlave) obey(f *mbus.Frame, now time.Time) []byte {
	switch f.C & fcMask {
	case fcNKE:
		s.reset()
		if f.A == mbus.Selected || f.A == mbus.Broadcast {
			s.selected = false
		}
		return []byte{ack}
	case fcUD2:
		return s.readout(f.C, now)
	case fcUD1:
		if s.Alarm == 0 {
			return []byte{ack}
		}
		return control(s.Primary, 0x71, s.Alarm)
	case fcUD:
		return s.acknowledge(s.once(f, now))
	}
	return nil
}

// once does what a SND_UD says, unless it is a repetition: EN 13757-2, 5.7.3.
func (s *mbusSlave) once(f *mbus.Frame, now time.Time) bool {
	if len(s.obeyed) > 0 && bytes.Equal(f.Raw, s.obeyed) {
		return true
	}
	done := s.write(f, now)
	if done && f.C&bitFCV != 0 {
		s.obeyed = bytes.Clone(f.Raw)
	}
	return done
}

// control is an answer with one byte of data.
func control(a, ci, data byte) []byte {
	b, err := (&mbus.Frame{Kind: mbus.Long, C: answerC, A: a, CI: ci, Data: []byte{data}}).AppendTo(nil)
	if err != nil {
		return nil
	}
	return b
}

// readout is the telegram that a REQ_UD2 asks for: the same again, unless its
// frame count bit has changed.
func (s *mbusSlave) readout(c byte, now time.Time) []byte {
	fcb := c & bitFCB
	again := s.counted && c&bitFCV != 0 && fcb == s.fcb
	switch {
	case again:
		return bytes.Clone(s.said)
	case c&bitFCV == 0:
		s.next = 0
	case s.counted:
		s.next++
	}
	s.counted, s.fcb = c&bitFCV != 0, fcb
	s.said = s.telegram(now)
	return bytes.Clone(s.said)
}

func (s *mbusSlave) telegram(now time.Time) []byte {
	all := s.Records(now)
	s.next %= len(all)
	s.access++
	data := mbus.AppendLongHeader(nil, s.Address, s.access, 0, 0)
	records := all[s.next]
	if s.next == 0 {
		records = append(slices.Clip(records), s.Settable...)
	}
	for _, r := range records {
		if !s.gives(&r) {
			continue
		}
		if isClock(&r) {
			r = clock(now.Add(s.ahead))
		}
		var err error
		if data, err = r.AppendTo(data); err != nil {
			return nil // a slave that cannot say it says nothing
		}
	}
	if s.next < len(all)-1 {
		data = append(data, 0x1F)
	}
	b, err := (&mbus.Frame{Kind: mbus.Long, C: answerC, A: s.Primary, CI: 0x72, Data: data}).AppendTo(nil)
	if err != nil {
		return nil
	}
	return b
}

// gives says whether a record was chosen.
func (s *mbusSlave) gives(r *mbus.DataRecord) bool {
	return len(s.wanted) == 0 || slices.ContainsFunc(s.wanted, func(vib []byte) bool { return bytes.Equal(vib, r.VIB) })
}

// isClock says whether a record is the meter's clock.
func isClock(r *mbus.DataRecord) bool {
	return bytes.Equal(r.VIB, []byte{0x6D}) && r.Record == drivers.Record{}
}

// write obeys a SND_UD; false: it is not understood.
func (s *mbusSlave) write(f *mbus.Frame, now time.Time) bool {
	switch f.CI {
	case 0x50:
		s.reset()
		s.wanted = nil
		return true
	case 0x51:
		return s.set(f.Data, now)
	}
	return s.alone && s.switchBaud(f.CI)
}

// switchBaud takes CI B8 to BF: 300 to 38400 baud.
func (s *mbusSlave) switchBaud(ci byte) bool {
	if ci < 0xB8 || ci > 0xBF {
		return false
	}
	s.baud = 300 << (ci - 0xB8)
	return true
}

// set takes data records: the choice of records for a readout, a primary address,
// the clock, and what else is settable.
func (s *mbusSlave) set(b []byte, now time.Time) bool {
	if bytes.Equal(b, []byte{0x7F}) {
		s.wanted = nil
		return true
	}
	var wanted [][]byte
	for len(b) > 0 {
		r, n, err := mbus.ParseRecord(b)
		if err != nil {
			return false
		}
		switch {
		case r.Field == 8:
			wanted = append(wanted, bytes.Clone(r.VIB))
		case r.Field == 1 && bytes.Equal(r.VIB, []byte{0x7A}) && r.Data[0] <= mbus.MaxPrimary:
			s.Primary = r.Data[0]
		case isClock(&r) && s.setClock(b[:n], now):
		case s.setRecord(&r):
		default:
			return false
		}
		b = b[n:]
	}
	if len(wanted) > 0 {
		s.wanted = wanted
	}
	return true
}

// setClock takes a clock record as a master sends it; false: it shows no time.
func (s *mbusSlave) setClock(record []byte, now time.Time) bool {
	d := mbus.NewDecoder(now.Location())
	b, err := (&mbus.Frame{Kind: mbus.Long, C: answerC, CI: 0x78, Data: record}).AppendTo(nil)
	if err != nil {
		return false
	}
	d.Feed(b)
	var r drivers.Reading
	if d.Next(&r) != nil || r.Time.IsZero() {
		return false
	}
	s.ahead = r.Time.Wall.Sub(now)
	return true
}

// setRecord takes a record that is settable, coded as it is sent.
func (s *mbusSlave) setRecord(to *mbus.DataRecord) bool {
	for i := range s.Settable {
		if r := &s.Settable[i]; r.Record == to.Record && r.Field == to.Field && bytes.Equal(r.VIB, to.VIB) {
			r.LVAR, r.Data = to.LVAR, bytes.Clone(to.Data)
			return true
		}
	}
	return false
}

// fits says whether a selection means this slave: its address, and its
// fabrication number if that is in it.
func (s *mbusSlave) fits(b []byte) bool {
	if len(b) < len(s.Address) {
		return false
	}
	for i, want := range b[:4] {
		if !digitsFit(want, s.Address[i]) {
			return false
		}
	}
	anyMaker := b[4] == 0xFF && b[5] == 0xFF
	if !anyMaker && !bytes.Equal(b[4:6], s.Address[4:6]) || !anyOr(b[6], s.Address[6]) || !anyOr(b[7], s.Address[7]) {
		return false
	}
	return len(b) == len(s.Address) || s.serialFits(b[len(s.Address):])
}

func (s *mbusSlave) serialFits(b []byte) bool {
	digits, ok := wire.AppendHex(nil, s.Fabrication)
	if !ok || len(digits) != 4 || len(b) != 6 || b[0] != 0x0C || b[1] != 0x78 {
		return false
	}
	for i, want := range b[2:] {
		if !digitsFit(want, digits[3-i]) {
			return false
		}
	}
	return true
}

func anyOr(want, got byte) bool { return want == 0xFF || want == got }

// digitsFit compares two BCD digits; F is any.
func digitsFit(want, got byte) bool {
	return (want&0x0F == 0x0F || want&0x0F == got&0x0F) && (want&0xF0 == 0xF0 || want&0xF0 == got&0xF0)
}

// mbusModelNames are mbusModels without what makes them work.
func mbusModelNames() []Model {
	names := make([]Model, len(mbusModels))
	for i := range mbusModels {
		names[i] = mbusModels[i].Model
	}
	return names
}

// mbusAddress is a secondary address by its digits and letters.
func mbusAddress(id, maker string, version, medium byte) mbus.Address {
	word, _ := mbus.ManufacturerWord(maker)
	a, err := mbus.ParseAddress(id + strings.ToUpper(fmt.Sprintf("%02x%02x%02x%02x", byte(word), byte(word>>8), version, medium)))
	if err != nil {
		panic(err) // the models are constants
	}
	return a
}
