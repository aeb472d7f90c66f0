package config

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
)

// The page on the configuration comes from what reads a configuration: keys, types
// and defaults from the structs and their comments, limits from what Load says when
// they are passed. Its examples are those of page_keys_test.go.
//
//go:generate go test -run ^TestTheConfigurationPageIsCurrent$ . -update

var update = flag.Bool("update", false, "write docs/configuration.md anew")

const (
	configurationPage = "../../docs/configuration.md"
	module            = "github.com/meter2mqtt/meter2mqtt/"
)

const pageIntroduction = `# The configuration

Made from the program. ` + "[`config.example.toml`](../config.example.toml)" + ` shows the same
keys in one file, to be copied. A mistake stops the start, with its line and what to write instead;
` + "`meter2mqtt check -c config.toml`" + ` tells all of them without starting.

This is a whole configuration:

` + "```toml" + `
[mqtt]
url = "mqtt://192.168.1.10:1883"

[[meter]]
name = "main"
driver = "p1"
port = "/dev/ttyUSB0"
` + "```" + `

Defaults come first, then the file, then the options of the Home Assistant app, which
are the same keys, then the environment; what comes later wins. In the environment a
key is ` + "`METER2MQTT_SECTION__KEY`" + `, one of a meter ` + "`METER2MQTT_METER__NAME__KEY`" + `, with its
` + "`name`" + ` and two underscores between the parts. There a text has no quotes, and a list is
written with commas. A relative path starts from the folder of the file, in the
environment from where the program was started.

A secret may stand in a file of its own, which holds nothing else: ` + "`password_file`" + ` names
the file, ` + "`password`" + ` holds the secret itself. Set at most one of the two.

`

// pageKey is a key of the page.
type pageKey struct {
	section string // "mqtt", "meter"
	driver  string // of the meter that shows it
	own     bool   // it is the driver's own, not every meter's
	name    string
	of      reflect.Type // the struct
	field   reflect.StructField
	value   reflect.Value // its default
}

// id is the key's name in pageKeys.
func (k pageKey) id() string {
	if k.own {
		return k.driver + "." + k.name
	}
	return k.section + "." + k.name
}

func (k pageKey) secret() bool { return k.field.Type == reflect.TypeFor[drivers.Secret]() }

// required says whether a meter is none without it.
func (k pageKey) required() bool {
	return slices.Contains([]string{"meter.name", "meter.driver", "meter.port"}, k.id())
}

// keysOf are the keys of a struct that holds the defaults, as fill finds them.
func keysOf(section, driver string, own bool, defaults any) []pageKey {
	var keys []pageKey
	for field, value := range reflect.ValueOf(defaults).Elem().Fields() {
		if name := field.Tag.Get("koanf"); name != "" {
			keys = append(keys, pageKey{section, driver, own, name, reflect.TypeOf(defaults).Elem(), field, value})
		}
	}
	return keys
}

// pageMeter is the meter that shows a key, whose own line the key is left out of.
func (k pageKey) pageMeter(lines string) string {
	meter := "[[meter]]\n"
	for _, line := range [][2]string{{"name", "main"}, {"driver", k.driver}, {"port", "tcp://192.168.1.7:2001"}} {
		if k.section != meterSection || !regexp.MustCompile(`(?m)^`+line[0]+` = `).MatchString(lines) {
			meter += fmt.Sprintf("%s = %q\n", line[0], line[1])
		}
	}
	return meter
}

// document is a whole configuration in which lines stand where the key belongs.
func (k pageKey) document(lines string) string {
	if k.section == meterSection {
		return k.pageMeter(lines) + lines + "\n"
	}
	return "[" + k.section + "]\n" + lines + "\n" + k.pageMeter("")
}

func (k pageKey) variable(name string) string {
	if k.section == meterSection {
		return prefix + "METER" + separator + "main" + separator + strings.ToUpper(name)
	}
	return prefix + strings.ToUpper(k.section) + separator + strings.ToUpper(name)
}

// pageLoader loads what the page shows, in a folder that has the files which it
// names.
type pageLoader struct {
	t   *testing.T
	dir string
}

