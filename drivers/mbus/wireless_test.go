package mbus

import (
	"errors"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// wireless is a decoder with a key ("": none) for all meters.
func wireless(t testing.TB, key string) *WirelessDecoder {
	t.Helper()
	d, err := NewWirelessDecoder(&WirelessConfig{Key: drivers.NewSecret(key)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDecodeWirelessCorpus(t *testing.T) {
	for _, c := range corpus(t, "wmbus", false) {
		t.Run(c.Name, func(t *testing.T) {
			key := c.Key
			if strings.Contains(c.Encryption, "already plain") {
				key = "" // a test vector: its header says encrypted, its payload is not
			}
			all := decode(t, wireless(t, key), c.lines...)
			switch {
			case c.Encrypted:
				if len(all.readings) != 0 || len(all.lost) != 1 || !errors.Is(&all.lost[0], drivers.ErrAuth) {
					t.Errorf("an encrypted telegram gave %+v", all)
				}
			case c.Compact != nil && len(c.Records) == 0:
				if len(all.readings) != 0 || len(all.lost) != 0 {
					t.Errorf("a compact frame of unknown format gave %+v", all)
				}
			default:
				all.expectOne(t, &c)
			}
		})
	}
}

func TestBadWirelessCorpusGivesNoReading(t *testing.T) {
	for _, c := range corpus(t, "wmbus", true) {
		t.Run(c.Name, func(t *testing.T) {
			all := decode(t, wireless(t, c.Key), c.lines...)
			if len(all.readings) != 0 {
				t.Fatalf("gave %s", all.readings[0].AppendJSON(nil))
			}
			if len(c.lines) > 0 && len(all.lost) == 0 {
				t.Fatal("was passed over without a word")
			}
			for _, f := range all.lost {
				if f.Offset != c.Offset && f.Field != "frame" { // one that is too short is wrong at its end
					t.Errorf("%v, want byte %d: %s", &f, c.Offset, c.Reason)
				}
			}
		})
	}
}

// volumeTelegram is the example of EN 13757-4: 876.543 m³, in frame format B.
const volumeTelegram = "1444AE0C7856341201078C2027780B134365877AC5"

// stripped is a telegram of a heat meter without CRCs, long enough for two blocks
// of either format.
func stripped(t testing.TB) []byte {
	t.Helper()
	head := unhex(t, "4424237856341201047A01000000")
	for range 20 {
		head = append(head, unhex(t, "0406E8030000")...)
	}
	return append([]byte{byte(len(head))}, head...)
}

// hexOf is what a receiver prints.
func hexOf(b []byte) string { return string(appendHex(nil, b)) }

func TestReceiversMayAddCRCsOrTakeThemOff(t *testing.T) {
	plain := stripped(t)
	formA := AppendFormatA(nil, plain)
	formB, err := formatB(plain)
	if err != nil {
		t.Fatal(err)
	}
	want := decode(t, wireless(t, ""), plain).readings
	if len(want) != 1 || len(want[0].Values) != 21 || want[0].Check != drivers.CheckNone {
		t.Fatalf("got %+v", want)
	}
	for _, c := range []struct {
		name  string
		input []byte
		check drivers.Check
		count int
	}{
		{"format A", formA, drivers.CheckCRC16, 1},
		{"format B", formB, drivers.CheckCRC16, 1},
		{"one after the other", append(append([]byte(nil), formA...), formB...), drivers.CheckCRC16, 2},
		{"noise between", append(append(append([]byte{0, 0xFF}, formA...), 0x01, 0x44), formB...), drivers.CheckCRC16, 2},
		{"lines of hex", []byte(hexOf(plain) + "\n" + hexOf(plain) + "\r\n"), drivers.CheckNone, 2},
		{"lines of hex, lower case, format A", []byte(strings.ToLower(hexOf(formA)) + "\n"), drivers.CheckCRC16, 1},
		{"a line without its end", []byte(hexOf(plain)), drivers.CheckNone, 1},
		{"lines of a receiver for radio sticks", []byte("T1;1;1;2019-04-03 19:00:42.000;97;148;12345678;0x" + strings.ToLower(hexOf(plain)) + "\n"), drivers.CheckNone, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{len(c.input), 1, 7} {
				all := decode(t, wireless(t, ""), chunksOf(c.input, size)...)
				if len(all.readings) != c.count || len(all.lost) != 0 {
					t.Fatalf("in pieces of %d: %+v", size, all)
				}
				for _, r := range all.readings {
					if r.Check != c.check {
						t.Errorf("check %s, want %s", r.Check, c.check)
					}
					r.Check = want[0].Check
					equalReadings(t, c.name, want, []drivers.Reading{r})
				}
			}
		})
	}
}

func chunksOf(b []byte, size int) (all [][]byte) {
	for len(b) > 0 {
		n := min(size, len(b))
		all = append(all, b[:n])
		b = b[n:]
	}
	return all
}

func TestAfterTelegramsWithCRCsOneWithoutIsDamaged(t *testing.T) {
	good := unhex(t, volumeTelegram)
	damaged := append([]byte(nil), good...)
	damaged[16] ^= 1
	all := decode(t, wireless(t, ""), good, damaged, good)
	if len(all.readings) != 2 || len(all.lost) != 1 || !errors.Is(&all.lost[0], drivers.ErrChecksum) {
		t.Errorf("got %+v", all)
	}
}

func TestAKeyAndTelegramsThatAreNotEncrypted(t *testing.T) {
	const key = "28F64A24988064A079AA2C807D6102AE"
	for name, telegram := range map[string]string{
		"no encryption at all":            volumeTelegram,
		"a header that says so":           hexOf(stripped(t)),
		"an extended link layer in plain": "2E442D2C6767676730048D2039D1684020BCDB7803062C000043060000000314630000426C7F2A022D130001FF2100",
	} {
		t.Run(name, func(t *testing.T) {
			if all := decode(t, wireless(t, ""), unhex(t, telegram)); len(all.readings) != 1 {
				t.Errorf("without a key: %+v", all)
			}
			all := decode(t, wireless(t, key), unhex(t, telegram))
			if len(all.readings) != 0 || len(all.lost) != 1 || !errors.Is(&all.lost[0], drivers.ErrAuth) {
				t.Errorf("with a key: %+v", all)
			}
		})
	}
}

func TestNoErrorShowsTheKey(t *testing.T) {
	const key = "0102030405060708090A0B0C0D0E0F10"
	for _, c := range corpus(t, "wmbus", false) {
		for _, f := range decode(t, wireless(t, key), c.lines...).lost {
			if text := f.Error() + f.Hint; strings.Contains(strings.ToUpper(text), key[:8]) {
				t.Errorf("%s: %s", c.Name, text)
			}
		}
	}
	for _, bad := range []string{"12", key + "00", "x" + key[1:]} {
		c := WirelessConfig{Key: drivers.NewSecret(bad)}
		if err := c.Validate(); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("a bad key: %v", err)
		}
	}
}

func TestOnlyTheConfiguredMeterIsRead(t *testing.T) {
	input := unhex(t, volumeTelegram)
	for id, want := range map[string]int{
		"":                 1,
		"12345678":         1,
		"1234567F":         1,
		"12345678AE0C0107": 1,
		"12345678AE0CFFFF": 1,
		"12345679":         0,
		"12345678AE0C0108": 0,
	} {
		d, err := NewWirelessDecoder(&WirelessConfig{ID: id}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if all := decode(t, d, input); len(all.readings) != want || len(all.lost) != 0 {
			t.Errorf("id %q: %+v", id, all)
		}
	}
	if err := (&WirelessConfig{ID: "1234"}).Validate(); err == nil {
		t.Error("an id of four digits was taken")
	}
}

// What is damaged behind a header that a CRC vouches for is of the meter that the
// header names; else it may be of any meter that the receiver hears.
func TestADamagedTelegramIsOfTheMeterThatIsCertain(t *testing.T) {
	plain := stripped(t) // of 12345678
	formA := AppendFormatA(nil, plain)
	formB, err := formatB(plain)
	if err != nil {
		t.Fatal(err)
	}
	good := unhex(t, volumeTelegram)
	damage := func(b []byte, at int) []byte {
		b = append([]byte(nil), b...)
		b[at] ^= 1
		return b
	}
	for _, c := range []struct {
		name, id string
		input    []byte
		lost     int
		stray    bool
	}{
		{"behind the header, its own", "12345678", damage(formA, 20), 1, false},
		{"behind the header, another's", "11111111", damage(formA, 20), 0, false},
		{"cut behind the header, its own", "12345678", formA[:40], 1, false},
		{"cut behind the header, another's", "11111111", formA[:40], 0, false},
		{"in the second block of format B, its own", "12345678", damage(formB, 130), 1, false},
		{"in the second block of format B, another's", "11111111", damage(formB, 130), 0, false},
		{"in the header", "12345678", damage(formA, 5), 1, true},
		{"in the header, for a part of an id", "1234567F", damage(formA, 5), 1, true},
		{"in the first block of format B", "12345678", damage(formB, 20), 1, true},
		{"in the header, where every meter is read", "", damage(formA, 5), 1, false},
		{"cut in a line of hex, its own", "12345678", []byte(hexOf(formA[:40]) + "\n"), 1, false},
		{"cut in a line of hex, another's", "11111111", []byte(hexOf(formA[:40]) + "\n"), 0, false},
		{"a line of hex that is no telegram", "12345678", []byte(hexOf(damage(plain, 0)) + "\n"), 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := NewWirelessDecoder(&WirelessConfig{ID: c.id}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.input[0] == plain[0] || c.input[0] == formB[0] {
				decode(t, d, good) // from here on a telegram without CRCs is a damaged one
			}
			all := decode(t, d, c.input)
			if len(all.readings) != 0 || len(all.lost) != c.lost {
				t.Fatalf("got %+v, want %d lost", all, c.lost)
			}
			for _, f := range all.lost {
				if f.Stray != c.stray {
					t.Errorf("%v: stray %v, want %v", &f, f.Stray, c.stray)
				}
			}
		})
	}
}

func TestOtherMetersAreToldOnce(t *testing.T) {
	d, err := NewWirelessDecoder(&WirelessConfig{ID: "00000000"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if all := decode(t, d, unhex(t, volumeTelegram)); len(all.readings)+len(all.lost) != 0 {
			t.Errorf("another meter's telegram gave %+v", all)
		}
	}
	id, told := d.Overheard()
	if !told || id.ID != "12345678" || id.Driver != "wmbus" || id.Manufacturer == "" {
		t.Errorf("%+v, %v", id, told)
	}
	if id, again := d.Overheard(); again {
		t.Errorf("told again: %+v", id)
	}
}

func TestMetersShareAReceiverByTheirIDs(t *testing.T) {
	for _, c := range []struct {
		a, b string
		can  bool
	}{{"12345678", "12345679", true}, {"12345678", "12345678", false}, {"1234567f", "1234567F", false}, {"", "12345678", false}, {"12345678", "", false}} {
		if err := Wireless.Shares(&WirelessConfig{ID: c.a}, &WirelessConfig{ID: c.b}); (err == nil) != c.can {
			t.Errorf("%q and %q: %v", c.a, c.b, err)
		}
	}
	if Wireless.Shares(&WirelessConfig{ID: "1"}, newConfig()) == nil {
		t.Error("a wired meter shares a radio receiver")
	}
}

// A message under mode 7 that was changed anywhere fails its MAC.
func TestAChangedMessageFailsItsMAC(t *testing.T) {
	for _, c := range corpus(t, "wmbus", false) {
		if c.Name != "wmbus-cipher-mode7" {
			continue
		}
		all := decode(t, wireless(t, c.Key), c.lines...)
		if len(all.readings) != 1 || all.readings[0].Check != drivers.CheckTag {
			t.Fatalf("got %+v", all)
		}
		plain, _, err := (&receiver{}).strip(c.lines[0], drivers.CheckNone)
		if err != nil {
			t.Fatal(err)
		}
		plain[0] = byte(len(plain) - 1)
		for _, at := range []int{25, 30, 40, 100, len(plain) - 1} { // MAC, header, payload, plain rest
			changed := append([]byte(nil), plain...)
			changed[at] ^= 0x04
			if all := decode(t, wireless(t, c.Key), changed); len(all.readings) != 0 {
				t.Errorf("changed at %d it gave %s", at, names(&all.readings[0]))
			}
		}
		return
	}
	t.Error("the case is gone")
}

// The examples of RFC 4493, section 4.
func TestCMAC(t *testing.T) {
	k, err := newKeys(unhex(t, "2b7e151628aed2a6abf7158809cf4f3c"))
	if err != nil {
		t.Fatal(err)
	}
	message := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for n, want := range map[int]string{
		0:  "BB1D6929E95937287FA37D129B756746",
		16: "070A16B46B4D4144F79BDD9DD04A287C",
		40: "DFA66747DE9AE63030CA32611497C827",
		64: "51F0BEBF7E3B9D92FC49741779363CFE",
	} {
		sum := cmac(k.block, message[:n])
		if got := hexOf(sum[:]); got != want {
			t.Errorf("%d bytes: got %s, want %s", n, got, want)
		}
	}
}

func TestASteadyWirelessMeterCostsNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates on its own")
	}
	for _, c := range corpus(t, "wmbus", false) {
		switch c.Name {
		case "wmbus-cipher-ctr-full", "wmbus-cipher-ctr-compact", "wmbus-aventieswm-1", "wmbus-issue-en13757-4-example", "wmbus-issue-kamstrup-no-key":
		default:
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			d := wireless(t, c.Key)
			var r drivers.Reading
			run := func() {
				for _, line := range c.lines {
					d.Feed(line)
					drain(d, &r)
				}
			}
			for range 3 {
				run()
			}
			if n := testing.AllocsPerRun(50, run); n != 0 {
				t.Errorf("%g allocations", n)
			}
		})
	}
}
