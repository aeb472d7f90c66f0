package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// What a search finds can be pasted: the tables of any meters are a configuration
// without a mistake.
func TestTablesOfFoundMetersAreAConfiguration(t *testing.T) {
	tables := Tables{Driver: "mbus", Port: "/dev/serial/by-id/usb-a\"b"}
	text := "[mqtt]\nurl = \"mqtt://127.0.0.1\"\n"
	for i, m := range []drivers.Identity{
		{ID: "12345678", Medium: "heat", Manufacturer: "KAM", Version: "8"},
		{ID: "12345678", Medium: "heat", Manufacturer: "LUG"},
		{ID: "1234567A", Medium: "heat_cooling"},
		{},
		{Medium: strings.Repeat("long", 20), ID: "1"},
		{Medium: strings.Repeat("long", 20), ID: "2"},
		{ID: "bridge", Medium: "\n\"x\"\x7f"},
		{Medium: "a_ch1", ID: "_"},
	} {
		text += tables.Table(drivers.Found{Meter: m, Keys: []drivers.Setting{{Key: "address", Value: fmt.Sprint(i)}}})
	}
	text += tables.Table(drivers.Found{Doubt: "several meters share it", Keys: []drivers.Setting{{Key: "address", Value: "7"}}})
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, nil, "")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(c.Meters) != 8 || c.Meters[0].Name != "heat_12345678" || c.Meters[1].Name != "heat_12345678_2" {
		t.Errorf("%d meters:\n%s", len(c.Meters), text)
	}
	if !strings.Contains(text, "# heat, KAM, number 12345678, version 8\n") || !strings.HasSuffix(text, "# address 7: several meters share it\n") {
		t.Error(text)
	}
}

func TestRadioMetersShareAReceiverByTheirIDs(t *testing.T) {
	meter := func(name, keys string) string {
		return fmt.Sprintf("[[meter]]\nname = %q\ndriver = \"wmbus\"\nport = \"tcp://h:1\"\n%s", name, keys)
	}
	for keys, says := range map[string]string{
		"id = \"12345679\"\n": "",
		"id = \"12345678\"\n": "both have the same id",
		"":                    "one of them has no id",
	} {
		file := filepath.Join(t.TempDir(), "config.toml")
		text := "[mqtt]\nurl = \"mqtt://h\"\n" + meter("one", "id = \"12345678\"\n") + meter("two", keys)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file, nil, "")
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), "meter one has this port already; "+says) {
			t.Errorf("%s: %v", keys, err)
		}
	}
}