func newPageLoader(t *testing.T) pageLoader {
	t.Helper()
	p := pageLoader{t, t.TempDir()}
	cert, key := certificate(t)
	p.write("ca.pem", cert)
	p.write("client.pem", cert)
	p.write("client.key", key)
	p.write("corus-layouts.toml", "")
	return p
}

func (p pageLoader) write(name, content string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

func (p pageLoader) load(toml string, env ...string) (Config, []Mistake) {
	p.t.Helper()
	c, err := loader{drivers: all.Drivers}.load(p.write("config.toml", toml), env, "")
	return c, mistakes(p.t, err, p.dir)
}

// must is a configuration without a mistake.
func (p pageLoader) must(k pageKey, toml string, env ...string) Config {
	p.t.Helper()
	c, wrong := p.load(toml, env...)
	if len(wrong) > 0 {
		p.t.Errorf("%s: %v\n%s%v", k.id(), wrong, toml, env)
	}
	return c
}

// refusal is what Load says of a line.
func (p pageLoader) refusal(k pageKey, line string) string {
	p.t.Helper()
	_, wrong := p.load(k.document(line))
	for _, m := range wrong {
		if m.Key[strings.LastIndex(m.Key, ".")+1:] == k.name && m.Line > 0 {
			return strings.TrimSuffix(m.Reason+"; "+m.Remedy, "; ")
		}
	}
	p.t.Errorf("%s: %s is not refused, but %v", k.id(), line, wrong)
	return ""
}

// lineOf is a key with a value, below what else it takes.
func lineOf(key, value, with string) string {
	return strings.TrimPrefix(with+"\n", "\n") + key + " = " + value
}

// loose is a value as the environment has it.
func (p pageLoader) loose(k pageKey, value string) string {
	texts := regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(value, -1)
	if texts == nil {
		return strings.Trim(value, "[]")
	}
	var all []string
	for _, text := range texts {
		all = append(all, text[1])
	}
	joined := strings.Join(all, ",")
	if joined != "" && !filepath.IsAbs(joined) && slices.Contains([]reflect.Type{reflect.TypeFor[Path](), reflect.TypeFor[drivers.File]()}, k.field.Type) {
		return filepath.Join(p.dir, joined)
	}
	return joined
}

// check loads what the page says of a key: the default is the default, the example
// is taken, and the variable says the same.
func (p pageLoader) check(k pageKey, shown shownKey) {
	p.t.Helper()
	if !k.required() {
		without, with := p.must(k, k.document("")), p.must(k, k.document(lineOf(k.name, literal(p.t, k.value), "")))
		if diff := gocmp.Diff(without, with, sameConfig); diff != "" {
			p.t.Errorf("%s: the default is none:\n%s", k.id(), diff)
		}
	}
	written := p.must(k, k.document(lineOf(k.name, shown.example, shown.with)))
	if k.id() != "meter.name" {
		set := p.must(k, k.document(shown.with), k.variable(k.name)+"="+p.loose(k, shown.example))
		if diff := gocmp.Diff(written, set, sameConfig); diff != "" {
			p.t.Errorf("%s: in the environment it is something else:\n%s", k.id(), diff)
		}
	}
	if k.secret() {
		p.write(k.name+".txt", p.loose(k, shown.example))
		fromFile := p.must(k, k.document(lineOf(k.name+fileSuffix, strconv.Quote(k.name+".txt"), shown.with)))
		if diff := gocmp.Diff(written, fromFile, sameConfig); diff != "" {
			p.t.Errorf("%s: from a file it is something else:\n%s", k.id(), diff)
		}
	}
}

// endingZeros are the minutes and seconds of 1h0m0s, and the seconds of 3m0s.
var endingZeros = regexp.MustCompile(`([hm])(?:0m)?0s$`)

// literal is a default as a file writes it.
func literal(t *testing.T, v reflect.Value) string {
	t.Helper()
	switch x := v.Interface().(type) {
	case bool, int, drivers.Decimal:
		return fmt.Sprint(x)
	case *bool:
		return `"auto"`
	case *time.Location, drivers.Secret:
		return `""`
	case []string:
		return strings.ReplaceAll(fmt.Sprintf("%q", x), `" "`, `", "`)
	case time.Duration:
		return strconv.Quote(endingZeros.ReplaceAllString(x.String(), "$1"))
	case Power:
		kilo, err := x.Shift(-3)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.Quote(kilo.String() + "kW")
	case Flow:
		return strconv.Quote(x.String() + "m³/h")
	case Size:
		return strconv.Quote(strconv.FormatInt(int64(x)/1e6, 10) + "MB")
	case zerolog.Level:
		return strconv.Quote(x.String())
	}
	if v.Kind() != reflect.String {
		t.Fatalf("no literal for a %s", v.Type())
	}
	return strconv.Quote(v.String())
}

// comments are what the source says of the fields of a struct, by their names.
func comments(t *testing.T, of reflect.Type) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", strings.TrimPrefix(of.PkgPath(), module), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != of.Name() {
				return true
			}
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				for _, name := range field.Names {
					found[name.Name] = strings.TrimSpace(field.Doc.Text())
				}
			}
			return false
		})
	}
	return found
}

