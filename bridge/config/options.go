package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parseOptions reads the options file of the Home Assistant app: the keys of the
// TOML file as one JSON object. null and "" count as not given, which is how a
// form leaves a field out. nil: its syntax is broken, and r says where.
func parseOptions(file string, document []byte, r *report) *table {
	o := optionsReader{file: file, lines: lineStarts(document), report: r}
	at := origin{File: file}
	var object map[string]any
	if err := json.Unmarshal(document, &object); err != nil {
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			at.Line = lineAt(o.lines, max(0, int(e.Offset)-1))
		}
		r.add(at, fmt.Sprintf("this is no JSON object: %v", err), "save the app's configuration page again")
		return nil
	}
	o.tokens = json.NewDecoder(bytes.NewReader(document))
	o.tokens.UseNumber()
	root := newTable(at)
	if o.next() == json.Delim('{') {
		o.object(root)
	}
	return root
}

// optionsReader turns JSON tokens into tables. The document was judged before.
type optionsReader struct {
	tokens *json.Decoder
	file   string
	lines  []int
	report *report
}

// next is the next token, or nil at the end.
func (o *optionsReader) next() json.Token {
	t, err := o.tokens.Token()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return t
}

func (o *optionsReader) at() origin {
	return origin{File: o.file, Line: lineAt(o.lines, max(0, int(o.tokens.InputOffset())-1))}
}

// object reads up to the closing brace.
func (o *optionsReader) object(into *table) {
	for o.tokens.More() {
		name, _ := o.next().(string)
		at := o.at()
		if into.has(name) {
			at.Key = name
			o.report.add(at, "the key is there twice", "leave one of them out")
		}
		o.entry(into, name, at)
	}
	o.next()
}

func (t *table) has(name string) bool {
	_, isValue := t.values[name]
	_, isArray := t.arrays[name]
	return isValue || isArray || t.tables[name] != nil
}

func (o *optionsReader) entry(into *table, name string, at origin) {
	switch v := o.next().(type) {
	case json.Delim:
		if v == '[' {
			o.array(into, name, at)
			return
		}
		into.tables[name] = newTable(at)
		o.object(into.tables[name])
	case string:
		if v != "" {
			into.values[name] = value{text, v, at}
		}
	case bool:
		into.values[name] = value{boolean, fmt.Sprint(v), at}
	case json.Number:
		into.values[name] = value{numberKind(v), v.String(), at}
	}
}

// array reads up to the closing bracket: tables only, or a list.
func (o *optionsReader) array(into *table, name string, at origin) {
	elements, texts := []*table{}, []string{}
	others := false
	for o.tokens.More() {
		holder := newTable(o.at())
		o.entry(holder, name, o.at())
		if t := holder.tables[name]; t != nil {
			elements = append(elements, t)
			continue
		}
		others = true
		if v := holder.values[name]; v.Kind == text && !strings.Contains(v.Text, "\n") {
			texts = append(texts, v.Text)
		} else {
			texts = []string{mixed}
		}
	}
	o.next()
	if others {
		into.values[name] = value{Kind: list, Text: strings.Join(texts, "\n"), From: at}
		return
	}
	into.arrays[name] = elements
}

func numberKind(n json.Number) kind {
	if _, err := n.Int64(); err != nil {
		return decimal
	}
	return integer
}

// deviceMeansPort puts device, which the app's form lets pick from a list, in
// the place of each meter's port.
func deviceMeansPort(options *table, r *report) {
	for _, m := range options.arrays[meterSection] {
		device, ok := m.values["device"]
		if !ok {
			continue
		}
		delete(m.values, "device")
		device.From.Key = meterName(m.values["name"].Text) + ".device"
		if _, both := m.values["port"]; both {
			r.add(device.From, "both device and port are set", "leave one of them empty")
			continue
		}
		m.values["port"] = device
	}
}
