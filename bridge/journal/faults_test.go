package journal

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// filled is a journal of several segments: each entry has a thousand bytes behind
// its number.
func filled(t *testing.T, dir string, from, to int) (*Journal, *ears) {
	t.Helper()
	j, e := open(t, dir, 256<<10)
	addLong(j, from, to)
	return j, e
}

func addLong(j *Journal, from, to int) {
	for i := from; i < to; i++ {
		j.Add("main", start, append([]byte(counted(i, i+1)[0]+" "), bytes.Repeat([]byte("x"), 1000)...))
	}
}

// numbersOf are the numbers of the entries that can be read.
func numbersOf(j *Journal) (got []string) {
	for _, payload := range drain(j) {
		number, _, _ := strings.Cut(payload, " ")
		got = append(got, number)
	}
	return got
}

func TestAFullDiskIsToldOnceAndTheEntriesStayInMemory(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skipf("no disk that is always full here: %v", err)
	}
	dir := t.TempDir()
	j, e := open(t, dir, 1<<20)
	if err := os.Symlink("/dev/full", filepath.Join(dir, prefix+"0000000000000001"+suffix)); err != nil {
		t.Fatal(err)
	}
	add(j, 0, 3)
	if len(e.said) != 1 || !strings.Contains(e.said[0].Error(), "no space left") {
		t.Errorf("told: %v", e.said)
	}
	if n, _, dropped := j.Depth(); n != 3 || dropped != 0 {
		t.Errorf("%d entries wait, %d are lost", n, dropped)
	}
}

func TestAStateThatIsNoFolderIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	rewrite(t, file, nil)
	if _, err := Open(file, 1<<20, start, func(error) {}); err == nil {
		t.Error("opened a file as a folder")
	}
}

// Files that are not ours stay as they are; one of ours that cannot be read is told.
func TestWhatCannotBeReadIsToldAndTheRestIsRead(t *testing.T) {
	dir, path, _ := written(t)
	loop := filepath.Join(dir, prefix+"0000000000000009"+suffix)
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	others := []string{prefix + "x" + suffix, prefix + "0000000000000003", "notes.txt"}
	for _, name := range others {
		rewrite(t, filepath.Join(dir, name), []byte("not ours"))
	}
	j, e := open(t, dir, 1<<20)
	if len(e.said) != 1 || !strings.Contains(e.said[0].Error(), filepath.Base(loop)) {
		t.Errorf("told: %v", e.said)
	}
	j.Back()
	if diff := cmp.Diff(counted(0, 10), drain(j)); diff != "" {
		t.Error(diff)
	}
	for _, name := range others {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != "not ours" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was read is still there: %v", err)
	}
}

func TestDamageThatCannotBePutAsideIsToldAndTheSoundRecordsAreRead(t *testing.T) {
	dir, path, content := written(t)
	rewrite(t, path, content[:len(content)-1])
	if err := os.MkdirAll(filepath.Join(dir, "journal"+aside, "x"), 0o700); err != nil { // takes its name
		t.Fatal(err)
	}
	j, e := open(t, dir, 1<<20)
	if len(e.said) != 1 || !strings.Contains(e.said[0].Error(), "cannot be put aside") {
		t.Errorf("told: %v", e.said)
	}
	j.Back()
	if diff := cmp.Diff(counted(0, 9), drain(j)); diff != "" {
		t.Error(diff)
	}
}

func TestASegmentThatVanishesIsToldAndTheOthersAreRead(t *testing.T) {
	dir := t.TempDir()
	j, e := filled(t, dir, 0, 60)
	segments := files(t, dir)
	if len(segments) < 3 {
		t.Fatalf("%d segments", len(segments))
	}
	if err := os.Remove(segments[0]); err != nil {
		t.Fatal(err)
	}
	j.Back()
	if first := drain(j); first != nil {
		t.Errorf("read from a file that is gone: %d entries", len(first))
	}
	if len(e.said) != 1 || !errors.Is(e.said[0], os.ErrNotExist) {
		t.Errorf("told: %v", e.said)
	}
	rest := numbersOf(j)
	if len(rest) == 0 || rest[len(rest)-1] != "59" || rest[0] == "0" {
		t.Errorf("then came %v", rest)
	}
}

// Entries that the broker has are not counted as lost when their file must go.
func TestWhatTheBrokerHasIsNotLostWhenRoomIsMade(t *testing.T) {
	j, _ := filled(t, t.TempDir(), 0, 30)
	j.Back()
	for range 5 {
		if _, ok := j.Next(); !ok {
			t.Fatal("nothing to read")
		}
		j.Drained()
	}
	j.Away()
	addLong(j, 30, 1000)
	j.Back()
	left := numbersOf(j)
	if _, _, dropped := j.Depth(); dropped == 0 || int(dropped)+len(left)+5 != 1000 {
		t.Errorf("%d lost, %d read and 5 before are not 1000", dropped, len(left))
	}
}

// What is on disk after a power cut ends somewhere; a second start finds it mended.
func TestAMendedJournalIsWholeAtTheNextStart(t *testing.T) {
	dir, path, content := written(t)
	rewrite(t, path, append(bytes.Clone(content[:len(content)/2]), "M2MJ\x20\x00\x00\x00\xff"...))
	for round, want := range []int{1, 0} {
		_, e := open(t, dir, 1<<20)
		if len(e.said) != want {
			t.Errorf("start %d: told %v", round, e.said)
		}
	}
}

func TestARecordWhoseNameIsLongerThanItIsNone(t *testing.T) {
	record := appendRecord(nil, Entry{Number: 1, Meter: strings.Repeat("m", 200), Received: start})
	for cut := range record {
		if _, n := parseRecord(record[:cut]); n != 0 {
			t.Fatalf("cut at %d of %d bytes: read %d", cut, len(record), n)
		}
	}
	if _, n := parseRecord(record); n != len(record) {
		t.Errorf("read %d of %d bytes", n, len(record))
	}
}

func TestASaveThatFailsLeavesWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "memory")
	if err := Save(path, "before"); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the content cannot be made")
	if err := SaveAs(path, func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	var got string
	if err := Load(path, &got); err != nil || got != "before" {
		t.Errorf("got %q, %v", got, err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	if err := Save(filepath.Join(dir, "absent", "memory"), "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a folder that is not there: %v", err)
	}
}

func TestAMemoryThatCannotBeReadOrPutAsideIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory")
	var got string
	if err := os.Symlink(path, path); err != nil {
		t.Fatal(err)
	}
	if err := Load(path, &got); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link to itself: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, []byte("damaged"))
	if err := os.MkdirAll(filepath.Join(path+aside, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Load(path, &got); err == nil || !strings.Contains(err.Error(), "cannot be put aside") {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "damaged" {
		t.Errorf("the damaged file became %q, %v", b, err)
	}
}

func TestTickWithoutAnythingToKeepTouchesNoDisk(t *testing.T) {
	dir := t.TempDir()
	j, e := open(t, dir, 1<<20)
	for i := range 3 {
		j.Tick(start.Add(time.Duration(i) * time.Hour))
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 || len(e.said) != 0 {
		t.Errorf("%v, %v, told %v", names, err, e.said)
	}
}