var fieldName = regexp.MustCompile(`\b[A-Z]\w*\b`)

// keysForNames has keys in the place of the fields' names, and nothing that
// Markdown takes for more than text.
func keysForNames(text string, of reflect.Type) string {
	text = strings.NewReplacer("*", `\*`, "<", `\<`).Replace(text)
	return fieldName.ReplaceAllStringFunc(text, func(word string) string {
		if f, ok := of.FieldByName(word); ok && f.Tag.Get("koanf") != "" {
			return "`" + f.Tag.Get("koanf") + "`"
		}
		return word
	})
}

// configPage writes the page and checks what it writes.
type configPage struct {
	strings.Builder
	pageLoader
	unused map[string]shownKey                // those of pageKeys that no key has asked for
	said   map[reflect.Type]map[string]string // comments, of each struct
}

func (p *configPage) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// types is how a value of each type is written.
func (p *configPage) types() {
	p.line("## How values are written\n\n| type | as in | refused |\n|---|---|---|")
	words := map[string]reflect.Type{}
	for of := range converters {
		shown, ok := pageTypes[of]
		if !ok {
			p.t.Errorf("pageTypes does not say how a %s is written", of)
		}
		words[shown.word] = of
	}
	for _, word := range slices.Sorted(maps.Keys(words)) {
		of, shown := words[word], pageTypes[words[word]]
		for _, text := range shown.as {
			if err := p.converted(of, text); err != nil {
				p.t.Errorf("%s as in %s: %v", word, text, err)
			}
		}
		err := p.converted(of, shown.refused)
		if err == nil {
			p.t.Errorf("%s: %s is not refused", word, shown.refused)
			continue
		}
		p.line("| %s | `%s` | `%s`: %s; %s |", word, strings.Join(shown.as, "`, `"), shown.refused, err, drivers.Hint(err))
	}
	p.line("")
}

// converted is what the converter of a type says of a value.
func (p *configPage) converted(of reflect.Type, text string) error {
	p.t.Helper()
	var r report
	document := parseTOML("config.toml", []byte("key = "+text), &r)
	if err := r.err(); err != nil {
		p.t.Fatalf("%s: %v", text, err)
	}
	_, err := converters[of](document.values["key"])
	return err
}

// part writes the keys of a struct; others have the same with defaults of their own.
func (p *configPage) part(keys []pageKey, others ...[]pageKey) {
	if len(keys) == 0 {
		return
	}
	for i, k := range keys {
		shown, ok := p.unused[k.id()]
		if !ok {
			p.t.Errorf("pageKeys has no example of %s", k.id())
			continue
		}
		delete(p.unused, k.id())
		p.check(k, shown)
		p.key(k, shown)
		for _, other := range others {
			if own := literal(p.t, other[i].value); own != literal(p.t, k.value) {
				p.check(other[i], shown)
				p.line("- default of `%s`: `%s`", other[i].driver, own)
			}
		}
		p.limits(k, shown)
		p.line("")
	}
}

