package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
)

func TestParseTap(t *testing.T) {
	for text, want := range map[string]struct {
		address  TapAddress
		loopback bool
	}{
		"":                  {"", false},
		"2001":              {"127.0.0.1:2001", true},
		" :2001 ":           {"127.0.0.1:2001", true},
		"127.0.0.1:2001":    {"127.0.0.1:2001", true},
		"localhost:02001":   {"localhost:2001", true},
		"[::1]:2001":        {"[::1]:2001", true},
		"0.0.0.0:2001":      {"0.0.0.0:2001", false},
		"[::]:2001":         {"[::]:2001", false},
		"192.168.1.5:2001":  {"192.168.1.5:2001", false},
		"Meter.Local.:2001": {"meter.local:2001", false},
	} {
		got, err := ParseTap(text)
		if err != nil || got != want.address || got.Loopback() != want.loopback {
			t.Errorf("%q is %q, loopback %t, error %v", text, got, got.Loopback(), err)
		}
	}
	for text, why := range map[string]string{
		"tap": `"tap"`, "65536": "65536", "1:2:3": "too many colons", "my host:1": "no host name", "192.168.1.256:1": "no IPv4 address",
	} {
		if got, err := ParseTap(text); err == nil || !strings.Contains(err.Error(), why) || drivers.Hint(err) == "" {
			t.Errorf("%q is %q, error %v, hint %q", text, got, err, drivers.Hint(err))
		}
	}
}

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

// tapped is a tap at work.
type tapped struct {
	*Tap
	t       *testing.T
	address string
	log     *lockedLog
	stop    func()
}

func openTap(t *testing.T) *tapped {
	t.Helper()
	tap := startTap(t, TapAddress(porttest.Address(t)))
	waitFor(t, func() bool { return tap.log.count("tap open") == 1 })
	return tap
}

func startTap(t *testing.T, address TapAddress) *tapped {
	t.Helper()
	log := &lockedLog{}
	tap := &tapped{Tap: NewTap(address, zerolog.New(log)), t: t, address: string(address), log: log}
	tap.pause = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { tap.Run(ctx) })
	tap.stop = func() { cancel(); running.Wait() }
	t.Cleanup(tap.stop)
	return tap
}

func (tap *tapped) dial() *net.TCPConn {
	tap.t.Helper()
	c, err := net.Dial("tcp", tap.address)
	if err != nil {
		tap.t.Fatal(err)
	}
	tap.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		tap.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// join is a client that has its place.
func (tap *tapped) join() *net.TCPConn {
	tap.t.Helper()
	before := tap.listening()
	c := tap.dial()
	waitFor(tap.t, func() bool { return tap.listening() == before+1 })
	return c
}

func (tap *tapped) listening() int {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	return len(tap.clients)
}

func TestTapGivesEveryByteToEveryClient(t *testing.T) {
	tap := openTap(t)
	tap.Send([]byte("before anybody came"))
	first := tap.join()
	tap.Send([]byte("/XXX5\r\n"))
	second := tap.join()
	if _, err := io.WriteString(second, "nobody reads this"); err != nil {
		t.Fatal(err)
	}
	tap.Send([]byte("\x00\xff!"))
	receive(t, first, "/XXX5\r\n\x00\xff!")
	receive(t, second, "\x00\xff!")
	first.Close()
	waitFor(t, func() bool { tap.Send([]byte(".")); return tap.listening() == 1 })
	receive(t, second, ".")
	tap.stop()
	// What the client said and nobody had read yet ends its connection less gently.
	rest, err := io.ReadAll(second)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) || strings.Trim(string(rest), ".") != "" {
		t.Errorf("after the end come %q, %v", rest, err)
	}
}

func TestTapClientMayHaveNothingToSay(t *testing.T) {
	tap := openTap(t)
	c := tap.join()
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		tap.mu.Lock()
		defer tap.mu.Unlock()
		for c := range tap.clients {
			return c.isMute()
		}
		return false
	})
	tap.Send([]byte("still"))
	receive(t, c, "still")
}

// A client that takes nothing is sent away, and costs neither the line nor the
// other clients anything.
func TestTapStalledClientIsSentAway(t *testing.T) {
	tap := openTap(t)
	stalled := tap.join()
	if err := stalled.SetReadBuffer(1); err != nil {
		t.Fatal(err)
	}
	good := tap.join()
	block := bytes.Repeat([]byte("0123456789abcdef"), 256)
	for range 10000 { // 40 MB: more than any buffer between us has
		tap.Send(block)
		receive(t, good, string(block))
		if tap.listening() == 1 {
			break
		}
	}
	if tap.listening() != 1 || tap.log.count("too slow") != 1 {
		t.Fatalf("%d clients, told %d times", tap.listening(), tap.log.count("too slow"))
	}
	tap.Send([]byte("goes on"))
	receive(t, good, "goes on")
}

func TestTapHasSixteenPlaces(t *testing.T) {
	tap := openTap(t)
	var clients []*net.TCPConn
	for range tapClients {
		clients = append(clients, tap.join())
	}
	for range 2 {
		late := tap.dial()
		if rest, _ := io.ReadAll(late); len(rest) > 0 {
			t.Errorf("the one too many reads %q", rest)
		}
	}
	if n := tap.log.count("no place"); n != 1 {
		t.Errorf("told %d times", n)
	}
	clients[0].Close() // of which nothing is heard but that it sends no more
	waitFor(t, func() bool {
		tap.mu.Lock()
		defer tap.mu.Unlock()
		for c := range tap.clients {
			if c.isMute() {
				return true
			}
		}
		return false
	})
	late := tap.dial()
	waitFor(t, func() bool {
		tap.mu.Lock()
		defer tap.mu.Unlock()
		for c := range tap.clients {
			if c.conn.RemoteAddr().String() == late.LocalAddr().String() {
				return true
			}
		}
		return false
	})
	tap.Send([]byte("all"))
	for _, c := range append(clients[1:], late) {
		receive(t, c, "all")
	}
}

func TestTapWaitsForItsAddress(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tap := startTap(t, TapAddress(other.Addr().String()))
	waitFor(t, func() bool { return tap.log.count("choose another port") == 1 })
	other.Close()
	waitFor(t, func() bool { return tap.log.count("tap open") == 1 })
	c := tap.join()
	tap.Send([]byte("now"))
	receive(t, c, "now")
	if n := tap.log.count("tap closed"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestTapTellsWhenOthersCanReachIt(t *testing.T) {
	tap := startTap(t, "192.0.2.1:0") // which no machine has: RFC 5737
	waitFor(t, func() bool { return tap.log.count("address of this machine?") == 1 })
	if n := tap.log.count("open to other machines"); n != 1 {
		t.Errorf("told %d times", n)
	}
	if n := openTap(t).log.count("open to other machines"); n != 0 {
		t.Errorf("a tap on loopback warns %d times", n)
	}
}
