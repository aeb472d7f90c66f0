package sim

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
)

// wirelessFaults are what can go wrong between simulated radio meters and their
// receiver.
var wirelessFaults = []Fault{
	{Name: "bad-check", Every: 10, Doc: "the CRC of a block does not fit"},
	{Name: "cut", Every: 10, Doc: "a line breaks off in its middle"},
	{Name: "noise", Every: 5, Doc: "a line of something else comes before a telegram"},
	{Name: "plain", Every: 10, Doc: "the meter that encrypts does not"},
}

// ExampleRadioKey is the key of the simulated radio meter that encrypts, unless
// Options say another.
const ExampleRadioKey = "0F0E0D0C0B0A09080706050403020100"

// wirelessPeriod is how often each meter sends, more often than real ones do.
const wirelessPeriod = 10 * time.Second

// radio is a receiver that hears several meters and prints a line of hex for each
// telegram.
type radio struct {
	clock  func() time.Time
	period time.Duration
	every  map[string]int

	mu     sync.Mutex
	meters []*radioMeter
	turn   int
}

// radioMeter is one of them.
type radioMeter struct {
	address mbus.Address
	key     cipher.Block // nil: plain
	access  byte
	records func(now time.Time) [][]mbus.DataRecord
}

// newWireless hears a heat meter that encrypts, a cold and a warm water meter.
func newWireless(o Options) (*Simulator, error) {
	every, err := parseFaults(o.Faults, wirelessFaults)
	if err != nil {
		return nil, err
	}
	text := cmp.Or(o.Key.Reveal(), ExampleRadioKey)
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != aes.BlockSize {
		return nil, fmt.Errorf("key: want 32 hexadecimal digits")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	r := &radio{clock: o.Clock, period: cmp.Or(o.Period, wirelessPeriod), every: every}
	s := &Simulator{Driver: "wmbus", serve: r.serve}
	for i, slave := range []MBusSlave{heatMeter(o.Seed), coldWater(o.Seed), hotWater(o.Seed)} {
		m := &radioMeter{address: slave.Address, records: slave.Records}
		keys := []drivers.Setting{{Key: "id", Value: slave.Address.String()[:8]}}
		if i == 0 {
			m.key = block
			keys = append(keys, drivers.Setting{Key: "key", Value: text})
			s.Keys = keys
		} else {
			s.Others = append(s.Others, keys)
		}
		r.meters = append(r.meters, m)
	}
	return s, nil
}

// serve prints telegrams, the meters one after the other.
func (r *radio) serve(ctx context.Context, line io.ReadWriter) error {
	for at := time.Now(); ; at = at.Add(r.period / time.Duration(len(r.meters))) {
		if !sleepUntil(ctx, at) {
			return nil
		}
		if _, err := io.WriteString(line, r.print()); err != nil {
			return ended(ctx, err)
		}
	}
}

// print is the next line, or lines.
func (r *radio) print() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.meters[r.turn%len(r.meters)]
	r.turn++
	b := mbus.AppendFormatA(nil, m.telegram(r.clock(), r.due("plain")))
	if r.due("bad-check") {
		b[len(b)-1] ^= 0x5A
	}
	text := strings.ToUpper(hex.EncodeToString(b))
	if r.due("cut") {
		text = text[:len(text)/2]
	}
	if r.due("noise") {
		text = "# RSSI -80 dBm\r\n" + text
	}
	return text + "\r\n"
}

// due says whether the telegram under way has a fault.
func (r *radio) due(fault string) bool {
	every := r.every[fault]
	return every > 0 && r.turn%every == 0
}

// CI-field of a short header, and the parts of a configuration word: EN 13757-7.
const (
	shortHeaderCI = 0x7A
	sendNoReply   = 0x44
	modeCBC       = 5
	filler        = 0x2F
)

// telegram is what the meter sends, without CRCs:
//
//	L C  M M  ID ID ID ID V T  7A access status configuration  records
func (m *radioMeter) telegram(now time.Time, open bool) []byte {
	m.access++
	a := m.address
	link := []byte{a[4], a[5], a[0], a[1], a[2], a[3], a[6], a[7]}
	data := m.data(now)
	config := []byte{0, 0}
	if m.key != nil && !open {
		config = []byte{byte(len(data) / aes.BlockSize << 4), modeCBC}
		iv := append([]byte(nil), link...)
		for range 8 {
			iv = append(iv, m.access)
		}
		cipher.NewCBCEncrypter(m.key, iv).CryptBlocks(data, data)
	}
	b := append([]byte{0, sendNoReply}, link...)
	b = append(b, shortHeaderCI, m.access, 0)
	b = append(append(b, config...), data...)
	b[0] = byte(len(b) - 1)
	return b
}

// data are two fillers and the records of the first telegram, filled up to whole
// blocks.
func (m *radioMeter) data(now time.Time) []byte {
	data := []byte{filler, filler}
	for _, r := range m.records(now)[0] {
		next, err := r.AppendTo(data)
		if err != nil {
			break // the records of the models can be sent
		}
		data = next
	}
	for len(data)%aes.BlockSize != 0 {
		data = append(data, filler)
	}
	return data
}
