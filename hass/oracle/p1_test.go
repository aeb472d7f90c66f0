package oracle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// p1Rows are the entities of the telegram p1-dsmrparser-v5, a DSMR 5 meter with
// three phases and a gas meter, as people should see them.
func p1Rows() []Row {
	const mains, gas = "Mains meter", "Mains gas meter"
	id := func(key string) string { return "meter2mqtt_mains_" + key }
	energy := func(key, name, state string) Row {
		return Row{
			UniqueID: id(key), Device: mains, Name: name, State: state,
			DeviceClass: "energy", StateClass: "total_increasing", Unit: "kWh",
		}
	}
	level := func(key, name, state, class, unit string) Row {
		return Row{
			UniqueID: id(key), Device: mains, Name: name, State: state,
			DeviceClass: class, StateClass: "measurement", Unit: unit,
		}
	}
	count := func(key, name, state string) Row {
		return Row{
			UniqueID: id(key), Device: mains, Name: name, State: state,
			StateClass: "total_increasing", Category: "diagnostic",
		}
	}
	rare := func(key, name string) Row {
		return Row{UniqueID: id(key), Name: name, Category: "diagnostic", Disabled: true}
	}
	rows := []Row{
		energy("1_0_1_8_0", "Energy import", "6.825"), // derived: 1.8.1 + 1.8.2
		energy("1_0_1_8_1", "Energy import tariff 1", "4.426"),
		energy("1_0_1_8_2", "Energy import tariff 2", "2.399"),
		energy("1_0_2_8_0", "Energy export", "2.444"),
		energy("1_0_2_8_1", "Energy export tariff 1", "2.444"),
		energy("1_0_2_8_2", "Energy export tariff 2", "0.0"),
		level("1_0_1_7_0", "Power import", "244", "power", "W"),
		level("1_0_2_7_0", "Power export", "0", "power", "W"),
		level("1_0_21_7_0", "Power import L1", "70", "power", "W"),
		level("1_0_41_7_0", "Power import L2", "32", "power", "W"),
		level("1_0_61_7_0", "Power import L3", "142", "power", "W"),
		level("1_0_22_7_0", "Power export L1", "0", "power", "W"),
		level("1_0_42_7_0", "Power export L2", "0", "power", "W"),
		level("1_0_62_7_0", "Power export L3", "0", "power", "W"),
		level("1_0_32_7_0", "Voltage L1", "230.0", "voltage", "V"),
		level("1_0_52_7_0", "Voltage L2", "230.0", "voltage", "V"),
		level("1_0_72_7_0", "Voltage L3", "229.0", "voltage", "V"),
		level("1_0_31_7_0", "Current L1", "0.48", "current", "A"),
		level("1_0_51_7_0", "Current L2", "0.44", "current", "A"),
		level("1_0_71_7_0", "Current L3", "0.86", "current", "A"),
		{UniqueID: id("0_0_96_14_0"), Device: mains, Name: "Active tariff", State: "2"},
		count("0_0_96_7_21", "Power failures", "13"),
		count("0_0_96_7_9", "Long power failures", "0"),
		{UniqueID: id("1_3_0_2_8"), Device: mains, Name: "Version", State: "50", Category: "diagnostic"},
		rare("0_0_1_0_0", "Clock"),
		rare("0_0_96_1_1", "Equipment identifier"),
		rare("1_0_32_32_0", "Voltage sags L1"),
		rare("1_0_52_32_0", "Voltage sags L2"),
		rare("1_0_72_32_0", "Voltage sags L3"),
		rare("1_0_32_36_0", "Voltage swells L1"),
		rare("1_0_52_36_0", "Voltage swells L2"),
		rare("1_0_72_36_0", "Voltage swells L3"),
		{
			UniqueID: id("ch1_0_1_24_2_1"), Device: gas, State: "0.107",
			DeviceClass: "gas", StateClass: "total_increasing", Unit: "m³",
		},
		rare("ch1_0_1_24_1_0", "Device type"),
		rare("ch1_0_1_96_1_0", "Serial number"),
	}
	return append(rows, Diagnostics("meter2mqtt_mains", mains, false)...)
}

