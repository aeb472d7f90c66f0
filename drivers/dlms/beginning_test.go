package dlms

import (
	"bytes"
	"errors"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestWhatAnAPDUBeginsAs(t *testing.T) {
	for _, tt := range []struct {
		apdu                           []byte
		notification, ciphered, blocks bool
	}{
		{nil, false, false, false},
		{[]byte{0x0E}, false, false, false},
		{[]byte{0x0F}, true, false, false},
		{[]byte{0xC2}, true, false, false},
		{[]byte{0xDA}, false, false, false},
		{[]byte{0xDB}, false, true, false},
		{[]byte{0xDC}, false, true, false},
		{[]byte{0xDD}, false, true, false},
		{[]byte{0xDE}, false, false, false},
		{[]byte{0xE0}, false, false, true},
	} {
		if n, c, b := IsNotification(tt.apdu), IsCiphered(tt.apdu), IsBlock(tt.apdu); n != tt.notification || c != tt.ciphered || b != tt.blocks {
			t.Errorf("% X: notification %t, ciphered %t, block %t", tt.apdu, n, c, b)
		}
	}
}

// Where a header breaks is told to the byte.
func TestWhereAHeaderBreaks(t *testing.T) {
	const clock = "07E40119060D091EFF800000"
	for _, tt := range []struct {
		name, apdu string
		at         int
		want       error
	}{
		{"nothing", "", 0, drivers.ErrShort},
		{"another tag", "10", 0, drivers.ErrSyntax},
		{"half an invoke-id", "0F 4000", 1, drivers.ErrShort},
		{"no date-time", "0F 40000000", 5, drivers.ErrShort},
		{"a date-time of another kind", "0F 40000000 05", 5, drivers.ErrSyntax},
		{"an octet string of another length", "0F 40000000 09 0D", 6, drivers.ErrSyntax},
		{"an octet string without a length", "0F 40000000 09", 6, drivers.ErrShort},
		{"a date-time that is cut", "0F 40000000 0C" + clock[:22], 6, drivers.ErrShort},
		{"an event without a class", "C2 00", 2, drivers.ErrShort},
		{"an event without an attribute", "C2 00 0003 0100010800FF", 10, drivers.ErrShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n, at, err := ParseNotification(unhex(t, tt.apdu)); !errors.Is(err, tt.want) || at != tt.at {
				t.Errorf("%+v, %v at %d; want %v at %d", n, err, at, tt.want, tt.at)
			}
		})
	}
}

// Zeros between date-time and body are stepped over, but for the last byte: that is the
// body, a null.
func TestZerosBeforeTheBody(t *testing.T) {
	for apdu, body := range map[string]int{"0F 40000000 00 0000 06": 8, "0F 40000000 00 00": 6, "0F 40000000 00 0000": 7, "0F 40000000 00": 6} {
		if n, _, err := ParseNotification(unhex(t, apdu)); err != nil || n.Offset != body {
			t.Errorf("%s: the body is at %d, %v; want %d", apdu, n.Offset, err, body)
		}
	}
}

func TestANotificationIsWrittenAsItIsRead(t *testing.T) {
	at := DateTime{Year: 2026, Month: 1, Day: 31, Hour: 12, Deviation: -60}
	for _, with := range []*DateTime{nil, &at} {
		b := append(AppendNotification([]byte("kept"), 0x40000007, with), 0x11, 5)
		n, _, err := ParseNotification(bytes.TrimPrefix(b, []byte("kept")))
		if err != nil || n.Invoke != 0x40000007 || n.HasTime != (with != nil) || n.HasTime && n.Time != at || n.Offset != len(b)-len("kept")-2 {
			t.Errorf("% X: %+v, %v", b, n, err)
		}
	}
}

func TestAMakerIsThreeCapitals(t *testing.T) {
	for title, want := range map[Title]string{{'A', 'Z', 'A'}: "AZA", {'A', '@', 'A'}: "", {'A', '[', 'A'}: "", {'k', 'f', 'm'}: "", {}: ""} {
		if got := title.Maker(); got != want {
			t.Errorf("% X: %q, want %q", title, got, want)
		}
	}
}

// The least of everything: SC and IC without content, a tag of nothing.
func TestTheShortestCipheredAPDUs(t *testing.T) {
	const title = "08 4D4D4D0000BC614E"
	for name, apdu := range map[string]string{
		"no content": "DB" + title + "05 00 00000001",
		"general-ciphering without key information":  "DD 00" + title + "00 00 00 00 05 00 00000001",
		"general-ciphering with a key that is named": "DD 00" + title + "00 00 00 01 00 02 05 00 00000001",
	} {
		if text, info, err := mustCipher(t, bookKeys(t)).Open(nil, unhex(t, apdu)); err != nil || len(text) != 0 || info.Counter != 1 {
			t.Errorf("%s: % X, %+v, %v", name, text, info, err)
		}
	}
	empty, err := mustCipher(t, bookKeys(t)).Seal(nil, Security{Control: 0x30, Counter: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, info, err := mustCipher(t, bookKeys(t)).Open(nil, empty); err != nil || len(text) != 0 || !info.Checked {
		t.Errorf("a tag of nothing: % X, %+v, %v", text, info, err)
	}
	if _, err := CipheredSize(unhex(t, "DD 00"+title+"00 00 00")); !errors.Is(err, drivers.ErrShort) {
		t.Errorf("no key information yet: %v", err)
	}
}
