package demo

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// table shows the newest reading of each meter on a terminal, redrawn in place.
type table struct {
	out  io.Writer
	head string // what stands above, one line each

	mu     sync.Mutex
	meters map[string]*drivers.Reading
	counts map[string]int
}

func newTable(out io.Writer, head string) *table {
	return &table{out: out, head: head, meters: map[string]*drivers.Reading{}, counts: map[string]int{}}
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
	for _, name := range slices.Sorted(maps.Keys(t.meters)) {
		r := t.meters[name]
		fmt.Fprintf(w, "\n%s\t%s %s\ttelegram %d, %s ago\n", name, r.Meter.Manufacturer, r.Meter.ID,
			t.counts[name], now.Sub(r.Received).Round(time.Second))
		for i := range r.Values {
			v := &r.Values[i]
			code := ""
			if !v.Code.IsZero() {
				code = v.Code.String()
			}
			fmt.Fprintf(w, "  %s\t%s\t%s %s\n", code, v.Name, v.AppendPayload(nil), v.Unit)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := t.out.Write(b.Bytes())
	return err
}
