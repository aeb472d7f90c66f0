package dlms

import (
	"bytes"
	"errors"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// standInKeys are what a report shows in place of the book's.
func standInKeys(t testing.TB) Keys {
	t.Helper()
	return Keys{Encryption: mustKey(t, "00000000000000000000000000000000"), Authentication: mustKey(t, "11111111111111111111111111111111")}
}

// bookAPDU is the example of the Green Book as a general-glo-ciphering APDU.
func bookAPDU(t testing.TB) []byte {
	t.Helper()
	apdu, err := mustCipher(t, bookKeys(t)).Seal(nil, bookSecurity, unhex(t, bookClear))
	if err != nil {
		t.Fatal(err)
	}
	return apdu
}

func resealed(t testing.TB, from Keys, apdu []byte) []byte {
	t.Helper()
	r, err := NewResealer(from, standInKeys(t), bookStart)
	if err != nil {
		t.Fatal(err)
	}
	out := r.APDU(apdu, func(text []byte) []byte {
		text = bytes.Clone(text)
		text[len(text)-1] = 0xEE // what was to be hidden
		return text
	})
	if len(out) != len(apdu) {
		t.Fatalf("%d bytes of %d", len(out), len(apdu))
	}
	return out
}

// isCipheredAnew says that nothing of the meter's is left but the header.
func isCipheredAnew(t testing.TB, apdu, out []byte) {
	t.Helper()
	const header = 2 + 8 + 1 + 5
	if n := bytes.Index(apdu, out[header:header+4]); n >= 0 {
		t.Errorf("bytes that the meter enciphered are left: %x in %x", out[header:], apdu)
	}
	if !bytes.Equal(out[2:10], []byte{'M', 'M', 'M', 0, 0, 0, 0, 0}) {
		t.Errorf("system title %x", out[2:10])
	}
	if _, _, err := mustCipher(t, bookKeys(t)).Open(nil, out); err == nil {
		t.Error("the meter's own keys open it")
	}
}

func TestAResealedAPDUOpensWithTheOtherKeys(t *testing.T) {
	apdu := bookAPDU(t)
	out := resealed(t, bookKeys(t), apdu)
	isCipheredAnew(t, apdu, out)
	text, info, err := mustCipher(t, standInKeys(t)).Open(nil, out)
	want := unhex(t, bookClear)
	want[len(want)-1] = 0xEE
	if err != nil || !info.Checked || !bytes.Equal(text, want) || info.Counter != bookSecurity.Counter {
		t.Errorf("%x, %+v, %v; want %x", text, info, err, want)
	}
}

func TestAResealedAPDUIsRefusedForWhatTheMetersWas(t *testing.T) {
	swapped := Keys{Encryption: bookKeys(t).Authentication, Authentication: bookKeys(t).Encryption}
	for _, c := range []struct {
		name   string
		from   Keys
		damage func(apdu []byte)
		want   error
	}{
		{"its tag is damaged", bookKeys(t), func(b []byte) { b[len(b)-1] ^= 4 }, ErrAuthKey},
		{"its clear text makes no sense", bookKeys(t), func(b []byte) { b[16] ^= 4 }, ErrEncryptionKey},
		{"the key is another meter's", standInKeys(t), func([]byte) {}, ErrEncryptionKey},
		{"there is no key", Keys{}, func([]byte) {}, ErrEncryptionKey}, // the stand-in is one
		{"the keys are swapped", swapped, func([]byte) {}, ErrSwappedKeys},
		{"it is shorter than it says", bookKeys(t), func(b []byte) { b[10] += 2 }, drivers.ErrShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			apdu := bookAPDU(t)
			c.damage(apdu)
			out := resealed(t, c.from, apdu)
			isCipheredAnew(t, apdu, out)
			if _, _, err := mustCipher(t, standInKeys(t)).Open(nil, out); !errors.Is(err, c.want) {
				t.Errorf("refused for %v, want %v", err, c.want)
			}
		})
	}
}

func TestAllNumbersOfAGeneralHeaderAreHidden(t *testing.T) {
	header := unhex(t, "DD 08 0102030405060708 08 4D4D4D0000BC614E 08 4D4D4D0000BC614F 00 00 00")
	apdu := append(bytes.Clone(header), bookAPDU(t)[10:]...) // LEN and what follows; its tag does not fit this header
	out := resealed(t, bookKeys(t), apdu)
	want := unhex(t, "DD 08 0000000000000000 08 4D4D4D0000000000 08 4D4D4D0000000000 00 00 00")
	if !bytes.Equal(out[:len(want)], want) || bytes.Contains(out, apdu[len(header)+6:len(header)+12]) {
		t.Errorf("%x of %x", out, apdu)
	}
}
