package discovery

import (
	"strconv"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// coordinates are the part of a key behind @: where an M-Bus record stands.
type coordinates struct{ tariff, subunit, function, storage string }

// functions are the words for what stands behind f.
var functions = map[string]string{"max": "maximum", "min": "minimum", "err": "during error"}

// coordinatesOf reads s1t2u1fmax, as drivers.Keyer writes it.
func coordinatesOf(key string) coordinates {
	_, rest, found := strings.Cut(key, "@")
	if !found {
		return coordinates{}
	}
	rest, _, _ = strings.Cut(rest, "#")
	var c coordinates
	c.storage, rest = coordinate(rest, "s")
	c.tariff, rest = coordinate(rest, "t")
	c.subunit, rest = coordinate(rest, "u")
	if f, ok := strings.CutPrefix(rest, "f"); ok {
		c.function = functions[f]
	}
	return c
}

func coordinate(s, prefix string) (digits, rest string) {
	tail, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return "", s
	}
	n := 0
	for n < len(tail) && tail[n] >= '0' && tail[n] <= '9' {
		n++
	}
	return tail[:n], tail[n:]
}

// words are the coordinates as people read them.
func (c coordinates) words() string {
	var b strings.Builder
	for _, part := range [...]struct{ word, value string }{
		{" tariff ", c.tariff}, {" subunit ", c.subunit}, {" ", c.function}, {" storage ", c.storage},
	} {
		if part.value != "" {
			b.WriteString(part.word + part.value)
		}
	}
	return b.String()
}

// present says whether the record is a present value rather than one that the
// meter kept.
func (c coordinates) present() bool { return c.storage == "" && c.function == "" }

// describe finds what the catalogue says of q, a quantity of a meter of the given
// medium.
func describe(q drivers.Quantity, medium string) obis.Entry {
	e := obis.Named(q.Name, medium)
	if !q.Code.IsZero() {
		e = obis.LookupMedium(q.Code, medium, q.Unit)
	}
	if e.Known() && !coordinatesOf(q.Key).present() {
		e.Nature = obis.Fact
	}
	return e
}

// Label is what people read of a quantity of a meter of the given medium: "Energy
// import tariff 1".
func Label(q drivers.Quantity, medium string) string { return label(q, describe(q, medium)) }

// label is what people read: from the catalogue, else from the quantity's name,
// else the code. What sets it apart from its like stands behind.
func label(q drivers.Quantity, e obis.Entry) string {
	b := e.Label
	switch {
	case b != "":
	case q.Name != "":
		b = sentence(q.Name)
	case !q.Code.IsZero():
		b = "Register " + q.Code.String()
	default:
		b = sentence(q.Key)
	}
	b += coordinatesOf(q.Key).words()
	if f := q.Code.F(); !q.Code.IsZero() && f != obis.Now && e.Known() {
		b += " period " + strconv.Itoa(int(f))
	}
	if _, nth, found := strings.Cut(q.Key, "#"); found {
		b += " (" + nth + ")"
	}
	return cut(b)
}

// longest is how many characters a label has at most. Meters that print texts
// where codes belong must not make entity ids that Home Assistant refuses.
const longest = 100

func cut(s string) string {
	n := 0
	for i := range s {
		if n == longest {
			return s[:i]
		}
		n++
	}
	return s
}

// sentence is a snake_case name in sentence case.
func sentence(name string) string {
	s := strings.TrimSpace(strings.ReplaceAll(name, "_", " "))
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-'a'+'A') + s[1:]
}
