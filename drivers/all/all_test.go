package all

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestEveryDriverIsListedOnceAndFound(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range Drivers {
		if seen[d.Name] {
			t.Errorf("%s is listed twice", d.Name)
		}
		seen[d.Name] = true
		if found, ok := ByName(d.Name); !ok || found.Name != d.Name {
			t.Errorf("%s is not found by its name", d.Name)
		}
		if d.Doc == "" || d.NewConfig == nil || d.NewDecoder == nil {
			t.Errorf("%s lacks its word for help, its configuration or its decoder", d.Name)
			continue
		}
		if err := d.NewConfig().Validate(); err != nil {
			t.Errorf("%s: the defaults are no valid configuration: %v", d.Name, err)
		}
	}
	if _, ok := ByName("no such driver"); ok {
		t.Error("a driver that is not there was found")
	}
}

// A protocol knows no other protocol, and only the list, the simulators and the
// bridge's side know protocols; dlms serves several, and is none itself.
func TestProtocolsDoNotImportEachOther(t *testing.T) {
	const root = "github.com/meter2mqtt/meter2mqtt/drivers/"
	imports := importsOf(t, root+"...")
	protocols := imports[root+"all"]
	if len(protocols) == 0 {
		t.Fatal("no protocol is listed")
	}
	for _, self := range protocols {
		for _, other := range imports[self] {
			if other != self && slices.Contains(protocols, other) {
				t.Errorf("%s imports %s", self, other)
			}
		}
	}
}

// importsOf are the packages below drivers that each package imports.
func importsOf(t *testing.T, pattern string) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", pattern).Output()
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string][]string{}
	for list := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := list.Decode(&p); errors.Is(err, io.EOF) {
			return imports
		} else if err != nil {
			t.Fatal(err)
		}
		for _, i := range p.Imports {
			if strings.Contains(i, "/meter2mqtt/drivers/") {
				imports[p.ImportPath] = append(imports[p.ImportPath], i)
			}
		}
	}
}
