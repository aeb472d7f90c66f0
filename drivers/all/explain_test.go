package all

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
	"github.com/meter2mqtt/meter2mqtt/drivers/corus"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
	"github.com/meter2mqtt/meter2mqtt/drivers/iec62056"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// corpora are where captured telegrams of each driver lie, beside the repository.
var corpora = []struct {
	driver  drivers.Driver
	pattern string
}{
	{p1.Driver, "p1/*.telegram"},
	{p1.Driver, "p1/bad/*.telegram"},
	{hdlc.Driver, "hdlc/*.hex"},
	{hdlc.Driver, "hdlc/bad/*.hex"},
	{mbus.Driver, "mbus/*.hex"},
	{mbus.Driver, "mbus/bad/*.hex"},
	{mbus.Wireless, "mbus/*.hex"},
	{mbus.Wireless, "mbus/bad/*.hex"},
	{iec62056.Driver, "iec62056-21/readouts/*.raw"},
	{iec62056.Driver, "iec62056-21/profiles/*.raw"},
	{iec62056.LIS200, "iec62056-21/readouts/*.raw"},
	{corus.Driver, "corus/session-*.json"},
}

func TestEveryByteOfEveryTelegramIsExplainedOnce(t *testing.T) {
	for _, c := range corpora {
		files, err := filepath.Glob(filepath.Join("../../../shared/corpus", c.pattern))
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
			t.Run(c.driver.Name+"/"+filepath.Base(file), func(t *testing.T) { explains(t, c.driver, file) })
		}
	}
}

// explains holds the explanation of a file against what its decoder makes of it.
func explains(t *testing.T, d drivers.Driver, file string) {
	t.Helper()
	b, err := bytesOf(t, file)
	if err != nil {
		t.Skip(err) // no telegrams
	}
	config := configOf(t, d, file)
	spans, refused := holdAgainst(t, d, config, b)
	if refused == 0 && len(valuesOf(spans)) > 0 && !strings.HasPrefix(filepath.Base(file), "stream-") {
		quiet(t, spans)
	}
	damage := rand.New(rand.NewPCG(1, uint64(len(b))))
	for range damaged {
		holdAgainst(t, d, config, damagedCopy(damage, b))
	}
}

// bytesOf are the telegrams of a file: of a conversation, both directions.
func bytesOf(t *testing.T, file string) (b []byte, err error) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if filepath.Ext(file) != ".json" {
		return capture.Bytes(f)
	}
	var told struct{ Exchange []struct{ Hex string } }
	if err := json.NewDecoder(f).Decode(&told); err != nil {
		t.Fatal(err)
	}
	for _, e := range told.Exchange {
		var ok bool
		if b, ok = wire.AppendHex(b, e.Hex); !ok {
			t.Fatalf("%s: no hexadecimal digits: %.20s", file, e.Hex)
		}
	}
	return b, nil
}

// damaged is how many damaged copies of each telegram are explained too.
const damaged = 8

// damagedCopy is b with a few bytes changed, cut out or put in.
func damagedCopy(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(3) {
		if len(b) < 2 {
			return b
		}
		at := r.IntN(len(b))
		switch r.IntN(3) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b = slices.Delete(b, at, min(at+1+r.IntN(4), len(b)))
		default:
			b = slices.Insert(b, at, byte(r.IntN(256)))
		}
	}
	return b
}

