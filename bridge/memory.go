package bridge

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// What is learned is saved soon, what only counts on seldom: SD cards live by
// the number of writes. Guarding totals does well with old ones.
const totalsEvery = 10 * time.Minute

// memory is what outlives the program: memory.json in the state folder.
type memory struct {
	Meters map[string]meterMemory `json:"meters"`
	// Devices are outlines of the discovery payloads that were published, by topic and by
	// meter; the bridge's own is under "".
	Devices map[string]map[string]string `json:"devices,omitempty"`
	// Past are meters that have gone, with the topics on which the broker may
	// still keep something of them.
	Past map[string][]string `json:"past,omitempty"`
}

// meterMemory is what is known of one meter.
type meterMemory struct {
	Driver     string                     `json:"driver"`
	Meter      drivers.Identity           `json:"meter"`
	Channels   []channelInfo              `json:"channels,omitempty"`
	Quantities []quantityInfo             `json:"quantities,omitempty"`
	Parameters []parameterInfo            `json:"parameters,omitempty"`
	Shown      []string                   `json:"shown,omitempty"` // Parameters whose value the broker may keep
	Totals     map[string]plausible.Total `json:"totals,omitempty"`
	Tariffs    tariffSums                 `json:"tariffs"`
	Attachment string                     `json:"attachment,omitempty"` // what a session learned, as it wrote it
	Seen       time.Time                  `json:"seen,omitzero"`        // the last good reading
	Gaps       []statistics.Hole          `json:"gaps,omitempty"`       // to be filled from the meter's own log
}

func (s *state) memoryFile() string { return filepath.Join(s.dir, "memory.json") }

// recall loads the memory. Damage is told, and all of it is learned anew.
func (s *state) recall() (memory, error) {
	m := memory{}
	var err error
	if s.dir != "" {
		err = journal.Load(s.memoryFile(), &m)
	}
	if m.Meters == nil {
		m.Meters = map[string]meterMemory{}
	}
	if m.Devices == nil {
		m.Devices = map[string]map[string]string{}
	}
	return m, err
}

// remember saves the memory.
func (s *state) remember(write func(io.Writer) error) error {
	if s.dir == "" {
		return nil
	}
	return journal.SaveAs(s.memoryFile(), write)
}

// writeMemory writes a memory as JSON, a meter at a time: all that ten thousand
// meters know is many times what they take while the gateway runs.
func (b *Bridge) writeMemory(w io.Writer) error {
	out := json.NewEncoder(w)
	put := func(before string, v any) error {
		if _, err := io.WriteString(w, before); err != nil {
			return err
		}
		return out.Encode(v)
	}
	if err := put(`{"devices":`, b.devices.snapshot()); err != nil {
		return err
	}
	if err := put(`,"past":`, b.pending()); err != nil {
		return err
	}
	if _, err := io.WriteString(w, `,"meters":{`); err != nil {
		return err
	}
	comma := ""
	for _, m := range b.everyMeter() {
		if err := put(fmt.Sprintf("%s%q:", comma, m.config.Name), m.memory()); err != nil {
			return err
		}
		comma = ","
	}
	_, err := io.WriteString(w, "}}")
	return err
}

// recall makes the meter know what it knew before a restart. What another driver
// had learned is void.
func (m *meter) recall(r meterMemory) {
	if r.Driver != m.config.Driver.Name {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.identity = r.Meter
	for _, c := range r.Channels {
		m.channels = append(m.channels, drivers.Channel{Number: c.Channel, Meter: c.Meter})
	}
	m.sums = r.Tariffs
	if m.attachment = r.Attachment; m.attachment != "" {
		m.session = sessionClosed // so that its entity stays
	}
	m.seen, m.gaps = r.Seen, r.Gaps
	for key, total := range r.Totals {
		m.guard.Restore(key, total)
	}
	m.picture.reserve(len(r.Quantities))
	for _, q := range r.Quantities {
		if !m.excluded(q.Key) {
			m.picture.expect(q.quantity())
		}
	}
	for _, name := range r.Shown {
		m.shown[name] = ""
	}
	if m.config.Driver.Parameters != nil {
		return // the configuration at hand tells better
	}
	for _, p := range r.Parameters {
		m.parameters = append(m.parameters, p.parameter())
	}
}

// memory is what the meter knows, to be kept over a restart.
func (m *meter) memory() meterMemory {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := meterMemory{
		Driver: m.config.Driver.Name, Meter: m.identity, Tariffs: m.sums, Totals: m.guard.Remembered(), Attachment: m.attachment,
		Seen: m.seen, Gaps: slices.Clone(m.gaps),
	}
	for _, c := range m.channels {
		r.Channels = append(r.Channels, channelInfo{c.Number, c.Meter})
	}
	for _, q := range m.picture.quantities() {
		r.Quantities = append(r.Quantities, quantityInfoOf(q))
	}
	r.Parameters = m.parameterInfos()
	r.Shown = slices.Sorted(maps.Keys(m.shown))
	return r
}

// quantityInfo is a quantity in info and in memory.
type quantityInfo struct {
	Key     string `json:"key"`
	OBIS    string `json:"obis,omitempty"`
	Name    string `json:"name,omitempty"`
	Kind    string `json:"kind"`
	Unit    string `json:"unit,omitempty"`
	Digits  int    `json:"digits,omitempty"`
	Channel uint8  `json:"channel,omitempty"`
	Zoned   bool   `json:"zoned,omitempty"`
	Logged  bool   `json:"logged,omitempty"`
	Derived bool   `json:"derived,omitempty"`
}

func quantityInfoOf(q drivers.Quantity) quantityInfo {
	code := ""
	if !q.Code.IsZero() {
		code = q.Code.String()
	}
	return quantityInfo{
		Key: q.Key, OBIS: code, Name: q.Name, Kind: q.Kind.String(), Unit: string(q.Unit),
		Digits: q.Digits, Channel: q.Channel, Zoned: q.Zoned, Logged: q.Logged, Derived: q.Derived,
	}
}

func (q quantityInfo) quantity() drivers.Quantity {
	code, _ := obis.Parse(q.OBIS) // none, or what quantityInfoOf wrote
	return drivers.Quantity{
		Key: q.Key, Code: code, Name: q.Name, Kind: drivers.ParseKind(q.Kind), Unit: obis.Unit(q.Unit),
		Digits: q.Digits, Channel: q.Channel, Zoned: q.Zoned, Logged: q.Logged, Derived: q.Derived,
	}
}
