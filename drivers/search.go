package drivers

// Search is what to look for on a line, and whom to tell of it. One caller at a
// time; a Search that ctx ended goes on another day from the State of its last
// Progress.
type Search struct {
	Ways   []string // which of Driver.Ways to go, in this order; empty: all
	Bauds  []int    // the speeds to look at, one after the other; empty: the line's own
	Resume string   // State of an earlier Progress; "": from the start

	Found    func(Found) error // its error ends the search
	Progress func(Progress)    // before each step; may be nil

	// Yield is called between steps, when the line is at its own speed and free for
	// others. Its error ends the search. nil: nobody waits for the line.
	Yield func() error
}

// Found is a meter that a search has found, or a place where something answers
// that cannot be told apart.
type Found struct {
	Meter Identity  // as far as it told
	Keys  []Setting // for its [[meter]] table
	Doubt string    // what is wrong there and what to do; "": nothing
}

// Setting is a key of a [[meter]] table and its value, as text.
type Setting struct{ Key, Value string }

// Progress is how far a search has come.
type Progress struct {
	Done   float64 // 0 to 1: the part of the addresses that is behind it
	Probes int     // requests so far, since it was resumed
	Found  int     // meters so far, since it was resumed
	At     string  // where it is now, for people: "secondary 12FFFFFF at 2400 baud"
	State  string  // for Search.Resume; opaque
}

// Address is a meter's address on its line, which configurations give as text or
// as a whole number.
type Address string

// File is the path of a file that a key names; "" is none. A relative one starts
// from the folder of the configuration that it stands in.
type File string