// holdAgainst explains b and holds that against what a decoder makes of it.
func holdAgainst(t *testing.T, d drivers.Driver, config drivers.Config, b []byte) (spans []drivers.Span, lost int) {
	t.Helper()
	spans, err := d.Explain(config, drivers.Zones{}, b)
	if err != nil {
		t.Fatal(err)
	}
	partitions(t, spans, len(b))
	decoder, err := d.NewDecoder(config, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	values, refused := decodeAll(t, decoder, b)
	if diff := cmp.Diff(values, valuesOf(spans)); diff != "" {
		t.Errorf("%x: decoded (-), explained (+):\n%s", b, diff)
	}
	for _, why := range refused {
		if len(b) > 0 && !slices.ContainsFunc(spans, func(s drivers.Span) bool { return s.Bad && strings.Contains(s.Text, why) }) {
			t.Errorf("%x: no span tells of %q", b, why)
		}
	}
	return spans, len(refused)
}

// partitions says that spans follow each other without hole and overlap.
func partitions(t *testing.T, spans []drivers.Span, size int) {
	t.Helper()
	at := 0
	for _, s := range spans {
		if s.Offset != at || s.Length < 1 || s.Name == "" {
			t.Fatalf("span %+v does not go on at byte %d", s, at)
		}
		at += s.Length
	}
	if at != size {
		t.Fatalf("explained %d bytes of %d", at, size)
	}
}

// quiet says that nothing of a good capture is noise, but a few bytes at its end.
func quiet(t *testing.T, spans []drivers.Span) {
	t.Helper()
	const tail = 4
	last := spans[len(spans)-1]
	for _, s := range spans {
		if s.Name == drivers.Unexplained && s.Offset < last.Offset+last.Length-tail {
			t.Errorf("%d bytes at %d of a good telegram are not explained", s.Length, s.Offset)
		}
	}
}

// valuesOf are all values of an explanation, sorted.
func valuesOf(spans []drivers.Span) (all []string) {
	for _, s := range spans {
		if s.Value != "" {
			all = append(all, strings.Split(s.Value, "; ")...)
		}
	}
	slices.Sort(all)
	return all
}

// decodeAll is what a decoder reads: its values as they are explained, sorted, and
// why it refused the rest.
func decodeAll(t *testing.T, d drivers.Decoder, b []byte) (values, refused []string) {
	t.Helper()
	d.Feed(b)
	d.Gap()
	var r drivers.Reading
	run := capture.Sink{
		Reading: func(r *drivers.Reading) error {
			for i := range r.Values {
				values = append(values, strings.Split(r.Values[i].String(), "; ")...)
			}
			return nil
		},
		Refused: func(e *drivers.FrameError) { refused = append(refused, e.Error()) },
	}
	if err := capture.Drain(d, &r, run); err != nil {
		t.Fatal(err)
	}
	slices.Sort(values)
	return values, refused
}

// configOf is how a meter of a file is configured: with the keys beside it.
func configOf(t *testing.T, d drivers.Driver, file string) drivers.Config {
	t.Helper()
	c := d.NewConfig()
	if own, ok := c.(*corus.Config); ok {
		own.Layouts = corusLayouts(t, file)
		return c
	}
	b, err := os.ReadFile(strings.TrimSuffix(file, filepath.Ext(file)) + ".expected.json")
	if err != nil {
		return c
	}
	var told struct{ Key json.RawMessage }
	var keys struct{ Encryption, Authentication string }
	if err := json.Unmarshal(b, &told); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(told.Key, &keys) // an object here, a text there
	switch c := c.(type) {
	case *p1.Config:
		c.Key = drivers.NewSecret(keys.Encryption)
		if keys.Authentication != p1.LuxembourgAuthKey {
			c.AuthKey = drivers.NewSecret(keys.Authentication)
		}
		if strings.Contains(file, "sagemcom-gh264-1") {
			c.Check = "none"
		}
	case *hdlc.Config:
		c.Key, c.AuthKey = drivers.NewSecret(keys.Encryption), drivers.NewSecret(keys.Authentication)
		c.Stuffing = strings.Contains(file, "stuffing")
	case *mbus.WirelessConfig:
		var key string
		_ = json.Unmarshal(told.Key, &key)
		c.Key = drivers.NewSecret(key)
	}
	return c
}

func TestLinesAndFramesOfRouteBAreExplained(t *testing.T) {
	d, ok := ByName("routeb")
	if !ok {
		t.Fatal("there is no driver routeb")
	}
	frame := unhex("1081000102880105FF017203D30400000001E10101E704000001F4")
	line := []byte("ERXUDP FE80:0000:0000:0000:021D:1290:1234:5678 FE80:0000:0000:0000:021D:1290:1234:5679 0E1A 0E1A 001D129012345678 1 001B " + strings.ToUpper(hex.EncodeToString(frame)) + "\r\n")
	damage := rand.New(rand.NewPCG(2, 2))
	for _, said := range [][]byte{frame, append(bytes.Clone(frame), frame...), append([]byte("OK\r\n"), line...)} {
		spans, lost := holdAgainst(t, d, d.NewConfig(), said)
		if lost != 0 || !slices.ContainsFunc(spans, func(s drivers.Span) bool { return strings.Contains(s.Value, "power_import 500 W") }) {
			t.Errorf("%q is explained as %+v", said, spans)
		}
		for range 200 {
			holdAgainst(t, d, d.NewConfig(), damagedCopy(damage, said))
		}
	}
}

// corusLayouts is a file of what a conversation with a Corus says of records and
// parameters.
func corusLayouts(t *testing.T, file string) drivers.File {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		Expected struct {
			Database string
			Layout   []struct {
				Name, Type string
				Pulse      bool `json:"affected_by_pulse_input"`
			}
			Requested []struct {
				ID   int
				Type string
			}
		}
	}
	if err := json.Unmarshal(b, &told); err != nil {
		t.Fatal(err)
	}
	text := "[[map]]\n"
	for _, p := range told.Expected.Requested {
		text += fmt.Sprintf("[[map.parameter]]\nid = %d\nname = \"p%[1]d\"\ntype = %q\n", p.ID, corusType(p.Type))
	}
	if told.Expected.Database != "" {
		text += fmt.Sprintf("[[layout]]\ndatabases = [%q]\n", told.Expected.Database)
	}
	for _, f := range told.Expected.Layout {
		text += fmt.Sprintf("[[layout.field]]\nname = %q\ntype = %q\npulse = %t\n", f.Name, corusType(f.Type), f.Pulse)
	}
	path := filepath.Join(t.TempDir(), "layouts.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return drivers.File(path)
}

func corusType(theirs string) string { return strings.TrimPrefix(strings.ToLower(theirs), "corus") }
