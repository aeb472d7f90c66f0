package hdlc

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// readBody reads a body in hexadecimal digits with an APDU header of its own.
func readBody(t *testing.T, c *Config, z drivers.Zones, header, body string) (*drivers.Reading, error) {
	t.Helper()
	apdu, err := hex.DecodeString(strings.ReplaceAll(header+body, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDecoder(c, z)
	if err != nil {
		t.Fatal(err)
	}
	var r drivers.Reading
	if err := d.notification(&r, apdu, dlms.Security{}, drivers.CheckCRC16); err != nil {
		return nil, err
	}
	return r.Clone(), nil
}

// brief is a reading's values, one a line.
func brief(r *drivers.Reading) string {
	var b strings.Builder
	for i := range r.Values {
		v := &r.Values[i]
		b.WriteString(keyOf(v) + " " + string(v.AppendPayload(nil)))
		if v.Unit != "" {
			b.WriteString(" " + string(v.Unit))
		}
		if !v.Time.IsZero() {
			b.WriteString(" at " + v.Time.String())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const noTime = "0F 40000000 00 "

func defaults() *Config { return Driver.NewConfig().(*Config) }

func TestPushLists(t *testing.T) {
	for _, tt := range []struct {
		name, header, body, want string
		layout, scale            []string
	}{
		{
			name: "pairs with a value that is null", header: noTime,
			body: "02 06 0A 0E 4B616D73747275705F5630303031 09 06 0101010700FF 00 09 06 0101020700FF 06 00000005 00",
			want: "1-1:0.2.129 \"Kamstrup_V0001\"\n1-1:2.7.0 5 W\n",
		},
		{
			name: "descriptors without tags", header: noTime,
			body: "01 02 02 02 0003 0100010800FF 02 06 00000005 02 02 0003 0100010700FF 02 06 00000006",
			want: "1-0:1.8.0 0.005 kWh\n1-0:1.7.0 6 W\n",
		},
		{
			name: "objects, one value fewer", header: noTime,
			body: "02 03 01 03" +
				"02 04 12 0028 09 06 0008190900FF 0F 02 12 0000" +
				"02 04 12 0003 09 06 0100200700FF 0F 02 12 0000" +
				"02 04 12 0003 09 06 01001F0700FF 0F 02 12 0000" +
				"12 0902 12 0031",
			want: "1-0:32.7.0 230.6 V\n1-0:31.7.0 0.49 A\n",
		},
		{
			name: "voltage and current of nobody knows whom are left out", header: noTime,
			body: "02 06 09 06 0100010700FF 06 00000064 09 06 0100200700FF 12 0902 09 06 01001F0700FF 12 0031",
			want: "1-0:1.7.0 100 W\n",
		},
		{
			name: "scale in the configuration", header: noTime, scale: []string{"32.7.0 0.1 V", "1.7.0 0.01 kW"},
			body: "02 06 09 06 0100010700FF 06 00000064 09 06 0100200700FF 12 0902 09 06 01001F0700FF 12 0031",
			want: "1-0:1.7.0 1000 W\n1-0:32.7.0 230.6 V\n",
		},
		{
			name: "an unknown list keeps its elements", header: noTime,
			body: "02 04 06 00000001 0A 02 6869 00 04 03 A0",
			want: "item-0 1\nitem-1 \"hi\"\nitem-3 \"101\"\n",
		},
		{
			name: "a list whose positions are configured", header: noTime, layout: []string{"1-0:1.8.0 10 Wh", "0-0:96.1.0", "-", "1-0:13.7.0 0.001 1"},
			body: "02 04 06 00000001 0A 02 6869 06 00000007 12 03E7",
			want: "1-0:1.8.0 0.010 kWh\n0-0:96.1.0 \"hi\"\n1-0:13.7.0 0.999\n",
		},
		{
			name: "an event", header: "C2 00 0003 0100010800FF 02", body: "06 00000005",
			want: "1-0:1.8.0 0.005 kWh\n",
		},
		{
			name: "floats as the meter meant them", header: noTime,
			body: "01 01 02 03 09 06 0100010800FF 17 47D5FAA0 02 02 0F 03 16 1E",
			want: "1-0:1.8.0 109557.25 kWh\n",
		},
		{
			name: "a unit that does not exist", header: noTime,
			body: "01 02 02 03 09 06 0100010800FF 06 00000001 02 02 0F 00 16 63 02 03 09 06 0100020800FF 06 00000001 02 02 0F 00 16 1E",
			want: "1-0:2.8.0 0.001 kWh\n",
		},
		{
			name: "totals belong to the clock object's hour", header: "0F 40000000 0C 07EA011F 06 0D000AFF FFC4 00",
			body: "02 06 09 06 0000010000FF 09 0C 07EA011F 06 0D0000FF FFC4 00 09 06 0100010800FF 06 00000001 09 06 0100010700FF 06 00000002",
			want: "0-0:1.0.0 \"2026-01-31T13:00:00+01:00\"\n1-0:1.8.0 0.001 kWh at 2026-01-31T13:00:00+01:00\n1-0:1.7.0 2 W\n",
		},
		{
			name: "compact array", header: noTime,
			body: "13 02 02 09 06 16 06 0100010700FF 00000001 06 0100020700FF 00000002",
			want: "1-0:1.7.0 1 W\n1-0:2.7.0 2 W\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := defaults()
			c.Layout, c.Scale = tt.layout, tt.scale
			r, err := readBody(t, c, drivers.Zones{}, tt.header, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, brief(r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMetersBehindTheMeterAreChannels(t *testing.T) {
	r, err := readBody(t, defaults(), drivers.Zones{}, noTime,
		"01 03 02 02 09 06 0001180100FF 11 03 02 02 09 06 0001600100FF 0A 02 4731 02 03 09 06 0001180201FF 06 00003039 02 02 0F FD 16 0D")
	if err != nil {
		t.Fatal(err)
	}
	want := []drivers.Channel{{Number: 1, Meter: drivers.Identity{Driver: "hdlc", ID: "G1", Medium: "gas"}}}
	if diff := cmp.Diff(want, r.Channels); diff != "" {
		t.Error(diff)
	}
	for i := range r.Values {
		if r.Values[i].Channel != 1 {
			t.Errorf("%s is of channel %d", keyOf(&r.Values[i]), r.Values[i].Channel)
		}
	}
	if r.Meter.ID != "" {
		t.Errorf("the gas meter's number became the meter's: %q", r.Meter.ID)
	}
	if v := r.Values[2]; v.Number.String() != "12.345" || v.Unit != "m³" {
		t.Errorf("gas %s %s", v.Number, v.Unit)
	}
}

func TestClocks(t *testing.T) {
	oslo, helsinki := zone(t, "Europe/Oslo"), zone(t, "Europe/Helsinki")
	const kaifaList, kamstrupList = "02 01 06 00000001", "02 03 0A 0E 4B616D73747275705F5630303031 09 06 0101010700FF 06 00000001"
	const aidonList = "01 01 02 02 09 06 0101000281FF 0A 0B 4149444F4E5F5630303031"
	const nobodys = "02 02 09 06 0100010700FF 06 00000001"
	for _, tt := range []struct {
		name, clock, body, set string
		zone                   *time.Location
		want                   string
	}{
		{"the deviation's sign is turned", "07E70719 02 0C0000FF FF88 80", nobodys, "", nil, "2023-07-25T12:00:00+02:00"},
		{"a sign that only makes sense unturned", "07E70719 02 0C0000FF 0078 80", nobodys, "", oslo, "2023-07-25T12:00:00+02:00"},
		{"standard time all year, given", "07E70719 02 0C0000FF FFC4 00", nobodys, "", oslo, "2023-07-25T12:00:00+01:00"},
		{"nobody's clock without offset", "07E70719 02 0C0000FF 8000 00", nobodys, "", nil, "2023-07-25T12:00:00"},
		{"nobody's clock in a configured zone", "07E70719 02 0C0000FF 8000 00", nobodys, "", helsinki, "2023-07-25T12:00:00+03:00"},
		{"Kamstrup keeps standard time", "07E70719 02 0C0000FF 8000 00", kamstrupList, "", nil, "2023-07-25T12:00:00+01:00"},
		{"unless it says summer", "07E70719 02 0C0000FF 8000 80", kamstrupList, "", nil, "2023-07-25T12:00:00+02:00"},
		{"in Finland", "07E70719 02 0C0000FF 8000 00", kamstrupList, "", helsinki, "2023-07-25T12:00:00+02:00"},
		{"as configured", "07E70719 02 0C0000FF 8000 00", kamstrupList, "local", nil, "2023-07-25T12:00:00+02:00"},
		{"in UTC as configured", "07E70719 02 0C0000FF 8000 00", kamstrupList, "utc", nil, "2023-07-25T12:00:00Z"},
		{"Aidon's 0 is no offset", "07E70719 02 0C0000FF 0000 00", aidonList, "", nil, "2023-07-25T12:00:00+01:00"},
		{"Kaifa shows local time", "07E70719 02 0C0000FF 8000 00", kaifaList, "", oslo, "2023-07-25T12:00:00+02:00"},
		{"the doubled hour has no offset", "07E70A1D 07 021E00FF 8000 00", kamstrupList, "local", oslo, "2023-10-29T02:30:00"},
		{"the hour that spring leaves out", "07E7031A 07 021E00FF 8000 00", kamstrupList, "local", oslo, "2023-03-26T02:30:00"},
		{"no such day", "07E7021E 07 021E00FF FFC4 00", nobodys, "", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := defaults()
			if tt.set != "" {
				c.Clock = tt.set
			}
			r, err := readBody(t, c, drivers.Zones{Meter: tt.zone}, "0F 40000000 0C "+tt.clock, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Time.String(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestAClockThatTheMeterDoubtsIsFlagged(t *testing.T) {
	r, err := readBody(t, defaults(), drivers.Zones{}, "0F 40000000 0C 07E70719 02 0C0000FF FF88 01", "02 02 09 06 0100010800FF 06 00000001")
	if err != nil {
		t.Fatal(err)
	}
	if r.Values[0].Flags != drivers.ClockDoubtful {
		t.Errorf("flags %b", r.Values[0].Flags)
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Config
		want []string
	}{
		{"defaults", *defaults(), nil},
		{"none", Config{Key: drivers.NewSecret(benchKey), AuthKey: drivers.NewSecret("none")}, nil},
		{"all wrong at once", Config{
			Key: drivers.NewSecret("123"), AuthKey: drivers.NewSecret("0x1234"), Clock: "cet", Layout: []string{"1.8.0 furlong"}, Scale: []string{"1.8.0"},
		}, []string{"key: 3 hexadecimal digits", "auth_key: 4 hexadecimal digits", "clock:", "layout: position 1: unit", "scale:"}},
		{"layout that is no code", Config{Layout: []string{"1.8.0", "power W"}}, []string{"layout: position 2: not an OBIS code"}},
		{"factor that is none", Config{Scale: []string{"1.8.0 ten Wh"}}, []string{`scale: factor "ten"`}},
		{"too many words", Config{Scale: []string{"1.8.0 1 Wh !"}}, []string{"scale:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.c.Validate()
			if (err == nil) != (len(tt.want) == 0) {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v lacks %q", err, want)
				}
			}
		})
	}
}

func TestTablesAreWhole(t *testing.T) {
	for _, l := range lists {
		if len(l.shape) != len(l.codes) {
			t.Errorf("%s: %d elements, %d codes", l.name, len(l.shape), len(l.codes))
		}
		if l.maker == nil {
			t.Errorf("%s is nobody's", l.name)
		}
	}
}
