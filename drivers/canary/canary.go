// Package canary has the secrets that tests configure, and keeps what tests produce.
// All of it is searched for those secrets once the tests have run (.ci/canary), so
// that none reaches a page, a report, a metric, a topic, a log or a state folder
// unseen. Each secret holds one of two marks, which nothing else does.
package canary

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The marks: of secrets that are text, and of keys, in hexadecimal digits.
const (
	Mark    = "k4nary"
	KeyMark = "CA9A21E5EC2E"
)

// Secrets that are text.
const (
	MQTTPassword   = Mark + "-mqtt-password"
	HomeToken      = Mark + "-home-token"
	PagePassword   = Mark + "-page-password"
	MeterPassword  = Mark + "77"         // an IEC 62056-21 password has eight characters
	RouteBPassword = "K4NARYRBPASS"      // twelve
	TextKey        = Mark + "-key-16-ch" // a key of 16 characters
)

// Key is a key of 32 hexadecimal digits; each n has its own. The id of a Route B
// meter has the same form.
func Key(n int) string { return fmt.Sprintf("%s%04X5EEDB0A7C0DEFACE", KeyMark, n) }

// Folder is the environment variable that names the folder in which to keep what
// tests produce. Without it nothing is kept.
const Folder = "TESTS_LEAVE_IN"

// place is where something of a test is kept; "": nowhere.
func place(t testing.TB, name string) string {
	t.Helper()
	folder := os.Getenv(Folder)
	if folder == "" {
		return ""
	}
	dir := filepath.Join(folder, strings.NewReplacer("/", "_", " ", "_", ":", "_").Replace(t.Name()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Error(err)
		return ""
	}
	f, err := os.CreateTemp(dir, "*-"+strings.ReplaceAll(name, "/", "_"))
	if err != nil {
		t.Error(err)
		return ""
	}
	_ = f.Close()
	return f.Name()
}

// Keep keeps what a test has produced.
func Keep(t testing.TB, name string, b []byte) {
	t.Helper()
	if file := place(t, name); file != "" && len(b) > 0 {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// KeepFolder keeps what is in a folder when the test ends.
func KeepFolder(t testing.TB, dir string) {
	t.Helper()
	if os.Getenv(Folder) == "" {
		return
	}
	t.Cleanup(func() {
		// What vanishes meanwhile, or is a socket, has no bytes to keep.
		from := os.DirFS(dir)
		_ = fs.WalkDir(from, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // it has vanished
			}
			if b, err := fs.ReadFile(from, path); err == nil {
				Keep(t, filepath.Base(path), b)
			}
			return nil
		})
	})
}
