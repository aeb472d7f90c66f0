package journal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatWasSavedIsLoaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory")
	want := map[string]string{"a": "1", "ä": "€"}
	for range 2 {
		if err := Save(path, want); err != nil {
			t.Fatal(err)
		}
	}
	var got map[string]string
	if err := Load(path, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAFileThatIsNotThereIsNoError(t *testing.T) {
	got := map[string]string{"kept": "yes"}
	if err := Load(filepath.Join(t.TempDir(), "absent"), &got); err != nil || got["kept"] != "yes" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestADamagedFileIsPutAsideWhereverTheDamageIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory")
	if err := Save(path, map[string]string{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range sound {
		for _, bad := range [][]byte{sound[:at], append(append([]byte(nil), sound[:at]...), append([]byte{sound[at] ^ 1}, sound[at+1:]...)...)} {
			rewrite(t, path, bad)
			var got map[string]string
			if err := Load(path, &got); err == nil || got != nil {
				t.Fatalf("damaged at %d: got %v, %v", at, got, err)
			}
			if _, err := os.Stat(path + aside); err != nil {
				t.Fatalf("damaged at %d: %v", at, err)
			}
		}
	}
}
