package config

import (
	"slices"
	"strings"
)

// prefix begins every variable of ours; separator stands between its parts.
const (
	prefix    = "METER2MQTT_"
	separator = "__"
)

// variable is one METER2MQTT_ variable: METER2MQTT_SECTION__KEY, or
// METER2MQTT_METER__NAME__KEY.
type variable struct {
	section, meter, key string
	value               value
}

// parseEnvironment finds our variables, sorted by name. Their case does not
// matter: sections, meters and keys are all lower case.
func parseEnvironment(env []string, r *report) []variable {
	var found []variable
	seen := map[string]string{}
	for _, name := range ourNames(env) {
		v, ok := parseVariable(name.name, name.text)
		if !ok {
			r.add(v.value.From, "no variable of meter2mqtt has this form",
				"write METER2MQTT_SECTION__KEY, as in METER2MQTT_MQTT__URL, or METER2MQTT_METER__NAME__KEY; parts are joined by two underscores")
			continue
		}
		if other, twice := seen[strings.ToLower(name.name)]; twice {
			r.add(v.value.From, "it says the same as "+other, "unset one of them")
			continue
		}
		seen[strings.ToLower(name.name)] = name.name
		found = append(found, v)
	}
	return found
}

type named struct{ name, text string }

func ourNames(env []string) []named {
	linked := slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, prefix+"SERVICE_HOST=") })
	var ours []named
	for _, e := range env {
		name, text, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, prefix) || linked && isServiceLink(name) {
			continue
		}
		ours = append(ours, named{name, text})
	}
	slices.SortFunc(ours, func(a, b named) int { return strings.Compare(a.name, b.name) })
	return ours
}

// isServiceLink says whether Kubernetes sets such a variable in every pod beside
// a service that is called meter2mqtt: METER2MQTT_SERVICE_HOST, METER2MQTT_PORT,
// METER2MQTT_PORT_80_TCP_ADDR and so on.
func isServiceLink(name string) bool {
	return !strings.Contains(name, separator) &&
		(strings.HasPrefix(name, prefix+"SERVICE_") || strings.HasPrefix(name, prefix+"PORT"))
}

func parseVariable(name, content string) (variable, bool) {
	v := variable{value: value{loose, content, origin{File: environment, Key: name}}}
	parts := strings.Split(strings.ToLower(strings.TrimPrefix(name, prefix)), separator)
	switch {
	case slices.Contains(parts, ""):
		return v, false
	case len(parts) == 2 && parts[0] != "meter":
		v.section, v.key = parts[0], parts[1]
		return v, true
	case len(parts) == 3 && parts[0] == "meter":
		v.section, v.meter, v.key = parts[0], parts[1], parts[2]
		return v, true
	}
	return v, false
}
