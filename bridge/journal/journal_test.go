package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// ears keeps what a journal tells.
type ears struct{ said []error }

func (e *ears) hear(err error) { e.said = append(e.said, err) }

func open(t *testing.T, dir string, limit int64) (*Journal, *ears) {
	t.Helper()
	e := &ears{}
	j, err := Open(dir, limit, start, e.hear)
	if err != nil {
		t.Fatal(err)
	}
	return j, e
}

// add adds entries numbered from, from+1 … as payloads.
func add(j *Journal, from, to int) (numbers []uint64) {
	for i := from; i < to; i++ {
		numbers = append(numbers, j.Add("main", start.Add(time.Duration(i)*time.Second), fmt.Append(nil, i)))
	}
	return numbers
}

// drain reads everything and acknowledges it.
func drain(j *Journal) []string {
	var got []string
	for {
		e, ok := j.Next()
		if !ok {
			return got
		}
		got = append(got, string(e.Payload))
		j.Drained()
	}
}

func counted(from, to int) []string {
	var s []string
	for i := from; i < to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, prefix+"*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestWhileTheBrokerAnswersNothingIsWritten(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, 1<<20)
	j.Back()
	for _, n := range add(j, 0, 100) {
		j.Acked(n)
	}
	j.Tick(start.Add(time.Hour))
	if f := files(t, dir); len(f) != 0 {
		t.Errorf("written: %v", f)
	}
	if n, _, _ := j.Depth(); n != 0 {
		t.Errorf("%d entries wait", n)
	}
}

func TestWhatCameWhileTheBrokerWasAwayIsReadInOrder(t *testing.T) {
	dir := t.TempDir()
	j, e := open(t, dir, 1<<20)
	add(j, 0, 50)
	if _, ok := j.Next(); ok {
		t.Error("handed out while the broker is away")
	}
	j.Back()
	if diff := cmp.Diff(counted(0, 50), drain(j)); diff != "" {
		t.Error(diff)
	}
	if f := files(t, dir); len(f) != 0 {
		t.Errorf("left behind: %v", f)
	}
	if len(e.said) != 0 {
		t.Errorf("told: %v", e.said)
	}
}

func TestARestartFindsEverything(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, 1<<20)
	j.Back()
	add(j, 0, 10) // in memory, none acknowledged
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, e := open(t, dir, 1<<20)
	later := add(again, 10, 12)
	again.Back()
	if diff := cmp.Diff(counted(0, 12), drain(again)); diff != "" {
		t.Error(diff)
	}
	if len(e.said) != 0 {
		t.Errorf("told: %v", e.said)
	}
	if later[0] <= uint64(start.UnixNano()) {
		t.Error("numbers do not rise over a restart")
	}
}

func TestKillingTheProgramLosesAtMostASecond(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, 1<<20)
	j.Back()
	add(j, 0, 5)                       // the last one is of start + 4 s
	j.Tick(start.Add(4 * time.Second)) // and the program is killed here
	again, _ := open(t, dir, 1<<20)
	again.Back()
	if diff := cmp.Diff(counted(0, 4), drain(again)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatTheBrokerGotAfterItWentToDiskIsNotSentAgain(t *testing.T) {
	j, _ := open(t, t.TempDir(), 1<<20)
	j.Back()
	numbers := add(j, 0, 6)
	j.Tick(start.Add(time.Minute))
	j.Acked(numbers[2])
	j.Acked(numbers[5])
	if diff := cmp.Diff([]string{"0", "1", "3", "4"}, drain(j)); diff != "" {
		t.Error(diff)
	}
	if n, _, _ := j.Depth(); n != 0 {
		t.Errorf("%d wait", n)
	}
}

func TestAConnectionLostWhileDrainingReadsTheRestAgain(t *testing.T) {
	j, _ := open(t, t.TempDir(), 1<<20)
	numbers := add(j, 0, 10)
	j.Back()
	for range 6 {
		j.Next()
	}
	j.Drained()
	j.Drained() // 0 and 1 are with the broker, 2 to 5 are not known to be
	j.Away()
	j.Acked(numbers[3])
	j.Back()
	if diff := cmp.Diff([]string{"2", "4", "5", "6", "7", "8", "9"}, drain(j)); diff != "" {
		t.Error(diff)
	}
}

func TestASkippedEntryDoesNotAcknowledgeAnother(t *testing.T) {
	j, _ := open(t, t.TempDir(), 1<<20)
	numbers := add(j, 0, 4)
	j.Back()
	j.Acked(numbers[1])
	j.Next() // 0, not acknowledged
	j.Next() // 2, over 1
	j.Away()
	j.Back()
	got := drain(j)
	for _, want := range []string{"0", "2", "3"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is lost: %v", want, got)
		}
	}
}

