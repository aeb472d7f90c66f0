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
	t.Run("a key that the next telegram lacks waits anew", func(t *testing.T) {
		var n newcomers
		n.begin()
		n.wait("volume")
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
