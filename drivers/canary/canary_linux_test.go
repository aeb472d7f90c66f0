package canary

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// searched runs the search over a folder with these files.
func searched(t *testing.T, files map[string]string) (said string, found bool) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "../../.ci/canary", dir).CombinedOutput()
	return string(out), err != nil
}

// forms are how a secret may be written.
func forms(secret string) map[string]string {
	digits := hex.EncodeToString([]byte(secret))
	all := map[string]string{
		"plain": secret, "other case": strings.ToLower(secret), "digits": digits, "upper digits": strings.ToUpper(digits),
		"digits of digits": hex.EncodeToString([]byte(digits)), "digits of upper digits": hex.EncodeToString([]byte(strings.ToUpper(digits))),
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "login": base64.StdEncoding.EncodeToString([]byte("ann:" + secret)),
		"longer login": base64.URLEncoding.EncodeToString([]byte("anna1:" + secret)),
	}
	if raw, err := hex.DecodeString(secret); err == nil {
		all["raw"] = string(raw)
		all["raw as base64"] = base64.StdEncoding.EncodeToString(raw)
		all["raw as base64 behind two"] = base64.StdEncoding.EncodeToString(append([]byte{1, 2}, raw...))
	}
	return all
}

func TestTheSearchFindsEachFormOfASecret(t *testing.T) {
	t.Parallel()
	files, texts := map[string]string{}, map[string]string{}
	for i, secret := range []string{MQTTPassword, HomeToken, PagePassword, MeterPassword, RouteBPassword, TextKey, Key(1)} {
		for form, text := range forms(secret) {
			name := fmt.Sprintf("%d as %s.", i, form)
			files[name], texts[name] = "a line\nbefore "+text+"\x00 and after\n", text
		}
	}
	said, found := searched(t, files)
	if !found {
		t.Error("nothing is found")
	}
	for name, text := range texts {
		if !strings.Contains(said, name) {
			t.Errorf("%s is not found", name)
		}
		if strings.Contains(said, text) {
			t.Errorf("%s: the search prints what it found", name)
		}
	}
}

func TestTheSearchFindsNothingWhereNothingIs(t *testing.T) {
	t.Parallel()
	if said, found := searched(t, map[string]string{"log": "canaries sing, but not here: CA9A21\n"}); found {
		t.Error(said)
	}
}

func TestAnEmptyFolderIsNoProof(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), "../../.ci/canary", t.TempDir()).CombinedOutput(); err == nil {
		t.Errorf("it is content: %s", out)
	}
}

func TestWhatIsKeptIsThere(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	t.Setenv(Folder, dir)
	if err := os.WriteFile(filepath.Join(state, "journal"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("of one test", func(t *testing.T) {
		KeepFolder(t, state)
		Keep(t, "a/page", []byte("a page"))
	})
	for _, want := range []string{"*-journal", "*-a_page"} {
		if files, err := filepath.Glob(filepath.Join(dir, "*", want)); len(files) != 1 || err != nil {
			t.Errorf("%s: %q, %v", want, files, err)
		}
	}
}