// key writes what a key is, and what one writes.
func (p *configPage) key(k pageKey, shown shownKey) {
	of, variables := pageTypes[k.field.Type].word, "`"+k.variable(k.name)+"`"
	title, example := k.name, "`"+k.name+" = "+shown.example+"`"
	if k.secret() {
		of, title = "text, secret", k.name+", "+k.name+fileSuffix
		variables += ", `" + k.variable(k.name+fileSuffix) + "`"
		example += " or `" + k.name + fileSuffix + ` = "` + k.name + `.txt"` + "`"
	}
	p.line("### %s\n\n%s\n", title, p.comment(k))
	def := "none: every meter needs it"
	if !k.required() {
		def = "`" + literal(p.t, k.value) + "`"
	}
	if k.id() == "meter.name" {
		variables = "none: it is part of the others' names"
	}
	if shown.with != "" {
		example += ", with `" + strings.ReplaceAll(shown.with, "\n", "` and `") + "`"
	}
	p.line("- type: %s\n- default: %s\n- environment: %s\n- example: %s", cmp.Or(of, shown.of), def, variables, example)
}

// limits writes what is refused, in the words of Load.
func (p *configPage) limits(k pageKey, shown shownKey) {
	for _, refused := range shown.refused {
		said := strings.NewReplacer("*", `\*`, "<", `\<`).Replace(p.refusal(k, lineOf(k.name, refused, shown.with)))
		p.line("- refused: `%s = %s`: %s", k.name, refused, said)
	}
}

// comment is what the source says of a key.
func (p *configPage) comment(k pageKey) string {
	if p.said[k.of] == nil {
		p.said[k.of] = comments(p.t, k.of)
	}
	text := p.said[k.of][k.field.Name]
	if text == "" {
		p.t.Errorf("%s has no comment in the source", k.id())
	}
	return keysForNames(text, k.of)
}

// sections writes those that there are once, then [[meter]].
func (p *configPage) sections() {
	c := defaults()
	for _, part := range c.parts() {
		p.line("## [%s]\n\n%s\n", part.name, pageSections[part.name])
		p.part(keysOf(part.name, "p1", false, part.part))
	}
	m := meterDefaults()
	p.line("## [[meter]]\n\n%s\n", pageSections[meterSection])
	p.part(keysOf(meterSection, "iec62056-21", false, &m))
}

// drivers writes the keys of each driver, of those with the same keys together.
func (p *configPage) drivers() {
	written := map[reflect.Type]bool{}
	for _, d := range all.Drivers {
		of := reflect.TypeOf(d.NewConfig())
		if written[of] {
			continue
		}
		written[of] = true
		var names []string
		var each [][]pageKey
		for _, other := range all.Drivers {
			if reflect.TypeOf(other.NewConfig()) == of {
				names = append(names, other.Name)
				each = append(each, keysOf(meterSection, other.Name, true, other.NewConfig()))
			}
		}
		p.line("## driver = \"%s\"\n", strings.Join(names, `" or "`))
		for _, name := range names {
			p.about(name)
		}
		p.part(each[0], each[1:]...)
	}
}

// about writes what a driver reads, how, and where more is told.
func (p *configPage) about(name string) {
	d, _ := all.ByName(name)
	p.line("`%s`: %s.", name, d.Doc)
	if !d.Push() {
		p.line("Without `every` a meter is asked every %s.", strings.Trim(literal(p.t, reflect.ValueOf(cmp.Or(d.Every, time.Minute))), `"`))
	}
	if d.Mode.Baud != 0 {
		p.line("A serial port is opened with %s unless `port` says otherwise.", d.Mode)
	}
	if _, err := os.Stat("../../docs/" + name + ".md"); err == nil {
		p.line("[%s.md](%s.md) tells which meters, cables and what goes wrong.", name, name)
	}
	p.line("")
}

func TestTheConfigurationPageIsCurrent(t *testing.T) {
	p := &configPage{pageLoader: newPageLoader(t), unused: maps.Clone(pageKeys), said: map[reflect.Type]map[string]string{}}
	p.WriteString(pageIntroduction)
	p.types()
	p.sections()
	p.drivers()
	for id := range p.unused {
		t.Errorf("pageKeys shows %s, which is no key", id)
	}
	want := strings.TrimSpace(p.String()) + "\n"
	if *update && !t.Failed() {
		if err := os.WriteFile(configurationPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, string(got)); diff != "" {
		t.Errorf("`go generate ./bridge/config` writes it anew:\n%s", diff)
	}
}
