package dlms

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// The example of the Green Book, ed. 9, table 41: its keys, title and counter.
const (
	bookKey     = "000102030405060708090A0B0C0D0E0F"
	bookAuthKey = "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"
	bookClear   = "01011000112233445566778899AABBCCDDEEFF0000065F1F0400007E1F04B0"
	bookSealed  = "801302FF8A7874133D414CED25B42534D28DB0047720606B175BD52211BE6841DB204D39EE6FDB8E356855"
)

var bookSecurity = Security{Title: Title{0x4D, 0x4D, 0x4D, 0, 0, 0xBC, 0x61, 0x4E}, Control: 0x30, Counter: 0x01234567}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustKey(t testing.TB, s string) Key {
	t.Helper()
	k, err := ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// bookStart is what the clear text of the book's example begins with.
func bookStart(text []byte) bool { return bytes.HasPrefix(text, []byte{1, 1, 0x10}) }

func mustCipher(t testing.TB, k Keys) *Cipher {
	t.Helper()
	c, err := NewCipher(k, bookStart)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bookKeys(t testing.TB) Keys {
	t.Helper()
	return Keys{Encryption: mustKey(t, bookKey), Authentication: mustKey(t, bookAuthKey)}
}

func TestTheExampleOfTheGreenBook(t *testing.T) {
	c := mustCipher(t, bookKeys(t))
	want := append([]byte{0xDB, 8}, bookSecurity.Title[:]...)
	want = append(want, 0x30, 0x30, 1, 0x23, 0x45, 0x67)
	want = append(want, unhex(t, bookSealed)...)
	sealed, err := c.Seal(nil, bookSecurity, unhex(t, bookClear))
	if err != nil || !bytes.Equal(sealed, want) {
		t.Fatalf("sealed % X, %v\nwant   % X", sealed, err, want)
	}
	text, info, err := c.Open([]byte("kept"), sealed)
	if err != nil || string(text) != "kept"+string(unhex(t, bookClear)) {
		t.Fatalf("opened % X, %v", text, err)
	}
	wantInfo := bookSecurity
	wantInfo.Checked = true
	if info != wantInfo {
		t.Errorf("security is %+v, want %+v", info, wantInfo)
	}
}

// sealed is the example under another security control, with other keys.
func sealed(t testing.TB, k Keys, control byte) []byte {
	t.Helper()
	s := bookSecurity
	s.Control = control
	b, err := mustCipher(t, k).Seal(nil, s, unhex(t, bookClear))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEverySuiteAndProtectionOpens(t *testing.T) {
	long := Keys{Encryption: mustKey(t, bookKey+bookAuthKey), Authentication: mustKey(t, bookAuthKey+bookKey)}
	for _, tt := range []struct {
		control byte
		keys    Keys
		checked bool
	}{
		{0x00, Keys{}, false},
		{0x10, bookKeys(t), true},
		{0x20, bookKeys(t), false},
		{0x30, bookKeys(t), true},
		{0x21, bookKeys(t), false},
		{0x31, bookKeys(t), true},
		{0x32, long, true},
		{0x22, long, false},
		{0x70, bookKeys(t), true},
	} {
		t.Run(fmt.Sprintf("%02X", tt.control), func(t *testing.T) {
			text, info, err := mustCipher(t, tt.keys).Open(nil, sealed(t, tt.keys, tt.control))
			if err != nil || !bytes.Equal(text, unhex(t, bookClear)) || info.Checked != tt.checked {
				t.Errorf("% X, %+v, %v", text, info, err)
			}
		})
	}
}

func TestOtherFormsOfTheHeader(t *testing.T) {
	body := sealed(t, bookKeys(t), 0x30)[11:] // behind LEN
	title := hex.EncodeToString(bookSecurity.Title[:])
	for name, header := range map[string]string{
		"dedicated key":             "DC08" + title + "30",
		"long form of a small LEN":  "DB08" + title + "820030",
		"longer form of a small it": "DB08" + title + "8400000030",
	} {
		t.Run(name, func(t *testing.T) {
			apdu := append(unhex(t, header), body...)
			if n, err := CipheredSize(apdu[:16]); n != len(apdu) || err != nil {
				t.Errorf("size %d, %v, want %d", n, err, len(apdu))
			}
			text, _, err := mustCipher(t, bookKeys(t)).Open(nil, apdu)
			if err != nil || !bytes.Equal(text, unhex(t, bookClear)) {
				t.Errorf("% X, %v", text, err)
			}
		})
	}
}

// generalCiphering is the example as general-ciphering, whose tag also covers the
// header's fields with their lengths.
func generalCiphering(t *testing.T, keyInfo string) []byte {
	t.Helper()
	c := mustCipher(t, bookKeys(t))
	title := hex.EncodeToString(bookSecurity.Title[:])
	fields := unhex(t, "080000000000000001 08"+title+" 084142434445464748 00 00")
	s := bookSecurity
	copy(c.nonce[:], s.Title[:])
	copy(c.nonce[8:], []byte{1, 0x23, 0x45, 0x67})
	c.cover(0x30, c.keys.Authentication, fields)
	body := c.encryption.Seal(unhex(t, "3001234567"), c.nonce[:], unhex(t, bookClear), c.covered)
	apdu := append([]byte{0xDD}, fields...)
	apdu = append(apdu, unhex(t, keyInfo)...)
	return append(appendLength(apdu, len(body)), body...)
}

func TestGeneralCiphering(t *testing.T) {
	for name, keyInfo := range map[string]string{"no key information": "00", "the global key by its number": "010000"} {
		t.Run(name, func(t *testing.T) {
			text, info, err := mustCipher(t, bookKeys(t)).Open(nil, generalCiphering(t, keyInfo))
			if err != nil || !bytes.Equal(text, unhex(t, bookClear)) || info.Title != bookSecurity.Title {
				t.Errorf("% X, %+v, %v", text, info, err)
			}
		})
	}
	if _, _, err := mustCipher(t, bookKeys(t)).Open(nil, generalCiphering(t, "010100")); !errors.Is(err, ErrKeyInfo) {
		t.Errorf("a wrapped key: %v", err)
	}
}

func TestEachFaultOfTheKeysHasItsOwnSentence(t *testing.T) {
	good, other := bookKeys(t), mustKey(t, "A0A1A2A3A4A5A6A7A8A9AAABACADAEAF")
	for _, tt := range []struct {
		name    string
		keys    Keys
		control byte
		want    error
	}{
		{"no key", Keys{}, 0x30, ErrNoKey},
		{"only an authentication key", Keys{Authentication: good.Authentication}, 0x30, ErrNoKey},
		{"no authentication key", Keys{Encryption: good.Encryption}, 0x30, ErrNoAuthKey},
		{"wrong key and no other", Keys{Encryption: other}, 0x30, ErrEncryptionKey},
		{"wrong encryption key", Keys{Encryption: other, Authentication: good.Authentication}, 0x30, ErrEncryptionKey},
		{"wrong authentication key", Keys{Encryption: good.Encryption, Authentication: other}, 0x30, ErrAuthKey},
		{"wrong authentication key of a clear text", Keys{Encryption: good.Encryption, Authentication: other}, 0x10, ErrAuthKey},
		{"both wrong", Keys{Encryption: other, Authentication: other}, 0x30, ErrEncryptionKey},
		{"swapped", Keys{Encryption: good.Authentication, Authentication: good.Encryption}, 0x30, ErrSwappedKeys},
		{"wrong key, no tag", Keys{Encryption: other}, 0x20, ErrEncryptionKey},
		{"wrong key, unchecked", Keys{Encryption: other, Unchecked: true}, 0x30, ErrEncryptionKey},
		{"a long key for a short suite", Keys{Encryption: mustKey(t, bookKey+bookKey)}, 0x30, ErrSuite},
	} {
		t.Run(tt.name, func(t *testing.T) {
			apdu := sealed(t, good, tt.control)
			c := mustCipher(t, tt.keys)
			text, info, err := c.Open([]byte("kept"), apdu)
			if !errors.Is(err, tt.want) || !errors.Is(err, drivers.ErrAuth) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if string(text) != "kept" || info.Checked {
				t.Errorf("gave %q, checked %t", text, info.Checked)
			}
			if drivers.Hint(err) == "" || !strings.Contains(err.Error(), "MMM0000bc614e") {
				t.Errorf("no remedy or no title in %q (%q)", err, drivers.Hint(err))
			}
		})
	}
}

func TestUncheckedReadsWithoutTheAuthenticationKey(t *testing.T) {
	good := bookKeys(t)
	for _, control := range []byte{0x10, 0x30} {
		c := mustCipher(t, Keys{Encryption: good.Encryption, Unchecked: true})
		text, info, err := c.Open(nil, sealed(t, good, control))
		if err != nil || !bytes.Equal(text, unhex(t, bookClear)) || info.Checked {
			t.Errorf("%02X: % X, %+v, %v", control, text, info, err)
		}
	}
}

func TestKeysThatFittedAreDoubtedOnlyAfterSeveralFailures(t *testing.T) {
	c := mustCipher(t, bookKeys(t))
	good := sealed(t, bookKeys(t), 0x30)
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	for i, tt := range []struct {
		apdu []byte
		want error
	}{{damaged, ErrAuthKey}, {good, nil}, {damaged, ErrTag}, {good, nil}, {damaged, ErrTag}, {damaged, ErrTag}, {damaged, ErrTag}, {damaged, ErrAuthKey}} {
		if _, _, err := c.Open(nil, tt.apdu); !errors.Is(err, tt.want) {
			t.Errorf("%d: got %v, want %v", i, err, tt.want)
		}
	}
}

func TestProtectionsThatCannotBeReadAreNamed(t *testing.T) {
	good := sealed(t, bookKeys(t), 0x30)
	for _, tt := range []struct {
		control byte
		want    error
	}{{0xB0, ErrCompressed}, {0x33, ErrNoSuite}, {0x32, ErrSuite}} {
		apdu := bytes.Clone(good)
		apdu[11] = tt.control
		if _, _, err := mustCipher(t, bookKeys(t)).Open(nil, apdu); !errors.Is(err, tt.want) {
			t.Errorf("%02X: got %v, want %v", tt.control, err, tt.want)
		}
	}
}

func TestFlippedBitsOfACheckedAPDUGiveNothing(t *testing.T) {
	for _, control := range []byte{0x10, 0x30} {
		good := sealed(t, bookKeys(t), control)
		for bit := range len(good) * 8 {
			apdu := bytes.Clone(good)
			apdu[bit/8] ^= 1 << (bit % 8)
			text, info, err := mustCipher(t, bookKeys(t)).Open(nil, apdu)
			if err == nil && info.Checked && !bytes.Equal(text, unhex(t, bookClear)) {
				t.Errorf("%02X: bit %d: % X", control, bit, text)
			}
		}
	}
}

func TestEveryCutOfAnAPDUIsRefused(t *testing.T) {
	good := sealed(t, bookKeys(t), 0x30)
	for n := range good {
		if _, _, err := mustCipher(t, bookKeys(t)).Open(nil, good[:n]); err == nil {
			t.Errorf("%d bytes of %d were taken", n, len(good))
		}
	}
}

func TestOpenAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	good := bookKeys(t)
	dst := make([]byte, 0, 256)
	damaged := sealed(t, good, 0x30)
	damaged[len(damaged)-1] ^= 1
	for name, tt := range map[string]struct {
		keys Keys
		apdu []byte
	}{
		"checked":       {good, sealed(t, good, 0x30)},
		"authenticated": {good, sealed(t, good, 0x10)},
		"no tag":        {good, sealed(t, good, 0x20)},
		"unchecked":     {Keys{Encryption: good.Encryption, Unchecked: true}, sealed(t, good, 0x30)},
		"refused":       {good, damaged},
	} {
		c := mustCipher(t, tt.keys)
		if n := testing.AllocsPerRun(100, func() { _, _, _ = c.Open(dst, tt.apdu) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestCounter(t *testing.T) {
	for _, tt := range []struct {
		name     string
		counters []uint32
		taken    []bool
	}{
		{"rising", []uint32{1, 2, 9, 1 << 31}, []bool{true, true, true, true}},
		{"repeated", []uint32{5, 5, 6}, []bool{true, false, true}},
		{"fallen, then rising", []uint32{500, 3, 4, 5, 6}, []bool{true, false, false, true, true}},
		{"fallen twice", []uint32{500, 3, 4, 3, 4, 5}, []bool{true, false, false, false, false, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c Counter
			for i, ic := range tt.counters {
				if err := c.Check(Security{Counter: ic}); (err == nil) != tt.taken[i] {
					t.Errorf("%d: counter %d: %v", i, ic, err)
				}
			}
			if err := c.Check(Security{Title: bookSecurity.Title, Counter: 1}); err != nil {
				t.Errorf("another meter: %v", err)
			}
		})
	}
}

// FuzzOpen: any bytes give no panic, and nothing that has a tag opens but what
// was sealed.
func FuzzOpen(f *testing.F) {
	keys := bookKeys(f)
	for _, control := range []byte{0, 0x10, 0x20, 0x30, 0x31} {
		f.Add(sealed(f, keys, control))
	}
	c := mustCipher(f, keys)
	text := unhex(f, bookClear)
	f.Fuzz(func(t *testing.T, apdu []byte) {
		out, info, err := c.Open(nil, apdu)
		if err != nil && len(out) != 0 {
			t.Fatalf("%v, and yet %d bytes", err, len(out))
		}
		if err == nil && info.Checked && !bytes.Equal(out, text) {
			t.Fatalf("a forged telegram opened: % X", out)
		}
		if n, err := CipheredSize(apdu); err == nil && n < minSecured {
			t.Fatalf("size %d", n)
		}
	})
}

// FuzzSeal: what is sealed opens to the same again.
func FuzzSeal(f *testing.F) {
	f.Add(byte(0x30), uint32(7), []byte{1, 1, 0x10, 4})
	keys := bookKeys(f)
	c := mustCipher(f, keys)
	f.Fuzz(func(t *testing.T, control byte, counter uint32, text []byte) {
		s := Security{Title: bookSecurity.Title, Control: control, Counter: counter}
		apdu, err := c.Seal(nil, s, text)
		if err != nil {
			return
		}
		out, info, err := c.Open(nil, apdu)
		if errors.Is(err, ErrEncryptionKey) && !s.Authenticated() && !bookStart(text) {
			return
		}
		if err != nil || !bytes.Equal(out, text) || info.Counter != counter {
			t.Fatalf("%02X: % X, %v, want % X", control, out, err, text)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	keys := bookKeys(b)
	c := mustCipher(b, keys)
	apdu, err := c.Seal(nil, bookSecurity, append(unhex(b, bookClear), make([]byte, 340)...))
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 512)
	b.SetBytes(int64(len(apdu)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Open(dst, apdu); err != nil {
			b.Fatal(err)
		}
	}
}
