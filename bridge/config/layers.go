package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// delimiter joins the parts of a path inside koanf: section/key, or
// meter/ID/key. No section and no id has it in its name.
const delimiter = "/"

// meterSection is the section that there is once for each meter.
const meterSection = "meter"

// layers merges the sources. Only sections that exist get into koanf; their keys
// are judged when they are read out, because which ones a meter knows hangs on
// its driver, and that may stand in another layer.
type layers struct {
	merged   *koanf.Koanf
	file     string // the first one
	sections []string
	began    map[string]origin // a section's or a meter's first table
	meters   []string          // ids, in the order in which they came
	report   *report
}

func newLayers(sections []string, r *report) *layers {
	return &layers{merged: koanf.New(delimiter), sections: sections, began: map[string]origin{}, report: r}
}

// layer is what one source says: section or meter → key → value.
type layer struct{ sections, meters map[string]map[string]any }

func newLayer() layer {
	return layer{map[string]map[string]any{}, map[string]map[string]any{}}
}

func put(into map[string]map[string]any, name string, key string, v value) {
	if into[name] == nil {
		into[name] = map[string]any{}
	}
	into[name][key] = v
}

// load puts a layer over those that are there.
func (l *layers) load(from layer) {
	tree := map[string]any{}
	for name, keys := range from.sections {
		tree[name] = keys
	}
	meters := map[string]any{}
	for id, keys := range from.meters {
		meters[id] = keys
	}
	tree[meterSection] = meters
	if err := l.merged.Load(confmap.Provider(tree, ""), nil); err != nil {
		l.report.addError(origin{}, err) // confmap has no error of its own
	}
}

// section is what all layers together say of a section.
func (l *layers) section(name string) *section {
	return newSection(name, l.began[name], l.values(name), l.report)
}

// meter is what all layers together say of a meter.
func (l *layers) meter(id string) *section {
	return newSection(meterName(id), l.began[meterName(id)], l.values(meterSection+delimiter+id), l.report)
}

func (l *layers) values(path string) map[string]value {
	found := map[string]value{}
	keys, _ := l.merged.Get(path).(map[string]any)
	for key, v := range keys {
		if v, ok := v.(value); ok {
			found[key] = v
		}
	}
	return found
}

// addFile adds the TOML file or the app's options.
func (l *layers) addFile(t *table) {
	add := newLayer()
	l.file = cmp.Or(l.file, t.from.File)
	for _, key := range slices.Sorted(maps.Keys(t.values)) {
		l.strayKey(key, t.values[key].From)
	}
	for _, name := range slices.Sorted(maps.Keys(t.tables)) {
		l.addSection(add, name, t.tables[name])
	}
	for _, name := range slices.Sorted(maps.Keys(t.arrays)) {
		l.addArray(add, name, t.arrays[name], t.from)
	}
	l.load(add)
}

// strayKey is a key that stands in front of every section.
func (l *layers) strayKey(key string, at origin) {
	at.Key = key
	switch {
	case key == meterSection:
		l.report.add(at, "this is a section, not a key", "write each meter as a table that begins with [[meter]]")
	case slices.Contains(l.sections, key):
		l.report.add(at, "this is a section, not a key", "write its keys under a line ["+key+"]")
	default:
		l.report.add(at, "the key stands outside of any section", "move it under "+l.sectionList())
	}
}

func (l *layers) sectionList() string {
	return "[" + strings.Join(l.sections, "], [") + "] or [[meter]]"
}

func (l *layers) unknownSection(name string, at origin) {
	at.Key = name
	remedy := "there are " + l.sectionList()
	if w := nearest(name, append([]string{meterSection}, l.sections...)); w != "" {
		remedy = "did you mean " + w + "? There are " + l.sectionList()
	}
	l.report.add(at, "unknown section", remedy)
}

func (l *layers) addSection(add layer, name string, t *table) {
	switch {
	case name == meterSection:
		at := t.from
		at.Key = name
		l.report.add(at, "one table where a list of meters goes", "begin each meter with [[meter]], in double brackets")
	case !slices.Contains(l.sections, name):
		l.unknownSection(name, t.from)
	default:
		l.begin(name, t.from)
		l.addKeys(add.sections, name, name, t)
	}
}

