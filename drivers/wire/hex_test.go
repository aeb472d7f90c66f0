package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestAppendHexTakesBackWhatWasWritten(t *testing.T) {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	text := hex.EncodeToString(all[:])
	for _, s := range []string{text, strings.ToUpper(text)} {
		got, ok := AppendHex([]byte("kept"), s)
		if !ok || !bytes.Equal(got, append([]byte("kept"), all[:]...)) {
			t.Errorf("%s became %x, %t", s, got, ok)
		}
	}
	if got, ok := AppendHex(nil, []byte("2F")); !ok || string(got) != "/" {
		t.Errorf("from bytes: %q, %t", got, ok)
	}
}

func TestAppendHexLeavesDstWhenItRefuses(t *testing.T) {
	for _, s := range []string{"2", "2f2", "2f 2f0", "2g", "g2", "2f2\xff", "0x2f"} {
		if got, ok := AppendHex([]byte("kept"), s); ok || string(got) != "kept" {
			t.Errorf("%q became %q, %t", s, got, ok)
		}
	}
	if got, ok := AppendHex([]byte("kept"), ""); !ok || string(got) != "kept" {
		t.Errorf("no digits became %q, %t", got, ok)
	}
}

func TestHexDigitKnowsTheTwentyTwoDigits(t *testing.T) {
	known := 0
	for c := range 256 {
		v, ok := HexDigit(byte(c))
		if !ok {
			continue
		}
		known++
		if want := strings.IndexByte("0123456789abcdef", byte(c)|0x20); int(v) != want {
			t.Errorf("%q is %d, want %d", byte(c), v, want)
		}
	}
	if known != 22 {
		t.Errorf("%d digits", known)
	}
}
