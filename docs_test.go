package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is a fenced block of a page.
type block struct {
	page string
	line int
	kind string // "sh", "toml", "go drivers/drip/config.go"
	text string
}

var fence = regexp.MustCompile("(?ms)^```([^\n]+)\n(.*?)^```$")

// blocksOf are the blocks of a page in order.
func blocksOf(t *testing.T, page string) []block {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	for _, m := range fence.FindAllSubmatchIndex(content, -1) {
		all = append(all, block{
			page: page, line: 1 + bytes.Count(content[:m[0]], []byte("\n")),
			kind: string(content[m[2]:m[3]]), text: string(content[m[4]:m[5]]),
		})
	}
	return all
}

// ofKind is the first block of a page that begins so.
func ofKind(t *testing.T, blocks []block, kind string) block {
	t.Helper()
	i := slices.IndexFunc(blocks, func(b block) bool { return b.kind == kind })
	if i < 0 {
		t.Fatalf("no block of kind %q", kind)
	}
	return blocks[i]
}

// The page's own files, laid over the tree, make a program that reads the page's
// meter.
func TestTheProtocolOfThePageWorks(t *testing.T) {
	blocks := blocksOf(t, "docs/adding-a-protocol.md")
	dir := t.TempDir()
	replace := map[string]string{}
	lay := func(path, content string) {
		t.Helper()
		to := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(to, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		from, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		replace[from] = to
	}
	for _, b := range blocks {
		if path, ok := strings.CutPrefix(b.kind, "go "); ok {
			lay(path, b.text)
		}
	}
	list, err := os.ReadFile("drivers/all/all.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Replace(string(list), "import (", "import (\n\t\"github.com/meter2mqtt/meter2mqtt/drivers/drip\"", 1)
	lay("drivers/all/all.go", strings.Replace(listed, "Drivers = []drivers.Driver{", "Drivers = []drivers.Driver{\n\tdrip.Driver,", 1))

	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "meter2mqtt")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", file, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", ofKind(t, blocks, "sh").text)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if want := ofKind(t, blocks, "json").text; err != nil || string(out) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, out, want)
	}
}
