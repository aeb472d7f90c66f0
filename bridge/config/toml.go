package config

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// parseTOML reads a TOML document, with the text and the line of every key. nil:
// its syntax is broken, and r says where.
func parseTOML(file string, document []byte, r *report) *table {
	document = bytes.TrimPrefix(document, []byte("\ufeff"))
	if err := toml.Unmarshal(document, &map[string]any{}); err != nil {
		r.add(tomlFault(file, err))
		return nil
	}
	t := tomlReader{file: file, lines: lineStarts(document)}
	t.parser.Reset(document)
	root := newTable(origin{File: file})
	current := root
	for t.parser.NextExpression() {
		current = t.expression(root, current, t.parser.Expression())
	}
	if err := t.parser.Error(); err != nil {
		r.add(tomlFault(file, err))
		return nil
	}
	return root
}

// tomlFault says where and why a document cannot be read. go-toml's picture of
// the spot is left out: the lines around it may hold a password.
func tomlFault(file string, err error) (at origin, reason, remedy string) {
	at = origin{File: file}
	reason = strings.TrimPrefix(err.Error(), "toml: ")
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		var column int
		at.Line, column = e.Position()
		reason = fmt.Sprintf("column %d: %s", column, reason)
	}
	return at, reason, "correct the TOML syntax there; all else is checked after that"
}

// tomlReader turns go-toml's expressions into tables. The document was judged
// before, so every key can be taken as it comes.
type tomlReader struct {
	parser unstable.Parser
	file   string
	lines  []int
}

// expression takes one expression in and gives the table that the next one
// belongs to.
func (t *tomlReader) expression(root, current *table, e *unstable.Node) *table {
	switch e.Kind {
	case unstable.Table:
		path, at := t.key(e)
		return t.descend(root, path, at)
	case unstable.ArrayTable:
		path, at := t.key(e)
		parent := t.descend(root, path[:len(path)-1], at)
		element := newTable(at)
		name := path[len(path)-1]
		parent.arrays[name] = append(parent.arrays[name], element)
		return element
	case unstable.KeyValue:
		t.keyValue(current, e)
		return current
	default: // comments are not kept, and nothing else stands at the top
		return current
	}
}

// key is a dotted key and where it stands.
func (t *tomlReader) key(n *unstable.Node) ([]string, origin) {
	var path []string
	at := origin{File: t.file}
	for it := n.Key(); it.Next(); {
		if path == nil {
			at.Line = t.line(it.Node())
		}
		path = append(path, string(it.Node().Data))
	}
	return path, at
}

// line is the line of a key.
func (t *tomlReader) line(key *unstable.Node) int { return lineAt(t.lines, int(key.Raw.Offset)) }

// descend is the table at path, made where it is not there. Of an array of
// tables it is the last element.
func (t *tomlReader) descend(from *table, path []string, at origin) *table {
	for _, name := range path {
		if elements := from.arrays[name]; len(elements) > 0 {
			from = elements[len(elements)-1]
			continue
		}
		if from.tables[name] == nil {
			from.tables[name] = newTable(at)
		}
		from = from.tables[name]
	}
	return from
}

func (t *tomlReader) keyValue(into *table, e *unstable.Node) {
	path, at := t.key(e)
	into = t.descend(into, path[:len(path)-1], at)
	name := path[len(path)-1]
	switch v := e.Value(); {
	case v.Kind == unstable.InlineTable:
		into.tables[name] = t.inline(v, at)
	case v.Kind == unstable.Array && holdsOnlyTables(v):
		into.arrays[name] = t.elements(v, at)
	case v.Kind == unstable.Array:
		into.values[name] = value{Kind: list, Text: joinTexts(v), From: at}
	default:
		into.values[name] = value{Kind: tomlKind(v.Kind), Text: string(v.Data), From: at}
	}
}

// joinTexts is a list of texts in the form of a value's Text: one a line. A list
// that holds anything else is mixed.
func joinTexts(array *unstable.Node) string {
	var texts []string
	for it := array.Children(); it.Next(); {
		n := it.Node()
		if n.Kind != unstable.String || strings.Contains(string(n.Data), "\n") {
			return mixed
		}
		texts = append(texts, string(n.Data))
	}
	return strings.Join(texts, "\n")
}

func (t *tomlReader) inline(n *unstable.Node, at origin) *table {
	made := newTable(at)
	for it := n.Children(); it.Next(); {
		t.keyValue(made, it.Node())
	}
	return made
}

func (t *tomlReader) elements(array *unstable.Node, at origin) []*table {
	made := []*table{}
	for it := array.Children(); it.Next(); {
		made = append(made, t.inline(it.Node(), at))
	}
	return made
}

func holdsOnlyTables(array *unstable.Node) bool {
	for it := array.Children(); it.Next(); {
		if it.Node().Kind != unstable.InlineTable {
			return false
		}
	}
	return true
}

func tomlKind(k unstable.Kind) kind {
	switch k {
	case unstable.String:
		return text
	case unstable.Integer:
		return integer
	case unstable.Float:
		return decimal
	case unstable.Bool:
		return boolean
	case unstable.Array:
		return list
	default:
		return moment
	}
}

// lineStarts are the offsets at which the lines of a document begin.
func lineStarts(document []byte) []int {
	starts := []int{0}
	for i, c := range document {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// lineAt is the line, from 1, that an offset lies in.
func lineAt(starts []int, offset int) int { return sort.SearchInts(starts, offset+1) }
