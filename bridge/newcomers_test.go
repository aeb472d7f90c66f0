package bridge

import (
	"strconv"
	"testing"
)

func TestNewcomers(t *testing.T) {
	t.Run("a new key waits for the third telegram in a row", func(t *testing.T) {
		var n newcomers
		for i, want := range []bool{true, true, false, false} {
			n.begin()
			if got := n.wait("volume"); got != want {
				t.Errorf("telegram %d: waits: %v", i+1, got)
			}
		}
	})
	t.Run("a key that a telegram lacks waits anew", func(t *testing.T) {
		var n newcomers
		for range newcomerComes - 1 {
			n.begin()
			n.wait("volume")
		}
		n.begin()
		n.begin()
		if !n.wait("volume") {
			t.Error("believed")
		}
	})
	t.Run("names without end take no memory without end", func(t *testing.T) {
		var n newcomers
		n.begin()
		for i := range 2 * maxNewcomers {
			n.wait(strconv.Itoa(i))
		}
		if len(n.now) != maxNewcomers {
			t.Error(len(n.now))
		}
	})
}
