package commandline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
)

// root is the repository, in which pages are named.
const root = "../.."

// block is a fenced block of a page.
type block struct {
	page string
	line int
	kind string // "sh", "toml", "go drivers/drip/config.go"
	text string
}

var fence = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

// blocksOf are the blocks of a page in order.
func blocksOf(t *testing.T, page string) []block {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, page))
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
		from, err := filepath.Abs(filepath.Join(root, path))
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
	list, err := os.ReadFile(filepath.Join(root, "drivers/all/all.go"))
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Replace(string(list), "import (", "import (\n\t\"github.com/meter2mqtt/meter2mqtt/drivers/drip\"", 1)
	lay("drivers/all/all.go", strings.Replace(listed, "protocols = []drivers.Driver{", "protocols = []drivers.Driver{\n\tdrip.Driver,", 1))

	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "meter2mqtt")
	compile := exec.CommandContext(t.Context(), "go", "build", "-overlay", file, "-o", binary, ".")
	compile.Dir = root
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", ofKind(t, blocks, "sh").text)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if want := ofKind(t, blocks, "json").text; err != nil || string(out) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, out, want)
	}
}

// everyPage are the pages that people read.
func everyPage(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range pages {
		pages[i] = filepath.Join("docs", filepath.Base(pages[i]))
	}
	return append(pages, "README.md")
}

// Each piece of configuration that a page shows is one.
func TestConfigurationsOfPagesHaveNoMistake(t *testing.T) {
	shown := 0
	for _, page := range everyPage(t) {
		blocks := blocksOf(t, page)
		files := map[string]string{} // what else the page shows, by its name
		for _, b := range blocks {
			if name, ok := strings.CutPrefix(b.kind, "toml "); ok {
				files[name] += b.text
			}
		}
		for _, b := range blocks {
			if b.kind == "toml" {
				shown++
				if err := loads(t, b.text, files); err != nil {
					t.Errorf("%s:%d: %v", b.page, b.line, err)
				}
			}
		}
	}
	if shown < 5 {
		t.Errorf("%d configurations, want more: are the pages there?", shown)
	}
}

var secretFile = regexp.MustCompile(`(?m)^#?(\w+)_file = "(?:/[^"]*/)?([^"/]+)"`)

// secretFolder is where a page keeps its secrets; the test has them elsewhere.
var secretFolder = regexp.MustCompile(`(?m)^(#?\w+_file = ")/[^"]*/`)

// loads says what is wrong with a piece of configuration, beside which files lie.
// Keys without a table are a meter's, of any driver that has them.
func loads(t *testing.T, text string, files map[string]string) error {
	t.Helper()
	const least = "[[meter]]\nname = \"shown\"\nport = \"/dev/null\"\ndriver = %q\n"
	var pieces []string
	switch {
	case strings.Contains(text, "[[meter]]"):
		pieces = []string{text}
	case strings.HasPrefix(text, "["):
		pieces = []string{text + fmt.Sprintf(least, "p1")}
	default:
		for _, d := range all.Drivers {
			pieces = append(pieces, fmt.Sprintf(least, d.Name)+text)
		}
	}
	var err error
	for _, piece := range pieces {
		dir := t.TempDir()
		beside := maps.Clone(files)
		for _, m := range secretFile.FindAllStringSubmatch(piece, -1) {
			beside[m[2]] = map[bool]string{true: "0123456789AB", false: "00112233445566778899AABBCCDDEEFF"}[m[1] == "password"]
		}
		for name, content := range beside {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		piece = secretFolder.ReplaceAllString(piece, "$1")
		file := filepath.Join(dir, "config.toml")
		if err := os.WriteFile(file, []byte(piece), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err = config.Load(file, nil, ""); err == nil {
			return nil
		}
	}
	return err
}

// Each payload that a page shows is JSON, or several in a row.
func TestPayloadsOfPagesAreJSON(t *testing.T) {
	for _, page := range everyPage(t) {
		for _, b := range blocksOf(t, page) {
			if b.kind != "json" {
				continue
			}
			for d := json.NewDecoder(strings.NewReader(b.text)); d.More(); {
				var v any
				if err := d.Decode(&v); err != nil {
					t.Errorf("%s:%d: %v", b.page, b.line, err)
					break
				}
			}
		}
	}
}

// Each command that a page shows is one that the program takes.
func TestCommandsOfPagesAreTaken(t *testing.T) {
	shown := 0
	for _, page := range everyPage(t) {
		for _, b := range blocksOf(t, page) {
			if b.kind != "sh" && b.kind != "console" {
				continue
			}
			for _, command := range commandsOf(b.text) {
				shown++
				if err := taken(command); err != nil {
					t.Errorf("%s:%d: %s: %v", b.page, b.line, strings.Join(command, " "), err)
				}
			}
		}
	}
	if shown < 10 {
		t.Errorf("%d commands, want more: are the pages there?", shown)
	}
}

// What the app's page says that the log says is said by the program.
func TestTheLogSaysWhatTheAppsPageShows(t *testing.T) {
	var program strings.Builder
	for _, folder := range []string{"bridge", "drivers"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			program.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "addon/DOCS.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| the log says |")
	shown := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1)
	for _, row := range shown {
		for sentence := range strings.SplitSeq(row[1], " … ") {
			if !strings.Contains(program.String(), sentence) {
				t.Errorf("nothing says %q", sentence)
			}
		}
	}
	if len(shown) < 5 {
		t.Errorf("%d sentences, want more: is the table there?", len(shown))
	}
}

var ours = regexp.MustCompile(`^(?:sudo )?(?:\S*/)?(?:meter2mqtt|go run \.) (.*)$`)

// commandsOf are the arguments of each call of the program.
func commandsOf(text string) [][]string {
	var all [][]string
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		line, _, _ = strings.Cut(line, " | ")
		line, _, _ = strings.Cut(line, " > ")
		if m := ours.FindStringSubmatch(strings.TrimRight(line, " &")); m != nil {
			args := strings.Fields(m[1])
			for i := range args {
				args[i] = strings.Trim(args[i], `'"`)
			}
			all = append(all, args)
		}
	}
	return all
}

// taken says why the program would not take a command line.
func taken(args []string) error {
	root := rootCommand()
	root.InitDefaultVersionFlag()
	root.InitDefaultHelpFlag()
	root.InitDefaultCompletionCmd(args...)
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

// Each page is reached from the README or from a page that is, and no link leads
// nowhere.
func TestLinksOfPagesLeadSomewhere(t *testing.T) {
	reached := map[string]bool{}
	for next := []string{"README.md"}; len(next) > 0; next = next[1:] {
		page := next[0]
		if reached[page] {
			continue
		}
		reached[page] = true
		content, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllSubmatch(content, -1) {
			to := filepath.Join(filepath.Dir(page), string(m[1]))
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: %v", page, err)
			}
			if strings.HasSuffix(to, ".md") {
				next = append(next, to)
			}
		}
	}
	for _, page := range everyPage(t) {
		if !reached[page] {
			t.Errorf("no link leads to %s", page)
		}
	}
}
