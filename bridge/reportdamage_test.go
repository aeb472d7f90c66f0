package bridge

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/bridge/report"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

// goodCases are where telegrams lie of drivers whose meters may cipher.
var goodCases = []struct {
	driver  drivers.Driver
	pattern string
}{
	{p1.Driver, "p1/*.telegram"},
	{hdlc.Driver, "hdlc/*.hex"},
	{mbus.Wireless, "mbus/wmbus-*.hex"},
}

// damages are what can happen to what a line says.
var damages = []struct {
	name string
	do   func(b []byte) []byte
	any  bool // worth a look whatever the keys
}{
	{"a bit of its head flipped", flipped(0.1), false},
	{"a bit flipped", flipped(0.4), true},
	{"a bit of its second half flipped", flipped(0.8), false},
	{"a bit of its end flipped", func(b []byte) []byte { return flipped(float64(len(b)-4) / float64(len(b)))(b) }, false},
	{"two bits that a sum does not see", func(b []byte) []byte { return differing(b, len(b)/2) }, false},
	{"cut", func(b []byte) []byte { return b[:len(b)*2/3] }, true},
	{"cut at its end", func(b []byte) []byte { return b[:len(b)-3] }, false},
	{"a byte lost", func(b []byte) []byte { return slices.Delete(bytes.Clone(b), len(b)/2, len(b)/2+1) }, false},
	{"its first third lost", func(b []byte) []byte { return b[len(b)/3:] }, false},
	{"said again", func(b []byte) []byte { return slices.Concat(b, b, b) }, true},
	{"damaged after a good one", func(b []byte) []byte { return slices.Concat(b, flipped(0.5)(b)) }, false},
	{"damaged at its end after a good one", func(b []byte) []byte { return slices.Concat(b, flipped(0.95)(b), b) }, true},
	{"with sums that fit after a good one", func(b []byte) []byte { return slices.Concat(b, differing(b, len(b)*3/4)) }, false},
}

func flipped(at float64) func([]byte) []byte {
	return func(b []byte) []byte {
		b = bytes.Clone(b)
		b[int(at*float64(len(b)))] ^= 0x04
		return b
	}
}

// differing changes two bytes so that their sum is the same.
func differing(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at]++
	b[at+1]--
	return b
}

// ciphertext is where the enciphered bytes of a good capture stand.
func ciphertext(t *testing.T, d drivers.Driver, c drivers.Config, said []byte) (sealed [][]byte) {
	t.Helper()
	spans, err := d.Explain(c, drivers.Zones{}, said)
	if err != nil {
		t.Fatal(err)
	}
	joined := false
	for _, s := range spans {
		is := s.Clear != "" || s.Name == "ciphertext" || s.Name == "GCM tag" || joined && s.Text == "continued"
		b := said[s.Offset : s.Offset+s.Length]
		switch {
		case is && joined:
			sealed[len(sealed)-1] = append(sealed[len(sealed)-1], b...)
		case is:
			sealed = append(sealed, bytes.Clone(b))
		}
		joined = is
	}
	return sealed
}

// noCiphertext says that nothing of what the meter enciphered is in its report, not
// even a few bytes of it.
func noCiphertext(t *testing.T, sealed [][]byte, told toldReport, from string) {
	t.Helper()
	const few = 8
	for _, frame := range told.frames {
		shown, err := hex.DecodeString(frame.Hex)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range sealed {
			for at := 0; at+few <= len(b); at++ {
				if bytes.Contains(shown, b[at:at+few]) {
					t.Fatalf("%s: %x, which the meter enciphered, is in the report: %x", from, b[at:at+few], shown)
				}
			}
		}
	}
}

func TestAReportOfDamagedTelegramsShowsNothingThatTheMetersKeyOpens(t *testing.T) {
	all, ciphered, left := 0, 0, 0
	for _, c := range goodCases {
		files, err := filepath.Glob(filepath.Join("../../shared/corpus", c.pattern))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 && os.Getenv("CI") == "true" {
			t.Errorf("no corpus at %s", c.pattern)
		}
		for _, file := range files {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			said, err := capture.Bytes(f)
			if f.Close() != nil || err != nil {
				continue // no telegrams
			}
			options := optionsBeside(t, c.driver, file)
			sealed := ciphertext(t, c.driver, options, said)
			if told, _ := report.Options(options, c.driver.NewConfig()); told["key"] == "" || len(sealed) == 0 {
				continue // it is in clear
			}
			ciphered++
			for name, keys := range map[string]drivers.Config{"its keys": options, "other keys": otherKeys(options), "no keys": c.driver.NewConfig()} {
				for _, damage := range damages {
					if keys != options && !damage.any {
						continue
					}
					where := c.driver.Name + " " + strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) + ", " + damage.name + ", " + name
					n, out := reportOfBytes(t, c.driver, keys, damage.do(said), sealed, where)
					all += n
					left += len(out)
					for _, reason := range out {
						t.Logf("%s: left out: %s", where, reason)
					}
				}
			}
		}
	}
	if ciphered == 0 {
		t.Skip("there is no corpus")
	}
	t.Logf("%d ciphered captures: %d refusals played back, %d left out", ciphered, all, left)
	// By radio, and without CRCs, the tail of a telegram may look like the head of one.
	if left > all/100 {
		t.Errorf("%d of %d refusals are left out", left, all)
	}
}

// otherKeys are keys that are not the meter's.
func otherKeys(c drivers.Config) drivers.Config {
	wrong := drivers.NewSecret("0123456789abcdef0123456789abcdef")
	switch c := c.(type) {
	case *p1.Config:
		other := *c
		other.Key = wrong
		return &other
	case *hdlc.Config:
		other := *c
		other.Key = wrong
		return &other
	case *mbus.WirelessConfig:
		other := *c
		other.Key = wrong
		return &other
	}
	return c
}

// reportOfBytes lets a meter hear bytes, and plays its report back.
func reportOfBytes(t *testing.T, d drivers.Driver, options drivers.Config, said []byte, sealed [][]byte, from string) (played int, left []string) {
	t.Helper()
	m := hearing(t, d, options, said)
	var out bytes.Buffer
	if err := (&Bridge{meters: []*meter{m}}).Report(&out); err != nil {
		t.Fatal(err)
	}
	told := readReport(t, out.Bytes())
	noCiphertext(t, sealed, told, from)
	var want []string
	for i, frame := range m.lostFrames.copies() {
		if told.frames[i].Hex == "" && told.frames[i].Note != report.NoteTogether {
			left = append(left, told.frames[i].Reason)
			continue
		}
		want = append(want, report.Kind(&frame.frame))
	}
	if diff := cmp.Diff(want, playedBack(t, d, told.options, out.Bytes())); diff != "" {
		t.Errorf("%s: refused on the line (-), from the report (+):\n%s%s", from, diff, out.String())
	}
	nothingTold(t, m, out.String())
	return len(want), left
}
