package hdlc

import (
	"strconv"

	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
)

// Bounds of what is told about unknown lists: how many shapes, and how much of
// each.
const (
	maxNoted = 16
	maxNote  = 4096
)

// note tells of a list that nobody knows, once for each shape.
func (p *push) note() {
	p.scratch = p.scratch[:0]
	for i := range p.tree.Elements {
		e := &p.tree.Elements[i]
		p.scratch = append(p.scratch, byte(e.Tag), e.Depth)
	}
	if p.noted[string(p.scratch)] || len(p.noted) >= maxNoted {
		return
	}
	p.noted[string(p.scratch)] = true
	p.r.Note = "push list that nobody knows; name its positions with layout, or please report it: " + describe(p.tree)
}

// describe is a tree as text: its outermost elements with their positions, as
// layout and the names item-0, item-1 … count them.
func describe(t *dlms.Tree) string {
	var b []byte
	root := &t.Elements[0]
	if root.Tag != dlms.Array && root.Tag != dlms.Structure {
		return string(appendElement(b, t, 0))
	}
	b = append(b, root.Tag.String()...)
	for i, n := 1, 0; i < len(t.Elements); i, n = t.Next(i), n+1 {
		b = append(b, " ["...)
		b = strconv.AppendInt(b, int64(n), 10)
		b = append(b, "] "...)
		b = appendElement(b, t, i)
		if len(b) > maxNote {
			return string(append(b[:maxNote], " …"...))
		}
	}
	return string(b)
}

// appendElement appends an element and all inside it: double-long-unsigned 5,
// octet-string 0100010800FF, structure(integer 0, enum 27).
func appendElement(b []byte, t *dlms.Tree, i int) []byte {
	e := &t.Elements[i]
	b = append(b, e.Tag.String()...)
	if e.Tag == dlms.Array || e.Tag == dlms.Structure {
		b = append(b, '(')
		for n := i + 1; n < t.Next(i) && len(b) <= maxNote; n = t.Next(n) {
			if n > i+1 {
				b = append(b, ", "...)
			}
			b = appendElement(b, t, n)
		}
		return append(b, ')')
	}
	content := t.Bytes(i)
	if number, ok := t.Number(i, 0); ok {
		return number.AppendTo(append(b, ' '))
	}
	switch {
	case len(content) == 0:
		return b
	case e.Tag != dlms.OctetString && e.Tag.IsString() && isText(content):
		return strconv.AppendQuote(append(b, ' '), string(content))
	}
	return appendUpperHex(append(b, ' '), content)
}
