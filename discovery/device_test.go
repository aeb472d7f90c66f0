package discovery

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

var update = flag.Bool("update", false, "write the golden files anew; read the difference")

var topics = Topics{Base: "meter2mqtt", Prefix: "homeassistant"}

// number, text and moment are quantities as a bridge learns them.
func number(code string, unit obis.Unit, digits int) drivers.Quantity {
	q := text(code)
	q.Kind, q.Unit, q.Digits = drivers.Number, unit, digits
	return q
}

func text(code string) drivers.Quantity {
	c := obis.MustParse(code)
	return drivers.Quantity{Key: c.String(), Code: c, Name: obis.Lookup(c).Name, Kind: drivers.Text}
}

func moment(code string, zoned bool) drivers.Quantity {
	q := text(code)
	q.Kind, q.Zoned = drivers.Moment, zoned
	return q
}

func flagged(code string) drivers.Quantity {
	q := text(code)
	q.Kind = drivers.Bool
	return q
}

func writable(name string, kind drivers.Kind) drivers.Parameter {
	return drivers.Parameter{Quantity: drivers.Quantity{Name: name, Kind: kind}, Access: drivers.Readable | drivers.Writable, MaxLen: 16}
}

func secret(p drivers.Parameter) drivers.Parameter {
	p.Secret = true
	return p
}

func ranged(name string, unit obis.Unit, digits int) drivers.Parameter {
	p := writable(name, drivers.Number)
	p.Unit, p.Digits, p.Max = unit, digits, drivers.NewDecimal(100, -1)
	return p
}

func chosen(name string, options ...string) drivers.Parameter {
	p := writable(name, drivers.Text)
	p.Options = options
	return p
}

// record is a quantity of an M-Bus meter without a code.
func record(key, name string, unit obis.Unit, digits int) drivers.Quantity {
	return drivers.Quantity{Key: key, Name: name, Unit: unit, Digits: digits}
}

func behind(channel uint8, quantities ...drivers.Quantity) []drivers.Quantity {
	for i := range quantities {
		quantities[i].Channel = channel
	}
	return quantities
}