func TestP1MeterIsShownThroughRestartsOfEachPart(t *testing.T) {
	o := Start(t)
	c := readP1Case(t, "p1-dsmrparser-v5")
	port := plugIn(t, c.telegram, time.Second)
	sub := o.Broker.Subscribe(t, "meter2mqtt/#")
	gateway := o.Run(t, p1Config+p1Meter("mains", "Mains meter", port))
	rows := p1Rows()

	shown := func(after string) {
		t.Helper()
		t.Log("looking", after)
		o.Until(t, func() error {
			return cmp.Or(gateway.Running(), sub.Saw("meter2mqtt/mains/availability", "online"), c.seenOn(sub, "meter2mqtt/mains/state"))
		})
		o.Expect(t, rows)
	}
	shown("after the first start")
	o.NoComplaint(t)

	sub.Forget()
	o.RestartHomeAssistant(t)
	o.Until(t, func() error { return c.seenOn(sub, "meter2mqtt/mains/state") })
	o.Expect(t, rows)
	o.NoComplaint(t)

	o.Broker.Stop(t)
	o.Expect(t, Unavailable(rows))
	sub.Forget()
	o.Broker.Start(t)
	shown("after a restart of the broker")
	o.NoComplaint(t)

	gateway.Stop(t)
	o.Expect(t, Unavailable(rows))
	sub.Forget()
	gateway.Start(t)
	shown("after a restart of the gateway")
	o.NoComplaint(t)

	gateway.Kill(t)
	o.Expect(t, Unavailable(rows))
	sub.Forget()
	gateway.Start(t)
	shown("after the gateway was killed")
	o.NoComplaint(t)
}

// Every good telegram of the corpus comes over a line of its own; together they
// are a house with forty meters.
func TestP1CorpusReachesMQTTAndHomeAssistant(t *testing.T) {
	o := Start(t)
	cases := readP1Corpus(t)
	config := p1Config
	for i, c := range cases {
		cases[i].meter = fmt.Sprintf("m%d", i+1)
		config += p1Meter(cases[i].meter, c.name, plugIn(t, c.telegram, 2*time.Second))
		if !bytes.Contains(c.telegram, []byte("\n!")) {
			config += "check = \"none\"\n" // a meter that sends no end line
		}
	}
	sub := o.Broker.Subscribe(t, "meter2mqtt/#")
	gateway := o.Run(t, config)

	o.Until(t, func() error {
		errs := []error{gateway.Running()}
		for _, c := range cases {
			errs = append(errs, c.seenOn(sub, "meter2mqtt/"+c.meter+"/state"))
		}
		return firstFew(errs)
	})
	o.Until(t, func() error {
		s, err := o.snapshot()
		if err != nil {
			return err
		}
		var errs []error
		for _, c := range cases {
			errs = append(errs, c.shownBy(s))
		}
		return firstFew(errs)
	})
	o.NoComplaint(t)
	t.Logf("%d meters, %d messages", len(cases), len(sub.Messages()))
}

// firstFew joins no more errors than somebody reads.
func firstFew(errs []error) error {
	var some []error
	for _, err := range errs {
		if err != nil && len(some) < 20 {
			some = append(some, err)
		}
	}
	return errors.Join(some...)
}

const p1Config = `
[mqtt]
url = "$BROKER"
[state]
dir = "$STATE"
`

func p1Meter(name, label, port string) string {
	return fmt.Sprintf("[[meter]]\nname = %q\nlabel = %q\ndriver = \"p1\"\nport = %q\ntimezone = \"Europe/Amsterdam\"\n", name, label, port)
}

// p1Case is a telegram of the corpus and what foreign decoders found in it.
type p1Case struct {
	name     string
	meter    string // its name in the configuration
	telegram []byte

	Protocol   string
	Valid      bool
	Unverified any
	Values     []p1Value
}

type p1Value struct {
	OBIS  string
	Kind  string
	Value string
	Unit  string
	Text  string    // Value, decoded from hex
	Time  time.Time // of a reading of a meter behind this one
}

// corpusDir is where the telegrams lie: beside the repository.
func corpusDir(t *testing.T) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "..", "shared", "corpus", "p1")
}

