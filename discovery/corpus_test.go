package discovery

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// TestRealMetersGetAnEntityForEveryQuantity describes each telegram of the
// corpus: no quantity goes without an entity, and no two are named alike.
func TestRealMetersGetAnEntityForEveryQuantity(t *testing.T) {
	root := filepath.Join("..", "..", "shared", "corpus")
	if _, err := os.Stat(root); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: CI needs it", err)
		}
		t.Skipf("not here: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(root, "*", "*.expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	described := 0
	for _, file := range files {
		quantities := corpusQuantities(t, file)
		if len(quantities) == 0 {
			continue
		}
		described++
		t.Run(filepath.Base(file), func(t *testing.T) {
			p := decoded(t, Devices(topics, Meter{Name: "x", Quantities: quantities})[0])
			if got, want := len(p.Components), len(quantities)+ours; got != want {
				t.Errorf("%d components, want %d", got, want)
			}
			labels := map[string]string{}
			for key, c := range p.Components {
				if other, twice := labels[c.Name]; twice {
					t.Errorf("%s and %s are both named %s", key, other, c.Name)
				}
				labels[c.Name] = key
			}
		})
	}
	if described < 100 {
		t.Errorf("only %d telegrams: the corpus is not what it was", described)
	}
}

// corpusQuantities are the values of an expected file that have a code, keyed as
// a bridge would.
func corpusQuantities(t *testing.T, file string) []drivers.Quantity {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Values []struct {
			OBIS, Kind string
			Unit       string
		}
	}
	if err := json.Unmarshal(raw, &expected); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var (
		all   []drivers.Quantity
		keyer drivers.Keyer
		had   = map[string]bool{}
	)
	keyer.Begin()
	for _, v := range expected.Values {
		code, err := obis.Parse(v.OBIS)
		if err != nil {
			continue // has no code: another test's
		}
		q := drivers.Quantity{Code: code, Name: obis.Lookup(code).Name}
		if unit, _, known := obis.ParseUnit(v.Unit); known {
			q.Unit = unit
		}
		switch v.Kind {
		case "text", "list", "profile":
			q.Kind = drivers.Text
		case "time":
			q.Kind, q.Zoned = drivers.Moment, true
		}
		q.Key, _ = keyer.Key(&drivers.Value{Code: code, Name: q.Name})
		if had[q.Key] {
			t.Errorf("%s: %s comes twice", file, q.Key)
		}
		had[q.Key] = true
		all = append(all, q)
	}
	return all
}