func TestTheOldestGoFirstAndLoudly(t *testing.T) {
	const limit = 256 << 10
	dir := t.TempDir()
	j, e := open(t, dir, limit)
	payload := bytes.Repeat([]byte("x"), 1000)
	for i := range 1000 {
		j.Add("main", start, append(fmt.Appendf(nil, "%04d", i), payload...))
	}
	entries, size, dropped := j.Depth()
	if size > limit || dropped == 0 || entries+dropped != 1000 {
		t.Errorf("%d entries of %d bytes kept, %d dropped", entries, size, dropped)
	}
	j.Back()
	got := drain(j)
	if len(got) != int(entries) || got[0][:4] != fmt.Sprintf("%04d", dropped) || got[len(got)-1][:4] != "0999" {
		t.Errorf("%d read, from %s to %s", len(got), got[0][:4], got[len(got)-1][:4])
	}
	if len(e.said) == 0 || !strings.Contains(e.said[0].Error(), "dropped") {
		t.Errorf("told: %v", e.said)
	}
}

func TestADiskThatTakesNothingIsToldOnceAndBoundsTheMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	j, e := open(t, dir, 1<<20)
	if err := os.RemoveAll(dir); err != nil { // as good as a full disk, also for root
		t.Fatal(err)
	}
	payload := bytes.Repeat([]byte("x"), 10_000)
	for range 300 {
		j.Add("main", start, payload)
	}
	if j.size > maxMemory {
		t.Errorf("%d bytes in memory", j.size)
	}
	failures := 0
	for _, err := range e.said {
		if errors.Is(err, os.ErrNotExist) {
			failures++
		}
	}
	if failures != 1 {
		t.Errorf("told %d times: %v", failures, e.said)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	add(j, 1, 2) // the disk is back
	if n, size, _ := j.Depth(); n == 0 || size == 0 || len(j.memory) != 0 {
		t.Errorf("%d entries, %d bytes on disk, %d in memory", n, size, len(j.memory))
	}
}

func TestWithoutADirectoryAllStaysInMemory(t *testing.T) {
	j, _ := open(t, "", 0)
	numbers := add(j, 0, 3)
	j.Back()
	j.Tick(start.Add(time.Hour))
	j.Acked(numbers[0])
	if n, size, _ := j.Depth(); n != 2 || size != 0 {
		t.Errorf("%d entries, %d bytes", n, size)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// written is a journal directory with ten entries, and the segment's bytes.
func written(t *testing.T) (dir, path string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	j, _ := open(t, dir, 1<<20)
	add(j, 0, 10)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	path = files(t, dir)[0]
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return dir, path, content
}

func rewrite(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCutAnywhereTheRecordsBeforeTheCutAreRead(t *testing.T) {
	dir, path, content := written(t)
	size := len(content) / 10
	for cut := range len(content) {
		rewrite(t, path, content[:cut])
		j, e := open(t, dir, 1<<20)
		j.Back()
		if diff := cmp.Diff(counted(0, cut/size), drain(j)); diff != "" {
			t.Fatalf("cut at %d: %s", cut, diff)
		}
		if torn := cut%size != 0; torn != (len(e.said) == 1) {
			t.Fatalf("cut at %d: told %v", cut, e.said)
		}
	}
}

func TestGarbledAnywhereTheOtherRecordsAreReadAndTheFileIsPutAside(t *testing.T) {
	dir, path, content := written(t)
	size := len(content) / 10
	for at := range len(content) {
		bad := bytes.Clone(content)
		bad[at] ^= 0x55
		rewrite(t, path, bad)
		j, e := open(t, dir, 1<<20)
		j.Back()
		want := append(counted(0, at/size), counted(at/size+1, 10)...)
		if diff := cmp.Diff(want, drain(j)); diff != "" {
			t.Fatalf("garbled at %d: %s", at, diff)
		}
		if len(e.said) != 1 {
			t.Fatalf("garbled at %d: told %v", at, e.said)
		}
		aside, err := os.ReadFile(filepath.Join(dir, "journal"+aside))
		if err != nil || !bytes.Equal(aside, bad) {
			t.Fatalf("garbled at %d: not put aside: %v", at, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	record := appendRecord(nil, Entry{Number: 1, Meter: "main", Received: start, Payload: []byte(`{"a":1}`)})
	f.Add(record)
	f.Add(append(record, record...))
	f.Add(append([]byte("M2MJ\xff\xff\xff\xff"), record...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		rewrite(t, filepath.Join(dir, prefix+"0000000000000001"+suffix), content)
		j, err := Open(dir, 1<<20, start, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		j.Back()
		before := drain(j)
		add(j, 7, 8)
		j.Tick(start.Add(time.Hour))
		if after := drain(j); len(after) != 1 || after[0] != "7" {
			t.Fatalf("after %v came %v", before, after)
		}
	})
}

func TestRecordsReadBack(t *testing.T) {
	want := Entry{Number: 1<<63 + 5, Meter: "main", Received: time.Unix(0, 1234567890123456789), Payload: []byte(`{"a":1}`)}
	got, n := parseRecord(appendRecord(nil, want))
	if n == 0 {
		t.Fatal("not read")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
