package mbus

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// sent is a frame in hex, as a master would send it.
func sent(t *testing.T, f Frame, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ToUpper(hex.EncodeToString(b))
}

func TestRequestsAreAsTheStandardPrintsThem(t *testing.T) {
	kamstrup, err := ParseAddress("0102030424400104")
	if err != nil {
		t.Fatal(err)
	}
	wild, err := ParseAddress("1635FFFF")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		want string
		make func() (Frame, error)
	}{
		{"link reset", "1040FD3D16", func() (Frame, error) { return LinkReset(Selected), nil }},
		{"data of address 1", "105B015C16", func() (Frame, error) { return RequestData(1, false), nil }},
		{"data with the count bit", "107B017C16", func() (Frame, error) { return RequestData(1, true), nil }},
		{"alarm", "105A055F16", func() (Frame, error) { return RequestAlarm(5, false), nil }},
		{"primary address 8, to everyone", "6806066853FE51017A082516", func() (Frame, error) { return SetPrimary(Everyone, false, 8) }},
		{"application reset with a subcode", "6804046853FE5010B116", func() (Frame, error) { return Reset(Everyone, false, 0x10), nil }},
		{"application reset", "6803036853FE50A116", func() (Frame, error) { return Reset(Everyone, false, -1), nil }},
		{
			"full secondary address", "680D0D6853FE5107790403020124400104" + "9516",
			func() (Frame, error) {
				return Send(Everyone, false, DataRecord{Field: 7, VIB: []byte{0x79}, Data: kamstrup.append(nil)})
			},
		},
		{"baud rate 9600", "680303685301BD1116", func() (Frame, error) { return SwitchBaud(1, false, 9600) }},
		{"everything", "68040468730151" + "7F" + "4416", func() (Frame, error) { return ReadEverything(1, true), nil }},
		{"volume and any", "68070768530151" + "0813" + "087E" + "4616", func() (Frame, error) { return Choose(1, false, []byte{0x13}, []byte{0x7E}) }},
		{"selection with wildcards", "680B0B6873FD52FFFF3516FFFFFFFF07" + "16", func() (Frame, error) { return Select(wild, true, "") }},
		{
			"enhanced selection", "6811116873FD52FFFF3516FFFFFFFF0C787856341299" + "16",
			func() (Frame, error) { return Select(wild, true, "12345678") },
		},
		{
			"clock to the minute", "68090968530151046D128BD31220" + "16",
			func() (Frame, error) {
				f, err := Send(1, false, DataRecord{Field: 4, VIB: []byte{0x6D}, Data: AppendTypeF(nil, time.Date(2014, 2, 19, 11, 18, 0, 0, time.UTC))})
				if err == nil {
					f.Data[3] |= 0x80 // the summer bit of the printed frame
				}
				return f, err
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := c.make()
			got := sent(t, f, err)
			if got[:len(got)-4] != c.want[:len(c.want)-4] || !validFrame(t, got) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// validFrame says whether a framer takes the frame whole.
func validFrame(t *testing.T, text string) bool {
	t.Helper()
	var f Framer
	f.Feed(unhex(t, text))
	got := framesOf(&f)
	return len(got) == 1 && got[0] == text
}

func TestEncodersRefuseWhatDoesNotFit(t *testing.T) {
	volume := []byte{0x13}
	for name, err := range map[string]error{
		"primary address 251":       second(SetPrimary(1, false, 251)),
		"baud rate 1":               second(SwitchBaud(1, false, 1)),
		"seven digits":              second(Select(Address{}, false, "1234567")),
		"storage of 42 bits":        third(&DataRecord{Record: drivers.Record{Storage: 1 << 41}, Field: 1, VIB: volume, Data: []byte{1}}),
		"data too short":            third(&DataRecord{Field: 4, VIB: volume, Data: []byte{1}}),
		"reserved LVAR":             third(&DataRecord{Field: 0xD, LVAR: 0xCA, VIB: volume}),
		"unfinished VIB":            third(&DataRecord{Field: 1, VIB: []byte{0x93}, Data: []byte{1}}),
		"two VIBs":                  third(&DataRecord{Field: 1, VIB: []byte{0x13, 0x13}, Data: []byte{1}}),
		"special function":          third(&DataRecord{Field: 0xF, VIB: volume}),
		"300 in a byte":             new(DataRecord).SetInt(300, 1),
		"5 bytes":                   new(DataRecord).SetInt(1, 5),
		"three digits in two":       new(DataRecord).SetBCD(100, 1),
		"a minus takes a digit":     new(DataRecord).SetBCD(-10, 1),
		"the smallest integer":      new(DataRecord).SetBCD(math.MinInt64, 6),
		"no ISO 8859-1":             new(DataRecord).SetText("€"),
		"a text of 192":             new(DataRecord).SetText(strings.Repeat("x", 192)),
		"tariff of 21 bits":         third(&DataRecord{Record: drivers.Record{Tariff: 1 << 20}, Field: 1, VIB: volume, Data: []byte{1}}),
		"subunit of 11 bits":        third(&DataRecord{Record: drivers.Record{Subunit: 1 << 10}, Field: 1, VIB: volume, Data: []byte{1}}),
		"a fifth function":          third(&DataRecord{Record: drivers.Record{Function: drivers.DuringError + 1}, Field: 1, VIB: volume, Data: []byte{1}}),
		"no byte":                   new(DataRecord).SetInt(0, 0),
		"nine bytes":                new(DataRecord).SetInt(0, 9),
		"BCD of no byte":            new(DataRecord).SetBCD(0, 0),
		"BCD of seven bytes":        new(DataRecord).SetBCD(0, 7),
		"a long frame of 253 bytes": second((&Frame{Kind: Long, Data: make([]byte, 253)}).AppendTo(nil)),
		"a long frame without data": second((&Frame{Kind: Long}).AppendTo(nil)),
	} {
		if !errors.Is(err, ErrEncode) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEncodersTakeWhatJustFits(t *testing.T) {
	volume := []byte{0x13}
	for name, err := range map[string]error{
		"the widest coordinates":    third(&DataRecord{Record: drivers.Record{Storage: 1<<41 - 1, Tariff: 1<<20 - 1, Subunit: 1<<10 - 1, Function: drivers.DuringError}, Field: 1, VIB: volume, Data: []byte{1}}),
		"one byte":                  new(DataRecord).SetInt(-128, 1),
		"eight bytes":               new(DataRecord).SetInt(math.MinInt64, 8),
		"BCD of one byte":           new(DataRecord).SetBCD(99, 1),
		"BCD of six bytes":          new(DataRecord).SetBCD(999_999_999_999, 6),
		"the last of ISO 8859-1":    new(DataRecord).SetText("ÿ"),
		"a text of 191":             new(DataRecord).SetText(strings.Repeat("x", 191)),
		"a long frame of 252 bytes": second((&Frame{Kind: Long, Data: make([]byte, 252)}).AppendTo(nil)),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n, want := range map[int64]string{0: "00", 9: "09", -9: "F9", 10: "10"} {
		var d DataRecord
		if err := d.SetBCD(n, 1); err != nil || hexOf(d.Data) != want {
			t.Errorf("%d in BCD: % X, %v; want %s", n, d.Data, err, want)
		}
	}
	if _, _, err := ParseRecord(nil); !errors.Is(err, drivers.ErrShort) {
		t.Errorf("a record of no byte: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func third(d *DataRecord) error {
	_, err := d.AppendTo(nil)
	return err
}

func TestAddressReadsBack(t *testing.T) {
	for in, want := range map[string]string{
		"12345678":         "12345678FFFFFFFF",
		"068558172D2C0804": "068558172D2C0804",
		"1234FFFF":         "1234FFFFFFFFFFFF",
	} {
		a, err := ParseAddress(in)
		if err != nil || a.String() != want {
			t.Errorf("%s: got %s, %v", in, a, err)
		}
	}
	for _, bad := range []string{"", "1234567", "123456789", "1234567G", "12345678123456781"} {
		if a, err := ParseAddress(bad); err == nil {
			t.Errorf("%q gave %s", bad, a)
		}
	}
}

func TestDatesReadBack(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2014, 2, 19, 15, 13, 30, 0, time.UTC),
		time.Date(2000, 2, 29, 0, 0, 0, 0, time.UTC),
		time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(2080, 1, 1, 12, 0, 1, 0, time.UTC),
	} {
		day := at.Truncate(24 * time.Hour)
		for _, c := range []struct {
			data []byte
			want time.Time
		}{
			{AppendTypeG(nil, at), day},
			{AppendTypeF(nil, at), at.Truncate(time.Minute)},
			{AppendTypeI(nil, at), at},
		} {
			got, ok := stampOf(c.data, nil)
			if !ok || !got.Wall.Equal(c.want) || got.Zoned {
				t.Errorf("% X: got %s, %t, want %s", c.data, got, ok, c.want)
			}
		}
		if got, ok := appendTypeJ(nil, appendJ(nil, at)); !ok || string(got) != at.Format("15:04:05") {
			t.Errorf("time of day: got %s, %t", got, ok)
		}
	}
	late := time.Date(2199, 6, 1, 1, 2, 0, 0, time.UTC)
	if got, ok := stampOf(AppendTypeF(nil, late), nil); !ok || !got.Wall.Equal(late) {
		t.Errorf("type F of 2199: got %s, %t", got, ok)
	}
}

func TestTextsAndRealsReadBack(t *testing.T) {
	text, number := DataRecord{VIB: []byte{0xFD, 0x0B}}, DataRecord{VIB: []byte{0x13}}
	if err := text.SetText("Zähler 1"); err != nil {
		t.Fatal(err)
	}
	number.SetReal(-1.25)
	f, err := Send(1, false, text, number)
	if err != nil {
		t.Fatal(err)
	}
	var a application
	var r drivers.Reading
	if _, at, f := a.records(&r, 0, f.Data); f != nil {
		t.Fatalf("%s at byte %d", f.field, at)
	}
	if got := names(&r); got != `parameter_set="Zähler 1" volume=-0.00125` {
		t.Errorf("got %s", got)
	}
}

func TestManufacturerLettersReadBack(t *testing.T) {
	for _, letters := range []string{"KAM", "AAA", "ZZZ", "ABB"} {
		word, ok := ManufacturerWord(letters)
		if !ok || manufacturer(word) != letters {
			t.Errorf("%s became %04X and %s", letters, word, manufacturer(word))
		}
	}
	for _, bad := range []string{"", "KA", "kam", "KAMS", "K4M"} {
		if word, ok := ManufacturerWord(bad); ok {
			t.Errorf("%q became %04X", bad, word)
		}
	}
}

// DataRecord, encoded and parsed, is what it was, and parsed and encoded too where
// its DIFE were as few as possible.
func FuzzRecord(f *testing.F) {
	f.Add(unhex(f, "0C0678563412"))
	f.Add(unhex(f, "8FFF"))
	f.Add(unhex(f, "84C0400612345678"))
	f.Add(unhex(f, "0DFD0B053132484657"))
	f.Add(unhex(f, "02FC034852257422150000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, n, err := ParseRecord(b)
		if err != nil {
			return
		}
		once, err := d.AppendTo(nil)
		if err != nil {
			t.Fatalf("% X was read but cannot be sent: %v", b[:n], err)
		}
		again, m, err := ParseRecord(once)
		if err != nil || m != len(once) {
			t.Fatalf("% X does not read back: %v", once, err)
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Fatal(diff)
		}
		if len(once) == n && !bytes.Equal(once, b[:n]) {
			t.Fatalf("% X became % X", b[:n], once)
		}
	})
}

// A number, encoded in any of the codings that hold it, is decoded to itself.
func FuzzNumber(f *testing.F) {
	f.Add(int64(12345), uint8(4), uint64(0), uint32(0), uint16(0))
	f.Add(int64(-999), uint8(2), uint64(33), uint32(9), uint16(3))
	f.Add(int64(math.MinInt64), uint8(8), uint64(1), uint32(1), uint16(0))
	f.Fuzz(func(t *testing.T, n int64, size uint8, storage uint64, tariff uint32, subunit uint16) {
		d := DataRecord{
			Record: drivers.Record{Storage: storage & maxStorage, Tariff: tariff & maxTariff, Subunit: subunit & maxSubunit},
			VIB:    []byte{0x13},
		}
		for _, set := range []func(int64, int) error{d.SetInt, d.SetBCD} {
			if set(n, int(size)) != nil {
				continue
			}
			b, err := d.AppendTo(nil)
			if err != nil {
				t.Fatal(err)
			}
			var a application
			var r drivers.Reading
			if _, at, f := a.records(&r, 0, b); f != nil {
				t.Fatalf("% X: %s at byte %d", b, f.field, at)
			}
			want := drivers.NewDecimal(n, -3)
			if len(r.Values) != 1 || !r.Values[0].Number.Equal(want) || *r.Values[0].Record != d.Record {
				t.Fatalf("%d as % X became %+v", n, b, r.Values)
			}
		}
	})
}
