package soak

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

// damages are what lines do to telegrams. before is the telegram sent before b.
// Each may change b.
var damages = []struct {
	name string
	do   func(r *rand.Rand, b, before []byte) []byte
}{
	{"bits", func(r *rand.Rand, b, _ []byte) []byte {
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] ^= 1 << r.IntN(7)
		}
		return b
	}},
	{"burst", func(r *rand.Rand, b, _ []byte) []byte {
		at, n := stretch(r, b, 32)
		for i := range b[at : at+n] {
			b[at+i] = byte(r.Uint32())
		}
		return b
	}},
	{"digits", func(r *rand.Rand, b, _ []byte) []byte {
		for range 1 + r.IntN(3) {
			if at := r.IntN(len(b)); '0' <= b[at] && b[at] <= '9' {
				b[at] = '0' + byte(r.IntN(10))
			}
		}
		return b
	}},
	{"lost", func(r *rand.Rand, b, _ []byte) []byte {
		at, n := stretch(r, b, 32)
		return slices.Delete(b, at, at+n)
	}},
	{"doubled", func(r *rand.Rand, b, _ []byte) []byte {
		at, n := stretch(r, b, 32)
		return slices.Insert(b, at, slices.Clone(b[at:at+n])...)
	}},
	{"swapped", func(r *rand.Rand, b, _ []byte) []byte {
		i := r.IntN(len(b) - 1)
		j := i + 1
		if r.IntN(2) == 0 {
			j = r.IntN(len(b))
		}
		b[i], b[j] = b[j], b[i]
		return b
	}},
	{"splice", func(r *rand.Rand, b, before []byte) []byte {
		cut := r.IntN(min(len(b), len(before)))
		if r.IntN(2) == 0 {
			return append(slices.Clone(before[:cut]), b[cut:]...)
		}
		return append(slices.Clone(before[:r.IntN(len(before))]), b[r.IntN(len(b)):]...)
	}},
}

// stretch is a piece of b, of at most limit bytes.
func stretch(r *rand.Rand, b []byte, limit int) (at, n int) {
	at = r.IntN(len(b))
	return at, 1 + r.IntN(min(limit, len(b)-at))
}

func TestDamagedTelegrams(t *testing.T) {
	for _, c := range []struct {
		name  string
		check string
		form  func(int64, time.Time) []byte
		crc   bool
	}{
		{"crc", "auto", telegram, true},
		{"no crc", "auto", oldTelegram, false},
		{"no crc, check none", "none", oldTelegram, false},
		{"crc, check none", "none", telegram, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			count := length(t, 10_000, 100_000)
			d := newDamaged(t, c.check, c.form)
			b := newBroker(t)
			w := newWitness(t, b, d)
			g := newGateway(t, b.address, meterTable("main", d.address(), fmt.Sprintf("check = %q", c.check)))
			d.run(count, w)
			g.drained(t)
			w.settle()
			w.verdict()
			// One damaged telegram in 65,536 passes a CRC-16. What it says under
			// known names is guarded; a name of its own is not.
			if w.strange > 0 && (!c.crc || d.wrong == 0) {
				t.Errorf("%d totals under names that the meter never had, as %s", w.strange, w.stranger)
			}
			t.Logf("%v; %v", d, w)
			g.stop(t)
		})
	}
}

// damaged is a meter whose line damages half of what it says, at full speed.
// Its own decoder tells which of the damaged telegrams pass their check.
type damaged struct {
	t        *testing.T
	listener net.Listener
	form     func(int64, time.Time) []byte
	decoder  drivers.Decoder
	random   *rand.Rand
	before   []byte       // the last telegram, sound
	sent     atomic.Int64 // telegrams, damaged or not

	spoiled, passed, wrong int // damaged telegrams: all, those that gave a reading, those whose reading has a wrong total
	passedBy               map[string]int
	took                   time.Duration
}

