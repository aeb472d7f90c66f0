package corus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// configWith is a configuration with a file of layouts.
func configWith(t *testing.T, layouts string) *Config {
	t.Helper()
	c := newConfig()
	path := filepath.Join(t.TempDir(), "layouts.toml")
	if err := os.WriteFile(path, []byte(layouts), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Layouts = drivers.File(path)
	return c
}

func TestEachMistakeInAFileOfLayoutsIsNamed(t *testing.T) {
	for _, c := range []struct{ layouts, says string }{
		{"[[map]\n", "line 1: "},
		{"[[map]]\nfirmwear = \"x\"\n", "line 2: unknown key map.firmwear"},
		{"[[map]]\n[[map.parameter]]\nid = 4096\nname = \"a\"\ntype = \"word\"\n", "map 1: parameter 4096: id 4096 is not 0 to 4095"},
		{"[[map]]\n[[map.parameter]]\nid = 1\nname = \"A\"\ntype = \"word\"\n", `name "A" is not of small letters`},
		{"[[map]]\n[[map.parameter]]\nid = 1\nname = \"a\"\ntype = \"dword\"\n", `there is no type "dword"`},
		{"[[map]]\n[[map.parameter]]\nid = 1\nname = \"a\"\ntype = \"word\"\nobis = \"7-0\"\n", "not an OBIS code"},
		{"[[map]]\n[[map.parameter]]\nid = 1\nname = \"a\"\ntype = \"string\"\nunit = \"m3\"\n", "type string has none"},
		{"[[map]]\n[[map.parameter]]\nid = 1\nname = \"a\"\ntype = \"alarm\"\nwritable = true\n", "type alarm cannot be written"},
		{"[[map]]\n[[map.parameter]]\nid = 1\nname = \"a\"\ntype = \"word\"\nmin = 1\n", "min and max come together"},
		{"[[map]]\n[[map.parameter]]\nid = 1\nname = \"a\"\ntype = \"word\"\n[[map.parameter]]\nid = 1\nname = \"b\"\ntype = \"word\"\n", "the id stands there twice"},
		{"[[map]]\n[[map.parameter]]\nid = 1\nname = \"a\"\ntype = \"word\"\n[[map.parameter]]\nid = 2\nname = \"a\"\ntype = \"word\"\n", "the name stands there twice"},
		{"[[layout]]\nfield = [{ name = \"a\", type = \"word\" }]\n", "layout 1: databases is missing"},
		{"[[layout]]\ndatabases = [\"weekly\"]\nfield = [{ name = \"a\", type = \"word\" }]\n", `database "weekly" is none of interval, hourly`},
		{"[[layout]]\ndatabases = [\"daily\"]\n", "records of 0 bytes"},
		{"[[layout]]\ndatabases = [\"daily\"]\nfield = [{ name = \"a\", type = \"hex\" }]\n", "size is missing"},
		{"[[layout]]\ndatabases = [\"daily\"]\nfield = [{ name = \"a\", type = \"word\", size = 3 }]\n", "size 3: word has 2"},
		{"[[layout]]\ndatabases = [\"daily\"]\nfield = [{ name = \"a\", type = \"date\", pulse = true }]\n", "pulse and divisor have no meaning"},
		{"[[layout]]\ndatabases = [\"daily\"]\nfield = [{ name = \"a\", type = \"word\", divisor = 3 }]\n", "divisor 3: dividing by it does not end"},
	} {
		err := configWith(t, c.layouts).Validate()
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "layouts: ") {
			t.Errorf("%q: %v, want %s", c.layouts, err, c.says)
		}
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	c := configWith(t, "[[layout]]\ndatabases = [\"weekly\"]\n")
	c.Fields, c.Select, c.Resume, c.Databases = "some", "999", "never", []string{"yearly"}
	c.WakeWait, c.FastBaud = time.Hour, 9601
	err := c.Validate()
	for _, key := range []string{"fields: ", "select: ", "resume: ", "databases: ", "wake_wait: ", "fast_baud: ", "weekly", "records of 0 bytes"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("nothing about %q in %v", key, err)
		}
	}
	for wait, ok := range map[time.Duration]bool{9 * time.Millisecond: false, 10 * time.Millisecond: true, 5 * time.Minute: true, 5*time.Minute + 1: false} {
		c = newConfig()
		c.CharWait = wait
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("char_wait %s: %v", wait, err)
		}
	}
	c = newConfig()
	c.FastBaud, c.Baud = 9600, 0
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "fast_baud: without baud") {
		t.Error(err)
	}
	c.Baud = 300
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c = newConfig()
	c.Layouts = "/nowhere/at-all.toml"
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "layouts: ") || drivers.Hint(err) == "" {
		t.Error(err)
	}
}

// What docs/corus.md shows as files of layouts are some.
func TestTheFilesOfTheDocumentAreTaken(t *testing.T) {
	content, err := os.ReadFile("../../docs/corus.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, block := range strings.Split(string(content), "```") {
		text, isLayouts := strings.CutPrefix(block, "toml corus-layouts.toml\n")
		if i%2 == 0 || !isLayouts {
			continue
		}
		n++
		if err := configWith(t, text).Validate(); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	if n != 2 {
		t.Errorf("%d files, want 2", n)
	}
}

func TestAMapForTheFirmwareGoesBeforeOneForAny(t *testing.T) {
	all, err := configWith(t, `
[[map]]
[[map.parameter]]
id = 7
name = "general"
type = "word"
[[map]]
firmware = "FL_B0040"
[[map.parameter]]
id = 7
name = "own"
type = "word"
`).catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for firmware, want := range map[string]string{"FL_b0040": "own", "FL_B0040": "own", "FL_other": "general", "": "general"} {
		m := all.mapFor(new(texts).mapID(firmware))
		if p := m.byID(7); p == nil || p.name != want || m.inferred {
			t.Errorf("%s: %+v", firmware, p)
		}
		if m.byID(clockID) == nil || m.byID(weightID) == nil || m.byID(mapID) == nil || m.byID(48) != nil {
			t.Errorf("%s: what every device has, and no more, is to be added", firmware)
		}
	}
}

// A thousand meters that name one file share what it says.
func TestOneFileIsHeldOnce(t *testing.T) {
	c := configWith(t, "[[map]]\n")
	first, err := c.catalogue()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := configWith(t, "[[map]]\n").catalogue(); again != first {
		t.Error("the same file was taken apart twice")
	}
}

func TestUnitsAreBroughtToTheUsualOnes(t *testing.T) {
	all, err := configWith(t, "[[map]]\n[[map.parameter]]\nid = 7\nname = \"p\"\ntype = \"word\"\nunit = \"mbar\"\nwritable = true\nmin = 900\nmax = 1100\n").catalogue()
	if err != nil {
		t.Fatal(err)
	}
	p := all.mapFor("").byID(7)
	var d reader
	var r drivers.Reading
	d.append(&r, &p.fields[0], []byte{0xF5, 0x03})
	if len(r.Values) != 1 || r.Values[0].Number.String() != "1.013" || r.Values[0].Unit != "bar" {
		t.Errorf("%+v", r.Values)
	}
	public := p.public[0]
	if public.Min.String() != "0.900" || public.Max.String() != "1.100" {
		t.Errorf("%s to %s", public.Min, public.Max)
	}
	raw, err := p.fields[0].appendValue(nil, r.Values[0], &d.clock)
	if err != nil || string(raw) != "\xF5\x03" {
		t.Errorf("% x, %v", raw, err)
	}
}