func (l *layers) begin(name string, at origin) {
	if _, ok := l.began[name]; !ok {
		l.began[name] = at
	}
}

// addKeys adds what a table holds under an id; name is how messages call it.
func (l *layers) addKeys(into map[string]map[string]any, id, name string, t *table) {
	if into[id] == nil {
		into[id] = map[string]any{}
	}
	for key, v := range t.values {
		v.From.Key = cmp.Or(v.From.Key, name+"."+key)
		put(into, id, key, v)
	}
	for _, key := range slices.Sorted(maps.Keys(t.tables)) {
		at := t.tables[key].from
		at.Key = name + "." + key
		l.report.add(at, "a table where a single value goes", "there are no tables inside of "+name)
	}
	for key := range t.arrays {
		put(into, id, key, value{Kind: list, From: origin{t.from.File, t.from.Line, name + "." + key}})
	}
}

func (l *layers) addArray(add layer, name string, elements []*table, at origin) {
	if len(elements) > 0 {
		at = elements[0].from
	}
	switch {
	case name == meterSection:
		l.addMeters(add, elements)
	case slices.Contains(l.sections, name):
		at.Key = name
		l.report.add(at, "a list of tables where there is one section", "write ["+name+"], in single brackets")
	default:
		l.unknownSection(name, at)
	}
}

// addMeters adds the meters of one file.
func (l *layers) addMeters(add layer, elements []*table) {
	for _, t := range elements {
		id := t.values["name"].Text
		if earlier, twice := add.meters[id]; twice && id != "" {
			at := t.values["name"].From
			at.Key = meterName(id) + ".name"
			line := earlier["name"].(value).From.Line
			l.report.add(at, fmt.Sprintf("a second meter of this name; the first one's stands in line %d", line),
				"give each meter a name of its own")
			id = ""
		}
		if id == "" || strings.Contains(id, delimiter) {
			id = fmt.Sprintf("#%d", len(l.meters)+1)
		}
		if !slices.Contains(l.meters, id) {
			l.meters = append(l.meters, id)
		}
		l.begin(meterName(id), t.from)
		l.addKeys(add.meters, id, meterName(id), t)
	}
}

// meterName is how messages call a meter: meter.main, or meter.#2 for one
// without a name that can be used.
func meterName(id string) string { return meterSection + "." + id }

// addEnvironment adds the variables over everything else.
func (l *layers) addEnvironment(variables []variable) {
	add := newLayer()
	for _, v := range variables {
		switch {
		case v.section == meterSection:
			l.addMeterVariable(add, v, variables)
		case slices.Contains(l.sections, v.section):
			put(add.sections, v.section, v.key, v.value)
		default:
			l.report.add(v.value.From, fmt.Sprintf("there is no section %q", v.section),
				choices(v.section, append(slices.Clone(l.sections), meterSection)))
		}
	}
	l.load(add)
}

// addMeterVariable adds a variable of a meter that a file names. A variable that
// names a driver makes a meter.
func (l *layers) addMeterVariable(add layer, v variable, all []variable) {
	if v.key == "name" {
		l.report.add(v.value.From, "a meter's name cannot be set from here", "the middle part of the variable says which meter it is for")
		return
	}
	if !slices.Contains(l.meters, v.meter) {
		makes := func(o variable) bool { return o.meter == v.meter && o.key == "driver" }
		if !slices.ContainsFunc(all, makes) {
			l.report.add(v.value.From, fmt.Sprintf("there is no meter %q", v.meter), l.noSuchMeter(v.meter))
			return
		}
		l.meters = append(l.meters, v.meter)
		l.begin(meterName(v.meter), origin{File: environment})
		put(add.meters, v.meter, "name", value{loose, v.meter, v.value.From})
	}
	put(add.meters, v.meter, v.key, v.value)
}

func (l *layers) noSuchMeter(wrong string) string {
	remedy := prefix + "METER" + separator + wrong + separator + "DRIVER would make one"
	named := slices.DeleteFunc(slices.Clone(l.meters), func(id string) bool { return strings.HasPrefix(id, "#") })
	if len(named) > 0 {
		return choices(wrong, named) + "; " + remedy
	}
	return remedy
}
