package service

import (
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// manager is the socket of a service manager.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

// heard are the messages that wait in the socket.
func heard(t *testing.T, conn *net.UnixConn) []string {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	err = raw.Control(func(fd uintptr) {
		for message := make([]byte, 256); ; {
			n, _, err := unix.Recvfrom(int(fd), message, unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			all = append(all, string(message[:n]))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheManagerHearsOfStartLifeAndEnd(t *testing.T) {
	socket := manager(t)
	n := Notifier{Watchdog: 30 * time.Second}
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for second := range 31 {
		if err := n.Beat(start.Add(time.Duration(second) * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Stopping(); err != nil {
		t.Fatal(err)
	}
	want := []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"}
	if diff := cmp.Diff(want, heard(t, socket)); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutWatchdogOnlyStartAndEndAreTold(t *testing.T) {
	socket := manager(t)
	var n Notifier
	for range 100 {
		if err := n.Beat(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"READY=1"}, heard(t, socket)); diff != "" {
		t.Error(diff)
	}
}

func TestTheWatchdogsLimitComesFromTheManager(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(90_000_000))
	t.Setenv("WATCHDOG_PID", "")
	n, err := New()
	if err != nil || n.Watchdog != 90*time.Second {
		t.Errorf("%s, %v", n.Watchdog, err)
	}
}

func TestWithoutAManagerNothingHappens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	var n Notifier
	if err := n.Beat(time.Now()); err != nil {
		t.Error(err)
	}
}
