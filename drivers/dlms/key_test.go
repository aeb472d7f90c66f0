package dlms

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestKeysAreTakenAsTheyAreMeant(t *testing.T) {
	want := mustKey(t, bookKey)
	for _, s := range []string{
		bookKey, strings.ToLower(bookKey), "0x" + bookKey, " " + bookKey + "\n",
		"00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F",
		"00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f",
		"00-01-02-03-04-05-06-07-08-09-0a-0b-0c-0d-0e-0f",
		"0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F",
	} {
		if k, err := ParseKey(s); err != nil || !k.Equal(want) {
			t.Errorf("%q: %v", s, err)
		}
	}
	text := mustKey(t, "sixteen letters!")
	if !text.Equal(mustKey(t, "7369787465656e206c65747465727321")) {
		t.Error("16 characters are not taken as the key itself")
	}
	if k, err := ParseKey(" ~fifteen letters"[1:]); err != nil || k.IsZero() {
		t.Errorf("a key with the last character that can be printed: %v", err)
	}
	if k, err := ParseKey("  "); err != nil || !k.IsZero() {
		t.Errorf("nothing is %v, %v, want no key", k, err)
	}
}

func TestAWrongKeySaysWhatWasFoundAndNotTheKey(t *testing.T) {
	for s, want := range map[string]string{
		bookKey[:30]:                      "30 hexadecimal digits",
		bookKey + "00":                    "34 hexadecimal digits",
		bookKey[:31]:                      "31 hexadecimal digits",
		"O" + bookKey[1:31]:               "31 characters that are not all hexadecimal digits",
		"geheimer Schluessel von gestern": "31 characters that are not all hexadecimal digits",
	} {
		_, err := ParseKey(s)
		if !errors.Is(err, ErrKey) || !strings.HasPrefix(err.Error(), want) || drivers.Hint(err) == "" {
			t.Errorf("%q: %v (hint %q), want %q", s, err, drivers.Hint(err), want)
		}
		if strings.Contains(err.Error(), s[:8]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func TestNoPrinterShowsAKey(t *testing.T) {
	k := mustKey(t, "sixteen letters!")
	holder := struct{ Keys Keys }{Keys{Encryption: k}}
	text, err := k.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		k.String(), string(text), fmt.Sprintf("%v %+v %#v %x %q", k, k, k, k, k), fmt.Sprintf("%v %+v %#v", holder, holder, holder),
	} {
		if strings.Contains(s, "sixteen") || strings.Contains(s, "7369") {
			t.Errorf("shown: %s", s)
		}
	}
}
