package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
)

// hanFaults are what the simulated meters with a HAN port can do wrong.
var hanFaults = []Fault{
	{Name: "bad-check", Every: 10, Doc: "the frame's check does not fit"},
	{Name: "cut", Every: 10, Doc: "the telegram breaks off in its middle"},
	{Name: "noise", Every: 5, Doc: "random bytes come before the telegram"},
	{Name: "silence", Every: 60, Doc: "the meter says nothing for thirty telegrams"},
	{Name: "zero-total", Every: 20, Doc: "the totals read 0, with a check that fits"},
	{Name: "counter-back", Every: 20, Doc: "the invocation counter falls back to its start (meters that cipher)"},
}

// ExampleKey and ExampleAuthKey are the keys of simulated meters that cipher,
// unless Options say others: those of the examples in the DLMS Green Book.
const (
	ExampleKey     = "000102030405060708090A0B0C0D0E0F"
	ExampleAuthKey = "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"
)

// hanModel is a kind of meter with a HAN port.
type hanModel struct {
	Model
	period time.Duration
	every  int // each so many telegrams the list of phases; between them that of power
	list   func(*hanState, hanList) []byte
	frame  func(b, apdu []byte) []byte
}

// inHDLC puts APDUs into HDLC frames; path is destination, source and control.
func inHDLC(path ...byte) func(b, apdu []byte) []byte {
	const longest = 2047
	return func(b, apdu []byte) []byte { return hdlc.AppendHDLC(b, path, apdu, longest) }
}

// inMBus puts APDUs into M-Bus long frames.
func inMBus(b, apdu []byte) []byte { return hdlc.AppendMBus(b, apdu, 245) }

// hanModels are the meters with a HAN port, the usual one first.
var hanModels = []hanModel{
	{
		Model:  Model{Name: "aidon", Doc: "Aidon of Norway: HDLC, lists 1, 2 and 3 each 2.5 s, 10 s and hour", Shown: true},
		period: 2500 * time.Millisecond, every: 4,
		list:  rowsForm{"AIDON_V0001", "SIM0000000000003", "6525", -1, 1, standardTime}.rows,
		frame: inHDLC(0x41, 0x08, 0x83, 0x13),
	},
	{
		Model:  Model{Name: "kaifa", Doc: "Kaifa of Norway: HDLC, lists without codes each 2 s, 10 s and hour"},
		period: 2 * time.Second, every: 5, list: kaifaList,
		frame: inHDLC(0x01, 0x02, 0x01, 0x10),
	},
	{
		Model:  Model{Name: "kamstrup", Doc: "Kamstrup of Norway: HDLC, each 10 s and hour"},
		period: 10 * time.Second, every: 1,
		list:  kamstrupList("SIM0000000000005", "6861111BN242101040"),
		frame: inHDLC(0x2B, 0x21, 0x13),
	},
	{
		Model:  Model{Name: "kamstrup-se", Doc: "Kamstrup of Sweden: the same, a meter of another type"},
		period: 10 * time.Second, every: 1,
		list:  kamstrupList("SIM0000000000006", "6841138BN245101090"),
		frame: inHDLC(0x2B, 0x21, 0x13),
	},
	{
		Model:  Model{Name: "landis-gyr", Doc: "Landis+Gyr E350 of Norway: HDLC, lists 1, 2 and 3 each 2.5 s, 10 s and hour"},
		period: 2500 * time.Millisecond, every: 4,
		list:  rowsForm{"EMBRIQ_V1_1", "SIM0000000000008\x00\x00", "ZFF1", -2, 0, oslo}.rows,
		frame: inHDLC(0xCE, 0xFF, 0x03, 0x13),
	},
	{
		Model:  Model{Name: "austria", Doc: "Kaifa of Austria: ciphered, in M-Bus frames, all of it each 5 s", Shown: true, Ciphered: true},
		period: 5 * time.Second, every: 1, list: austrianList, frame: inMBus,
	},
}

// hanModelNames are hanModels without what makes them work.
func hanModelNames() []Model {
	names := make([]Model, len(hanModels))
	for i := range hanModels {
		names[i] = hanModels[i].Model
	}
	return names
}

// hanPort speaks on the lines of one meter.
type hanPort struct {
	model  *hanModel
	clock  func() time.Time
	period time.Duration
	every  map[string]int
	seed   uint64

	mu      sync.Mutex
	meter   *han
	cipher  *dlms.Cipher
	counter uint32
}