func newDamaged(t *testing.T, check string, form func(int64, time.Time) []byte) *damaged {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	d, err := p1.Driver.NewDecoder(&p1.Config{Check: check}, drivers.Zones{Host: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	return &damaged{
		t: t, listener: l, form: form, decoder: d,
		random: rand.New(rand.NewPCG(20260131, 4)), passedBy: map[string]int{},
	}
}

func (d *damaged) address() string { return d.listener.Addr().String() }

// batch is how many telegrams go at a time: the next follow when a subscriber has
// heard of the last, so that the broker keeps up.
const batch = 100

// run tells the gateway count damaged telegrams and as many sound ones, and goes.
func (d *damaged) run(count int, w *witness) {
	d.t.Helper()
	conn, err := d.listener.Accept()
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	defer d.listener.Close() // so that the line is seen to be down
	start := time.Now()
	for d.spoiled < count {
		for range batch {
			d.say(conn, d.random.IntN(2) == 0)
		}
		d.say(conn, false)
		d.say(conn, false)
		until(d.t, func() string { return w.heard(d.sent.Load() - 1) })
	}
	d.took = time.Since(start)
}

// clock is what the meter's shows first: the same in each run, so that the same
// damage passes the same checks.
var clock = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// say sends the next telegram, damaged if that is wanted.
func (d *damaged) say(conn net.Conn, spoil bool) {
	n := d.sent.Load()
	sound := d.form(n, clock.Add(time.Duration(n)*time.Second))
	b, what := sound, ""
	// The first ones are sound: a meter is set up before its line decays.
	if spoil && n > 8 {
		damage := damages[d.random.IntN(len(damages))]
		b, what = damage.do(d.random, slices.Clone(sound), d.before), damage.name
	}
	if slices.Equal(b, sound) {
		what = ""
	}
	d.before = sound
	d.book(n, b, what)
	d.sent.Store(n + 1)
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := conn.Write(b); err != nil {
		d.t.Fatal(err)
	}
}

// book decodes what is sent and counts what passes its check.
func (d *damaged) book(n int64, b []byte, damage string) {
	if damage != "" {
		d.spoiled++
	}
	d.decoder.Feed(b)
	var r drivers.Reading
	for {
		err := d.decoder.Next(&r)
		if errors.Is(err, drivers.ErrMore) {
			return
		}
		if err != nil || damage == "" {
			continue
		}
		d.passed++
		if d.isWrong(&r, n) {
			d.wrong++
			d.passedBy[damage]++
		}
	}
}

// isWrong says whether a reading has a total that is not of telegram n or the
// one before, or has it twice.
func (d *damaged) isWrong(r *drivers.Reading, n int64) bool {
	seen := map[string]bool{}
	for i := range r.Values {
		v := &r.Values[i]
		if !isTotal(v.Code.String()) || v.Kind != drivers.Number || v.Flags&drivers.Logged != 0 {
			continue
		}
		if got, key := v.Number.String(), v.Code.String(); seen[key] || got != truth(key, n) && got != truth(key, n-1) {
			return true
		}
		seen[v.Code.String()] = true
	}
	return false
}

func (d *damaged) String() string {
	sent := d.sent.Load()
	return fmt.Sprintf("%d telegrams at %.0f a second, %d of them damaged; of these %d gave a reading, %d with a wrong total %v",
		sent, float64(sent)/d.took.Seconds(), d.spoiled, d.passed, d.wrong, d.passedBy)
}

// isTotal says whether a key of a state is one that must never fall.
func isTotal(key string) bool {
	code, _, _ := strings.Cut(key, "#")
	c, err := obis.Parse(code)
	return err == nil && obis.Lookup(c).IsTotal()
}

// witness is a subscriber that believes no total that the sound meter never had.
type witness struct {
	t      *testing.T
	meter  *damaged
	client paho.Client

	mu         sync.Mutex
	last       map[string]float64 // of state
	values     int
	states     int
	history    int
	mistakes   []string
	wrong      int
	strange    int    // totals under names that the meter never had
	stranger   string // the last of them
	power      string // of the newest state
	diagnostic string
}

func newWitness(t *testing.T, b *broker, d *damaged) *witness {
	t.Helper()
	w := &witness{t: t, meter: d, last: map[string]float64{}}
	o := paho.NewClientOptions().AddBroker("tcp://" + b.address).SetClientID("witness").
		SetAutoReconnect(false).SetKeepAlive(0).SetOrderMatters(true)
	w.client = paho.NewClient(o)
	wait(t, w.client.Connect())
	wait(t, w.client.Subscribe(base+"/main/+", 1, func(_ paho.Client, m paho.Message) { w.hear(m) }))
	t.Cleanup(func() { w.client.Disconnect(100) })
	return w
}

func (w *witness) hear(m paho.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch m.Topic() {
	case meterTopic("state"):
		w.states++
		w.judge(m, true)
	case meterTopic("history"):
		w.history++
		w.judge(m, false)
	case meterTopic("diagnostic"):
		w.diagnostic = string(m.Payload())
	}
}

// judge looks at every total of a state.
func (w *witness) judge(m paho.Message, now bool) {
	var state map[string]json.RawMessage
	if err := json.Unmarshal(m.Payload(), &state); err != nil {
		w.mistake("%s: no JSON: %v", m.Topic(), err)
		return
	}
	if now {
		w.power = string(state["1-0:1.7.0"])
	}
	for key, raw := range state {
		if !isTotal(key) || string(raw) == "null" {
			continue
		}
		v, err := strconv.ParseFloat(string(raw), 64)
		if err != nil {
			w.mistake("%s: %s is %s", m.Topic(), key, raw)
			continue
		}
		w.values++
		if truth(key, 0) == "" {
			w.strange++
			w.stranger = key + " = " + string(raw)
			continue
		}
		// In thousandths both ends are whole numbers, far below 2⁵³.
		if !w.everHad(key, int64(v*1000+0.5)) {
			w.mistake("%s: the meter never had %s = %s; it reads %s", m.Topic(), key, raw, truth(key, w.meter.sent.Load()))
		}
		if now && v < w.last[key] {
			w.mistake("%s: %s fell from %.3f to %.3f", m.Topic(), key, w.last[key], v)
		}
		if now {
			w.last[key] = v
		}
	}
}

// heard says that the newest state is not that of telegram n, or nothing if it is.
func (w *witness) heard(n int64) (missing string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.power != fmt.Sprint(power(n)) {
		return fmt.Sprintf("after telegram %d the state's power is %s, want %d", n, w.power, power(n))
	}
	return ""
}

// everHad says whether the sound meter has had a total by now.
func (w *witness) everHad(key string, v int64) bool {
	newest := w.meter.sent.Load()
	for _, t := range totals {
		if t.key == key {
			return t.start <= v && v <= t.thousandths(newest)
		}
	}
	parts := derived[key]
	a, b := totals[parts[0]], totals[parts[1]]
	return a.start+b.start <= v && v <= a.thousandths(newest)+b.thousandths(newest)
}

func (w *witness) mistake(format string, args ...any) {
	w.wrong++
	if len(w.mistakes) < 20 {
		w.mistakes = append(w.mistakes, fmt.Sprintf(format, args...))
	}
}

// settle waits until the gateway has said that the line is down, and all before
// that has come.
func (w *witness) settle() {
	w.t.Helper()
	until(w.t, func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		if strings.Contains(w.diagnostic, `"line":"open"`) {
			return "the gateway still sees its line open: " + w.diagnostic
		}
		return ""
	})
}

// verdict fails the test on any wrong total, and where totals stood still.
func (w *witness) verdict() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.mistakes {
		w.t.Error(m)
	}
	if w.wrong > len(w.mistakes) {
		w.t.Errorf("%d more wrong totals", w.wrong-len(w.mistakes))
	}
	for _, t := range totals {
		sent := w.meter.sent.Load()
		if behind := float64(t.thousandths(sent))/1000 - w.last[t.key]; behind > 0.1 {
			w.t.Errorf("%s stands at %.3f, %.3f behind the meter", t.key, w.last[t.key], behind)
		}
	}
}

func (w *witness) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%d totals in %d states and %d history messages, %d wrong, %d under strange names; the gateway says %s",
		w.values, w.states, w.history, w.wrong, w.strange, w.diagnostic)
}
