package commandline

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// The pages on the command line come from the command line itself, so that they
// cannot drift: the one in docs, the man pages and the completions of packages.
//
//go:generate go test -run ^TestTheCommandLinePageIsCurrent$ . -update

var (
	update = flag.Bool("update", false, "write docs/command-line.md anew")
	pages  = flag.String("pages", "", "folder to write man pages and completions to")
)

const commandLinePage = root + "/docs/command-line.md"

// shown are the commands that help shows, the program itself first.
func shown(root *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{root}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" && c.Name() != "completion" {
			all = append(all, shown(c)...)
		}
	}
	return all
}

func pageOfCommands(root *cobra.Command) string {
	var page strings.Builder
	page.WriteString("# The command line\n\nMade from the program; `meter2mqtt COMMAND --help` says the same.\n\n" +
		"Exit code 0: done, also after Ctrl-C. 1: failed, a configuration with mistakes\n" +
		"included. 2: a wrong command line. Results go to stdout, logs and progress to stderr.\n")
	for _, c := range shown(root) {
		page.WriteString("\n## " + c.CommandPath() + "\n\n")
		var help bytes.Buffer
		c.SetOut(&help)
		if err := c.Help(); err != nil {
			panic(err)
		}
		page.WriteString("```text\n" + strings.TrimSpace(help.String()) + "\n```\n")
	}
	return page.String()
}

func TestTheCommandLinePageIsCurrent(t *testing.T) {
	want := pageOfCommands(rootCommand())
	if *update {
		if err := os.WriteFile(commandLinePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(commandLinePage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("`go generate ./bridge/commandline` writes it anew:\n%s", diff)
	}
}

// -pages DIR leaves them there, for packages. Their date is SOURCE_DATE_EPOCH.
func TestManPagesAndCompletionsAreMade(t *testing.T) {
	dir := *pages
	if dir == "" {
		dir = t.TempDir()
	}
	man, completions := filepath.Join(dir, "man"), filepath.Join(dir, "completions")
	for _, d := range []string{man, completions} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root := rootCommand()
	root.DisableAutoGenTag = true
	if err := doc.GenManTree(root, &doc.GenManHeader{Title: "METER2MQTT", Section: "1", Source: "meter2mqtt", Manual: "meter2mqtt"}, man); err != nil {
		t.Fatal(err)
	}
	for _, c := range shown(rootCommand()) {
		page, err := os.ReadFile(filepath.Join(man, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil || !bytes.Contains(page, []byte(".SH SYNOPSIS")) {
			t.Errorf("%s has no man page: %v", c.CommandPath(), err)
		}
	}
	for name, write := range map[string]func(string) error{
		"meter2mqtt.bash": func(f string) error { return root.GenBashCompletionFileV2(f, true) },
		"meter2mqtt.zsh":  root.GenZshCompletionFile,
		"meter2mqtt.fish": func(f string) error { return root.GenFishCompletionFile(f, true) },
	} {
		if err := write(filepath.Join(completions, name)); err != nil {
			t.Error(err)
		}
	}
}
