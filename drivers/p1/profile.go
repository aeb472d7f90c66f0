package p1

import (
	"bytes"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// addCarried adds the reading of 0-n:24.3.0, DSMR 2.2 and 3: (time)(status)
// (minutes)(count), then as many (code)(unit), then as many values.
func (d *Decoder) addCarried(s *slot, r *drivers.Reading) {
	const head = 4
	g := d.groups
	if len(g) < head {
		return
	}
	at, _ := d.clock.stamp(g[0])
	n := count(g[3])
	if n == 0 || len(g) < head+3*n {
		return
	}
	for i := range n {
		code, ok := obis.Scan(g[head+2*i], obis.Electricity)
		number, err := drivers.ParseDecimal(g[head+2*n+i])
		if !ok || err != nil {
			continue
		}
		v := drivers.Value{Code: code, Name: obis.Lookup(code).Name, Channel: s.channel, Time: at}
		if d.quantity(&v, number, g[head+2*i+1]) {
			r.Values = append(r.Values, v)
		}
	}
}

// count reads a small number; 0: it is none.
func count(b []byte) int {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || n > maxLine {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// capture is what a profile's entries consist of.
type capture struct {
	names   []string
	classes []class
}

// addProfile adds the entries of a buffer: (count)(code)…, then each (time)
// (value)…, one value a code; or, in Hungary, (time)(value)… without codes.
func (d *Decoder) addProfile(s *slot, r *drivers.Reading) {
	g := d.groups
	if at, ok := d.clock.stamp(g[0]); ok {
		d.addMonthEnd(s, at, g[1:], r)
		return
	}
	entries := count(g[0])
	g = d.log.learn(g[1:])
	width := len(d.log.names) + 1
	if width == 1 {
		return // it does not say what its entries are
	}
	for ; entries > 0 && len(g) >= width; entries-- {
		at, ok := d.clock.stamp(g[0])
		if !ok {
			return
		}
		for i, cell := range g[1:width] {
			d.addLogged(s, d.log.names[i], d.log.classes[i], cell, at, r)
		}
		g = g[width:]
	}
}

// learn takes the captured codes off the front of g and gives the rest.
func (c *capture) learn(g [][]byte) [][]byte {
	c.names, c.classes = c.names[:0], c.classes[:0]
	for len(g) > 0 && len(c.names) < maxSlots {
		code, ok := obis.Scan(g[0], obis.Electricity)
		if !ok || bytes.IndexByte(g[0], ':') < 0 {
			break
		}
		e := obis.Lookup(code)
		c.names, c.classes = append(c.names, e.Name), append(c.classes, classOf(code, e))
		g = g[1:]
	}
	return g
}

// addMonthEnd adds the numbers of Hungary's list, named by its fixed order.
func (d *Decoder) addMonthEnd(s *slot, at drivers.Stamp, g [][]byte, r *drivers.Reading) {
	for i, cell := range g {
		name := s.name
		if len(g) >= len(monthEnd) && i < len(monthEnd) {
			name = obis.Lookup(monthEnd[i]).Name
		}
		d.addLogged(s, name, measure, cell, at, r)
	}
}

// addLogged adds one cell of a profile. When the peak of a month occurred stands
// between the month and the value, as a time; it gives no value of its own.
func (d *Decoder) addLogged(s *slot, name string, c class, cell []byte, at drivers.Stamp, r *drivers.Reading) {
	if name == "" {
		name = s.name
	}
	v := drivers.Value{Code: s.code, Name: name, Channel: s.channel, Time: at, Flags: drivers.Logged}
	if _, when := d.clock.stamp(cell); when {
		return
	}
	number := c == measure || bytes.IndexByte(cell, '*') >= 0
	switch {
	case len(cell) == 0 || number && !d.number(&v, cell):
		return // the meter does not know it
	case !number:
		v.Kind, v.Text = drivers.Text, d.texts.plain(cell)
	}
	r.Values = append(r.Values, v)
}
