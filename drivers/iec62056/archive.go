package iec62056

import (
	"bytes"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// archive is how the columns of a LIS-200 archive are to be read: the addresses
// of their sources (attribute 4), their units (3) and their names (2), each as one
// line of brackets.
type archive struct {
	columns []channel
	clock   int // which column is the time; -1: none
}

// maxColumns bounds an archive. EK280 has 18.
const maxColumns = 64

// newArchive joins what the meter says of the columns.
func (d *Decoder) newArchive(addresses, units, names []byte) archive {
	a := archive{clock: -1}
	ids, unitOf, nameOf := brackets(addresses), brackets(units), brackets(names)
	for i := range max(len(ids), len(nameOf)) {
		a.columns = append(a.columns, d.column(at(ids, i), at(unitOf, i), at(nameOf, i)))
		if a.columns[i].means.class == now {
			a.clock = i
		}
	}
	return a
}

func at(list [][]byte, i int) []byte {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// column reads one column: known by its address, else under its name.
func (d *Decoder) column(id, unit, name []byte) channel {
	c := d.channel(id, unit)
	if c.means.code.IsZero() && len(name) > 0 {
		c.means.name = snake(string(name))
	}
	return c
}

// snake is a name as keys have it: "Vb.tot" is vb_tot.
func snake(s string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, s), "_")
}

// brackets are the texts of a line of brackets.
func brackets(line []byte) (all [][]byte) {
	for len(all) < maxColumns {
		open := bytes.IndexByte(line, '(')
		if open < 0 {
			return all
		}
		line = line[open+1:]
		shut := bytes.IndexByte(line, ')')
		if shut < 0 {
			return all
		}
		all = append(all, bytes.TrimSpace(line[:shut]))
		line = line[shut+1:]
	}
	return all
}

// row makes r what one line of the archive says. false: it has no time, or not as
// many columns.
func (a *archive) row(d *Decoder, line []byte, r *drivers.Reading) bool {
	cells := brackets(line)
	if len(cells) != len(a.columns) || a.clock < 0 {
		return false
	}
	at, ok := d.clock.stamp(cells[a.clock])
	if !ok || at.IsZero() {
		return false
	}
	r.Reset()
	r.Time, r.Check = at, drivers.CheckBCC
	r.Meter.Medium = obis.MediumGas
	for i, cell := range cells {
		if i != a.clock {
			a.columns[i].add(d, cell, r)
		}
	}
	for i := range r.Values {
		r.Values[i].Flags |= drivers.Logged
	}
	return true
}
