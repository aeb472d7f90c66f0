package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Tables writes [[meter]] tables for meters that a search has found. Each gets a
// name of its own.
type Tables struct {
	Driver string
	Port   string // as it is to be written
	names  []string
}

// maxName is how long a meter's name may be.
const maxName = 32

// Table is the [[meter]] table of a find, or, where a search could not tell who is
// there, a comment that says so.
func (t *Tables) Table(f drivers.Found) string {
	var b strings.Builder
	if f.Doubt != "" {
		var at []string
		for _, k := range f.Keys {
			at = append(at, k.Key+" "+k.Value)
		}
		fmt.Fprintf(&b, "# %s\n", strings.Join(append(at, f.Doubt), ": "))
		return b.String()
	}
	if who := describe(f.Meter); who != "" {
		fmt.Fprintf(&b, "# %s\n", who)
	}
	fmt.Fprintf(&b, "[[meter]]\nname = %q\ndriver = %q\nport = %s\n", t.name(f), t.Driver, strconv.Quote(t.Port))
	for _, k := range f.Keys {
		fmt.Fprintf(&b, "%s = %s\n", k.Key, strconv.Quote(k.Value))
	}
	return b.String()
}

// describe is who a meter is, for people.
func describe(m drivers.Identity) string {
	var parts []string
	for _, p := range []string{m.Medium, m.Manufacturer, m.Model} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if m.ID != "" {
		parts = append(parts, "number "+m.ID)
	}
	if m.Version != "" {
		parts = append(parts, "version "+m.Version)
	}
	return printable(strings.Join(parts, ", "))
}

// printable leaves out what a comment or a name cannot hold.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return -1
		}
		return r
	}, s)
}

// name is the medium and the number, or where the meter was found: made of a to z,
// digits and _, and no other one's.
func (t *Tables) name(f drivers.Found) string {
	parts := []string{f.Meter.Medium, f.Meter.ID}
	if f.Meter.ID == "" && len(f.Keys) > 0 {
		parts[1] = f.Keys[0].Value
	}
	name := nameOf(strings.Join(parts, "_"))
	if !nameForm.MatchString(name) {
		name = nameOf("meter_" + name)
	}
	if reservedName.MatchString(name) {
		name = nameOf(name[:min(len(name), maxName-len("_meter"))] + "_meter")
	}
	unique := name
	for n := 2; slices.Contains(t.names, unique); n++ {
		suffix := "_" + strconv.Itoa(n)
		unique = strings.TrimRight(name[:min(len(name), maxName-len(suffix))], "_") + suffix
	}
	t.names = append(t.names, unique)
	return unique
}

// nameOf makes each run of what a name cannot hold one _.
func nameOf(s string) string {
	var b []byte
	for _, c := range []byte(strings.ToLower(s)) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			b = append(b, c)
		case len(b) > 0 && b[len(b)-1] != '_':
			b = append(b, '_')
		}
	}
	return strings.Trim(string(b[:min(len(b), maxName)]), "_")
}