// meters are the cases of the golden files.
var meters = map[string]Meter{
	"dsmr5-with-gas": {
		Name: "main", Label: "Mains meter", Version: "0.1.0",
		Identity: drivers.Identity{
			Driver: "p1", ID: "E0043007052870318", Manufacturer: "KFM", Model: "KAIFA-METER", Version: "5.0", Medium: "electricity",
		},
		Channels: []drivers.Channel{{Number: 1, Meter: drivers.Identity{Driver: "p1", ID: "G0025003392030715", Medium: "gas"}}},
		Quantities: slices.Concat([]drivers.Quantity{
			text("1-3:0.2.8"), moment("0-0:1.0.0", true), text("0-0:96.1.1"),
			number("1-0:1.8.1", "kWh", 3), number("1-0:1.8.2", "kWh", 3),
			number("1-0:2.8.1", "kWh", 3), number("1-0:2.8.2", "kWh", 3),
			number("1-0:1.8.0", "kWh", 3), number("1-0:2.8.0", "kWh", 3),
			text("0-0:96.14.0"), number("1-0:1.7.0", "W", 0), number("1-0:2.7.0", "W", 0),
			number("0-0:96.7.21", "", 0), number("0-0:96.7.9", "", 0),
			number("1-0:32.32.0", "", 0), number("1-0:52.32.0", "", 0), number("1-0:72.32.0", "", 0),
			number("1-0:32.36.0", "", 0), number("1-0:52.36.0", "", 0), number("1-0:72.36.0", "", 0),
			text("0-0:96.13.0"), number("1-0:32.7.0", "V", 1), number("1-0:52.7.0", "V", 1), number("1-0:72.7.0", "V", 1),
			number("1-0:31.7.0", "A", 0), number("1-0:51.7.0", "A", 0), number("1-0:71.7.0", "A", 0),
			number("1-0:21.7.0", "W", 0), number("1-0:41.7.0", "W", 0), number("1-0:61.7.0", "W", 0),
			number("1-0:22.7.0", "W", 0), number("1-0:42.7.0", "W", 0), number("1-0:62.7.0", "W", 0),
			{Key: "0-0:96.7.19#2", Code: obis.MustParse("0-0:96.7.19"), Unit: "s", Logged: true},
		}, behind(1, text("0-1:24.1.0"), text("0-1:96.1.0"), number("0-1:24.2.1", "m³", 3))),
	},
	"belgium-with-gas-water-and-heat": {
		Name: "digital_meter", Label: "House", Version: "0.1.0",
		Identity: drivers.Identity{Driver: "p1", ID: "1SAG1105138613", Manufacturer: "FLU", Model: "253769484_A", Medium: "electricity"},
		Channels: []drivers.Channel{
			{Number: 1, Meter: drivers.Identity{ID: "37464C4F32313139", Medium: "gas"}},
			{Number: 2, Meter: drivers.Identity{ID: "3853414731323334", Medium: "water"}},
			{Number: 3, Meter: drivers.Identity{ID: "77", Manufacturer: "KAM", Medium: "heat"}},
			{Number: 4, Meter: drivers.Identity{ID: "78", Medium: "gas"}},
			{Number: 6, Meter: drivers.Identity{ID: "dead"}},
		},
		Quantities: slices.Concat([]drivers.Quantity{
			number("1-0:1.8.1", "kWh", 3), number("1-0:1.4.0", "W", 0), number("1-0:1.6.0", "W", 0),
			number("0-0:96.3.10", "", 0), number("0-0:17.0.0", "W", 0), number("1-0:31.4.0", "A", 0),
		},
			behind(1, number("0-1:24.2.3", "m³", 3), number("0-1:24.4.0", "", 0)),
			behind(2, number("0-2:24.2.1", "m³", 3)),
			behind(3, number("0-3:24.2.1", "GJ", 3)),
			behind(4, number("0-4:24.2.1", "m³", 3)),
			behind(5, number("0-5:24.2.1", "", 0)),
		),
	},
	"hdlc-of-two-channels": {
		Name: "han", Version: "0.1.0",
		Identity: drivers.Identity{Driver: "hdlc", ID: "5706567274389702", Manufacturer: "Kamstrup", Model: "6841121BN243101040", Medium: "electricity"},
		Quantities: []drivers.Quantity{
			moment("0-1:1.0.0", false), text("1-1:0.0.5"), text("1-1:96.1.1"),
			number("1-1:1.8.0", "kWh", 2), number("1-0:1.8.0", "kWh", 2), number("1-2:1.8.0", "kWh", 2),
			number("1-1:3.8.0", "kvarh", 2), number("1-1:3.7.0", "var", 0), number("1-1:23.7.0", "var", 0),
			number("1-1:33.7.0", "", 2), number("1-1:16.8.0", "kWh", 2), number("1-1:9.8.0", "kVAh", 1),
			flagged("0-0:96.3.10"), number("1-0:1.8.0*12", "kWh", 2), number("1-0:96.50.0*1", "", 0),
			number("1-0:1.7.0", "W", 0),
			{Key: "1-0:1.7.0#2", Code: obis.MustParse("1-0:1.7.0"), Unit: "W"},
		},
	},
	"mbus-heat": {
		Name: "heat", Label: "Heat meter", Version: "0.1.0",
		Identity: drivers.Identity{Driver: "mbus", ID: "12345678", Manufacturer: "KAM", Version: "8", Medium: "heat"},
		Quantities: []drivers.Quantity{
			number("6-0:1.0.0", "GJ", 3), number("6-0:2.0.0", "m³", 3), number("6-0:8.0.0", "W", 0), number("6-0:9.0.0", "m³/h", 3),
			number("6-0:10.0.0", "°C", 2), number("6-0:11.0.0", "°C", 2), number("6-0:12.0.0", "K", 2),
			number("6-0:1.2.0", "GJ", 3), number("0-0:96.8.0", "h", 0), number("0-0:97.97.0", "", 0),
			record("volume@s1", "volume", "m³", 3), record("energy@t1", "energy", "GJ", 3),
			record("power@s1t2u3fmax", "power", "W", 0), record("mass_flow", "mass_flow", "kg/h", 1),
			{Key: "manufacturer_specific", Name: "manufacturer_specific", Kind: drivers.Text},
			record("it's {{ a }} test", "it's {{ a }} test", "", 0), record("it's {{ a }} tost", "it's {{ a }} tost", "kWh", 0),
		},
	},
	"water-and-gas-and-allocator": {
		Name: "flat", Version: "0.1.0",
		Identity: drivers.Identity{Driver: "wmbus", ID: "1", Manufacturer: "XYZ", Medium: "warm_water"},
		Quantities: []drivers.Quantity{
			number("8-0:1.0.0", "m³", 3), number("9-0:1.0.0", "m³", 3), number("8-0:2.0.0", "m³/h", 3),
			number("7-0:3.0.0", "m³", 2), number("7-0:3.2.0", "m³", 2), number("7-0:42.0.0", "bar", 3), number("7-0:41.0.0", "°C", 2),
			number("7-0:52.0.0", "", 4), number("4-0:1.0.0", "", 0), number("0-0:96.6.6", "d", 0), number("0-0:96.12.5", "dBm", 0),
			number("5-0:1.0.0", "kWh", 0), record("volume", "volume", "m³", 3), number("1-0:81.7.4", "°", 1),
		},
	},
	"optical-with-controls": {
		Name: "mains", Label: "Mains meter", Version: "0.1.0",
		Identity:   drivers.Identity{Driver: "iec62056-21", ID: "1", Manufacturer: "SIM", Medium: "electricity"},
		Quantities: []drivers.Quantity{number("1-0:1.8.0", "kWh", 3), moment("0-0:1.0.0", true)},
		Parameters: []drivers.Parameter{
			writable("clock", drivers.Moment), ranged("limit", "kW", 1), writable("offset", drivers.Number),
			chosen("billing_mode", "day", "it's night"), writable("relay", drivers.Bool), writable("note", drivers.Text), secret(writable("pin", drivers.Text)),
			{Quantity: drivers.Quantity{Name: "demand_reset", Kind: drivers.Text}, Access: drivers.Pressable},
		},
	},
	"nothing-known-yet": {Name: "new", Version: "0.1.0"},
}

