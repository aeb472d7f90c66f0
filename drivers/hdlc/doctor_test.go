package hdlc

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// Whatever may be wrong between a meter that ciphers and its reader has a
// sentence of its own, with what to do, and gives no value.
func TestEachTroubleWithKeysHasItsOwnSentence(t *testing.T) {
	const other = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
	keys := func(key, auth string) *Config {
		c := defaults()
		c.Key, c.AuthKey = drivers.NewSecret(key), drivers.NewSecret(auth)
		return c
	}
	sealed := func(apdu []byte, counter uint32) []byte {
		return AppendHDLC(nil, madePath, seal(t, apdu, counter), maxLength)
	}
	good := sealed(madeAPDU(), 5)
	bent := slices.Clone(good)
	bent[40] ^= 1
	const who = "ciphering at byte 0: system title ADN0102030405: "
	seen := map[string]bool{}
	for _, tt := range []struct {
		name   string
		c      *Config
		stream []byte
		want   string // how the error begins
		hint   string // what is in its remedy
	}{
		{"a bad check", keys(benchKey, benchAuthKey), bent, "FCS at byte ", "speed or parity"},
		{"no key", keys("", ""), good, who + "ciphered, and there is no key", "GUEK"},
		{"the key of another meter", keys(other, benchAuthKey), good, who + "the encryption key does not fit", "compare each digit"},
		{"a key for another suite", keys(other+other, benchAuthKey), good, who + "the key has the wrong length", "suite"},
		{"no authentication key", keys(benchKey, ""), good, who + "the encryption key fits, but there is no authentication key", "auth_key"},
		{"another authentication key", keys(benchKey, other), good, who + "the encryption key fits, the authentication key does not", "auth_key is wrong"},
		{"the two swapped", keys(benchAuthKey, benchKey), good, who + "the two keys are swapped", "exchange key and auth_key"},
		{"a counter that fell", keys(benchKey, benchAuthKey), slices.Concat(good, sealed(madeAPDU(), 4)), who + "the invocation counter does not rise", "exchanged"},
		{"damage under keys that fit", keys(benchKey, benchAuthKey), slices.Concat(good, resealed(t)), who + "the tag does not fit, though it did", "new key"},
		{"the right keys for something unknown", keys(benchKey, benchAuthKey), sealed([]byte{0x0F, 0, 0, 0, 1, 0, 99}, 6), "A-XDR at byte 6: the keys fit", "maker and model"},
		{"another tag under the right keys", keys(benchKey, benchAuthKey), sealed([]byte{0x61, 0, 0}, 6), "APDU tag at byte 0: the keys fit", "maker and model"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, lost := faults(t, tt.c, tt.stream)
			if len(lost) != 1 || !strings.HasPrefix(lost[0].Error(), tt.want) || !strings.Contains(lost[0].Hint, tt.hint) {
				t.Fatalf("lost %v, want one with %q and hint %q", lost, tt.want, tt.hint)
			}
			if want := strings.Count(string(tt.stream), string(good)); tt.c.Key.Reveal() == benchKey && tt.c.AuthKey.Reveal() == benchAuthKey && r != want {
				t.Errorf("%d readings, want %d", r, want)
			} else if (tt.c.Key.Reveal() != benchKey || tt.c.AuthKey.Reveal() != benchAuthKey) && r != 0 {
				t.Errorf("wrong keys gave %d readings", r)
			}
			sentence := lost[0].Err.Error()
			if seen[sentence] && !strings.HasPrefix(sentence, "the keys fit") {
				t.Errorf("%q stands for two troubles", sentence)
			}
			seen[sentence] = true
		})
	}
}

// resealed is a frame whose check fits and whose ciphertext was bent before.
func resealed(t *testing.T) []byte {
	t.Helper()
	apdu := seal(t, madeAPDU(), 6)
	apdu[30] ^= 1
	return AppendHDLC(nil, madePath, apdu, maxLength)
}

// faults are how many readings a stream gives, and what it lost.
func faults(t *testing.T, c *Config, stream []byte) (readings int, lost []*drivers.FrameError) {
	t.Helper()
	d := newTestDecoder(t, c)
	d.Feed(stream)
	for {
		var r drivers.Reading
		switch err := d.Next(&r).(type) { //nolint:errorlint // as a decoder gives them
		case nil:
			readings++
		case *drivers.FrameError:
			lost = append(lost, err.Clone())
		default:
			return readings, lost
		}
	}
}

