package dlms

// Counter watches the invocation counters of one meter's telegrams. Show it only
// telegrams that are good otherwise: without a tag, a damaged counter is noticed
// by what it makes of the clear text. The zero Counter has seen none.
type Counter struct {
	title Title
	last  uint32
	doubt int // how many more must rise before one is taken again
	seen  bool
}

// rises is how often a counter must rise after it fell.
const rises = 2

// Check says whether a telegram is news. ErrCounter: its counter repeats the one
// before, or fell, or rose only once since it fell: after a fall (a replay, or a
// new key) the second rising one is taken again. Another title begins anew.
func (c *Counter) Check(s Security) error {
	if !c.seen || c.title != s.Title {
		*c = Counter{title: s.Title, last: s.Counter, seen: true}
		return nil
	}
	last := c.last
	c.last = s.Counter
	switch {
	case s.Counter == last:
		return ErrCounter
	case s.Counter < last:
		c.doubt = rises
		return ErrCounter
	case c.doubt > 1:
		c.doubt--
		return ErrCounter
	}
	c.doubt = 0
	return nil
}