func TestGoldenPayloads(t *testing.T) {
	for name, m := range meters {
		t.Run(name, func(t *testing.T) { golden(t, name, Devices(topics, m)) })
	}
	golden(t, "bridge", []Device{Bridge(topics, "0.1.0", operation)})
}

// golden compares with testdata/NAME.json: topic → payload, indented.
func golden(t *testing.T, name string, devices []Device) {
	t.Helper()
	all := map[string]json.RawMessage{}
	for _, d := range devices {
		all[d.Topic] = d.Payload
	}
	var got bytes.Buffer
	e := json.NewEncoder(&got)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(all); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("-golden +got\n%s", diff)
	}
}

func TestTheSameDescriptionGivesTheSameBytes(t *testing.T) {
	for name, m := range meters {
		if diff := cmp.Diff(Devices(topics, m), Devices(topics, m)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// decoded is a payload as Home Assistant reads it.
func decoded(t *testing.T, d Device) payload {
	t.Helper()
	var p payload
	dec := json.NewDecoder(bytes.NewReader(d.Payload))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("%s: %v", d.ID, err)
	}
	return p
}

func TestNamesAndIdsAreUnique(t *testing.T) {
	for name, m := range meters {
		ids := map[string]bool{}
		for _, d := range Devices(topics, m) {
			labels := map[string]string{}
			for key, c := range decoded(t, d).Components {
				if ids[c.UniqueID] {
					t.Errorf("%s: %s comes twice", name, c.UniqueID)
				}
				ids[c.UniqueID] = true
				if other, twice := labels[c.Name]; twice {
					t.Errorf("%s: %s and %s are both named %s", name, key, other, c.Name)
				}
				labels[c.Name] = key
				if !strings.HasPrefix(c.UniqueID, d.ID+"_") {
					t.Errorf("%s: %s is not of device %s", name, c.UniqueID, d.ID)
				}
			}
		}
	}
}

func TestAChannelWithoutAQuantityIsNoDevice(t *testing.T) {
	var ids []string
	for _, d := range Devices(topics, meters["belgium-with-gas-water-and-heat"]) {
		ids = append(ids, d.ID)
	}
	want := []string{
		"meter2mqtt_digital_meter", "meter2mqtt_digital_meter_ch1", "meter2mqtt_digital_meter_ch2",
		"meter2mqtt_digital_meter_ch3", "meter2mqtt_digital_meter_ch4", "meter2mqtt_digital_meter_ch5",
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAChannelThatIsAnnouncedTwiceIsItsLastMeter(t *testing.T) {
	m := Meter{
		Name: "main",
		Channels: []drivers.Channel{
			{Number: 1, Meter: drivers.Identity{ID: "old", Medium: "gas"}},
			{Number: 1, Meter: drivers.Identity{ID: "new", Medium: "gas"}},
		},
		Quantities: behind(1, number("0-1:24.2.1", "m³", 3)),
	}
	devices := Devices(topics, m)
	if len(devices) != 2 {
		t.Fatalf("%d devices", len(devices))
	}
	if d := decoded(t, devices[1]).Device; d.SerialNumber != "new" || d.Name != "main gas meter" {
		t.Errorf("got %+v", d)
	}
}

func TestAMeterExchangeKeepsEveryId(t *testing.T) {
	before := meters["dsmr5-with-gas"]
	after := before
	after.Label = "Another label"
	after.Identity = drivers.Identity{ID: "E9999", Manufacturer: "ISk"}
	after.Channels = nil
	after.Quantities = slices.Clone(before.Quantities)
	slices.Reverse(after.Quantities)
	old, now := Devices(topics, before), Devices(topics, after)
	for i := range old {
		a, b := decoded(t, old[i]), decoded(t, now[i])
		if old[i].Topic != now[i].Topic || !slices.Equal(a.Device.Identifiers, b.Device.Identifiers) {
			t.Errorf("%s became %s", old[i].Topic, now[i].Topic)
		}
		for key, c := range a.Components {
			if b.Components[key].UniqueID != c.UniqueID {
				t.Errorf("%s became %s", c.UniqueID, b.Components[key].UniqueID)
			}
		}
	}
}

func TestTheFirstOfTwoKeysThatMapAlikeKeepsItsEntity(t *testing.T) {
	m := Meter{Name: "odd", Quantities: []drivers.Quantity{record("a b", "a b", "W", 0), record("a-b", "a-b", "W", 0)}}
	c := decoded(t, Devices(topics, m)[0]).Components["a_b"]
	if c.Template != "{{ value_json['a b'] | default(none) }}" {
		t.Errorf("got %+v", c)
	}
}

func TestOurOwnComponentIsNotTakenByAMeter(t *testing.T) {
	m := Meter{Name: "odd", Quantities: []drivers.Quantity{record("diagnostic line", "", "W", 0)}}
	p := decoded(t, Devices(topics, m)[0])
	if len(p.Components) != ours || p.Components[lineKey].Name != "Line" {
		t.Errorf("got %+v", p.Components)
	}
}

func TestALongNameIsCut(t *testing.T) {
	m := Meter{Name: "odd", Quantities: []drivers.Quantity{record(strings.Repeat("é", 3000), "", "W", 0)}}
	for _, c := range decoded(t, Devices(topics, m)[0]).Components {
		if n := len([]rune(c.Name)); n > longest {
			t.Errorf("%d characters", n)
		}
	}
}

func TestIDs(t *testing.T) {
	for _, tc := range []struct{ base, name, key, device, unique string }{
		{"meter2mqtt", "main", "1-0:1.8.0", "meter2mqtt_main", "meter2mqtt_main_1_0_1_8_0"},
		{"meter2mqtt", "main", "1-0:1.8.0#2", "meter2mqtt_main", "meter2mqtt_main_1_0_1_8_0_n2"},
		{"meter2mqtt", "main", "7-0:3.1.0*1", "meter2mqtt_main", "meter2mqtt_main_7_0_3_1_0_1"},
		{"Home/Meters", "heat", "volume@s1t2u1fmax", "home_meters_heat", "home_meters_heat_volume_s1t2u1fmax"},
		{"/a//b/", "x", "größe: 1", "a_b_x", "a_b_x_gr_e_1"},
	} {
		device := DeviceID(tc.base, tc.name)
		if unique := UniqueID(device, tc.key); device != tc.device || unique != tc.unique {
			t.Errorf("%s, %s, %s: %s, %s", tc.base, tc.name, tc.key, device, unique)
		}
	}
	if id := ChannelID("meter2mqtt_main", 12); id != "meter2mqtt_main_ch12" {
		t.Errorf("got %s", id)
	}
}

func TestMakersHaveNames(t *testing.T) {
	for letters, want := range map[string]string{"KFM": "Kaifa", "ISk": "Iskraemeco", "LGZ": "Landis+Gyr", "Aidon": "Aidon", "XYZ": "XYZ", "": ""} {
		if got := Maker(letters); got != want {
			t.Errorf("%q is %q, want %q", letters, got, want)
		}
	}
}

// vocabulary are the keys that Home Assistant knows.
type vocabulary struct {
	MQTT struct {
		Supported  []string        `json:"supported_components"`
		Payload    keys            `json:"device_payload_keys"`
		Device     keys            `json:"device_keys"`
		Origin     keys            `json:"origin_keys"`
		Modes      []string        `json:"availability_modes"`
		Components map[string]keys `json:"components"`
		Topic      struct {
			IDPattern string `json:"id_pattern"`
		} `json:"discovery_topic"`
	}
	Sensor struct {
		DeviceClasses map[string]any `json:"device_classes"`
		StateClasses  []string       `json:"state_classes"`
	}
	BinarySensor struct {
		DeviceClasses []string `json:"device_classes"`
	} `json:"binary_sensor"`
}

type keys struct {
	Keys map[string]struct{ Required bool }
}

func (k keys) hold(t *testing.T, where string, object map[string]any) {
	t.Helper()
	for key := range object {
		if _, ok := k.Keys[key]; !ok {
			t.Errorf("%s: Home Assistant knows no %q", where, key)
		}
	}
}

func TestEveryKeyIsHomeAssistants(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "shared", "ha", "vocabulary.json"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: CI needs it", err)
		}
		t.Skipf("not here: %v", err)
	}
	var v vocabulary
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	all := []Device{Bridge(topics, "0.1.0", operation)}
	for _, m := range meters {
		all = append(all, Devices(topics, m)...)
	}
	for _, d := range all {
		v.check(t, d)
	}
}

func (v vocabulary) check(t *testing.T, d Device) {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal(d.Payload, &p); err != nil {
		t.Fatal(err)
	}
	v.MQTT.Payload.hold(t, d.ID, p)
	v.MQTT.Device.hold(t, d.ID+" device", p["device"].(map[string]any))
	v.MQTT.Origin.hold(t, d.ID+" origin", p["origin"].(map[string]any))
	if mode, ok := p["availability_mode"].(string); ok && !slices.Contains(v.MQTT.Modes, mode) {
		t.Errorf("%s: no mode %s", d.ID, mode)
	}
	for key, raw := range p["components"].(map[string]any) {
		c := raw.(map[string]any)
		platform := c["platform"].(string)
		known, ok := v.MQTT.Components[platform]
		if !ok || !slices.Contains(v.MQTT.Supported, platform) {
			t.Errorf("%s: no platform %s", key, platform)
			continue
		}
		delete(c, "platform") // stands outside the platform's own keys
		known.hold(t, d.ID+" "+key, c)
		takes := slices.Contains([]string{"number", "select", "switch", "text", "button"}, platform)
		if takes != (c["command_topic"] != nil) || takes && c["entity_category"] != "config" {
			t.Errorf("%s: %v lacks what a control needs, or is none", d.ID, c)
		}
		if platform == "number" && (c["min"] == nil || c["max"] == nil || c["step"] == nil) {
			t.Errorf("%s: %s has no limits: Home Assistant takes 0 to 100", d.ID, key)
		}
		if c["unique_id"] == "" || platform != "button" && c["state_topic"] == nil && p["state_topic"] == nil {
			t.Errorf("%s: %v lacks what is required", d.ID, c)
		}
		if s, ok := c["state_class"].(string); ok && !slices.Contains(v.Sensor.StateClasses, s) {
			t.Errorf("%s: no state class %s", key, s)
		}
		if class, ok := c["device_class"].(string); ok {
			_, known := v.Sensor.DeviceClasses[class]
			if platform == "binary_sensor" {
				known = slices.Contains(v.BinarySensor.DeviceClasses, class)
			}
			if !known {
				t.Errorf("%s: no device class %s", key, class)
			}
		}
	}
}

// ours is how many entities a meter's own device has besides its quantities.
const ours = 7

func FuzzDevices(f *testing.F) {
	f.Add("meter2mqtt", "Label", "it's {{ a }}", "name", "kWh", uint8(0), uint8(0))
	f.Add("a/b", "", "1-0:1.8.0#2", "", "", uint8(1), uint8(2))
	f.Add("\xff", "\x00", "volume@s1t2u1fmax\n", "volume", "m³", uint8(3), uint8(1))
	f.Fuzz(func(t *testing.T, base, label, key, name, unit string, channel, kind uint8) {
		q := drivers.Quantity{Key: key, Name: name, Unit: obis.Unit(unit), Channel: channel, Kind: drivers.Kind(kind % 4)}
		m := Meter{Name: "x", Label: label, Quantities: []drivers.Quantity{q}}
		for _, d := range Devices(Topics{Base: base, Prefix: "homeassistant"}, m) {
			if !json.Valid(d.Payload) {
				t.Fatalf("no JSON: %q", d.Payload)
			}
			for _, c := range decoded(t, d).Components {
				if c.Platform == "event" {
					continue // it has no template
				}
				body := strings.TrimSuffix(strings.TrimPrefix(c.Template, "{{ "), " }}")
				if strings.Contains(body, "}}") || strings.Contains(body, "{{") || strings.Count(body, "'") != 2 {
					t.Fatalf("%q breaks the template %q", key, c.Template)
				}
			}
		}
	})
}

func BenchmarkDevices(b *testing.B) {
	m := meters["dsmr5-with-gas"]
	b.ReportAllocs()
	for b.Loop() {
		if len(Devices(topics, m)) != 2 {
			b.Fatal("not two devices")
		}
	}
}

var operation = Operation{LogLevels: []string{"debug", "info"}, Lines: []string{"main"}}
