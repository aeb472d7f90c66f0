package hdlc

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// Elements that have no value, or a form of their own.
func TestElementsThatGiveLittle(t *testing.T) {
	for _, tt := range []struct {
		name, header, body, want string
		layout, scale            []string
	}{
		{name: "a body of one number", header: noTime, body: "06 00000005", want: "item-0 5\n"},
		{name: "a text without letters", header: noTime, body: "01 02 02 02 09 06 0100600100FF 0A 00 02 02 09 06 0100010700FF 06 00000005", want: "1-0:1.7.0 5 W\n"},
		{name: "a clock of another length", header: noTime, body: "01 02 02 02 09 06 0000010000FF 09 04 07EA0101 02 02 09 06 0100010700FF 06 00000005", want: "1-0:1.7.0 5 W\n"},
		{name: "a clock without a date", header: noTime, body: "01 02 02 02 09 06 0000010000FF 09 0C FFFFFFFFFFFFFFFFFF800000 02 02 09 06 0100010700FF 06 00000005", want: "1-0:1.7.0 5 W\n"},
		{
			name: "a clock that is not the meter's own", header: noTime,
			body: "01 02 02 02 09 06 0000620100FF 19 07EA011F060D0000FFFFC400 02 02 09 06 0100010700FF 06 00000005",
			want: "0-0:98.1.0 \"2026-01-31T13:00:00+01:00\"\n1-0:1.7.0 5 W\n",
		},
		{name: "a number among pairs", header: noTime, body: "02 03 06 00000005 09 06 0100010700FF 06 00000006", want: "item-0 5\n1-0:1.7.0 6 W\n"},
		{name: "a float that is no number", header: noTime, body: "02 02 17 7FC00000 06 00000005", want: "item-1 5\n"},
		{name: "a coded float that is no number", header: noTime, body: "01 02 02 02 09 06 0100010700FF 17 7FC00000 02 02 09 06 0100020700FF 06 00000005", want: "1-0:2.7.0 5 W\n"},
		{name: "a text where the configuration wants a number", header: noTime, layout: []string{"1-0:1.7.0 10 W", "1-0:2.7.0 10 W"}, body: "02 02 0A 01 31 06 00000005", want: "1-0:2.7.0 50 W\n"},
		{name: "a product of too many digits", header: noTime, layout: []string{"1-0:1.7.0 1.23456789012345678901234567 W", "1-0:2.7.0 10 W"}, body: "02 02 15 FFFFFFFFFFFFFFFF 06 00000005", want: "1-0:2.7.0 50 W\n"},
		{
			name: "a list whose first element lists no objects", header: noTime,
			body: "02 03 01 01 02 04 06 00000028 09 06 0100010700FF 0F 02 12 0000 06 00000005 06 00000006",
			want: "item-1 5\nitem-2 6\n",
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

func TestBodiesWithoutAValueAreRefused(t *testing.T) {
	for name, body := range map[string]string{"an empty list": "01 00", "a null": "00 00", "a list of nulls": "02 02 00 00"} {
		if r, err := readBody(t, defaults(), drivers.Zones{}, noTime, body); !errors.Is(err, errNothing) || drivers.Hint(err) == "" {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	if r, err := readBody(t, defaults(), drivers.Zones{}, "0F 40000000 0C 07EA", ""); !errors.Is(err, drivers.ErrShort) {
		t.Errorf("a header that is cut: %v, %v", r, err)
	}
}

// Who the meter is, by the codes that tell: a better one takes the place of a worse.
func TestAMeterIsKnownByTheBestOfItsNumbers(t *testing.T) {
	text := func(code, value string) string { return "02 02 09 06 " + code + " 0A 02 " + value }
	for _, tt := range []struct{ name, body, want string }{
		{"logical name", "01 02" + text("0100000000FF", "4132") + text("0100000001FF", "4131"), "A2"},
		{"its number", "01 02" + text("0100000000FF", "4132") + text("0100600100FF", "4133"), "A3"},
		{"its number came first", "01 02" + text("0100600100FF", "4133") + text("0100000000FF", "4132"), "A3"},
		{"device number", "01 02" + text("0000600103FF", "4135") + text("0000600102FF", "4134"), "A5"},
		{"of a channel", "01 02" + text("0001600100FF", "4136") + text("0100000001FF", "4131"), "A1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := readBody(t, defaults(), drivers.Zones{}, noTime, tt.body)
			if err != nil || r.Meter.ID != tt.want {
				t.Errorf("%v, %v; want %s", r, err, tt.want)
			}
		})
	}
}

func TestATextIsKeptHoweverLong(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	p, err := newPush(defaults(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.text([]byte(long)); got != long || len(p.texts) != 0 {
		t.Errorf("%d characters, %d remembered", len(got), len(p.texts))
	}
	if got := p.text([]byte(long[:maxText])); got != long[:maxText] || len(p.texts) != 1 {
		t.Errorf("%d characters, %d remembered", len(got), len(p.texts))
	}
}

func TestOffsetsOfAClock(t *testing.T) {
	wall := time.Date(2026, 1, 31, 13, 0, 0, 0, time.UTC)
	clock := dlms.DateTime{Year: 2026, Month: 1, Day: 31, Hour: 13}
	for _, tt := range []struct {
		name      string
		deviation int16
		zones     drivers.Zones
		want      string
	}{
		{"none", 0, drivers.Zones{}, "2026-01-31T13:00:00Z"},
		{"an hour ahead", -60, drivers.Zones{}, "2026-01-31T13:00:00+01:00"},
		{"behind", 300, drivers.Zones{}, "2026-01-31T13:00:00-05:00"},
		{"as far as may be", 840, drivers.Zones{}, "2026-01-31T13:00:00-14:00"},
		{"as far ahead as may be", -840, drivers.Zones{}, "2026-01-31T13:00:00+14:00"},
		{"farther ahead", -841, drivers.Zones{}, "2026-01-31T13:00:00"},
		{"farther", 841, drivers.Zones{}, "2026-01-31T13:00:00"},
		{"with the other sign", 60, drivers.Zones{Meter: time.FixedZone("", 3600)}, "2026-01-31T13:00:00+01:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClock("", tt.zones)
			d := clock
			d.Deviation = tt.deviation
			if got := c.stamp(d, maker{}).String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	if got := inZone(wall, nil).String(); got != "2026-01-31T13:00:00" {
		t.Errorf("without a zone it is %s", got)
	}
}

// What a telegram in pieces may lack, and what is said of it.
func TestPiecesThatDoNotFit(t *testing.T) {
	apdu := madeAPDU()
	llc := []byte{0xE6, 0xE7, 0}
	long := func(number int, last bool, data []byte) []byte { return appendLong(nil, number, last, data) }
	other := long(0, true, apdu)
	other[6], other[len(other)-2] = 0x72, other[len(other)-2]+0x72-other[6]
	whole := bytes.Repeat([]byte{1}, 2000)
	var endless []byte
	for range dlms.MaxAPDU/2000 + 2 {
		endless = appendFrame(endless, madePath, whole, true)
	}
	for _, tt := range []struct {
		name   string
		stream []byte
		says   string
	}{
		{"a frame without content", appendFrame(nil, madePath, nil, false), "information field"},
		{"a frame without LLC header", appendFrame(nil, madePath, apdu, false), "LLC header"},
		{"a last segment without a first", append(appendFrame(nil, madePath, apdu[:20], true), appendFrame(nil, madePath, apdu[20:], false)...), "a segment before it is missing"},
		{"a block and more", appendFrame(nil, madePath, append(appendBlock(llc, 1, true, apdu), 0), false), "block at byte"},
		{"M-Bus of another kind", other, "CI-field"},
		{"a long frame that is not the first", long(1, true, apdu), "a segment before it is missing"},
		{"a long frame left out", append(long(0, false, apdu[:20]), long(2, true, apdu[20:])...), "a segment before it is missing"},
		{"no APDU that meters push", AppendHDLC(nil, madePath, []byte{0xC4, 1, 0x81, 0}, maxLength), "an APDU that no meter pushes"},
		{"segments without an end", append(appendFrame(nil, madePath, append(bytes.Clone(llc), apdu...), true), endless...), drivers.ErrLong.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			good := AppendHDLC(nil, madePath, madeAPDU(), maxLength)
			o := decode(t, defaults(), tt.stream, good)
			if len(o.whole) != 1 || !strings.Contains(strings.Join(o.lost, "\n"), tt.says) {
				t.Errorf("%d readings, lost %q; want the good telegram behind it, and %q", len(o.whole), o.lost, tt.says)
			}
		})
	}
}

// Octet stuffing: 7D takes the sixth bit out of the next byte, 7D 7E throws away what
// came, and no frame may be longer than any.
func TestStuffedFramesThatAreNone(t *testing.T) {
	plain := AppendHDLC(nil, madePath, madeAPDU(), maxLength)
	stuffed := []byte{flag}
	for _, c := range plain[1 : len(plain)-1] {
		if c == flag || c == escape {
			stuffed = append(stuffed, escape, c^escapeXor)
			continue
		}
		stuffed = append(stuffed, c)
	}
	stuffed = append(stuffed, flag)
	for _, tt := range []struct {
		name   string
		before []byte
	}{
		{"nothing", nil},
		{"one that was thrown away", append(bytes.Clone(stuffed[:20]), escape, flag)},
		{"one that is too short", []byte{flag, 0xA0, 0x03, flag}},
		{"one that says it is longer", append([]byte{flag, 0xA7, 0xFF, 0x41, 0x08, 0x83, 0x13, 0, 0}, flag)},
		{"one without an end", append([]byte{flag, 0xA0}, make([]byte, 3000)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := defaults()
			c.Stuffing = true
			o := decode(t, c, tt.before, stuffed, stuffed)
			if len(o.whole) != 2 {
				t.Errorf("%d readings, lost %q", len(o.whole), o.lost)
			}
		})
	}
}

// Where a frame that is lost was found to be wrong, from its own beginning.
func TestADamagedFrameIsLostWhereItIsWrong(t *testing.T) {
	frames := framings(t)
	spoiled := func(framing string, fromEnd int) []byte {
		b := bytes.Clone(frames[framing])
		b[len(b)-fromEnd] ^= 0x81
		return b
	}
	long, short := len(frames["hdlc"]), len(frames["m-bus"])
	for _, tt := range []struct {
		name   string
		stream []byte
		field  string
		offset int
	}{
		{"another byte for the closing flag", spoiled("hdlc", 1), "closing flag", long - 1},
		{"a bit of the FCS", spoiled("hdlc", 2), "FCS", long - 3},
		{"a bit of the data", spoiled("hdlc", 6), "FCS", long - 3},
		{"another stop byte", spoiled("m-bus", 1), "stop byte", short - 1},
		{"a bit of the checksum", spoiled("m-bus", 2), "checksum", short - 2},
		{"a bit of the data of a long frame", spoiled("m-bus", 6), "checksum", short - 2},
	} {
		for _, before := range []string{"", "noise"} {
			_, lost := faults(t, defaults(), append([]byte(before), tt.stream...))
			if len(lost) == 0 || lost[0].Field != tt.field || lost[0].Offset != tt.offset {
				t.Errorf("%s, behind %q: lost %v, want %s at byte %d", tt.name, before, lost, tt.field, tt.offset)
			}
		}
	}
}

func TestWhatIsTextAndWhatIsALink(t *testing.T) {
	for text, want := range map[string]bool{"": true, "A ~": true, "\x7f": false, "\x1f": false, "\u00fc": true, "\xfc": false, "\xc3": false, "\x80": false} {
		if got := isText([]byte(text)); got != want {
			t.Errorf("%q is a text: %t", text, got)
		}
	}
	for text, want := range map[string]bool{"\xe6\xe7\x00": true, "\xe6\xe6\x00": true, "\xe6\xe8\x00": false, "\xe6\xe7\x01": false, "\xe7\xe7\x00": false, "\xe6\xe7": false} {
		if got := hasLLC([]byte(text)); got != want {
			t.Errorf("% X is an LLC header: %t", text, got)
		}
	}
}