// newHANPort makes the simulated meter that Options ask for.
func newHANPort(o Options) (*Simulator, error) {
	i := max(0, slices.IndexFunc(hanModels, func(m hanModel) bool { return m.Name == o.Model }))
	model := &hanModels[i]
	every, err := parseFaults(o.Faults, hanFaults)
	if o.Period < 0 {
		err = errors.Join(err, fmt.Errorf("period %s: want more than nothing", o.Period))
	}
	if o.Period == 0 {
		o.Period = model.period
	}
	p := &hanPort{
		model: model, clock: o.Clock, period: o.Period, every: every, seed: o.Seed, meter: newHAN(o.Seed, o.Clock()),
		counter: uint32(o.Clock().Unix()), // rises over a restart too
	}
	if model.Ciphered && err == nil {
		p.cipher, err = newSealer(o.Key, o.AuthKey)
	}
	if err != nil {
		return nil, err
	}
	return &Simulator{Driver: "hdlc", serve: p.serve}, nil
}

// newSealer makes the cipher of a meter.
func newSealer(key, auth drivers.Secret) (*dlms.Cipher, error) {
	if key.IsZero() {
		key = drivers.NewSecret(ExampleKey)
	}
	if auth.IsZero() {
		auth = drivers.NewSecret(ExampleAuthKey)
	}
	encryption, errKey := dlms.ParseKey(key.Reveal())
	authentication, errAuth := dlms.ParseKey(auth.Reveal())
	if err := errors.Join(errKey, errAuth); err != nil {
		return nil, err
	}
	return dlms.NewCipher(dlms.Keys{Encryption: encryption, Authentication: authentication}, func([]byte) bool { return true })
}

// serve sends a telegram at once, then one each period.
func (p *hanPort) serve(ctx context.Context, line io.ReadWriter) error {
	pace := time.NewTicker(p.period)
	defer pace.Stop()
	talk := hanTalk{port: p, noise: rand.New(rand.NewPCG(p.seed, 1))} //nolint:gosec // noise keeps no secret
	for ctx.Err() == nil {
		b, err := talk.next()
		if err != nil {
			return err
		}
		if err := send(ctx, line, b); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-pace.C:
		}
	}
	return nil
}

// hanTalk is what the meter says to one client.
type hanTalk struct {
	port  *hanPort
	n     int       // of the telegram
	hour  time.Time // whose list was sent last
	noise *rand.Rand
}

// due says whether this telegram has a fault.
func (t *hanTalk) due(fault string) bool {
	every := t.port.every[fault]
	return every > 0 && t.n%every == 0
}

// silent says whether this telegram falls into a silence.
func (t *hanTalk) silent() bool {
	every := t.port.every["silence"]
	return every > 0 && (t.n-1)%(every+silence) >= every
}

// next is the next telegram with its faults; empty in a silence.
func (t *hanTalk) next() ([]byte, error) {
	t.n++
	b, err := t.telegram()
	if err != nil || t.silent() {
		return nil, err
	}
	if t.due("bad-check") {
		b[len(b)-2] ^= 1
	}
	if t.due("cut") {
		b = b[:len(b)/2]
	}
	if t.due("noise") {
		b = append(randomBytes(t.noise), b...)
	}
	return b, nil
}

// telegram moves the meter on and gives what it says then.
func (t *hanTalk) telegram() ([]byte, error) {
	p := t.port
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meter.advance(p.clock())
	state := p.meter.state
	list := t.choose(&state)
	if t.due("zero-total") {
		state.totals, state.live, list = [4]int64{}, [4]int64{}, hourlyList
	}
	apdu := p.model.list(&state, list)
	if !p.model.Ciphered {
		return p.model.frame(nil, apdu), nil
	}
	sealed, err := p.seal(apdu, t.due("counter-back"))
	return p.model.frame(nil, sealed), err
}

// choose says which list is due. A client that has just come hears an hourly one
// of this moment first, so that it need not wait for the hour.
func (t *hanTalk) choose(s *hanState) hanList {
	switch {
	case t.n == 1:
		t.hour = s.hour
		s.hour, s.totals = s.at, s.live
		return hourlyList
	case s.hour.After(t.hour):
		t.hour = s.hour
		return hourlyList
	case t.n%t.port.model.every == 0:
		return phasesList
	}
	return powerList
}

// seal ciphers and authenticates an APDU.
func (p *hanPort) seal(apdu []byte, fallBack bool) ([]byte, error) {
	const encryptedAndAuthenticated = 0x30
	if p.counter++; fallBack {
		p.counter = 1
	}
	s := dlms.Security{Title: dlms.Title{'K', 'F', 'M', 0, 0, 0, 0, 7}, Control: encryptedAndAuthenticated, Counter: p.counter}
	return p.cipher.Seal(nil, s, apdu)
}
