package p1

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Keys that no meter has.
const (
	testKey      = "0F1E2D3C4B5A69788796A5B4C3D2E1F0"
	testAuthKey  = "F0E0D0C0B0A090807060504030201000"
	otherTestKey = "00000000000000000000000000000001"
)

var simTitle = dlms.Title{'S', 'I', 'M', 1, 2, 3, 4, 5}

// keyed is a configuration with keys. No authentication key stands for that of
// Luxembourg.
func keyed(key, auth string) *Config {
	return &Config{Check: checkAuto, Key: drivers.NewSecret(key), AuthKey: drivers.NewSecret(auth)}
}

// luxembourg and austria are the two ways in which a meter's keys are known.
var luxembourg, austria = keyed(testKey, ""), keyed(testKey, testAuthKey)

// cipheredBy is text as a meter with the keys of c sends it.
func cipheredBy(t testing.TB, c *Config, control byte, counter uint32, text string) []byte {
	t.Helper()
	keys, _, err := c.keys()
	if err != nil {
		t.Fatal(err)
	}
	cipher, err := dlms.NewCipher(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cipher.Seal(nil, dlms.Security{Title: simTitle, Control: control, Counter: counter}, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// polish is a telegram whose identification is sent in clear: lines are its data
// lines. There is one capture of such a telegram and none of its key, so this is
// made after what a peer takes it for. crcOf says what its CRC covers.
func polish(t testing.TB, c *Config, control byte, counter uint32, lines string, crcOf func(sent, text []byte) []byte) []byte {
	t.Helper()
	keys, _, err := c.keys()
	if err != nil {
		t.Fatal(err)
	}
	cipher, err := dlms.NewCipher(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	apdu, err := cipher.Seal(nil, dlms.Security{Control: control, Counter: counter}, []byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	const head = "/EGM5SIM\r\n\r\n"
	b := append([]byte(head+"\x00"), apdu[titleEnd:]...)
	b = append(b, '!')
	return fmt.Appendf(b, "%04X\r\n", wire.ARC.Update(0, crcOf(b, []byte(head+lines+"!"))))
}

func overSent(sent, _ []byte) []byte  { return sent }
func overClear(_, text []byte) []byte { return text }

func TestACipheredTelegramReadsAsTheClearOne(t *testing.T) {
	want := decodedBy(t, []byte(dsmr5))[0]
	unchecked := keyed(testKey, "None")
	for _, tc := range []struct {
		name    string
		config  *Config // of the listener
		meter   *Config
		control byte
		check   drivers.Check
	}{
		{"Luxembourg: only the encryption key is given", luxembourg, luxembourg, 0x30, drivers.CheckTag},
		{"Austria: both keys are given", austria, austria, 0x30, drivers.CheckTag},
		{"no tag", luxembourg, luxembourg, 0x20, drivers.CheckCRC16},
		{"no tag, both keys are given", austria, austria, 0x20, drivers.CheckCRC16},
		{"the tag is not checked", unchecked, austria, 0x30, drivers.CheckCRC16},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, lost := decodeWith(t, tc.config, cipheredBy(t, tc.meter, tc.control, 7, dsmr5))
			if len(got) != 1 || len(lost) != 0 {
				t.Fatalf("%d readings, lost %v", len(got), lost)
			}
			if got[0].Check != tc.check {
				t.Errorf("check %s, want %s", got[0].Check, tc.check)
			}
			if diff := cmp.Diff(string(want.AppendJSON(nil)), string(got[0].AppendJSON(nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryFormOfTheLengthIsRead(t *testing.T) {
	short := sealed("/TST5\n\n1-0:1.8.0(1*kWh)\n!")
	middle := sealed("/TST5\n\n1-0:1.8.0(1*kWh)\n0-0:96.13.0(" + strings.Repeat("x", 100) + ")\n!")
	for form, text := range map[byte]string{byte(17 + len(short)): short, 0x81: middle, 0x82: dsmr5} {
		b := cipheredBy(t, luxembourg, 0x30, 1, text)
		if b[10] != form {
			t.Fatalf("LEN begins with %02X, want %02X", b[10], form)
		}
		if got, lost := decodeWith(t, luxembourg, append(b, b[:3]...)); len(got) != 1 {
			t.Errorf("%02X: %d readings, lost %v", form, len(got), lost)
		}
	}
	b := cipheredBy(t, luxembourg, 0x30, 1, short)
	long := append(append(bytes.Clone(b[:10]), 0x82, 0, b[10]), b[11:]...)
	if got, lost := decodeWith(t, luxembourg, long); len(got) != 1 {
		t.Errorf("long form of a small length: %d readings, lost %v", len(got), lost)
	}
}

func TestTheFormOfPolandIsRead(t *testing.T) {
	lines := dsmr5[strings.Index(dsmr5, "1-3:") : len(dsmr5)-len("!0000\r\n")]
	for _, tc := range []struct {
		name     string
		control  byte
		crcOf    func(sent, text []byte) []byte
		counters [2]uint32
		want     int
	}{
		{"with a tag", 0x30, overSent, [2]uint32{1, 2}, 2},
		{"without a tag", 0x20, overSent, [2]uint32{1, 2}, 2},
		{"with a CRC of the clear text", 0x30, overClear, [2]uint32{1, 2}, 2},
		{"without a tag, with a CRC of the clear text", 0x20, overClear, [2]uint32{1, 2}, 2},
		{"without a counter", 0x30, overSent, [2]uint32{0, 0}, 2},
		{"sent again", 0x30, overSent, [2]uint32{1, 1}, 1},
	} {
		one := polish(t, luxembourg, tc.control, tc.counters[0], lines, tc.crcOf)
		two := polish(t, luxembourg, tc.control, tc.counters[1], lines, tc.crcOf)
		got, lost := decodeWith(t, luxembourg, append(one, two...))
		if len(got) != tc.want || len(lost) != 2-tc.want {
			t.Fatalf("%s: %d readings, lost %v", tc.name, len(got), lost)
		}
		if r := got[0]; r.Meter.Model != "SIM" || r.Meter.Manufacturer != "EGM" || len(r.Values) != len(decodedBy(t, []byte(dsmr5))[0].Values) {
			t.Errorf("%s: %s", tc.name, r.AppendJSON(nil))
		}
	}
}

func TestTheFormOfPolandIsRefusedWithAReason(t *testing.T) {
	lines := "1-0:1.8.0(1*kWh)\r\n"
	good := polish(t, luxembourg, 0x20, 1, lines, overSent)
	wrongCRC := append(bytes.Clone(good[:len(good)-6]), "0001\r\n"...)
	noBang := bytes.Clone(good)
	noBang[len(noBang)-7] = '?'
	ofLuxembourg := polish(t, luxembourg, 0x30, 1, lines, overSent)
	tagged := polish(t, austria, 0x30, 1, lines, overSent)
	for name, tc := range map[string]struct {
		config *Config
		stream []byte
		want   error
	}{
		"no key":                     {&Config{}, good, dlms.ErrNoKey},
		"another key":                {keyed(otherTestKey, ""), good, dlms.ErrEncryptionKey},
		"a bent identification":      {luxembourg, append([]byte("/EGN"), ofLuxembourg[4:]...), drivers.ErrChecksum},
		"the CRC of what was sent":   {luxembourg, wrongCRC, drivers.ErrChecksum},
		"no CRC":                     {luxembourg, append(bytes.Clone(good[:len(good)-6]), "\r\n"...), drivers.ErrChecksum},
		"a CRC that is no number":    {luxembourg, append(bytes.Clone(good[:len(good)-6]), "XY\r\n"...), drivers.ErrSyntax},
		"no end line":                {luxembourg, noBang, errNoBang},
		"cut":                        {luxembourg, good[:30], errCut},
		"no authentication key":      {luxembourg, tagged, dlms.ErrNoAuthKey},
		"another authentication key": {keyed(testKey, otherTestKey), tagged, dlms.ErrAuthKey},
		"clear text without a line":  {luxembourg, polish(t, luxembourg, 0x30, 1, "\r\n", overSent), drivers.ErrSyntax},
		"clear text is no telegram":  {luxembourg, polish(t, luxembourg, 0x30, 1, "1-0:1.8.0(1*kWh", overSent), drivers.ErrSyntax},
	} {
		got, lost := decodeWith(t, tc.config, tc.stream)
		if len(got) != 0 || len(lost) != 1 || !errors.Is(lost[0], tc.want) {
			t.Errorf("%s: %d readings, lost %v, want %v", name, len(got), lost, tc.want)
		}
	}
}

func TestEachFaultOfTheKeysIsToldWithItsRemedy(t *testing.T) {
	plainCRC := dsmr5[:len(dsmr5)-6] + "0001\r\n"
	for _, tc := range []struct {
		name   string
		config *Config
		meter  *Config
		want   error
		hint   string
	}{
		{"no key", &Config{}, austria, dlms.ErrNoKey, "set key"},
		{"wrong encryption key", keyed(otherTestKey, testAuthKey), austria, dlms.ErrEncryptionKey, "key is not this meter's"},
		{"wrong authentication key", keyed(testKey, otherTestKey), austria, dlms.ErrAuthKey, "auth_key is wrong"},
		{"no authentication key", luxembourg, austria, dlms.ErrNoAuthKey, "set auth_key"},
		{"both keys swapped", keyed(testAuthKey, testKey), austria, dlms.ErrSwappedKeys, "exchange key and auth_key"},
		{"wrong key, tag not checked", keyed(otherTestKey, "none"), austria, dlms.ErrEncryptionKey, "key is not this meter's"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stream := append(cipheredBy(t, tc.meter, 0x30, 1, dsmr5), cipheredBy(t, tc.meter, 0x30, 2, dsmr5)...)
			got, lost := decodeWith(t, tc.config, stream)
			if len(got) != 0 || len(lost) != 2 {
				t.Fatalf("%d readings, lost %v; want none, and both telegrams lost", len(got), lost)
			}
			for _, e := range lost {
				if !errors.Is(e, tc.want) || !errors.Is(e, drivers.ErrAuth) || !strings.Contains(e.Hint, tc.hint) {
					t.Errorf("lost for %v (hint %q), want %v (%q)", e, e.Hint, tc.want, tc.hint)
				}
				if !strings.Contains(e.Error(), "SIM0102030405") {
					t.Errorf("%v does not say which meter it is", e)
				}
				withoutKeys(t, e.Error()+e.Hint)
			}
		})
	}
	for name, stream := range map[string][]byte{
		"a CRC that does not fit under a tag that does": cipheredBy(t, luxembourg, 0x30, 1, plainCRC),
		"a CRC that does not fit without a tag":         cipheredBy(t, luxembourg, 0x20, 1, plainCRC),
	} {
		got, lost := decodeWith(t, luxembourg, stream)
		want := 13 + 5 + len(plainCRC) - 6
		if len(got) != 0 || len(lost) != 1 || !errors.Is(lost[0], drivers.ErrChecksum) || lost[0].Offset != want {
			t.Errorf("%s: %d readings, lost %+v, want the fault at %d", name, len(got), lost, want)
		}
	}
}

// withoutKeys wants no test key in s.
func withoutKeys(t *testing.T, s string) {
	t.Helper()
	for _, key := range []string{testKey, testAuthKey, otherTestKey} {
		if strings.Contains(strings.ToUpper(s), key[4:20]) {
			t.Errorf("a key is shown: %s", s)
		}
	}
}

func TestTheClearTextMustBeOneTelegramAndNothingElse(t *testing.T) {
	noCRC := dsmr5[:len(dsmr5)-6] + "\r\n"
	noEnd := dsmr5[:len(dsmr5)-7]
	for _, tc := range []struct {
		name, check string
		control     byte
		clear       string
		want        int
	}{
		{"a telegram without its last line end", checkAuto, 0x30, strings.TrimSpace(dsmr5), 1},
		{"two telegrams", checkAuto, 0x30, dsmr5 + dsmr5, 0},
		{"something behind it", checkAuto, 0x30, dsmr5 + "x", 0},
		{"something before it", checkAuto, 0x30, "x" + dsmr5, 0},
		{"half a telegram", checkAuto, 0x30, dsmr5[:300], 0},
		{"nothing", checkAuto, 0x30, "!", 0},
		{"no CRC", checkAuto, 0x30, noCRC, 0},
		{"no CRC under a tag, as configured", checkNone, 0x30, noCRC, 1},
		{"no CRC and no tag, as configured", checkNone, 0x20, noCRC, 0},
		{"no end line under a tag, as configured", checkNone, 0x30, noEnd, 1},
		{"no end line and no tag, as configured", checkNone, 0x20, noEnd, 0},
	} {
		c := keyed(testKey, "")
		c.Check = tc.check
		got, lost := decodeWith(t, c, cipheredBy(t, c, tc.control, 1, tc.clear))
		if len(got) != tc.want || len(lost) != 1-tc.want {
			t.Errorf("%s: %d readings, lost %v", tc.name, len(got), lost)
		}
	}
}

// reopened is the decoder of a line that was cut and opened again.
func reopened(t *testing.T, old *Decoder) *Decoder {
	t.Helper()
	d, err := newDecoder(luxembourg, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	d.Inherit(old)
	return d
}

func TestTheCounterMustRise(t *testing.T) {
	for _, tc := range []struct {
		name     string
		counters []uint32
		taken    []bool
	}{
		{"rising, with gaps", []uint32{1, 2, 9, 1 << 31}, []bool{true, true, true, true}},
		{"the same telegram again", []uint32{5, 5, 6}, []bool{true, false, true}},
		{"a new meter or key", []uint32{500, 3, 4, 5, 6}, []bool{true, false, false, true, true}},
	} {
		for _, control := range []byte{0x20, 0x30} {
			d, err := newDecoder(luxembourg, drivers.Zones{})
			if err != nil {
				t.Fatal(err)
			}
			for i, counter := range tc.counters {
				if control == 0x30 {
					d = reopened(t, d) // a cut line is no way round it
				}
				d.Feed(cipheredBy(t, luxembourg, control, counter, dsmr5))
				got, lost := decodertest.Drain(t, d)
				if len(got) == 1 != tc.taken[i] {
					t.Errorf("%s: telegram %d with counter %d: taken %t", tc.name, i, counter, len(got) == 1)
				}
				if !tc.taken[i] && (len(lost) != 1 || !errors.Is(lost[0], dlms.ErrCounter) || !errors.Is(lost[0], drivers.ErrAuth) || lost[0].Hint == "") {
					t.Errorf("%s: telegram %d is lost for %v", tc.name, i, lost)
				}
			}
		}
	}
}

// IEC 62056-5-3: general-glo-ciphering, system title of eight bytes of which three
// letters are the maker's, length, security control 20 or 30.
func TestWhatIsTheHeaderOfACipheredTelegram(t *testing.T) {
	const title = "\xdb\x08SIM\x01\x02\x03\x04\x05"
	for _, tc := range []struct {
		name string
		b    string
		want verdict
	}{
		{"one byte of ciphertext", title + "\x12\x30", yes},
		{"no ciphertext", title + "\x11\x30", no},
		{"the first and the last letter", "\xdb\x08AZa\x01\x02\x03\x04\x05\x12\x20", yes},
		{"the last letter, small", "\xdb\x08zzz\x01\x02\x03\x04\x05\x12\x20", yes},
		{"no letter", "\xdb\x08S1M\x01\x02\x03\x04\x05\x12\x20", no},
		{"a title of nine bytes", "\xdb\x09SIM\x01\x02\x03\x04\x05\x12\x20", no},
		{"authenticated alone", title + "\x12\x10", no},
		{"a length without an end", title + "\x80\x30", no},
		{"the greatest length", title + "\x82\x3f\xff\x30", yes},
		{"a length that no telegram has", title + "\x82\x40\x00\x30", no},
		{"a length of three bytes", title + "\x83\x00\x01\x00\x30", no},
		{"cut in its length", title + "\x82\x01", wait},
		{"cut before its control", title + "\x12", wait},
	} {
		if got := cipherHeader([]byte(tc.b)); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

// No byte of what is plausible may be lost: without a tag that is all that tells a
// wrong key.
func TestIdentificationsOfAllFormsAreDeciphered(t *testing.T) {
	for name, ident := range map[string]string{"STX for the mode": "/ISk5\x02MIE5T-200", "a blank": "/TST5 SIM", "a tilde": "/TST5~"} {
		text := sealed(ident + "\n\n1-0:1.8.0(1*kWh)\n!")
		if got, lost := decodeWith(t, luxembourg, cipheredBy(t, luxembourg, 0x20, 1, text)); len(got) != 1 {
			t.Errorf("%s: lost %v", name, lost)
		}
	}
	text := sealed("/TST5\x7f\n\n1-0:1.8.0(1*kWh)\n!")
	if got, lost := decodeWith(t, luxembourg, cipheredBy(t, luxembourg, 0x20, 1, text)); len(got) != 0 || len(lost) != 1 || !errors.Is(lost[0], dlms.ErrEncryptionKey) {
		t.Errorf("DEL: %d readings, lost %v", len(got), lost)
	}
}

// What lies in a telegram of Poland's form that was lost is not taken for another.
func TestTheCiphertextOfPolandIsNotSearchedForTelegrams(t *testing.T) {
	// LEN is 41: SC, counter, 36 bytes of which some look like a telegram's start.
	body := "/EGM5SIM\r\n\r\n\x00\x29\x30\x00\x00\x00\x01" + "\xf0\xf1\xf2\n/x\xff" + strings.Repeat("\xf3", 29)
	for name, tc := range map[string]struct {
		end    string
		want   error
		offset int
	}{
		"no end line":            {"?\r\n", errNoBang, len(body)},
		"a CRC that is none":     {"!XY\r\n", errNoDigits, len(body) + 1},
		"a CRC that is no match": {"!1234\r\n", dlms.ErrNoKey, 0},
	} {
		got, lost := decodeWith(t, &Config{Check: checkAuto}, []byte("noise\r\n"+body+tc.end))
		if len(got) != 0 || len(lost) != 1 || !errors.Is(lost[0], tc.want) || lost[0].Offset != tc.offset {
			t.Errorf("%s: %d readings, lost %v, want %v at byte %d", name, len(got), lost, tc.want, tc.offset)
		}
	}
}

func TestADamagedTelegramIsNotTakenForAWrongKey(t *testing.T) {
	good := cipheredBy(t, austria, 0x30, 1, dsmr5)
	damaged := bytes.Clone(good)
	damaged[400] ^= 1
	_, lost := decodeWith(t, austria, damaged)
	if len(lost) != 1 || !errors.Is(lost[0], errDamaged) || errors.Is(lost[0], drivers.ErrAuth) {
		t.Errorf("as the first telegram: lost %v", lost)
	}
	_, lost = decodeWith(t, austria, append(good, damaged...))
	if len(lost) != 1 || !errors.Is(lost[0], dlms.ErrTag) {
		t.Errorf("after a good one: lost %v", lost)
	}
}

func TestTheSearchGoesOnInsideWhatDidNotOpen(t *testing.T) {
	good := cipheredBy(t, luxembourg, 0x30, 2, dsmr5)
	header := "\xdb\x08SIM\x01\x02\x03\x04\x05"
	for name, before := range map[string]string{
		"a header whose LEN reaches into the next telegram": header + "\x82\x02\x00\x30",
		"a header that reaches beyond all":                  header + "\x82\x3f\x00\x30",
		"a telegram that lost bytes":                        string(append(bytes.Clone(good[:100]), good[120:]...)),
		"marks of plain telegrams in ciphertext":            cipheredFrame + cipheredFrame[:14],
		"a cut telegram":                                    string(good[:200]),
		"a telegram in clear":                               dsmr5,
	} {
		got, _ := decodeWith(t, luxembourg, append([]byte(before), good...))
		if len(got) == 0 || got[len(got)-1].Check != drivers.CheckTag {
			t.Errorf("%s: the good telegram behind it is lost", name)
		}
	}
}

func TestAGapEndsABrokenCipheredTelegram(t *testing.T) {
	d, err := newDecoder(luxembourg, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	d.Feed(append([]byte("noise\r\n"), cipheredBy(t, luxembourg, 0x30, 1, dsmr5)[:500]...))
	d.Gap()
	d.Feed(cipheredBy(t, luxembourg, 0x30, 2, dsmr5))
	got, lost := decodertest.Drain(t, d)
	if len(got) != 1 || len(lost) != 1 || !errors.Is(lost[0], errCut) || lost[0].Length != 500 {
		t.Errorf("%d readings, lost %v; want one reading, and 500 bytes lost", len(got), lost)
	}
}

func TestKeysAreTakenInAnyDress(t *testing.T) {
	for _, key := range []string{
		testKey, strings.ToLower(testKey), "0x" + testKey, " " + testKey + "\n",
		"0F 1E 2D 3C 4B 5A 69 78 87 96 A5 B4 C3 D2 E1 F0", "0f:1e:2d:3c:4b:5a:69:78:87:96:a5:b4:c3:d2:e1:f0",
	} {
		got, lost := decodeWith(t, keyed(key, testAuthKey), cipheredBy(t, austria, 0x30, 1, dsmr5))
		if len(got) != 1 {
			t.Errorf("%q: lost %v", key, lost)
		}
	}
	text := keyed("sixteen letters!", "16 more letters.")
	if got, lost := decodeWith(t, text, cipheredBy(t, text, 0x30, 1, dsmr5)); len(got) != 1 {
		t.Errorf("16 characters: lost %v", lost)
	}
}

func TestWrongKeysAreNamedAndNotShown(t *testing.T) {
	for _, tc := range []struct {
		name, key, auth string
		want            []string
		cause           error
	}{
		{"too short", testKey[:30], "", []string{"key: 30 hexadecimal digits"}, dlms.ErrKey},
		{"no digits", testKey[:31] + "O", "", []string{"key: neither 32"}, dlms.ErrKey},
		{"of another suite", testKey + testKey, "", []string{"key: neither 32"}, dlms.ErrKey},
		{"both", testKey[:30], testAuthKey + "00", []string{"key: 30", "auth_key: 34"}, dlms.ErrKey},
		{"authentication key of another suite", testKey, testAuthKey + testAuthKey, []string{"auth_key: neither 32"}, dlms.ErrKey},
		{"only an authentication key", "", testAuthKey, []string{"auth_key: it is set, and key is not"}, errOnlyAuth},
		{"only the word none", "", "none", []string{"auth_key: it is set, and key is not"}, errOnlyAuth},
	} {
		err := keyed(tc.key, tc.auth).Validate()
		if !errors.Is(err, tc.cause) || drivers.Hint(err) == "" {
			t.Errorf("%s: %v, want %v and a remedy", tc.name, err, tc.cause)
			continue
		}
		for _, part := range tc.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %q", tc.name, err, part)
			}
		}
		withoutKeys(t, err.Error())
	}
	for _, c := range []*Config{luxembourg, austria, keyed(testKey, "none"), {Check: checkAuto}} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestReadingWithoutTheTagIsSaidOnce(t *testing.T) {
	for auth, want := range map[string]bool{"": false, testAuthKey: false, "none": true, " None\n": true} {
		if got := caution(keyed(testKey, auth)); strings.Contains(got, "CRC") != want {
			t.Errorf("auth_key %q: %q", auth, got)
		}
	}
}

// printedBy is printed for a configuration with keys.
func printedBy(t testing.TB, c *Config, stream []byte, sizes ...int) []string {
	t.Helper()
	d, err := newDecoder(c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return decodertest.Printed(t, d, stream, sizes...)
}

// Law 3 for ciphered telegrams, with a tag and without.
func TestEveryFlippedBitOfACipheredTelegramIsNoticed(t *testing.T) {
	text := sealed("/TST5\n\n1-0:1.8.0(1*kWh)\n!")
	for _, control := range []byte{0x20, 0x30} {
		good := cipheredBy(t, luxembourg, control, 2, text)
		next := cipheredBy(t, luxembourg, control, 3, text)
		want := printedBy(t, luxembourg, good)[0]
		for bit := range len(good) * 8 {
			damaged := bytes.Clone(good)
			damaged[bit/8] ^= 1 << (bit % 8)
			got := printedBy(t, luxembourg, append(damaged, next...))
			if len(got) == 0 || len(got) > 2 || got[0] != want || got[len(got)-1] != want {
				t.Fatalf("%02X: bit %d: %q, want the next telegram, and perhaps this one", control, bit, got)
			}
		}
	}
}

func TestEveryCutOfACipheredTelegramLosesItAlone(t *testing.T) {
	good, next := cipheredBy(t, luxembourg, 0x30, 2, dsmr5), cipheredBy(t, luxembourg, 0x30, 3, dsmr5)
	want := printedBy(t, luxembourg, good)
	for n := range good {
		if diff := cmp.Diff(want, printedBy(t, luxembourg, append(bytes.Clone(good[:n]), next...))); diff != "" {
			t.Fatalf("cut at %d: %s", n, diff)
		}
	}
}

// mixedStream has every form of telegram in it, and noise.
func mixedStream(t testing.TB) []byte {
	t.Helper()
	b := []byte("noise/x\r\n")
	b = append(b, cipheredBy(t, luxembourg, 0x30, 2, dsmr5)...)
	b = append(b, "\x00\xff\xdb\x08SIM"...)
	b = append(b, dsmr5...)
	b = append(b, cipheredBy(t, luxembourg, 0x20, 3, dsmr5)...)
	b = append(b, cipheredBy(t, austria, 0x30, 4, dsmr5)...) // of another meter
	b = append(b, polish(t, luxembourg, 0x30, 2, "1-0:1.8.0(1*kWh)\r\n", overSent)...)
	return append(b, cipheredBy(t, luxembourg, 0x30, 5, dsmr5)...)
}

func TestEveryCutOfACipheredStreamIntoTwoGivesTheSameReadings(t *testing.T) {
	stream := mixedStream(t)
	want := printedBy(t, luxembourg, stream)
	if len(want) != 5 {
		t.Fatalf("%d readings, want 5", len(want))
	}
	for n := 1; n < len(stream); n++ {
		if diff := cmp.Diff(want, printedBy(t, luxembourg, stream, n, len(stream))); diff != "" {
			t.Fatalf("cut at %d: %s", n, diff)
		}
	}
	if diff := cmp.Diff(want, printedBy(t, luxembourg, stream, 1)); diff != "" {
		t.Fatalf("byte by byte: %s", diff)
	}
}

// FuzzCiphered: whatever comes on the line of a meter with a key, there is no
// panic, memory is bounded, any cut gives the same readings, and nothing has a
// tag's word but what was sealed.
func FuzzCiphered(f *testing.F) {
	mixed := mixedStream(f)
	sealedOnce := map[string]bool{}
	for _, words := range printedBy(f, luxembourg, mixed) {
		sealedOnce[words] = true
	}
	for _, b := range [][]byte{mixed, mixed[500:1500], cipheredBy(f, luxembourg, 0x20, 8, dsmr5), []byte(cipheredFrame)} {
		f.Add(b, uint8(7), uint8(200))
	}
	f.Fuzz(func(t *testing.T, stream []byte, first, second uint8) {
		d, err := newDecoder(luxembourg, drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		want := decodertest.Printed(t, d, stream)
		if held := len(d.frames.buf) - d.frames.pos; held > 0 {
			t.Fatalf("%d bytes are held over a gap", held)
		}
		for _, words := range want {
			if strings.HasPrefix(words, drivers.CheckTag.String()) && !sealedOnce[words] {
				t.Fatalf("a forged telegram was read: %s", words)
			}
		}
		if diff := cmp.Diff(want, printedBy(t, luxembourg, stream, int(first), int(second))); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzSealed: what a clear text gives on a line, it gives under a tag; and what is
// not one telegram with its CRC gives nothing.
func FuzzSealed(f *testing.F) {
	f.Add(uint32(1), true, []byte(dsmr5))
	f.Add(uint32(1), false, []byte(dsmr5))
	f.Add(uint32(9), true, []byte(dsmr2))
	f.Add(uint32(9), true, []byte(strings.TrimSpace(dsmr5)))
	f.Fuzz(func(t *testing.T, counter uint32, tagged bool, text []byte) {
		control, check := byte(0x20), drivers.CheckCRC16
		if tagged {
			control, check = 0x30, drivers.CheckTag
		}
		if len(text) > 8<<10 || !tagged && len(text) < 13 {
			t.Skip()
		}
		got := printedBy(t, luxembourg, cipheredBy(t, luxembourg, control, counter, string(text)))
		plain := printed(t, checkCRC, text)
		if len(got) == 0 {
			return
		}
		want := []string{strings.Replace(plain[0], drivers.CheckCRC16.String(), check.String(), 1)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// BenchmarkDecodeCipheredP1 takes one ciphered DSMR 5 telegram from the stream to
// a Reading; its counter rises by a tag of its own each time.
func BenchmarkDecodeCipheredP1(b *testing.B) {
	for name, control := range map[string]byte{"tag": 0x30, "no tag": 0x20} {
		b.Run(name, func(b *testing.B) { benchmarkCiphered(b, control) })
	}
}

func benchmarkCiphered(b *testing.B, control byte) {
	b.Helper()
	const count = 256
	var telegrams [count][]byte
	for i := range telegrams {
		telegrams[i] = cipheredBy(b, luxembourg, control, uint32(i+1), dsmr5)
	}
	d, err := newDecoder(luxembourg, drivers.Zones{})
	if err != nil {
		b.Fatal(err)
	}
	var r drivers.Reading
	b.SetBytes(int64(len(telegrams[0])))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%count == 0 {
			d.frames.unsealer().counter = dlms.Counter{}
		}
		d.Feed(telegrams[i%count])
		if err := d.Next(&r); err != nil {
			b.Fatal(err)
		}
		if err := d.Next(&r); !errors.Is(err, drivers.ErrMore) {
			b.Fatal(err)
		}
	}
}
