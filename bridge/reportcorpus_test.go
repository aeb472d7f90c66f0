package bridge

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/report"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
	"github.com/meter2mqtt/meter2mqtt/drivers/iec62056"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

// badCases are where bad telegrams of each driver lie, beside the repository.
var badCases = []struct {
	driver  drivers.Driver
	pattern string
}{
	{p1.Driver, "p1/bad/*.telegram"},
	{hdlc.Driver, "hdlc/bad/*.hex"},
	{mbus.Driver, "mbus/bad/*.hex"},
	{mbus.Wireless, "mbus/bad/*.hex"},
	{iec62056.Driver, "iec62056-21/readouts/*.raw"},
	{iec62056.LIS200, "iec62056-21/readouts/*.raw"},
}

func TestTheReportOfEveryBadCaseIsRefusedForTheSameReasons(t *testing.T) {
	played, left := 0, map[string][]string{}
	for _, c := range badCases {
		files, err := filepath.Glob(filepath.Join("../../shared/corpus", c.pattern))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			if os.Getenv("CI") == "true" {
				t.Errorf("no corpus at %s", c.pattern)
			}
			t.Logf("no corpus at %s", c.pattern)
		}
		for _, file := range files {
			name := c.driver.Name + "/" + strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
			t.Run(name, func(t *testing.T) {
				n, out := reportOf(t, c.driver, file)
				played += n
				if len(out) > 0 {
					left[name] = out
				}
			})
		}
	}
	if played == 0 {
		t.Skip("there is no corpus")
	}
	t.Logf("%d refusals played back", played)
	for name, reasons := range left {
		t.Errorf("%s: left out of the report: %q", name, reasons)
	}
}

// reportOf lets a meter hear a file, and plays its report back as its receiver
// would: with nothing but what is in it. It gives how many refusals came back, and
// the reasons of the frames that were left out.
func reportOf(t *testing.T, d drivers.Driver, file string) (played int, left []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	said, err := capture.Bytes(f)
	if err != nil {
		t.Skip(err) // no telegrams
	}
	m := hearing(t, d, optionsBeside(t, d, file), said)
	var out bytes.Buffer
	if err := (&Bridge{meters: []*meter{m}}).Report(&out); err != nil {
		t.Fatal(err)
	}
	told := readReport(t, out.Bytes())
	var want []string
	for i, frame := range m.lostFrames.copies() {
		if told.frames[i].Hex == "" && told.frames[i].Note != report.NoteTogether {
			left = append(left, told.frames[i].Reason)
			continue
		}
		want = append(want, report.Kind(&frame.frame))
	}
	if diff := cmp.Diff(want, playedBack(t, d, told.options, out.Bytes())); diff != "" {
		t.Errorf("refused on the line (-), from the report (+):\n%s%s", diff, out.String())
	}
	nothingTold(t, m, out.String())
	return len(want), left
}

