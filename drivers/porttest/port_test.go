//go:build unix

package porttest

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

func TestAHeldPortRefusesIsGivenToNobodyAndCanBeListenedOn(t *testing.T) {
	held := Address(t)
	for range 3 {
		if _, err := net.Dial("tcp", held); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("called: %v", err)
		}
		l, err := net.Listen("tcp", held)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", held)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := l.Accept(); err != nil || s.Close() != nil || c.Close() != nil || l.Close() != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		if l.Addr().String() == held {
			t.Fatalf("%s was given away", held)
		}
	}
}
