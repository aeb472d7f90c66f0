package demo

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// table shows the newest reading of each meter on a terminal, redrawn in place.
type table struct {
	out    io.Writer
	head   string     // what stands above, one line each
	height func() int // of the terminal, in lines; 0: nobody knows

	mu     sync.Mutex
	meters map[string]*drivers.Reading
	counts map[string]int
}

func newTable(out io.Writer, head string, height func() int) *table {
	return &table{out: out, head: head, height: height, meters: map[string]*drivers.Reading{}, counts: map[string]int{}}
}

// observe keeps a copy of a meter's newest reading.
func (t *table) observe(meter string, r *drivers.Reading) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.meters[meter] = r.Clone()
	t.counts[meter]++
}

// Terminal control: to the upper left corner, and clear what is below.
const (
	home = "\x1b[H"
	wipe = "\x1b[J"
)

// draw writes the whole table anew.
func (t *table) draw(now time.Time) error {
	var b bytes.Buffer
	b.WriteString(home + wipe + t.head + "\n")
	t.mu.Lock()
	defer t.mu.Unlock()
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	share := t.share()
	for _, name := range slices.Sorted(maps.Keys(t.meters)) {
		r := t.meters[name]
		if share >= airy {
			fmt.Fprintln(w)
		}
		rest := ""
		if left := len(r.Values) - share; left > 0 {
			rest = fmt.Sprintf(", +%d values", left)
		}
		fmt.Fprintf(w, "%s\t%s %s\ttelegram %d, %s ago%s\n", name, r.Meter.Manufacturer, r.Meter.ID,
			t.counts[name], now.Sub(r.Received).Round(time.Second), rest)
		writeValues(w, r.Values, share)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := t.out.Write(b.Bytes())
	return err
}

// airy is from how many values a meter on an empty line sets the meters apart.
const airy = 3

// share is how many lines each meter's values may take, so that all meters fit on
// the terminal.
func (t *table) share() int {
	height := t.height()
	if height <= 0 || len(t.meters) == 0 {
		return math.MaxInt
	}
	left := (height-strings.Count(t.head, "\n")-2)/len(t.meters) - 1 // without the meter's own line
	if left > airy {
		left-- // the empty one
	}
	return max(0, left)
}

// writeValues writes a line a value, at most so many lines: numbers with a unit
// first.
func writeValues(w io.Writer, values []drivers.Value, lines int) {
	telling := func(v drivers.Value) bool { return v.Kind == drivers.Number && v.Unit != "" }
	values = slices.Clone(values)
	slices.SortStableFunc(values, func(a, b drivers.Value) int {
		switch {
		case telling(a) == telling(b):
			return 0
		case telling(a):
			return -1
		}
		return 1
	})
	for i := range values[:min(lines, len(values))] {
		v := &values[i]
		code := ""
		if !v.Code.IsZero() {
			code = v.Code.String()
		}
		fmt.Fprintf(w, "  %s\t%s\t%s %s\n", code, v.Name, v.AppendPayload(nil), v.Unit)
	}
}
