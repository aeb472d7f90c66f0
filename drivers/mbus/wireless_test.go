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
