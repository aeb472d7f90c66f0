package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetersThatShareAKeyAreFound(t *testing.T) {
	c := loadText(t, `
[[meter]]
name = "main"
driver = "hdlc"
port = "tcp://127.0.0.1:1"
key = "000102030405060708090A0B0C0D0E0F"
[[meter]]
name = "annex"
driver = "hdlc"
port = "tcp://127.0.0.1:2"
key = "0x00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f"
[[meter]]
name = "barn"
driver = "hdlc"
port = "tcp://127.0.0.1:3"
key = "FF0102030405060708090A0B0C0D0E0F"
[[meter]]
name = "open"
driver = "hdlc"
port = "tcp://127.0.0.1:4"
[[meter]]
name = "shed"
driver = "hdlc"
port = "tcp://127.0.0.1:5"
`)
	if diff := cmp.Diff([][]string{{"main", "annex"}}, SharedKeys(c.Meters)); diff != "" {
		t.Error(diff)
	}
}