func readP1Case(t *testing.T, name string) p1Case {
	t.Helper()
	telegram, err := os.ReadFile(filepath.Join(corpusDir(t), name+".telegram"))
	if err != nil {
		t.Fatal(err)
	}
	expected, err := os.ReadFile(filepath.Join(corpusDir(t), name+".expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := p1Case{name: name, telegram: telegram}
	if err := json.Unmarshal(expected, &c); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

// readP1Corpus is every good telegram that is not encrypted.
func readP1Corpus(t *testing.T) []p1Case {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpusDir(t), "*.telegram"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []p1Case
	for _, file := range files {
		c := readP1Case(t, strings.TrimSuffix(filepath.Base(file), ".telegram"))
		if c.Valid && c.Protocol == "p1" && c.Unverified == nil {
			cases = append(cases, c)
		}
	}
	if len(cases) < 30 {
		t.Fatalf("%s: only %d good telegrams", corpusDir(t), len(cases))
	}
	return cases
}

// seenOn says what the newest message on topic has wrong, or nil if it holds the
// values of the telegram exactly.
func (c p1Case) seenOn(sub *Subscription, topic string) error {
	m, ok := sub.Last(topic)
	if !ok {
		return fmt.Errorf("%s: no message on %s", c.name, topic)
	}
	picture := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(m.Payload), &picture); err != nil {
		return fmt.Errorf("%s: %s: %w", c.name, m.Payload, err)
	}
	var errs []error
	for key, v := range c.keyed() {
		if err := v.is(picture[key]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", c.name, key, err))
		}
	}
	return firstFew(errs)
}

// keyed are the values by their keys on MQTT. Left out are those of earlier
// billing periods, which the gateway publishes on request only, profiles and
// lists, which are no single value, and empty groups, which are none.
func (c p1Case) keyed() map[string]p1Value {
	keyed, seen := map[string]p1Value{}, map[string]int{}
	for _, v := range c.Values {
		if v.OBIS == "" {
			continue // a line of no known form
		}
		code := obis.MustParse(v.OBIS)
		behind := code.A() == 0 && code.B() > 0
		if code.F() != obis.Now || v.Value == "" || v.Kind == "profile" || v.Kind == "list" || v.Kind == "time" {
			continue
		}
		if behind && v.Time.Year() < 2000 {
			continue // a channel where no meter is, or what only names one
		}
		key := code.String()
		if before, twice := keyed[key]; behind && twice {
			if before.Time.Before(v.Time) { // the meter was exchanged: the newer reading is real
				keyed[key] = v
			}
			continue
		}
		if seen[key]++; seen[key] > 1 {
			key = fmt.Sprintf("%s#%d", key, seen[key])
		}
		keyed[key] = v
	}
	return keyed
}

// is says how got, the JSON that was published, differs from v.
func (v p1Value) is(got json.RawMessage) error {
	switch v.Kind {
	case "number":
		want, err := v.canonical()
		if err != nil {
			return err
		}
		if string(got) != want.String() {
			return fmt.Errorf("got %s, want %s", got, want)
		}
	case "code", "text":
		if text := string(bytes.Trim(got, `"`)); !v.says(text) {
			return fmt.Errorf("got %s, want %q or %q", got, v.Value, v.Text)
		}
	default:
		return fmt.Errorf("the corpus has a value of the kind %q", v.Kind)
	}
	return nil
}

// says: digits may come as a number, hex as the text that it stands for.
func (v p1Value) says(text string) bool {
	return text == v.Value || v.Text != "" && text == v.Text ||
		v.Kind == "code" && text == cmp.Or(strings.TrimLeft(v.Value, "0"), "0")
}

// canonical is the number in its canonical unit, all digits kept.
func (v p1Value) canonical() (drivers.Decimal, error) {
	n, err := drivers.ParseDecimal(v.Value)
	if err != nil {
		return n, err
	}
	_, shift, _ := obis.ParseUnit(v.Unit)
	return n.Shift(shift)
}

// shownBy says which numbers of the telegram Home Assistant does not show, or
// shows otherwise.
func (c p1Case) shownBy(s *snapshot) error {
	byID := map[string]entity{}
	for _, e := range s.Entities {
		byID[channel.ReplaceAllString(e.UniqueID, "_")] = e
	}
	var errs []error
	for key, v := range c.keyed() {
		if v.Kind != "number" {
			continue
		}
		id := "meter2mqtt_" + c.meter + "_" + nonAlphanumeric.ReplaceAllString(strings.ReplaceAll(key, "#", "_n"), "_")
		e, ok := byID[id]
		if !ok {
			errs = append(errs, fmt.Errorf("%s: no entity %s", c.name, id))
			continue
		}
		if err := v.shownAs(s.state(e).State, e); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", c.name, e.EntityID, err))
		}
	}
	return firstFew(errs)
}

var (
	channel         = regexp.MustCompile(`_ch\d+_`) // which sub-meter it belongs to
	nonAlphanumeric = regexp.MustCompile(`[^a-z0-9_]+`)
)

// shownAs compares by value: Home Assistant's templates do not keep trailing
// zeros.
func (v p1Value) shownAs(state string, e entity) error {
	if e.DisabledBy != "" {
		return nil
	}
	want, err := v.canonical()
	if err != nil {
		return err
	}
	got, err := drivers.ParseDecimal(state)
	if err != nil || got.Cmp(want) != 0 {
		return fmt.Errorf("state %q, want %s", state, want)
	}
	return nil
}
