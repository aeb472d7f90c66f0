package transport

import (
	"io"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustParse(tb testing.TB, text string) Port {
	tb.Helper()
	p, err := ParsePort(text, usual)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func mustOpen(tb testing.TB, text string) drivers.Line {
	tb.Helper()
	l, err := Open(tb.Context(), mustParse(tb, text))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l
}

// receive reads exactly as many bytes as want has, and compares.
func receive(tb testing.TB, r io.Reader, want string) {
	tb.Helper()
	if l, ok := r.(drivers.Line); ok {
		if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			tb.Fatal(err)
		}
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		tb.Fatalf("after %q: %v", got, err)
	}
	if string(got) != want {
		tb.Fatalf("received %q, want %q", got, want)
	}
}

// blocked starts a read that nothing answers, and gives its error once act has
// ended it.
func blocked(t *testing.T, l drivers.Line, act func()) error {
	t.Helper()
	began, done := make(chan struct{}), make(chan error, 1)
	go func() {
		close(began)
		_, err := l.Read(make([]byte, 1))
		done <- err
	}()
	<-began
	act()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the read is still blocked")
		return nil
	}
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}
