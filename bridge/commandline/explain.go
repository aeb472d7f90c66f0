package commandline

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/term"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
)

// explanation is decode --explain --format json: one object a file.
type explanation struct {
	File   string         `json:"file"`
	Driver string         `json:"driver"`
	Hex    string         `json:"hex"` // all bytes of the input
	Spans  []drivers.Span `json:"spans"`
}

// explainFiles says what each byte of each file means. Like decode it fails if
// there was no reading, or a telegram was refused.
func explainFiles(out io.Writer, files []string, d drivers.Driver, c drivers.Config, z drivers.Zones, asJSON bool) error {
	if d.Explain == nil {
		return usage{fmt.Errorf("--explain: the driver %s cannot explain its telegrams", d.Name)}
	}
	if len(files) == 0 {
		files = []string{"-"}
	}
	w := bufio.NewWriter(out)
	read, bad := false, false
	for _, name := range files {
		e, err := explainFile(name, d, c, z)
		if err != nil {
			printError(fmt.Errorf("%s: %w", name, err))
			bad = true
			continue
		}
		read = read || slices.ContainsFunc(e.Spans, func(s drivers.Span) bool { return s.Value != "" })
		bad = bad || slices.ContainsFunc(e.Spans, func(s drivers.Span) bool { return s.Bad })
		if err := e.write(w, asJSON); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case bad:
		return errTold
	case !read:
		return errNoTelegram
	}
	return nil
}

var errNoTelegram = drivers.WithHint(errors.New("no telegram found"), "is it the right --driver?")

func explainFile(name string, d drivers.Driver, c drivers.Config, z drivers.Zones) (*explanation, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, errors.Unwrap(err)
		}
		defer f.Close()
		in = f
	}
	decoder, err := d.NewDecoder(c, z)
	if err != nil {
		return nil, err
	}
	bytesOf := capture.Bytes
	if _, overhears := decoder.(drivers.Overhearer); overhears {
		bytesOf = capture.Conversation // what was sent says what the answers mean
	}
	b, err := bytesOf(in)
	if err != nil {
		return nil, err
	}
	spans, err := d.Explain(c, z, b)
	return &explanation{File: name, Driver: d.Name, Hex: hex.EncodeToString(b), Spans: spans}, err
}

func (e *explanation) write(w *bufio.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(e)
	}
	paint := paint(term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "")
	b, err := hex.DecodeString(e.Hex)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %d bytes, %s\n", e.File, len(b), e.Driver)
	var in []string
	for _, s := range e.Spans {
		if !slices.Equal(in, s.In) {
			in = s.In
			fmt.Fprintln(w, strings.TrimRight("        "+paint.as(heading, tame(strings.Join(in, " › "))), " "))
		}
		paint.span(w, &s, b[s.Offset:s.Offset+s.Length])
	}
	return nil
}

// paint says whether lines are coloured.
type paint bool

// The ways to paint, as ANSI has them.
const (
	heading = "1"  // bold
	quiet   = "2"  // dim
	value   = "32" // green
	wrong   = "31" // red
)

func (p paint) as(how, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + how + "m" + text + "\x1b[0m"
}

// span prints one line: offset, bytes, name, what they say and what was read from
// them.
func (p paint) span(w io.Writer, s *drivers.Span, b []byte) {
	name, text := fmt.Sprintf("%-20s", s.Name), tame(s.Text)
	switch {
	case s.Bad:
		name, text = p.as(wrong, name), p.as(wrong, text)
	case s.Name == drivers.Unexplained:
		name, text = p.as(quiet, name), p.as(quiet, text)
	}
	if s.Clear != "" {
		text = strings.TrimLeft(text+" [clear "+s.Clear+"]", " ")
	}
	if s.Value != "" {
		text = strings.TrimLeft(text+" = "+p.as(value, tame(s.Value)), " ")
	}
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%6d  %-26s  %s  %s", s.Offset, sample(b), name, text), " "))
}

// tame is text that a meter may have written, without what a terminal obeys.
func tame(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, text)
}

// sampled is how many bytes of a span are shown at most.
const sampled = 8

// sample are the first bytes of a span: text as text, all else in hexadecimal.
func sample(b []byte) string {
	rest := ""
	if len(b) > 3*sampled {
		b, rest = b[:3*sampled-1], "…"
	}
	if !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c > '~' }) && len(b) > 2 {
		return string(b) + rest
	}
	if len(b) > sampled {
		b, rest = b[:sampled], "…"
	}
	return hex.EncodeToString(b) + rest
}
