package config

import (
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// converter makes a value of one Go type of a leaf, or says what is wrong and
// how to write it.
type converter func(value) (any, error)

// converters are the types that a key may have, of ours and of the drivers.
var converters = map[reflect.Type]converter{
	reflect.TypeFor[string]():               to(toText),
	reflect.TypeFor[Path]():                 to(toPath),
	reflect.TypeFor[bool]():                 to(toBool),
	reflect.TypeFor[*bool]():                to(toSwitch),
	reflect.TypeFor[time.Duration]():        to(toDuration),
	reflect.TypeFor[int]():                  to(toWhole),
	reflect.TypeFor[drivers.Decimal]():      to(toDecimal),
	reflect.TypeFor[drivers.Address]():      to(toAddress),
	reflect.TypeFor[drivers.File]():         to(toFile),
	reflect.TypeFor[*time.Location]():       to(toZone),
	reflect.TypeFor[zerolog.Level]():        to(toLevel),
	reflect.TypeFor[Format]():               to(toFormat),
	reflect.TypeFor[[]string]():             to(toTexts),
	reflect.TypeFor[Power]():                to(toPower),
	reflect.TypeFor[Flow]():                 to(toFlow),
	reflect.TypeFor[Size]():                 to(toSize),
	reflect.TypeFor[transport.TapAddress](): to(toTap),
}

func to[T any](f func(value) (T, error)) converter {
	return func(v value) (any, error) { return f(v) }
}

// is says whether the value was written as one of the kinds. What comes from the
// environment may be any.
func (v value) is(kinds ...kind) bool { return v.Kind == loose || slices.Contains(kinds, v.Kind) }

// toText takes text. It does not repeat what it found: it may be a secret.
func toText(v value) (string, error) {
	switch {
	case !v.is(text):
		return "", errWanted("write it in quotes", "found %s, want text", v.Kind)
	case !utf8.ValidString(v.Text) || strings.ContainsRune(v.Text, 0):
		return "", errWanted("type it anew, in UTF-8", "the text holds bytes that are no characters")
	}
	return v.Text, nil
}

// toPath takes a file's path. A relative one starts from the folder of the file
// that it stands in, in the app's form from the app's folder; in the environment, from the working directory.
func toPath(v value) (Path, error) {
	path, err := toText(v)
	if err != nil || path == "" || filepath.IsAbs(path) || v.Kind == loose {
		return Path(path), err
	}
	return Path(filepath.Join(folderOf(v.From.File), path)), nil
}

// toFile is toPath for a driver's own key.
func toFile(v value) (drivers.File, error) {
	path, err := toPath(v)
	return drivers.File(path), err
}

func toBool(v value) (bool, error) {
	switch {
	case !v.is(boolean):
		return false, errWanted("write true or false, without quotes", "found %s, want true or false", v.Kind)
	case v.Text != "true" && v.Text != "false":
		return false, errWanted("write true or false", "%.40q is neither true nor false", v.Text)
	}
	return v.Text == "true", nil
}

// toSwitch takes true, false, or "auto", which is nil.
func toSwitch(v value) (*bool, error) {
	if v.is(text) && v.Text == "auto" {
		return nil, nil
	}
	on, err := toBool(v)
	if err != nil {
		return nil, errWanted(`write "auto", or true or false without quotes`, "%w", err)
	}
	return &on, nil
}

// toDuration takes text in Go's form. A bare number is refused: of what, nobody
// knows.
func toDuration(v value) (time.Duration, error) {
	const form = `write a number with its unit in quotes, as in "10s", "5m" or "1h30m"`
	if !v.is(text, integer, decimal) {
		return 0, errWanted(form, "found %s, want a duration", v.Kind)
	}
	if _, err := drivers.ParseDecimal(v.Text); err == nil {
		return 0, errWanted("write \""+v.Text+"s\" for seconds", "%.40s has no unit", v.Text)
	}
	d, err := time.ParseDuration(v.Text)
	switch {
	case err != nil:
		return 0, errWanted(form, "%.40q is no duration", v.Text)
	case d < 0:
		return 0, errWanted("write it without the minus", "%.40q is negative", v.Text)
	}
	return d, nil
}

// toDecimal takes a number exactly as written: 0.1 is 0.1.
func toDecimal(v value) (drivers.Decimal, error) {
	if !v.is(integer, decimal) {
		return drivers.Decimal{}, errWanted("write the number without quotes, as in 40 or 0.1", "found %s, want a number", v.Kind)
	}
	digits := v.Text
	if v.Kind != loose {
		digits = strings.ReplaceAll(digits, "_", "") // TOML's 1_000
	}
	d, err := drivers.ParseDecimal(digits)
	if err != nil {
		return d, errWanted("write plain digits with at most one point, as in 40 or 0.1", "%.40q: %w", v.Text, err)
	}
	return d, nil
}

// toWhole takes a whole number.
func toWhole(v value) (int, error) {
	if !v.is(integer) {
		return 0, errWanted("write a whole number without quotes, as in 2400", "found %s, want a whole number", v.Kind)
	}
	digits := v.Text
	if v.Kind != loose {
		digits = strings.ReplaceAll(digits, "_", "") // TOML's 1_000
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0, errWanted("write plain digits, as in 2400", "%.40q is no whole number that fits here", v.Text)
	}
	return n, nil
}

// toAddress takes an address as text, or as a whole number, which has no leading
// zeros to lose.
func toAddress(v value) (drivers.Address, error) {
	if v.is(integer) {
		return drivers.Address(v.Text), nil
	}
	address, err := toText(v)
	if err != nil {
		return "", errWanted(`write it in quotes, as in "5"`, "found %s, want an address", v.Kind)
	}
	return drivers.Address(address), nil
}

// toZone takes a name of the tz database; "" is nil.
func toZone(v value) (*time.Location, error) {
	name, err := toText(v)
	if err != nil || name == "" {
		return nil, err
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, errWanted(`name it as the tz database does, as in "Europe/Amsterdam" or "UTC"`, "there is no time zone %.60q", name)
	}
	return zone, nil
}

// toTexts takes a list of texts, or one text with commas, which is how a form and
// the environment write a list.
func toTexts(v value) ([]string, error) {
	divider := "\n"
	switch {
	case v.is(text):
		divider = ","
	case v.Kind != list:
		return nil, errWanted(`write a list in brackets, as in ["a", "b"]`, "found %s, want a list of texts", v.Kind)
	}
	if strings.Contains(v.Text, mixed) {
		return nil, errWanted(`write each in quotes, as in ["a", "b"]`, "the list holds something that is no text")
	}
	var texts []string
	for t := range strings.SplitSeq(v.Text, divider) {
		if t = strings.TrimSpace(t); t != "" {
			texts = append(texts, t)
		}
	}
	return texts, nil
}

// toTap takes an address, or a port alone, which may also be a number.
func toTap(v value) (transport.TapAddress, error) {
	if v.is(integer) {
		return transport.ParseTap(v.Text)
	}
	address, err := toText(v)
	if err != nil {
		return "", err
	}
	return transport.ParseTap(address)
}

func toLevel(v value) (zerolog.Level, error) {
	name, err := oneOf(v, "trace", "debug", "info", "warn", "error")
	if err != nil {
		return zerolog.NoLevel, err
	}
	return zerolog.ParseLevel(name)
}

func toFormat(v value) (Format, error) {
	name, err := oneOf(v, string(FormatAuto), string(FormatText), string(FormatJSON))
	return Format(name), err
}

func oneOf(v value, words ...string) (string, error) {
	name, err := toText(v)
	if err == nil && !slices.Contains(words, name) {
		err = errWanted(choices(name, words), "%.40q is none of the words that go here", name)
	}
	return name, err
}
