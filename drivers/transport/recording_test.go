package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// fakeLine is a Line over one end of a net.Pipe.
type fakeLine struct{ net.Conn }

func (fakeLine) SetMode(drivers.Mode) error  { return nil }
func (fakeLine) Discard() error              { return nil }
func (fakeLine) Flush(context.Context) error { return nil }
func (fakeLine) String() string              { return "tcp://fake:1" }

// recordingFile is a file that holds text, and the port that replays it.
func recordingFile(t *testing.T, text, query string) Port {
	t.Helper()
	file := filepath.Join(t.TempDir(), "recording.jsonl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return mustParse(t, "replay:"+file+query)
}

func openReplayed(t *testing.T, port Port) drivers.Line {
	t.Helper()
	l, err := Open(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestReadRecording(t *testing.T) {
	text := `{"t":0,"dir":"tx","hex":"2f"}` + "\n\n" + `{"hex":"0D0a","dir":"rx","t":1.25,"later":true}`
	var got []Entry
	for e, err := range ReadRecording(strings.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []Entry{{Dir: Sent, Data: []byte("/")}, {At: 1250 * time.Millisecond, Dir: Received, Data: []byte("\r\n")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestReadRecordingNamesTheBadLine(t *testing.T) {
	good := `{"t":0,"dir":"rx","hex":"2f"}` + "\n"
	for name, bad := range map[string]string{
		"no JSON":           "/XXX5",
		"no object":         "[1]",
		"no time":           `{"dir":"rx","hex":"2f"}`,
		"a time before 0":   `{"t":-1,"dir":"rx","hex":"2f"}`,
		"an endless time":   `{"t":1e300,"dir":"rx","hex":"2f"}`,
		"no direction":      `{"t":0,"hex":"2f"}`,
		"a third direction": `{"t":0,"dir":"up","hex":"2f"}`,
		"no bytes":          `{"t":0,"dir":"rx"}`,
		"half a byte":       `{"t":0,"dir":"rx","hex":"2"}`,
		"no hex":            `{"t":0,"dir":"rx","hex":"zz"}`,
		"too long a line":   strings.Repeat("x", maxEntryLine+1),
	} {
		t.Run(name, func(t *testing.T) {
			n, failed := 0, error(nil)
			for _, err := range ReadRecording(strings.NewReader(good + "\n" + bad + "\n" + good)) {
				if n++; err != nil {
					failed = err
				}
			}
			if failed == nil || !strings.HasPrefix(failed.Error(), "line 3: ") || drivers.Hint(failed) == "" || n != 2 {
				t.Errorf("%d entries, error %v, hint %q", n, failed, drivers.Hint(failed))
			}
		})
	}
}

func TestReplayKeepsTheRecordedPace(t *testing.T) {
	const text = `{"t":3,"dir":"rx","hex":"2f"}` + "\n" + `{"t":13,"dir":"rx","hex":"21"}` + "\n"
	for query, want := range map[string][]time.Duration{
		"":           {3 * time.Second, 13 * time.Second},
		"?speed=10":  {300 * time.Millisecond, 1300 * time.Millisecond},
		"?speed=max": {0, 0},
	} {
		t.Run(query, func(t *testing.T) {
			port := recordingFile(t, text, query)
			synctest.Test(t, func(t *testing.T) {
				l := openReplayed(t, port)
				began := time.Now()
				var got []time.Duration
				for buf := make([]byte, 8); ; {
					n, err := l.Read(buf)
					if errors.Is(err, io.EOF) {
						break
					}
					if n != 1 || err != nil {
						t.Fatalf("%d bytes, error %v", n, err)
					}
					got = append(got, time.Since(began))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("arrivals (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestReplayOfJoinedRecordingsStartsAnew(t *testing.T) {
	port := recordingFile(t, `{"t":60,"dir":"rx","hex":"2f"}`+"\n"+`{"t":5,"dir":"rx","hex":"2f"}`+"\n"+`{"t":6,"dir":"rx","hex":"2f"}`, "")
	synctest.Test(t, func(t *testing.T) {
		l := openReplayed(t, port)
		began := time.Now()
		if _, err := io.ReadFull(l, make([]byte, 3)); err != nil || time.Since(began) != 61*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestReplayAnswersOnlyWhatWasAsked(t *testing.T) {
	port := recordingFile(t, `{"t":5,"dir":"tx","hex":"3f"}`+"\n"+`{"t":5.5,"dir":"tx","hex":"21"}`+"\n"+`{"t":7,"dir":"rx","hex":"414243"}`, "")
	synctest.Test(t, func(t *testing.T) {
		l := openReplayed(t, port)
		_ = l.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := l.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("an answer without a question: %v", err)
		}
		_ = l.SetReadDeadline(time.Time{})
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			time.Sleep(time.Second)
			_, _ = io.WriteString(l, "?!")
		}()
		began := time.Now()
		receivePlain(t, l, "ABC")
		<-asked
		if took := time.Since(began); took != 2500*time.Millisecond {
			t.Errorf("the answer came after %s, want 1 s until it was asked for and 1.5 s as recorded", took)
		}
	})
}

func receivePlain(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("received %q, %v; want %q", got, err, want)
	}
}

func TestReplayDiscardDropsWhatHasCome(t *testing.T) {
	port := recordingFile(t, `{"t":1,"dir":"rx","hex":"414243"}`+"\n"+`{"t":9,"dir":"rx","hex":"44"}`, "")
	synctest.Test(t, func(t *testing.T) {
		l := openReplayed(t, port)
		receivePlain(t, l, "A")
		if err := l.Discard(); err != nil {
			t.Fatal(err)
		}
		receivePlain(t, l, "D")
	})
}

func TestReplayReadIsWoken(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(drivers.Line)
		want error
	}{
		"by a deadline in the past": {func(l drivers.Line) { _ = l.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"by Close":                  {func(l drivers.Line) { _ = l.Close() }, os.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			port := recordingFile(t, `{"t":1e6,"dir":"rx","hex":"41"}`, "")
			synctest.Test(t, func(t *testing.T) {
				l := openReplayed(t, port)
				go func() {
					time.Sleep(time.Second)
					c.act(l)
				}()
				if _, err := l.Read(make([]byte, 1)); !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
			})
		})
	}
}

func TestReplayRefuses(t *testing.T) {
	refused := func(port Port, want error) {
		t.Helper()
		if _, err := Open(t.Context(), port); !errors.Is(err, want) || drivers.Hint(err) == "" {
			t.Errorf("%s: error %v, hint %q", port, err, drivers.Hint(err))
		}
	}
	refused(Port{Scheme: Replay, Path: "/none", Speed: 1}, ErrMissing)
	if _, err := Open(t.Context(), Port{Scheme: Replay, Path: t.TempDir(), Speed: 1}); drivers.Hint(err) == "" {
		t.Errorf("a directory: %v", err)
	}
	port := recordingFile(t, `{"t":0,"dir":"rx","hex":"2f"}`+"\n/XXX5\n", "")
	l := openReplayed(t, port)
	receivePlain(t, l, "/")
	_, err := l.Read(make([]byte, 1))
	if err == nil || !strings.Contains(err.Error(), port.Path+": line 2: ") || drivers.Hint(err) == "" {
		t.Errorf("a bad line: error %v, hint %q", err, drivers.Hint(err))
	}
}

func TestRecordThenReplayIsTheSame(t *testing.T) {
	var recording bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		l := Record(fakeLine{near}, &recording, nil, time.Now)
		go func() {
			time.Sleep(2 * time.Second)
			_, _ = io.WriteString(far, "/XXX5")
			_, _ = io.ReadFull(far, make([]byte, 1))
			time.Sleep(time.Second)
			_, _ = io.WriteString(far, "\x00\xff")
			far.Close()
		}()
		receivePlain(t, l, "/XXX5")
		_, _ = io.WriteString(l, "?")
		receivePlain(t, l, "\x00\xff")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	want := `{"t":2.000000,"dir":"rx","hex":"2f58585835"}
{"t":2.000000,"dir":"tx","hex":"3f"}
{"t":3.000000,"dir":"rx","hex":"00ff"}
`
	if diff := cmp.Diff(want, recording.String()); diff != "" {
		t.Fatalf("recording (-want +got):\n%s", diff)
	}
	port := recordingFile(t, recording.String(), "")
	synctest.Test(t, func(t *testing.T) {
		l := openReplayed(t, port)
		began := time.Now()
		receivePlain(t, l, "/XXX5")
		_, _ = io.WriteString(l, "?")
		receivePlain(t, l, "\x00\xff")
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("replayed in %s", took)
		}
	})
}

// masked is the recording of pieces, each "rx…" or "tx…", before and after it is
// completed.
func masked(t *testing.T, secrets []string, pieces ...string) (before, after []string) {
	t.Helper()
	var w bytes.Buffer
	list := make([][]byte, len(secrets))
	for i, s := range secrets {
		list[i] = []byte(s)
	}
	m := newMasker(&w, list)
	for _, p := range pieces {
		m.add(Entry{Dir: Direction(p[:2]), Data: []byte(p[2:])})
	}
	before = recordedPieces(t, w.String())
	m.finish()
	return before, recordedPieces(t, w.String())
}

func recordedPieces(t *testing.T, recording string) []string {
	t.Helper()
	var out []string
	for e, err := range ReadRecording(strings.NewReader(recording)) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(e.Dir)+string(e.Data))
	}
	return out
}

func TestRecordMasksSecrets(t *testing.T) {
	for name, c := range map[string]struct{ secrets, pieces, before, after []string }{
		"whole":               {[]string{"key"}, []string{"rxa key b"}, []string{"rxa *** b"}, []string{"rxa *** b"}},
		"in pieces":           {[]string{"key"}, []string{"rxak", "rxe", "rxyb"}, []string{"rxa*", "rx*", "rx*b"}, []string{"rxa*", "rx*", "rx*b"}},
		"around the other's":  {[]string{"key"}, []string{"rxk", "txe", "rxey"}, []string{"rx*", "txe", "rx**"}, []string{"rx*", "txe", "rx**"}},
		"not across the two":  {[]string{"key"}, []string{"rxk", "txey", "rx!"}, []string{"rxk", "txey", "rx!"}, []string{"rxk", "txey", "rx!"}},
		"that overlap":        {[]string{"abc", "bcd"}, []string{"txab", "txcd"}, []string{"tx**", "tx**"}, []string{"tx**", "tx**"}},
		"that follow at once": {[]string{"aba"}, []string{"txababa!"}, []string{"tx*****!"}, []string{"tx*****!"}},
		"after a false start": {[]string{"aab"}, []string{"rxaa", "rxab"}, []string{"rxa*", "rx**"}, []string{"rxa*", "rx**"}},
		"cut off at the end":  {[]string{"key"}, []string{"rxke"}, nil, []string{"rx**"}},
		"none given":          {[]string{""}, []string{"rxkey"}, []string{"rxkey"}, []string{"rxkey"}},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := masked(t, c.secrets, c.pieces...)
			if diff := cmp.Diff(c.before, before); diff != "" {
				t.Errorf("while it runs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.after, after); diff != "" {
				t.Errorf("completed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordHoldsBackOnlySoMuch(t *testing.T) {
	pieces := []string{"rxk"}
	for range 2 * maxHeldEntries {
		pieces = append(pieces, "txquestion")
	}
	pieces = append(pieces, "rxey")
	before, after := masked(t, []string{"key"}, pieces...)
	if len(before) != len(pieces) || before[0] != "rx*" || after[len(after)-1] != "rx**" {
		t.Errorf("%d of %d entries; first %q, last %q", len(before), len(pieces), before[0], after[len(after)-1])
	}
}

func FuzzRecordMasksSecrets(f *testing.F) {
	f.Add([]byte("some key here"), "key", uint8(2))
	f.Add([]byte("aaaaab"), "aab", uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, secret string, cut uint8) {
		if len(secret) == 0 || len(secret) > 64 || strings.Contains(secret, "*") || bytes.Contains(data, []byte("*")) {
			return
		}
		pieces := []string{}
		for rest := data; len(rest) > 0; {
			n := min(len(rest), int(cut)+1)
			pieces = append(pieces, "rx"+string(rest[:n]))
			rest = rest[n:]
		}
		_, after := masked(t, []string{secret}, pieces...)
		got := ""
		for _, p := range after {
			got += p[2:]
		}
		if len(got) != len(data) || strings.Contains(got, secret) {
			t.Fatalf("%q became %q: secret %q", data, got, secret)
		}
		for i := range got {
			if got[i] != data[i] && got[i] != maskByte {
				t.Fatalf("%q became %q", data, got)
			}
		}
	})
}

// brokenWriter takes n writes.
type brokenWriter struct{ n int }

var errFull = errors.New("disk full")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.n--; w.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestRecordTroubleLeavesTheLineAlone(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		for i := range 3 {
			_, _ = fmt.Fprintf(far, "%d", i)
		}
		far.Close()
	}()
	l := Record(fakeLine{near}, &brokenWriter{n: 1}, nil, time.Now)
	receivePlain(t, l, "012")
	if err := l.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close() = %v, want %v", err, errFull)
	}
}

func FuzzReadRecording(f *testing.F) {
	f.Add([]byte(`{"t":0,"dir":"rx","hex":"2f"}` + "\n"))
	f.Add([]byte(`{"t":1e999}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var again []byte
		var want []Entry
		for e, err := range ReadRecording(bytes.NewReader(text)) {
			if err != nil {
				break
			}
			e.At = e.At.Round(time.Microsecond)
			want, again = append(want, e), e.appendTo(again)
		}
		i := 0
		for e, err := range ReadRecording(bytes.NewReader(again)) {
			e.At = e.At.Round(time.Microsecond)
			if err != nil || !cmp.Equal(e, want[i]) {
				t.Fatalf("entry %d: %+v became %+v, %v", i, want[i], e, err)
			}
			i++
		}
		if i != len(want) {
			t.Fatalf("%d of %d entries came back", i, len(want))
		}
	})
}
