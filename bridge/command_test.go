package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// limited is a number from 0 on; high 0: no limit is known.
func limited(high int64) drivers.Parameter {
	return drivers.Parameter{
		Quantity: drivers.Quantity{Name: "limit", Kind: drivers.Number, Unit: "kW"},
		Access:   drivers.Readable | drivers.Writable,
		Max:      drivers.NewDecimal(high, 0),
	}
}

func named(name string, kind drivers.Kind, access drivers.Access) drivers.Parameter {
	return drivers.Parameter{Quantity: drivers.Quantity{Name: name, Kind: kind}, Access: access}
}

func TestAPayloadIsAValueOrAnObjectWithValueAndID(t *testing.T) {
	for payload, want := range map[string]request{
		"":                                {},
		"5":                               {arg: argument{"5", true}},
		" spare ":                         {arg: argument{" spare ", true}},
		`{"value":5}`:                     {arg: argument{"5", true}},
		` { "value" : "x" , "id" : "a" }`: {nil, argument{"x", true}},
		`{"value":-5.50,"id":7}`:          {nil, argument{"-5.50", true}},
		`{"value":true,"id":null}`:        {arg: argument{"true", true}},
		`{"value":null}`:                  {},
		`{"id":"\u0061"}`:                 {},
		`{}`:                              {},
	} {
		got, err := parseRequest([]byte(payload))
		if err != nil {
			t.Errorf("%q: %v", payload, err)
		}
		if got.arg != want.arg {
			t.Errorf("%q: got %+v, want %+v", payload, got.arg, want.arg)
		}
	}
	for payload, want := range map[string]string{
		`{"id":"\u0061"}`: `"a"`, `{"id":"a"}`: `"a"`, `{"id":7,"value":1}`: "7", `{"id":null}`: "", "7": "",
	} {
		got, err := parseRequest([]byte(payload))
		if err != nil || string(got.id) != want {
			t.Errorf("%q: id %s, %v", payload, got.id, err)
		}
	}
}

