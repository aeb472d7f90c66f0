package all

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
)

// idsOf are what a decoder calls ids in a capture.
func idsOf(t *testing.T, d drivers.Driver, c drivers.Config, b []byte) (ids []string) {
	t.Helper()
	decoder, err := d.NewDecoder(c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	decoder.Feed(b)
	decoder.Gap()
	var r drivers.Reading
	err = capture.Drain(decoder, &r, capture.Sink{
		Reading: func(r *drivers.Reading) error {
			ids = append(ids, r.Meter.ID)
			for _, channel := range r.Channels {
				ids = append(ids, channel.Meter.ID)
			}
			return nil
		},
		Refused: func(*drivers.FrameError) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// fieldsOf are the fields for which a decoder refuses frames of a capture.
func fieldsOf(t *testing.T, d drivers.Driver, c drivers.Config, b []byte) (fields []string) {
	t.Helper()
	decoder, err := d.NewDecoder(c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	decoder.Feed(b)
	decoder.Gap()
	var r drivers.Reading
	err = capture.Drain(decoder, &r, capture.Sink{
		Reading: func(*drivers.Reading) error { return nil },
		Refused: func(e *drivers.FrameError) { fields = append(fields, e.Field) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

func TestMaskedTelegramsAreRefusedForTheSameReason(t *testing.T) {
	masked, left := 0, 0
	for _, c := range corpora {
		files, err := filepath.Glob(filepath.Join("../../../shared/corpus", c.pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			b, err := capture.Bytes(f)
			if f.Close() != nil || err != nil {
				continue
			}
			config := configOf(t, c.driver, file)
			ids := idsOf(t, c.driver, config, b)
			masking := capture.Masking{Driver: c.driver, Options: config, Shown: config, Hidden: ids}
			got, err := masking.Mask(b)
			m := got.Bytes
			if err != nil {
				t.Fatal(err)
			}
			if !got.Kept {
				left++
				t.Logf("%s %s: left out", c.driver.Name, filepath.Base(file))
				continue
			}
			masked++
			if diff := cmp.Diff(fieldsOf(t, c.driver, config, b), fieldsOf(t, c.driver, config, m)); diff != "" {
				t.Errorf("%s %s: refused before (-), masked (+):\n%s", c.driver.Name, file, diff)
			}
			for _, id := range ids {
				if len(id) > 3 && strings.Trim(id, "0") != "" && (bytes.Contains(m, []byte(id)) || bytes.Contains(m, []byte(hex.EncodeToString([]byte(id))))) {
					t.Errorf("%s %s: %q is still there", c.driver.Name, file, id)
				}
			}
		}
	}
	if masked+left > 0 && masked < 9*left {
		t.Errorf("%d captures masked, %d left out", masked, left)
	}
}
