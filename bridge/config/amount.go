package config

import (
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Power is an electric power in W.
type Power struct{ drivers.Decimal }

// Flow is a flow in m³/h.
type Flow struct{ drivers.Decimal }

// Size is a number of bytes.
type Size int64

func toPower(v value) (Power, error) {
	d, err := toAmount(v, "W", `write it with its unit in quotes, as in "25kW"`)
	return Power{d}, err
}

func toFlow(v value) (Flow, error) {
	d, err := toAmount(v, "m³/h", `write it with its unit in quotes, as in "6m³/h" or "6m3/h"`)
	return Flow{d}, err
}

// toAmount takes a number above 0 with a unit that leads to the wanted one.
func toAmount(v value, want obis.Unit, form string) (drivers.Decimal, error) {
	s, err := toText(v)
	if err != nil {
		return drivers.Decimal{}, errWanted(form, "found %s, want a number with its unit", v.Kind)
	}
	end := unitStart(s)
	n, err := drivers.ParseDecimal(s[:end])
	if err != nil {
		return n, errWanted(form, "%.40q has no number in front of its unit", s)
	}
	unit, shift, known := obis.ParseUnit(strings.TrimSpace(s[end:]))
	if !known || unit != want {
		return n, errWanted(form, "%.40q is not in %s", s, want)
	}
	if n, err = n.Shift(shift); err != nil || n.Sign() <= 0 {
		return n, errWanted(form, "%.40q is not above 0", s)
	}
	return n, nil
}

// unitStart is where the number at the beginning of s ends.
func unitStart(s string) int {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && s[i] != '.' {
			return i
		}
	}
	return len(s)
}

// sizes are the units of a Size: powers of 1000, and of 1024 with an i.
var sizes = map[string]int64{
	"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

func toSize(v value) (Size, error) {
	const form = `write a whole number with its unit in quotes, as in "64MB"`
	s, err := toText(v)
	if err != nil {
		return 0, errWanted(form, "found %s, want a size", v.Kind)
	}
	n := int64(0)
	end := 0
	for ; end < len(s) && s[end] >= '0' && s[end] <= '9' && n < 1e9; end++ {
		n = n*10 + int64(s[end]-'0')
	}
	unit, known := sizes[strings.TrimSpace(s[end:])]
	switch {
	case end == 0 || !known:
		return 0, errWanted(form, "%.40q is no size", s)
	case n > 1e15/unit:
		return 0, errWanted(form, "%.40q is more than any disk holds", s)
	}
	return Size(n * unit), nil
}
