package iec62056

import (
	"bytes"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// log reads load profiles and log books of VDEW meters, line by line. Its state
// is the header that the rows behind it belong to, also those of the next partial
// block:
//
//	P.01(stamp)(status)(period)(n)(id)(unit)…(id)(unit)
//	(value)…(value)                                        at stamp
//	(value)…(value)                                        at stamp + period
//
// A log book has its values in the header's own line, or none:
//
//	P.98(stamp)(status)()(n)(id)(unit)…(id)(unit)(value)…(value)
type log struct {
	headed   bool // there is a header
	at       drivers.Stamp
	row      int
	period   time.Duration
	status   string
	channels []channel
}

// channel is one column.
type channel struct {
	means meaning
	unit  obis.Unit
	shift int8
}

// maxChannels bounds the columns of a log.
const maxChannels = 32

// begins says whether a message is a log or goes on with one.
func (l *log) begins(d *Decoder, b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if b[0] == '(' {
		return l.headed
	}
	first := b[:toLineEnd(b)]
	id := d.cells(first)
	dated := false
	if len(d.groups) >= 4 {
		_, dated = d.clock.stamp(d.groups[0])
	}
	c, ok := obis.Scan(id, d.prefix)
	return ok && c.C() == 99 && dated
}

// cells splits a line into its address and its brackets, which stay in d.groups.
func (d *Decoder) cells(line []byte) (id []byte) {
	d.groups = d.groups[:0]
	open := bytes.IndexByte(line, '(')
	if open < 0 {
		return bytes.TrimSpace(line)
	}
	id = bytes.TrimSpace(line[:open])
	for b := line[open:]; len(b) > 0 && b[0] == '('; {
		shut := bytes.IndexByte(b, ')')
		if shut < 0 || len(d.groups) > 4+3*maxChannels {
			break
		}
		d.groups = append(d.groups, bytes.TrimSpace(b[1:shut]))
		b = b[shut+1:]
	}
	return id
}

// line reads one line. yes: r is a row; wait: it was a header, or empty; no: it is
// neither.
func (l *log) line(d *Decoder, line []byte, r *drivers.Reading) verdict {
	id := d.cells(line)
	switch {
	case len(d.groups) == 0:
		return wait
	case len(id) > 0:
		return l.header(d, r)
	case !l.headed || len(d.groups) != len(l.channels):
		return no
	}
	at := l.at
	at.Wall = at.Wall.Add(time.Duration(l.row) * l.period)
	l.row++
	l.fill(d, d.groups, at, r)
	return yes
}

// header reads the line that an address begins.
func (l *log) header(d *Decoder, r *drivers.Reading) verdict {
	*l = log{channels: l.channels[:0]}
	g := d.groups
	if len(g) < 4 {
		return no
	}
	at, ok := d.clock.stamp(g[0])
	n, counted := natural(g[3])
	minutes, periodic := natural(g[2])
	behind := len(g) - 4 - 2*n
	if !ok || at.IsZero() || !counted || n > maxChannels || !periodic && len(g[2]) > 0 || behind != 0 && behind != n {
		return no
	}
	l.at, l.status = at, d.text(g[1])
	l.period = time.Duration(minutes) * time.Minute
	for i := range n {
		l.channels = append(l.channels, d.channel(g[4+2*i], g[5+2*i]))
	}
	l.headed = true
	if n > 0 && behind == 0 {
		return wait
	}
	l.fill(d, g[4+2*n:], at, r)
	return yes
}

// natural reads a number of at most three digits.
func natural(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 3 {
		return 0, false
	}
	for _, c := range b {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func (d *Decoder) channel(id, unit []byte) channel {
	u, shift := d.parseUnit(unit)
	c := channel{d.meaning(id), u, int8(shift)}
	if c.means.name == "" && c.means.code.IsZero() {
		c.means.name = d.text(id)
	}
	return c
}

// fill makes r the row of a moment. Its status word is a value of its own.
func (l *log) fill(d *Decoder, cells [][]byte, at drivers.Stamp, r *drivers.Reading) {
	r.Time = at
	for i, g := range cells {
		l.channels[i].add(d, g, r)
	}
	if l.status != "" {
		v := r.Push()
		v.Name, v.Kind, v.Text = "status", drivers.Text, l.status
	}
	for i := range r.Values {
		r.Values[i].Flags |= drivers.Logged
	}
}

// add adds the value of one cell, if it has one.
func (c *channel) add(d *Decoder, g []byte, r *drivers.Reading) {
	n, err := drivers.ParseDecimal(g)
	if err != nil || c.means.class != measure && c.means.class != free {
		d.fill(&c.means, g, r)
		return
	}
	if n, err = n.Shift(int(c.shift)); err != nil {
		return
	}
	v := r.Push()
	v.Code, v.Name, v.Number, v.Unit = c.means.code, c.means.name, n, c.unit
}
