package drivers

import (
	"errors"
)

// Sniff is what a driver makes of bytes that a line said by itself.
type Sniff struct {
	Telegrams int       // that are whole: readable, or ciphered with another key
	Damaged   int       // frames of this protocol that fail their check
	Check     Check     // the weakest that vouched for one of them
	Settings  []Setting // for the [[meter]] table, beside the driver
}

// Better says whether s is a better explanation of the same bytes than o: more
// whole telegrams, vouched for by more.
func (s Sniff) Better(o Sniff) bool {
	switch {
	case (s.Telegrams > 0) != (o.Telegrams > 0):
		return s.Telegrams > 0
	case s.Telegrams > 0 && s.Check != o.Check:
		return s.Check > o.Check
	case s.Telegrams != o.Telegrams:
		return s.Telegrams > o.Telegrams
	}
	return s.Damaged > o.Damaged
}

// SniffWith counts what a new decoder finds in bytes of a line that has since
// fallen silent. A frame that is whole and cannot be read, for want of a key or of
// knowledge, counts as whole.
func SniffWith(d Decoder, b []byte) Sniff {
	s := Sniff{Check: CheckTag}
	d.Feed(b)
	d.Gap()
	var r Reading
	for {
		err := d.Next(&r)
		lost, refused := errors.AsType[*FrameError](err)
		switch {
		case err == nil:
			s.Telegrams++
			s.Check = min(s.Check, r.Check)
		case !refused:
			return s
		case errors.Is(lost.Err, ErrAuth):
			s.Telegrams++
			s.Check = min(s.Check, CheckSum8)
		default:
			s.Damaged++
		}
	}
}
