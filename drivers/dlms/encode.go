package dlms

// AppendTo appends the tree as A-XDR: what a meter would send. Lengths take
// their shortest form, and a compact array becomes an array of its values.
func (t *Tree) AppendTo(b []byte) []byte {
	for i := range t.Elements {
		e := &t.Elements[i]
		if e.Tag == Descriptor {
			b = append(b, t.Bytes(i)...)
			continue
		}
		b = append(b, byte(e.Tag))
		switch {
		case e.Tag == Array || e.Tag == Structure || e.Tag == BitString:
			b = appendLength(b, int(e.Count))
		case sizes[e.Tag] == sized:
			b = appendLength(b, int(e.Len))
		}
		if e.Tag != Array && e.Tag != Structure {
			b = append(b, t.Bytes(i)...)
		}
	}
	return b
}
