package bridge

import (
	"strconv"
	"testing"
)

func TestNewcomers(t *testing.T) {
	t.Run("a new key waits for the next telegram", func(t *testing.T) {
		var n newcomers
		n.begin()
		if !n.wait("volume") {
			t.Error("believed at once")
		}
		n.begin()
		if n.wait("volume") {
			t.Error("not believed the second time")
		}
	})
	t.Run("a key that comes again much later waits anew", func(t *testing.T) {
		var n newcomers
		n.begin()
		n.wait("volume")
		for range newcomerSpan + 1 {
			n.begin()
		}
		if !n.wait("volume") {
			t.Error("believed")
		}
		n.begin()
		if n.wait("volume") {
			t.Error("not believed the second time")
		}
	})
	t.Run("names without end take no memory without end", func(t *testing.T) {
		var n newcomers
		for i := range 100 * maxNewcomers {
			n.begin()
			for j := range 5 {
				n.wait(strconv.Itoa(5*i + j))
			}
			if len(n.seen) > maxNewcomers {
				t.Fatal(len(n.seen))
			}
		}
	})
}
