package decodertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Line is something that a driver must do, and which tests hold it. A row of a test's
// table is named behind a slash, by the beginning of its name.
type Line struct {
	What  string
	Tests []string
}

// Hold sees to it that the tests of an inventory are there, in the files of some
// patterns. The inventory's own file does not count.
func Hold(t *testing.T, inventory []Line, patterns ...string) {
	t.Helper()
	source := sources(t, patterns)
	for _, line := range inventory {
		for _, test := range line.Tests {
			name, row, _ := strings.Cut(test, "/")
			_, body, found := strings.Cut(source, "func "+name+"(")
			body, _, _ = strings.Cut(body, "\n}\n")
			if !found || row != "" && !strings.Contains(body, `"`+row) {
				t.Errorf("%s: there is no %s", line.What, test)
			}
		}
	}
}

func sources(t *testing.T, patterns []string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files, %v", pattern, err)
		}
		for _, name := range files {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(name) != "inventory_test.go" {
				all.Write(content)
			}
		}
	}
	return all.String()
}
