package transport

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// aNode is a socket on the loopback, and the line to it.
func aNode(t *testing.T) (*net.UDPConn, drivers.Line) {
	t.Helper()
	node, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close() })
	port, err := ParsePort("udp://"+node.LocalAddr().String(), drivers.Mode{})
	if err != nil {
		t.Fatal(err)
	}
	line, err := Open(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	return node, line
}

// asks sends from the line, and gives where the node saw it come from.
func asks(t *testing.T, node *net.UDPConn, line drivers.Line, text string) *net.UDPAddr {
	t.Helper()
	if _, err := line.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	var buf [64]byte
	n, from, err := node.ReadFromUDP(buf[:])
	if err != nil || string(buf[:n]) != text {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	return from
}

func wantRead(t *testing.T, line drivers.Line, want string) {
	t.Helper()
	if err := line.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var buf [64]byte
	if n, err := line.Read(buf[:]); err != nil || string(buf[:n]) != want {
		t.Fatalf("got %q, %v, want %q", buf[:n], err, want)
	}
}

func TestEachReadOfAUDPLineIsOneDatagramOfThePeer(t *testing.T) {
	node, line := aNode(t)
	if !drivers.InDatagrams(line) {
		t.Error("it is not known for one of datagrams")
	}
	us := asks(t, node, line, "question")
	stranger, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, us)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	if _, err := stranger.Write([]byte("not asked")); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "", "second"} {
		if _, err := node.WriteToUDP([]byte(text), us); err != nil {
			t.Fatal(err)
		}
	}
	wantRead(t, line, "first")
	wantRead(t, line, "second")
}

func TestAUDPLineKeepsItsDeadlineAndDiscards(t *testing.T) {
	node, line := aNode(t)
	if err := line.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := line.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	us := asks(t, node, line, "question")
	if _, err := node.WriteToUDP([]byte("old"), us); err != nil {
		t.Fatal(err)
	}
	if err := line.Discard(); err != nil {
		t.Error(err)
	}
	if err := line.SetMode(drivers.Mode{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	if err := line.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCloseWakesAReadOfAUDPLine(t *testing.T) {
	_, line := aNode(t)
	ended := make(chan error, 1)
	go func() {
		_, err := line.Read(make([]byte, 8))
		ended <- err
	}()
	if err := line.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("it read")
	}
}

// Two lines to the same machine: only one has the port where announcements come, and
// both are answered.
func TestTwoUDPLinesAtATimeAreBothAnswered(t *testing.T) {
	one, first := aNode(t)
	two, second := aNode(t)
	for node, line := range map[*net.UDPConn]drivers.Line{one: first, two: second} {
		us := asks(t, node, line, "question")
		if _, err := node.WriteToUDP([]byte("answer"), us); err != nil {
			t.Fatal(err)
		}
		wantRead(t, line, "answer")
	}
}