func TestAKeyIsRefusedBeforeAnyTelegramComes(t *testing.T) {
	for _, tt := range []struct{ key, auth, want string }{
		{"0x00 01 02", benchAuthKey, "key: 6 hexadecimal digits: not a key"},
		{benchKey, "D0:D1", "auth_key: 4 hexadecimal digits: not a key"},
		{"", benchAuthKey, "key: missing"},
		{"0x" + benchKey, strings.ToLower(benchAuthKey), ""},
		{"00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F", "none", ""},
	} {
		c := defaults()
		c.Key, c.AuthKey = drivers.NewSecret(tt.key), drivers.NewSecret(tt.auth)
		err := c.Validate()
		if (err == nil) != (tt.want == "") || err != nil && (!strings.HasPrefix(err.Error(), tt.want) || drivers.Hint(err) == "") {
			t.Errorf("%q: %v, want %q", tt.key, err, tt.want)
		}
	}
}

func TestAKeyThatIsNotCheckedIsSaid(t *testing.T) {
	c := benchConfig()
	if s := Driver.Caution(c); s != "" {
		t.Error(s)
	}
	c.AuthKey = drivers.NewSecret("None")
	if s := Driver.Caution(c); !strings.Contains(s, "not checked") {
		t.Errorf("%q", s)
	}
}

func TestAnUnknownListIsDescribedOnce(t *testing.T) {
	d := newTestDecoder(t, defaults())
	list := []byte{0x0F, 0x40, 0, 0, 0, 0, 2, 4, 6, 0, 0, 0, 1, 0x0A, 2, 'h', 'i', 9, 2, 1, 2, 2, 2, 15, 0xFF, 22, 27}
	other := []byte{0x0F, 0x40, 0, 0, 0, 0, 2, 1, 0x12, 0, 7}
	var notes []string
	for _, apdu := range [][]byte{list, list, other, list, madeAPDU()} {
		var r drivers.Reading
		d.Feed(AppendHDLC(nil, madePath, apdu, maxLength))
		if err := d.Next(&r); err != nil {
			t.Fatal(err)
		}
		_, tree, _ := strings.Cut(r.Note, ": ")
		notes = append(notes, tree)
	}
	want := []string{
		`structure [0] double-long-unsigned 1 [1] visible-string "hi" [2] octet-string 0102 [3] structure(integer -1, enum 27)`,
		"", "structure [0] long-unsigned 7", "", "",
	}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Error(diff)
	}
}

func TestADescriptionIsNotLongerThanSomebodyReads(t *testing.T) {
	d := newTestDecoder(t, defaults())
	apdu := []byte{0x0F, 0x40, 0, 0, 0, 0, 1, 0x82, 1, 0x80}
	for range 0x180 {
		apdu = append(apdu, 0x0A, 40)
		apdu = append(apdu, strings.Repeat("x", 40)...)
	}
	var r drivers.Reading
	d.Feed(appendWrapper(nil, apdu))
	if err := d.Next(&r); err != nil {
		t.Fatal(err)
	}
	if n := len(r.Note); n < 1000 || n > 2*maxNote {
		t.Errorf("%d bytes", n)
	}
}

// What was recorded is not taken again after the line was cut.
func TestACutLineDoesNotMakeAnOldTelegramNews(t *testing.T) {
	c := defaults()
	c.Key, c.AuthKey = drivers.NewSecret(benchKey), drivers.NewSecret(benchAuthKey)
	stream := AppendHDLC(nil, madePath, seal(t, madeAPDU(), 5), maxLength)
	var before drivers.Decoder
	for i, want := range []error{nil, dlms.ErrCounter} {
		d, err := newDecoder(c, drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		if before != nil {
			d.Inherit(before)
		}
		d.Feed(stream)
		if err := d.Next(new(drivers.Reading)); !errors.Is(err, want) {
			t.Errorf("decoder %d: got %v, want %v", i, err, want)
		}
		before = d
	}
}
