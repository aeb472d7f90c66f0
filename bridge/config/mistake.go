package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Mistake is one thing that is wrong with a configuration. It never holds a
// secret.
type Mistake struct {
	File   string // where it stands: a path, or "environment"; "" if it stands nowhere
	Line   int    // from 1; 0 if there is none
	Key    string // "mqtt.url", "meter.main.every", or the variable's name; "" for a whole file
	Reason string // what is wrong
	Remedy string // what is right, or what to do
}

// String is the mistake in one line: FILE:LINE: KEY: REASON; REMEDY.
func (m Mistake) String() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		b.WriteString(":" + strconv.Itoa(m.Line))
	}
	for _, part := range []string{m.Key, m.Reason} {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	if m.Remedy != "" {
		b.WriteString("; " + m.Remedy)
	}
	return b.String()
}

// rank puts the files in front of the environment.
func (m Mistake) rank() int {
	if m.File == environment {
		return 1
	}
	return 0
}

// Error is what Load returns for a configuration that cannot be used: every
// mistake, those of one file together and in the order of its lines.
type Error struct{ Mistakes []Mistake }

// Error is all mistakes, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// origin is where a value stands.
type origin struct {
	File string
	Line int
	Key  string
}

// environment stands in place of a file's name.
const environment = "environment"

// report collects mistakes.
type report struct{ mistakes []Mistake }

func (r *report) add(at origin, reason, remedy string) {
	r.mistakes = append(r.mistakes, Mistake{at.File, at.Line, at.Key, reason, remedy})
}

// addError adds an error that may carry its remedy as a hint.
func (r *report) addError(at origin, err error) { r.add(at, err.Error(), drivers.Hint(err)) }

// err is an *Error with all mistakes, or nil if there are none.
func (r *report) err() error {
	if len(r.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return &Error{r.mistakes}
}
