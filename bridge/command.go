package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	// maxCommand is more than any value of a Parameter needs.
	maxCommand = 4096
	// maxID bounds what a command may be called, in bytes.
	maxID = 128
	// maxShown bounds how much of a name that nobody knows is said back.
	maxShown = 64
)

// errPayload says that a command's payload is of no form that is taken.
var errPayload = errors.New("payload not understood")

// request is what the payload of a command says.
type request struct {
	id  json.RawMessage // a JSON string or number, in one spelling; nil: none
	arg argument
}

// argument is a value as it was sent, before a Parameter says what it means. The
// zero argument is none.
type argument struct {
	text  string
	given bool // not left out: {"value":""} is a text, an empty payload is none
}

// parseRequest reads a payload: a value as plain text, or
// {"value":…,"id":…}, of which either may be left out. Any bytes may come.
func parseRequest(payload []byte) (request, error) {
	switch {
	case len(payload) > maxCommand:
		return request{}, fmt.Errorf("%w: %d bytes, at most %d are taken", errPayload, len(payload), maxCommand)
	case !utf8.Valid(payload):
		return request{}, fmt.Errorf("%w: it is no UTF-8", errPayload)
	case bytes.HasPrefix(bytes.TrimSpace(payload), []byte("{")):
		return parseObject(payload)
	}
	return request{arg: argument{string(payload), len(payload) > 0}}, nil
}

// parseObject reads {"value":…,"id":…} and nothing else: a key that nobody knows
// may be one that the sender relies on.
func parseObject(payload []byte) (r request, err error) {
	const form = `write {"value":…,"id":…}`
	d := json.NewDecoder(bytes.NewReader(payload))
	_, _ = d.Token() // the brace that led here
	seen := map[string]bool{}
	for d.More() {
		key, value, err := nextKey(d)
		if err != nil {
			return r, fmt.Errorf("%w: it is no JSON object: %s", errPayload, form)
		}
		switch {
		case seen[key]:
			err = fmt.Errorf("%w: %s comes twice", errPayload, key)
		case key == "id":
			r.id, err = parseID(value)
		case key == "value":
			r.arg, err = parseArgument(value)
		default:
			err = fmt.Errorf("%w: unknown key: %s", errPayload, form)
		}
		if err != nil {
			return r, err
		}
		seen[key] = true
	}
	_, errEnd := d.Token()
	if _, errMore := d.Token(); errEnd != nil || errMore == nil || d.InputOffset() != int64(len(bytes.TrimRight(payload, " \t\r\n"))) {
		return r, fmt.Errorf("%w: it is no JSON object: %s", errPayload, form)
	}
	return r, nil
}

func nextKey(d *json.Decoder) (key string, value json.RawMessage, err error) {
	t, err := d.Token()
	if err != nil {
		return "", nil, err
	}
	key, _ = t.(string) // an object's keys are strings, the decoder sees to it
	return key, value, d.Decode(&value)
}

// parseID takes a string or a number, and null for none.
func parseID(raw json.RawMessage) (json.RawMessage, error) {
	switch {
	case string(raw) == "null":
		return nil, nil
	case len(raw) > maxID:
		return nil, fmt.Errorf("%w: id has %d bytes, at most %d are taken", errPayload, len(raw), maxID)
	case raw[0] == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, fmt.Errorf("%w: id: %w", errPayload, err)
		}
		return mustJSON(s), nil
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		return raw, nil
	}
	return nil, fmt.Errorf("%w: id is a text or a number", errPayload)
}

// parseArgument takes a string, a number, true or false, and null for none.
func parseArgument(raw json.RawMessage) (argument, error) {
	switch raw[0] {
	case 'n':
		return argument{}, nil
	case '"':
		a := argument{given: true}
		if err := json.Unmarshal(raw, &a.text); err != nil {
			return argument{}, fmt.Errorf("%w: value: %w", errPayload, err)
		}
		return a, nil
	case '{', '[':
		return argument{}, fmt.Errorf("%w: value is a text, a number, true or false", errPayload)
	}
	return argument{string(raw), true}, nil
}

// value is what the argument means to p, valid to be sent. now is what the word
// stands for. Errors do not repeat what was sent: it may be a secret.
func (a argument) value(p drivers.Parameter, now drivers.Stamp) (drivers.Value, error) {
	v := drivers.Value{Code: p.Code, Name: p.Name, Kind: p.Kind, Unit: p.Unit}
	err := error(nil)
	switch {
	case !a.given:
		return v, fmt.Errorf("%w: %s takes a value, got none", drivers.ErrValue, p.Name)
	case p.Access&(drivers.Writable|drivers.Pressable) == drivers.Pressable:
		err = a.press(&v, p, now)
	case p.Kind == drivers.Number:
		v.Number, err = drivers.ParseDecimal(strings.TrimSpace(a.text))
	case p.Kind == drivers.Bool:
		v.Number, err = parseSwitch(strings.TrimSpace(a.text))
	case p.Kind == drivers.Moment:
		v.Moment, err = parseMoment(strings.TrimSpace(a.text), now)
	default:
		v.Text, err = a.text, checkText(a.text)
	}
	if err != nil {
		return v, fmt.Errorf("%w: %s: %w", drivers.ErrValue, p.Name, err)
	}
	return v, p.Validate(v)
}

// pressed is what a command to an action says.
const pressed = "press"

// press is an action. Besides its one word it takes a text where its driver says
// how long that may be. Clearing a retained message, which comes as an empty one, is
// neither.
func (a argument) press(v *drivers.Value, p drivers.Parameter, now drivers.Stamp) error {
	isPressed := strings.EqualFold(strings.TrimSpace(a.text), pressed)
	switch {
	case !isPressed && p.Kind == drivers.Text && p.MaxLen > 0 && a.text != "":
		v.Text = a.text
		return checkText(a.text)
	case !isPressed:
		return errors.New("it is an action: write " + pressed)
	case p.Kind == drivers.Moment:
		v.Moment = now
	case p.Kind == drivers.Text && len(p.Options) > 0:
		v.Text = p.Options[0]
	case p.Kind != drivers.Text:
		v.Number = drivers.NewDecimal(1, 0)
	}
	return nil
}

func parseSwitch(s string) (drivers.Decimal, error) {
	switch strings.ToLower(s) {
	case "true", "on", "1":
		return drivers.NewDecimal(1, 0), nil
	case "false", "off", "0":
		return drivers.NewDecimal(0, 0), nil
	}
	return drivers.Decimal{}, errors.New("write true or false")
}

// parseMoment reads RFC 3339, with or without an offset, or the word now.
func parseMoment(s string, now drivers.Stamp) (drivers.Stamp, error) {
	if strings.EqualFold(s, "now") {
		return now, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return drivers.Stamp{Wall: t, Zoned: true}, nil
	}
	if t, err := time.Parse("2006-01-02T15:04:05", s); err == nil {
		return drivers.Stamp{Wall: t}, nil
	}
	return drivers.Stamp{}, errors.New("write a time as in 2026-01-31T23:59:00+01:00, or now")
}

// checkText refuses what no meter shows and some take for the end of a message.
func checkText(s string) error {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return errors.New("control characters cannot be sent")
	}
	return nil
}

// shown is a name that a stranger chose, short enough to be said back.
func shown(name string) string {
	if len(name) > maxShown {
		name = name[:maxShown]
	}
	return strings.ToValidUTF8(name, "\uFFFD")
}