// hearing is a meter whose line said these bytes, 16 at a time.
func hearing(t *testing.T, d drivers.Driver, options drivers.Config, said []byte) *meter {
	t.Helper()
	var f flight
	m := &meter{log: zerolog.Nop(), config: config.Meter{Name: "main", Driver: d, Options: options}}
	m.hears(&f)
	decoder, err := d.NewDecoder(options, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	drain := func() {
		err := capture.Drain(decoder, new(drivers.Reading), capture.Sink{
			Reading: func(r *drivers.Reading) error {
				m.identity, m.channels = r.Meter, slices.Clone(r.Channels)
				m.counts.good++
				m.lostFrames.dealt(m.flight)
				return nil
			},
			Refused: func(e *drivers.FrameError) { m.refuse(e, time.Unix(1e9, 0)) },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for piece := range slices.Chunk(said, 16) {
		f.hear(piece)
		decoder.Feed(piece)
		drain()
	}
	decoder.Gap()
	drain()
	return m
}

// toldReport is a report as its receiver sees it.
type toldReport struct {
	options map[string]string
	frames  []struct{ Hex, Reason, Note string }
}

func readReport(t *testing.T, b []byte) (told toldReport) {
	t.Helper()
	lines := json.NewDecoder(bytes.NewReader(b))
	var head struct {
		Report struct {
			Config struct {
				Meters []struct{ Options map[string]string }
			}
		}
	}
	if err := lines.Decode(&head); err != nil {
		t.Fatal(err)
	}
	told.options = head.Report.Config.Meters[0].Options
	for lines.More() {
		var frame struct{ Hex, Reason, Note string }
		if err := lines.Decode(&frame); err != nil {
			t.Fatal(err)
		}
		told.frames = append(told.frames, frame)
	}
	return told
}

// playedBack is why a decoder with the options that a report tells refuses the
// frames in it.
func playedBack(t *testing.T, d drivers.Driver, options map[string]string, recording []byte) (refused []string) {
	t.Helper()
	decoder, err := d.NewDecoder(optionsTold(t, d, options), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	err = capture.Decode(bytes.NewReader(recording), decoder, capture.Sink{
		Meter:   "main",
		Reading: func(*drivers.Reading) error { return nil },
		Refused: func(e *drivers.FrameError) { refused = append(refused, report.Kind(e)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return refused
}

// optionsTold are a driver's keys as a report tells them.
func optionsTold(t *testing.T, d drivers.Driver, told map[string]string) drivers.Config {
	t.Helper()
	c := d.NewConfig()
	key, auth := drivers.NewSecret(told["key"]), drivers.NewSecret(told["auth_key"])
	switch c := c.(type) {
	case *p1.Config:
		c.Key, c.AuthKey = key, auth
	case *hdlc.Config:
		c.Key, c.AuthKey, c.Stuffing = key, auth, told["stuffing"] == "true"
	case *mbus.WirelessConfig:
		c.Key = key
	}
	if v, ok := c.(interface{ Validate() error }); ok && v.Validate() != nil {
		t.Errorf("the options of the report are not valid: %v", v.Validate())
	}
	return c
}

// optionsBeside are the keys of a meter, from the file beside its telegram.
func optionsBeside(t *testing.T, d drivers.Driver, file string) drivers.Config {
	t.Helper()
	told := map[string]string{}
	b, err := os.ReadFile(strings.TrimSuffix(file, filepath.Ext(file)) + ".expected.json")
	if errors.Is(err, os.ErrNotExist) {
		return optionsTold(t, d, told)
	}
	if err != nil {
		t.Fatal(err)
	}
	var expected struct{ Key json.RawMessage }
	if err := json.Unmarshal(b, &expected); err != nil {
		t.Fatal(err)
	}
	var key string
	var keys struct{ Encryption, Authentication string }
	if json.Unmarshal(expected.Key, &key) != nil && json.Unmarshal(expected.Key, &keys) == nil {
		key = keys.Encryption
	}
	told["key"] = key
	if keys.Authentication != p1.LuxembourgAuthKey {
		told["auth_key"] = keys.Authentication
	}
	if strings.Contains(file, "stuffing") {
		told["stuffing"] = "true"
	}
	return optionsTold(t, d, told)
}

// nothingTold says that no id and no key of a meter is in its report.
func nothingTold(t *testing.T, m *meter, told string) {
	t.Helper()
	_, hidden := report.Options(m.config.Options, m.config.Driver.NewConfig())
	hidden = append(hidden, m.identity.ID)
	for _, c := range m.channels {
		hidden = append(hidden, c.Meter.ID)
	}
	told = strings.ToLower(told)
	for _, text := range hidden {
		if len(text) < 4 || strings.Trim(text, "0") == "" {
			continue
		}
		plain := hex.EncodeToString([]byte(text))
		for _, form := range []string{text, plain, hex.EncodeToString([]byte(plain))} {
			if strings.Contains(told, strings.ToLower(form)) {
				t.Errorf("%q is in the report as %s:\n%s", text, form, told)
			}
		}
	}
}
