package sim

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// serving opens a line with a fast simulated meter on it. It ends with the test.
func serving(t *testing.T, address string) *Listener {
	t.Helper()
	s, err := New("p1", Options{Period: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l, err := Listen(ctx, address)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, s.Serve) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// readTelegram waits for a whole telegram.
func readTelegram(t *testing.T, r io.Reader) {
	t.Helper()
	lines := bufio.NewReader(r)
	begun := false
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		begun = begun || strings.HasPrefix(line, "/SIM5")
		if begun && strings.HasPrefix(line, "!") {
			return
		}
	}
}

func TestTCPServesSeveralClients(t *testing.T) {
	l := serving(t, "tcp://127.0.0.1:0")
	addr := strings.TrimPrefix(l.Addr(), "tcp://")
	for range 2 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		readTelegram(t, conn)
	}
}

func TestPTYOutlivesItsClients(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meter")
	l := serving(t, "pty:"+path)
	if l.Addr() != "pty:"+path {
		t.Errorf("address %q", l.Addr())
	}
	for range 3 {
		client, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		readTelegram(t, client)
		_ = client.Close()
	}
}

func TestPTYThatNobodyReadsLosesWhatItHolds(t *testing.T) {
	l, err := listenPTY(filepath.Join(t.TempDir(), "meter"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var written atomic.Int64
	speak := func(_ context.Context, line io.ReadWriter) error {
		for range 8 {
			n, err := line.Write(make([]byte, 4096))
			written.Add(int64(n))
			if err != nil {
				return err
			}
		}
		return errors.New("enough")
	}
	if err := l.Serve(t.Context(), speak); err == nil || err.Error() != "enough" {
		t.Error(err)
	}
	if written.Load() != 8*4096 {
		t.Errorf("%d bytes were written", written.Load())
	}
}

func TestTheLinkOfAPTYGoesWithIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meter")
	if err := os.Symlink("/dev/pts/left-behind", path); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), "pty:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link is still there: %v", err)
	}
}

func TestListenTouchesNoFileOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), "pty:"+path); !errors.Is(err, os.ErrExist) || drivers.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "kept" {
		t.Errorf("the file holds %q", b)
	}
}

func TestListenRefusesWhatIsNoAddress(t *testing.T) {
	for _, address := range []string{"", "pty:", "ftp://127.0.0.1:1", "tcp://127.0.0.1:99999"} {
		if _, err := Listen(t.Context(), address); err == nil {
			t.Errorf("%q was taken", address)
		}
	}
}
