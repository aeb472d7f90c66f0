package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// fileSuffix makes of a secret's key the key of its twin, which names a file
// that holds it.
const fileSuffix = "_file"

// part is a struct that a section fills. Its koanf tags are the keys; validate
// says what no single value can show.
type part interface{ validate(s *section) }

// section is what all layers together say of one section or meter.
type section struct {
	name   string // as messages call it: mqtt, meter.main
	began  origin // where a key that is missing would stand
	values map[string]value
	keys   []string // that it may have, found while filling
	report *report
	app    bool // of the Home Assistant app, whose Supervisor knows a broker
	// extra converts what hangs on the section itself, before the converters
	// that all share.
	extra map[reflect.Type]converter
}

func newSection(name string, began origin, values map[string]value, r *report) *section {
	return &section{name: name, began: began, values: values, report: r}
}

// fill sets the fields of a struct, in their order, from the keys that its tags
// name. A field whose key is not given, or wrong, keeps what it holds.
func (s *section) fill(into any) {
	for field, v := range reflect.ValueOf(into).Elem().Fields() {
		if key := field.Tag.Get("koanf"); key != "" {
			s.fillField(key, v)
		}
	}
}

func (s *section) fillField(key string, field reflect.Value) {
	s.keys = append(s.keys, key)
	if field.Type() == reflect.TypeFor[drivers.Secret]() {
		s.fillSecret(key, field)
		return
	}
	v, ok := s.values[key]
	if !ok {
		return
	}
	got, err := s.convert(v, field.Type())
	if err != nil {
		s.fail(key, err)
		return
	}
	field.Set(reflect.ValueOf(got))
}

func (s *section) convert(v value, to reflect.Type) (any, error) {
	if c, ok := s.extra[to]; ok {
		return c(v)
	}
	if c, ok := converters[to]; ok {
		return c(v)
	}
	return nil, fmt.Errorf("no value can be read into a %s", to) // a field that a test forgot
}

// fillSecret takes a secret from its key or from the file that its twin names.
func (s *section) fillSecret(key string, field reflect.Value) {
	twin := key + fileSuffix
	s.keys = append(s.keys, twin)
	secret, err := s.secret(key)
	if err != nil {
		s.fail(key, err)
	}
	path, errTwin := s.path(twin)
	if errTwin != nil {
		s.fail(twin, errTwin)
	}
	if err != nil || errTwin != nil {
		return
	}
	switch {
	case path != "" && !secret.IsZero():
		s.wrong(twin, "both "+key+" and "+twin+" are set", "leave one of them out, in every file and in the environment")
		return
	case path != "":
		content, err := readSecret(path)
		if err != nil {
			s.fail(twin, err)
			return
		}
		secret = drivers.NewSecret(content)
	}
	field.Set(reflect.ValueOf(secret))
}

func (s *section) secret(key string) (drivers.Secret, error) {
	v, ok := s.values[key]
	if !ok {
		return drivers.Secret{}, nil
	}
	content, err := toText(v)
	return drivers.NewSecret(content), err
}

func (s *section) path(key string) (Path, error) {
	v, ok := s.values[key]
	if !ok {
		return "", nil
	}
	return toPath(v)
}

// allow accepts the keys of a struct without reading them.
func (s *section) allow(of any) {
	for f := range reflect.TypeOf(of).Elem().Fields() {
		key := f.Tag.Get("koanf")
		if key == "" {
			continue
		}
		s.keys = append(s.keys, key)
		if f.Type == reflect.TypeFor[drivers.Secret]() {
			s.keys = append(s.keys, key+fileSuffix)
		}
	}
}

// refuseUnknown tells every key that nothing was read from.
func (s *section) refuseUnknown() {
	slices.Sort(s.keys)
	s.keys = slices.Compact(s.keys) // without a driver they are those of all
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if !slices.Contains(s.keys, key) {
			s.wrong(key, "unknown key", choices(key, s.keys))
		}
	}
}

// given says whether a key stands anywhere, empty text aside.
func (s *section) given(key string) bool {
	v, ok := s.values[key]
	return ok && (v.Text != "" || v.Kind == list)
}

// at is where a key stands; a missing one, where its section begins.
func (s *section) at(key string) origin {
	if v, ok := s.values[key]; ok {
		return v.From
	}
	missing := s.began
	missing.Key = s.name + "." + key
	return missing
}

// wrong reports a mistake in a key.
func (s *section) wrong(key, reason, remedy string) { s.report.add(s.at(key), reason, remedy) }

// fail reports an error about a key. Where its text begins with the key, that is
// not said again.
func (s *section) fail(key string, err error) {
	s.wrong(key, strings.TrimPrefix(err.Error(), key+": "), drivers.Hint(err))
}

// failEach reports each of several joined errors at the key that it begins with.
func (s *section) failEach(err error) {
	if several := joined(err); several != nil {
		for _, one := range several {
			s.failEach(one)
		}
		return
	}
	key, _, _ := strings.Cut(err.Error(), ":")
	if slices.Contains(s.keys, key) {
		s.fail(key, err)
		return
	}
	at := s.began
	at.Key = s.name
	s.report.addError(at, err)
}

// joined are the errors that errors.Join made err of, or nil. An error that
// merely wraps several, as fmt.Errorf makes it, is one. Only the outermost error
// counts, so it is not searched for as errors.As would.
func joined(err error) []error {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	if again := errors.Join(several.Unwrap()...); again == nil || again.Error() != err.Error() {
		return nil
	}
	return several.Unwrap()
}

// errWanted is an error with its remedy.
func errWanted(remedy, format string, args ...any) error {
	return drivers.WithHint(fmt.Errorf(format, args...), remedy)
}