func TestAPayloadOfAnotherFormIsRefused(t *testing.T) {
	for name, payload := range map[string]string{
		"no UTF-8":         "\xff\xfe",
		"too long":         strings.Repeat("5", maxCommand+1),
		"half an object":   `{"value":5`,
		"two objects":      `{"value":5}{"value":6}`,
		"text behind":      `{"value":5} x`,
		"an unknown key":   `{"value":5,"force":true}`,
		"a key twice":      `{"value":5,"value":6}`,
		"another spelling": `{"Value":5}`,
		"a list":           `{"value":[5]}`,
		"an object inside": `{"value":{"value":5}}`,
		"id is an object":  `{"value":5,"id":{}}`,
		"id is true":       `{"value":5,"id":true}`,
		"a long id":        `{"value":5,"id":"` + strings.Repeat("x", maxID) + `"}`,
		"a deep nest":      `{"value":` + strings.Repeat("[", 4000),
	} {
		if r, err := parseRequest([]byte(payload)); !errors.Is(err, errPayload) {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
}

func TestAValueIsWhatItsParameterTakes(t *testing.T) {
	now := drivers.Stamp{Wall: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), Zoned: true}
	choice := named("mode", drivers.Text, drivers.Writable)
	choice.Options = []string{"eco", "full"}
	short := named("note", drivers.Text, drivers.Writable)
	short.MaxLen = 4
	action := named("reset", drivers.Text, drivers.Pressable)
	selecting := action
	selecting.MaxLen = 4
	moment := named("clock", drivers.Moment, drivers.Writable)
	onOff := named("relay", drivers.Bool, drivers.Writable)
	for _, c := range []struct {
		p    drivers.Parameter
		text string
		want string // as JSON; "": refused
	}{
		{limited(10), "5", "5"},
		{limited(10), " 5.50\n", "5.50"},
		{limited(10), "10", "10"},
		{limited(10), "10.001", ""},
		{limited(10), "-1", ""},
		{limited(10), "1e1", ""},
		{limited(10), "NaN", ""},
		{limited(10), "0x5", ""},
		{limited(10), "five", ""},
		{limited(10), "5 kW", ""},
		{limited(10), "", ""},
		{limited(10), strings.Repeat("0", 50) + "5", "5"},
		{limited(0), "123456", "123456"}, // no limit is known
		{limited(10), strings.Repeat("9", 400), ""},
		{choice, "eco", `"eco"`},
		{choice, "Eco", ""},
		{choice, " eco", ""},
		{short, "four", `"four"`},
		{short, "five5", ""},
		{short, "a\nb", ""},
		{short, "a\x00", ""},
		{onOff, "ON", "true"},
		{onOff, "0", "false"},
		{onOff, "2", ""},
		{action, "PRESS", `""`},
		{action, "press", `""`},
		{action, "E2", ""},
		{action, "", ""},
		{selecting, "press", `""`},
		{selecting, "0A", `"0A"`},
		{selecting, "0A0A0", ""},
		{selecting, "", ""},
		{moment, "now", `"2026-01-31T12:00:00Z"`},
		{moment, "2026-02-01T00:00:00+01:00", `"2026-02-01T00:00:00+01:00"`},
		{moment, "2026-02-01T00:00:00", `"2026-02-01T00:00:00"`},
		{moment, "2026-02-30T00:00:00Z", ""},
		{moment, "1970-01-01T00:00:00Z", ""},
		{moment, "2126-01-01T00:00:00Z", ""},
		{moment, "tomorrow", ""},
		{named("serial", drivers.Text, drivers.Readable), "1", ""},
	} {
		v, err := argument{c.text, c.text != ""}.value(c.p, now)
		got := string(v.AppendPayload(nil))
		if err != nil {
			got = ""
			if !errors.Is(err, drivers.ErrValue) {
				t.Errorf("%s %.20q: %v is no ErrValue", c.p.Name, c.text, err)
			}
		}
		if got != c.want {
			t.Errorf("%s %.20q: got %s, want %s (%v)", c.p.Name, c.text, got, c.want, err)
		}
	}
}

// A result never says more than is known.
func TestAnOutcomeIsTrueFalseOrUnknown(t *testing.T) {
	yes, no := new(true), new(false)
	for _, c := range []struct {
		err  error
		want *bool
	}{
		{nil, yes},
		{drivers.ErrRefused, no},
		{drivers.ErrAuth, no},
		{drivers.ErrValue, no},
		{drivers.ErrTimeout, nil},
		{drivers.ErrChecksum, nil},
		{errors.New("broken pipe"), nil},
		{errors.Join(drivers.ErrUnsent, drivers.ErrTimeout), no},
		{errors.Join(drivers.ErrUnconfirmed, drivers.ErrRefused), nil},
		{errDiffers, no},
		{closed(fmt.Errorf("%w: %w", drivers.ErrUnsent, context.Canceled)), no},
		{closed(fmt.Errorf("%w: %w", drivers.ErrUnconfirmed, context.Canceled)), nil},
		{closed(context.Canceled), nil},
	} {
		r := resultOf("p", nil, true, outcome{err: c.err})
		if !cmp.Equal(r.OK, c.want) || (r.Error == "") != (c.err == nil) {
			t.Errorf("%v: got %s", c.err, mustJSON(r))
		}
		if r := resultOf("p", nil, false, outcome{err: c.err}); *r.OK != (c.err == nil) {
			t.Errorf("reading, %v: got %s", c.err, mustJSON(r))
		}
	}
}

func TestASecretIsNeverSaidBack(t *testing.T) {
	p := named("pin", drivers.Text, drivers.Readable|drivers.Writable)
	p.Secret = true
	o := outcome{parameter: p, back: drivers.Value{Kind: drivers.Text, Text: "hunter2"}, known: true}
	for _, err := range []error{nil, errors.New("the meter answers (hunter2)"), drivers.WithHint(drivers.ErrRefused, "not hunter2")} {
		o.err = err
		if text := mustJSON(resultOf("pin", nil, true, o)); strings.Contains(string(text), "hunter2") {
			t.Errorf("said back: %s", text)
		}
	}
}

func TestWhatIsReadBackIsHeldAgainstWhatWasSent(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	zoned := func(d time.Duration) drivers.Value {
		return drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: at.Add(d), Zoned: true}}
	}
	bare := drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: at}}
	text := func(s string) drivers.Value { return drivers.Value{Kind: drivers.Text, Text: s} }
	digits := func(s string) drivers.Value {
		d, err := drivers.ParseDecimal(s)
		if err != nil {
			t.Fatal(err)
		}
		return drivers.Value{Number: d}
	}
	for _, c := range []struct {
		sent, back drivers.Value
		same       bool
	}{
		{digits("5"), digits("5.000"), true},
		{digits("5"), digits("4"), false},
		{text("ab"), text("ab  "), true},
		{text("ab"), text("abc"), false},
		{zoned(0), zoned(70 * time.Second), true}, // it took 20 s
		{zoned(0), zoned(90 * time.Second), false},
		{zoned(0), bare, true},
	} {
		o := outcome{sent: c.sent, back: c.back}
		if err := o.compare(20 * time.Second); (err == nil) != c.same {
			t.Errorf("%+v, %+v: %v", c.sent, c.back, err)
		}
	}
}

// Whatever comes: no panic, an answer that is JSON, and what passes is a value
// that its Parameter takes.
func FuzzCommandPayload(f *testing.F) {
	for _, seed := range []string{
		"5", "now", "PRESS", "", `{"value":5,"id":"a"}`, `{"value":"x"}`, "\xff", "{", `{"id":1}`, "2026-01-31T23:59:00+01:00",
	} {
		f.Add([]byte(seed), uint8(0))
	}
	choice := named("mode", drivers.Text, drivers.Writable)
	choice.Options = []string{"eco", "full"}
	all := []drivers.Parameter{
		limited(10), choice, named("note", drivers.Text, drivers.Writable), named("relay", drivers.Bool, drivers.Writable),
		named("clock", drivers.Moment, drivers.Writable), named("reset", drivers.Text, drivers.Pressable),
	}
	now := drivers.Stamp{Wall: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), Zoned: true}
	f.Fuzz(func(t *testing.T, payload []byte, which uint8) {
		p := all[int(which)%len(all)]
		r, err := parseRequest(payload)
		if err == nil {
			var v drivers.Value
			if v, err = r.arg.value(p, now); err == nil && p.Validate(v) != nil {
				t.Fatalf("%q passes as %+v", payload, v)
			}
		}
		answer := mustJSON(resultOf(string(payload), r.id, true, outcome{parameter: p, err: err}))
		if !json.Valid(answer) {
			t.Fatalf("the answer to %q is %s", payload, answer)
		}
	})
}
