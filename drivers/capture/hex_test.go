package capture

import "testing"

func TestLooksHex(t *testing.T) {
	for in, want := range map[string]bool{
		"2f":               true,
		"0x2f, 0x0D;":      true,
		"68:03:03:68":      true,
		" \r\n\t2F41 ":     true,
		"":                 false,
		" \n":              false,
		"2":                false,
		"/ABC5METER":       false,
		"1-0:1.8.0(000)":   false,
		"\x68\x03\x03\x68": false,
		"2f 41 \x00":       false,
		"ERXUDP FE80":      false,
	} {
		if got := looksHex([]byte(in)); got != want {
			t.Errorf("%q: got %t", in, got)
		}
	}
}

func TestTelegram(t *testing.T) {
	for in, want := range map[string]string{
		"7EA0":       "\x7E\xA0",
		"0x7e 0xa0":  "\x7E\xA0",
		"\x7E\xA0":   "\x7E\xA0",
		"7EA":        "7EA",
		"/ABC5METER": "/ABC5METER",
		"":           "",
	} {
		if got := Telegram([]byte(in)); string(got) != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
